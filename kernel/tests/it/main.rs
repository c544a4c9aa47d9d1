mod agent;
mod languages;
mod render;

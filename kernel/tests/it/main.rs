mod agent;
mod languages;
mod memory;
mod render;

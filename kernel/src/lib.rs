//! Codriver: a Jupyter kernel in which a cell is code, SQL, a shell command or a
//! conversation with an agent.

pub mod agent;
pub mod cells;
pub mod channels;
pub mod cli;
pub mod languages;
pub mod render;
pub mod session;

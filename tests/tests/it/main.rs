//! The real binary behind real sockets, spoken to in the Jupyter protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod abort;
mod backup;
mod cli;
mod client;
mod endings;
mod execute;
mod full_disk;
mod history;
mod hostile;
mod interrupt;
mod kernel;
mod knowledge;
mod models;
mod outputs;
mod questions;

//! The session, its languages and its agents. One binary: modules below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod agent;
mod keeping;
mod languages;
mod memory;
mod render;

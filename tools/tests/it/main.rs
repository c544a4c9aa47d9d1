//! Tests of the tools on real files and real repositories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod calculate;
mod files;
mod git;
mod git_commit;
mod registry;
mod support;
mod tools;

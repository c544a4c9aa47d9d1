//! Tests of the tools on real files and real repositories.

mod calculate;
mod files;
mod git;
mod git_commit;
mod registry;
mod support;
mod tools;

//! What people look at: values, diffs, tables and cards as MIME bundles.

pub mod ansi;
pub mod cards;
pub mod context;
pub mod diff;
pub mod git;
pub mod markdown;
pub mod table;
pub mod usage;

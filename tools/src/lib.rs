//! What an agent can do. One trait, one registry, one policy, whatever the tool.
//!
//! Start at [`builtin`] for the tools themselves, at [`files::Workspace`] for file access
//! that cannot leave a folder, at [`git`] for what both the agent's tools and `%git` read
//! from a repository, and at [`calculate::evaluate`] for arithmetic.

mod builtin;
pub mod calculate;
pub mod files;
pub mod git;
mod policy;
mod registry;
mod schema;
mod suggest;
pub mod text;
mod tool;

pub use builtin::builtin;
pub use policy::{Decision, Policy};
pub use registry::ToolRegistry;
pub use suggest::nearest;
pub use tool::{Effect, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolSpecification};

//! What an agent can do. One trait, one registry, one policy, whatever the tool.

mod policy;
mod registry;
mod tool;

pub use policy::{Decision, Policy};
pub use registry::ToolRegistry;
pub use tool::{Effect, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolSpecification};

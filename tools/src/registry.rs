//! The tools an agent has been given.

/// Tools by name.
#[derive(Default)]
pub struct ToolRegistry {}

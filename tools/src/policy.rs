//! Who decides whether a tool may run.

use crate::{Effect, ToolSpecification};

/// The outcome of asking the policy about one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Ask,
    Deny,
}

/// Reading and remembering are allowed; what changes anything is asked about, or
/// denied where nobody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether a person can answer a question (stdin is allowed).
    pub can_ask: bool,
}

impl Policy {
    pub fn decide(self, tool: &ToolSpecification) -> Decision {
        match tool.effect {
            Effect::Read | Effect::Memory => Decision::Allow,
            Effect::Write if self.can_ask => Decision::Ask,
            Effect::Write => Decision::Deny,
        }
    }
}

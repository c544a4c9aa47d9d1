//! Every magic there is.

use crate::agent;
use crate::cells::{MagicRegistry, builtin};

/// The magics of a session: Codriver's own and the agents'.
pub fn registry() -> MagicRegistry {
    let mut registry = MagicRegistry::new();
    for magic in builtin::magics().into_iter().chain(agent::magics()) {
        registry.register(magic);
    }
    registry
}

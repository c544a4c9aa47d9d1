//! Codriver's own magics; the agents' are in [`crate::agent`].

mod basics;
mod cd;
mod code;
mod git;
mod set;

use super::Magic;

pub fn magics() -> Vec<Box<dyn Magic>> {
    vec![
        Box::new(basics::ListMagics),
        Box::new(basics::Help),
        Box::new(basics::Clear),
        Box::new(cd::ChangeFolder),
        Box::new(code::Sql),
        Box::new(code::Bash),
        Box::new(code::Rust),
        Box::new(git::Git),
        Box::new(set::Set),
    ]
}

//! What memory takes in and gives back, as plain data.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod documents;
mod facts;
mod search;
mod turns;

pub use documents::*;
pub use facts::*;
pub use search::*;
pub use turns::*;

/// How far a fact or a document reaches; the further, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This notebook's run; kept in memory and gone when the kernel ends.
    Session,
    /// The workspace the notebook lies in; kept in the database, and seen from nowhere else.
    Project,
    /// All of this user's notebooks; kept in the database.
    Global,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Project => "project",
            Self::Global => "global",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        [Self::Session, Self::Project].into_iter().find(|scope| scope.name() == name).unwrap_or(Self::Global)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Who may write the database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// This process holds the file: everything it writes is in the database at once.
    Durable,
    /// Another process holds the file. What this one writes goes to a journal beside it, which
    /// the holder, or the next one, merges. What it reads is its own work and the facts the
    /// holder knows.
    Shared {
        /// Who holds the file, in words.
        holder: String,
    },
    /// Nothing outlives the process.
    InMemory,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Durable => formatter.write_str("durable"),
            Self::Shared { holder } => write!(formatter, "shared (the file is held by {holder})"),
            Self::InMemory => formatter.write_str("in memory only"),
        }
    }
}

/// A random identifier that holds in the database and in the journals alike.
macro_rules! identifier {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub(crate) fn random() -> Self {
                Self(Uuid::new_v4().to_string())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first eight characters: what lists show and people type.
            pub fn short(&self) -> &str {
                self.0.get(..8).unwrap_or(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

identifier! {
    /// One agent's talk in one notebook's run.
    ConversationId
}
identifier! {
    /// One request and its answer.
    TurnId
}
identifier! {
    /// One call of a tool.
    ToolRunId
}
identifier! {
    /// One remembered fact. [`Memory::forget`](crate::Memory::forget) takes a unique prefix too.
    FactId
}

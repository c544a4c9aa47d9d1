//! What an answer may look like: masks over the vocabulary from JSON schemas, regular expressions,
//! choices, Lark grammars and tool definitions.
//!
//! The only crate that names `llguidance`. A [`Vocabulary`] is built once a model; a [`Grammar`] is
//! compiled for it into a [`Guide`], which follows one answer token by token; an [`AnswerGuide`]
//! knows where in an answer a grammar holds (everywhere, or from the marker that opens a tool
//! call); [`Beside`] runs one on a thread of its own, so that masks are computed while the network
//! computes.

mod answer;
mod beside;
mod calls;
mod grammar;
mod guide;
mod left_out;
mod literal;
mod markers;
mod tokens;
mod vocabulary;

pub use answer::{AnswerGuide, Next, Plan, ReasoningMarkers};
pub use beside::{Ahead, Beside};
pub use grammar::Grammar;
pub use guide::{Guide, TokenMask};
pub use left_out::keywords_left_out;
pub use tokens::TokenTable;
pub use vocabulary::Vocabulary;

/// Why an answer cannot be constrained. Messages say what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    #[error("this tokenizer cannot be constrained: {0}")]
    Vocabulary(String),
    #[error("the JSON schema cannot be enforced: {0}")]
    Schema(String),
    #[error("the regular expression cannot be enforced: {0}")]
    Regex(String),
    #[error("the choices cannot be enforced: {0}")]
    Choice(String),
    #[error("the Lark grammar is not valid: {0}")]
    Lark(String),
    #[error("calls of the tools cannot be enforced: {0}")]
    Calls(String),
    /// A limit on memory or time was reached.
    #[error("the grammar is too complex ({0}); make it smaller: fewer alternatives, shorter repetitions")]
    TooComplex(String),
    /// No token of the vocabulary leads on to a whole answer.
    #[error("no token can follow: the grammar asks for text that this model's vocabulary cannot write here")]
    DeadEnd,
    /// A token that the mask did not admit.
    #[error("token {token} does not continue what the grammar admits")]
    Rejected { token: u32 },
    #[error("the grammar engine failed: {0}")]
    Internal(String),
}

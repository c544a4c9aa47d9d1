//! What an answer may be.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the text of an answer must be, whole, from its first character to its last.
///
/// A local model can write nothing else: tokens that lead elsewhere are not sampled. Only
/// [`SamplingParameters::max_tokens`](crate::SamplingParameters::max_tokens) ends it earlier.
/// A remote model is asked for the same where its protocol has words for it, which is for JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// JSON that validates against a JSON Schema (drafts 4 to 2020-12; what cannot be enforced,
    /// such as `not` or `uniqueItems`, is an error).
    JsonSchema(Value),
    /// Any JSON object.
    JsonObject,
    /// All of the text matches, in the syntax of the `regex` crate. `^` at its beginning and `$`
    /// at its end say nothing more.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A context-free grammar in llguidance's variant of Lark, its first rule `start`.
    Lark(String),
}

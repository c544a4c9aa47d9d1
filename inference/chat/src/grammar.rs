//! What a model may write, as a tree that constrained decoding turns into a mask over its vocabulary.

use serde_json::Value;

/// A language. A format of tool calls describes its calls in it (`ToolFormat::call_grammar`).
#[derive(Debug, Clone, PartialEq)]
pub enum Grammar {
    /// Exactly this text, in whatever tokens.
    Text(String),
    /// The special token of this name, where the vocabulary has it as one; else its name as text.
    Token(String),
    /// A regular expression without anchors, in the syntax of the `regex` crate.
    Pattern(String),
    /// A JSON value that a JSON Schema accepts.
    Json(Value),
    Sequence(Vec<Grammar>),
    Choice(Vec<Grammar>),
    Optional(Box<Grammar>),
    /// One or more, the separator between each two. Without a separator they follow each other directly.
    OneOrMore {
        item: Box<Grammar>,
        separator: Option<Box<Grammar>>,
    },
}

impl Grammar {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn token(name: impl Into<String>) -> Self {
        Self::Token(name.into())
    }

    pub fn optional(self) -> Self {
        Self::Optional(Box::new(self))
    }

    /// One, or where `parallel` several with a separator between.
    pub fn repeated(self, parallel: bool, separator: Option<Self>) -> Self {
        if !parallel {
            return self;
        }
        Self::OneOrMore { item: Box::new(self), separator: separator.map(Box::new) }
    }
}

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

    /// The text that every sentence of the language begins with.
    pub fn common_beginning(&self) -> String {
        self.beginning().0
    }

    /// The text that every sentence begins with, and whether that is the whole of every sentence.
    fn beginning(&self) -> (String, bool) {
        match self {
            Self::Text(text) | Self::Token(text) => (text.clone(), true),
            Self::Pattern(_) | Self::Json(_) | Self::Optional(_) => (String::new(), false),
            Self::OneOrMore { item, .. } => (item.beginning().0, false),
            Self::Sequence(parts) => {
                let mut whole = String::new();
                for part in parts {
                    let (text, fixed) = part.beginning();
                    whole.push_str(&text);
                    if !fixed {
                        return (whole, false);
                    }
                }
                (whole, true)
            }
            Self::Choice(choices) => {
                let mut beginnings = choices.iter().map(Self::beginning);
                let Some((mut common, mut fixed)) = beginnings.next() else {
                    return (String::new(), true);
                };
                for (other, other_fixed) in beginnings {
                    fixed &= other_fixed && other == common;
                    let shared = common.chars().zip(other.chars()).take_while(|(a, b)| a == b);
                    common = shared.map(|(character, _)| character).collect();
                }
                (common, fixed)
            }
        }
    }
}

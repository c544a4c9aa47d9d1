//! Fixed text in a Lark grammar.

use crate::Vocabulary;

/// A text as Lark asks for it: quoted.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\0'..='\x1f' | '\x7f' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A marker as Lark asks for it: the control token of this name where the vocabulary has one,
/// else its name. One that ends an answer is nothing: the answer's end is no part of a grammar.
pub(crate) fn markup(name: &str, vocabulary: &Vocabulary) -> String {
    match vocabulary.special(name) {
        Some(token) if vocabulary.ends_answer(token) => quoted(""),
        Some(token) => format!("<[{token}]>"),
        None => quoted(name),
    }
}

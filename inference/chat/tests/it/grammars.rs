//! What the formats tell constrained decoding: every sentence of the grammar is read back as its call.

use codriver_chat::ToolChoice;
use codriver_chat::formats::ToolFormat;
use codriver_chat::grammar::Grammar;
use serde_json::{Value, json};

use crate::formats::{read, tools};

#[test]
fn sentences_of_the_grammar_are_read_as_calls() {
    for format in ToolFormat::ALL {
        let named = format.call_grammar(&tools(), &ToolChoice::Named("sql".to_string())).unwrap();
        let sentence = sentence(&named);
        let found = read(format, &[&sentence], false);
        assert_eq!(found.text, "", "{format:?}: {sentence}");
        assert_eq!(found.calls.len(), 1, "{format:?}: {sentence}");
        assert_eq!(found.calls[0].0, "sql", "{format:?}: {sentence}");
        assert!(found.calls[0].1["query"].is_string(), "{format:?}: {sentence} {:?}", found.calls);
        for choice in [ToolChoice::Auto, ToolChoice::None, ToolChoice::Named("other".to_string())] {
            assert_eq!(format.call_grammar(&tools(), &choice), None);
        }
    }
}

/// One sentence of the language.
fn sentence(grammar: &Grammar) -> String {
    match grammar {
        Grammar::Text(text) | Grammar::Token(text) => text.clone(),
        Grammar::Pattern(pattern) if pattern.contains("a-zA-Z0-9") => "abcdefghi".to_string(),
        Grammar::Pattern(pattern) if pattern.starts_with('"') => "\"text\"".to_string(),
        Grammar::Pattern(_) => "1".to_string(),
        Grammar::Json(schema) if schema["type"] == "object" => json!({ "query": "text" }).to_string(),
        Grammar::Json(_) => Value::from(1).to_string(),
        Grammar::Sequence(parts) => parts.iter().map(sentence).collect(),
        Grammar::Choice(choices) => sentence(&choices[0]),
        Grammar::Optional(inner) => sentence(inner),
        Grammar::OneOrMore { item, .. } => sentence(item),
    }
}

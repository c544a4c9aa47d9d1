//! Every family's way to write calls: what its grammar admits, its parser reads.

use codriver_chat::answer::AnswerParser;
use codriver_chat::formats::ToolFormat;
use codriver_chat::{ToolChoice, ToolDefinition};
use codriver_grammar::{Grammar, Guide};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::fixture::{self, END, decode, vocabulary, walk};

/// Formats with values of their own notation describe of numbers only that they are.
fn holds_numbers_to_bounds(format: ToolFormat) -> bool {
    !matches!(format, ToolFormat::Pythonic { .. } | ToolFormat::FunctionGemma | ToolFormat::Gemma4)
}

#[test]
fn what_the_grammar_admits_the_parser_reads() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let tools = [
        ToolDefinition {
            name: "plot".into(),
            description: String::new(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "kind": { "type": "string", "enum": ["bar", "line"] },
                    "bins": { "type": "integer", "minimum": 1, "maximum": 64 },
                },
                "required": ["kind", "bins"],
            }),
        },
        ToolDefinition {
            name: "count_rows".into(),
            description: String::new(),
            parameters: json!({
                "type": "object",
                "properties": { "exact": { "type": "boolean" } },
                "required": ["exact"],
            }),
        },
    ];
    let tokenizer = fixture::byte_level(seed, 600);
    let vocabulary = vocabulary(&tokenizer);
    let end = tokenizer.token_to_id(END).unwrap();
    let mut failures = Vec::new();
    for format in ToolFormat::ALL {
        for choice in [ToolChoice::Named("plot".into()), ToolChoice::Required] {
            let tree = format.call_grammar(&tools, &choice).unwrap();
            let grammar = Grammar::of_calls(&tree, &vocabulary).unwrap();
            let guide = Guide::new(&vocabulary, &grammar).unwrap_or_else(|error| panic!("{format:?}: {error}"));
            for _ in 0..5 {
                let Some(tokens) = walk(&mut guide.clone(), end, &mut random, 5000) else { continue };
                let text = decode(&tokenizer, &tokens);
                let mut parser = AnswerParser::new(format, &tools, 0, false);
                parser.push(&text, &mut |_| {});
                let (said, calls) = parser.finish(&mut |_| {});
                let valid = calls.iter().all(|call| match call.name.as_str() {
                    "plot" => {
                        let bins = call.arguments["bins"].as_f64().unwrap_or(0.0);
                        let bounded = (1.0..=64.0).contains(&bins) || !holds_numbers_to_bounds(format);
                        ["bar", "line"].iter().any(|kind| call.arguments["kind"] == *kind) && bounded
                    }
                    "count_rows" => call.arguments["exact"].is_boolean() && choice == ToolChoice::Required,
                    _ => false,
                });
                if calls.is_empty() || !valid || !said.trim().is_empty() {
                    failures.push(format!("{format:?}, {choice:?}: {text:?} is read as {calls:?} and {said:?}"));
                    break;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

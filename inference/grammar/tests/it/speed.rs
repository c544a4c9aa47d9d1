//! How long a mask takes, for the record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codriver_chat::Constraint;
use codriver_grammar::{Grammar, Guide, TokenTable, Vocabulary};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

#[test]
#[ignore = "a measurement: cargo nextest run -p codriver-grammar --run-ignored all --no-capture -E 'test(masks_take)'"]
fn masks_take_so_long() {
    // The arguments of a tool that shows a chart.
    let schema = json!({
        "type": "object",
        "properties": {
            "query": { "type": "string", "description": "A query whose rows are shown" },
            "kind": { "enum": ["bar", "line", "scatter", "histogram"] },
            "x": { "type": "string" },
            "y": { "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": 5 },
            "width": { "type": "integer", "minimum": 100, "maximum": 4000 },
            "title": { "type": ["string", "null"], "maxLength": 80 },
            "options": { "type": "object", "properties": { "log": { "type": "boolean" }, "color": { "type": "string", "pattern": "^#[0-9a-f]{6}$" } }, "additionalProperties": false },
        },
        "required": ["query", "kind", "x", "y"],
        "additionalProperties": false,
    });
    for size in [32_000, 152_000, 262_000] {
        let began = Instant::now();
        let vocabulary = Arc::new(synthetic(size));
        let built = began.elapsed();
        let cases = [
            ("the tool's schema", Constraint::JsonSchema(schema.clone()), ARGUMENTS),
            ("any object", Constraint::JsonObject, ARGUMENTS),
            (
                "a regular expression",
                Constraint::Regex(r"(\w+ ){1,30}\.".into()),
                "one two three four five six seven eight nine ten .",
            ),
        ];
        for (name, constraint, text) in cases {
            let began = Instant::now();
            let guide = Guide::new(&vocabulary, &Grammar::new(&constraint).unwrap()).unwrap();
            let compiled = began.elapsed();
            let first = time(&mut guide.clone(), &vocabulary, text);
            // The automaton remembers where it was: later answers are faster.
            let later: Vec<Duration> = (0..10).flat_map(|_| time(&mut guide.clone(), &vocabulary, text)).collect();
            println!(
                "{size} tokens (built in {built:?}), {name} (compiled in {compiled:?}): first answer {}; later {}",
                summary(first),
                summary(later)
            );
        }
    }
}

const ARGUMENTS: &str = r##"{"query": "SELECT month, sum(amount) AS total FROM orders WHERE year = 2024 GROUP BY month", "kind": "bar", "x": "month", "y": ["total"], "width": 800, "title": "Sales by month", "options": {"log": false, "color": "#1f77b4"}}"##;

/// How long each mask of a text takes, in the longest tokens there are.
fn time(guide: &mut Guide, vocabulary: &Vocabulary, text: &str) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let began = Instant::now();
        let mask = guide.mask().unwrap();
        times.push(began.elapsed());
        let fitting = mask.tokens().into_iter().filter(|token| rest.starts_with(vocabulary.bytes(*token)));
        let token = fitting.max_by_key(|token| vocabulary.bytes(*token).len()).unwrap();
        guide.commit(token).unwrap();
        rest = &rest[vocabulary.bytes(token).len()..];
    }
    times
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    assert!(at(0.99) < Duration::from_millis(200));
    format!("{} masks, median {:?}, p99 {:?}", times.len(), at(0.5), at(0.99))
}

/// The bytes, an end, and words, numbers and punctuation as tokenizers have them.
fn synthetic(size: usize) -> Vocabulary {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let syllables = [
        "a", "e", "in", "on", "ter", "st", "ra", "cl", "ing", "ed", "tion", "pro", "com", "un", "é", "日", "本", "ски",
        "ä",
    ];
    let marks = [
        "\"", "\":", "\",", "{", "}", "}}", "\"}", "[", "]", ": ", ", ", "\n", "    ", "\\\"", "()", ";", "=", "--",
        "//", "<", ">",
    ];
    let mut tokens: BTreeSet<Vec<u8>> = BTreeSet::new();
    while tokens.len() < size - 257 {
        let mut token = String::new();
        match random.random_range(0..12) {
            0 => (0..random.random_range(1..4)).for_each(|_| token.push_str(marks.choose(&mut random).unwrap())),
            1 => token = random.random_range(0..1000).to_string(),
            kind => {
                if kind % 2 == 0 {
                    token.push(' ');
                }
                (0..random.random_range(1..6)).for_each(|_| token.push_str(syllables.choose(&mut random).unwrap()));
                if kind > 9 {
                    token.push_str(marks.choose(&mut random).unwrap());
                }
            }
        }
        if token.len() > 1 {
            tokens.insert(token.into_bytes());
        }
    }
    let bytes = (0..=255).map(|byte| vec![byte]).filter(|byte| byte != &[0xff]);
    let bytes: Vec<Vec<u8>> = std::iter::once(b"<|end|>".to_vec()).chain(bytes).chain(tokens).collect();
    Vocabulary::new(TokenTable { bytes, ..TokenTable::default() }, &[0], size, None).unwrap()
}

//! JSON schemas: whatever is written under the mask validates, and all that validates can be written.

use std::io::Write;
use std::process::{Command, Stdio};

use codriver_chat::Constraint;
use codriver_grammar::{Grammar, Guide};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::fixture::{self, END, assert_admitted, decode, free_vocabulary, vocabulary, walk};

#[test]
fn what_is_written_under_the_mask_validates() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut cases = Vec::new();
    for (name, tokenizer) in fixture::tokenizers(seed) {
        let vocabularies = [vocabulary(&tokenizer), free_vocabulary(&tokenizer)];
        let end = tokenizer.token_to_id(END).unwrap();
        for _ in 0..60 {
            let schema = Shape::random(&mut random, 3).schema();
            let grammar = Grammar::new(&Constraint::JsonSchema(schema.clone())).unwrap();
            let guide = Guide::new(vocabularies.choose(&mut random).unwrap(), &grammar)
                .unwrap_or_else(|error| panic!("{error}: {schema}"));
            for _ in 0..4 {
                let tokens = walk(&mut guide.clone(), end, &mut random, 4000);
                match tokens {
                    Some(tokens) => cases.push((schema.clone(), decode(&tokenizer, &tokens))),
                    None => assert_eq!(name, "WordPiece", "no end under {schema}"),
                }
            }
        }
    }
    assert_valid(&cases);
}

#[test]
fn what_validates_can_be_written_in_the_tokens_of_the_tokenizer() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut cases = Vec::new();
    for (name, tokenizer) in fixture::tokenizers(seed) {
        if name == "WordPiece" {
            // It does not write its own text again: lower case, spaces around punctuation.
            continue;
        }
        let vocabulary = free_vocabulary(&tokenizer);
        for _ in 0..60 {
            let shape = Shape::random(&mut random, 3);
            let schema = shape.schema();
            let guide =
                Guide::new(&vocabulary, &Grammar::new(&Constraint::JsonSchema(schema.clone())).unwrap()).unwrap();
            for _ in 0..4 {
                let instance = shape.instance(&mut random);
                for text in [instance.to_string(), format!("{instance:#}"), spaced(&instance)] {
                    assert_admitted(&mut guide.clone(), &tokenizer, &text, &format!("{name}, {schema}"));
                    cases.push((schema.clone(), text));
                }
            }
        }
    }
    // The generator is checked by the same oracle.
    assert_valid(&cases);
}

#[test]
fn any_object_is_an_object() {
    let tokenizer = fixture::byte_level(3, 800);
    let vocabulary = vocabulary(&tokenizer);
    let guide = Guide::new(&vocabulary, &Grammar::new(&Constraint::JsonObject).unwrap()).unwrap();
    for text in ["{}", "{\"a\": {\"b\": [1, -2.5e3, null, \"\\n🙂\"]}, \"\": true}"] {
        let free = Guide::new(&free_vocabulary(&tokenizer), &Grammar::new(&Constraint::JsonObject).unwrap()).unwrap();
        assert_admitted(&mut free.clone(), &tokenizer, text, "object");
    }
    for text in ["[", "1", "\"", "null", " {"] {
        let token = tokenizer.encode(text, false).unwrap().get_ids()[0];
        assert!(!guide.clone().mask().unwrap().allows(token), "{text}");
    }
}

#[test]
fn definitions_refer_to_themselves() {
    let schema = json!({
        "$ref": "#/$defs/tree",
        "$defs": { "tree": { "type": "object", "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 9 },
            "children": { "type": "array", "items": { "$ref": "#/$defs/tree" }, "maxItems": 2 } },
            "required": ["n"], "additionalProperties": false } },
    });
    let tokenizer = fixture::byte_level(4, 800);
    let vocabulary = free_vocabulary(&tokenizer);
    let guide = Guide::new(&vocabulary, &Grammar::new(&Constraint::JsonSchema(schema.clone())).unwrap()).unwrap();
    let text = "{\"n\": 1, \"children\": [{\"n\": 2}, {\"n\": 3, \"children\": []}]}";
    assert_admitted(&mut guide.clone(), &tokenizer, text, "tree");
    let token = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
    let mut guide = guide;
    for token in token("{\"n\": ") {
        guide.commit(token).unwrap();
    }
    assert!(guide.commit(token("x")[0]).is_err(), "what the mask does not admit is refused");
    assert!(guide.commit(token("7")[0]).is_ok(), "and the guide goes on where it was");
}

/// A schema that can be enforced and whose texts are bounded, and what is an instance of it.
enum Shape {
    Null,
    Boolean,
    Integer(i64, i64),
    Number,
    Text { longest: usize },
    Pattern,
    Date,
    Choice(Vec<Value>),
    List { item: Box<Shape>, least: usize, most: usize },
    Object { properties: Vec<(String, Shape, bool)> },
    Either(Vec<Shape>),
    Referred(Box<Shape>),
}

const NAMES: [&str; 8] = ["a", "name", "order_id", "é", "two words", "q\"uote", "日本", "x-y"];

impl Shape {
    fn random(random: &mut ChaCha8Rng, depth: usize) -> Self {
        let kinds = if depth == 0 { 8 } else { 12 };
        match random.random_range(0..kinds) {
            0 => Self::Null,
            1 => Self::Boolean,
            2 => {
                let low = random.random_range(-1000..1000);
                Self::Integer(low, low + random.random_range(0..5000))
            }
            3 => Self::Number,
            4 => Self::Text { longest: random.random_range(0..12) },
            5 => Self::Pattern,
            6 => Self::Date,
            7 => Self::Choice(
                (0..random.random_range(1..4))
                    .map(|index| {
                        [json!("red"), json!(7), json!(null), json!({ "k": [index] }), json!("ü\n")]
                            .choose(random)
                            .unwrap()
                            .clone()
                    })
                    .collect(),
            ),
            8 => {
                let least = random.random_range(0..3);
                Self::List { item: Self::boxed(random, depth), least, most: least + random.random_range(0..3) }
            }
            9 => Self::Either((0..random.random_range(1..4)).map(|_| Self::random(random, depth - 1)).collect()),
            10 => Self::Referred(Self::boxed(random, depth)),
            _ => {
                let mut names = NAMES.to_vec();
                let properties = (0..random.random_range(0..4)).map(|_| {
                    let name = names.remove(random.random_range(0..names.len())).to_string();
                    (name, Self::random(random, depth - 1), random.random_bool(0.6))
                });
                Self::Object { properties: properties.collect() }
            }
        }
    }

    fn boxed(random: &mut ChaCha8Rng, depth: usize) -> Box<Self> {
        Box::new(Self::random(random, depth - 1))
    }

    fn schema(&self) -> Value {
        let mut definitions = Map::new();
        let mut schema = self.part(&mut definitions);
        if !definitions.is_empty() {
            schema["$defs"] = Value::Object(definitions);
        }
        schema
    }

    fn part(&self, definitions: &mut Map<String, Value>) -> Value {
        match self {
            Self::Null => json!({ "type": "null" }),
            Self::Boolean => json!({ "type": "boolean", "description": "yes or no" }),
            Self::Integer(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
            Self::Number => json!({ "type": "number", "minimum": -2.5, "exclusiveMaximum": 100 }),
            Self::Text { longest } => json!({ "type": "string", "minLength": longest / 2, "maxLength": longest }),
            Self::Pattern => json!({ "type": "string", "pattern": "^[A-Z]{2}-\\d{1,4}$" }),
            Self::Date => json!({ "type": "string", "format": "date" }),
            Self::Choice(values) => json!({ "enum": values }),
            Self::List { item, least, most } => {
                json!({ "type": "array", "items": item.part(definitions), "minItems": least, "maxItems": most })
            }
            Self::Either(shapes) => {
                json!({ "anyOf": shapes.iter().map(|shape| shape.part(definitions)).collect::<Vec<_>>() })
            }
            Self::Referred(shape) => {
                let part = shape.part(definitions);
                let name = format!("d{}", definitions.len());
                definitions.insert(name.clone(), part);
                json!({ "$ref": format!("#/$defs/{name}") })
            }
            Self::Object { properties } => {
                let parts: Map<String, Value> =
                    properties.iter().map(|(name, shape, _)| (name.clone(), shape.part(definitions))).collect();
                let required: Vec<&String> =
                    properties.iter().filter(|(_, _, required)| *required).map(|(name, ..)| name).collect();
                json!({ "type": "object", "properties": parts, "required": required, "additionalProperties": false })
            }
        }
    }

    fn instance(&self, random: &mut ChaCha8Rng) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Boolean => json!(random.random_bool(0.5)),
            Self::Integer(low, high) => json!(random.random_range(*low..=*high)),
            Self::Number => json!(f64::from(random.random_range(-250..10_000)) / 100.0),
            Self::Text { longest } => {
                let letters = ["a", "Z", " ", "é", "🙂", "\"", "\\", "\n", "日", "0", "{"];
                (0..random.random_range(longest / 2..=*longest))
                    .map(|_| *letters.choose(random).unwrap())
                    .collect::<String>()
                    .into()
            }
            Self::Pattern => json!(format!("QX-{}", random.random_range(0..10_000))),
            Self::Date => json!(format!(
                "20{:02}-{:02}-{:02}",
                random.random_range(0..99),
                random.random_range(1..13),
                random.random_range(1..29)
            )),
            Self::Choice(values) => values.choose(random).unwrap().clone(),
            Self::List { item, least, most } => {
                (0..random.random_range(*least..=*most)).map(|_| item.instance(random)).collect()
            }
            Self::Either(shapes) => shapes.choose(random).unwrap().instance(random),
            Self::Referred(shape) => shape.instance(random),
            Self::Object { properties } => {
                let chosen = properties
                    .iter()
                    .filter(|(_, _, required)| *required || random.random_bool(0.5))
                    .collect::<Vec<_>>();
                chosen
                    .into_iter()
                    .map(|(name, shape, _)| (name.clone(), shape.instance(random)))
                    .collect::<Map<_, _>>()
                    .into()
            }
        }
    }
}

/// As Python's `json.dumps` writes it.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", json!(key), spaced(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Validates texts with Python's `jsonschema`.
fn assert_valid(cases: &[(Value, String)]) {
    let python = std::env::var("CODRIVER_PYTHON").expect("CODRIVER_PYTHON: a Python with jsonschema");
    let mut child = Command::new(python)
        .arg("tests/reference/schemas.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: String =
        cases.iter().map(|(schema, text)| format!("{}\n", json!({ "schema": schema, "text": text }))).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "the reference failed");
    let said = String::from_utf8(output.stdout).unwrap();
    println!("{} texts validated", cases.len());
    assert!(said.is_empty(), "{said}");
}

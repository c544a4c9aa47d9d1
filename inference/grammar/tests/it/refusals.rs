//! What cannot be enforced is said, at once and in words, and costs neither the process nor minutes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codriver_chat::Constraint;
use codriver_chat::grammar::Grammar as Tree;
use codriver_grammar::{Grammar, GrammarError, Guide, Vocabulary, keywords_left_out};
use serde_json::{Map, Value, json};

use crate::fixture::{byte_level, vocabulary};

#[test]
fn schemas_that_cannot_be_enforced_are_refused() {
    let never = json!({ "type": "object", "properties": { "a": { "allOf": [{ "type": "string" }, { "type": "integer" }] } }, "required": ["a"] });
    for (schema, words) in [
        (json!(false), "nothing satisfies"),
        (json!([1]), "a schema is an object"),
        (json!({ "type": "nonsense" }), "nonsense"),
        (json!({ "type": "array", "uniqueItems": true }), "[\"uniqueItems\"] are not supported"),
        (json!({ "not": { "type": "string" } }), "not"),
        (
            json!({ "oneOf": [{ "type": "object", "properties": { "a": {} } }, { "type": "object", "properties": { "b": {} } }] }),
            "oneOf",
        ),
        (json!({ "$ref": "https://example.org/schema.json" }), "example.org"),
        (json!({ "$ref": "#/$defs/missing" }), "missing"),
        (json!({ "type": "integer", "minimum": 3, "maximum": 2 }), "nsatisfiable"),
        (json!({ "type": "string", "minLength": 3, "maxLength": 2 }), "minLength (3)"),
        (json!({ "type": "string", "pattern": "(" }), "unclosed group"),
        (never, "'a' is unsatisfiable"),
        (json!({ "enum": [] }), "nsatisfiable"),
    ] {
        let error = refusal(Constraint::JsonSchema(schema.clone()));
        assert!(matches!(error, GrammarError::Schema(_)), "{schema}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(words), "{schema}: {message}");
        assert!(!message.contains('\n') && !message.contains("panic"), "{message}");
    }
}

#[test]
fn what_calls_are_not_held_to_is_named() {
    let schema = |properties: Value| Tree::Json(json!({ "type": "object", "properties": properties }));
    for (tree, expected) in [
        (schema(json!({ "a": { "type": "integer", "minimum": 1 }, "b": { "enum": ["x"] } })), &[][..]),
        (
            schema(json!({ "a": { "type": "array", "uniqueItems": true, "minContains": 1 } })),
            &["minContains", "uniqueItems"],
        ),
        (schema(json!({ "a": { "type": "string", "format": "color" } })), &["format: color"]),
        (schema(json!({ "a": { "not": { "type": "string" } } })), &["not"]),
        (
            Tree::Sequence(vec![
                Tree::text("x"),
                Tree::Choice(vec![schema(json!({ "a": { "type": "string", "format": "a" } })), Tree::text("y")]),
                schema(json!({ "b": { "items": { "type": "string", "format": "b" } } }))
                    .repeated(true, None)
                    .optional(),
            ]),
            &["format: a", "format: b"],
        ),
        (
            schema(json!({ "a": { "type": "object", "properties": { "x": {}, "y": {} }, "minProperties": 1 } })),
            &["minProperties or maxProperties"],
        ),
    ] {
        assert_eq!(keywords_left_out(&tree).unwrap(), expected, "{tree:?}");
    }
    keywords_left_out(&schema(json!({ "a": { "type": "nonsense" } }))).unwrap_err();
}

#[test]
fn expressions_choices_and_grammars_that_are_broken_are_refused() {
    for expression in ["(", "[a", "a\\", r"(?=b)a", r"\bword\b", "a$b"] {
        let error = refusal(Constraint::Regex(expression.into()));
        assert!(matches!(error, GrammarError::Regex(_)), "{expression}: {error:?}");
    }
    assert!(matches!(refusal(Constraint::Choice(Vec::new())), GrammarError::Choice(_)));
    for (source, words) in [
        ("", ""),
        ("start: (", "start: ("),
        ("start: missing", "missing"),
        ("begin: \"a\"", "start"),
        ("start: <|no such token|>", "no"),
        ("start: %json { \"type\": \"nonsense\" }", "nonsense"),
        ("start: @other", "other"),
    ] {
        let error = refusal(Constraint::Lark(source.into()));
        assert!(matches!(error, GrammarError::Lark(_)), "{source}: {error:?}");
        assert!(error.to_string().contains(words), "{source}: {error}");
        assert!(!error.to_string().contains("panic"), "{source}: {error}");
    }
}

#[test]
fn hostile_grammars_are_bounded() {
    let deep = (0..3_000).fold(json!({ "type": "integer" }), |inner, _| json!({ "items": inner }));
    let chain: Map<String, Value> =
        (0..12_000).map(|n| (format!("d{n}"), json!({ "$ref": format!("#/$defs/d{}", n + 1) }))).collect();
    let wide: Map<String, Value> =
        (0..40_000).map(|n| (format!("property {n}"), json!({ "type": "string" }))).collect();
    let names: Vec<Value> = (0..14).map(|n| json!({ "anyOf": (0..10).map(|m| json!({ "properties": { format!("p{n}_{m}"): { "const": m } } })).collect::<Vec<_>>() })).collect();
    let rules: String = (0..6_000).map(|n| format!("r{n}: r{}\n", n + 1)).collect();
    for (name, constraint) in [
        ("a deep schema", Constraint::JsonSchema(deep)),
        ("references in a chain", Constraint::JsonSchema(json!({ "$ref": "#/$defs/d0", "$defs": chain }))),
        ("a reference to itself", Constraint::JsonSchema(json!({ "$ref": "#" }))),
        (
            "references in a circle",
            Constraint::JsonSchema(
                json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "allOf": [{ "$ref": "#/$defs/a" }] } } }),
            ),
        ),
        (
            "an object that holds itself",
            Constraint::JsonSchema(
                json!({ "type": "object", "properties": { "a": { "$ref": "#" } }, "required": ["a"], "additionalProperties": false }),
            ),
        ),
        ("a wide schema", Constraint::JsonSchema(json!({ "type": "object", "properties": wide }))),
        ("a product of alternatives", Constraint::JsonSchema(json!({ "type": "object", "allOf": names }))),
        (
            "a long array",
            Constraint::JsonSchema(
                json!({ "type": "array", "minItems": 1_000_000_000, "items": { "type": "object" } }),
            ),
        ),
        ("a long string", Constraint::JsonSchema(json!({ "type": "string", "minLength": 1_000_000_000 }))),
        ("repetitions of repetitions", Constraint::Regex("((a{1,1000}){1,1000}){1,1000}".into())),
        ("an automaton that explodes", Constraint::Regex("(a|b)*a(a|b){200}c".into())),
        ("a large class repeated", Constraint::Regex(r"(\w{1,200} ){1,200}".into())),
        ("a long expression", Constraint::Regex("a".repeat(1 << 20))),
        ("brackets", Constraint::Lark(format!("start: {}\"a\"{}", "(".repeat(20_000), ")".repeat(20_000)))),
        ("brackets in an expression", Constraint::Regex(format!("{}a{}", "(".repeat(20_000), ")".repeat(20_000)))),
        ("rules in a chain", Constraint::Lark(format!("start: r0\n{rules}r6000: \"a\""))),
        ("rules that repeat", Constraint::Lark("start: a{1000}\na: b{1000}\nb: c{1000}\nc: \"x\"".into())),
        (
            "grammars in grammars",
            Constraint::Lark(format!("start: {}\"a\"{}", "%lark { start: ".repeat(150), " }".repeat(150))),
        ),
        ("a rule that is only itself", Constraint::Lark("start: start".into())),
        ("many choices", Constraint::Choice((0..40_000).map(|n| format!("choice {n}")).collect())),
    ] {
        let began = Instant::now();
        // Either outcome is right, and so is the next mask's; a panic, a crash or a hang is not.
        let outcome = match guide(constraint) {
            Ok(mut guide) => match guide.mask() {
                Ok(mask) => format!("{} tokens", mask.tokens().len()),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        println!("{name}: {outcome} ({:?})", began.elapsed());
        assert!(!outcome.contains("panic"), "{name}: {outcome}");
        assert!(outcome.len() < 1200, "{name}: {outcome}");
        assert!(began.elapsed() < Duration::from_secs(20), "{name} took {:?}", began.elapsed());
    }
}

fn refusal(constraint: Constraint) -> GrammarError {
    match guide(constraint.clone()) {
        Ok(_) => panic!("{constraint:?} is enforced"),
        Err(error) => error,
    }
}

fn guide(constraint: Constraint) -> Result<Guide, GrammarError> {
    static VOCABULARY: std::sync::OnceLock<Arc<Vocabulary>> = std::sync::OnceLock::new();
    let vocabulary = VOCABULARY.get_or_init(|| vocabulary(&byte_level(6, 500)));
    Guide::new(vocabulary, &Grammar::new(&constraint)?)
}

//! Answers: free text with calls in it, calls that are required, reasoning before them.

use std::time::Duration;

use std::sync::Arc;

use codriver_chat::Constraint;
use codriver_chat::grammar::Grammar as Tree;
use codriver_grammar::{AnswerGuide, Beside, Grammar, GrammarError, Next, Plan, ReasoningMarkers, Vocabulary};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::fixture::{self, END, decode, vocabulary};

#[test]
fn free_text_is_free_and_a_call_in_it_is_not() {
    let (tokenizer, vocabulary) = model();
    for (rest, place) in [("", "with the trigger's last token"), ("\n{\"na", "beyond it")] {
        let mut guide = AnswerGuide::new(&vocabulary, auto(spans())).unwrap();
        write(&mut guide, &tokenizer, &format!("Let me see. <tool_call{{>\n<tool_call>{rest}"), place);
        let Next::Of(mask) = guide.next().unwrap() else { panic!("the call is free, {place}") };
        let next = if rest.is_empty() { "\n" } else { "me" };
        let expected = tokenizer.encode(next, false).unwrap().get_ids()[0];
        assert!(mask.allows(expected), "{place}");
        assert!(mask.tokens().len() < 12, "{place}: {} tokens", mask.tokens().len());
        let forced = decode(&tokenizer, &guide.forced());
        assert_eq!(format!("{rest}{forced}"), "\n{\"name\": \"", "{place}");
        write(&mut guide, &tokenizer, "add\", \"arguments\": {\"a\": 7, \"b\": -1}}\n</tool_call>", place);
        assert_eq!(guide.next().unwrap(), Next::Any, "after the call, {place}");
        write(&mut guide, &tokenizer, "And <tool_call>", "a second call");
        assert_ne!(guide.next().unwrap(), Next::Any);
    }
}

#[test]
fn a_call_that_left_its_grammar_in_one_token_is_let_go() {
    // The token that ends the trigger goes on with what no call does.
    let tokens = ["<tool_call", ">!", "x", "<tool_call>"];
    let table = codriver_grammar::TokenTable {
        bytes: tokens.map(|token| token.as_bytes().to_vec()).to_vec(),
        ..Default::default()
    };
    let vocabulary = Arc::new(Vocabulary::new(table, &[], 4, None).unwrap());
    let mut guide = AnswerGuide::new(&vocabulary, auto(spans())).unwrap();
    for token in [0, 1, 2] {
        guide.commit(token).unwrap();
    }
    assert_eq!(guide.next().unwrap(), Next::Any);
    // And where no token can go on, it is said.
    guide.commit(3).unwrap();
    assert_eq!(guide.next(), Err(GrammarError::DeadEnd));
}

#[test]
fn json_calls_are_those_of_known_tools_at_the_beginning() {
    let (tokenizer, vocabulary) = model();
    let calls = bare_json();
    for (text, guided) in [
        ("{\"name\": \"Ada\", \"parameters\": ", false),
        ("{\"name\": \"add\", \"parameters\": ", true),
        (" \n{\"name\": \"greet\", \"parameters\": {\"", true),
        ("Look: {\"name\": \"add\", \"parameters\": ", false),
        ("{\"name\": \"add\", \"parameters\": {\"a\": 1, \"b\": 2}}; {\"name\": \"greet\", \"parameters\": ", true),
    ] {
        let mut guide = AnswerGuide::new(&vocabulary, auto(calls.clone())).unwrap();
        write(&mut guide, &tokenizer, text, text);
        assert_eq!(guide.next().unwrap() != Next::Any, guided, "{text}");
    }
}

#[test]
fn nothing_in_reasoning_is_a_call() {
    let (tokenizer, vocabulary) = model();
    for is_open in [true, false] {
        let markers = ReasoningMarkers { begin: "<think>".into(), end: "</think>".into(), is_open };
        let plan = Plan::Calls { calls: spans(), reasoning: Some(markers) };
        let mut guide = AnswerGuide::new(&vocabulary, plan).unwrap();
        let begin = if is_open { "" } else { "<think>" };
        write(&mut guide, &tokenizer, &format!("{begin}I could write <tool_call>{{}} now"), "reasoning");
        assert_eq!(guide.next().unwrap(), Next::Any);
        write(&mut guide, &tokenizer, ".</think>\n\n<tool_call>", "after it");
        assert_ne!(guide.next().unwrap(), Next::Any);
    }
}

#[test]
fn required_calls_are_calls() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (name, tokenizer) in fixture::tokenizers(seed) {
        if name == "WordPiece" {
            // It cannot write an object as others do: its words stand apart.
            continue;
        }
        let vocabulary = vocabulary(&tokenizer);
        for (calls, opening, separator, closing) in [
            (spans(), "<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>"),
            (bare_json(), "", "; ", ""),
            (listed(), "[TOOL_CALLS] [", ", ", "]"),
        ] {
            let grammar = Grammar::of_calls(&calls, &vocabulary).unwrap();
            for reasoning in [false, true] {
                let grammar =
                    if reasoning { grammar.clone().after_reasoning("</think>", &vocabulary) } else { grammar.clone() };
                for _ in 0..6 {
                    let mut guide = AnswerGuide::new(&vocabulary, Plan::Whole(grammar.clone())).unwrap();
                    if reasoning {
                        write(&mut guide, &tokenizer, "Hm, <tool_call>.</think>", "reasoning");
                    }
                    let text = decode(&tokenizer, &random_answer(guide, &tokenizer, &mut random, 4));
                    let text = text.trim_start();
                    let what = format!("{name}, reasoning {reasoning}: {text}");
                    let inner = text.strip_prefix(opening).and_then(|text| text.strip_suffix(closing)).expect(&what);
                    assert_calls(inner, separator, &what);
                }
            }
        }
    }
}

#[test]
fn an_answer_is_calls_or_what_it_must_be() {
    let (tokenizer, vocabulary) = model();
    let answer = Grammar::new(&Constraint::Choice(vec!["yes".into(), "no".into()])).unwrap();
    let either = answer.or(Grammar::of_calls(&spans(), &vocabulary).unwrap()).after_reasoning("</think>", &vocabulary);
    for text in [
        "Hm.</think>\n\nyes",
        "</think>no",
        "x</think>\n<tool_call>\n{\"name\": \"greet\", \"arguments\": {\"who\": \"ada\"}}\n</tool_call>",
    ] {
        let mut guide = AnswerGuide::new(&vocabulary, Plan::Whole(either.clone())).unwrap();
        write(&mut guide, &tokenizer, text, text);
        let Ok(Next::End) = guide.next() else {
            let Ok(Next::Of(mask)) = guide.next() else { panic!("{text}") };
            assert!(mask.allows(tokenizer.token_to_id(END).unwrap()), "{text}");
            continue;
        };
    }
}

/// A mask takes milliseconds; a loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_thread_says_what_the_guide_says() {
    let (tokenizer, vocabulary) = model();
    let schema = json!({ "type": "object", "properties": { "color": { "enum": ["red", "green"] }, "n": { "type": "integer", "minimum": 1, "maximum": 20 } }, "required": ["color", "n"], "additionalProperties": false });
    let grammar = Grammar::new(&Constraint::JsonSchema(schema)).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let end = tokenizer.token_to_id(END).unwrap();
    for _ in 0..20 {
        let mut here = AnswerGuide::new(&vocabulary, Plan::Whole(grammar.clone())).unwrap();
        let mut beside = Beside::begin(AnswerGuide::new(&vocabulary, Plan::Whole(grammar.clone())).unwrap()).unwrap();
        loop {
            assert_eq!(beside.ahead(PATIENCE).unwrap().unwrap().forced, here.forced());
            let next = here.next().unwrap();
            assert_eq!(beside.next(PATIENCE).unwrap(), Some(next.clone()));
            let Next::Of(mask) = next else { break };
            let token = *mask.tokens().choose(&mut random).unwrap();
            if token == end {
                break;
            }
            here.commit(token).unwrap();
            beside.commit(token).unwrap();
        }
    }
    // An error comes back, and ends the thread.
    let mut beside = Beside::begin(AnswerGuide::new(&vocabulary, Plan::Whole(grammar)).unwrap()).unwrap();
    beside.ahead(PATIENCE).unwrap();
    beside.next(PATIENCE).unwrap();
    beside.commit(end).unwrap();
    assert!(matches!(beside.ahead(PATIENCE), Err(GrammarError::Rejected { .. })));
    assert!(beside.ahead(PATIENCE).is_err());
}

#[test]
fn calls_that_cannot_be_enforced_are_refused_or_let_go() {
    let (tokenizer, vocabulary) = model();
    let never = calls_of("arguments", &[("greet", json!({ "properties": { "a": false }, "required": ["a"] }))]);
    let never = Tree::Sequence(vec![Tree::token("<tool_call>"), never]);
    let grammar = Grammar::of_calls(&never, &vocabulary).unwrap();
    let error = AnswerGuide::new(&vocabulary, Plan::Whole(grammar)).err().unwrap();
    assert!(matches!(&error, GrammarError::Calls(_)), "{error}");
    assert!(error.to_string().contains("'a' is unsatisfiable"), "{error}");
    // In free text it is not worth the answer.
    let mut guide = AnswerGuide::new(&vocabulary, auto(never)).unwrap();
    write(&mut guide, &tokenizer, "<tool_call>", "trigger");
    assert_eq!(guide.next().unwrap(), Next::Any);
    assert!(guide.take_warning().is_some_and(|warning| warning.to_string().contains("unsatisfiable")));
    // What of a schema can't be enforced is left to the tool, and the rest is enforced.
    let lists = json!({ "properties": { "a": { "type": "array", "uniqueItems": true, "items": { "type": "null" } } }, "required": ["a"] });
    let grammar = Grammar::of_calls(&calls_of("arguments", &[("list", lists)]), &vocabulary).unwrap();
    let mut guide = AnswerGuide::new(&vocabulary, Plan::Whole(grammar)).unwrap();
    write(&mut guide, &tokenizer, "{\"name\": \"list\", \"arguments\": {\"a\": [null, null", "lenient");
    let Next::Of(mask) = guide.next().unwrap() else { panic!("the arguments are free") };
    assert!(!mask.allows(tokenizer.encode("1", false).unwrap().get_ids()[0]));
}

#[test]
fn parts_of_a_format_are_optional_patterns_and_tokens() {
    let (tokenizer, vocabulary) = model();
    let tree = Tree::Sequence(vec![
        Tree::text("to=").optional(),
        Tree::Pattern("[a-z]{1,3}/?".into()),
        Tree::token(fixture::CALL),
        Tree::Pattern(String::new()),
        Tree::Json(json!({ "enum": [1, "é"] })),
        Tree::token(END),
    ]);
    let grammar = Grammar::of_calls(&tree, &vocabulary).unwrap();
    for text in ["to=ab/<|tool_call|>1", "x<|tool_call|>\"é\""] {
        let mut guide = AnswerGuide::new(&vocabulary, Plan::Whole(grammar.clone())).unwrap();
        write(&mut guide, &tokenizer, text, text);
        assert_eq!(guide.next().unwrap(), Next::End, "{text}: its end token is the answer's end");
    }
}

fn model() -> (Tokenizer, Arc<Vocabulary>) {
    let tokenizer = fixture::byte_level(12, 900);
    let vocabulary = vocabulary(&tokenizer);
    (tokenizer, vocabulary)
}

fn auto(calls: Tree) -> Plan {
    Plan::Calls { calls, reasoning: None }
}

/// Calls as Hermes and Qwen write them.
fn spans() -> Tree {
    let call = Tree::Sequence(vec![
        Tree::token("<tool_call>"),
        Tree::text("\n"),
        calls_of("arguments", &tools()),
        Tree::text("\n"),
        Tree::token("</tool_call>"),
    ]);
    call.repeated(true, Some(Tree::text("\n")))
}

/// As Llama 3 does.
fn bare_json() -> Tree {
    calls_of("parameters", &tools()).repeated(true, Some(Tree::text("; ")))
}

/// As Mistral does.
fn listed() -> Tree {
    let calls = calls_of("arguments", &tools()).repeated(true, Some(Tree::text(", ")));
    Tree::Sequence(vec![Tree::token("[TOOL_CALLS]"), Tree::text(" ["), calls, Tree::text("]")])
}

fn calls_of(key: &str, tools: &[(&str, Value)]) -> Tree {
    let call = |(tool, schema): &(&str, Value)| {
        Tree::Sequence(vec![
            Tree::text(format!("{{\"name\": \"{tool}\", \"{key}\": ")),
            Tree::Json(schema.clone()),
            Tree::text("}"),
        ])
    };
    Tree::Choice(tools.iter().map(call).collect())
}

fn tools() -> Vec<(&'static str, Value)> {
    vec![
        (
            "add",
            json!({ "type": "object", "properties": { "a": { "type": "integer", "minimum": 0, "maximum": 99 }, "b": { "type": "integer", "minimum": -9, "maximum": 9 } }, "required": ["a", "b"] }),
        ),
        (
            "greet",
            json!({ "type": "object", "properties": { "who": { "type": "string", "pattern": "^[a-z]{1,8}$" }, "loud": { "type": "boolean" } }, "required": ["who"] }),
        ),
    ]
}

/// Writes a text as the tokenizer does, each token of which must be admitted.
fn write(guide: &mut AnswerGuide, tokenizer: &Tokenizer, text: &str, what: &str) {
    for token in tokenizer.encode(text, false).unwrap().get_ids() {
        guide.commit(*token).unwrap_or_else(|error| panic!("{what}: {error} in {text:?}"));
    }
}

/// A random answer of at most `calls` calls: it ends where it may with even odds.
fn random_answer(mut guide: AnswerGuide, tokenizer: &Tokenizer, random: &mut ChaCha8Rng, calls: usize) -> Vec<u32> {
    let end = tokenizer.token_to_id(END).unwrap();
    let mut tokens = Vec::new();
    let mut ends = 0;
    loop {
        tokens.extend(guide.forced());
        let Next::Of(mask) = guide.next().unwrap() else { return tokens };
        if mask.allows(end) {
            ends += 1;
            if ends >= calls || random.random_bool(0.5) {
                return tokens;
            }
        }
        let allowed: Vec<u32> = mask.tokens().into_iter().filter(|token| *token != end).collect();
        let token = *allowed.choose(random).unwrap();
        guide.commit(token).unwrap();
        tokens.push(token);
        assert!(tokens.len() < 5000, "no end: {}", decode(tokenizer, &tokens));
    }
}

/// Asserts that a text is calls of the tools, a separator between each two.
fn assert_calls(text: &str, separator: &str, what: &str) {
    let mut rest = text;
    loop {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let call = values.next().unwrap().expect(what);
        rest = &rest[values.byte_offset()..];
        let arguments = call.get("arguments").or(call.get("parameters")).expect(what);
        if call["name"] == "add" {
            let (a, b) = (arguments["a"].as_f64().unwrap(), arguments["b"].as_f64().unwrap());
            assert!((0.0..=99.0).contains(&a) && (-9.0..=9.0).contains(&b), "{what}");
        } else {
            assert_eq!(call["name"], "greet", "{what}");
            assert!((1..=8).contains(&arguments["who"].as_str().unwrap().len()), "{what}");
        }
        if rest.is_empty() {
            return;
        }
        rest = rest.strip_prefix(separator).unwrap_or_else(|| panic!("{what}: {rest:?}"));
    }
}

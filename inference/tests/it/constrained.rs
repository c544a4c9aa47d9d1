//! Answers that must have a form, from models that would write garbage.

use std::path::Path;

use codriver_inference::gateway::OpenAiCompatible;
use codriver_inference::{
    Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, Constraint, DeviceChoice, FinishReason, LocalModel,
    Message, ModelError, SamplingParameters, ToolChoice, ToolDefinition,
};
use serde_json::{Value, json};

use crate::fixture::{GO, Script, TEMPLATE, write_random_chat_model};

/// Templates that show calls as Llama 3 does and as Qwen does.
const JSON: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<|go|>";
const SPANS: &str = "{# <tool_call> #}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<|go|>";

#[test]
fn a_model_of_random_weights_calls_the_tool_it_must() {
    for template in [JSON, SPANS] {
        for seed in seeds(4) {
            let (_folder, model) = random_model(seed, template, 258);
            for temperature in [0.0, 1.0] {
                let named = ask(&model, ToolChoice::Named("plot".into()), seed, temperature, 500);
                assert_eq!(named.finish_reason, FinishReason::ToolCalls);
                assert_eq!(named.message.content, "");
                assert_eq!(named.message.tool_calls.len(), 1, "{named:?}");
                assert_valid(&named, &["plot"]);
                let required = ask(&model, ToolChoice::Required, seed, temperature, 900);
                if required.finish_reason == FinishReason::Length && required.message.tool_calls.is_empty() {
                    // One call after the other, up to the limit: in Llama's format that is text.
                    assert!(template == JSON && required.message.content.contains("}}; {"), "{required:?}");
                } else {
                    assert_valid(&required, &["plot", "count"]);
                }
            }
        }
    }
}

#[test]
fn a_model_of_random_weights_writes_json_that_validates() {
    let schema = json!({
        "type": "object",
        "properties": {
            "color": { "enum": ["red", "green", "blue"] },
            "sizes": { "type": "array", "items": { "type": "integer", "minimum": 1, "maximum": 12 }, "maxItems": 3 },
            "code": { "type": "string", "pattern": "^[A-Z]{2}[0-9]{2}$" },
        },
        "required": ["color", "sizes"],
        "additionalProperties": false,
    });
    // More scores than tokens, and fewer: without the token that ends an answer.
    for (seed, size) in seeds(6).zip([258, 300, 257, 258, 1024, 257]) {
        let (_folder, model) = random_model(seed, TEMPLATE, size);
        for temperature in [0.0, 1.0, 3.0] {
            let request = ChatRequest {
                messages: vec![Message::user("A color?")],
                sampling: sampling(Some(Constraint::JsonSchema(schema.clone())), seed, temperature, 400),
                ..ChatRequest::default()
            };
            let (events, response) = chat(&model, &request);
            assert_eq!(response.finish_reason, FinishReason::Stop, "{response:?}");
            let streamed: String = events
                .iter()
                .map(|event| match event {
                    ChatEvent::Text(text) => text.as_str(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(streamed, response.message.content);
            let value: Value = serde_json::from_str(&response.message.content).expect(&response.message.content);
            assert!(["red", "green", "blue"].contains(&value["color"].as_str().unwrap()), "{value}");
            let sizes = value["sizes"].as_array().unwrap();
            assert!(sizes.len() <= 3 && sizes.iter().all(|size| (1..=12).contains(&size.as_i64().unwrap())), "{value}");
            assert!(
                value.as_object().unwrap().keys().all(|key| ["color", "sizes", "code"].contains(&key.as_str())),
                "{value}"
            );
        }
    }
}

#[test]
fn text_matches_or_is_chosen() {
    for seed in seeds(3) {
        let (_folder, model) = random_model(seed, TEMPLATE, 258);
        let write = |constraint, limit| {
            model
                .generate("x", &sampling(Some(constraint), seed, 1.0, limit), &Cancellation::new(), &mut |_| {})
                .unwrap()
        };
        let date = write(Constraint::Regex(r"^20\d\d-[01]\d$".into()), 50);
        assert!(regex::Regex::new(r"^20\d\d-[01]\d$").unwrap().is_match(&date), "{date}");
        let choices = ["ja", "nein", "日本"];
        let choice = write(Constraint::Choice(choices.map(String::from).to_vec()), 50);
        assert!(choices.contains(&choice.as_str()), "{choice}");
        let cut = write(Constraint::Choice(vec!["a long choice".into()]), 6);
        assert_eq!(cut, "a long", "no more than the tokens it may have");
    }
}

#[test]
fn the_limit_says_length_unless_the_answer_is_whole() {
    let (_folder, model) = random_model(5, TEMPLATE, 258);
    for (limit, reason) in
        [(1, FinishReason::Length), (2, FinishReason::Length), (3, FinishReason::Stop), (4, FinishReason::Stop)]
    {
        let request = ChatRequest {
            messages: vec![Message::user("?")],
            sampling: sampling(Some(Constraint::Choice(vec!["abc".into()])), 0, 0.0, limit),
            ..ChatRequest::default()
        };
        let (_, response) = chat(&model, &request);
        assert_eq!(response.finish_reason, reason, "{limit}");
        assert_eq!(response.message.content, &"abc"[..limit.min(3)]);
        assert_eq!(response.usage.completion_tokens, limit.min(3));
    }
    // A call that is cut off comes as it was written.
    let (_folder, model) = random_model(5, SPANS, 258);
    let cut = ask(&model, ToolChoice::Named("plot".into()), 0, 0.0, 60);
    assert!(cut.message.tool_calls[0].arguments.is_string(), "{cut:?}");
    assert_eq!(cut.usage.completion_tokens, 60);
}

#[test]
fn a_call_that_a_free_model_begins_is_a_valid_one() {
    // It would go on with nonsense.
    let script = Script { pieces: &["Let me ", "see. ", "<tool_call>", "rub", "bish"], start: GO, template: SPANS };
    let (_folder, model) = script.model();
    let request = ChatRequest {
        messages: vec![Message::user("Count.")],
        tools: vec![tools().remove(1)],
        sampling: sampling(None, 0, 0.0, 200),
        ..ChatRequest::default()
    };
    let (events, response) = chat(&model, &request);
    assert!(events.starts_with(&[ChatEvent::Text("Let me".into()), ChatEvent::Text(" see.".into())]), "{events:?}");
    assert_valid(&response, &["count"]);
    // Without tools it may say what it likes.
    let (_, response) = chat(&model, &ChatRequest { tools: Vec::new(), ..request });
    assert!(response.message.content.ends_with("rubbish"), "{response:?}");
}

#[test]
fn a_model_may_think_before_it_calls() {
    let template = "{# <tool_call> #}{% for m in messages %}{{ m.content }}{% endfor %}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<think>";
    let script = Script { pieces: &["A <tool_call>", " it is", "</think>", "No!"], start: "<think>", template };
    let (_folder, model) = script.model();
    let request = ChatRequest {
        messages: vec![Message::user("Count.")],
        tools: vec![tools().remove(1)],
        tool_choice: ToolChoice::Required,
        sampling: sampling(None, 0, 0.0, 200),
        ..ChatRequest::default()
    };
    let (events, response) = chat(&model, &request);
    let thoughts: String = events
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Reasoning(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(thoughts, "A <tool_call> it is");
    assert_valid(&response, &["count"]);
}

#[test]
fn an_interrupt_stops_a_constrained_answer_and_the_next_one_is_whole() {
    let (_folder, model) = random_model(8, TEMPLATE, 258);
    let mut request = ChatRequest {
        messages: vec![Message::user("?")],
        sampling: sampling(Some(Constraint::Regex("[ab]{40}".into())), 0, 1.0, 100),
        ..ChatRequest::default()
    };
    let cancellation = Cancellation::new();
    let mut pieces = 0;
    let stopped = model.chat(&request, &cancellation, &mut |_| {
        pieces += 1;
        cancellation.cancel();
    });
    assert!(matches!(stopped, Err(ModelError::Cancelled)), "{stopped:?}");
    assert_eq!(pieces, 1);
    assert_eq!(chat(&model, &request).1.message.content.len(), 40);
    request.sampling.seed = 1;
    let other = chat(&model, &request).1.message.content;
    assert_eq!(chat(&model, &request).1.message.content, other, "the seed decides");
}

#[test]
fn what_calls_are_not_held_to_is_said_once() {
    let tool = |name: &str, bins: Value| ToolDefinition {
        name: name.into(),
        description: String::new(),
        parameters: json!({ "type": "object", "properties": { "bins": bins } }),
    };
    let unique = json!({ "type": "array", "items": { "type": "integer" }, "uniqueItems": true });
    let even = json!({ "type": "integer", "multipleOf": 2, "minimum": 4 });
    for (template, expected) in [
        (SPANS, &["uniqueItems"][..]),
        // Arguments in a notation of its own, which says of a number only that it is one.
        ("{# <|tool_call_start|> tools #}{{ messages[0].content }}<|go|>", &["uniqueItems", "minimum, multipleOf"]),
    ] {
        let (_folder, model) = random_model(1, template, 258);
        let mut said = Vec::new();
        for _ in 0..2 {
            let request = ChatRequest {
                messages: vec![Message::user("?")],
                tools: vec![tool("plot", unique.clone()), tool("count", even.clone())],
                sampling: sampling(None, 1, 0.0, 5),
                ..ChatRequest::default()
            };
            said.extend(chat(&model, &request).0.into_iter().filter_map(|event| match event {
                ChatEvent::Notice(text) => Some(text),
                _ => None,
            }));
        }
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for ((notice, keywords), tool) in said.iter().zip(expected).zip(["plot", "count"]) {
            assert!(notice.contains(&format!("schema of {tool}, {keywords} cannot")), "{notice}");
        }
    }
}

#[test]
fn what_cannot_be_asked_is_an_error_before_anything_is_written() {
    let (_folder, model) = random_model(8, SPANS, 258);
    let never = ToolDefinition {
        name: "never".into(),
        description: String::new(),
        parameters: json!({ "type": "object", "properties": { "a": false }, "required": ["a"] }),
    };
    let base = || ChatRequest {
        messages: vec![Message::user("?")],
        tools: tools(),
        sampling: sampling(None, 0, 0.0, 20),
        ..ChatRequest::default()
    };
    let constrained = |constraint| ChatRequest { sampling: sampling(Some(constraint), 0, 0.0, 20), ..base() };
    for (request, words) in [
        (ChatRequest { tools: Vec::new(), tool_choice: ToolChoice::Required, ..base() }, "none is on offer"),
        (ChatRequest { tool_choice: ToolChoice::Named("sing".into()), ..base() }, "must call sing"),
        (
            ChatRequest { tools: [tools(), vec![never]].concat(), tool_choice: ToolChoice::Required, ..base() },
            "tool never:",
        ),
        (constrained(Constraint::Regex("(".into())), "unclosed group"),
        (constrained(Constraint::JsonSchema(json!({ "type": "array", "uniqueItems": true }))), "uniqueItems"),
        (constrained(Constraint::Lark("start: nothing".into())), "nothing"),
    ] {
        let answered = model.chat(&request, &Cancellation::new(), &mut |event| panic!("{event:?}"));
        match answered {
            Err(ModelError::Constraint(message)) => assert!(message.contains(words), "{message}"),
            other => panic!("{words}: {other:?}"),
        }
    }
}

#[test]
fn a_remote_model_is_asked_in_openais_words() {
    let remote = OpenAiCompatible::new("http://localhost:9/v1", "m", None).unwrap();
    let body = |constraint| {
        let request = ChatRequest { sampling: sampling(Some(constraint), 0, 0.0, 20), ..ChatRequest::default() };
        remote.render_prompt(&request)
    };
    let schema = json!({ "type": "object" });
    let asked: Value = serde_json::from_str(&body(Constraint::JsonSchema(schema.clone())).unwrap()).unwrap();
    assert_eq!(
        asked["response_format"],
        json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema, "strict": true } })
    );
    let asked: Value = serde_json::from_str(&body(Constraint::JsonObject).unwrap()).unwrap();
    assert_eq!(asked["response_format"], json!({ "type": "json_object" }));
    let error = body(Constraint::Regex("a".into())).unwrap_err();
    assert!(error.to_string().contains("can't ask a remote model for a regular expression"), "{error}");
}

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let first = rand::random_range(0..1_000_000_u64);
    println!("seeds from {first}");
    first..first + count
}

fn random_model(seed: u64, template: &str, size: usize) -> (tempfile::TempDir, LocalModel) {
    let folder = tempfile::tempdir().unwrap();
    write_random_chat_model(folder.path(), seed, template, size);
    let model = open(folder.path());
    (folder, model)
}

fn open(folder: &Path) -> LocalModel {
    LocalModel::open(folder, DeviceChoice::Cpu).unwrap()
}

fn tools() -> Vec<ToolDefinition> {
    let tool = |name: &str, parameters| ToolDefinition { name: name.into(), description: String::new(), parameters };
    vec![
        tool(
            "plot",
            json!({ "type": "object", "properties": { "kind": { "enum": ["bar", "line"] }, "bins": { "type": "integer", "minimum": 1, "maximum": 64 } }, "required": ["kind", "bins"] }),
        ),
        tool(
            "count",
            json!({ "type": "object", "properties": { "table": { "enum": ["orders", "customers"] } }, "required": ["table"] }),
        ),
    ]
}

fn sampling(constraint: Option<Constraint>, seed: u64, temperature: f32, max_tokens: usize) -> SamplingParameters {
    SamplingParameters { temperature, seed, max_tokens, constraint, ..SamplingParameters::default() }
}

fn ask(model: &LocalModel, choice: ToolChoice, seed: u64, temperature: f32, max_tokens: usize) -> ChatResponse {
    let request = ChatRequest {
        messages: vec![Message::user("?")],
        tools: tools(),
        tool_choice: choice,
        sampling: sampling(None, seed, temperature, max_tokens),
        ..ChatRequest::default()
    };
    let (events, response) = chat(model, &request);
    let calls: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            ChatEvent::ToolCall(call) => Some(call),
            _ => None,
        })
        .collect();
    assert_eq!(calls, response.message.tool_calls);
    response
}

/// Asserts that there is a call, and that all of them, but one that was cut off, are valid calls of
/// these tools.
fn assert_valid(response: &ChatResponse, names: &[&str]) {
    let calls = &response.message.tool_calls;
    assert!(!calls.is_empty(), "{response:?}");
    let cut = calls.iter().filter(|call| call.arguments.is_string()).count();
    assert!(cut == 0 || (cut == 1 && calls.len() > 1), "{response:?}");
    for call in calls.iter().filter(|call| call.arguments.is_object()) {
        assert!(names.contains(&call.name.as_str()), "{call:?}");
        let arguments = &call.arguments;
        if call.name == "plot" {
            assert!(["bar", "line"].contains(&arguments["kind"].as_str().unwrap()), "{call:?}");
            assert!((1..=64).contains(&arguments["bins"].as_i64().unwrap()), "{call:?}");
        } else {
            assert!(["orders", "customers"].contains(&arguments["table"].as_str().unwrap()), "{call:?}");
        }
    }
}

fn chat(model: &LocalModel, request: &ChatRequest) -> (Vec<ChatEvent>, ChatResponse) {
    let mut events = Vec::new();
    let response = model.chat(request, &Cancellation::new(), &mut |event| events.push(event)).unwrap();
    (events, response)
}

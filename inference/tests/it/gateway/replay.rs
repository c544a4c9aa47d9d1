//! Recorded exchanges with real providers, served again and read by the adapter.
//!
//! The expectation is worked out here a second time, from the recording, in the
//! plainest way: what the adapter says must agree with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use codriver_inference::gateway::{OpenAiCompatible, Patience};
use codriver_inference::{
    Cancellation, ChatEvent, ChatModel, ChatRequest, FinishReason, Message, ModelError, Role, SamplingParameters,
    ToolCall, ToolChoice, ToolDefinition,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::server::{Answer, Server};

#[derive(Deserialize)]
struct Exchange {
    when: When,
    then: Then,
}

#[derive(Deserialize)]
struct When {
    path: String,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Then {
    status: u16,
    #[serde(default)]
    header: Vec<Header>,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[test]
fn openai() {
    replay("openai", 20);
}

#[test]
fn llamacpp() {
    replay("llamacpp", 15);
}

#[test]
fn mistral() {
    replay("mistral", 20);
}

#[test]
fn deepseek() {
    replay("deepseek", 20);
}

fn replay(provider: &str, at_least: usize) {
    let shared = std::env::var_os("CODRIVER_SHARED").map_or_else(|| PathBuf::from("../../shared"), PathBuf::from);
    let folder = shared.join("data/wire").join(provider);
    let Ok(entries) = fs_err::read_dir(&folder) else {
        eprintln!("SKIPPED: no recordings at {} (set CODRIVER_SHARED)", folder.display());
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut replayed = 0;
    for path in paths {
        let text = fs_err::read_to_string(&path).unwrap();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let exchange = Exchange::deserialize(document).unwrap();
            if exchange.when.path.ends_with("/chat/completions") {
                check(&path.display().to_string(), &exchange);
                replayed += 1;
            }
        }
    }
    assert!(replayed >= at_least, "only {replayed} exchanges found in {}", folder.display());
}

fn check(name: &str, exchange: &Exchange) {
    let recorded: Value = serde_json::from_str(exchange.when.body.as_deref().unwrap()).unwrap();
    let request = to_request(&recorded);
    let mut answer = Answer::new(exchange.then.status, "", exchange.then.body.clone());
    answer.headers = exchange.then.header.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
    answer.chunk = 13;
    // A refused parameter is left out and the request sent again.
    let server = Server::start([answer.clone(), answer]);
    let once = Patience { attempts: 1, silence: Duration::from_secs(10), ..Patience::default() };
    let model_name = recorded["model"].as_str().unwrap();
    let model = OpenAiCompatible::new(&server.base, model_name, None).unwrap().with_patience(once).unwrap();
    let mut events = Vec::new();
    let outcome = model.chat(&request, &Cancellation::new(), &mut |event| events.push(event));

    let seen = server.seen();
    assert!(seen.len() == 1 || exchange.then.status == 400, "{name}: asked {} times", seen.len());
    check_request(name, &recorded, &seen[0].body);
    match outcome {
        Ok(response) => {
            assert!(exchange.then.status < 400, "{name}: an error was taken for an answer");
            let expected = Expected::read(&exchange.then.body);
            assert_eq!(response.message.content, expected.text, "{name}");
            let calls: Vec<(String, Value)> =
                response.message.tool_calls.iter().map(|call| (call.name.clone(), call.arguments.clone())).collect();
            assert_eq!(calls, expected.calls, "{name}");
            assert_eq!((response.usage.prompt_tokens, response.usage.completion_tokens), expected.usage, "{name}");
            assert_eq!(response.finish_reason, expected.finish, "{name}");
            let said: String = events
                .iter()
                .filter_map(|event| match event {
                    ChatEvent::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            assert_eq!(said, expected.text, "{name}: the stream and the response differ");
            let thought: String = events
                .iter()
                .filter_map(|event| match event {
                    ChatEvent::Reasoning(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            assert_eq!(thought, expected.reasoning, "{name}");
        }
        Err(error) => {
            assert!(exchange.then.status >= 400, "{name}: {error}");
            check_error(name, exchange, &error);
        }
    }
}

fn check_error(name: &str, exchange: &Exchange, error: &ModelError) {
    let body: Value = serde_json::from_str(&exchange.then.body).unwrap();
    match error {
        ModelError::Provider { status, message, .. } => {
            assert_eq!(*status, exchange.then.status, "{name}");
            let said = [&body["error"]["message"], &body["message"]].into_iter().find_map(Value::as_str).unwrap();
            assert!(message.contains(said), "{name}: {message}");
        }
        ModelError::ContextOverflow { prompt, window } => {
            assert_eq!(json!(prompt), body["error"]["n_prompt_tokens"], "{name}");
            assert_eq!(json!(window), body["error"]["n_ctx"], "{name}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// What we sent says the same as what was recorded, and asks for a stream with usage.
fn check_request(name: &str, recorded: &Value, sent: &Value) {
    assert_eq!(sent["model"], recorded["model"], "{name}");
    assert_eq!(sent["stream"], json!(true), "{name}");
    assert_eq!(sent["stream_options"], json!({ "include_usage": true }), "{name}");
    let normal = |body: &Value| -> Vec<Value> { body["messages"].as_array().unwrap().iter().map(normalized).collect() };
    assert_eq!(normal(sent), normal(recorded), "{name}");
    let names = |body: &Value| -> Vec<Value> {
        body["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|tool| {
                let function = &tool["function"];
                json!([tool["type"], function["name"], function["description"], function["parameters"]])
            })
            .collect()
    };
    assert_eq!(names(sent), names(recorded), "{name}");
}

/// A message with the freedoms of the format taken out.
fn normalized(message: &Value) -> Value {
    let calls: Vec<Value> = message["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| {
            let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
            json!([call["id"], call["function"]["name"], arguments])
        })
        .collect();
    json!([message["role"], text(&message["content"]), message["tool_call_id"], calls])
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

fn to_request(recorded: &Value) -> ChatRequest {
    let messages = recorded["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let tool_calls = message["tool_calls"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|call| ToolCall {
                    id: call["id"].as_str().unwrap().to_owned(),
                    name: call["function"]["name"].as_str().unwrap().to_owned(),
                    arguments: serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap(),
                })
                .collect();
            let role: Role = serde_json::from_value(message["role"].clone()).unwrap();
            Message {
                role,
                content: text(&message["content"]),
                tool_calls,
                tool_call_id: message["tool_call_id"].as_str().map(str::to_owned),
                tool_name: None,
            }
        })
        .collect();
    let tools = recorded["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| ToolDefinition {
            name: tool["function"]["name"].as_str().unwrap().to_owned(),
            description: tool["function"]["description"].as_str().unwrap().to_owned(),
            parameters: tool["function"]["parameters"].clone(),
        })
        .collect();
    let tool_choice = match recorded["tool_choice"].as_str() {
        Some("none") => ToolChoice::None,
        Some("required" | "any") => ToolChoice::Required,
        _ => ToolChoice::Auto,
    };
    let sampling = SamplingParameters {
        max_tokens: recorded["max_tokens"].as_u64().map_or(256, |tokens| usize::try_from(tokens).unwrap()),
        ..SamplingParameters::default()
    };
    ChatRequest { messages, tools, tool_choice, sampling, ..ChatRequest::default() }
}

/// What the recording says was answered.
#[derive(Debug)]
struct Expected {
    text: String,
    reasoning: String,
    calls: Vec<(String, Value)>,
    usage: (usize, usize),
    finish: FinishReason,
}

impl Expected {
    fn read(body: &str) -> Self {
        let chunks: Vec<Value> = match serde_json::from_str(body) {
            Ok(whole) => vec![whole],
            Err(_) => body
                .lines()
                .filter_map(|line| line.strip_prefix("data: "))
                .filter(|data| *data != "[DONE]")
                .map(|data| serde_json::from_str(data).unwrap())
                .collect(),
        };
        let mut expected = Self {
            text: String::new(),
            reasoning: String::new(),
            calls: Vec::new(),
            usage: (0, 0),
            finish: FinishReason::Stop,
        };
        let mut calls: BTreeMap<u64, (String, String)> = BTreeMap::new();
        for chunk in &chunks {
            let count = |name: &str| chunk["usage"][name].as_u64().map(|count| usize::try_from(count).unwrap());
            if let Some(prompt) = count("prompt_tokens") {
                expected.usage = (prompt, count("completion_tokens").unwrap_or(0));
            }
            for choice in chunk["choices"].as_array().into_iter().flatten().filter(|choice| choice["index"] == 0) {
                let said = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
                expected.text.push_str(&text(&said["content"]));
                expected.reasoning.push_str(said["reasoning_content"].as_str().unwrap_or_default());
                for (position, call) in said["tool_calls"].as_array().into_iter().flatten().enumerate() {
                    let slot = calls.entry(call["index"].as_u64().unwrap_or(position as u64)).or_default();
                    slot.0.push_str(call["function"]["name"].as_str().unwrap_or_default());
                    slot.1.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
                }
                if choice["finish_reason"] == "length" {
                    expected.finish = FinishReason::Length;
                }
            }
        }
        expected.calls =
            calls.into_values().map(|(name, arguments)| (name, serde_json::from_str(&arguments).unwrap())).collect();
        if !expected.calls.is_empty() {
            expected.finish = FinishReason::ToolCalls;
        }
        expected
    }
}

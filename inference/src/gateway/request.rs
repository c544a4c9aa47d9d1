//! A [`ChatRequest`] as the body of a chat completion.

use serde_json::{Map, Value, json};

use crate::{ChatRequest, Constraint, Message, ModelError, Role, SamplingParameters, ToolCall, ToolChoice};

/// Parameters a server may not know. Left out when it says so.
const OPTIONAL: [&str; 8] =
    ["stream_options", "seed", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "stop"];

/// The body, changed only by leaving out what the server refuses.
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// An error where the request asks for what the protocol has no words for.
    pub(super) fn new(model: &str, request: &ChatRequest) -> Result<Self, ModelError> {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(model));
        body.insert("messages".to_owned(), request.messages.iter().map(message).collect());
        if !request.tools.is_empty() {
            body.insert("tools".to_owned(), tools(request));
            body.insert("tool_choice".to_owned(), tool_choice(&request.tool_choice));
        }
        sampling(&mut body, &request.sampling);
        if let Some(constraint) = &request.sampling.constraint {
            body.insert("response_format".to_owned(), response_format(constraint)?);
        }
        body.insert("stream".to_owned(), json!(true));
        body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        Ok(Self(body))
    }

    pub(super) fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    pub(super) fn to_pretty_json(&self) -> String {
        format!("{:#}", Value::Object(self.0.clone()))
    }

    /// Drops the parameter an error message complains about; false if there is none.
    pub(super) fn leave_out_what_is_named_in(&mut self, message: &str) -> bool {
        if message.contains("max_completion_tokens")
            && let Some(limit) = self.0.shift_remove("max_tokens")
        {
            self.0.insert("max_completion_tokens".to_owned(), limit);
            return true;
        }
        if let Some(name) = OPTIONAL.iter().find(|name| names(message, name) && self.0.contains_key(**name)) {
            self.0.shift_remove(*name);
            return true;
        }
        if names(message, "stream") && self.0.get("stream") == Some(&json!(true)) {
            self.0.shift_remove("stream_options");
            self.0.insert("stream".to_owned(), json!(false));
            return true;
        }
        false
    }
}

/// Whether `parameter` stands in `message` as a word of its own.
fn names(message: &str, parameter: &str) -> bool {
    message
        .split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .any(|word| word == parameter)
}

fn message(message: &Message) -> Value {
    match message.role {
        Role::System => json!({ "role": "system", "content": message.content }),
        Role::User => json!({ "role": "user", "content": message.content }),
        Role::Tool => json!({
            "role": "tool",
            "tool_call_id": message.tool_call_id.clone().unwrap_or_default(),
            "content": message.content,
        }),
        Role::Assistant if message.tool_calls.is_empty() => {
            json!({ "role": "assistant", "content": message.content })
        }
        Role::Assistant => {
            let content = if message.content.is_empty() { Value::Null } else { json!(message.content) };
            let calls: Vec<Value> = message.tool_calls.iter().map(tool_call).collect();
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
    }
}

fn tool_call(call: &ToolCall) -> Value {
    // Servers parse the arguments again: what a model garbled goes back inside an object.
    let arguments = match &call.arguments {
        Value::Object(_) => call.arguments.to_string(),
        other => json!({ "unreadable": other }).to_string(),
    };
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": arguments } })
}

fn tools(request: &ChatRequest) -> Value {
    request
        .tools
        .iter()
        .map(|tool| {
            json!({
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            })
        })
        .collect()
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

/// A server that does not know it refuses the request; it is not left out, since what comes back
/// would be anything.
fn response_format(constraint: &Constraint) -> Result<Value, ModelError> {
    let kind = match constraint {
        Constraint::JsonObject => return Ok(json!({ "type": "json_object" })),
        Constraint::JsonSchema(schema) => {
            let named = json!({ "name": "answer", "schema": schema, "strict": true });
            return Ok(json!({ "type": "json_schema", "json_schema": named }));
        }
        Constraint::Regex(_) => "a regular expression",
        Constraint::Choice(_) => "a choice",
        Constraint::Lark(_) => "a grammar",
    };
    Err(ModelError::Constraint(format!(
        "OpenAI's protocol can't ask a remote model for {kind}; use a JSON schema (an enum, a pattern) or a local model"
    )))
}

fn sampling(body: &mut Map<String, Value>, sampling: &SamplingParameters) {
    body.insert("max_tokens".to_owned(), json!(sampling.max_tokens));
    body.insert("temperature".to_owned(), decimal(sampling.temperature));
    if !sampling.stop.is_empty() {
        body.insert("stop".to_owned(), json!(sampling.stop));
    }
    if (sampling.repetition_penalty - 1.0).abs() > f32::EPSILON {
        body.insert("repetition_penalty".to_owned(), decimal(sampling.repetition_penalty));
    }
    if sampling.temperature <= 0.0 {
        return;
    }
    body.insert("seed".to_owned(), json!(sampling.seed));
    if sampling.top_p < 1.0 {
        body.insert("top_p".to_owned(), decimal(sampling.top_p));
    }
    if sampling.top_k > 0 {
        body.insert("top_k".to_owned(), json!(sampling.top_k));
    }
    if sampling.min_p > 0.0 {
        body.insert("min_p".to_owned(), decimal(sampling.min_p));
    }
}

/// 0.7, not the 0.699999988079071 that widening an f32 gives.
fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, |value| json!(value))
}

//! What a server answers, streamed or whole, put together.

use serde::Deserialize;
use serde_json::Value;

use super::server_events::ServerEvents;
use crate::{ChatEvent, ChatResponse, FinishReason, Message, ModelError, ToolCall, Usage};

/// Puts the answer together from the bytes of the body.
pub(super) struct Assembler {
    provider: String,
    form: Form,
    answer: Answer,
    done: bool,
}

/// A server that does not stream answers in one piece of JSON.
enum Form {
    Stream(ServerEvents),
    Whole(Vec<u8>),
}

impl Assembler {
    pub(super) fn new(provider: String) -> Self {
        Self { provider, form: Form::Whole(Vec::new()), answer: Answer::default(), done: false }
    }

    pub(super) fn begin(&mut self, content_type: &str) {
        if content_type.starts_with("text/event-stream") {
            self.form = Form::Stream(ServerEvents::default());
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], on_event: &mut dyn FnMut(ChatEvent)) -> Result<(), ModelError> {
        let events = match &mut self.form {
            Form::Whole(body) => {
                body.extend_from_slice(bytes);
                return Ok(());
            }
            Form::Stream(events) => events.push(bytes),
        };
        events.iter().try_for_each(|event| self.event(event, on_event))
    }

    /// True once the stream has said `[DONE]`: some servers keep the connection open.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn finish(mut self, on_event: &mut dyn FnMut(ChatEvent)) -> Result<ChatResponse, ModelError> {
        match std::mem::replace(&mut self.form, Form::Whole(Vec::new())) {
            Form::Stream(events) => {
                if let Some(event) = events.finish()
                    && !self.done
                {
                    self.event(&event, on_event)?;
                }
                if !self.done && self.answer.finish_reason.is_none() {
                    return Err(self.protocol("the stream ended in the middle of the answer"));
                }
            }
            Form::Whole(body) => {
                let body = String::from_utf8_lossy(&body).into_owned();
                self.whole(&body, on_event)?;
            }
        }
        Ok(self.answer.finish(on_event))
    }

    fn event(&mut self, event: &str, on_event: &mut dyn FnMut(ChatEvent)) -> Result<(), ModelError> {
        if event.trim() == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        if event.trim().is_empty() || self.done {
            return Ok(());
        }
        let chunk = self.parse(event)?;
        self.take(chunk, on_event)
    }

    fn whole(&mut self, body: &str, on_event: &mut dyn FnMut(ChatEvent)) -> Result<(), ModelError> {
        let chunk = self.parse(body)?;
        if chunk.choices.is_empty() && chunk.error.is_none() {
            return Err(self.protocol(&format!("no choices in {}", excerpt(body))));
        }
        self.take(chunk, on_event)
    }

    fn parse(&self, text: &str) -> Result<Chunk, ModelError> {
        serde_json::from_str(text).map_err(|error| self.protocol(&format!("{error} in {}", excerpt(text))))
    }

    fn take(&mut self, chunk: Chunk, on_event: &mut dyn FnMut(ChatEvent)) -> Result<(), ModelError> {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            let status = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
            return Err(ModelError::Provider {
                provider: self.provider.clone(),
                status: status.unwrap_or(200),
                message: message_of(&error).unwrap_or_else(|| error.to_string()),
            });
        }
        if let Some(usage) = chunk.usage {
            self.answer.usage =
                Usage { prompt_tokens: usage.prompt_tokens, completion_tokens: usage.completion_tokens };
        }
        // With n > 1 the other candidates come interleaved; only the first is ours.
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            if let Some(delta) = choice.delta.or(choice.message) {
                self.answer.add(delta, on_event);
            }
            if let Some(reason) = choice.finish_reason {
                self.answer.finish_reason = Some(reason);
            }
        }
        Ok(())
    }

    fn protocol(&self, reason: &str) -> ModelError {
        ModelError::Protocol { provider: self.provider.clone(), reason: reason.to_owned() }
    }
}

/// The answer so far.
#[derive(Default)]
struct Answer {
    text: String,
    calls: Vec<PartialCall>,
    finish_reason: Option<String>,
    usage: Usage,
}

/// A call whose arguments arrive bit by bit.
struct PartialCall {
    index: Option<usize>,
    id: String,
    name: String,
    arguments: String,
}

impl Answer {
    fn add(&mut self, delta: Delta, on_event: &mut dyn FnMut(ChatEvent)) {
        for reasoning in [delta.reasoning_content, delta.reasoning].into_iter().flatten() {
            say(ChatEvent::Reasoning, text_of(&reasoning), on_event);
        }
        if let Some(content) = delta.content {
            say(ChatEvent::Reasoning, thinking_in(&content), on_event);
            let text = text_of(&content);
            self.text.push_str(&text);
            say(ChatEvent::Text, text, on_event);
        }
        if let Some(refusal) = delta.refusal {
            self.text.push_str(&refusal);
            say(ChatEvent::Text, refusal, on_event);
        }
        for call in delta.tool_calls.into_iter().flatten() {
            self.add_call(call);
        }
    }

    fn add_call(&mut self, delta: CallDelta) {
        let slot = self.slot_of(&delta);
        let call = &mut self.calls[slot];
        if let Some(id) = delta.id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        let Some(function) = delta.function else { return };
        if let Some(name) = function.name.filter(|name| *name != call.name) {
            call.name.push_str(&name);
        }
        match function.arguments {
            Some(Value::String(piece)) => call.arguments.push_str(&piece),
            Some(Value::Null) | None => {}
            // Some servers send the object itself instead of its text.
            Some(object) => call.arguments = object.to_string(),
        }
    }

    /// The call a delta goes on with. Servers that number every call 0 (or none at all)
    /// are told apart by the id.
    fn slot_of(&mut self, delta: &CallDelta) -> usize {
        let id = delta.id.as_deref().unwrap_or_default();
        let found = self.calls.iter().rposition(|call| match delta.index {
            Some(index) => call.index == Some(index) && (id.is_empty() || call.id.is_empty() || call.id == id),
            None => id.is_empty() || call.id == id,
        });
        found.unwrap_or_else(|| {
            self.calls.push(PartialCall {
                index: delta.index,
                id: String::new(),
                name: String::new(),
                arguments: String::new(),
            });
            self.calls.len() - 1
        })
    }

    fn finish(self, on_event: &mut dyn FnMut(ChatEvent)) -> ChatResponse {
        let calls: Vec<ToolCall> =
            self.calls.into_iter().enumerate().map(|(position, call)| call.finish(position)).collect();
        for call in &calls {
            on_event(ChatEvent::ToolCall(call.clone()));
        }
        let finish_reason = match self.finish_reason.as_deref() {
            _ if !calls.is_empty() => FinishReason::ToolCalls,
            Some("length" | "model_length") => FinishReason::Length,
            Some("content_filter") => FinishReason::ContentFilter,
            _ => FinishReason::Stop,
        };
        ChatResponse { message: Message::assistant(self.text, calls), finish_reason, usage: self.usage }
    }
}

impl PartialCall {
    fn finish(self, position: usize) -> ToolCall {
        let id = if self.id.is_empty() { format!("call_{position}") } else { self.id };
        let arguments = match self.arguments.trim() {
            "" => Value::Object(serde_json::Map::new()),
            text => match serde_json::from_str(text) {
                Ok(value @ Value::Object(_)) => value,
                _ => Value::String(self.arguments),
            },
        };
        ToolCall { id, name: self.name, arguments }
    }
}

fn say(event: fn(String) -> ChatEvent, text: String, on_event: &mut dyn FnMut(ChatEvent)) {
    if !text.is_empty() {
        on_event(event(text));
    }
}

/// Text that is either a string or a list of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter(|part| part.get("type").is_none_or(|kind| kind == "text"))
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect(),
        _ => String::new(),
    }
}

/// Mistral keeps reasoning inside the content, as parts of their own.
fn thinking_in(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten();
    parts.filter_map(|part| part.get("thinking")).map(text_of).collect()
}

/// What the error says, whichever envelope it comes in.
pub(super) fn error_message(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    parsed.as_ref().and_then(message_of).unwrap_or_else(|| excerpt(body))
}

fn message_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => items.first().and_then(message_of),
        Value::Object(_) => {
            let inner = ["error", "message", "detail", "msg"].iter().find_map(|key| value.get(key))?;
            match inner {
                // FastAPI lists each field it refuses under `detail`.
                Value::Array(_) => Some(inner.to_string()),
                inner => message_of(inner),
            }
        }
        _ => None,
    }
}

/// A prompt that is too long, where the server says by how much.
pub(super) fn context_overflow(body: &str) -> Option<ModelError> {
    let value: Value = serde_json::from_str(body).ok()?;
    let error = value.get("error")?;
    let number = |name: &str| error.get(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    Some(ModelError::ContextOverflow { prompt: number("n_prompt_tokens")?, window: number("n_ctx")? })
}

fn excerpt(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "an empty answer".to_owned();
    }
    let short: String = text.chars().take(200).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: usize,
    delta: Option<Delta>,
    message: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Value>,
    reasoning_content: Option<Value>,
    reasoning: Option<Value>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    index: Option<usize>,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
}

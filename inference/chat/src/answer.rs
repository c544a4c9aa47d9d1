//! A model's raw text as an answer: prose, reasoning and tool calls told apart while they stream.

use regex::Regex;
use serde_json::{Map, Value};

use crate::markers::{find_first, partial_suffix};
use crate::{ChatEvent, ToolCall};

const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";
const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const PYTHON_TAG: &str = "<|python_tag|>";

/// How a model writes its tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStyle {
    /// `<tool_call>{"name": .., "arguments": ..}</tool_call>` anywhere in the text (Hermes, Qwen).
    Spans,
    /// The whole answer is `{"name": .., "parameters": ..}`, or several (Llama 3).
    Json,
}

/// Reads an answer piece by piece.
pub struct AnswerParser {
    style: CallStyle,
    tool_names: Vec<String>,
    state: State,
    /// What was read but not yet said: it may be the beginning of a marker or of a call.
    buffer: String,
    /// White space that is said only if text follows it.
    space: String,
    content: String,
    calls: Vec<ToolCall>,
    first_call: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Reasoning,
    /// Within a `<tool_call>` span.
    Call,
    /// The answer looks like Llama's JSON: only its end tells whether it is.
    Json,
}

impl AnswerParser {
    /// `calls_before` is the number of calls in the conversation so far: ids are unique in it.
    /// `reasoning` says that the prompt already opened the model's reasoning.
    pub fn new(style: CallStyle, tool_names: Vec<String>, calls_before: usize, reasoning: bool) -> Self {
        Self {
            style,
            tool_names,
            state: if reasoning { State::Reasoning } else { State::Text },
            buffer: String::new(),
            space: String::new(),
            content: String::new(),
            calls: Vec::new(),
            first_call: calls_before,
        }
    }

    pub fn push(&mut self, piece: &str, on_event: &mut dyn FnMut(ChatEvent)) {
        self.buffer.push_str(piece);
        while self.advance(on_event) {}
    }

    /// The answer's text and calls, when no more comes.
    pub fn finish(mut self, on_event: &mut dyn FnMut(ChatEvent)) -> (String, Vec<ToolCall>) {
        let rest = std::mem::take(&mut self.buffer);
        match self.state {
            State::Text => self.say(&rest, on_event),
            State::Reasoning => reason(&rest, on_event),
            State::Call => self.call_or_text(&rest, on_event),
            State::Json => self.json_calls_or_text(&rest, on_event),
        }
        (self.content, self.calls)
    }

    /// Handles the next stretch of the buffer; false when more text is needed.
    fn advance(&mut self, on_event: &mut dyn FnMut(ChatEvent)) -> bool {
        match self.state {
            State::Text => self.advance_text(on_event),
            State::Reasoning => {
                let Some(end) = self.buffer.find(THINK_END) else {
                    let sure = self.buffer.len() - partial_suffix(&self.buffer, [THINK_END].into_iter());
                    reason(&self.take(sure), on_event);
                    return false;
                };
                reason(&self.take(end), on_event);
                self.take(THINK_END.len());
                self.state = State::Text;
                true
            }
            State::Call => {
                let Some(end) = self.buffer.find(CALL_END) else {
                    return false;
                };
                let span = self.take(end);
                self.take(CALL_END.len());
                self.state = State::Text;
                self.call_or_text(&span, on_event);
                true
            }
            State::Json => false,
        }
    }

    fn advance_text(&mut self, on_event: &mut dyn FnMut(ChatEvent)) -> bool {
        let begins_with_brace = self.content.is_empty() && self.buffer.trim_start().starts_with('{');
        if self.style == CallStyle::Json && !self.tool_names.is_empty() && begins_with_brace {
            self.state = State::Json;
            return true;
        }
        let markers = match self.style {
            CallStyle::Spans => [THINK, CALL],
            CallStyle::Json => [THINK, PYTHON_TAG],
        };
        let Some((position, marker)) = find_first(&self.buffer, markers.into_iter()) else {
            let sure = self.buffer.len() - partial_suffix(&self.buffer, markers.into_iter());
            let text = self.take(sure);
            self.say(&text, on_event);
            return false;
        };
        let text = self.take(position);
        self.say(&text, on_event);
        self.take(marker.len());
        self.state = match marker {
            THINK => State::Reasoning,
            CALL => State::Call,
            _ => State::Json,
        };
        true
    }

    fn take(&mut self, length: usize) -> String {
        self.buffer.drain(..length).collect()
    }

    /// Says text, without white space at the answer's beginning and end.
    fn say(&mut self, text: &str, on_event: &mut dyn FnMut(ChatEvent)) {
        let text = if self.content.is_empty() { text.trim_start() } else { text };
        let trimmed = text.trim_end();
        if !trimmed.is_empty() {
            let said = std::mem::take(&mut self.space) + trimmed;
            self.content.push_str(&said);
            on_event(ChatEvent::Text(said));
        }
        if !self.content.is_empty() {
            self.space.push_str(&text[trimmed.len()..]);
        }
    }

    fn call(&mut self, name: String, arguments: Value, on_event: &mut dyn FnMut(ChatEvent)) {
        let id = format!("call_{}", self.first_call + self.calls.len() + 1);
        let call = ToolCall { id, name, arguments };
        self.calls.push(call.clone());
        on_event(ChatEvent::ToolCall(call));
    }

    fn call_or_text(&mut self, span: &str, on_event: &mut dyn FnMut(ChatEvent)) {
        match read_call(span.trim()) {
            Some((name, arguments)) => self.call(name, arguments, on_event),
            None => self.say(span, on_event),
        }
    }

    /// All of the answer is calls of tools on offer, or none of it is.
    fn json_calls_or_text(&mut self, text: &str, on_event: &mut dyn FnMut(ChatEvent)) {
        match read_calls(text, &self.tool_names) {
            Some(calls) => {
                for (name, arguments) in calls {
                    self.call(name, arguments, on_event);
                }
            }
            None => self.say(text, on_event),
        }
    }
}

fn reason(text: &str, on_event: &mut dyn FnMut(ChatEvent)) {
    if !text.is_empty() {
        on_event(ChatEvent::Reasoning(text.to_string()));
    }
}

/// A call in JSON. Where only its name can be made out, the arguments are the raw text.
fn read_call(text: &str) -> Option<(String, Value)> {
    if let Ok(call) = serde_json::from_str::<Map<String, Value>>(text) {
        return call_parts(&call);
    }
    let name = Regex::new(r#""name"\s*:\s*"([^"]+)""#).ok()?.captures(text)?.get(1)?.as_str().to_string();
    let arguments = Regex::new(r#"(?s)"(?:arguments|parameters)"\s*:\s*(.*)"#).ok()?;
    let raw = arguments.captures(text).and_then(|found| found.get(1)).map_or(text, |found| found.as_str());
    Some((name, Value::String(raw.to_string())))
}

fn call_parts(call: &Map<String, Value>) -> Option<(String, Value)> {
    let name = call.get("name")?.as_str()?.to_string();
    let arguments = match call.get("arguments").or_else(|| call.get("parameters")) {
        None | Some(Value::Null) => Value::Object(Map::new()),
        // Some models write the arguments as a string of JSON.
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(arguments)) => Value::Object(arguments),
            _ => Value::String(text.clone()),
        },
        Some(arguments) => arguments.clone(),
    };
    Some((name, arguments))
}

/// Calls in JSON one after the other, all of known tools.
fn read_calls(text: &str, known: &[String]) -> Option<Vec<(String, Value)>> {
    let mut calls = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Map<String, Value>>();
        let (name, arguments) = call_parts(&values.next()?.ok()?)?;
        if !known.contains(&name) {
            return None;
        }
        rest = rest[values.byte_offset()..].trim_start_matches([';', ',', ' ', '\n']);
        calls.push((name, arguments));
    }
    (!calls.is_empty()).then_some(calls)
}

//! A model's raw text as an answer: prose, reasoning and tool calls told apart while they stream.

use crate::formats::{Opened, Reading, Schemas, ToolFormat};
use crate::markers::{find_first, partial_suffix};
use crate::{ChatEvent, ToolCall, ToolDefinition};

/// Reads an answer piece by piece, wherever the pieces are cut.
///
/// Text is passed on as soon as it surely is text, a call when it is complete. What looks like a call and is none
/// is text; what is a call but has broken arguments is a call with those arguments as a string. Nothing is lost.
pub struct AnswerParser {
    format: ToolFormat,
    schemas: Schemas,
    state: State,
    /// What was read but not yet said: it may be the beginning of a marker or of a call.
    buffer: String,
    /// What was read since an opening and is said where no call follows.
    since_opening: String,
    /// White space that is said only if text follows it.
    space: String,
    content: String,
    calls: Vec<ToolCall>,
    first_call: usize,
    /// Whether the answer may still turn out to be calls without an opening.
    may_be_bare: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Text,
    /// To any of these markers.
    Reasoning(Vec<&'static str>),
    /// After an opening, empty where the answer began with calls; `within` once one of them was read.
    Calls {
        opening: &'static str,
        within: bool,
    },
}

impl AnswerParser {
    /// `calls_before` is the number of calls in the conversation so far: ids are unique in it.
    /// `reasoning` says that the prompt already opened the model's reasoning.
    pub fn new(format: ToolFormat, tools: &[ToolDefinition], calls_before: usize, reasoning: bool) -> Self {
        let closes = || format.reasoning().into_iter().map(|(_, close)| close).collect();
        Self {
            format,
            schemas: Schemas(tools.to_vec()),
            state: if reasoning { State::Reasoning(closes()) } else { State::Text },
            buffer: String::new(),
            since_opening: String::new(),
            space: String::new(),
            content: String::new(),
            calls: Vec::new(),
            first_call: calls_before,
            may_be_bare: true,
        }
    }

    pub fn push(&mut self, piece: &str, on_event: &mut dyn FnMut(ChatEvent)) {
        self.buffer.push_str(piece);
        while self.advance(false, on_event) {}
    }

    /// The answer's text and calls, when no more comes.
    pub fn finish(mut self, on_event: &mut dyn FnMut(ChatEvent)) -> (String, Vec<ToolCall>) {
        while !self.buffer.is_empty() && self.advance(true, on_event) {}
        if matches!(self.state, State::Calls { within: false, .. }) {
            let unsaid = std::mem::take(&mut self.since_opening);
            self.say(&unsaid, on_event);
        }
        (self.content, self.calls)
    }

    /// Handles the next stretch of the buffer; false when more text is needed.
    fn advance(&mut self, finished: bool, on_event: &mut dyn FnMut(ChatEvent)) -> bool {
        match self.state.clone() {
            State::Text => self.advance_text(finished, on_event),
            State::Reasoning(closes) => {
                let Some((text, marker)) = self.text_until(&closes, finished) else { return false };
                reason(&text, on_event);
                if marker.is_some() {
                    self.state = State::Text;
                }
                true
            }
            State::Calls { opening, within } => self.advance_calls(opening, within, finished, on_event),
        }
    }

    fn advance_text(&mut self, finished: bool, on_event: &mut dyn FnMut(ChatEvent)) -> bool {
        if self.may_be_bare {
            let start = self.buffer.trim_start();
            if start.is_empty() {
                self.take(if finished { self.buffer.len() } else { 0 });
                return false;
            }
            if self.format.begins_bare(start, &self.schemas) {
                self.may_be_bare = false;
                self.take(self.buffer.len() - start.len());
                self.state = State::Calls { opening: "", within: false };
                return true;
            }
        }
        let reasoning = self.format.reasoning();
        let (openings, silent) = (self.format.openings(), self.format.silent());
        let mut markers: Vec<&'static str> = reasoning.iter().flat_map(|(open, close)| [*open, *close]).collect();
        markers.extend(openings.iter().chain(&silent));
        let Some((text, marker)) = self.text_until(&markers, finished) else { return false };
        self.may_be_bare &= text.trim().is_empty();
        self.say(&text, on_event);
        let Some(marker) = marker else { return true };
        if openings.contains(&marker) {
            self.may_be_bare = false;
            self.since_opening = marker.to_string();
            self.state = State::Calls { opening: marker, within: false };
        } else if let Some((_, close)) = reasoning.iter().find(|(open, _)| *open == marker) {
            self.state = State::Reasoning(vec![close]);
        } else if reasoning.iter().any(|(_, close)| *close == marker) {
            // It ends reasoning that nothing opened: what came before was no part of the answer.
            self.content.clear();
            self.space.clear();
        }
        true
    }

    fn advance_calls(
        &mut self,
        opening: &'static str,
        within: bool,
        finished: bool,
        on_event: &mut dyn FnMut(ChatEvent),
    ) -> bool {
        let reading = match self.format.read(opening, &self.buffer, &self.schemas, within, finished) {
            Opened::Calls(reading) => reading,
            Opened::Reasoning(length) => {
                self.enter(length, State::Reasoning(self.format.closings()));
                return true;
            }
            Opened::Text(length) => {
                self.enter(length, State::Text);
                return true;
            }
        };
        match reading {
            Reading::More if !finished => return false,
            Reading::More => self.give_up(opening, within, on_event),
            Reading::Calls { length, calls, done } => {
                let read = self.take(length);
                self.since_opening.push_str(&read);
                let within = within || !calls.is_empty();
                for (name, arguments) in calls {
                    self.call(name, arguments, on_event);
                }
                if within {
                    self.since_opening.clear();
                }
                if done {
                    let unsaid = std::mem::take(&mut self.since_opening);
                    self.say(&unsaid, on_event);
                }
                self.state = if done { State::Text } else { State::Calls { opening, within } };
            }
            Reading::Text { length } => {
                let read = self.take(length);
                let text = std::mem::take(&mut self.since_opening) + &read;
                self.state = State::Text;
                self.say(&text, on_event);
            }
        }
        true
    }

    /// No more text comes and a call is not whole: what can be made out of it is a call still, the rest is text.
    fn give_up(&mut self, opening: &str, within: bool, on_event: &mut dyn FnMut(ChatEvent)) {
        let closing = find_first(&self.buffer, self.format.closings().into_iter());
        let (end, next) =
            closing.map_or((self.buffer.len(), self.buffer.len()), |(end, close)| (end, end + close.len()));
        let call = self.format.salvage(opening, &self.buffer[..end], &self.schemas);
        let read = self.take(next);
        let unsaid = std::mem::take(&mut self.since_opening);
        self.state = State::Text;
        match call {
            Some((name, arguments)) => self.call(name, arguments, on_event),
            // After a call, a bit of a closing marker is nothing that was said.
            None if within && read.trim().is_empty() => {}
            None => self.say(&(unsaid + &read), on_event),
        }
    }

    fn enter(&mut self, header: usize, state: State) {
        self.take(header);
        self.since_opening.clear();
        self.state = state;
    }

    /// Text up to a marker, which is read too; or as much as surely is before one. `None` where that is nothing.
    fn text_until(&mut self, markers: &[&'static str], finished: bool) -> Option<(String, Option<&'static str>)> {
        if let Some((position, marker)) = find_first(&self.buffer, markers.iter().copied()) {
            let marker = markers
                .iter()
                .copied()
                .filter(|other| self.buffer[position..].starts_with(other))
                .max_by_key(|other| other.len())
                .unwrap_or(marker);
            let text = self.take(position);
            self.take(marker.len());
            return Some((text, Some(marker)));
        }
        let held = if finished { 0 } else { partial_suffix(&self.buffer, markers.iter().copied()) };
        let sure = self.buffer.len() - held;
        (sure > 0).then(|| (self.take(sure), None))
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

    fn call(&mut self, name: String, arguments: serde_json::Value, on_event: &mut dyn FnMut(ChatEvent)) {
        let id = format!("call_{}", self.first_call + self.calls.len() + 1);
        let call = ToolCall { id, name, arguments };
        self.calls.push(call.clone());
        on_event(ChatEvent::ToolCall(call));
    }
}

fn reason(text: &str, on_event: &mut dyn FnMut(ChatEvent)) {
    if !text.is_empty() {
        on_event(ChatEvent::Reasoning(text.to_string()));
    }
}

//! What only the session knows is written nowhere: what outlives the session has a stand-in for it, which is read as what
//! it stands for while the session lasts.
//!
//! A turn's context, its prompt, what tools found and what an agent said of it may all repeat what a fact or a document of
//! the session says. What the person says is kept as it was said.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use crate::event::Event;
use crate::records::{ContextItem, NewMessage, NewTurn};

/// Shorter lines of documents stand anywhere.
const SHORTEST_LINE: usize = 16;
/// A fact of fewer characters is part of too much else.
const SHORTEST_FACT: usize = 4;

/// What stands for which text, in one run.
#[derive(Default)]
pub(crate) struct Veil {
    /// Of this run: the stand-ins of others stay as they are.
    run: String,
    texts: Vec<String>,
    /// Lines of documents, by their text.
    lines: HashMap<String, usize>,
    /// Facts, the longest first.
    facts: Vec<usize>,
}

impl Veil {
    /// Takes in what the session comes to know.
    pub fn take_in(&mut self, event: &Event) {
        match event {
            Event::FactRemembered { text, .. } => self.add_fact(text),
            Event::ChunksReplaced { chunks, .. } => chunks.iter().for_each(|chunk| self.add_lines(&chunk.text)),
            Event::DocumentsKept { documents, .. } => {
                let chunks = documents.iter().flat_map(|document| document.chunks.iter().flatten());
                chunks.for_each(|chunk| self.add_lines(&chunk.text));
            }
            _ => {}
        }
    }

    /// A fact is known for good from now on.
    pub fn lift(&mut self, text: &str) {
        self.facts.retain(|number| self.texts.get(*number).is_none_or(|known| known != text));
    }

    /// What is written of an event; of a turn, see [`Veil::over_turn`].
    pub fn over(&self, event: Event) -> Event {
        if self.texts.is_empty() {
            return event;
        }
        match event {
            Event::ToolRunStarted { id, mut run } => {
                run.arguments = in_json(&run.arguments, &|text| self.hide(text));
                Event::ToolRunStarted { id, run }
            }
            Event::ToolRunFinished { id, status, result, milliseconds } => {
                Event::ToolRunFinished { id, status, result: self.hide(&result), milliseconds }
            }
            Event::NoteWritten { id, conversation, name, value } => {
                let hidden =
                    serde_json::from_str(&value).map(|json| in_json(&json, &|text| self.hide(text)).to_string());
                Event::NoteWritten { id, conversation, name, value: hidden.unwrap_or_else(|_| self.hide(&value)) }
            }
            other => other,
        }
    }

    /// What a person reads where a stand-in was written.
    pub fn lifted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.texts.is_empty() {
            return Cow::Borrowed(text);
        }
        let begin = self.begin();
        if !text.contains(&begin) {
            return Cow::Borrowed(text);
        }
        let mut parts = text.split(begin.as_str());
        let mut clear = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let stand_in = part.split_once(']').and_then(|(number, rest)| Some((number.parse().ok()?, rest)));
            match stand_in.and_then(|(number, rest): (usize, &str)| Some((self.texts.get(number)?, rest))) {
                Some((text, rest)) => clear.extend([text.as_str(), rest]),
                None => clear.extend([begin.as_str(), part]),
            }
        }
        Cow::Owned(clear)
    }

    pub fn lifted_in_json(&self, value: &Value) -> Value {
        in_json(value, &|text| self.lifted(text).into_owned())
    }

    pub fn lifted_turn(&self, turn: NewTurn) -> NewTurn {
        if self.texts.is_empty() {
            return turn;
        }
        self.in_turn(turn, &|text| self.lifted(text).into_owned())
    }

    pub fn over_turn(&self, turn: NewTurn) -> NewTurn {
        if self.texts.is_empty() {
            return turn;
        }
        self.in_turn(turn, &|text| self.hide(text))
    }

    fn in_turn(&self, turn: NewTurn, change: &dyn Fn(&str) -> String) -> NewTurn {
        let item = |item: ContextItem| ContextItem { title: change(&item.title), text: change(&item.text), ..item };
        let message = |message: NewMessage| match message.role.as_str() {
            "user" => message,
            _ => NewMessage {
                content: change(&message.content),
                json: message.json.as_ref().map(|json| in_json(json, change)),
                ..message
            },
        };
        NewTurn {
            answer: change(&turn.answer),
            prompt: change(&turn.prompt),
            messages: turn.messages.into_iter().map(message).collect(),
            context: turn.context.into_iter().map(item).collect(),
            ..turn
        }
    }

    fn add_fact(&mut self, text: &str) {
        if text.chars().count() >= SHORTEST_FACT {
            let number = self.number(text);
            self.facts.push(number);
            let length = |number: &usize| self.texts.get(*number).map_or(0, String::len);
            self.facts.sort_by_key(|number| std::cmp::Reverse(length(number)));
            self.facts.dedup();
        }
    }

    fn add_lines(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| line.chars().count() >= SHORTEST_LINE) {
            if !self.lines.contains_key(line) {
                let number = self.number(line);
                self.lines.insert(line.to_owned(), number);
                self.lines.insert(escaped(line), number);
            }
        }
    }

    fn number(&mut self, text: &str) -> usize {
        if self.run.is_empty() {
            self.run = Uuid::new_v4().simple().to_string();
            self.run.truncate(8);
        }
        self.texts.push(text.to_owned());
        self.texts.len() - 1
    }

    fn begin(&self) -> String {
        format!("[known to session {} only: ", self.run)
    }

    fn stand_in(&self, number: usize) -> String {
        format!("{}{number}]", self.begin())
    }

    fn hide(&self, text: &str) -> String {
        let mut hidden = match self.lines.is_empty() {
            true => text.to_owned(),
            false => text.split('\n').map(|line| self.hide_line(line)).collect::<Vec<_>>().join("\n"),
        };
        for number in &self.facts {
            let Some(fact) = self.texts.get(*number) else { continue };
            hidden = replaced(&hidden, fact, &self.stand_in(*number));
            hidden = replaced(&hidden, &escaped(fact), &self.stand_in(*number));
        }
        hidden
    }

    /// Lines of JSON are one line, in quotes; the first line of a piece has its title before it.
    fn hide_line<'a>(&self, line: &'a str) -> Cow<'a, str> {
        if let Some(hidden) = self.hide_known(line) {
            return Cow::Owned(hidden);
        }
        if line.contains("\\n") {
            let parts: Vec<Cow<'_, str>> = line.split("\\n").map(|part| self.hide_line(part)).collect();
            return Cow::Owned(parts.join("\\n"));
        }
        let ends = line.match_indices('"').map(|(at, _)| at);
        let ends = ends.filter(|at| line.get(..*at).is_some_and(|before| !before.ends_with('\\')));
        let mut parts = Vec::new();
        let mut begin = 0;
        for end in ends.chain([line.len()]) {
            let part = line.get(begin..end).unwrap_or_default();
            parts.push(self.hide_known(part).map_or(Cow::Borrowed(part), Cow::Owned));
            begin = end + 1;
        }
        Cow::Owned(parts.join("\""))
    }

    fn hide_known(&self, line: &str) -> Option<String> {
        let begins = std::iter::once(0).chain(line.match_indices(": ").map(|(at, colon)| at + colon.len()));
        let mut begins = begins.chain(line.starts_with("- ").then_some(2));
        begins.find_map(|begin| {
            let (before, rest) = line.split_at_checked(begin)?;
            Some(format!("{before}{}", self.stand_in(*self.lines.get(rest.trim())?)))
        })
    }
}

/// As it stands in the JSON of a request.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// Where `wanted` stands on its own, and is not a part of a longer word.
fn replaced(text: &str, wanted: &str, by: &str) -> String {
    let is_word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in text.match_indices(wanted) {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + found.len()..).unwrap_or_default());
        let goes_on = (is_word(before.chars().next_back()) && is_word(found.chars().next()))
            || (is_word(found.chars().next_back()) && is_word(after.chars().next()));
        if !goes_on {
            clean.push_str(text.get(done..at).unwrap_or_default());
            clean.push_str(by);
            done = at + found.len();
        }
    }
    clean.push_str(text.get(done..).unwrap_or_default());
    clean
}

fn in_json(value: &Value, change: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|item| in_json(item, change)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), in_json(value, change))).collect())
        }
        other => other.clone(),
    }
}

//! When earlier turns no longer fit the window: what they came to, in less room.
//!
//! The task, its constraints, decisions and open steps are kept as structure of their own, carried
//! from one compaction to the next, so that no summary can lose them. The turns themselves stay in
//! memory; a compaction can be looked at, edited and undone.

mod model;
mod rules;

use codriver_memory::{ConversationId, EarlierTurn, Memory, MemoryError};
use serde::{Deserialize, Serialize};

pub use model::{Asked, Summarizer};

use crate::render::cards::one_line;

const NOTE: &str = "compactions";

/// Turns looked at; a conversation is condensed long before.
const MOST_TURNS: usize = 400;

/// Entries of one list.
const MOST_ENTRIES: usize = 12;
/// Characters of one entry.
const LONGEST_ENTRY: usize = 240;
/// A compaction's summary leaves it at most this part of what it stands for.
const PART: usize = 2;
/// What was settled takes no more than so many tenths of it.
const TENTHS: usize = 9;
/// Tokens of a summary, whatever it stands for.
const LONGEST_SUMMARY: usize = 600;

/// What must outlast every summary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskState {
    /// What the person is after.
    pub task: String,
    /// What an answer has to keep to.
    pub constraints: Vec<String>,
    pub decisions: Vec<String>,
    pub open_steps: Vec<String>,
}

/// Turns `first` to `last` of a conversation, condensed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    pub first: usize,
    pub last: usize,
    pub state: TaskState,
    pub summary: String,
    pub tokens_before: usize,
    pub tokens_after: usize,
    /// Who wrote it: a model's name, `rules`, or `you`.
    pub by: String,
}

/// The compactions of a conversation, each standing for all turns up to its last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compactions {
    stack: Vec<Compaction>,
    /// After an undo nothing is condensed before it is asked for.
    pub held: bool,
}

impl Compactions {
    pub fn load(memory: &Memory, conversation: &ConversationId) -> Result<Self, MemoryError> {
        let note = memory.note(conversation, NOTE)?;
        Ok(note.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    pub fn save(&self, memory: &Memory, conversation: &ConversationId) -> Result<(), MemoryError> {
        memory.write_note(conversation, NOTE, &serde_json::json!(self))
    }

    pub fn current(&self) -> Option<&Compaction> {
        self.stack.last()
    }

    /// The turns after those that are condensed, oldest first.
    pub fn later_turns(&self, memory: &Memory, conversation: &ConversationId) -> Result<Vec<EarlierTurn>, MemoryError> {
        let condensed = self.current().map_or(0, |compaction| compaction.last);
        memory.earlier_turns(conversation, condensed, MOST_TURNS)
    }

    pub fn push(&mut self, compaction: Compaction) {
        self.held = false;
        self.stack.push(compaction);
    }

    /// Takes the newest one back; the turns it stood for are told as they were again.
    pub fn undo(&mut self) -> Option<Compaction> {
        let undone = self.stack.pop();
        self.held |= undone.is_some();
        undone
    }

    /// The current one in other words.
    pub fn replace(&mut self, compaction: Compaction) {
        self.stack.pop();
        self.stack.push(compaction);
    }
}

impl Compaction {
    /// Condenses `turns`, the oldest first, and what an earlier compaction stood for. `None` where
    /// that would not be shorter.
    pub fn make(turns: &[EarlierTurn], previous: Option<&Self>, summarizer: &mut Summarizer<'_>) -> Option<Self> {
        let (first, last) = (turns.first()?.number, turns.last()?.number);
        let told = |turn: &EarlierTurn| format!("{}\n{}", turn.request, turn.answer);
        let before: usize = turns.iter().map(|turn| summarizer.count(&told(turn))).sum::<usize>()
            + previous.map_or(0, |previous| summarizer.count(&previous.text()));
        let by_rules = rules::condense(turns, previous);
        let by_model = summarizer.ask(turns, previous);
        let by = by_model.as_ref().map_or_else(|| "rules".to_owned(), |_| summarizer.name().to_owned());
        let (state, summary) = match by_model {
            Some((state, summary)) => (merge(state, by_rules.0, previous), summary),
            None => by_rules,
        };
        let first = previous.map_or(first, |previous| previous.first);
        let mut whole = Self { first, last, state, summary, tokens_before: before, tokens_after: 0, by };
        whole.shrink(before, &mut |text| summarizer.count(text));
        (whole.tokens_after < before).then_some(whole)
    }

    /// What the model reads.
    pub fn text(&self) -> String {
        let mut text = format!("Turns {} to {} of this conversation, condensed.\n", self.first, self.last);
        if !self.state.task.is_empty() {
            text.push_str(&format!("Task: {}\n", self.state.task));
        }
        for (title, entries) in self.lists() {
            if !entries.is_empty() {
                text.push_str(&format!("{title}:\n"));
                entries.iter().for_each(|entry| text.push_str(&format!("- {entry}\n")));
            }
        }
        if !self.summary.is_empty() {
            text.push_str(&format!("What happened:\n{}\n", self.summary));
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// The text that a person edits: as the model reads it, without the first line.
    pub fn editable(&self) -> String {
        self.text().split_once('\n').map_or_else(String::new, |(_, rest)| rest.to_owned())
    }

    /// The same turns, in a person's words. What stands under no heading is the summary.
    #[must_use]
    pub fn edited(&self, text: &str, count: &mut dyn FnMut(&str) -> usize) -> Self {
        let mut state = TaskState::default();
        let mut summary = Vec::new();
        let mut list: Option<&mut Vec<String>> = None;
        for line in text.lines() {
            let entry = line.trim();
            if let Some(task) = entry.strip_prefix("Task:") {
                task.trim().clone_into(&mut state.task);
                continue;
            }
            match entry {
                "Constraints:" => list = Some(&mut state.constraints),
                "Decisions:" => list = Some(&mut state.decisions),
                "Open steps:" => list = Some(&mut state.open_steps),
                "What happened:" => list = None,
                "" => {}
                _ => match &mut list {
                    Some(list) => list.push(entry.trim_start_matches("- ").to_owned()),
                    None => summary.push(line.trim_end()),
                },
            }
        }
        let mut edited = Self { state, summary: summary.join("\n"), by: "you".to_owned(), ..self.clone() };
        edited.tokens_after = count(&edited.text());
        edited
    }

    pub fn lists(&self) -> [(&'static str, &[String]); 3] {
        [
            ("Constraints", &self.state.constraints),
            ("Decisions", &self.state.decisions),
            ("Open steps", &self.state.open_steps),
        ]
    }

    /// Makes it less than the `before` tokens that it stands for: the summary gives way, from its beginning, and only
    /// where that is not enough the oldest decisions and steps. The task and its constraints stay.
    fn shrink(&mut self, before: usize, count: &mut dyn FnMut(&str) -> usize) {
        let lists = [&mut self.state.constraints, &mut self.state.decisions, &mut self.state.open_steps];
        for list in lists {
            list.iter_mut().for_each(|entry| *entry = one_line(entry, LONGEST_ENTRY));
            let surplus = list.len().saturating_sub(MOST_ENTRIES);
            list.drain(..surplus);
        }
        self.state.task = one_line(&self.state.task, 2 * LONGEST_ENTRY);
        while count(&self.summary) > LONGEST_SUMMARY && self.shorten_summary() {}
        loop {
            self.tokens_after = count(&self.text());
            if self.tokens_after <= before / PART {
                return;
            }
            if self.shorten_summary() {
                continue;
            }
            if self.tokens_after <= before * TENTHS / 10 {
                return;
            }
            let lists = [&mut self.state.decisions, &mut self.state.open_steps];
            let Some(longest) = lists.into_iter().max_by_key(|list| list.len()).filter(|list| !list.is_empty()) else {
                return;
            };
            longest.remove(0);
        }
    }

    /// Takes the first line of the summary away, or the first half of its only one.
    fn shorten_summary(&mut self) -> bool {
        if self.summary.is_empty() {
            return false;
        }
        self.summary = match self.summary.split_once('\n') {
            Some((_, rest)) => rest.to_owned(),
            None if self.summary.len() > 80 => {
                let half = self.summary.ceil_char_boundary(self.summary.len() / 2);
                format!("… {}", self.summary[half..].trim_start())
            }
            None => String::new(),
        };
        true
    }
}

/// What a model wrote, with nothing lost that was settled before or that the rules see.
fn merge(model: TaskState, rules: TaskState, previous: Option<&Compaction>) -> TaskState {
    let settled = previous.map(|previous| previous.state.clone()).unwrap_or_default();
    let first_of = |texts: [String; 3]| texts.into_iter().find(|text| !text.trim().is_empty()).unwrap_or_default();
    TaskState {
        task: first_of([model.task, settled.task, rules.task]),
        constraints: united([settled.constraints, model.constraints, rules.constraints]),
        decisions: united([settled.decisions, model.decisions, Vec::new()]),
        // A model that lists steps says which of the old ones are still open.
        open_steps: if model.open_steps.is_empty() { rules.open_steps } else { model.open_steps },
    }
}

/// All entries, those that say the same once.
fn united<const COUNT: usize>(lists: [Vec<String>; COUNT]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let plain = |entry: &str| entry.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let entries = lists.into_iter().flatten().filter(|entry| !entry.trim().is_empty());
    entries.filter(|entry| seen.insert(plain(entry).trim_end_matches('.').to_owned())).collect()
}

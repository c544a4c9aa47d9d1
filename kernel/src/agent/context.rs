//! What goes before a model: everything a turn could use, packed into its window, nothing hidden.
//!
//! The window is shared out ([`shares`]): what is always there (system prompt, tools, the request),
//! what a person pinned, recent turns and what earlier ones were condensed to, the session's state,
//! what was retrieved, examples. Each item is kept or dropped for a reason that `%context` shows.

pub mod choices;
mod gather;
mod shares;

use std::borrow::Cow;

use codriver_inference::ChatModel;
use codriver_memory::{ContextItem, EarlierTurn, ItemDetails, Redactor};
use serde::Serialize;

pub use gather::{LEAST_SCORE_BY_MEANING, LEAST_SCORE_BY_WORDS, Sources};
pub use shares::{Section, Shares};

/// Items of one kind under one heading, for the template.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    pub title: &'static str,
    pub items: Vec<GroupItem>,
}

#[derive(Debug, Clone, Serialize)]
pub struct GroupItem {
    pub text: String,
}

/// Everything considered for one turn, the most important first, each item kept or dropped.
#[derive(Debug, Clone, Default)]
pub struct Retrieved {
    pub items: Vec<ContextItem>,
    /// The earlier turns, oldest first.
    history: Vec<EarlierTurn>,
}

/// The headings, in the order they stand in the prompt.
const HEADINGS: [(&str, &str); 10] = [
    ("compaction", "Earlier in this conversation"),
    ("table", "Tables of the SQL session"),
    ("variables", "Variables of the Rust session"),
    ("cells", "Cells that are out of date"),
    ("branches", "Git branches"),
    ("files", "Files of the workspace"),
    ("error", "The last error"),
    ("fact", "Remembered facts"),
    ("chunk", "From documents"),
    ("example", "Examples of good answers"),
];
const TURN: &str = "turn";

impl Retrieved {
    /// Collects what there is, the most important first, each with its tokens. Nothing is packed yet.
    pub fn gather(sources: &Sources<'_>, request: &str, model: &dyn ChatModel) -> Self {
        let mut retrieved = Self::default();
        retrieved.collect(sources, request);
        for item in &mut retrieved.items {
            item.tokens = model.count_tokens(&item.text);
        }
        retrieved.items.sort_by_key(priority);
        for section in Section::PACKED {
            let of_section = retrieved.items.iter_mut().filter(|item| item.details.section == section.name());
            for (index, item) in of_section.enumerate() {
                item.details.rank = index + 1;
            }
        }
        retrieved
    }

    /// Keeps what fits: each section up to its share, then what is left over to those that
    /// need more.
    pub fn pack(&mut self, shares: &Shares) {
        let mut total = 0;
        let mut waiting = Vec::new();
        let mut used = [0; Section::PACKED.len()];
        for (section, used) in Section::PACKED.iter().zip(&mut used) {
            let mut full = false;
            for (index, item) in self.items.iter().enumerate() {
                if item.dropped.is_some() || item.details.section != section.name() {
                    continue;
                }
                let fits = *used + item.tokens <= shares.of(*section) && total + item.tokens <= shares.available;
                // Earlier turns without those between them and now would mislead.
                if fits && !(full && item.kind == TURN) {
                    *used += item.tokens;
                    total += item.tokens;
                } else {
                    full = true;
                    waiting.push((index, *section));
                }
            }
        }
        let mut gap = false;
        for (index, section) in waiting {
            let Some(item) = self.items.get_mut(index) else { continue };
            let place = Section::PACKED.iter().position(|packed| *packed == section);
            let Some(used) = place.and_then(|place| used.get_mut(place)) else { continue };
            let room = shares.most(section).saturating_sub(*used).min(shares.available.saturating_sub(total));
            if item.tokens <= room && !(gap && item.kind == TURN) {
                *used += item.tokens;
                total += item.tokens;
                continue;
            }
            gap |= item.kind == TURN;
            let share = shares.of(section);
            item.dropped =
                Some(format!("over the budget of {share} tokens for {}, and no room elsewhere", section.words()));
        }
    }

    /// Tokens of earlier turns that are not condensed yet, and of which the share would leave some out.
    pub fn turns_overflow(&self, shares: &Shares) -> bool {
        let turns = self.items.iter().filter(|item| item.kind == TURN && item.dropped.is_none());
        turns.map(|item| item.tokens).sum::<usize>() > shares.of(Section::Turns)
    }

    /// Leaves out the least important item that is still in, what was pinned last of all; false when
    /// there is none.
    pub fn drop_one(&mut self, why: &str) -> bool {
        let packed = |item: &&mut ContextItem| item.dropped.is_none() && !Section::is_fixed(&item.details.section);
        let unpinned = |item: &&mut ContextItem| packed(item) && item.details.section != Section::Pinned.name();
        let last = match self.items.iter_mut().rfind(unpinned) {
            Some(item) => Some(item),
            None => self.items.iter_mut().rfind(packed),
        };
        let Some(item) = last else { return false };
        item.dropped = Some(why.to_owned());
        true
    }

    /// What is always there, for the record: `(section, title, tokens)`, before everything else. `unread`
    /// says why the model does not read system prompt and tools, where it doesn't.
    pub fn put_fixed(&mut self, fixed: [(Section, String, usize); 3], unread: Option<&str>) {
        self.items.retain(|item| !Section::is_fixed(&item.details.section));
        let items = fixed.into_iter().map(|(section, title, tokens)| ContextItem {
            kind: section.name().to_owned(),
            origin: "this turn".to_owned(),
            title,
            text: String::new(),
            score: None,
            tokens,
            dropped: unread.filter(|_| section != Section::Request).map(str::to_owned),
            details: ItemDetails {
                key: section.name().to_owned(),
                section: section.name().to_owned(),
                reason: "always there".to_owned(),
                ..ItemDetails::default()
            },
        });
        self.items.splice(0..0, items);
    }

    /// What is in, for the system prompt. Earlier turns are messages of their own.
    pub fn groups(&self) -> Vec<Group> {
        HEADINGS
            .iter()
            .filter_map(|(kind, title)| {
                let kept = self.items.iter().filter(|item| item.kind == *kind && item.dropped.is_none());
                let items: Vec<GroupItem> = kept.map(|item| GroupItem { text: item.text.clone() }).collect();
                (!items.is_empty()).then_some(Group { title, items })
            })
            .collect()
    }

    /// Request and answer of the earlier turns that are in, oldest first.
    pub fn earlier_turns(&self) -> Vec<(&str, &str)> {
        let kept = |turn: &&EarlierTurn| {
            let key = turn_key(turn);
            self.items.iter().any(|item| item.kind == TURN && item.details.key == key && item.dropped.is_none())
        };
        self.history.iter().filter(kept).map(|turn| (turn.request.as_str(), turn.answer.as_str())).collect()
    }
}

/// The smaller, the more it is worth keeping.
fn priority(item: &ContextItem) -> (u8, u8, std::cmp::Reverse<u32>) {
    let pinned = u8::from(item.details.section != Section::Pinned.name());
    let rank = match item.kind.as_str() {
        "compaction" | "error" => 0,
        "table" if item.score.is_some() => 1,
        // The newest of the earlier turns has the largest number.
        TURN => 2,
        "table" | "fact" => 3,
        "cells" | "branches" | "variables" => 4,
        "chunk" | "example" => 5,
        _ => 6,
    };
    let within = match item.kind.as_str() {
        TURN => item.origin.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0),
        _ => item.score.map_or(0, |score| (score.clamp(0.0, 1.0) * 1000.0) as u32),
    };
    (pinned, rank, std::cmp::Reverse(within))
}

fn turn_key(turn: &EarlierTurn) -> String {
    format!("{TURN}:{}", turn.id)
}

/// [`shorten`] without secrets.
pub fn shorten_clean(text: &str, most: usize, redactor: &Redactor) -> String {
    shorten(&clean_to_cut(text, most, redactor), most)
}

/// A text that is to be cut to `most` bytes, without secrets if it is longer: half of one, at the edge of what is left
/// out, would not be recognized any more.
pub fn clean_to_cut<'a>(text: &'a str, most: usize, redactor: &Redactor) -> Cow<'a, str> {
    if text.len() <= most { Cow::Borrowed(text) } else { redactor.redact(text) }
}

/// At most `most` bytes, the middle left out: errors say what matters at both ends.
pub fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(most / 2);
    let tail = text.ceil_char_boundary(text.len() - most / 2);
    format!("{}\n… {} characters left out …\n{}", &text[..head], text[head..tail].chars().count(), &text[tail..])
}

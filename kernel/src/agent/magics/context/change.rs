//! What a person changes about a conversation's context.

use codriver_inference::{Cancellation, ModelError};

use super::{conversation, title};
use crate::agent::compaction::{Compaction, Compactions, Summarizer};
use crate::agent::context::Section;
use crate::agent::context::choices::Choices;
use crate::agent::magics::{said, shown};
use crate::agent::memory_error;
use crate::languages::{CellContext, CellError, CellOutcome, CellResult};
use crate::render::{cards, context as show};
use crate::session::Session;

/// Turns that are always told as they were.
const RECENT: usize = 2;

/// `pin`, `drop` or `unpin` items by their numbers in what was shown last.
pub(super) fn choose(command: &str, items: &str, session: &Session) -> CellResult {
    let conversation = conversation(session)?;
    let mut choices = Choices::load(&session.memory, &conversation).map_err(|error| memory_error(&error))?;
    let shown_items = match session.agents.shown_items.as_slice() {
        [] => session.agents.last_turn.as_ref().map_or(&[][..], |last| &last.context),
        items => items,
    };
    let mut done = Vec::new();
    for number in items.split([',', ' ']).filter(|number| !number.is_empty()) {
        let index = number.trim_start_matches('#').parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let item = index.and_then(|index| shown_items.get(index)).ok_or_else(|| {
            CellError::usage(format!(
                "{number:?} is not the number of an item; %context shows them, 1 to {}",
                shown_items.len()
            ))
        })?;
        if Section::is_fixed(&item.details.section) || item.details.key.is_empty() {
            return Err(CellError::usage(format!(
                "{} is always there: it can be neither pinned nor dropped",
                item.details.section
            )));
        }
        match command {
            "pin" => choices.pin(item),
            "drop" => choices.drop_item(item),
            _ => {
                choices.forget(&item.details.key);
            }
        }
        done.push(title(item));
    }
    if done.is_empty() {
        return Err(CellError::usage(format!(
            "which item is missing: %context {command} N (%context shows the numbers)"
        )));
    }
    choices.save(&session.memory, &conversation).map_err(|error| memory_error(&error))?;
    let what = match command {
        "pin" => "in from the next turn on",
        "drop" => "left out from the next turn on",
        _ => "neither pinned nor dropped",
    };
    said(format!("{}: {what}", done.join(", ")))
}

pub(super) fn choices(session: &Session) -> CellResult {
    let choices = Choices::load(&session.memory, &conversation(session)?).map_err(|error| memory_error(&error))?;
    let pinned = choices.pins.iter().map(|item| vec!["pinned".to_owned(), item.kind.clone(), title(item)]);
    let dropped = choices.drops.iter().map(|item| {
        let kind = item.key.split(':').next().unwrap_or_default();
        vec!["dropped".to_owned(), kind.to_owned(), cards::one_line(&item.title, 80)]
    });
    let rows: Vec<Vec<String>> = pinned.chain(dropped).collect();
    if rows.is_empty() {
        return said("nothing is pinned or dropped in this conversation");
    }
    shown(cards::table(&["", "kind", "item"], &rows))
}

/// Condenses all but the last turns, whether they would fit or not.
pub(super) fn compact(session: &mut Session, context: &CellContext) -> CellResult {
    let conversation = conversation(session)?;
    let memory = &session.memory;
    let mut compactions = Compactions::load(memory, &conversation).map_err(|error| memory_error(&error))?;
    let turns = compactions.later_turns(memory, &conversation).map_err(|error| memory_error(&error))?;
    let old = turns.get(..turns.len().saturating_sub(RECENT)).unwrap_or_default();
    if old.is_empty() {
        return said(format!("there is nothing to condense: the last {RECENT} turns are told as they were"));
    }
    let models = &session.agents.models;
    let secrets = models.secrets();
    let (cancellation, _guard) = context.interrupt.cancellation();
    let model = models.get(None, &cancellation).map_err(|error| match error {
        ModelError::Cancelled => CellError::interrupted("nothing was condensed"),
        error => CellError::new("ModelError", secrets.redact(&error.to_string())),
    })?;
    let mut summarizer = Summarizer::new(model.as_ref(), &secrets, &cancellation);
    let Some(compaction) = Compaction::make(old, compactions.current(), &mut summarizer) else {
        return said("these turns are not condensed: it would not be shorter than what was said");
    };
    if context.interrupt.is_set() {
        return Err(CellError::interrupted("nothing was condensed"));
    }
    summarizer.note(memory, &conversation);
    let card = show::compaction_card(&compaction);
    compactions.push(compaction);
    compactions.save(memory, &conversation).map_err(|error| memory_error(&error))?;
    shown(card)
}

/// With a text: the current compaction says that from now on. Without: a cell to change it in.
pub(super) fn edit(text: Option<&str>, session: &Session) -> CellResult {
    let conversation = conversation(session)?;
    let memory = &session.memory;
    let mut compactions = Compactions::load(memory, &conversation).map_err(|error| memory_error(&error))?;
    let Some(current) = compactions.current() else {
        return said("nothing of this conversation is condensed; %context compact does it now");
    };
    let Some(text) = text else {
        let cell = format!("%%context edit\n{}", current.editable());
        let result = cards::folded_text("the compaction, as a cell to change and run", &cell);
        return Ok(CellOutcome::next_input(&cell, result));
    };
    let model = session.agents.models.get(None, &Cancellation::new()).ok();
    let mut count = |text: &str| model.as_ref().map_or(text.len().div_ceil(4), |model| model.count_tokens(text));
    let edited = current.edited(text, &mut count);
    if edited.tokens_after >= edited.tokens_before {
        let reason = format!(
            "this takes {} tokens, and what it stands for {}: a compaction has to be shorter",
            edited.tokens_after, edited.tokens_before
        );
        return Err(CellError::usage(reason));
    }
    let card = show::compaction_card(&edited);
    compactions.replace(edited);
    compactions.save(memory, &conversation).map_err(|error| memory_error(&error))?;
    shown(card)
}

pub(super) fn undo(session: &Session) -> CellResult {
    let conversation = conversation(session)?;
    let memory = &session.memory;
    let mut compactions = Compactions::load(memory, &conversation).map_err(|error| memory_error(&error))?;
    let Some(undone) = compactions.undo() else {
        return said("there is no compaction to take back");
    };
    compactions.save(memory, &conversation).map_err(|error| memory_error(&error))?;
    said(format!(
        "turns {} to {} are told as they were again, as far as they fit; nothing is condensed before %context compact",
        compactions.current().map_or(undone.first, |before| before.last + 1),
        undone.last
    ))
}

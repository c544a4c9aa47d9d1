//! `%memory list | show | why | remember | edit | pin | promote | forget | history | cleanup`.

use chrono::{DateTime, Local, Utc};
use codriver_memory::{CleanupRule, Fact, FactId, MemoryError, Mode, NewFact, Outcome, Scope};

use super::{said, shown};
use crate::agent::memory_error;
use crate::languages::{CellError, CellResult};
use crate::render::cards;
use crate::render::table::grouped;
use crate::session::Session;

pub(super) fn list(scope: Option<Scope>, session: &Session) -> CellResult {
    let mut facts = session.memory.facts(scope).map_err(|error| memory_error(&error))?;
    if facts.is_empty() {
        return said("nothing is remembered yet");
    }
    facts.sort_by_key(|fact| !fact.pinned);
    let now = Utc::now();
    let rows: Vec<Vec<String>> = facts
        .into_iter()
        .map(|fact| {
            vec![
                fact.id.short().to_owned(),
                if fact.pinned { format!("📌 {}", fact.text) } else { fact.text.clone() },
                fact.scope.to_string(),
                fact.kind.name().to_owned(),
                fact.source.clone(),
                date(fact.created_at),
                format!("{:.2}", fact.weight(now)),
            ]
        })
        .collect();
    shown(cards::table(&["id", "fact", "scope", "kind", "said by", "since", "worth"], &rows))
}

pub(super) fn remember(text: &str, scope: Scope, session: &Session) -> CellResult {
    let new = NewFact { importance: 0.9, ..NewFact::new(text, scope, "user") };
    let remembered = session.memory.remember_fact(&new).map_err(|error| memory_error(&error))?;
    let id = remembered.id.short();
    // A memory that could not be opened keeps nothing, whatever the scope.
    let lost = session.memory.mode() == Mode::InMemory && scope != Scope::Session;
    let scope =
        if lost { format!("{scope}, but only until this session ends: see %memory stats") } else { scope.to_string() };
    said(match remembered.outcome {
        Outcome::New => format!("remembered as {id} ({scope})"),
        Outcome::Known => format!("known already as {id}"),
        Outcome::Replaced(replaced) => {
            let replaced: Vec<String> =
                replaced.iter().map(|(fact, why)| format!("\n  in place of {:?}: {why}", fact.text)).collect();
            format!("remembered as {id} ({scope}){}", replaced.join(""))
        }
    })
}

pub(super) fn edit(id: &str, text: &str, session: &Session) -> CellResult {
    let edited = session.memory.edit_fact(&FactId::from(id), text).map_err(|error| explained(&error))?;
    said(match edited.outcome {
        Outcome::Known => "it says that already".to_owned(),
        _ => format!("it is {} now; %memory why {} shows what it said before", edited.id.short(), edited.id.short()),
    })
}

pub(super) fn pin(id: &str, pinned: bool, session: &Session) -> CellResult {
    let fact = session.memory.pin_fact(&FactId::from(id), pinned).map_err(|error| explained(&error))?;
    said(format!("{}: {}", if pinned { "pinned" } else { "no longer pinned" }, fact.text))
}

pub(super) fn promote(id: &str, to: Option<Scope>, session: &Session) -> CellResult {
    let (fact, scope) = session.memory.promote_fact(&FactId::from(id), to).map_err(|error| explained(&error))?;
    let reach = if scope == Scope::Global { "everywhere" } else { "in the whole project" };
    said(format!("it holds {reach} now, as {}: {}", fact.id.short(), fact.text))
}

pub(super) fn forget(id: &str, session: &Session) -> CellResult {
    let known = session.memory.forget(&FactId::from(id)).map_err(|error| memory_error(&error))?;
    if known { said("forgotten") } else { Err(unknown(id)) }
}

pub(super) fn show(id: &str, session: &Session) -> CellResult {
    let fact =
        session.memory.fact(&FactId::from(id)).map_err(|error| memory_error(&error))?.ok_or_else(|| unknown(id))?;
    let worth = format!("{:.2} (it began with {:.2})", fact.weight(Utc::now()), fact.importance);
    let rows = [
        ("fact", fact.text.clone()),
        ("id", fact.id.to_string()),
        ("kind", fact.kind.name().to_owned()),
        ("scope", fact.scope.to_string()),
        ("said by", fact.source.clone()),
        ("since", time(fact.created_at)),
        ("last said", time(fact.confirmed_at)),
        ("worth", worth),
        ("pinned", if fact.pinned { "yes" } else { "no" }.to_owned()),
        ("why", fact.reason.clone()),
    ];
    shown(cards::table(&["memory", ""], &rows.map(|(name, value)| vec![name.to_owned(), value])))
}

pub(super) fn why(id: &str, session: &Session) -> CellResult {
    let history =
        session.memory.why(&FactId::from(id)).map_err(|error| memory_error(&error))?.ok_or_else(|| unknown(id))?;
    let mut rows = vec![row("it says", &history.fact, &history.fact.reason)];
    if let Some((request, when)) = &history.turn {
        rows.push(vec![
            "from the turn".to_owned(),
            cards::one_line(request, 300),
            time(*when),
            String::new(),
            String::new(),
        ]);
    }
    if let Some(newer) = &history.replaced_by {
        rows.push(row("replaced by", newer, &newer.reason));
    }
    rows.extend(history.replaced.iter().map(|older| row("in place of", older, &older.reason)));
    rows.extend(
        history.stands_before.iter().map(|global| row("stands before, in this project", global, &global.reason)),
    );
    shown(cards::table(&["", "fact", "from", "until", "because"], &rows))
}

pub(super) fn history(session: &Session) -> CellResult {
    let replaced = session.memory.replaced_facts().map_err(|error| memory_error(&error))?;
    if replaced.is_empty() {
        return said("no fact was replaced yet");
    }
    let by = |fact: &Fact| fact.superseded_by.as_ref().map(|id| id.short().to_owned()).unwrap_or_default();
    let rows: Vec<Vec<String>> = replaced
        .iter()
        .map(|fact| vec![fact.id.short().to_owned(), fact.text.clone(), date(fact.created_at), until(fact), by(fact)])
        .collect();
    shown(cards::table(&["id", "fact", "from", "until", "replaced by"], &rows))
}

pub(super) fn cleanup(really: bool, session: &Session) -> CellResult {
    let cleaned = session.memory.cleanup(&CleanupRule::default(), really).map_err(|error| memory_error(&error))?;
    let vectors = session.memory.remove_other_vectors(really).map_err(|error| memory_error(&error))?;
    if cleaned.is_empty() && vectors.is_empty() {
        return said("there is nothing to clean up");
    }
    let mut rows: Vec<Vec<String>> = cleaned
        .iter()
        .map(|cleaned| vec![cleaned.fact.id.short().to_owned(), cleaned.fact.text.clone(), cleaned.reason.clone()])
        .collect();
    rows.extend(vectors.iter().map(|(model, count)| {
        vec![
            String::new(),
            format!("{} vectors of {model}", grouped(*count)),
            "another embedding model is in use".to_owned(),
        ]
    }));
    let title = if really { "removed" } else { "would go with --yes" };
    shown(cards::table(&["id", title, "because"], &rows))
}

fn row(what: &str, fact: &Fact, reason: &str) -> Vec<String> {
    vec![
        what.to_owned(),
        format!("{} ({})", fact.text, fact.scope),
        time(fact.created_at),
        until(fact),
        reason.to_owned(),
    ]
}

fn until(fact: &Fact) -> String {
    fact.valid_until.map(time).unwrap_or_default()
}

fn time(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string()
}

pub(super) fn date(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d").to_string()
}

fn explained(error: &MemoryError) -> CellError {
    match error {
        MemoryError::Unknown { id, .. } => unknown(id),
        error => memory_error(error),
    }
}

fn unknown(id: &str) -> CellError {
    CellError::new("MemoryError", format!("there is no fact {id:?}; %memory list shows them"))
}

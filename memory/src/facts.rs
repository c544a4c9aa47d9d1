//! Facts: kept once, replaced when they change, explained, promoted, forgotten.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{Duration, Utc};

use crate::error::MemoryError;
use crate::event::{Entry, Event, FactDetails, FactKey};
use crate::facts::known::{Known, Reading};
use crate::facts::nearness::says_the_same;
use crate::facts::statement::Relation;
use crate::memory::{Memory, long_enough};
use crate::project::ProjectKey;
use crate::records::{
    Cleaned, CleanupRule, Fact, FactHistory, FactId, FactPlace, NewFact, NewTurn, Outcome, Remembered, Scope, TurnId,
};
use crate::redaction::says_redacted;
use crate::sharing::key_of;
use crate::state::State;
use crate::store::Store;

mod extract;
pub(crate) mod known;
mod nearness;
mod quantity;
mod reach;
mod rules;
mod statement;
mod wording;

pub use extract::{ExtractedFact, FactExtractor, RuleExtractor, sentences};
pub use reach::reach;

impl Memory {
    /// Keeps a fact and gives its identifier. A fact that is known already, but for case,
    /// spacing and a final full stop, keeps the identifier it has.
    pub fn remember(&self, text: &str, scope: Scope, source: &str) -> Result<FactId, MemoryError> {
        self.remember_fact(&NewFact::new(text, scope, source)).map(|remembered| remembered.id)
    }

    /// Keeps a fact, confirms it where it is known, and lets it take the place of what it contradicts.
    pub fn remember_fact(&self, new: &NewFact) -> Result<Remembered, MemoryError> {
        let redactor = self.redactor();
        let clean = |text: &str| redactor.redact(text.trim()).into_owned();
        let new = NewFact { text: clean(&new.text), reason: clean(&new.reason), ..new.clone() };
        if new.text.is_empty() {
            return Err(MemoryError::EmptyFact);
        }
        let vector = self.vector_soon(&new.text);
        let mut state = self.state();
        state.refresh();
        let neighbours = state.neighbours(&new.text, vector.as_ref());
        let remembered = state.remember(&new, &neighbours)?;
        if remembered.outcome != Outcome::Known {
            state.keep_vector_of(&remembered.id, &new.text, new.scope, vector);
        }
        Ok(remembered)
    }

    /// Keeps what a turn tells, as `extractor` reads it. Gives what is new.
    pub fn learn(
        &self,
        id: &TurnId,
        turn: &NewTurn,
        extractor: &dyn FactExtractor,
    ) -> Result<Vec<(Fact, Outcome)>, MemoryError> {
        let found = extractor.extract(turn).map_err(MemoryError::Extractor)?;
        let redactor = self.redactor();
        let mut learned = Vec::new();
        for fact in found {
            // That there is a secret is nothing worth knowing.
            if says_redacted(&redactor.redact(&fact.text)) {
                continue;
            }
            let new = NewFact {
                text: fact.text,
                scope: fact.scope,
                kind: fact.kind,
                source: "user".to_owned(),
                turn: Some(id.clone()),
                importance: fact.importance.clamp(0.0, 1.0),
                pinned: false,
                reason: format!("found by {}: {}", extractor.name(), fact.reason),
                replaces: fact.replaces,
            };
            let remembered = self.remember_fact(&new)?;
            if remembered.outcome != Outcome::Known
                && let Some(fact) = self.fact(&remembered.id)?
            {
                learned.push((fact, remembered.outcome));
            }
        }
        Ok(learned)
    }

    /// Forgets a fact with what it replaced, named by its identifier or the beginning of it. False
    /// if there is none. What was said about it in conversations stays on record.
    pub fn forget(&self, fact: &FactId) -> Result<bool, MemoryError> {
        let mut state = self.state();
        state.refresh();
        let Some(fact) = find_fact(state.facts(None)?, fact)? else { return Ok(false) };
        state.forget(&fact)?;
        Ok(true)
    }

    /// The facts that hold here, oldest first, the session's last.
    pub fn facts(&self, scope: Option<Scope>) -> Result<Vec<Fact>, MemoryError> {
        let mut state = self.state();
        state.refresh();
        state.facts(scope)
    }

    /// The fact of this identifier or the beginning of one, if it holds here.
    pub fn fact(&self, id: &FactId) -> Result<Option<Fact>, MemoryError> {
        find_fact(self.facts(None)?, id)
    }

    /// Replaces the text of a fact; what it said before is history. Gives the fact as it is now.
    pub fn edit_fact(&self, id: &FactId, text: &str) -> Result<Remembered, MemoryError> {
        let text = self.redactor().redact(text.trim()).into_owned();
        if text.is_empty() {
            return Err(MemoryError::EmptyFact);
        }
        let vector = self.vector_soon(&text);
        let mut state = self.state();
        let old = state.require_fact(id)?;
        let details = FactDetails {
            reason: format!("edited; it said: {}", old.text),
            supersedes: vec![key_of(&old)],
            confirmed_at: None,
            ..FactDetails::of(&old)
        };
        if key_of(&old) == FactKey::new(&text, details.place.clone()) {
            return Ok(Remembered { id: old.id, outcome: Outcome::Known });
        }
        let (source, scope) = (old.source.clone(), old.scope);
        let remembered = state.keep(&text, &source, details, vec![(old, "you edited it".to_owned())])?;
        state.keep_vector_of(&remembered.id, &text, scope, vector);
        Ok(remembered)
    }

    /// A pinned fact does not decay, is not cleaned up and comes first.
    pub fn pin_fact(&self, id: &FactId, pinned: bool) -> Result<Fact, MemoryError> {
        let mut state = self.state();
        let fact = state.require_fact(id)?;
        state.record_in(fact.scope, Entry::now(Event::FactPinned { fact: key_of(&fact), pinned }))?;
        state.set_index_aside();
        Ok(Fact { pinned, ..fact })
    }

    /// Lets a fact hold further: a session's in the project (or `to`), a project's everywhere.
    pub fn promote_fact(&self, id: &FactId, to: Option<Scope>) -> Result<(Fact, Scope), MemoryError> {
        let (fact, to) = {
            let mut state = self.state();
            let fact = state.require_fact(id)?;
            let next = if fact.scope == Scope::Session { Scope::Project } else { Scope::Global };
            let to = to.unwrap_or(next);
            if to <= fact.scope {
                return Err(MemoryError::NoPromotion { from: fact.scope, to });
            }
            (fact, to)
        };
        let new = NewFact {
            text: fact.text.clone(),
            scope: to,
            kind: fact.kind,
            source: fact.source.clone(),
            turn: fact.turn.clone(),
            importance: fact.importance,
            pinned: fact.pinned,
            reason: format!("promoted from {}; before: {}", fact.scope, fact.reason),
            replaces: None,
        };
        let remembered = self.remember_fact(&new)?;
        let fact = self.fact(&remembered.id)?.unwrap_or(fact);
        Ok((fact, to))
    }

    /// Where a fact comes from, what it replaced, and what it stands before.
    pub fn why(&self, id: &FactId) -> Result<Option<FactHistory>, MemoryError> {
        let mut state = self.state();
        state.refresh();
        let all = state.facts_and_history()?;
        let current = find_fact(all.iter().filter(|fact| fact.valid_until.is_none()).cloned().collect(), id)?;
        let Some(fact) = current.map_or_else(|| find_fact(all.clone(), id), |fact| Ok(Some(fact)))? else {
            return Ok(None);
        };
        let turn = fact.turn.as_ref().and_then(|turn| state.store.find_turn(turn).transpose()).transpose()?;
        let mut replaced = Vec::new();
        let mut seen = HashSet::from([fact.id.clone()]);
        let mut newest = vec![fact.id.clone()];
        while let Some(by) = newest.pop() {
            for older in all.iter().filter(|older| older.superseded_by.as_ref() == Some(&by)) {
                if seen.insert(older.id.clone()) {
                    newest.push(older.id.clone());
                    replaced.push(older.clone());
                }
            }
        }
        replaced.sort_by_key(|older| std::cmp::Reverse(older.valid_until));
        let replaced_by = all.iter().find(|newer| fact.superseded_by.as_ref() == Some(&newer.id)).cloned();
        let stands_before = if fact.scope == Scope::Project { state.behind(&fact)? } else { Vec::new() };
        let turn = turn.map(|stored| (stored.turn.request, stored.created_at));
        Ok(Some(FactHistory { fact, turn, replaced, replaced_by, stands_before }))
    }

    /// The facts that held here and were replaced, the newest first.
    pub fn replaced_facts(&self) -> Result<Vec<Fact>, MemoryError> {
        let mut replaced = self.state().facts_and_history()?;
        replaced.retain(|fact| fact.valid_until.is_some());
        replaced.sort_by_key(|fact| std::cmp::Reverse(fact.valid_until));
        Ok(replaced)
    }

    /// The facts that are worth nothing any more by `rule`; removes them if `remove`.
    pub fn cleanup(&self, rule: &CleanupRule, remove: bool) -> Result<Vec<Cleaned>, MemoryError> {
        let mut state = self.state();
        state.refresh();
        let (now, oldest) = (Utc::now(), Utc::now() - Duration::days(rule.history_days));
        let mut cleaned = Vec::new();
        for fact in state.facts_and_history()? {
            let weight = fact.weight(now);
            let reason = match fact.valid_until {
                Some(until) if until < oldest => format!("it was replaced more than {} days ago", rule.history_days),
                None if weight < rule.least_weight => {
                    format!(
                        "it is worth {weight:.2}, and nobody spoke of it since {}",
                        fact.confirmed_at.format("%Y-%m-%d")
                    )
                }
                _ => continue,
            };
            cleaned.push(Cleaned { fact, reason });
        }
        if remove {
            for cleaned in cleaned.iter().filter(|cleaned| cleaned.fact.valid_until.is_none()) {
                state.forget(&cleaned.fact)?;
            }
            let history: Vec<FactId> = cleaned
                .iter()
                .filter(|cleaned| cleaned.fact.valid_until.is_some())
                .map(|cleaned| cleaned.fact.id.clone())
                .collect();
            state.store.remove_facts(&history)?;
        }
        Ok(cleaned)
    }
}

impl State {
    /// The facts that hold here: of the session, of this project, everywhere.
    pub fn facts(&self, scope: Option<Scope>) -> Result<Vec<Fact>, MemoryError> {
        let known = self.known()?;
        Ok(known.facts.iter().filter(|fact| scope.is_none_or(|scope| fact.scope == scope)).cloned().collect())
    }

    /// The same, read again only where a fact has changed: they are looked at several times a turn.
    pub fn known(&self) -> Result<Arc<Known>, MemoryError> {
        let revision = (self.store.facts_revision(), self.session.as_ref().map(Store::facts_revision));
        let mut cache = self.known.borrow_mut();
        if let Some((of, known)) = &*cache
            && *of == revision
        {
            return Ok(Arc::clone(known));
        }
        let mut facts: Vec<Fact> =
            self.store.facts()?.iter().filter(|fact| self.sees(fact.scope, &fact.project)).cloned().collect();
        if let Some(session) = &self.session {
            facts.extend(session.facts()?.iter().cloned());
        }
        facts.sort_by_key(|fact| std::cmp::Reverse(fact.scope));
        let known = Arc::new(Known::new(facts, cache.as_ref().map(|(_, known)| known.as_ref())));
        *cache = Some((revision, Arc::clone(&known)));
        Ok(known)
    }

    fn facts_and_history(&self) -> Result<Vec<Fact>, MemoryError> {
        let mut facts = self.store.facts_and_history()?;
        if let Some(session) = &self.session {
            facts.extend(session.facts_and_history()?);
        }
        facts.retain(|fact| self.sees(fact.scope, &fact.project));
        Ok(facts)
    }

    fn require_fact(&mut self, id: &FactId) -> Result<Fact, MemoryError> {
        self.refresh();
        find_fact(self.facts(None)?, id)?.ok_or_else(|| MemoryError::Unknown { what: "fact", id: id.to_string() })
    }

    fn remember(&mut self, new: &NewFact, neighbours: &HashSet<String>) -> Result<Remembered, MemoryError> {
        let place = FactPlace::new(new.scope, &self.project);
        let reading = Reading::of(&new.text);
        let known = self.known()?;
        let mut replaced: Vec<(Fact, String)> = Vec::new();
        for (old, said) in known.candidates(&reading, neighbours) {
            let relation = reading.relation(said);
            let same = reading.repeats(said) || says_the_same(&new.text, &relation, old, neighbours);
            if same && old.scope >= new.scope {
                // What is known everywhere need not be known here once more.
                self.record_in(old.scope, Entry::now(Event::FactConfirmed { fact: key_of(old) }))?;
                self.seen.fact_remembered(&key_of(old));
                return Ok(Remembered { id: old.id.clone(), outcome: Outcome::Known });
            }
            if same {
                replaced.push((old.clone(), format!("it holds in a wider scope now: {}", new.scope)));
            } else if old.scope == new.scope
                && let Relation::Contradiction(reason) = relation
            {
                replaced.push((old.clone(), reason));
            }
        }
        // Whoever found the fact may see a contradiction that words alone do not show.
        if let Some(old) = new.replaces.as_ref().and_then(|id| known.get(id))
            && old.scope == new.scope
            && !old.pinned
            && !replaced.iter().any(|(other, _)| other.id == old.id)
        {
            replaced.push((old.clone(), "it holds no more, by what was said".to_owned()));
        }
        let mut reason = new.reason.clone();
        for (old, why) in &replaced {
            reason.push_str(&format!("; it took the place of \"{}\": {why}", old.text));
        }
        let details = FactDetails {
            place,
            kind: new.kind,
            importance: new.importance,
            pinned: new.pinned || replaced.iter().any(|(old, _)| old.pinned),
            turn: new.turn.clone(),
            reason,
            supersedes: replaced
                .iter()
                .filter(|(old, _)| is_kept(old) == (new.scope != Scope::Session))
                .map(|(old, _)| key_of(old))
                .collect(),
            confirmed_at: None,
        };
        self.keep(&new.text, &new.source, details, replaced)
    }

    /// Writes a fact and takes what it replaces out of what is found.
    fn keep(
        &mut self,
        text: &str,
        source: &str,
        details: FactDetails,
        replaced: Vec<(Fact, String)>,
    ) -> Result<Remembered, MemoryError> {
        let id = FactId::random();
        let scope = details.place.scope;
        let key = FactKey::new(text, details.place.clone());
        let event = Event::FactRemembered { id: id.clone(), text: text.to_owned(), source: source.to_owned(), details };
        self.record_in(scope, Entry::now(event))?;
        self.seen.fact_remembered(&key);
        for (old, _) in &replaced {
            // What only this run knew is now known for good.
            if old.scope == Scope::Session && scope != Scope::Session {
                self.record_in(Scope::Session, Entry::now(Event::FactForgotten { fact: key_of(old) }))?;
            }
            self.seen.fact_forgotten(key_of(old));
        }
        self.fact_changed(&id, &replaced.iter().map(|(old, _)| old.clone()).collect::<Vec<_>>())?;
        let outcome = if replaced.is_empty() { Outcome::New } else { Outcome::Replaced(replaced) };
        Ok(Remembered { id, outcome })
    }

    fn forget(&mut self, fact: &Fact) -> Result<(), MemoryError> {
        let mut entry = Entry::now(Event::FactForgotten { fact: key_of(fact) });
        // Even if the clock was set back since.
        entry.at = entry.at.max(fact.created_at.timestamp_micros());
        self.record_in(fact.scope, entry)?;
        if fact.scope != Scope::Session {
            self.seen.fact_forgotten(key_of(fact));
        }
        self.fact_gone(fact)
    }

    /// Global facts that a fact of the project contradicts: it stands before them here.
    fn behind(&self, fact: &Fact) -> Result<Vec<Fact>, MemoryError> {
        let (reading, known) = (Reading::of(&fact.text), self.known()?);
        let contradicts = |(_, said): &(&Fact, &Reading)| matches!(reading.relation(said), Relation::Contradiction(_));
        let global = known.candidates(&reading, &HashSet::new()).filter(|(other, _)| other.scope == Scope::Global);
        Ok(global.filter(contradicts).map(|(other, _)| other.clone()).collect())
    }

    /// Whether what is kept there can be seen from here.
    pub fn sees(&self, scope: Scope, project: &ProjectKey) -> bool {
        scope != Scope::Project || *project == self.project
    }
}

/// Whether it is in the database, and not in the session.
fn is_kept(fact: &Fact) -> bool {
    fact.scope != Scope::Session
}

/// The fact whose identifier is, or alone begins with, `prefix`.
fn find_fact(facts: Vec<Fact>, prefix: &FactId) -> Result<Option<Fact>, MemoryError> {
    let prefix = long_enough("fact", prefix.as_str())?;
    let mut matches: Vec<Fact> = facts.into_iter().filter(|fact| fact.id.as_str().starts_with(prefix)).collect();
    if matches.len() > 1 {
        let matches = matches.iter().map(|fact| fact.id.short().to_owned()).collect();
        return Err(MemoryError::Ambiguous { what: "facts", prefix: prefix.to_owned(), matches });
    }
    Ok(matches.pop())
}

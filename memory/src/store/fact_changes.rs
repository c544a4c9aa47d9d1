//! Changes of facts. They are worked out over the rows that they concern and written in a few statements, however many
//! there are: each for itself would look through the whole table, and a journal may bring thousands.

use std::collections::HashMap;

use duckdb::types::Value;
use duckdb::{Row, params};

use super::apply::{Writer, timestamp};
use super::quoted;
use crate::event::{Entry, Event, FactDetails, FactKey, fingerprint};
use crate::records::TurnId;
use crate::vault::Vault;

/// What a fact that holds is known by: its fingerprint as the database has it, its scope, its project.
type Key = (String, String, String);

fn key(fact: &FactKey, vault: &Vault) -> Key {
    let fingerprint = vault.disguise(&fact.fingerprint).into_owned();
    (fingerprint, fact.place.scope.name().to_owned(), fact.place.project.as_str().to_owned())
}

/// What of a row changes, or decides whether it does. Times are in microseconds since 1970.
struct FactRow<'e> {
    id: String,
    key: Key,
    created_at: i64,
    confirmed_at: i64,
    pinned: bool,
    valid_until: Option<i64>,
    superseded_by: Option<String>,
    /// What else is written of one that is new.
    new: Option<(&'e str, &'e str, &'e FactDetails)>,
    changed: bool,
    gone: bool,
}

/// The rows that changes concern, as they are after each of them.
#[derive(Default)]
struct Facts<'e> {
    /// In the order of the table.
    rows: Vec<FactRow<'e>>,
    ids: HashMap<String, usize>,
    holding: HashMap<Key, Vec<usize>>,
    /// By what took their place.
    replaced: HashMap<String, Vec<usize>>,
}

impl<'e> Facts<'e> {
    fn push(&mut self, row: FactRow<'e>) {
        let position = self.rows.len();
        self.ids.insert(row.id.clone(), position);
        match &row.superseded_by {
            Some(by) => self.replaced.entry(by.clone()).or_default().push(position),
            None if row.valid_until.is_none() => self.holding.entry(row.key.clone()).or_default().push(position),
            None => {}
        }
        self.rows.push(row);
    }

    /// Those that hold and were there already: a journal may be merged long after it was written, and what was remembered
    /// anew since stays.
    fn holding_before(&self, key: &Key, at: i64) -> Vec<usize> {
        let holding = self.holding.get(key).into_iter().flatten().copied();
        holding.filter(|position| self.rows.get(*position).is_some_and(|row| row.created_at <= at)).collect()
    }

    fn change(&mut self, key: &Key, at: i64, change: impl Fn(&mut FactRow<'e>)) {
        for position in self.holding_before(key, at) {
            if let Some(row) = self.rows.get_mut(position) {
                change(row);
                row.changed = true;
            }
        }
    }

    fn hold_no_more(&mut self, key: &Key, at: i64) -> Vec<usize> {
        let ended = self.holding_before(key, at);
        if let Some(holding) = self.holding.get_mut(key) {
            holding.retain(|position| !ended.contains(position));
        }
        ended
    }

    fn apply(&mut self, entry: &'e Entry, vault: &Vault) {
        let at = entry.at;
        match &entry.event {
            Event::FactRemembered { id, text, source, details } => {
                for old in &details.supersedes {
                    for position in self.hold_no_more(&key(old, vault), at) {
                        if let Some(row) = self.rows.get_mut(position) {
                            (row.valid_until, row.superseded_by, row.changed) = (Some(at), Some(id.to_string()), true);
                            self.replaced.entry(id.to_string()).or_default().push(position);
                        }
                    }
                }
                let key = key(&FactKey { fingerprint: fingerprint(text), place: details.place.clone() }, vault);
                if self.ids.contains_key(id.as_str())
                    || self.holding.get(&key).is_some_and(|holding| !holding.is_empty())
                {
                    return;
                }
                self.push(FactRow {
                    id: id.to_string(),
                    key,
                    created_at: at,
                    confirmed_at: details.confirmed_at.unwrap_or(at),
                    pinned: details.pinned,
                    valid_until: None,
                    superseded_by: None,
                    new: Some((text, source, details)),
                    changed: false,
                    gone: false,
                });
            }
            Event::FactForgotten { fact } => {
                let mut gone = self.hold_no_more(&key(fact, vault), at);
                while let Some(position) = gone.pop() {
                    if let Some(row) = self.rows.get_mut(position) {
                        row.gone = true;
                        self.ids.remove(&row.id);
                        gone.extend(self.replaced.remove(&row.id).unwrap_or_default());
                    }
                }
            }
            Event::FactConfirmed { fact } => {
                self.change(&key(fact, vault), at, |row| row.confirmed_at = row.confirmed_at.max(at))
            }
            Event::FactPinned { fact, pinned } => self.change(&key(fact, vault), at, |row| row.pinned = *pinned),
            _ => {}
        }
    }
}

impl Writer<'_> {
    /// Those of `entries` that change facts, in order.
    pub fn change_facts(&self, entries: &[Entry]) -> duckdb::Result<()> {
        let changes: Vec<&Entry> = entries.iter().filter(|entry| entry.event.changes_facts()).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let mut facts = self.concerned(&changes)?;
        for entry in changes {
            facts.apply(entry, self.vault);
        }
        self.write_facts(&facts.rows)
    }

    /// The rows that changes name, and, where one is forgotten, those before it.
    fn concerned<'e>(&self, changes: &[&Entry]) -> duckdb::Result<Facts<'e>> {
        let (mut ids, mut fingerprints, mut forgets) = (Vec::new(), Vec::new(), false);
        for entry in changes {
            match &entry.event {
                Event::FactRemembered { id, text, details, .. } => {
                    ids.push(id.as_str());
                    fingerprints.push(self.vault.disguise(&fingerprint(text)).into_owned());
                    fingerprints.extend(
                        details.supersedes.iter().map(|old| self.vault.disguise(&old.fingerprint).into_owned()),
                    );
                }
                Event::FactForgotten { fact } | Event::FactConfirmed { fact } | Event::FactPinned { fact, .. } => {
                    forgets |= matches!(entry.event, Event::FactForgotten { .. });
                    fingerprints.push(self.vault.disguise(&fact.fingerprint).into_owned());
                }
                _ => {}
            }
        }
        let named = format!(
            "SELECT id FROM facts WHERE fingerprint IN ({}) UNION SELECT unnest([{}]::VARCHAR[])",
            quoted(fingerprints.iter()),
            quoted(ids.into_iter())
        );
        let before = "UNION SELECT older.id FROM facts older JOIN concerned ON older.superseded_by = concerned.id";
        let sql = format!(
            "WITH RECURSIVE named(id) AS ({named}), concerned(id) AS (SELECT id FROM named {})
            SELECT id, fingerprint, scope, project, epoch_us(created_at), epoch_us(confirmed_at), pinned, epoch_us(valid_until), superseded_by
            FROM facts WHERE id IN (SELECT id FROM concerned) ORDER BY rowid",
            if forgets { before } else { "" }
        );
        let read = |row: &Row<'_>| {
            Ok(FactRow {
                id: row.get(0)?,
                key: (row.get(1)?, row.get(2)?, row.get(3)?),
                created_at: row.get(4)?,
                confirmed_at: row.get(5)?,
                pinned: row.get(6)?,
                valid_until: row.get(7)?,
                superseded_by: row.get(8)?,
                new: None,
                changed: false,
                gone: false,
            })
        };
        let mut facts = Facts::default();
        for row in self.connection.prepare(&sql)?.query_map([], read)? {
            facts.push(row?);
        }
        Ok(facts)
    }

    fn write_facts(&self, rows: &[FactRow<'_>]) -> duckdb::Result<()> {
        let gone: Vec<&str> =
            rows.iter().filter(|row| row.gone && row.new.is_none()).map(|row| row.id.as_str()).collect();
        if !gone.is_empty() {
            self.run(&format!("DELETE FROM facts WHERE id IN ({})", quoted(gone.into_iter())), &[])?;
        }
        let changed: Vec<String> =
            rows.iter().filter(|row| row.changed && !row.gone && row.new.is_none()).map(values).collect();
        if !changed.is_empty() {
            let changed = changed.join(", ");
            self.run(
                &format!(
                    "UPDATE facts SET confirmed_at = make_timestamp(changed.confirmed_at), pinned = changed.pinned,
                        valid_until = make_timestamp(changed.valid_until), superseded_by = changed.superseded_by
                    FROM (VALUES {changed}) changed(id, confirmed_at, pinned, valid_until, superseded_by) WHERE facts.id = changed.id"
                ),
                &[],
            )?;
        }
        let mut appender = self.connection.appender("facts")?;
        for row in rows.iter().filter(|row| !row.gone) {
            let Some((text, source, details)) = row.new else { continue };
            let (id, vault) = (row.id.as_str(), self.vault);
            let (fingerprint, scope, project) = &row.key;
            appender.append_row(params![
                id,
                vault.seal_text("facts.text", id, text)?,
                fingerprint,
                vault.seal_text("facts.source", id, source)?,
                timestamp(row.created_at),
                scope,
                project,
                details.kind.name(),
                details.importance,
                row.pinned,
                details.turn.as_ref().map(TurnId::as_str),
                vault.seal_text("facts.reason", id, &details.reason)?,
                timestamp(row.confirmed_at),
                row.valid_until.map_or(Value::Null, timestamp),
                row.superseded_by
            ])?;
        }
        appender.flush()
    }
}

/// A row of what changed, for `VALUES`.
fn values(row: &FactRow<'_>) -> String {
    let text = |text: &str| quoted(std::iter::once(text));
    let until = row.valid_until.map_or("NULL".to_owned(), |until| until.to_string());
    let by = row.superseded_by.as_deref().map_or("NULL".to_owned(), text);
    format!("({}, {}::BIGINT, {}, {until}::BIGINT, {by}::VARCHAR)", text(&row.id), row.confirmed_at, row.pinned)
}

#[cfg(test)]
mod tests {
    use duckdb::{Connection, params};
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use crate::event::{Entry, Event, FactDetails, FactKey, fingerprint};
    use crate::project::ProjectKey;
    use crate::records::{FactId, FactPlace, Scope};
    use crate::store::Store;

    fn key(random: &mut StdRng) -> (String, FactPlace) {
        let scope = if random.random_bool(0.5) { Scope::Global } else { Scope::Project };
        let project = ProjectKey::from(format!("project {}", random.random_range(0..2)));
        (format!("It's fact {}", random.random_range(0..6)), FactPlace::new(scope, &project))
    }

    /// Few facts, so that they meet; times go back now and then, as between journals.
    fn entries(random: &mut StdRng) -> Vec<Entry> {
        let mut ids: Vec<String> = Vec::new();
        let mut at = 1_700_000_000_000_000;
        let count = random.random_range(1..60);
        let entry = |_| {
            at += random.random_range(-3..10);
            let (text, place) = key(random);
            let fact = FactKey::new(&text, place.clone());
            let event = match random.random_range(0..10) {
                0 | 1 => Event::FactForgotten { fact },
                2 => Event::FactConfirmed { fact },
                3 => Event::FactPinned { fact, pinned: random.random_bool(0.7) },
                _ => {
                    let repeated = (!ids.is_empty() && random.random_bool(0.1))
                        .then(|| ids[random.random_range(0..ids.len())].clone());
                    let id = repeated.unwrap_or_else(|| format!("id {}", ids.len()));
                    ids.push(id.clone());
                    let supersedes = (0..random.random_range(0..3))
                        .map(|_| key(random))
                        .map(|(text, place)| FactKey::new(&text, place));
                    let details = FactDetails {
                        place,
                        supersedes: supersedes.collect(),
                        pinned: random.random_bool(0.2),
                        ..FactDetails::default()
                    };
                    Event::FactRemembered { id: FactId::from(id), text, source: "user".to_owned(), details }
                }
            };
            Entry { at, event }
        };
        (0..count).map(entry).collect()
    }

    /// One change after the other, each by its own statements.
    fn apply_alone(connection: &Connection, entry: &Entry) {
        let run = |sql: &str, values: &[&dyn duckdb::ToSql]| connection.execute(sql, values).unwrap();
        let meant =
            "fingerprint = ? AND scope = ? AND project = ? AND valid_until IS NULL AND created_at <= make_timestamp(?)";
        let at = entry.at;
        let change = |change: &str, fact: &FactKey| {
            let (scope, project) = (fact.place.scope.name(), fact.place.project.as_str());
            run(&format!("UPDATE facts SET {change} WHERE {meant}"), params![fact.fingerprint, scope, project, at])
        };
        match &entry.event {
            Event::FactRemembered { id, text, details, .. } => {
                for old in &details.supersedes {
                    change(&format!("valid_until = make_timestamp({at}), superseded_by = '{id}'"), old);
                }
                let (print, scope, project) =
                    (fingerprint(text), details.place.scope.name(), details.place.project.as_str());
                let sql = "INSERT INTO facts SELECT ?, ?, ?, 'user', make_timestamp(?), ?, ?, 'fact', 0.7, ?, NULL, '', make_timestamp(?), NULL, NULL
                    WHERE NOT EXISTS (FROM facts WHERE id = ? OR (fingerprint = ? AND scope = ? AND project = ? AND valid_until IS NULL))";
                let id = id.as_str();
                run(sql, params![id, text, print, at, scope, project, details.pinned, at, id, print, scope, project]);
            }
            Event::FactForgotten { fact } => {
                let sql = format!(
                    "DELETE FROM facts WHERE id IN (WITH RECURSIVE gone(id) AS (SELECT id FROM facts WHERE {meant}
                        UNION SELECT older.id FROM facts older JOIN gone ON older.superseded_by = gone.id) SELECT id FROM gone)"
                );
                run(&sql, params![fact.fingerprint, fact.place.scope.name(), fact.place.project.as_str(), at]);
            }
            Event::FactConfirmed { fact } => {
                change(&format!("confirmed_at = greatest(confirmed_at, make_timestamp({at}))"), fact);
            }
            Event::FactPinned { fact, pinned } => drop(change(&format!("pinned = {pinned}"), fact)),
            _ => {}
        }
    }

    #[test]
    fn many_changes_at_once_are_the_same_as_one_after_the_other() {
        let seed: u64 = rand::random();
        let mut random = StdRng::seed_from_u64(seed);
        for round in 0..12 {
            let entries = entries(&mut random);
            let (mut at_once, mut in_parts, alone) =
                (Store::in_memory().unwrap(), Store::in_memory().unwrap(), Store::in_memory().unwrap());
            at_once.merge_journal("journal", 1, &entries).unwrap();
            let mut rest = entries.as_slice();
            while !rest.is_empty() {
                let (part, later) = rest.split_at(random.random_range(1..=rest.len()));
                in_parts.merge_journal("journal", 1, part).unwrap();
                rest = later;
            }
            entries.iter().for_each(|entry| apply_alone(&alone.connection, entry));
            let facts = alone.facts_and_history().unwrap();
            assert_eq!(at_once.facts_and_history().unwrap(), facts, "seed {seed}, round {round}: {entries:#?}");
            assert_eq!(in_parts.facts_and_history().unwrap(), facts, "seed {seed}, round {round}: {entries:#?}");
            // What is there already does not come again.
            if !entries.iter().any(|entry| matches!(entry.event, Event::FactForgotten { .. })) {
                at_once.merge_journal("journal", 1, &entries).unwrap();
                assert_eq!(at_once.facts_and_history().unwrap().len(), facts.len(), "seed {seed}, round {round}");
            }
        }
    }
}

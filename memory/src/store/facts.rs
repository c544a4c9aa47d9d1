//! Rows become facts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use duckdb::Row;

use super::Store;
use super::read::time;
use crate::error::MemoryError;
use crate::event::Entry;
use crate::project::ProjectKey;
use crate::records::{Fact, FactId, FactKind, Scope, TurnId};

/// Of all stores of the process.
static REVISIONS: AtomicU64 = AtomicU64::new(1);

impl Store {
    /// All facts that hold now, of every project, oldest first.
    pub fn facts(&self) -> Result<Arc<Vec<Fact>>, MemoryError> {
        if let Some(facts) = &*self.facts.borrow() {
            return Ok(Arc::clone(facts));
        }
        let sql = format!("{FACTS} WHERE valid_until IS NULL ORDER BY created_at, rowid");
        let facts = Arc::new(self.rows(&sql, &[], |row| self.fact(row))?);
        *self.facts.borrow_mut() = Some(Arc::clone(&facts));
        Ok(facts)
    }

    /// Another number after each change of facts, and of another store.
    pub fn facts_revision(&self) -> u64 {
        self.facts_revision
    }

    /// What was read of facts is not what there is any more.
    pub(super) fn facts_changed(&mut self) {
        self.facts.take();
        self.facts_revision = REVISIONS.fetch_add(1, Ordering::Relaxed);
    }

    /// Facts that only came, among these entries: what was read of the others holds on. `None` where others changed.
    pub(super) fn only_new_facts(&self, entries: &[Entry]) -> Option<Vec<Fact>> {
        let changes = entries.iter().filter(|entry| entry.event.changes_facts());
        changes.map(|entry| entry.new_fact()).collect()
    }

    /// Goes on with what was read of facts, and these behind it.
    pub(super) fn facts_came(&mut self, before: Option<Arc<Vec<Fact>>>, new: Vec<Fact>) {
        let Some(mut facts) = before else { return };
        Arc::make_mut(&mut facts).extend(new);
        *self.facts.borrow_mut() = Some(facts);
    }

    /// Those that were replaced too.
    pub fn facts_and_history(&self) -> Result<Vec<Fact>, MemoryError> {
        let sql = format!("{FACTS} ORDER BY created_at, rowid");
        self.rows(&sql, &[], |row| self.fact(row))
    }

    /// Facts that hold now.
    pub fn count_facts(&self) -> Result<usize, MemoryError> {
        let rows =
            self.rows("SELECT count(*) FROM facts WHERE valid_until IS NULL", &[], |row| row.get::<_, i64>(0))?;
        Ok(rows.first().map_or(0, |count| usize::try_from(*count).unwrap_or(0)))
    }

    /// Removes rows of the table as they are named, whatever replaced them.
    pub fn remove_facts(&mut self, ids: &[FactId]) -> Result<(), MemoryError> {
        self.facts_changed();
        self.in_transaction(|connection, _, _| {
            let mut delete = connection.prepare("DELETE FROM facts WHERE id = ?")?;
            ids.iter().try_for_each(|id| delete.execute([id.as_str()]).map(drop))
        })
    }

    fn fact(&self, row: &Row<'_>) -> duckdb::Result<Fact> {
        let id: String = row.get(0)?;
        Ok(Fact {
            text: self.vault.open_text("facts.text", &id, row.get(1)?)?,
            source: self.vault.open_text("facts.source", &id, row.get(2)?)?,
            scope: Scope::of(&row.get::<_, String>(3)?),
            project: ProjectKey::from(row.get::<_, String>(4)?),
            kind: FactKind::of(&row.get::<_, String>(5)?),
            importance: row.get(6)?,
            pinned: row.get(7)?,
            turn: row.get::<_, Option<String>>(8)?.map(TurnId::from),
            reason: self.vault.open_text("facts.reason", &id, row.get(9)?)?,
            created_at: time(row.get(10)?),
            confirmed_at: time(row.get(11)?),
            valid_until: row.get::<_, Option<i64>>(12)?.map(time),
            superseded_by: row.get::<_, Option<String>>(13)?.map(FactId::from),
            id: FactId::from(id),
        })
    }
}

const FACTS: &str = "SELECT id, text, source, scope, project, kind, importance, pinned, turn, reason,
    epoch_us(created_at), epoch_us(confirmed_at), epoch_us(valid_until), superseded_by FROM facts";

//! What indexes are made of, and what tells whether they still fit.

use std::collections::{HashMap, HashSet};

use duckdb::{Row, params};

use super::apply::numbered;
use super::read::{CHUNKS, Spoken, StoredChunk, place, time};
use super::vectors::opened;
use super::{Store, quoted};
use crate::error::MemoryError;
use crate::index::kept::origin_of_document;
use crate::project::ProjectKey;
use crate::records::{ConversationId, FactPlace};

/// So many documents are looked for one by one.
const FEW: usize = 16;

/// And so many rows: planning what to read for each takes a part of a millisecond.
const FEW_ROWS: usize = 48;

/// Sums over the identifiers of messages, which are only ever added.
pub(crate) struct MessageSums {
    /// Rows there are.
    pub rows: u64,
    /// Over those before the row that was asked for.
    pub before: u64,
    /// Over all.
    pub all: u64,
}

impl Store {
    pub fn message_sums(&self, before: u64) -> Result<MessageSums, MemoryError> {
        let sql = "SELECT coalesce(max(rowid) + 1, 0)::UBIGINT, coalesce(bit_xor(hash(turn, position)) FILTER (rowid < ?), 0)::UBIGINT,
                coalesce(bit_xor(hash(turn, position)), 0)::UBIGINT FROM messages";
        let sums = self.rows(sql, params![before], |row| {
            Ok(MessageSums { rows: row.get(0)?, before: row.get(1)?, all: row.get(2)? })
        })?;
        Ok(sums.into_iter().next().unwrap_or(MessageSums { rows: 0, before: 0, all: 0 }))
    }

    /// Documents, by the names they have in the database, with sums over their pieces.
    pub fn document_sums(&self) -> Result<Vec<(String, FactPlace, u64)>, MemoryError> {
        let sql = "SELECT document, scope, project, bit_xor(hash(position, title, text, created_at))::UBIGINT FROM chunks GROUP BY ALL";
        self.rows(sql, &[], |row| Ok((row.get(0)?, place(row, 1)?, row.get(3)?)))
    }

    /// The pieces of documents, which [`origin_of_document`] numbers.
    pub fn chunks_among(&self, origins: &HashSet<u64>) -> Result<Vec<StoredChunk>, MemoryError> {
        if origins.is_empty() {
            return Ok(Vec::new());
        }
        let names = self.rows("SELECT DISTINCT document, scope, project FROM chunks", &[], |row| {
            Ok((row.get::<_, String>(0)?, place(row, 1)?))
        })?;
        let wanted: HashSet<(String, FactPlace)> =
            names.into_iter().filter(|(name, place)| origins.contains(&origin_of_document(name, place))).collect();
        if wanted.len() > FEW {
            let mut all = self.chunks()?;
            all.retain(|stored| {
                wanted.contains(&(self.vault.disguise(&stored.document).into_owned(), stored.place.clone()))
            });
            return Ok(all);
        }
        let sql = format!("{CHUNKS} WHERE document = ? AND scope = ? AND project = ? ORDER BY position");
        let mut found = Vec::new();
        for (name, place) in &wanted {
            found.extend(
                self.rows(&sql, params![name, place.scope.name(), place.project.as_str()], |row| self.chunk(row))?,
            );
        }
        // As `chunks` gives them: of equals, what came later is found first.
        found.sort_by(|one, other| {
            (one.kept_at, &one.document, one.position).cmp(&(other.kept_at, &other.document, other.position))
        });
        Ok(found)
    }

    /// What people and agents said, by row, those before resets included.
    pub fn spoken_between(&self, first: u64, end: u64) -> Result<Vec<Spoken>, MemoryError> {
        let sql = "SELECT m.turn, m.position, m.role, m.content, NULL, m.conversation, c.project, epoch_us(m.created_at), m.sequence
            FROM messages m JOIN conversations c ON c.id = m.conversation
            WHERE m.rowid >= ? AND m.rowid < ? AND m.role IN ('user', 'assistant') ORDER BY m.rowid";
        self.rows(sql, params![first, end], |row| {
            let (turn, message) = self.message(row)?;
            Ok(Spoken {
                turn,
                position: row.get::<_, i64>(1)? as usize,
                conversation: ConversationId::from(row.get::<_, String>(5)?),
                project: ProjectKey::from(row.get::<_, String>(6)?),
                sequence: row.get::<_, i64>(8)? as u64,
                role: message.role,
                content: message.content,
                said_at: time(row.get(7)?),
            })
        })
    }

    /// Conversations that were reset, with the last turn before it.
    pub fn resets(&self) -> Result<Vec<(ConversationId, u64)>, MemoryError> {
        self.rows("SELECT id, reset_sequence FROM conversations WHERE reset_sequence > 0", &[], |row| {
            Ok((ConversationId::from(row.get::<_, String>(0)?), row.get::<_, i64>(1)? as u64))
        })
    }

    /// Who said what, by `turn#position`.
    pub fn messages_among(&self, wanted: &[Wanted<'_>]) -> Result<HashMap<String, (String, String)>, MemoryError> {
        let table = "SELECT turn, position, role, content, NULL FROM messages";
        let rows = self.wanted_rows(table, "turn", wanted, |row| {
            let (turn, message) = self.message(row)?;
            Ok((numbered(turn.as_str(), row.get::<_, i64>(1)? as usize), (message.role, message.content)))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// Pieces of documents, wherever they are kept.
    pub fn pieces_among(&self, wanted: &[Wanted<'_>]) -> Result<Vec<StoredChunk>, MemoryError> {
        let names: Vec<_> = wanted.iter().map(|piece| self.vault.disguise(piece.name)).collect();
        let wanted: Vec<Wanted<'_>> =
            wanted.iter().zip(&names).map(|(piece, name)| Wanted { name, ..*piece }).collect();
        self.wanted_rows(CHUNKS, "document", &wanted, |row| self.chunk(row))
    }

    /// By the time a row came DuckDB knows where to look for it: of most of the table it reads nothing, of the rest only
    /// the times. That holds for a comparison with one value, and not for lists and alternatives.
    fn wanted_rows<T>(
        &self,
        table: &str,
        named: &str,
        wanted: &[Wanted<'_>],
        read: impl FnMut(&Row<'_>) -> duckdb::Result<T>,
    ) -> Result<Vec<T>, MemoryError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        if wanted.len() > FEW_ROWS {
            let names: HashSet<&str> = wanted.iter().map(|row| row.name).collect();
            let positions: HashSet<String> = wanted.iter().map(|row| row.position.to_string()).collect();
            let positions: Vec<&str> = positions.iter().map(String::as_str).collect();
            let (positions, names) = (positions.join(","), quoted(names.into_iter()));
            return self.rows(&format!("{table} WHERE position IN ({positions}) AND {named} IN ({names})"), &[], read);
        }
        let one = |row: &Wanted<'_>| {
            let (at, position, name) = (row.at, row.position, quoted(std::iter::once(row.name)));
            format!(
                "{table} WHERE created_at = make_timestamp({at}::BIGINT) AND position = {position} AND {named} = {name}"
            )
        };
        let each: Vec<String> = wanted.iter().map(one).collect();
        self.rows(&each.join(" UNION ALL "), &[], read)
    }

    /// Documents of which there are pieces: their names as the database has them, their names, where they are kept.
    pub fn document_names(&self) -> Result<Vec<(String, String, FactPlace)>, MemoryError> {
        self.rows("SELECT document, any_value(name), scope, project, any_value(position) FROM chunks WHERE position = 0 GROUP BY ALL", &[], |row| {
            let stored: String = row.get(0)?;
            let row_name = numbered(&stored, row.get::<_, i64>(4)? as usize);
            let name = self.vault.open_text("chunks.name", &row_name, row.get(1)?)?;
            Ok((stored, name, place(row, 2)?))
        })
    }

    pub fn conversation_ids(&self) -> Result<Vec<String>, MemoryError> {
        self.rows("SELECT id FROM conversations", &[], |row| row.get(0))
    }

    /// A sum over the contents that this model was asked for, by the beginnings of their digests.
    pub fn vector_sum(&self, model: &str) -> Result<u64, MemoryError> {
        let sum = format!("SELECT coalesce(bit_xor({CONTENT_KEY}), 0)::UBIGINT FROM embeddings WHERE model = ?");
        let sums = self.rows(&sum, params![model], |row| row.get(0))?;
        Ok(sums.first().copied().unwrap_or_default())
    }

    /// The same contents one by one, with their rows, in order.
    pub fn vector_rows(&self, model: &str) -> Result<Vec<(u64, u64)>, MemoryError> {
        let rows = format!(
            "SELECT coalesce({CONTENT_KEY}, 0)::UBIGINT, rowid::UBIGINT FROM embeddings WHERE model = ? ORDER BY rowid"
        );
        self.rows(&rows, params![model], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// The vectors in these rows, which are in order, and maybe in some between them.
    pub fn vectors_in(&self, model: &str, rows: &[u64]) -> Result<Vec<(String, Vec<f32>)>, MemoryError> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for row in rows {
            match runs.last_mut() {
                Some((_, last)) if runs_on(*last, *row) => *last = *row,
                _ => runs.push((*row, *row)),
            }
        }
        if runs.len() > FEW {
            runs = rows.first().copied().zip(rows.last().copied()).into_iter().collect();
        }
        let mut found = Vec::new();
        for (first, last) in runs {
            let sql =
                format!("SELECT content, vector FROM embeddings WHERE rowid BETWEEN {first} AND {last} AND model = ?");
            found.extend(self.rows(&sql, params![model], |row| Ok(opened(&self.vault, row.get(0)?, row.get(1)?)?))?);
        }
        Ok(found)
    }
}

/// What DuckDB reads at once is a block of so many rows.
fn runs_on(last: u64, row: u64) -> bool {
    row.saturating_sub(last) <= 2048
}

/// A row of messages or of pieces of documents, by what is known of it elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The turn, or the document.
    pub name: &'a str,
    pub position: usize,
    /// When it came, in microseconds since 1970.
    pub at: i64,
}

/// [`crate::index::key`] of a content.
const CONTENT_KEY: &str = "TRY_CAST('0x' || substr(content, 1, 16) AS UBIGINT)";

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    use super::{FEW_ROWS, Wanted};
    use crate::event::{Entry, Event};
    use crate::records::{ConversationId, FactPlace, NewChunk, NewMessage, NewTurn, TurnId};
    use crate::store::Store;

    fn said(turn: &str, at: i64) -> Entry {
        let message =
            |role: &str| NewMessage { role: role.to_owned(), content: format!("{role} of {turn}"), json: None };
        let turn_said = NewTurn {
            conversation: ConversationId::from("talk"),
            request: String::new(),
            answer: String::new(),
            model: String::new(),
            messages: vec![message("user"), message("assistant")],
            context: Vec::new(),
            prompt: String::new(),
            prompt_tokens: 0,
            completion_tokens: 0,
            milliseconds: 0,
        };
        Entry { at, event: Event::TurnAppended { id: TurnId::from(turn), turn: turn_said } }
    }

    #[test]
    fn few_rows_are_found_as_many_are() {
        let seed: u64 = rand::random();
        let mut random = StdRng::seed_from_u64(seed);
        let mut store = Store::in_memory().unwrap();
        let names: Vec<String> = (0..30).map(|number| format!("it's {number}")).collect();
        for name in &names {
            let at = 1_700_000_000_000_000 + random.random_range(0..5);
            let chunks = (0..4).map(|position| NewChunk::new("", format!("{position} of {name}"))).collect();
            let event = Event::ChunksReplaced { document: name.clone(), chunks, place: FactPlace::default() };
            store.commit(&[Entry { at, event }, said(name, at)]).unwrap();
        }
        let stored = store.chunks().unwrap();
        let at_of = |name: &str| stored.iter().find(|chunk| chunk.document == name).unwrap().kept_at.timestamp_micros();
        let wanted = |positions: usize| -> Vec<Wanted<'_>> {
            let of_name = |name| (0..positions).map(move |position| Wanted { name, position, at: at_of(name) });
            names.iter().map(String::as_str).flat_map(of_name).collect()
        };
        let (mut pieces, mut messages) = (wanted(4), wanted(2));
        let mut count = 1;
        while count < pieces.len() {
            pieces.shuffle(&mut random);
            messages.shuffle(&mut random);
            let found = store.pieces_among(&pieces[..count]).unwrap();
            let spoken = store.messages_among(&messages[..count.min(messages.len())]).unwrap();
            for piece in &pieces[..count] {
                let text = format!("{} of {}", piece.position, piece.name);
                assert_eq!(found.iter().filter(|found| found.chunk.text == text).count(), 1, "seed {seed}");
            }
            for message in &messages[..count.min(messages.len())] {
                let role = ["user", "assistant"][message.position];
                let expected = (role.to_owned(), format!("{role} of {}", message.name));
                assert_eq!(
                    spoken.get(&format!("{}#{}", message.name, message.position)),
                    Some(&expected),
                    "seed {seed}"
                );
            }
            assert!(count > FEW_ROWS || found.len() == count, "seed {seed}");
            count = count * 3 + 1;
        }
        // Of another time, another row.
        let other = Wanted { at: pieces[0].at + 1000, ..pieces[0] };
        assert!(store.pieces_among(&[other]).unwrap().is_empty());
    }

    #[test]
    fn vectors_are_found_by_their_rows() {
        let seed: u64 = rand::random();
        let mut random = StdRng::seed_from_u64(seed);
        let mut store = Store::in_memory().unwrap();
        let content = |number: u64| format!("{number:016x}0000000000000000");
        let vectors: Vec<(String, Vec<f32>)> =
            (0..9000).map(|number| (content(number), vec![number as f32; usize::from(number % 7 > 0)])).collect();
        store.add_vectors("other", &vectors[..100]).unwrap();
        store.add_vectors("model", &vectors).unwrap();
        let rows = store.vector_rows("model").unwrap();
        assert_eq!(rows.iter().map(|(content, _)| *content).collect::<Vec<_>>(), (0..9000).collect::<Vec<_>>());
        assert_eq!(store.vector_sum("model").unwrap(), (0..9000).fold(0, |sum, content| sum ^ content));
        for count in [1, 5, 40, 9000] {
            let mut wanted: Vec<usize> = (0..count).map(|_| random.random_range(0..9000)).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let found =
                store.vectors_in("model", &wanted.iter().map(|number| rows[*number].1).collect::<Vec<_>>()).unwrap();
            assert!(wanted.iter().all(|number| found.iter().any(|found| found.0 == vectors[*number].0)), "seed {seed}");
            let number = |content: &str| usize::from_str_radix(&content[..16], 16).unwrap();
            assert!(found.iter().all(|found| vectors[number(&found.0)] == *found), "seed {seed}");
        }
        assert!(store.vectors_in("model", &[]).unwrap().is_empty());
    }
}

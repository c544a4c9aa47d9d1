//! What search looks at: documents, their words and their vectors. A cache of the databases, made ready at the first
//! search and kept up with afterwards. Where there is much, most of it lies in files ([`kept`]), and here is what came
//! since, of this run alone, or is short: facts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use codriver_vectors::Vectors;

use crate::event::digest;
use crate::index::graph::Graph;
use crate::index::kept::{Kept, KeptText, origin_of_conversation, project_number};
use crate::index::words::count_words;
use crate::project::ProjectKey;
use crate::records::{FactPlace, Scope};

pub(crate) mod archive;
pub(crate) mod files;
pub(crate) mod fusion;
mod graph;
pub(crate) mod kept;
pub(crate) mod lexical;
pub(crate) mod ranking;
pub(crate) mod search;
pub(crate) mod words;

pub(crate) use graph::GraphFile;

/// Something that can be found.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub kind: &'static str,
    pub scope: Scope,
    pub id: String,
    pub origin: String,
    pub title: String,
    pub text: String,
    /// When it was said, learned or read; `None` where that is not known.
    pub created_at: Option<DateTime<Utc>>,
    /// From 0 to 1; [`Document::USUAL`] where nobody said.
    pub importance: f32,
    /// Always worth finding.
    pub pinned: bool,
    /// Whose it is, where it is a project's.
    pub project: Option<String>,
}

impl Document {
    /// The importance of what nobody weighed.
    pub const USUAL: f32 = 0.5;

    fn is_written(&self) -> bool {
        self.kind != "fact" && self.scope != Scope::Session
    }

    /// What is compared with a query.
    pub fn content(&self) -> String {
        content(self.kind, &self.title, &self.text)
    }
}

/// What of something that can be found is compared with a query. A message's title is only who said it.
pub(crate) fn content(kind: &str, title: &str, text: &str) -> String {
    if kind == "chunk" { format!("{title}\n{text}").trim_start().to_owned() } else { text.to_owned() }
}

/// A text that waits for its vector: whose it is, its digest, the text.
pub(crate) type Waiting = (Scope, String, String);

/// What is taken out of what can be found.
pub(crate) enum Gone<'a> {
    Fact(Scope, &'a str),
    /// What was said in a conversation.
    Conversation(&'a str),
    /// Documents of a place: their names, and their numbers among [`kept`] ones.
    Documents(&'a FactPlace, &'a [&'a str], &'a [u64]),
}

#[derive(Default)]
pub(crate) struct Index {
    /// Whose vectors these are.
    pub model: Option<String>,
    /// What is in the file of words. Slots number its texts first.
    kept: Option<Arc<Kept>>,
    hidden: Hidden,
    /// How many of the file's texts can be seen from here.
    visible: usize,
    /// What came since. `None` where a document was removed.
    slots: Vec<Option<Slot>>,
    /// Word -> slots it occurs in, with how often. Removed slots stay until the next rebuild.
    postings: HashMap<String, Vec<(u32, u32)>>,
    alive: usize,
    /// Those of them that a file could hold: neither facts nor of this run alone.
    unwritten: usize,
    total_length: u64,
    /// Which slots have a content.
    places: HashMap<u64, Vec<u32>>,
    /// By content; made with the first.
    vectors: Option<Vectors>,
    /// Contents that the embedder was asked for and gave nothing usable.
    unusable: HashSet<u64>,
    /// Slots whose contents may be without vectors, in order.
    waiting: Vec<u32>,
    /// Texts of the file that may be without vectors, in order.
    kept_waiting: Vec<KeptText>,
    /// Where a graph over the vectors comes from, while one is built.
    graph: Graph,
    graph_file: Option<GraphFile>,
}

/// What of the file of words is not to be found.
#[derive(Default)]
pub(crate) struct Hidden {
    /// The project whose own can be seen.
    pub viewer: u64,
    /// Conversations, up to which turn.
    pub until: HashMap<u64, u64>,
    /// Documents that are other ones now.
    pub documents: HashSet<u64>,
}

impl Hidden {
    pub fn of(project: &ProjectKey) -> Self {
        Self { viewer: project_number(project), ..Self::default() }
    }

    fn admits(&self, text: &KeptText) -> bool {
        (text.project == 0 || text.project == self.viewer)
            && match text.is_message {
                true => self.until.get(&text.origin).is_none_or(|until| text.sequence > *until),
                false => !self.documents.contains(&text.origin),
            }
    }
}

struct Slot {
    document: Document,
    content: String,
    length: u32,
}

impl Index {
    pub fn new(kept: Option<Arc<Kept>>, hidden: Hidden) -> Self {
        let mut visible = 0;
        if let Some(kept) = &kept {
            kept.each(&mut |text| visible += usize::from(hidden.admits(&text)));
        }
        Self { kept, hidden, visible, ..Self::default() }
    }

    /// The number of the first slot that is not in the file.
    fn first(&self) -> u32 {
        self.kept.as_ref().map_or(0, |kept| kept.next_key() as u32)
    }

    pub fn insert(&mut self, document: Document) {
        let slot = self.first() + self.slots.len() as u32;
        let text = document.content();
        let counts = count_words(&text);
        let length = counts.values().sum();
        for (word, count) in counts {
            self.postings.entry(word).or_default().push((slot, count));
        }
        let content = digest(&text);
        self.places.entry(key(&content)).or_default().push(slot);
        self.waiting.push(slot);
        self.alive += 1;
        self.unwritten += usize::from(document.is_written());
        self.total_length += u64::from(length);
        self.slots.push(Some(Slot { document, content, length }));
    }

    /// Takes documents out; the words of removed ones are cleared out when they are a third of all.
    pub fn remove(&mut self, gone: &Gone<'_>) {
        match gone {
            Gone::Fact(..) => {}
            Gone::Conversation(id) => drop(self.hidden.until.insert(origin_of_conversation(id), u64::MAX)),
            Gone::Documents(_, _, numbers) => self.hidden.documents.extend(numbers.iter()),
        }
        let matches = |document: &Document| match gone {
            Gone::Fact(scope, id) => document.kind == "fact" && document.scope == *scope && document.id == *id,
            Gone::Conversation(id) => document.kind == "message" && document.origin == *id,
            Gone::Documents(place, names, _) => {
                document.kind == "chunk" && document.scope == place.scope && names.contains(&document.origin.as_str())
            }
        };
        let first = self.first() as usize;
        for (position, slot) in self.slots.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|slot| matches(&slot.document))
                && let Some(removed) = slot.take()
            {
                self.alive -= 1;
                self.unwritten -= usize::from(removed.document.is_written());
                self.total_length -= u64::from(removed.length);
                let content = key(&removed.content);
                if let Some(places) = self.places.get_mut(&content) {
                    places.retain(|place| *place as usize != first + position);
                    if places.is_empty() {
                        self.places.remove(&content);
                    }
                }
            }
        }
        if self.slots.len() > 64 && self.alive * 3 < self.slots.len() * 2 {
            let slots = std::mem::take(&mut self.slots);
            self.postings.clear();
            self.places.clear();
            self.waiting.clear();
            (self.alive, self.unwritten, self.total_length) = (0, 0, 0);
            slots.into_iter().flatten().for_each(|slot| self.insert(slot.document));
        }
    }

    /// How many documents are not in the file and could be.
    pub fn unwritten(&self) -> usize {
        self.unwritten
    }

    /// Contents that the embedder was not asked for yet, newest first: with their texts, and those whose texts are in the
    /// database.
    pub fn without_vectors(&mut self, limit: usize) -> (Vec<Waiting>, Vec<KeptText>) {
        self.tend_graph();
        let (mut seen, mut found, mut kept) = (HashSet::new(), Vec::new(), Vec::new());
        while found.len() < limit
            && let Some(position) = self.waiting.pop()
        {
            let Some(slot) = self.fresh_slot(position) else { continue };
            let content = key(&slot.content);
            if self.has_answer(content) {
                continue;
            }
            // It waits until there is a vector: the embedder may fail.
            kept.push(position);
            if seen.insert(content) {
                let slot = self.fresh_slot(position);
                found.extend(slot.map(|slot| (slot.document.scope, slot.content.clone(), slot.document.content())));
            }
        }
        self.waiting.extend(kept.into_iter().rev());
        let (mut in_database, mut waits) = (Vec::new(), Vec::new());
        while found.len() + in_database.len() < limit
            && let Some(text) = self.kept_waiting.pop()
        {
            if self.has_answer(text.content) || !self.hidden.admits(&text) {
                continue;
            }
            waits.push(text);
            if seen.insert(text.content) {
                in_database.push(text);
            }
        }
        self.kept_waiting.extend(waits.into_iter().rev());
        (found, in_database)
    }

    fn has_answer(&self, content: u64) -> bool {
        self.unusable.contains(&content) || self.vectors.as_ref().is_some_and(|vectors| vectors.get(content).is_some())
    }

    /// Goes over to vectors that were read from a file.
    pub fn set_vectors(&mut self, vectors: Option<Vectors>) {
        (self.vectors, self.unusable) = (vectors, HashSet::new());
    }

    /// All vectors there are were set; where their graph is kept, and what waits for one.
    pub fn vectors_are_set(&mut self, graph_file: Option<GraphFile>) {
        self.graph_file = graph_file;
        if let (Some(kept), Some(_)) = (self.kept.clone(), &self.model) {
            let mut waiting = Vec::new();
            kept.each(&mut |text| {
                if self.hidden.admits(&text) && !self.has_answer(text.content) {
                    waiting.push(text);
                }
            });
            waiting.sort_unstable_by_key(|text| text.key);
            self.kept_waiting = waiting;
        }
    }

    /// Those of an index of the same documents, over another file of words.
    pub fn take_vectors(&mut self, before: Self) {
        (self.vectors, self.unusable, self.graph) = (before.vectors, before.unusable, before.graph);
        self.vectors_are_set(before.graph_file);
    }

    /// How many contents have a vector or can have none, of how many that can be seen from here.
    pub fn coverage(&self) -> (usize, usize) {
        let mut contents: HashSet<u64> = self.places.keys().copied().collect();
        if let Some(kept) = &self.kept {
            kept.each(&mut |text| {
                if self.hidden.admits(&text) {
                    contents.insert(text.content);
                }
            });
        }
        (contents.iter().filter(|content| self.has_answer(**content)).count(), contents.len())
    }

    /// That of a content, by digest.
    pub fn vector(&self, content: &str) -> Option<&[f32]> {
        self.vectors.as_ref()?.get(key(content))
    }

    /// False if it had one.
    pub fn set_vector(&mut self, content: &str, vector: &[f32]) -> bool {
        let content = key(content);
        let vectors = match &mut self.vectors {
            Some(vectors) if !vectors.is_empty() || vectors.dimensions() == vector.len() => vectors,
            vectors => vectors.insert(Vectors::new(vector.len())),
        };
        if self.unusable.contains(&content) || vectors.get(content).is_some() {
            return false;
        }
        if !vectors.insert(content, vector) {
            self.unusable.insert(content);
        }
        true
    }

    /// Whether a document has this content.
    pub fn uses(&self, content: &str) -> bool {
        let content = key(content);
        let kept = || self.kept.as_ref().map_or_else(Vec::new, |kept| kept.of_content(content));
        self.places.contains_key(&content)
            || kept().iter().any(|text| self.hidden.admits(text) || ![0, self.hidden.viewer].contains(&text.project))
    }

    pub fn remove_vectors(&mut self, contents: &[String]) {
        for content in contents.iter().map(|content| key(content)) {
            self.unusable.remove(&content);
            if let Some(vectors) = &mut self.vectors {
                vectors.remove(content);
            }
        }
    }

    fn fresh_slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot.checked_sub(self.first())? as usize)?.as_ref()
    }
}

/// A content's number among vectors: the beginning of its digest.
pub(crate) fn key(digest: &str) -> u64 {
    digest.get(..16).and_then(|start| u64::from_str_radix(start, 16).ok()).unwrap_or_default()
}

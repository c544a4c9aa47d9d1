//! Where context comes from: the session, the conversation, memory, a person's choices.

use std::path::Path;

use codriver_inference::{ColumnSchema, Environment, TableSchema};
use codriver_memory::{ContextItem, EarlierTurn, Hit, ItemDetails, Memory, MemoryError, SearchOptions, TurnId};

use super::choices::Choices;
use super::{Retrieved, Section, TURN, shorten};
use crate::agent::compaction::Compaction;
use crate::agent::examples::Example;
use crate::agent::provenance;

/// Paths named in the prompt.
const MOST_PATHS: usize = 80;
/// Facts and documents asked of memory.
const MOST_HITS: usize = 8;
/// Hits below this are noise. By words alone a good match scores low where many texts have
/// the words; by meaning every text matches a little.
pub const LEAST_SCORE_BY_WORDS: f32 = 0.08;
pub const LEAST_SCORE_BY_MEANING: f32 = 0.25;
const LONGEST_ERROR: usize = 2_000;

/// Where context comes from.
pub struct Sources<'a> {
    pub environment: &'a Environment,
    /// Cells whose results are older than what they were computed from, a line each.
    pub stale_cells: &'a [String],
    pub memory: &'a Memory,
    pub workspace: &'a Path,
    /// The conversation's turns that are still told as they were, oldest first.
    pub turns: &'a [EarlierTurn],
    /// What those before them were condensed to.
    pub compaction: Option<&'a Compaction>,
    pub choices: &'a Choices,
    pub examples: &'a [Example],
    /// False with `--no-memory`, and for a model that would not read it: the session's state only.
    pub use_memory: bool,
}

impl Retrieved {
    pub(super) fn collect(&mut self, sources: &Sources<'_>, request: &str) {
        self.session(sources, request);
        if sources.use_memory {
            self.turns(sources);
            self.memories(sources, request);
            self.examples(sources.examples);
        }
        self.choose(sources);
    }

    fn session(&mut self, sources: &Sources<'_>, request: &str) {
        let environment = sources.environment;
        let lower = request.to_lowercase();
        for table in &environment.tables {
            let named = lower.contains(&table.name.to_lowercase());
            let reason = if named { "a table the request names" } else { "a table of the session" };
            let described = item("table", "sql", &table.name, describe(table)).because(Section::Session, reason);
            self.items.push(described.score(named.then_some(1.0)).keyed(&table.name));
        }
        let states = [
            ("variables", "rust", environment.variables.join("\n"), "variables of the session"),
            ("cells", "this notebook", sources.stale_cells.join("\n"), "their results may mislead"),
            ("branches", "git", environment.branches.join(", "), "the workspace's branches"),
            ("files", "workspace", file_list(&environment.files), "the workspace's files"),
        ];
        for (kind, origin, text, reason) in states {
            if !text.is_empty() {
                self.items.push(item(kind, origin, "", text).because(Section::Session, reason).keyed(""));
            }
        }
        if let Some(error) = &environment.last_error {
            let failed = item("error", "last cell", "", shorten(error, LONGEST_ERROR)).score(Some(1.0));
            self.items.push(failed.because(Section::Session, "the last cell failed").keyed(""));
        }
    }

    fn turns(&mut self, sources: &Sources<'_>) {
        if let Some(compaction) = sources.compaction {
            let origin = format!("turns {} to {}", compaction.first, compaction.last);
            let condensed = item("compaction", &origin, "what earlier turns came to", compaction.text());
            self.items.push(condensed.because(Section::Turns, "turns that no longer fit were condensed").keyed(""));
        }
        for turn in sources.turns {
            let text = format!("{}\n{}", turn.request, turn.answer);
            let mut told = item(TURN, &format!("turn {}", turn.number), &turn.request, text)
                .because(Section::Turns, "said earlier in this conversation")
                .keyed(turn.id.as_str());
            if turn.ended.as_deref() == Some("failed") {
                told.dropped = Some("that turn failed".to_owned());
            }
            self.items.push(told);
            self.history.push(turn.clone());
        }
    }

    /// Facts and documents; what was said in other conversations is left to `recall`, so
    /// that a notebook run twice is told the same.
    fn memories(&mut self, sources: &Sources<'_>, request: &str) {
        let memory = sources.memory;
        let options = SearchOptions { kinds: vec!["fact", "chunk"], ..SearchOptions::default() };
        match memory.search_with(request, MOST_HITS, &options) {
            Ok(hits) => {
                let failure = memory.reranking().and_then(Result::err);
                self.items.extend(hits.into_iter().map(|hit| {
                    let link = (hit.kind == "chunk").then(|| memory.provenance(&hit).ok());
                    let link = link.flatten().and_then(|from| provenance::link(&from, sources.workspace));
                    let mut item = found(&memory.whereabouts(&hit), hit, failure.as_deref());
                    item.details.link = link;
                    item
                }));
            }
            Err(error) => tracing::warn!("memory is not searched: {error}"),
        }
    }

    fn examples(&mut self, examples: &[Example]) {
        for example in examples {
            let alike = item("example", "examples", &example.request, example.text());
            let alike = alike.score(Some(example.score)).keyed(&example.request);
            self.items.push(alike.because(Section::Examples, "a request like this one"));
        }
    }

    /// A person's choices go before everything.
    fn choose(&mut self, sources: &Sources<'_>) {
        for item in &mut self.items {
            if sources.choices.is_pinned(&item.details.key) {
                Section::Pinned.name().clone_into(&mut item.details.section);
                "pinned".clone_into(&mut item.details.reason);
                item.dropped = None;
            } else if sources.choices.is_dropped(&item.details.key) {
                item.dropped = Some("left out by you (%context drop)".to_owned());
            }
        }
        let missing = |pin: &&ContextItem| !self.items.iter().any(|item| item.details.key == pin.details.key);
        let pins: Vec<ContextItem> = sources.choices.pins.iter().filter(missing).cloned().collect();
        for mut pin in pins {
            Section::Pinned.name().clone_into(&mut pin.details.section);
            "pinned".clone_into(&mut pin.details.reason);
            (pin.score, pin.dropped) = (None, None);
            match self.still_true(&pin, sources) {
                Ok(true) => {}
                Ok(false) => pin.dropped = Some("pinned, but it is gone since".to_owned()),
                Err(error) => tracing::warn!("a pinned item could not be looked up: {error}"),
            }
            if pin.kind == TURN {
                let (request, answer) = pin.text.split_once('\n').unwrap_or((&pin.text, ""));
                let id = TurnId::from(pin.details.key.trim_start_matches("turn:"));
                let (request, answer) = (request.to_owned(), answer.to_owned());
                self.history.insert(0, EarlierTurn { id, number: 0, request, answer, ended: None });
            }
            self.items.push(pin);
        }
    }

    /// Whether what a pin was made of is still there to be told.
    fn still_true(&self, pin: &ContextItem, sources: &Sources<'_>) -> Result<bool, MemoryError> {
        Ok(match pin.kind.as_str() {
            "fact" => {
                let facts = sources.memory.facts(None)?;
                facts.iter().any(|fact| pin.details.key == format!("fact:{}", fact.id.as_str()))
            }
            // Turns and documents are kept as they were; the session's state is of the moment.
            TURN | "chunk" | "example" => true,
            _ => false,
        })
    }
}

/// `failure` is why no reranker read it, where one was wanted.
fn found(origin: &str, hit: Hit, failure: Option<&str>) -> ContextItem {
    let text = if hit.title.is_empty() { format!("- {}", hit.text) } else { format!("- {}: {}", hit.title, hit.text) };
    let by = match (hit.cosine.is_some(), hit.bm25.is_some()) {
        (true, true) => "matches the request by meaning and by words",
        (true, false) => "matches the request by meaning",
        _ => "matches the request by words",
    };
    let reason = match (hit.reranker, failure) {
        (Some(_), _) => format!("{by}, ordered by the reranker"),
        (None, Some(failure)) => format!("{by} (not reranked: {failure})"),
        (None, None) => by.to_owned(),
    };
    let mut found = item(hit.kind, origin, &hit.title, text)
        .because(Section::Retrieved, &reason)
        .score(Some(hit.score))
        .keyed(&hit.id);
    (found.details.cosine, found.details.bm25, found.details.reranker) = (hit.cosine, hit.bm25, hit.reranker);
    let least = if hit.cosine.is_some() { LEAST_SCORE_BY_MEANING } else { LEAST_SCORE_BY_WORDS };
    if hit.score < least {
        found.dropped = Some(format!("matches too little (below {least})"));
    }
    found
}

fn item(kind: &str, origin: &str, title: &str, text: String) -> ContextItem {
    ContextItem {
        kind: kind.to_owned(),
        origin: origin.to_owned(),
        title: title.to_owned(),
        text,
        score: None,
        tokens: 0,
        dropped: None,
        details: ItemDetails::default(),
    }
}

/// What an item is given one after the other.
trait Detailed: Sized {
    fn because(self, section: Section, reason: &str) -> Self;
    fn score(self, score: Option<f32>) -> Self;
    fn keyed(self, name: &str) -> Self;
}

impl Detailed for ContextItem {
    fn because(mut self, section: Section, reason: &str) -> Self {
        section.name().clone_into(&mut self.details.section);
        reason.clone_into(&mut self.details.reason);
        self
    }

    fn score(mut self, score: Option<f32>) -> Self {
        self.score = score;
        self
    }

    fn keyed(mut self, name: &str) -> Self {
        self.details.key = format!("{}:{name}", self.kind);
        self
    }
}

fn describe(table: &TableSchema) -> String {
    let columns: Vec<String> = table.columns.iter().map(describe_column).collect();
    format!("- {}({})", table.name, columns.join(", "))
}

fn describe_column(column: &ColumnSchema) -> String {
    const MOST_VALUES: usize = 12;
    let mut text = format!("{} {}", column.name, column.data_type);
    if !column.values.is_empty() {
        let shown: Vec<String> = column.values.iter().take(MOST_VALUES).map(|value| format!("'{value}'")).collect();
        let more = if column.values.len() > MOST_VALUES { ", …" } else { "" };
        text.push_str(&format!(" [{}{more}]", shown.join(", ")));
    }
    text
}

/// Paths near the top first.
fn file_list(files: &[String]) -> String {
    let mut paths: Vec<&String> = files.iter().collect();
    paths.sort_by_key(|path| (path.trim_end_matches('/').matches('/').count(), (*path).clone()));
    let mut text = paths.iter().take(MOST_PATHS).map(|path| path.as_str()).collect::<Vec<_>>().join("\n");
    if files.len() > MOST_PATHS {
        text.push_str(&format!("\n… and {} more", files.len() - MOST_PATHS));
    }
    text
}

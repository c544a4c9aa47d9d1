//! What an agent is told about the session, under a budget, with nothing hidden.

use codriver_inference::{ChatModel, ColumnSchema, Environment, TableSchema};
use codriver_memory::{ContextItem, ConversationId, Memory, SearchOptions, StoredTurn};
use serde::Serialize;

/// Tokens the retrieved items may take, however large the model's window.
const MOST_TOKENS: usize = 6_000;
/// Paths named in the prompt.
const MOST_PATHS: usize = 80;
/// Earlier turns considered.
pub const MOST_TURNS: usize = 12;
/// Facts and documents asked of memory.
const MOST_HITS: usize = 6;
/// Hits below this are noise. By words alone a good match scores low where many texts have
/// the words; by meaning every text matches a little.
const LEAST_SCORE_BY_WORDS: f32 = 0.08;
const LEAST_SCORE_BY_MEANING: f32 = 0.25;
const LONGEST_ERROR: usize = 2_000;

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

/// Everything retrieved for one turn, the most important first, each item kept or dropped.
#[derive(Debug, Clone, Default)]
pub struct Retrieved {
    pub items: Vec<ContextItem>,
    /// The earlier turns that are in, oldest first: request and answer.
    history: Vec<(String, String, usize)>,
}

const TURN: &str = "turn";

/// The headings, in the order they stand in the prompt.
const HEADINGS: [(&str, &str); 7] = [
    ("table", "Tables of the SQL session"),
    ("variables", "Variables of the Rust session"),
    ("branches", "Git branches"),
    ("files", "Files of the workspace"),
    ("error", "The last error"),
    ("fact", "Remembered facts"),
    ("chunk", "From documents"),
];

impl Retrieved {
    /// Collects what there is and keeps what fits.
    pub fn gather(sources: &Sources<'_>, request: &str, model: &dyn ChatModel) -> Self {
        let mut retrieved = Self::default();
        retrieved.session(sources.environment, request);
        if sources.use_memory {
            retrieved.turns(sources.memory, sources.conversation);
            retrieved.memories(sources.memory, request);
        }
        for item in &mut retrieved.items {
            item.tokens = model.count_tokens(&item.text);
        }
        retrieved.items.sort_by_key(priority);
        // A model that reads only what exists in the session is given all of it.
        if model.reads_system_prompt() {
            retrieved.keep_within(MOST_TOKENS.min((model.context_window() / 2).max(256)));
        }
        retrieved
    }

    /// Leaves out the least important item that is still in; false when there is none.
    pub fn drop_one(&mut self, why: &str) -> bool {
        let last = self.items.iter_mut().rfind(|item| item.dropped.is_none());
        let Some(item) = last else { return false };
        item.dropped = Some(why.to_owned());
        true
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
        let kept = |number: usize| {
            let origin = turn_origin(number);
            self.items.iter().any(|item| item.kind == TURN && item.origin == origin && item.dropped.is_none())
        };
        self.history
            .iter()
            .filter(|(_, _, number)| kept(*number))
            .map(|(request, answer, _)| (request.as_str(), answer.as_str()))
            .collect()
    }

    fn session(&mut self, environment: &Environment, request: &str) {
        let lower = request.to_lowercase();
        for table in &environment.tables {
            let named = lower.contains(&table.name.to_lowercase());
            let score = named.then_some(1.0);
            self.push("table", "sql", &table.name, describe(table), score);
        }
        if !environment.variables.is_empty() {
            self.push("variables", "rust", "", environment.variables.join("\n"), None);
        }
        if !environment.branches.is_empty() {
            self.push("branches", "git", "", environment.branches.join(", "), None);
        }
        if !environment.files.is_empty() {
            self.push("files", "workspace", "", file_list(&environment.files), None);
        }
        if let Some(error) = &environment.last_error {
            self.push("error", "last cell", "", shorten(error, LONGEST_ERROR), Some(1.0));
        }
    }

    fn turns(&mut self, memory: &Memory, conversation: Option<&ConversationId>) {
        let Some(conversation) = conversation else { return };
        let turns: Vec<StoredTurn> = match memory.turns(conversation, MOST_TURNS) {
            Ok(turns) => turns,
            Err(error) => {
                tracing::warn!("earlier turns are not available: {error}");
                return;
            }
        };
        for (number, stored) in turns.into_iter().enumerate() {
            let text = format!("{}\n{}", stored.turn.request, stored.turn.answer);
            let title = stored.turn.request.clone();
            self.push(TURN, &turn_origin(number), &title, text, None);
            let failed = stored
                .turn
                .messages
                .last()
                .and_then(|message| message.json.as_ref())
                .is_some_and(|json| json["ended"] == "failed");
            if failed && let Some(item) = self.items.last_mut() {
                item.dropped = Some("that turn failed".to_owned());
            }
            self.history.push((stored.turn.request, stored.turn.answer, number));
        }
    }

    /// Facts and documents; what was said in other conversations is left to `recall`, so
    /// that a notebook run twice is told the same.
    fn memories(&mut self, memory: &Memory, request: &str) {
        let options = SearchOptions { kinds: vec!["fact", "chunk"], ..SearchOptions::default() };
        let hits = match memory.search_with(request, MOST_HITS, &options) {
            Ok(hits) => hits,
            Err(error) => {
                tracing::warn!("memory is not searched: {error}");
                return;
            }
        };
        for hit in hits {
            let text =
                if hit.title.is_empty() { format!("- {}", hit.text) } else { format!("- {}: {}", hit.title, hit.text) };
            self.push(hit.kind, &hit.origin, &hit.title, text, Some(hit.score));
            let least = if hit.cosine.is_some() { LEAST_SCORE_BY_MEANING } else { LEAST_SCORE_BY_WORDS };
            if hit.score < least
                && let Some(item) = self.items.last_mut()
            {
                item.dropped = Some(format!("matches too little (below {least})"));
            }
        }
    }

    fn push(&mut self, kind: &str, origin: &str, title: &str, text: String, score: Option<f32>) {
        self.items.push(ContextItem {
            kind: kind.to_owned(),
            origin: origin.to_owned(),
            title: title.to_owned(),
            text,
            score,
            tokens: 0,
            dropped: None,
        });
    }

    fn keep_within(&mut self, budget: usize) {
        let mut used = 0;
        for item in self.items.iter_mut().filter(|item| item.dropped.is_none()) {
            if used + item.tokens > budget {
                item.dropped = Some(format!("over the budget of {budget} tokens"));
            } else {
                used += item.tokens;
            }
        }
    }
}

/// Where context comes from.
pub struct Sources<'a> {
    pub environment: &'a Environment,
    pub memory: &'a Memory,
    pub conversation: Option<&'a ConversationId>,
    /// False with `--no-memory`, and for a model that would not read it: the session's state only.
    pub use_memory: bool,
}

/// The smaller, the more it is worth keeping.
fn priority(item: &ContextItem) -> (u8, std::cmp::Reverse<u32>) {
    let rank = match item.kind.as_str() {
        "error" => 0,
        "table" if item.score.is_some() => 1,
        // The newest of the earlier turns has the largest number.
        TURN => 2,
        "table" | "fact" => 3,
        "branches" | "variables" => 4,
        "chunk" => 5,
        _ => 6,
    };
    let within = match item.kind.as_str() {
        TURN => item.origin.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0),
        _ => item.score.map_or(0, |score| (score.clamp(0.0, 1.0) * 1000.0) as u32),
    };
    (rank, std::cmp::Reverse(within))
}

fn turn_origin(number: usize) -> String {
    format!("turn {}", number + 1)
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

/// At most `most` bytes, the middle left out: errors say what matters at both ends.
pub fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(most / 2);
    let tail = text.ceil_char_boundary(text.len() - most / 2);
    format!("{}\n… {} characters left out …\n{}", &text[..head], text[head..tail].chars().count(), &text[tail..])
}

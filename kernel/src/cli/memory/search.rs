//! `codriver memory search`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use codriver_memory::{
    Collection, CollectionHit, CollectionQuery, Comparison, Condition, Embedder, MemoryError, RERANKED, Reranker,
    SearchMode, Staleness, rerank,
};
use serde_json::{Value, json};

use super::progress::Display;
use super::{collections_here, embedder, open_lines};
use crate::agent::open_reranker;

pub const EXAMPLES: &str = "Examples:
  codriver memory search --collection papers \"wing flutter at high speed\"
  codriver memory search --collection papers --where \"year>=1999\" --mode lexical -k 5 --json flutter
  codriver memory search --collection papers --batch queries.jsonl -k 100 --json > run.jsonl

A search by words and meaning does with words where there are no vectors, and says on standard error how to get them.
A batch has lines {\"id\": ..., \"query\": ...}; for each, in order, a line {\"id\": ..., \"results\": [{\"id\": ..., \"score\": ...}]} comes out.";

#[derive(Debug, Args)]
pub struct SearchArguments {
    /// What to find
    #[arg(value_name = "QUERY", required_unless_present = "batch", conflicts_with = "batch", num_args = 1..)]
    query: Vec<String>,
    /// The collection
    #[arg(short, long, value_name = "NAME")]
    collection: String,
    /// By words and meaning, by meaning, by words, or by meaning with every vector compared
    #[arg(short, long, value_enum, default_value_t = ModeName::Hybrid)]
    mode: ModeName,
    /// How many to find
    #[arg(short, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    k: u32,
    /// Only documents whose metadata is so (= != < <= > >=, and ~ for "contains"); again for more
    #[arg(short = 'f', long = "where", alias = "filter", value_name = "KEY=VALUE")]
    conditions: Vec<Condition>,
    /// Only documents of that day or later, by the date in their metadata
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<String>,
    /// Only documents of before that day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    before: Option<String>,
    /// Where in the metadata the date is
    #[arg(long, value_name = "KEY", default_value = "date")]
    date_key: String,
    /// Let a cross-encoder (a folder, or a model of the store) read the best 50 and decide their order
    #[arg(long, value_name = "MODEL")]
    rerank: Option<String>,
    /// Many queries, from a file of JSON lines; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    batch: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeName {
    Hybrid,
    Vector,
    Lexical,
    Exact,
}

impl SearchArguments {
    fn filter(&self) -> Vec<Condition> {
        let date = |comparison, day: &String| Condition { key: self.date_key.clone(), comparison, value: day.clone() };
        let since = self.since.iter().map(|day| date(Comparison::AtLeast, day));
        let before = self.before.iter().map(|day| date(Comparison::Less, day));
        self.conditions.iter().cloned().chain(since).chain(before).collect()
    }
}

/// A day as dates in metadata are written, of which the end may be missing: they are compared as text.
fn day(text: &str) -> Result<String, String> {
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    let day = NaiveDate::parse_from_str(&whole, "%Y-%m-%d").ok().filter(|day| day.to_string() == whole);
    day.map(|_| text.to_owned()).ok_or_else(|| "it is no day; write it as YYYY-MM-DD, like 2026-01-31".to_owned())
}

/// Queries between two writings of results.
const BLOCK: usize = 1024;

/// The same where a cross-encoder reads what they find.
const RERANKED_BLOCK: usize = 16;

/// How long a cross-encoder may read for one query: in a terminal it can be interrupted.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn search(arguments: &SearchArguments) -> anyhow::Result<ExitCode> {
    let display = Display::new(arguments.quiet)?;
    let collection = collections_here().open(&arguments.collection)?;
    let mode = match arguments.mode {
        ModeName::Hybrid => SearchMode::Hybrid,
        ModeName::Vector => SearchMode::Vector,
        ModeName::Lexical => SearchMode::Lexical,
        ModeName::Exact => SearchMode::Exact,
    };
    let (embedder, unusable) = match embedder_for(mode) {
        Err(reason) if mode == SearchMode::Hybrid => (None, Some(reason)),
        embedder => (embedder?, None),
    };
    let query = arguments.query.join(" ");
    if arguments.batch.is_none() && query.trim().is_empty() {
        bail!("the query is empty; say what to find");
    }
    let mut order = Order { reranker: None, k: arguments.k as usize, told: false };
    if let Some(name) = &arguments.rerank {
        match open_reranker(name, PATIENCE) {
            Ok(reranker) => order.reranker = Some(reranker),
            Err(reason) => eprintln!("codriver: the results are not reranked: {reason}"),
        }
    }
    let (k, reads) = (order.candidates(), order.reranker.is_some());
    let asked = CollectionQuery { mode, k, filter: arguments.filter(), texts: arguments.batch.is_none() || reads };
    let code = match &arguments.batch {
        Some(file) => {
            search_batch(&collection, &read_queries(file)?, embedder.as_deref(), &asked, &mut order, &display)?
        }
        None => {
            let found = collection.search(&[query.as_str()], embedder.as_deref(), &asked, &|_, _| true)?;
            let mut hits = found.into_iter().next().unwrap_or_default();
            order.apply(&query, &mut hits);
            match arguments.json {
                true => super::print(&format!(
                    "{}\n",
                    json!({ "query": query, "results": hits.iter().map(described).collect::<Vec<_>>() })
                ))?,
                false => super::print(&listed(&hits))?,
            }
        }
    };
    match (unusable, collection.shortfall()) {
        (Some(reason), _) => eprintln!("warning: found by words alone: {reason:#}"),
        (None, Some(shortfall)) => eprintln!("warning: {shortfall}"),
        (None, None) => {}
    }
    if let Some(staleness) = collection.staleness() {
        mend_indexes(&collection, &staleness, embedder.as_deref(), &display)?;
    }
    Ok(code)
}

fn embedder_for(mode: SearchMode) -> anyhow::Result<Option<Arc<dyn Embedder>>> {
    if mode == SearchMode::Lexical { Ok(None) } else { embedder() }
}

/// So that the next search need not. Where nothing can be written, searches go on without.
fn mend_indexes(
    collection: &Collection,
    staleness: &Staleness,
    embedder: Option<&dyn Embedder>,
    display: &Display,
) -> anyhow::Result<()> {
    match staleness {
        Staleness::Missing => display.say("the documents are not indexed yet; that is done now"),
        Staleness::Older => display.say("the indexes are older than the documents; they are brought up to date"),
        Staleness::Damaged { path, reason } => eprintln!("warning: {path} is damaged ({reason}); it is built anew"),
    }
    let model = embedder.map(|embedder| embedder.name());
    match display.under_bar("indexing", |progress| collection.refresh(model, progress)) {
        Err(error @ MemoryError::Unwritable { .. }) => {
            eprintln!("warning: the next search has to index the documents again: {error}");
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

fn search_batch(
    collection: &Collection,
    queries: &[(Value, String)],
    embedder: Option<&dyn Embedder>,
    asked: &CollectionQuery,
    order: &mut Order,
    display: &Display,
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let reads = order.reranker.is_some();
    let size = if reads { RERANKED_BLOCK } else { BLOCK };
    display.under_bar("searching", |progress| {
        for (block, queries_of_block) in queries.chunks(size).enumerate() {
            let texts: Vec<&str> = queries_of_block.iter().map(|(_, query)| query.as_str()).collect();
            // What is found is read after that: then it is done.
            let searched = |done: usize| if reads { block * size } else { block * size + done };
            let found =
                collection.search(&texts, embedder, asked, &|done, _| progress(searched(done), queries.len()))?;
            let mut lines = String::new();
            for (position, ((id, query), mut hits)) in queries_of_block.iter().zip(found).enumerate() {
                order.apply(query, &mut hits);
                if reads && !progress(block * size + position + 1, queries.len()) {
                    return Err(MemoryError::Stopped.into());
                }
                let results: Vec<Value> = hits.iter().map(|hit| json!({ "id": hit.id, "score": hit.score })).collect();
                lines.push_str(&format!("{}\n", json!({ "id": id, "results": results })));
            }
            code = super::print(&lines)?;
        }
        Ok(code)
    })
}

/// The order of what was found.
struct Order {
    reranker: Option<Arc<dyn Reranker>>,
    /// How many are asked for.
    k: usize,
    /// Whether it was said that the reranker failed.
    told: bool,
}

impl Order {
    /// How many to find, so that the best can be chosen.
    fn candidates(&self) -> usize {
        if self.reranker.is_some() { self.k.max(RERANKED) } else { self.k }
    }

    /// Says once why results are not reranked; they are there all the same.
    fn apply(&mut self, query: &str, hits: &mut Vec<CollectionHit>) {
        if let Some(Err(reason)) = self.reranker.as_deref().map(|reranker| rerank(reranker, query, hits)) {
            if !std::mem::replace(&mut self.told, true) {
                eprintln!("codriver: results are not reranked, the first for {query:?}: {reason}");
            }
        }
        hits.truncate(self.k);
    }
}

/// Lines of `{"id", "query"}`; `_id` and `text` are other names of these. A line that is none ends the search before
/// it begins: results are told apart by their ids.
fn read_queries(file: &PathBuf) -> anyhow::Result<Vec<(Value, String)>> {
    let reader: Box<dyn BufRead> = match file.as_os_str() == "-" {
        true => Box::new(BufReader::new(std::io::stdin())),
        false => Box::new(BufReader::new(open_lines(file)?)),
    };
    let mut queries = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |reason: &str| anyhow!("{}, line {}: {reason}", file.display(), number + 1);
        let mut value: Value = serde_json::from_str(&line).map_err(|error| wrong(&format!("not JSON: {error}")))?;
        let mut take = |names: [&str; 2]| names.into_iter().find_map(|name| value.get_mut(name).map(Value::take));
        let id = take(["id", "_id"]).ok_or_else(|| wrong("it has no \"id\""))?;
        match take(["query", "text"]) {
            Some(Value::String(query)) => queries.push((id, query)),
            _ => return Err(wrong("it has no \"query\", or it is not a text")),
        }
    }
    if queries.is_empty() {
        bail!("{} holds no queries", file.display());
    }
    Ok(queries)
}

fn described(hit: &CollectionHit) -> Value {
    let mut value = json!({ "id": hit.id, "score": hit.score, "cosine": hit.cosine, "bm25": hit.bm25 });
    if let (Some(score), Some(fields)) = (hit.reranker, value.as_object_mut()) {
        fields.insert("reranker".to_owned(), json!(score));
    }
    if let (Some(record), Some(fields)) = (&hit.record, value.as_object_mut()) {
        fields.insert("title".to_owned(), json!(record.title));
        fields.insert("text".to_owned(), json!(record.text));
        fields.insert("metadata".to_owned(), json!(record.metadata));
    }
    value
}

fn listed(hits: &[CollectionHit]) -> String {
    if hits.is_empty() {
        return "nothing is found\n".to_owned();
    }
    let mut text = String::new();
    for (rank, hit) in hits.iter().enumerate() {
        let of = |score: Option<f32>| score.map_or("-".to_owned(), |score| format!("{score:.3}"));
        let reranker = hit.reranker.map(|score| format!(", reranker {score:.3}")).unwrap_or_default();
        let (cosine, bm25) = (of(hit.cosine), of(hit.bm25));
        text.push_str(&format!(
            "{:>3}  {:.3}  {}  (cosine {cosine}, bm25 {bm25}{reranker})\n",
            rank + 1,
            hit.score,
            hit.id
        ));
        if let Some(record) = &hit.record {
            let content = record.content();
            let line: String = content.split_whitespace().collect::<Vec<_>>().join(" ");
            let short: String = line.chars().take(160).collect();
            text.push_str(&format!("            {short}{}\n", if short.len() < line.len() { " ..." } else { "" }));
        }
    }
    text
}

//! `codriver memory search`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use codriver_memory::{Collection, CollectionHit, CollectionQuery, Comparison, Condition, Embedder, SearchMode};
use serde_json::{Value, json};

use super::progress::Display;
use super::{collections_here, embedder};

pub const EXAMPLES: &str = "Examples:
  codriver memory search --collection papers \"wing flutter at high speed\"
  codriver memory search --collection papers --where \"year>=1999\" --mode lexical -k 5 --json flutter
  codriver memory search --collection papers --batch queries.jsonl -k 100 --json > run.jsonl

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
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<String>,
    /// Only documents of before that day
    #[arg(long, value_name = "YYYY-MM-DD")]
    before: Option<String>,
    /// Where in the metadata the date is
    #[arg(long, value_name = "KEY", default_value = "date")]
    date_key: String,
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

/// Queries between two writings of results.
const BLOCK: usize = 1024;

pub fn search(arguments: &SearchArguments) -> anyhow::Result<ExitCode> {
    let display = Display::new(arguments.quiet)?;
    let collection = collections_here().open(&arguments.collection)?;
    let mode = match arguments.mode {
        ModeName::Hybrid => SearchMode::Hybrid,
        ModeName::Vector => SearchMode::Vector,
        ModeName::Lexical => SearchMode::Lexical,
        ModeName::Exact => SearchMode::Exact,
    };
    let embedder = if mode == SearchMode::Lexical { None } else { embedder()? };
    let asked = CollectionQuery { mode, k: arguments.k as usize, filter: arguments.filter(), texts: arguments.batch.is_none() };
    let code = match &arguments.batch {
        Some(file) => search_batch(&collection, &read_queries(file)?, embedder.as_deref(), &asked, &display)?,
        None => {
            let query = arguments.query.join(" ");
            let found = collection.search(&[query.as_str()], embedder.as_deref(), &asked, &|_, _| true)?;
            let hits = found.into_iter().next().unwrap_or_default();
            match arguments.json {
                true => super::print(&format!("{}\n", json!({ "query": query, "results": hits.iter().map(described).collect::<Vec<_>>() })))?,
                false => super::print(&listed(&hits))?,
            }
        }
    };
    if collection.wants_refresh() {
        display.say("codriver: the indexes are missing, damaged or older than the database; they are built anew");
        let model = embedder.as_ref().map(|embedder| embedder.name());
        display.under_bar("indexing", |progress| collection.refresh(model, progress))?;
    }
    Ok(code)
}

fn search_batch(
    collection: &Collection,
    queries: &[(Value, String)],
    embedder: Option<&dyn Embedder>,
    asked: &CollectionQuery,
    display: &Display,
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    display.under_bar("searching", |progress| {
        for (block, queries_of_block) in queries.chunks(BLOCK).enumerate() {
            let texts: Vec<&str> = queries_of_block.iter().map(|(_, query)| query.as_str()).collect();
            let found = collection.search(&texts, embedder, asked, &|done, _| progress(block * BLOCK + done, queries.len()))?;
            let mut lines = String::new();
            for ((id, _), hits) in queries_of_block.iter().zip(&found) {
                let results: Vec<Value> = hits.iter().map(|hit| json!({ "id": hit.id, "score": hit.score })).collect();
                lines.push_str(&format!("{}\n", json!({ "id": id, "results": results })));
            }
            code = super::print(&lines)?;
        }
        Ok(code)
    })
}

/// Lines of `{"id", "query"}`; `_id` and `text` are other names of these. A line that is none ends the search before
/// it begins: results are told apart by their ids.
fn read_queries(file: &PathBuf) -> anyhow::Result<Vec<(Value, String)>> {
    let reader: Box<dyn BufRead> = match file.as_os_str() == "-" {
        true => Box::new(BufReader::new(std::io::stdin())),
        false => Box::new(BufReader::new(fs_err::File::open(file)?)),
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
        text.push_str(&format!("{:>3}  {:.3}  {}  (cosine {}, bm25 {})\n", rank + 1, hit.score, hit.id, of(hit.cosine), of(hit.bm25)));
        if let Some(record) = &hit.record {
            let content = record.content();
            let line: String = content.split_whitespace().collect::<Vec<_>>().join(" ");
            let short: String = line.chars().take(160).collect();
            text.push_str(&format!("            {short}{}\n", if short.len() < line.len() { " ..." } else { "" }));
        }
    }
    text
}

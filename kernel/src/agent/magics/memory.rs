//! `%memory`: what is remembered.

use clap::{Arg, Command, value_parser};
use codriver_memory::{FactId, Scope, Statistics};

use super::{completions, said, shown, split_word};
use crate::agent::memory_error;
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellResult, Completion};
use crate::render::cards;
use crate::session::Session;

const COMMANDS: [&str; 5] = ["search", "list", "forget", "stats", "remember"];

pub(super) struct MemoryMagic;

impl Magic for MemoryMagic {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("memory")
            .about("Searches, lists and forgets what is remembered")
            .after_help(
                "%memory search QUERY     facts, documents and conversations that match\n\
                 %memory list             all facts\n\
                 %memory remember TEXT    keeps a fact\n\
                 %memory forget ID        deletes a fact (the ID is in the list)\n\
                 %memory stats            how much there is, and where",
            )
            .arg(
                Arg::new("limit")
                    .long("limit")
                    .short('n')
                    .value_name("N")
                    .value_parser(value_parser!(usize))
                    .default_value("10")
                    .help("Hits of a search"),
            )
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let (command, rest) = split_word(&invocation.text);
        let limit = invocation.matches.get_one::<usize>("limit").copied().unwrap_or(10);
        match (command, rest) {
            ("search", "") => Err(usage("what to search for is missing: %memory search QUERY")),
            ("search", query) => search(query, limit, session, context),
            ("list", "") => list(session),
            ("remember", "") => Err(usage("what to remember is missing: %memory remember TEXT")),
            ("remember", text) => {
                let id = session.memory.remember(text, Scope::Global, "user").map_err(|error| memory_error(&error))?;
                said(format!("remembered as {}", id.short()))
            }
            ("forget", "") => Err(usage("which fact is missing: %memory forget ID (%memory list shows them)")),
            ("forget", id) => forget(id, session),
            ("" | "stats", "") => statistics(session),
            (other, _) => {
                let hint = codriver_tools::nearest(other, COMMANDS).map(|near| format!("; did you mean {near}?"));
                Err(usage(&format!(
                    "%memory does not know {other:?}{}",
                    hint.unwrap_or_else(|| "; %memory --help".to_owned())
                )))
            }
        }
    }

    fn complete(&self, argument_prefix: &str, _session: &Session) -> Vec<Completion> {
        if argument_prefix.trim_start().contains(char::is_whitespace) {
            return Vec::new();
        }
        completions(COMMANDS, "keyword")
    }
}

fn search(query: &str, limit: usize, session: &Session, context: &CellContext) -> CellResult {
    session.agents.embedder.wait(&session.memory, &context.interrupt);
    let hits = session.memory.search(query, limit).map_err(|error| memory_error(&error))?;
    if hits.is_empty() {
        return said("nothing found");
    }
    let number = |value: Option<f32>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
    let rows: Vec<Vec<String>> = hits
        .into_iter()
        .map(|hit| {
            let text = if hit.title.is_empty() { hit.text } else { format!("{}: {}", hit.title, hit.text) };
            vec![
                hit.kind.to_owned(),
                cards::one_line(&text, 200),
                hit.scope.to_string(),
                hit.origin,
                number(Some(hit.score)),
                number(hit.cosine),
                number(hit.bm25),
            ]
        })
        .collect();
    shown(cards::table(&["kind", "text", "scope", "origin", "score", "meaning", "words"], &rows))
}

fn list(session: &Session) -> CellResult {
    let facts = session.memory.facts(None).map_err(|error| memory_error(&error))?;
    if facts.is_empty() {
        return said("nothing is remembered yet");
    }
    let rows: Vec<Vec<String>> = facts
        .into_iter()
        .map(|fact| vec![fact.id.short().to_owned(), fact.text, fact.scope.to_string(), fact.source])
        .collect();
    shown(cards::table(&["id", "fact", "scope", "said by"], &rows))
}

fn forget(id: &str, session: &Session) -> CellResult {
    let known = session.memory.forget(&FactId::from(id.trim())).map_err(|error| memory_error(&error))?;
    if known {
        return said("forgotten");
    }
    Err(CellError::new("MemoryError", format!("there is no fact {id:?}; %memory list shows them")))
}

fn statistics(session: &Session) -> CellResult {
    let Statistics {
        mode,
        path,
        schema_version,
        bytes,
        encrypted,
        conversations,
        turns,
        messages,
        tool_runs,
        facts,
        project_facts,
        session_facts,
        chunks,
        session_chunks,
        embeddings,
        embedder,
        pending_journals,
    } = session.memory.statistics().map_err(|error| memory_error(&error))?;
    let rows: Vec<Vec<String>> = [
        ("where", path.unwrap_or_else(|| "in this process".to_owned())),
        ("mode", mode.to_string()),
        ("size", format!("{} KiB", bytes.div_ceil(1024))),
        ("schema", schema_version.to_string()),
        ("encryption", if encrypted { "on" } else { "off" }.to_owned()),
        ("facts", format!("{facts}, {project_facts} of this project; and {session_facts} of this session")),
        ("document pieces", format!("{chunks}, and {session_chunks} of this session")),
        ("conversations", conversations.to_string()),
        ("turns", turns.to_string()),
        ("messages", messages.to_string()),
        ("tool runs", tool_runs.to_string()),
        ("vectors", embeddings.to_string()),
        ("search", embedder.map_or_else(|| "by words".to_owned(), |name| format!("by words and by meaning ({name})"))),
        ("journals to merge", pending_journals.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| vec![name.to_owned(), value])
    .collect();
    shown(cards::table(&["memory", ""], &rows))
}

fn usage(text: &str) -> CellError {
    CellError::new("UsageError", text)
}

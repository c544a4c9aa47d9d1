//! `%memory`: what is remembered, why, and for whom.

mod facts;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use codriver_memory::{EmbeddingProgress, RERANKED, Scope, Statistics};

use super::{completions, said, shown, split_word};
use crate::agent::facts::Learning;
use crate::agent::{memory_error, provenance};
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellResult, Completion};
use crate::render::cards;
use crate::render::table::grouped;
use crate::session::Session;

const COMMANDS: [&str; 15] = [
    "learn", "search", "list", "show", "why", "remember", "edit", "pin", "unpin", "promote", "forget", "history",
    "cleanup", "backup", "stats",
];

/// What follows these is text as it is typed.
const WITH_TEXT: [&str; 3] = ["search", "remember", "edit"];

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
            .about("Searches, lists, explains and forgets what is remembered")
            .after_help(
                "%memory search QUERY        facts, documents and conversations that match\n\
                 %memory list                the facts that hold here; with --scope, of one scope\n\
                 %memory show ID             one fact, whole\n\
                 %memory why ID              where a fact comes from, and what it replaced\n\
                 %memory remember TEXT       keeps a fact, for this project; --scope global for all\n\
                 %memory edit ID TEXT        what the fact says from now on\n\
                 %memory pin ID | unpin ID   pinned facts come first and never fade\n\
                 %memory promote ID          from the session to the project, from the project to everywhere\n\
                 %memory forget ID           deletes a fact and what it replaced\n\
                 %memory history             what was replaced\n\
                 %memory cleanup             what faded and can go; with --yes, it goes\n\
                 %memory learn [WHO]         who finds facts in turns: model, local (models on this machine), rules, off\n\
                 %memory backup [FILE]       a copy of the whole memory\n\
                 %memory stats               how much there is, and where\n\n\
                 Flags stand before the command, and before or behind what is not text.",
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
            .arg(
                Arg::new("scope")
                    .long("scope")
                    .short('s')
                    .value_name("SCOPE")
                    .value_parser(["session", "project", "global"])
                    .help("session, project or global"),
            )
            .arg(Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Does it, and does not only say what"))
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        super::tell_notices(session, context);
        if !context.output.can_ask() {
            // A notebook that runs by itself shows the same each time.
            session.agents.learner.settle(&context.interrupt);
        }
        let (command, rest) = split_word(&invocation.text);
        let mut options = Options::of(&invocation.matches);
        let mut rest = rest.trim().to_owned();
        if !WITH_TEXT.contains(&command) {
            let words = rest.split_whitespace().map(str::to_owned);
            let line = Command::no_binary_name(self.command(), true).arg(Arg::new("rest").num_args(0..));
            let matches = line
                .try_get_matches_from(words)
                .map_err(|error| CellError::usage(error.to_string().lines().next().unwrap_or_default()))?;
            options = options.and(&matches);
            rest = matches
                .get_many::<String>("rest")
                .unwrap_or_default()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" ");
        }
        let missing = |what: &str| Err(CellError::usage(format!("{what} is missing: %memory --help")));
        match (command, rest.as_str()) {
            ("search", "") => missing("what to search for"),
            ("search", query) => search(query, options.limit, session, context),
            ("list", _) => facts::list(options.scope, session),
            ("remember", "") => missing("what to remember"),
            ("remember", text) => facts::remember(text, options.scope.unwrap_or(Scope::Project), session),
            ("edit", rest) => match split_word(rest) {
                ("", _) | (_, "") => missing("which fact, or what it says now,"),
                (id, text) => facts::edit(id, text, session),
            },
            ("history", "") => facts::history(session),
            ("learn", who) => learn(who, session),
            ("cleanup", "") => facts::cleanup(options.yes, session),
            ("backup", file) => backup(file, session),
            ("show" | "why" | "pin" | "unpin" | "promote" | "forget", "") => {
                missing("which fact (%memory list shows their ids)")
            }
            ("show", id) => facts::show(id, session),
            ("why", id) => facts::why(id, session),
            ("pin", id) => facts::pin(id, true, session),
            ("unpin", id) => facts::pin(id, false, session),
            ("promote", id) => facts::promote(id, options.scope, session),
            ("forget", id) => facts::forget(id, session),
            ("" | "stats", "") => statistics(session, context),
            (other, _) => {
                let hint = codriver_tools::nearest(other, COMMANDS).map(|near| format!("; did you mean {near}?"));
                Err(CellError::usage(format!(
                    "%memory does not know {other:?}{}",
                    hint.unwrap_or_else(|| "; %memory --help".to_owned())
                )))
            }
        }
    }

    fn complete(&self, argument_prefix: &str, session: &Session) -> Vec<Completion> {
        let (command, rest) = split_word(argument_prefix);
        if !argument_prefix.trim_start().contains(char::is_whitespace) {
            return completions(COMMANDS, "keyword");
        }
        let by_id = ["show", "why", "edit", "pin", "unpin", "promote", "forget"].contains(&command);
        if command == "learn" {
            return completions(Learning::names(), "keyword");
        }
        if !by_id || rest.contains(char::is_whitespace) {
            return Vec::new();
        }
        let facts = session.memory.facts(None).unwrap_or_default();
        completions(facts.iter().map(|fact| fact.id.short()), "fact")
    }
}

/// What the flags say, wherever they stood.
struct Options {
    limit: usize,
    scope: Option<Scope>,
    yes: bool,
}

impl Options {
    fn of(matches: &ArgMatches) -> Self {
        let scope = matches.get_one::<String>("scope").map(|name| match name.as_str() {
            "session" => Scope::Session,
            "project" => Scope::Project,
            _ => Scope::Global,
        });
        Self { limit: matches.get_one::<usize>("limit").copied().unwrap_or(10), scope, yes: matches.get_flag("yes") }
    }

    fn and(self, matches: &ArgMatches) -> Self {
        let more = Self::of(matches);
        Self { limit: self.limit, scope: more.scope.or(self.scope), yes: self.yes || more.yes }
    }
}

fn search(query: &str, limit: usize, session: &Session, context: &CellContext) -> CellResult {
    session.agents.embedder.wait(&session.memory, &context.interrupt);
    let hits = session.memory.search(query, limit).map_err(|error| memory_error(&error))?;
    if hits.is_empty() {
        return said("nothing found");
    }
    tell_why_not_reranked(session, context);
    let number = |value: Option<f32>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
    let reranked = hits.iter().any(|hit| hit.reranker.is_some());
    let (mut rows, mut links) = (Vec::new(), Vec::new());
    for hit in hits {
        let from = session.memory.provenance(&hit).map_err(|error| memory_error(&error))?;
        let text = if hit.kind == "chunk" && !hit.title.is_empty() {
            format!("{}: {}", hit.title, hit.text)
        } else {
            hit.text
        };
        links.push(provenance::link(&from, &session.workspace));
        rows.push(vec![
            provenance::kind(hit.kind).to_owned(),
            cards::one_line(&text, 200),
            provenance::text(&from, &session.workspace),
            from.at.map(facts::date).unwrap_or_default(),
            hit.scope.to_string(),
            number(Some(hit.score)),
            number(hit.cosine),
            number(hit.bm25),
        ]);
        if let Some(row) = rows.last_mut().filter(|_| reranked) {
            row.push(number(hit.reranker));
        }
    }
    let columns = ["what", "text", "from", "when", "scope", "score", "meaning", "words", "reranker"];
    let columns = if reranked { &columns[..] } else { &columns[..8] };
    shown(cards::table_with_links(columns, &rows, "from", &links))
}

fn backup(file: &str, session: &Session) -> CellResult {
    let path = match file {
        "" => {
            session.workspace.join(format!("codriver-memory-{}.duckdb", chrono::Local::now().format("%Y%m%d-%H%M%S")))
        }
        file => session.workspace.join(file),
    };
    let bytes = session.memory.backup(&path).map_err(|error| memory_error(&error))?;
    said(format!("{} KiB are in {}", bytes.div_ceil(1024), path.display()))
}

/// For this session; `CODRIVER_FACTS` is what sessions begin with.
fn learn(who: &str, session: &Session) -> CellResult {
    let learner = &session.agents.learner;
    if !who.is_empty() {
        learner.set(who.parse::<Learning>().map_err(CellError::usage)?);
    }
    let learning = learner.learning();
    said(format!("{learning}: {}", learning.meaning()))
}

/// A table has no room for it.
fn tell_why_not_reranked(session: &Session, context: &CellContext) {
    if let Some(Err(reason)) = session.memory.reranking() {
        context.output.display(cards::note(&format!("not reranked: {reason}")));
    }
}

fn statistics(session: &Session, context: &CellContext) -> CellResult {
    session.agents.embedder.wait(&session.memory, &context.interrupt);
    let progress = session.memory.embedding_progress().map_err(|error| memory_error(&error))?;
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
        embeddings_by_model,
        embedder,
        pending_journals,
    } = session.memory.statistics().map_err(|error| memory_error(&error))?;
    let backups = session.memory.backups();
    let rows: Vec<Vec<String>> = [
        ("where", path.unwrap_or_else(|| "in this process".to_owned())),
        ("mode", mode.to_string()),
        ("size", format!("{} KiB", bytes.div_ceil(1024))),
        ("schema", schema_version.to_string()),
        ("encryption", if encrypted { "on" } else { "off" }.to_owned()),
        ("backups", backups.len().to_string()),
        ("facts", format!("{facts}, {project_facts} of this project; and {session_facts} of this session")),
        ("document pieces", format!("{chunks}, and {session_chunks} of this session")),
        ("conversations", conversations.to_string()),
        ("turns", turns.to_string()),
        ("messages", messages.to_string()),
        ("tool runs", tool_runs.to_string()),
        ("vectors", vectors(embeddings, &embeddings_by_model)),
        (
            "embedding",
            progress.map_or_else(|| "there is no embedding model".to_owned(), |progress| embedding(&progress)),
        ),
        ("search", search_methods(embedder, session.memory.reranking())),
        ("learning", learning(session)),
        ("journals to merge", pending_journals.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| vec![name.to_owned(), value])
    .collect();
    tell_why_not_reranked(session, context);
    shown(cards::table(&["memory", ""], &rows))
}

/// `1,200: 900 of all-MiniLM-L6-v2, 300 of bge-small`
fn vectors(count: usize, by_model: &[(String, usize)]) -> String {
    let parts: Vec<String> = by_model.iter().map(|(model, count)| format!("{} of {model}", grouped(*count))).collect();
    if parts.is_empty() { grouped(count) } else { format!("{}: {}", grouped(count), parts.join(", ")) }
}

fn search_methods(embedder: Option<String>, reranker: Option<Result<String, String>>) -> String {
    let by = embedder.map_or_else(|| "by words".to_owned(), |name| format!("by words and by meaning ({name})"));
    match reranker {
        Some(Ok(name)) => format!("{by}, the best {RERANKED} ordered by {name}"),
        Some(Err(_)) => format!("{by}, not reranked"),
        None => by,
    }
}

/// How far the model at hand is.
fn embedding(progress: &EmbeddingProgress) -> String {
    let EmbeddingProgress { model, done, total, left_to_holder, in_background } = progress;
    if done >= total {
        return format!("all {} texts here have a vector of {model}", grouped(*total));
    }
    let who = match (left_to_holder, in_background) {
        (1.., _) => "; the notebook that holds the file makes the rest",
        (0, true) => "; the rest are made in the background, and found by their words meanwhile",
        (0, false) => "; the rest are found by their words",
    };
    let percent = done * 100 / total.max(&1);
    format!("{} of {} texts here have a vector of {model} ({percent} %){who}", grouped(*done), grouped(*total))
}

fn learning(session: &Session) -> String {
    let learner = &session.agents.learner;
    let unread = match learner.unread() {
        0 => String::new(),
        1 => "; a turn is being read".to_owned(),
        count => format!("; {count} turns are to be read"),
    };
    format!("{}: {}{unread}", learner.learning(), learner.learning().meaning())
}

//! Collections as wholes: listed, removed, exported, checked, rebuilt.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use codriver_inference::store::size_text;
use codriver_memory::{Collection, CollectionStatistics, Embedder, Finding, Holdings, MemoryError, Record};
use serde_json::json;

use super::progress::Display;
use super::{collections_here, embedder};

#[derive(Debug, Args)]
pub struct ListArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct RemoveArguments {
    /// The collection
    #[arg(short, long, value_name = "NAME")]
    collection: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The collection
    #[arg(short, long, value_name = "NAME")]
    collection: String,
    /// Into this file, in place of printing
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct StatsArguments {
    /// One collection; without it, memory and all of them
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// One collection; without it, memory and all of them
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct RebuildArguments {
    /// One collection; without it, memory and all of them
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

pub fn list(arguments: &ListArguments) -> anyhow::Result<ExitCode> {
    statistics(None, None, arguments.json)
}

pub fn stats(arguments: &StatsArguments) -> anyhow::Result<ExitCode> {
    let holdings = if arguments.collection.is_some() { None } else { super::whole::holdings() };
    let code = match &holdings {
        Some(Err(error)) => {
            eprintln!("codriver: what memory holds cannot be said: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    };
    let holdings = holdings.and_then(Result::ok);
    if let Some(holdings) = holdings.as_ref().filter(|_| !arguments.json) {
        super::print(&format!("{}\n", super::whole::text(holdings)))?;
    }
    statistics(arguments.collection.as_deref(), holdings.as_ref(), arguments.json)?;
    Ok(code)
}

fn statistics(collection: Option<&str>, memory: Option<&Holdings>, as_json: bool) -> anyhow::Result<ExitCode> {
    let (mut statistics, mut unreadable) = (Vec::new(), Vec::new());
    for of in named(collection)? {
        match of.statistics() {
            Err(error) if collection.is_some() => return Err(error.into()),
            Err(error) => {
                eprintln!("warning: {error}");
                unreadable.push(json!({ "name": of.name(), "error": error.to_string() }));
            }
            Ok(of) => statistics.push(of),
        }
    }
    if as_json {
        let mut all = json!({ "collections": statistics });
        if let Some(memory) = memory {
            all["memory"] = json!(memory);
        }
        if !unreadable.is_empty() {
            all["unreadable"] = unreadable.into();
        }
        return super::print(&match collection {
            Some(_) => format!("{:#}\n", json!(statistics.first())),
            None => format!("{all:#}\n"),
        });
    }
    if statistics.is_empty() {
        if !unreadable.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("no collections yet; `codriver memory import FILE --collection NAME` makes one");
        return Ok(ExitCode::SUCCESS);
    }
    let mut text =
        format!("{:32} {:>10} {:>12} {:>12}  {}\n", "collection", "documents", "database", "indexes", "embedded");
    for CollectionStatistics { name, documents, embeddings, database_bytes, index_bytes } in &statistics {
        let models: Vec<String> = embeddings.iter().map(|(model, texts)| format!("{texts} by {model}")).collect();
        let models =
            if models.is_empty() { "not embedded: found by words alone".to_owned() } else { models.join(", ") };
        text.push_str(&format!(
            "{name:32} {documents:>10} {:>12} {:>12}  {models}\n",
            size_text(*database_bytes),
            size_text(*index_bytes)
        ));
    }
    super::print(&text)
}

pub fn remove(arguments: &RemoveArguments) -> anyhow::Result<ExitCode> {
    let collections = collections_here();
    let collection = collections.open(&arguments.collection)?;
    if !arguments.yes {
        // What cannot be read can go, too.
        let holds = match collection.statistics() {
            Ok(statistics) => format!("{} documents", statistics.documents),
            Err(error) => format!("its documents cannot be read: {error}"),
        };
        if !std::io::stdin().is_terminal() {
            bail!(
                "nobody can be asked whether {} ({holds}) may go; --yes deletes without asking",
                arguments.collection
            );
        }
        eprint!("Delete {} ({holds})? [y/N] ", arguments.collection);
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            eprintln!("nothing is deleted");
            return Ok(ExitCode::FAILURE);
        }
    }
    collections.remove(&arguments.collection)?;
    eprintln!("{} is deleted", arguments.collection);
    Ok(ExitCode::SUCCESS)
}

pub fn export(arguments: &ExportArguments) -> anyhow::Result<ExitCode> {
    let collection = collections_here().open(&arguments.collection)?;
    let mut output: Box<dyn Write> = match &arguments.output {
        Some(file) => Box::new(BufWriter::new(fs_err::File::create(file)?)),
        None => Box::new(BufWriter::new(std::io::stdout().lock())),
    };
    let mut closed = false;
    let outcome = collection.export(&mut |record: &Record| {
        let written = writeln!(output, "{}", record.line());
        closed = written.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        written
    });
    // The reader has gone away (`| head`).
    if closed {
        return Ok(ExitCode::SUCCESS);
    }
    let count = outcome?;
    output.flush()?;
    if let Some(file) = &arguments.output {
        eprintln!("{count} documents are in {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

pub fn verify(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    // Memory itself has no name.
    let mut looked_at: Vec<(Option<String>, Vec<Finding>)> = Vec::new();
    if arguments.collection.is_none() {
        looked_at.push((None, super::whole::findings()));
    }
    for collection in named(arguments.collection.as_deref())? {
        let findings =
            collection.verify().unwrap_or_else(|error| vec![Finding::unsound("database", error.to_string())]);
        looked_at.push((Some(collection.name().to_owned()), findings));
    }
    let (mut sound, mut lines, mut values) = (true, String::new(), Vec::new());
    for (collection, Finding { part, sound: holds, detail }) in
        looked_at.iter().flat_map(|(collection, findings)| findings.iter().map(move |finding| (collection, finding)))
    {
        sound &= holds;
        let name = collection.as_deref().unwrap_or("memory");
        let mark = if *holds { "sound" } else { "NOT SOUND" };
        lines.push_str(&format!("{name:24} {part:10} {mark:10} {detail}\n"));
        values.push(json!({ "collection": collection, "part": part, "sound": holds, "detail": detail }));
    }
    match arguments.json {
        true => super::print(&format!("{:#}\n", json!({ "sound": sound, "findings": values })))?,
        false if lines.is_empty() => {
            eprintln!("nothing to read: there is no memory and no collection yet");
            ExitCode::SUCCESS
        }
        false => super::print(&lines)?,
    };
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub fn rebuild(arguments: &RebuildArguments) -> anyhow::Result<ExitCode> {
    let display = Display::new(arguments.quiet)?;
    let all = arguments.collection.is_some() || super::whole::rebuild(&display)?;
    let embedder = embedder()?;
    let mut code = ExitCode::SUCCESS;
    for collection in named(arguments.collection.as_deref())? {
        match rebuild_one(&collection, embedder.as_deref(), &display) {
            Ok(()) => display.say(&format!("{}: the indexes are built anew", collection.name())),
            Err(error) if arguments.collection.is_some() || matches!(error, MemoryError::Stopped) => {
                return Err(error.into());
            }
            Err(error) => {
                eprintln!("warning: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(if all { code } else { ExitCode::FAILURE })
}

fn rebuild_one(collection: &Collection, embedder: Option<&dyn Embedder>, display: &Display) -> Result<(), MemoryError> {
    let _lock = collection.lock()?;
    if let Some(embedder) = embedder {
        display.under_bar("embedding", |progress| collection.embed_missing(embedder, progress))?;
    }
    let model = embedder.map(|embedder| embedder.name());
    display.under_bar("indexing", |progress| collection.rebuild(model, progress))
}

fn named(name: Option<&str>) -> anyhow::Result<Vec<Collection>> {
    let collections = collections_here();
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => collections.list()?,
    };
    Ok(names.iter().map(|name| collections.open(name)).collect::<Result<_, _>>()?)
}

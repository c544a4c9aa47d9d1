//! `codriver memory import`.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use codriver_memory::{BadLine, Collection, MemoryError, Stored, parse_line};

use super::progress::Display;
use super::{collections_here, embedder, open_lines};

pub const LINES: &str = "Each line is one document:
  {\"id\": \"a\", \"text\": \"...\", \"title\": \"...\", \"metadata\": {\"year\": 1999}}
Title and metadata may be missing. A document whose id is there already is replaced; unchanged texts are not embedded again.

A line that is no document is left out; the first of them are named with what is wrong. The exit code is 0 where every line was
kept, 3 where some were left out, and 1 where nothing could be kept.";

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// A file of JSON lines; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The collection, made where there is none
    #[arg(short, long, value_name = "NAME")]
    collection: String,
    /// Leave the texts without vectors: they are found by words alone until the next import
    #[arg(long)]
    no_embedding: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Records between two commits.
const BATCH: usize = 4000;

/// Bad lines that are printed one by one.
const SHOWN: usize = 20;

/// Where some lines were left out, and others kept.
const SOME_LEFT_OUT: u8 = 3;

pub fn import(arguments: &ImportArguments) -> anyhow::Result<ExitCode> {
    let display = Display::new(arguments.quiet)?;
    let (reader, length) = open(&arguments.file)?;
    let collection = collections_here().open_or_create(&arguments.collection)?;
    let _lock = collection.lock()?;
    let started = Instant::now();
    let read = display.under_bar("reading", |progress| read_all(reader, length, &collection, progress))?;
    for bad in read.bad.iter().take(SHOWN) {
        eprintln!("warning: line {}: {}; it is left out", bad.number, bad.reason);
    }
    if read.bad.len() > SHOWN {
        eprintln!("warning: {} more lines are left out", read.bad.len() - SHOWN);
    }
    let Stored { added, replaced, unchanged } = read.stored;
    if added + replaced + unchanged == 0 && !read.bad.is_empty() {
        bail!(
            "nothing is imported: no line of {} is a document, like {{\"id\": \"a\", \"text\": \"...\"}}",
            arguments.file.display()
        );
    }
    let embedder = if arguments.no_embedding { None } else { embedder()? };
    let embedded = match &embedder {
        Some(embedder) => display.under_bar("embedding", |progress| collection.embed_missing(&**embedder, progress))?,
        None => 0,
    };
    let model = embedder.as_ref().map(|embedder| embedder.name());
    display.under_bar("indexing", |progress| collection.refresh(model, progress))?;
    display.say(&format!(
        "{}: {added} added, {replaced} replaced, {unchanged} unchanged, {embedded} texts embedded, {} lines left out, in {:.1} s",
        collection.name(),
        read.bad.len(),
        started.elapsed().as_secs_f64(),
    ));
    let name = collection.name();
    if arguments.no_embedding {
        display.say(&format!(
            "what has no vector yet is found by words alone: `codriver memory rebuild --collection {name}` embeds it"
        ));
    } else if embedder.is_none() {
        display.say(&format!(
            "without an embedding model the collection is found by words alone: `codriver model pull \
             sentence-transformers/all-MiniLM-L6-v2`, or CODRIVER_EMBEDDING_MODEL=FOLDER, then \
             `codriver memory rebuild --collection {name}`"
        ));
    }
    Ok(if read.bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(SOME_LEFT_OUT) })
}

fn open(file: &PathBuf) -> anyhow::Result<(Box<dyn Read>, u64)> {
    if file.as_os_str() == "-" {
        return Ok((Box::new(std::io::stdin()), 0));
    }
    let opened = open_lines(file)?;
    let length = opened.metadata()?.len();
    Ok((Box::new(opened), length))
}

#[derive(Default)]
struct Reading {
    stored: Stored,
    bad: Vec<BadLine>,
}

fn read_all(
    reader: Box<dyn Read>,
    length: u64,
    collection: &Collection,
    progress: &(dyn Fn(usize, usize) -> bool + Sync),
) -> anyhow::Result<Reading> {
    let mut reader = BufReader::with_capacity(1 << 20, reader);
    let (mut reading, mut batch, mut line) = (Reading::default(), Vec::with_capacity(BATCH), Vec::new());
    let (mut bytes, mut number) = (0, 0);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).context("reading the documents")?;
        if read == 0 || batch.len() == BATCH {
            let stored = collection.put(&batch)?;
            reading.stored.added += stored.added;
            reading.stored.replaced += stored.replaced;
            reading.stored.unchanged += stored.unchanged;
            batch.clear();
            if !progress(bytes, length.max(bytes as u64) as usize) {
                return Err(MemoryError::Stopped.into());
            }
        }
        if read == 0 {
            return Ok(reading);
        }
        (bytes, number) = (bytes + read, number + 1);
        let text = match std::str::from_utf8(&line) {
            Ok(text) => text.trim_start_matches('\u{feff}').trim(),
            Err(error) => {
                reading.bad.push(BadLine { number, reason: format!("not UTF-8: {error}") });
                continue;
            }
        };
        if text.is_empty() {
            continue;
        }
        match parse_line(number, text) {
            Ok(record) => batch.push(record),
            Err(bad) => reading.bad.push(bad),
        }
    }
}

//! Bringing memory up to what a source says now.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::read::{Job, Outcome, stamp};
use super::report::{Progress, Report};
use super::source::{Selection, Source};
use super::{IngestError, Request, Surroundings, walk};
use crate::chunk::{Chunk, Place};
use crate::memory::Memory;
use crate::records::{ChunkPlace, NewChunk, NewDocument, Scope, StoredDocument};

/// What is kept at once: one write to the disk for many small files.
const MOST_CHUNKS: usize = 2_000;
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Texts embedded between two looks at the interrupt.
const EMBEDDED_AT_ONCE: usize = 32;

/// Takes in what a request leads to: what is new or changed is read and kept, what is gone is removed, the rest is not
/// even opened. Pieces are found by their words from then on; [`embed`] gives them their meaning.
pub fn add(
    memory: &Memory,
    request: &Request,
    surroundings: &dyn Surroundings,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Report, IngestError> {
    let (started, mut report) = (Instant::now(), Report::default());
    let found = sync(memory, request, None, surroundings, &mut report, watch)?;
    if found == 0 && !report.interrupted && report.removed == 0 {
        return Err(IngestError::Nothing(request.source.clone()));
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

/// The same for all that was ever asked for, or for what `selection` names of it.
pub fn refresh(
    memory: &Memory,
    selection: Option<&str>,
    surroundings: &dyn Surroundings,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Report, IngestError> {
    let (started, mut report) = (Instant::now(), Report::default());
    let documents = match selection {
        Some(selection) => super::select(memory, selection, surroundings.workspace())?,
        None => memory.documents(None)?,
    };
    let selection = selection.map(|selection| Selection::new(selection, surroundings.workspace()));
    let requests: BTreeSet<(Scope, String, String)> =
        documents.into_iter().map(|document| (document.scope, document.source, document.collection)).collect();
    for (scope, source, collection) in requests {
        let request = Request { source, scope, collection };
        // All of a source that was named itself, also what is new in it.
        let within = selection.as_ref().filter(|selection| !selection.is(&request.source));
        match sync(memory, &request, within, surroundings, &mut report, watch) {
            Err(IngestError::NotFound(source)) => gone(memory, &request, &source, &mut report)?,
            outcome => outcome.map(drop)?,
        }
        if report.interrupted {
            break;
        }
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

/// Forgets the documents that `selection` names. Says how many there were.
pub fn remove(memory: &Memory, selection: &str, workspace: &Path) -> Result<usize, IngestError> {
    let documents = super::select(memory, selection, workspace)?;
    for scope in [Scope::Session, Scope::Project, Scope::Global] {
        let origins: Vec<&str> = documents
            .iter()
            .filter(|document| document.scope == scope)
            .map(|document| document.origin.as_str())
            .collect();
        if !origins.is_empty() {
            memory.remove_documents(scope, &origins)?;
        }
    }
    Ok(documents.len())
}

/// Gives pieces their vectors. What an interrupt leaves is found by its words and embedded later.
pub fn embed(
    memory: &Memory,
    surroundings: &dyn Surroundings,
    report: &mut Report,
    watch: &mut dyn FnMut(&Progress),
) -> Result<(), IngestError> {
    let started = Instant::now();
    let pending = memory.pending_embeddings()?;
    // The newest come first. What was missing before is not waited for, where it is made in the background.
    let to_embed = if memory.embeds_in_background() { pending.min(report.chunks) } else { pending };
    let mut progress = Progress { to_embed, ..Progress::default() };
    while progress.embedded < progress.to_embed {
        if surroundings.is_cancelled() {
            report.interrupted = true;
            break;
        }
        memory.embed_pending(EMBEDDED_AT_ONCE)?;
        progress.embedded = (progress.embedded + EMBEDDED_AT_ONCE).min(progress.to_embed);
        watch(&progress);
    }
    report.elapsed += started.elapsed();
    Ok(())
}

/// Brings memory up to what a source says now. Gives how many documents there are in it.
fn sync(
    memory: &Memory,
    request: &Request,
    within: Option<&Selection>,
    surroundings: &dyn Surroundings,
    report: &mut Report,
    watch: &mut dyn FnMut(&Progress),
) -> Result<usize, IngestError> {
    let source = Source::resolve(&request.source, surroundings.workspace())?;
    let name = source.name(&request.source, surroundings.workspace());
    let mut origins = origins(&source, surroundings, report)?;
    let mut known = memory.documents(Some(request.scope))?;
    if let Some(within) = within {
        origins.retain(|origin| within.admits(origin));
        known.retain(|document| within.admits(&document.origin));
    }
    if !report.interrupted {
        forget_gone(memory, request.scope, &name, &known, &origins, report)?;
    }
    let known: HashMap<String, StoredDocument> =
        known.into_iter().map(|document| (document.origin.clone(), document)).collect();
    let named = matches!(source, Source::File(_) | Source::Address(_));
    let found = origins.len();
    let mut progress =
        Progress { total_files: found, chunks: report.chunks, bytes: report.bytes, ..Progress::default() };
    let mut jobs = Vec::new();
    for origin in origins {
        let known = known.get(&origin).cloned();
        let untouched = known.as_ref().is_some_and(|known| {
            known.collection == request.collection && stamp(origin.as_ref()).is_ok_and(|stamp| stamp.is_of(known))
        });
        if untouched {
            report.unchanged += 1;
            progress.files += 1;
        } else {
            jobs.push(Job {
                origin,
                source: name.clone(),
                scope: request.scope,
                collection: request.collection.clone(),
                known,
                named,
            });
        }
    }
    watch(&progress);
    let mut keeper = Keeper { memory, scope: request.scope, waiting: Vec::new(), chunks: 0, since: Instant::now() };
    read_all(jobs, surroundings, &mut keeper, report, &mut progress, watch)?;
    keeper.keep()?;
    Ok(found)
}

/// A source that is no longer there. A file is forgotten; a folder may come back (another disk), and is a person's to remove.
fn gone(memory: &Memory, request: &Request, source: &str, report: &mut Report) -> Result<(), IngestError> {
    let known = memory.documents(Some(request.scope))?;
    if known.iter().any(|document| document.origin == request.source) {
        memory.remove_documents(request.scope, &[&request.source])?;
        report.removed += 1;
    } else {
        report.fail(source, "it is gone; %knowledge remove forgets what it held");
    }
    Ok(())
}

/// By what a document is found again: absolute paths and addresses.
fn origins(source: &Source, surroundings: &dyn Surroundings, report: &mut Report) -> Result<Vec<String>, IngestError> {
    let files = match source {
        Source::Address(address) => return Ok(vec![address.clone()]),
        Source::File(path) if surroundings.is_secret(path) => {
            return Err(IngestError::Refused { path: path.display().to_string(), reason: walk::SECRET.to_owned() });
        }
        Source::File(path) => vec![path.clone()],
        Source::Folder(folder) => walk::files(folder, None, surroundings, report)?,
        Source::Pattern { folder, matcher } => walk::files(folder, Some(matcher), surroundings, report)?,
    };
    let mut origins = Vec::with_capacity(files.len());
    for file in files {
        match file.to_str() {
            Some(path) => origins.push(path.to_owned()),
            None => report.fail(file.display().to_string(), "its name is not UTF-8"),
        }
    }
    Ok(origins)
}

/// Removes what came from this source and is no longer in it.
fn forget_gone(
    memory: &Memory,
    scope: Scope,
    name: &str,
    known: &[StoredDocument],
    origins: &[String],
    report: &mut Report,
) -> Result<(), IngestError> {
    let present: HashSet<&str> = origins.iter().map(String::as_str).collect();
    let gone: Vec<&str> = known
        .iter()
        .filter(|document| document.source == name && !present.contains(document.origin.as_str()))
        .map(|document| document.origin.as_str())
        .collect();
    report.removed += gone.len();
    if !gone.is_empty() {
        memory.remove_documents(scope, &gone)?;
    }
    Ok(())
}

/// Reads and cuts on every processor while this thread keeps what is done.
fn read_all(
    jobs: Vec<Job>,
    surroundings: &dyn Surroundings,
    keeper: &mut Keeper<'_>,
    report: &mut Report,
    progress: &mut Progress,
    watch: &mut dyn FnMut(&Progress),
) -> Result<(), IngestError> {
    let workers = thread::available_parallelism().map_or(2, usize::from).min(jobs.len());
    let jobs = Mutex::new(jobs.into_iter());
    let stop = AtomicBool::new(false);
    let (sender, receiver) = sync_channel(2 * workers + 1);
    thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, jobs, stop) = (sender.clone(), &jobs, &stop);
            scope.spawn(move || work(jobs, stop, surroundings, &sender));
        }
        drop(sender);
        let outcome = receive(&receiver, surroundings, keeper, report, progress, watch);
        // The workers end at once: nobody takes what they send.
        stop.store(true, Ordering::Relaxed);
        drop(receiver);
        outcome
    })
}

fn work(
    jobs: &Mutex<std::vec::IntoIter<Job>>,
    stop: &AtomicBool,
    surroundings: &dyn Surroundings,
    done: &SyncSender<(Job, Outcome)>,
) {
    while !stop.load(Ordering::Relaxed) && !surroundings.is_cancelled() {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(job) = next else { return };
        let outcome = job.run(surroundings);
        if done.send((job, outcome)).is_err() {
            return;
        }
    }
}

fn receive(
    done: &Receiver<(Job, Outcome)>,
    surroundings: &dyn Surroundings,
    keeper: &mut Keeper<'_>,
    report: &mut Report,
    progress: &mut Progress,
    watch: &mut dyn FnMut(&Progress),
) -> Result<(), IngestError> {
    for (job, outcome) in done {
        progress.files += 1;
        match outcome {
            Outcome::Read(document, chunks) => {
                let counter = if job.known.is_some() { &mut report.changed } else { &mut report.added };
                *counter += 1;
                report.chunks += chunks.len();
                report.bytes += document.bytes;
                keeper.add(document, Some(chunks))?;
            }
            Outcome::Same(document) => {
                report.unchanged += 1;
                keeper.add(document, None)?;
            }
            // What was kept of it stays until it can be read again or is removed.
            Outcome::Failed(_) if surroundings.is_cancelled() => {}
            Outcome::Failed(reason) => report.fail(job.origin.clone(), reason),
            Outcome::LeftOut(reason) => report.leave_out(job.origin.clone(), reason),
        }
        (progress.chunks, progress.bytes, progress.current) = (report.chunks, report.bytes, job.origin);
        watch(progress);
    }
    report.interrupted |= surroundings.is_cancelled();
    Ok(())
}

/// Keeps documents a good many at a time.
struct Keeper<'a> {
    memory: &'a Memory,
    scope: Scope,
    waiting: Vec<NewDocument>,
    chunks: usize,
    since: Instant,
}

impl Keeper<'_> {
    fn add(&mut self, document: StoredDocument, chunks: Option<Vec<Chunk>>) -> Result<(), IngestError> {
        self.chunks += chunks.as_ref().map_or(0, Vec::len);
        let piece =
            |chunk: Chunk| NewChunk { place: place(&document, chunk.place), title: chunk.title, text: chunk.text };
        let chunks: Option<Vec<NewChunk>> = chunks.map(|chunks| chunks.into_iter().map(piece).collect());
        self.waiting.push(NewDocument { document, chunks });
        if self.chunks >= MOST_CHUNKS || self.since.elapsed() >= LONGEST_WAIT {
            self.keep()?;
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<(), IngestError> {
        if !self.waiting.is_empty() {
            self.memory.keep_documents(self.scope, std::mem::take(&mut self.waiting))?;
        }
        (self.chunks, self.since) = (0, Instant::now());
        Ok(())
    }
}

/// Where a piece stands, as memory keeps it.
fn place(document: &StoredDocument, place: Place) -> ChunkPlace {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let url = super::source::is_address(&document.origin).then(|| document.origin.clone());
    let known = ChunkPlace { commit: document.commit.clone(), url, ..ChunkPlace::default() };
    match place {
        Place::Lines { first, last } => ChunkPlace { lines: Some((number(first), number(last))), ..known },
        Place::Cell { number, .. } => ChunkPlace { cell: Some(number.to_string()), ..known },
        Place::Page { number: page } => ChunkPlace { page: Some(number(page)), ..known },
        Place::Whole => known,
    }
}

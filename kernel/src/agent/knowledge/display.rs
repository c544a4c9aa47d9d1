//! Knowledge as people see it: progress, what came of it, what there is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use codriver_inference::store::size_text;
use codriver_memory::ingest::{Freshness, Progress, Report, freshness};
use codriver_memory::{NewChunk, StoredDocument};

use crate::render::{cards, table};
use crate::session::MimeBundle;

/// Between two updates of a progress display.
const REFRESH: Duration = Duration::from_millis(200);

/// Rows of a list; more documents are told by the source they came with.
const MOST_ROWS: usize = 60;

/// Failures named one by one, and examples of what was left out.
const MOST_FAILURES: usize = 20;

const TRACK: &str = "background:var(--jp-layout-color3,#ddd);border-radius:3px;height:6px;max-width:40em;margin:4px 0";
const MUTED: &str = "color:var(--jp-ui-font-color2,#757575)";

/// A request as a bar: how far it is and how fast.
pub struct IngestDisplay {
    name: String,
    started: Instant,
    shown: Option<Instant>,
    embedding_since: Option<Instant>,
}

impl IngestDisplay {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), started: Instant::now(), shown: None, embedding_since: None }
    }

    /// What to show now, if it is time to show something.
    pub fn update(&mut self, progress: &Progress) -> Option<MimeBundle> {
        let now = Instant::now();
        if progress.to_embed > 0 {
            self.embedding_since.get_or_insert(now);
        }
        if self.shown.is_some_and(|shown| now - shown < REFRESH) {
            return None;
        }
        self.shown = Some(now);
        let (share, text) = progress_text(progress, self.embedding_since.unwrap_or(self.started).elapsed());
        let percent = (share * 100.0).clamp(0.0, 100.0) as u32;
        let bar = "background:var(--jp-brand-color1,#1976d2);border-radius:3px;height:6px";
        let html = format!(
            "<div><b>{}</b> <span style=\"{MUTED}\">{}</span><div style=\"{TRACK}\"><div style=\"{bar};width:{percent}%\"></div></div></div>",
            table::escape(&self.name),
            table::escape(&text)
        );
        Some(MimeBundle::html(html, format!("{}: {percent} % · {text}", self.name)))
    }
}

/// The share that is done, 0 to 1, and where the work is; `elapsed` since this part of it began.
pub fn progress_text(progress: &Progress, elapsed: Duration) -> (f64, String) {
    let pace = |count: usize| match elapsed.as_secs_f64() {
        seconds if seconds >= 0.5 && count > 0 => {
            format!(" · {} pieces/s", table::grouped((count as f64 / seconds) as usize))
        }
        _ => String::new(),
    };
    if progress.to_embed > 0 {
        let text = format!(
            "{} of {} pieces embedded{}",
            table::grouped(progress.embedded),
            table::grouped(progress.to_embed),
            pace(progress.embedded)
        );
        return (progress.embedded as f64 / progress.to_embed as f64, text);
    }
    let text = format!(
        "{} of {} files · {} pieces{} · {}",
        table::grouped(progress.files),
        table::grouped(progress.total_files),
        table::grouped(progress.chunks),
        pace(progress.chunks),
        progress.current
    );
    (progress.files as f64 / progress.total_files.max(1) as f64, text)
}

/// What came of a request, in a line, and what should have gone in and did not.
pub fn report_bundle(report: &Report) -> MimeBundle {
    let text = report_text(report);
    let Some(failures) = failure_table(report) else { return MimeBundle::plain(text) };
    let html = failures.data.get("text/html").and_then(serde_json::Value::as_str).unwrap_or_default();
    MimeBundle::html(format!("<div>{}</div>{html}", table::escape(&text)), format!("{text}\n{}", failures.text()))
}

fn failure_table(report: &Report) -> Option<MimeBundle> {
    let mut rows: Vec<Vec<String>> = report
        .failures()
        .take(MOST_FAILURES)
        .map(|problem| vec![problem.origin.clone(), problem.reason.clone()])
        .collect();
    let more = report.failures().count().saturating_sub(MOST_FAILURES);
    if more > 0 {
        rows.push(vec!["…".to_owned(), format!("{more} more")]);
    }
    (!rows.is_empty()).then(|| cards::table(&["not read", "why"], &rows))
}

/// `12 documents added, 3 changed, 1 gone, 340 unchanged · 410 pieces of 1.2 MB in 2.1 s · left out: ...`
fn report_text(report: &Report) -> String {
    let counts = [
        (report.added, "added"),
        (report.changed, "changed"),
        (report.removed, "gone"),
        (report.unchanged, "unchanged"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", table::grouped(count)))
        .collect();
    let counts = if counts.is_empty() { "nothing new".to_owned() } else { format!("documents: {}", counts.join(", ")) };
    let mut parts = vec![counts];
    if report.chunks > 0 {
        let time = cards::duration(u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX));
        parts.push(format!("{} pieces of {} in {time}", table::grouped(report.chunks), size_text(report.bytes)));
    }
    let failures = report.failures().count();
    if failures > 0 {
        parts.push(format!("{} not read", table::grouped(failures)));
    }
    let left_out: Vec<String> = report
        .left_out()
        .into_iter()
        .map(|(reason, count, first)| {
            let name = Path::new(first).file_name().map_or(first.into(), |name| name.to_string_lossy());
            format!("{} {reason} ({name}{})", table::grouped(count), if count > 1 { ", …" } else { "" })
        })
        .collect();
    if !left_out.is_empty() {
        parts.push(format!("left out: {}", left_out.join(", ")));
    }
    if report.interrupted {
        parts.push("interrupted: what is done stays, the same again goes on from here".to_owned());
    }
    parts.join(" · ")
}

/// What is known: a row a document, or a row a source where there are many.
pub fn document_table(documents: &[StoredDocument], workspace: &Path, each: bool) -> MimeBundle {
    if each || documents.len() <= MOST_ROWS {
        let rows: Vec<Vec<String>> = documents.iter().map(|document| document_row(document, workspace)).collect();
        return cards::table(&["origin", "scope", "collection", "kind", "pieces", "size", "read", "commit", ""], &rows);
    }
    let mut sources: BTreeMap<(&str, &str, &str), Vec<&StoredDocument>> = BTreeMap::new();
    for document in documents {
        sources.entry((&document.source, document.scope.name(), &document.collection)).or_default().push(document);
    }
    let rows: Vec<Vec<String>> = sources
        .into_iter()
        .map(|((source, scope, collection), documents)| {
            let stale = documents
                .iter()
                .filter(|document| matches!(freshness(document), Freshness::Changed | Freshness::Gone))
                .count();
            let newest = documents.iter().map(|document| document.read_at).max();
            vec![
                short(source, workspace),
                scope.to_owned(),
                collection.to_owned(),
                table::grouped(documents.len()),
                table::grouped(documents.iter().map(|document| document.chunks).sum()),
                size_text(documents.iter().map(|document| document.bytes).sum()),
                newest.map(|at| at.format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default(),
                if stale > 0 { format!("{} stale", table::grouped(stale)) } else { String::new() },
            ]
        })
        .collect();
    cards::table(&["source", "scope", "collection", "documents", "pieces", "size", "read", ""], &rows)
}

fn document_row(document: &StoredDocument, workspace: &Path) -> Vec<String> {
    let state = match freshness(document) {
        Freshness::Current | Freshness::Unknown => "",
        Freshness::Changed => "stale: changed",
        Freshness::Gone => "stale: gone",
    };
    vec![
        short(&document.origin, workspace),
        document.scope.to_string(),
        document.collection.clone(),
        document.kind.clone(),
        table::grouped(document.chunks),
        size_text(document.bytes),
        document.read_at.format("%Y-%m-%d %H:%M").to_string(),
        document.commit.clone().unwrap_or_default(),
        state.to_owned(),
    ]
}

/// The pieces of a document, as they were cut.
pub fn piece_table(pieces: &[NewChunk]) -> MimeBundle {
    let rows: Vec<Vec<String>> = pieces
        .iter()
        .map(|piece| {
            vec![
                piece.place.to_string().trim_start_matches([':', '#']).to_owned(),
                piece.title.clone(),
                cards::one_line(&piece.text, 160),
            ]
        })
        .collect();
    cards::table(&["where", "title", "text"], &rows)
}

/// A path as people of the workspace say it.
fn short(origin: &str, workspace: &Path) -> String {
    match Path::new(origin).strip_prefix(workspace) {
        Ok(relative) if relative.as_os_str().is_empty() => ".".to_owned(),
        Ok(relative) => relative.display().to_string(),
        Err(_) => origin.to_owned(),
    }
}

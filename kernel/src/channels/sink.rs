//! A running cell's outputs as IOPub messages, bounded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::iopub::{Iopub, StreamName};
use super::stdin::Stdin;
use super::wire::Request;
use crate::session::{Interrupt, MimeBundle, OutputEvent, OutputSink};

/// Bytes of text a cell may stream before the rest is dropped. It stays under what a Jupyter
/// server passes on in one burst (3 MB in 3 seconds). `CODRIVER_OUTPUT_LIMIT` changes it.
pub const OUTPUT_LIMIT: usize = 2_000_000;

/// The sink of one request. [`CellSink::finish`] closes it.
pub struct CellSink {
    iopub: Iopub,
    request: Arc<Request>,
    silent: bool,
    /// `None` where the front end does not let the kernel ask.
    stdin: Option<Stdin>,
    interrupt: Interrupt,
    limit: usize,
    streamed: Mutex<Streamed>,
    finished: AtomicBool,
}

#[derive(Default)]
struct Streamed {
    kept: usize,
    dropped: usize,
}

impl CellSink {
    pub fn new(iopub: Iopub, request: Arc<Request>, silent: bool, stdin: Option<Stdin>, interrupt: Interrupt) -> Self {
        let limit = std::env::var("CODRIVER_OUTPUT_LIMIT").ok().and_then(|value| value.parse().ok());
        Self {
            iopub,
            request,
            silent,
            stdin,
            interrupt,
            limit: limit.unwrap_or(OUTPUT_LIMIT),
            streamed: Mutex::default(),
            finished: AtomicBool::new(false),
        }
    }

    /// Says what was dropped, if anything, and drops what comes later: a message after the
    /// reply would show up in another cell.
    pub fn finish(&self) {
        let streamed = self.streamed();
        if !self.finished.swap(true, Ordering::SeqCst) && !self.silent && streamed.dropped > 0 {
            let notice = format!(
                "\n[output cut: {} kept, {} dropped; CODRIVER_OUTPUT_LIMIT sets the limit in bytes]\n",
                megabytes(streamed.kept),
                megabytes(streamed.dropped),
            );
            self.iopub.stream(&self.request, StreamName::Stderr, notice);
        }
    }

    fn stream(&self, name: StreamName, mut text: String) {
        {
            let mut streamed = self.streamed();
            let keep = text.floor_char_boundary(self.limit.saturating_sub(streamed.kept));
            streamed.kept += keep;
            streamed.dropped += text.len() - keep;
            // Once something is dropped, everything after it is: no holes.
            if text.len() > keep {
                streamed.kept = streamed.kept.max(self.limit);
            }
            text.truncate(keep);
        }
        if !text.is_empty() {
            self.iopub.stream(&self.request, name, text);
        }
    }

    fn streamed(&self) -> std::sync::MutexGuard<'_, Streamed> {
        self.streamed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSink for CellSink {
    fn emit(&self, event: OutputEvent) {
        if self.silent || self.finished.load(Ordering::SeqCst) {
            return;
        }
        match event {
            OutputEvent::Stdout(text) => self.stream(StreamName::Stdout, text),
            OutputEvent::Stderr(text) => self.stream(StreamName::Stderr, text),
            OutputEvent::Display { bundle, display_id } => {
                self.iopub.publish("display_data", &self.request, &display_content(&bundle, display_id.as_deref()));
            }
            OutputEvent::UpdateDisplay { bundle, display_id } => {
                let content = display_content(&bundle, Some(&display_id));
                self.iopub.publish("update_display_data", &self.request, &content);
            }
            OutputEvent::Clear { wait } => self.iopub.publish("clear_output", &self.request, &json!({ "wait": wait })),
        }
    }

    fn ask(&self, prompt: &str, password: bool) -> Option<String> {
        self.stdin.as_ref()?.ask(&self.request, prompt, password, &self.interrupt)
    }

    fn can_ask(&self) -> bool {
        self.stdin.is_some()
    }
}

/// The data of a bundle, `text/plain` added where it is missing.
pub fn data(bundle: &MimeBundle) -> Map<String, Value> {
    let mut data = bundle.data.clone();
    data.entry("text/plain").or_insert_with(|| Value::from(""));
    data
}

fn display_content(bundle: &MimeBundle, display_id: Option<&str>) -> Value {
    let transient = display_id.map_or_else(|| json!({}), |id| json!({ "display_id": id }));
    json!({ "data": data(bundle), "metadata": bundle.metadata, "transient": transient })
}

fn megabytes(bytes: usize) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

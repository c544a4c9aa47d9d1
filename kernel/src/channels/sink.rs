//! A running cell's outputs as IOPub messages, bounded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::iopub::{Iopub, StreamName};
use super::stdin::Stdin;
use super::wire::Request;
use crate::session::{Interrupt, MimeBundle, OutputEvent, OutputSink, StreamBound};

/// The sink of one request. [`CellSink::finish`] closes it.
pub struct CellSink {
    iopub: Iopub,
    request: Arc<Request>,
    silent: bool,
    /// `None` where the front end does not let the kernel ask.
    stdin: Option<Stdin>,
    interrupt: Interrupt,
    bound: Mutex<StreamBound>,
    finished: AtomicBool,
}

impl CellSink {
    pub fn new(iopub: Iopub, request: Arc<Request>, silent: bool, stdin: Option<Stdin>, interrupt: Interrupt) -> Self {
        let (bound, finished) = (Mutex::new(StreamBound::default()), AtomicBool::new(false));
        Self { iopub, request, silent, stdin, interrupt, bound, finished }
    }

    /// Says what was dropped, if anything, and drops what comes later: a message after the
    /// reply would show up in another cell.
    pub fn finish(&self) {
        let notice = self.bound().notice();
        if !self.finished.swap(true, Ordering::SeqCst)
            && !self.silent
            && let Some(notice) = notice
        {
            self.iopub.stream(&self.request, StreamName::Stderr, notice);
        }
    }

    fn stream(&self, name: StreamName, text: String) {
        let text = self.bound().keep(text);
        if !text.is_empty() {
            self.iopub.stream(&self.request, name, text);
        }
    }

    fn bound(&self) -> std::sync::MutexGuard<'_, StreamBound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
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

//! Where a running cell writes: a notebook's IOPub, a terminal, or a recorder in tests.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

/// Data by MIME type, with metadata beside it. `text/plain` is always there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MimeBundle {
    pub data: Map<String, Value>,
    pub metadata: Map<String, Value>,
}

impl MimeBundle {
    pub fn plain(text: impl Into<String>) -> Self {
        Self::default().with("text/plain", text.into())
    }

    /// HTML must be sanitized or built from escaped parts by the caller.
    pub fn html(html: impl Into<String>, plain: impl Into<String>) -> Self {
        Self::plain(plain).with("text/html", html.into())
    }

    #[must_use]
    pub fn with(mut self, mime: &str, value: impl Into<Value>) -> Self {
        self.data.insert(mime.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    pub fn text(&self) -> &str {
        self.data.get("text/plain").and_then(Value::as_str).unwrap_or_default()
    }
}

/// One output of a running cell.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputEvent {
    Stdout(String),
    Stderr(String),
    Display {
        bundle: MimeBundle,
        display_id: Option<String>,
    },
    /// Replaces what was shown under this id, in whichever cell.
    UpdateDisplay {
        bundle: MimeBundle,
        display_id: String,
    },
    /// With `wait`, the clearing happens when the next output arrives.
    Clear {
        wait: bool,
    },
}

/// Takes outputs and asks questions on behalf of one cell.
pub trait OutputSink: Send + Sync {
    fn emit(&self, event: OutputEvent);

    /// Asks the person and waits. `None` where nobody can be asked, the box was dismissed
    /// or the cell was interrupted.
    fn ask(&self, prompt: &str, password: bool) -> Option<String>;

    /// Whether `ask` can reach a person.
    fn can_ask(&self) -> bool;
}

/// The handle a cell's code writes through. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Output(Arc<dyn OutputSink>);

impl Output {
    pub fn new(sink: Arc<dyn OutputSink>) -> Self {
        Self(sink)
    }

    pub fn stdout(&self, text: impl Into<String>) {
        self.0.emit(OutputEvent::Stdout(text.into()));
    }

    pub fn stderr(&self, text: impl Into<String>) {
        self.0.emit(OutputEvent::Stderr(text.into()));
    }

    pub fn display(&self, bundle: MimeBundle) {
        self.0.emit(OutputEvent::Display { bundle, display_id: None });
    }

    /// Shows `bundle` and returns a handle that can replace it while the cell runs.
    pub fn live_display(&self, bundle: MimeBundle) -> LiveDisplay {
        let display_id = uuid::Uuid::new_v4().to_string();
        self.0.emit(OutputEvent::Display { bundle, display_id: Some(display_id.clone()) });
        LiveDisplay { output: self.clone(), display_id }
    }

    pub fn emit(&self, event: OutputEvent) {
        self.0.emit(event);
    }

    pub fn clear(&self, wait: bool) {
        self.0.emit(OutputEvent::Clear { wait });
    }

    pub fn ask(&self, prompt: &str, password: bool) -> Option<String> {
        self.0.ask(prompt, password)
    }

    pub fn can_ask(&self) -> bool {
        self.0.can_ask()
    }
}

/// A display that can be replaced while the cell runs.
pub struct LiveDisplay {
    output: Output,
    display_id: String,
}

impl LiveDisplay {
    /// Replaces the display. Callers throttle (about 10 a second is plenty).
    pub fn update(&self, bundle: MimeBundle) {
        self.output.emit(OutputEvent::UpdateDisplay { bundle, display_id: self.display_id.clone() });
    }
}

/// Keeps every event; for tests and for `codriver ask --json`.
#[derive(Default)]
pub struct RecordingSink {
    events: Mutex<Vec<OutputEvent>>,
}

impl RecordingSink {
    pub fn events(&self) -> Vec<OutputEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl OutputSink for RecordingSink {
    fn emit(&self, event: OutputEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    fn ask(&self, _prompt: &str, _password: bool) -> Option<String> {
        None
    }

    fn can_ask(&self) -> bool {
        false
    }
}

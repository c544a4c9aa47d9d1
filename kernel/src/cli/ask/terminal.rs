//! A turn on a terminal: the answer on standard output, the rest on standard error.

use std::collections::HashMap;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crate::agent::METADATA;
use crate::session::{MimeBundle, OutputEvent, OutputSink};

/// Prints words as they come.
pub(super) struct Terminal {
    can_ask: bool,
    colours: bool,
    /// What has been printed of each live answer.
    printed: Mutex<HashMap<String, String>>,
}

/// Hears nothing and can be asked nothing.
pub(super) struct Silent;

impl Terminal {
    pub(super) fn new(can_ask: bool) -> Self {
        Self { can_ask, colours: std::io::stderr().is_terminal(), printed: Mutex::default() }
    }

    /// Ends the last line.
    pub(super) fn end(&self) {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.values().any(|text| !text.is_empty()) {
            print("\n");
        }
    }

    /// Prints what is new of a text that grows.
    fn grow(&self, id: &str, text: &str) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if !printed.is_empty() && !printed.contains_key(id) {
            // What was said before a tool ran is a paragraph of its own.
            print("\n\n");
        }
        let before = printed.entry(id.to_owned()).or_default();
        let news = text.strip_prefix(before.as_str()).map_or_else(|| format!("\n{text}"), str::to_owned);
        text.clone_into(before);
        print(&news);
    }

    fn note(&self, text: &str) {
        let (start, end) = if self.colours { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
        for line in text.lines() {
            eprintln!("{start}{line}{end}");
        }
    }

    fn show(&self, bundle: &MimeBundle, id: Option<&str>, first: bool) {
        match (kind(bundle), id) {
            ("answer", Some(id)) => self.grow(id, bundle.text()),
            // The card of a running tool is replaced by that of one that is done.
            ("tool", Some(_)) if first => {}
            ("tool" | "notice", _) => self.note(bundle.text()),
            ("context" | "reasoning", _) => {}
            _ => print(&format!("{}\n", bundle.text())),
        }
    }
}

impl OutputSink for Terminal {
    fn emit(&self, event: OutputEvent) {
        match event {
            OutputEvent::Stdout(text) => print(&text),
            OutputEvent::Stderr(text) => eprint!("{text}"),
            OutputEvent::Display { bundle, display_id } => self.show(&bundle, display_id.as_deref(), true),
            OutputEvent::UpdateDisplay { bundle, display_id } => self.show(&bundle, Some(&display_id), false),
            OutputEvent::Clear { .. } => {}
        }
    }

    fn ask(&self, prompt: &str, _password: bool) -> Option<String> {
        if !self.can_ask {
            return None;
        }
        eprint!("{prompt}");
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line).ok()?;
        (read > 0).then_some(line)
    }

    fn can_ask(&self) -> bool {
        self.can_ask
    }
}

impl OutputSink for Silent {
    fn emit(&self, _event: OutputEvent) {}

    fn ask(&self, _prompt: &str, _password: bool) -> Option<String> {
        None
    }

    fn can_ask(&self) -> bool {
        false
    }
}

fn kind(bundle: &MimeBundle) -> &str {
    bundle.metadata.get(METADATA).and_then(|metadata| metadata["kind"].as_str()).unwrap_or_default()
}

/// A reader that has gone away (`| head`) is no reason to stop what is under way.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::debug!("standard output is gone: {error}");
    }
}

//! Text shown while it is being written.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::secrets::Secrets;
use crate::render::{cards, markdown};
use crate::session::{LiveDisplay, MimeBundle, Output};

/// The key of what is volatile about an output: in its metadata, so that two runs of a
/// notebook have the same outputs.
pub const METADATA: &str = "codriver";

/// Between two updates of a display.
const PACE: Duration = Duration::from_millis(100);

/// One model call's words: its reasoning, folded, and its answer, each in a display of its
/// own that appears with the first word.
pub struct Words<'a> {
    output: &'a Output,
    secrets: &'a Secrets,
    answer: Part,
    reasoning: Part,
}

struct Part {
    text: String,
    display: Option<LiveDisplay>,
    shown: Instant,
    /// Longer texts take longer to render: they are shown less often.
    pace: Duration,
    render: fn(&str) -> MimeBundle,
}

impl<'a> Words<'a> {
    pub fn new(output: &'a Output, secrets: &'a Secrets) -> Self {
        let reasoning = |text: &str| kind(cards::folded_text("reasoning", text), "reasoning");
        let answer = |text: &str| kind(markdown::markdown(text), "answer");
        Self { output, secrets, answer: Part::new(answer), reasoning: Part::new(reasoning) }
    }

    pub fn say(&mut self, text: &str) {
        self.answer.push(text, self.output, self.secrets);
    }

    pub fn think(&mut self, text: &str) {
        self.reasoning.push(text, self.output, self.secrets);
    }

    /// What the person should know of how the answer was made.
    pub fn note(&mut self, text: &str) {
        self.output.display(kind(cards::note(&self.secrets.redact(text)), "notice"));
    }

    /// What was said so far, keys blanked out.
    pub fn said(&self) -> String {
        self.secrets.redact(&self.answer.text)
    }

    /// Shows all of it, `details` beside it in the metadata.
    pub fn finish(mut self, details: &Value) {
        self.reasoning.finish(self.output, self.secrets, "reasoning", &Value::Null);
        self.answer.finish(self.output, self.secrets, "answer", details);
    }
}

impl Part {
    fn new(render: fn(&str) -> MimeBundle) -> Self {
        Self { text: String::new(), display: None, shown: Instant::now(), pace: PACE, render }
    }

    fn push(&mut self, text: &str, output: &Output, secrets: &Secrets) {
        self.text.push_str(text);
        let due = self.display.is_none() || self.shown.elapsed() >= self.pace;
        if due && !self.text.trim().is_empty() {
            let started = Instant::now();
            let bundle = (self.render)(&secrets.redact_unfinished(&self.text));
            self.show(bundle, output);
            self.shown = Instant::now();
            self.pace = PACE.max(started.elapsed() * 10);
        }
    }

    fn finish(&mut self, output: &Output, secrets: &Secrets, name: &str, details: &Value) {
        if self.text.trim().is_empty() {
            return;
        }
        let mut bundle = kind((self.render)(&secrets.redact(&self.text)), name);
        if let (Some(Value::Object(metadata)), Value::Object(details)) = (bundle.metadata.get_mut(METADATA), details) {
            metadata.extend(details.clone());
        }
        self.show(bundle, output);
    }

    fn show(&mut self, bundle: MimeBundle, output: &Output) {
        match &self.display {
            Some(display) => display.update(bundle),
            None => self.display = Some(output.live_display(bundle)),
        }
    }
}

/// Marks what an output is, for front ends and for the terminal.
pub fn kind(bundle: MimeBundle, name: &str) -> MimeBundle {
    bundle.with_metadata(METADATA, json!({ "kind": name }))
}

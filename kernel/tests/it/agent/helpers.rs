//! A session, a person who answers questions, and a model's script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use codriver::agent::facts::Learning;
use codriver::agent::{TurnOptions, TurnReport, run_turn};
use codriver::languages::sql::SqlOptions;
use codriver::languages::{CellContext, CellError, CellResult};
use codriver::session::{Interrupt, MimeBundle, Output, OutputEvent, OutputSink, Session, SessionOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Answer, Server};

/// Keeps what is shown and answers questions from a list; after it, with nothing.
#[derive(Default)]
pub struct Person {
    pub events: Mutex<Vec<OutputEvent>>,
    pub questions: Mutex<Vec<String>>,
    answers: Mutex<VecDeque<String>>,
    present: bool,
}

impl Person {
    /// Whether some display has shown `text`.
    pub fn shows(&self, text: &str) -> bool {
        let shown = |event: &OutputEvent| match event {
            OutputEvent::Display { bundle, .. } | OutputEvent::UpdateDisplay { bundle, .. } => {
                bundle.text().contains(text)
            }
            _ => false,
        };
        self.events.lock().unwrap().iter().any(shown)
    }
}

impl OutputSink for Person {
    fn emit(&self, event: OutputEvent) {
        self.events.lock().unwrap().push(event);
    }

    fn ask(&self, prompt: &str, _password: bool) -> Option<String> {
        self.questions.lock().unwrap().push(prompt.to_owned());
        self.answers.lock().unwrap().pop_front()
    }

    fn can_ask(&self) -> bool {
        self.present
    }
}

/// A session in a workspace of its own, with nobody to ask.
pub struct Desk {
    pub session: Session,
    pub person: Arc<Person>,
    pub interrupt: Interrupt,
    pub workspace: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(Person::default())
    }

    /// With a person who gives these answers.
    pub fn attended(answers: &[&str]) -> Self {
        let answers = Mutex::new(answers.iter().map(|answer| (*answer).to_owned()).collect());
        Self::with(Person { answers, present: true, ..Person::default() })
    }

    fn with(person: Person) -> Self {
        Self::in_workspace(person, tempfile::tempdir().unwrap())
    }

    pub fn in_workspace(person: Person, workspace: TempDir) -> Self {
        let options = SessionOptions { workspace: workspace.path().to_owned(), data_folder: None };
        let session = Session::without_rust(&options).unwrap();
        // Servers answer from a script: who asks for more than the test does says so.
        session.agents.learner.set(Learning::Rules);
        Self { session, person: Arc::new(person), interrupt: Interrupt::new(), workspace }
    }

    pub fn context(&self) -> CellContext {
        CellContext { output: Output::new(self.person.clone()), interrupt: self.interrupt.clone(), execution_count: 1 }
    }

    pub fn sql(&self, sql: &str) {
        self.session.sql.execute(sql, &SqlOptions::default(), &self.context()).unwrap();
    }

    pub fn ask(&mut self, server: &Server, request: &str) -> Result<TurnReport, CellError> {
        self.ask_with(server, request, TurnOptions::default())
    }

    pub fn ask_with(&mut self, server: &Server, request: &str, options: TurnOptions) -> Result<TurnReport, CellError> {
        let context = self.context();
        let options = TurnOptions { model: Some(model(server)), ..options };
        run_turn(&mut self.session, &options, request, &context)
    }

    pub fn cell(&mut self, code: &str) -> CellResult {
        let context = self.context();
        self.session.execute(code, &context)
    }

    /// All that a cell shows, displays and result.
    pub fn text(&mut self, code: &str) -> String {
        let before = self.displays().len();
        let result = self.cell(code).unwrap().result.unwrap_or_default();
        let shown: Vec<String> = self.displays().iter().skip(before).map(|bundle| bundle.text().to_owned()).collect();
        format!("{}\n{}", shown.join("\n"), result.text())
    }

    /// The last state of every display, in the order they appeared.
    pub fn displays(&self) -> Vec<MimeBundle> {
        let mut shown: Vec<(Option<String>, MimeBundle)> = Vec::new();
        for event in self.person.events.lock().unwrap().iter() {
            match event {
                OutputEvent::Display { bundle, display_id } => shown.push((display_id.clone(), bundle.clone())),
                OutputEvent::UpdateDisplay { bundle, display_id } => {
                    let known = shown.iter_mut().find(|(id, _)| id.as_deref() == Some(display_id));
                    known.expect("an update of a display that was never shown").1 = bundle.clone();
                }
                _ => {}
            }
        }
        shown.into_iter().map(|(_, bundle)| bundle).collect()
    }

    /// The displays of one kind: `answer`, `tool`, `context`, `reasoning`.
    pub fn displays_of(&self, kind: &str) -> Vec<MimeBundle> {
        self.displays().into_iter().filter(|bundle| bundle.metadata["codriver"]["kind"] == kind).collect()
    }
}

pub fn model(server: &Server) -> String {
    format!("{}#tiny", server.base)
}

/// The model says something.
pub fn says(text: &str) -> Answer {
    let words: Vec<Value> = text
        .split_inclusive(' ')
        .map(|word| json!({ "choices": [{ "index": 0, "delta": { "content": word } }] }))
        .chain([json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }],
                        "usage": { "prompt_tokens": 100, "completion_tokens": 10 } })])
        .collect();
    Answer::stream(&words)
}

/// The model calls a tool.
pub fn calls(tool: &str, arguments: Value) -> Answer {
    calls_with_text(tool, &arguments.to_string())
}

/// The same with arguments as the model spelled them.
pub fn calls_with_text(tool: &str, arguments: &str) -> Answer {
    let call = json!({ "index": 0, "id": format!("call_{tool}"), "type": "function",
                       "function": { "name": tool, "arguments": arguments } });
    Answer::stream(&[
        json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": null } }] }),
        json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] }),
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }],
                "usage": { "prompt_tokens": 50, "completion_tokens": 5 } }),
    ])
}

/// What stood before the person's request in the `number`th one to the model (from 0), and the request.
pub fn asked(server: &Server, number: usize) -> (String, String) {
    let messages = server.seen()[number].body["messages"].clone();
    let asked = messages.as_array().unwrap().iter().rfind(|message| message["role"] == "user").unwrap();
    let (known, request) = parts(asked["content"].as_str().unwrap());
    (known.to_owned(), request.to_owned())
}

/// What stands before a request, and the request.
pub fn parts(content: &str) -> (&str, &str) {
    let (known, request) = content.split_once("</context>\n\n").unwrap_or(("", content));
    assert!(known.is_empty() || known.starts_with("<context>\n## "), "{known}");
    (known, request)
}

/// What the model was told last in its `number`th request (from 0).
pub fn last_message(server: &Server, number: usize) -> Value {
    server.seen()[number].body["messages"].as_array().unwrap().last().unwrap().clone()
}

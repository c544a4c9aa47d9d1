//! The magics around agents.

mod agent;
mod context;
mod knowledge;
mod memory;
mod model;
mod prompt;
mod tools;
mod usage;

use crate::cells::Magic;
use crate::languages::{CellContext, CellOutcome, CellResult, Completion};
use crate::session::{MimeBundle, Session};

/// `%agent`, `%context`, `%knowledge`, `%memory`, `%model`, `%prompt`, `%tools` and `%usage`.
pub fn magics() -> Vec<Box<dyn Magic>> {
    vec![
        Box::new(agent::Agent),
        Box::new(context::Context),
        Box::new(knowledge::Knowledge),
        Box::new(memory::MemoryMagic),
        Box::new(model::Model),
        Box::new(prompt::Prompt),
        Box::new(tools::Tools),
        Box::new(usage::UsageMagic),
    ]
}

fn shown(bundle: MimeBundle) -> CellResult {
    Ok(CellOutcome { result: Some(bundle), ..CellOutcome::default() })
}

fn said(text: impl Into<String>) -> CellResult {
    shown(MimeBundle::plain(text))
}

/// That memory was restored, or lasts for this session only.
fn tell_notices(session: &Session, context: &CellContext) {
    for notice in session.memory.take_notices() {
        context.output.stderr(format!("{notice}\n"));
    }
}

fn completions<'a>(names: impl IntoIterator<Item = &'a str>, kind: &str) -> Vec<Completion> {
    names.into_iter().map(|name| Completion { text: name.to_owned(), kind: kind.to_owned() }).collect()
}

/// The first word and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

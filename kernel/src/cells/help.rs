//! `%name?`, `?name`, `%help` and what a front end shows on Shift-Tab.

use serde_json::json;

use super::completion::{Place, place};
use super::flags;
use crate::languages::{CellError, CellOutcome, CellResult};
use crate::session::{MimeBundle, Session};

/// The help of a magic, or what Rust or SQL know about a name, as one `page` payload.
pub fn page(session: &Session, topic: &str) -> CellResult {
    let bundle = about(session, topic).or_else(|| session.rust.inspect(topic, topic.len()));
    let Some(bundle) = bundle.or_else(|| session.sql.inspect(topic)) else {
        let nearest = session.magics.nearest(topic).map(|name| format!("; did you mean %{name}?"));
        let message = format!("nothing is known about {topic}{}", nearest.unwrap_or_default());
        return Err(CellError::new("NotFound", message));
    };
    let payload = vec![json!({ "source": "page", "data": bundle.data, "start": 0 })];
    Ok(CellOutcome { result: None, payload })
}

/// What is known about the word at `cursor`.
pub fn inspect(session: &Session, code: &str, cursor: usize) -> Option<MimeBundle> {
    match place(session, code, cursor) {
        Place::MagicName { .. } => about(session, word_at(code, cursor).trim_start_matches('%')),
        Place::MagicLine { name, .. } if name == "sql" => {
            session.sql.inspect(word_at(code, cursor)).or_else(|| about(session, &name))
        }
        Place::MagicLine { name, .. } => about(session, &name),
        Place::Body { name, .. } if name == "sql" => session.sql.inspect(word_at(code, cursor)),
        Place::Body { name, body_start } if name == "rust" => {
            session.rust.inspect(&code[body_start..], cursor - body_start)
        }
        Place::Body { .. } | Place::Shell { .. } => None,
        Place::Rust { source } => session.rust.inspect(&source, cursor),
    }
}

fn about(session: &Session, name: &str) -> Option<MimeBundle> {
    let magic = session.magics.get(name)?;
    let text = flags::help(magic.as_ref());
    Some(MimeBundle::html(format!("<pre>{}</pre>", escape(&text)), text))
}

fn word_at(code: &str, cursor: usize) -> &str {
    let is_word = |character: char| character.is_alphanumeric() || "_%.".contains(character);
    let cursor = code.floor_char_boundary(cursor);
    let before = code[..cursor].char_indices().rev().take_while(|(_, character)| is_word(*character));
    let start = before.last().map_or(cursor, |(at, _)| at);
    let end = code[cursor..].find(|character| !is_word(character)).map_or(code.len(), |at| cursor + at);
    &code[start..end]
}

/// How to start, in a few lines.
pub fn overview() -> MimeBundle {
    let rows = [
        ("let x = 6 * 7; x", "Rust; variables live on from cell to cell, :dep adds a crate"),
        ("%%sql -o top", "SQL on DuckDB; -o keeps the result as a frame"),
        ("%%bash, !ls", "a script, a command"),
        ("%%agent which region sells best?", "ask the agent; it sees your tables, files and git"),
        ("%git diff", "git, rendered"),
        ("%set region North", "{{region}} stands for the value"),
        ("%context, %memory, %model, %tools", "what the agent saw, remembers, thinks with, can do"),
        ("%lsmagic, %name?", "all magics, the help of one"),
    ];
    let plain: String = rows.iter().map(|(code, meaning)| format!("{code:34} {meaning}\n")).collect();
    let cells = |(code, meaning): &(&str, &str)| {
        format!(
            "<tr><td style=\"text-align:left\"><code>{}</code></td><td style=\"text-align:left\">{}</td></tr>",
            escape(code),
            escape(meaning)
        )
    };
    MimeBundle::html(format!("<table>{}</table>", rows.iter().map(cells).collect::<String>()), plain)
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

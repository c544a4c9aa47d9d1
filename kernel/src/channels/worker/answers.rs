//! Completion, inspection, history: questions about code, answered with JSON.
//!
//! Jupyter counts unicode code points, the session counts bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::channels::messages;
use crate::channels::wire::Request;
use crate::languages::{CellError, Completeness};
use crate::session::{HistoryEntry, Session};

/// The answer, or an empty one when the question hits a bug.
pub fn guarded(session: &Session, request: &Request, answer: fn(&Session, &Request) -> Value) -> Value {
    catch_unwind(AssertUnwindSafe(|| answer(session, request)))
        .unwrap_or_else(|_| failed(&CellError::new("KernelPanic", format!("a bug in answering {}", request.kind))))
}

pub fn failed(error: &CellError) -> Value {
    let mut content = messages::error(error);
    content["status"] = json!("error");
    content
}

pub fn complete(session: &Session, request: &Request) -> Value {
    let code = request.text("code");
    let cursor = byte_offset(code, request.integer("cursor_pos"));
    let completions = session.complete(code, cursor);
    let (start, end) = (code_points(code, completions.start), code_points(code, completions.end));
    let types: Vec<Value> = completions
        .matches
        .iter()
        .map(|found| json!({ "text": found.text, "type": found.kind, "start": start, "end": end }))
        .collect();
    json!({
        "status": "ok",
        "matches": completions.matches.iter().map(|found| &found.text).collect::<Vec<_>>(),
        "cursor_start": start,
        "cursor_end": end,
        "metadata": { "_jupyter_types_experimental": types },
    })
}

pub fn inspect(session: &Session, request: &Request) -> Value {
    let code = request.text("code");
    let found = session.inspect(code, byte_offset(code, request.integer("cursor_pos")));
    json!({
        "status": "ok",
        "found": found.is_some(),
        "data": found.as_ref().map(|bundle| bundle.data.clone()).unwrap_or_default(),
        "metadata": found.map(|bundle| bundle.metadata).unwrap_or_default(),
    })
}

pub fn is_complete(session: &Session, request: &Request) -> Value {
    match session.is_complete(request.text("code")) {
        Completeness::Complete => json!({ "status": "complete" }),
        Completeness::Incomplete { indent } => json!({ "status": "incomplete", "indent": indent }),
        Completeness::Invalid => json!({ "status": "invalid" }),
        Completeness::Unknown => json!({ "status": "unknown" }),
    }
}

pub fn history(session: &Session, request: &Request) -> Value {
    let history = &session.history;
    let count = request.integer("n").and_then(|count| usize::try_from(count).ok());
    let entries = match request.text("hist_access_type") {
        "range" => {
            let start = request.integer("start").and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
            let stop = request.integer("stop").and_then(|line| u32::try_from(line).ok());
            history.range(request.integer("session").unwrap_or(0), start, stop)
        }
        "search" => {
            let pattern = Some(request.text("pattern")).filter(|pattern| !pattern.is_empty()).unwrap_or("*");
            history.search(pattern, count, request.flag("unique", false))
        }
        _ => history.tail(count.unwrap_or(10)),
    };
    let with_output = request.flag("output", false);
    json!({
        "status": "ok",
        "history": entries.iter().map(|entry| history_row(entry, with_output)).collect::<Vec<_>>(),
    })
}

/// Outputs are not kept: they are `null` where they are asked for.
fn history_row(entry: &HistoryEntry, with_output: bool) -> Value {
    if with_output {
        json!([entry.session, entry.line, [entry.input, null]])
    } else {
        json!([entry.session, entry.line, entry.input])
    }
}

/// Where the cursor is, in bytes. A missing cursor is at the end.
fn byte_offset(code: &str, cursor: Option<i64>) -> usize {
    let Some(cursor) = cursor.and_then(|cursor| usize::try_from(cursor).ok()) else { return code.len() };
    code.char_indices().nth(cursor).map_or(code.len(), |(offset, _)| offset)
}

fn code_points(code: &str, offset: usize) -> usize {
    code[..code.floor_char_boundary(offset)].chars().count()
}

#[cfg(test)]
mod tests {
    use super::{byte_offset, code_points};

    #[test]
    fn offsets_survive_characters_of_every_width() {
        let code = "aé𝄞z";
        for (points, bytes) in [(0, 0), (1, 1), (2, 3), (3, 7), (4, 8)] {
            assert_eq!((byte_offset(code, Some(points)), code_points(code, bytes) as i64), (bytes, points));
        }
        assert_eq!(byte_offset(code, None), code.len());
        assert_eq!(byte_offset(code, Some(99)), code.len());
    }
}

//! Outputs as a terminal can show them.

use crate::{Bundle, Output};

/// The text of an output, colours kept, ending in a newline unless it is empty.
pub fn to_terminal(output: &Output) -> String {
    let text = match output {
        Output::Stream { text, .. } => strip_controls(&settle_lines(text), true),
        Output::Display { bundle } | Output::Result { bundle, .. } => bundle_text(bundle),
        Output::Error { name, value, traceback } if traceback.is_empty() => format!("{name}: {value}"),
        Output::Error { traceback, .. } => strip_controls(&traceback.join("\n"), true),
    };
    if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
}

fn bundle_text(bundle: &Bundle) -> String {
    if bundle.is_empty() {
        return String::new();
    }
    for mime in ["text/plain", "text/markdown", "text/latex"] {
        if let Some(text) = bundle.text(mime).filter(|text| !text.trim().is_empty()) {
            return strip_controls(&settle_lines(&text), true);
        }
    }
    let kinds: Vec<&str> = bundle.data.keys().map(String::as_str).filter(|mime| *mime != "text/plain").collect();
    if kinds.is_empty() { String::new() } else { format!("[{}]", kinds.join(", ")) }
}

/// What is left on a terminal's line after carriage returns and backspaces.
pub(crate) fn settle_lines(text: &str) -> String {
    if !text.contains(['\r', '\u{8}']) {
        return text.to_owned();
    }
    let text = text.replace("\r\n", "\n");
    let lines = text.split('\n').map(|line| {
        let last = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
        let mut settled = String::with_capacity(last.len());
        for character in last.chars() {
            if character == '\u{8}' {
                settled.pop();
            } else {
                settled.push(character);
            }
        }
        settled
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Removes control characters and escape sequences: a notebook must not move the cursor
/// or rename the window. Colours (`ESC [ ... m`) stay if `keep_colours`.
pub(crate) fn strip_controls(text: &str, keep_colours: bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find(|character: char| character.is_control()) {
        let (before, from) = rest.split_at(position);
        kept.push_str(before);
        let length = control_length(from);
        let (sequence, after) = from.split_at(length);
        let colour = sequence.starts_with("\u{1b}[") && sequence.ends_with('m');
        if sequence == "\n" || sequence == "\t" || (colour && keep_colours) {
            kept.push_str(sequence);
        }
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// How many bytes the control character or sequence at the start of `text` has.
fn control_length(text: &str) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let Some(after) = text.strip_prefix('\u{1b}') else {
        return first;
    };
    if let Some(parameters) = after.strip_prefix('[') {
        let end = parameters.find(|character: char| ('\u{40}'..='\u{7e}').contains(&character));
        return end.map_or(text.len(), |end| 2 + end + 1);
    }
    if let Some(command) = after.strip_prefix(']') {
        let bell = command.find('\u{7}').map(|end| 2 + end + 1);
        let string_end = command.find("\u{1b}\\").map(|end| 2 + end + 2);
        return bell.into_iter().chain(string_end).min().unwrap_or(text.len());
    }
    1 + after.chars().next().map_or(0, char::len_utf8)
}

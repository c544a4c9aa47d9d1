//! Compiler messages over the cell's own lines, the way rustc prints them.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::protocol::{Diagnostic, DiagnosticSpan};
use crate::languages::CellError;

const BOLD: &str = "\u{1b}[1m";
const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const BLUE: &str = "\u{1b}[1;34m";
const RESET: &str = "\u{1b}[0m";

/// The `CompileError` of a cell that the compiler rejected.
pub fn compile_error(diagnostics: &[Diagnostic], code: &str) -> CellError {
    let mut value = diagnostics
        .first()
        .map(|first| headline(first, false))
        .unwrap_or_else(|| "the cell does not compile".to_owned());
    if diagnostics.len() > 1 {
        value.push_str(&format!(" (and {} more)", diagnostics.len() - 1));
    }
    let mut traceback = Vec::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        if index > 0 {
            traceback.push(String::new());
        }
        traceback.extend(render(diagnostic, code));
    }
    CellError::new("CompileError", value.lines().next().unwrap_or_default()).with_traceback(traceback)
}

/// The `Panic` of a cell; `line` (from 1) is where in it, if it was the cell's own code.
pub fn panic_error(message: &str, place: Option<(usize, usize)>, code: &str) -> CellError {
    let mut lines = message.lines();
    let value = lines.next().unwrap_or_default().to_owned();
    let mut traceback = vec![format!("{RED}Panic{RESET}: {value}")];
    traceback.extend(lines.map(str::to_owned));
    if let Some((line, column)) = place {
        let span = DiagnosticSpan {
            start_line: line,
            start_column: column,
            end_line: line,
            end_column: column + 1,
            primary: true,
            ..DiagnosticSpan::default()
        };
        traceback.extend(excerpt(&[span], code));
    }
    CellError::new("Panic", value).with_traceback(traceback)
}

fn headline(diagnostic: &Diagnostic, coloured: bool) -> String {
    let code = diagnostic.code.as_ref().map(|code| format!("[{code}]")).unwrap_or_default();
    let level = if diagnostic.level.is_empty() { "error" } else { &diagnostic.level };
    if coloured {
        let colour = if level == "warning" { YELLOW } else { RED };
        format!("{colour}{level}{code}{RESET}{BOLD}: {}{RESET}", diagnostic.message)
    } else {
        format!("{level}{code}: {}", diagnostic.message)
    }
}

fn render(diagnostic: &Diagnostic, code: &str) -> Vec<String> {
    let mut lines: Vec<String> = headline(diagnostic, true).lines().map(str::to_owned).collect();
    if !diagnostic.spans.is_empty() {
        lines.extend(excerpt(&diagnostic.spans, code));
    }
    for note in &diagnostic.notes {
        let (level, text) = note.split_once(": ").unwrap_or(("note", note));
        let mut parts = text.lines();
        lines.push(format!("  {BLUE}={RESET} {BOLD}{level}{RESET}: {}", parts.next().unwrap_or_default()));
        lines.extend(parts.map(|part| format!("    {part}")));
    }
    lines
}

/// The lines that the spans touch, with carets under them and the labels behind.
fn excerpt(spans: &[DiagnosticSpan], code: &str) -> Vec<String> {
    let source: Vec<&str> = code.lines().collect();
    let mut spans: Vec<&DiagnosticSpan> = spans.iter().collect();
    spans.sort_by_key(|span| (span.start_line, span.start_column));
    let last = spans.iter().map(|span| span.start_line).max().unwrap_or(1);
    let gutter = " ".repeat(last.to_string().len());
    let first = spans.iter().find(|span| span.primary).or(spans.first());
    let mut lines = Vec::new();
    if let Some(first) = first {
        lines.push(format!("{gutter}{BLUE}-->{RESET} cell, line {}, column {}", first.start_line, first.start_column));
    }
    lines.push(format!("{gutter} {BLUE}|{RESET}"));
    let mut shown = None;
    for span in spans {
        let text = source.get(span.start_line.saturating_sub(1)).copied().unwrap_or_default().replace('\t', "    ");
        if shown != Some(span.start_line) {
            if shown.is_some_and(|line| line + 1 < span.start_line) {
                lines.push(format!("{BLUE}...{RESET}"));
            }
            lines.push(format!("{BLUE}{:>width$} |{RESET} {text}", span.start_line, width = gutter.len()));
            shown = Some(span.start_line);
        }
        lines.push(format!(
            "{gutter} {BLUE}|{RESET} {}",
            carets(span, source.get(span.start_line.saturating_sub(1)).copied().unwrap_or_default())
        ));
    }
    lines.push(format!("{gutter} {BLUE}|{RESET}"));
    lines
}

fn carets(span: &DiagnosticSpan, line: &str) -> String {
    let width_of = |text: &str| {
        text.chars().map(|character| if character == '\t' { 4 } else { character.width().unwrap_or(0) }).sum::<usize>()
    };
    let start: String = line.chars().take(span.start_column.saturating_sub(1)).collect();
    let end_column = if span.end_line == span.start_line { span.end_column } else { usize::MAX };
    let marked: String =
        line.chars().skip(start.chars().count()).take(end_column.saturating_sub(span.start_column).max(1)).collect();
    let (mark, colour) = if span.primary { ("^", RED) } else { ("-", BLUE) };
    let label = span.label.lines().next().unwrap_or_default();
    let space = if label.width() > 0 { " " } else { "" };
    format!(
        "{}{colour}{}{space}{label}{RESET}",
        " ".repeat(width_of(&start)),
        mark.repeat(width_of(marked.trim_end()).max(1))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(error: &CellError) -> String {
        strip_ansi_escapes::strip_str(error.traceback.join("\n"))
    }

    #[test]
    fn carets_stand_under_wide_characters() {
        let code = "// 東京\nlet 東京: i32 = \"a\";";
        let span = |start: usize, end: usize, primary: bool, label: &str| DiagnosticSpan {
            start_line: 2,
            start_column: start,
            end_line: 2,
            end_column: end,
            label: label.to_owned(),
            primary,
        };
        let diagnostic = Diagnostic {
            level: "error".to_owned(),
            code: Some("E0308".to_owned()),
            message: "mismatched types".to_owned(),
            spans: vec![span(15, 18, true, "expected `i32`, found `&str`"), span(9, 12, false, "expected due to this")],
            notes: vec!["help: try this: `1`".to_owned()],
        };
        let error = compile_error(&[diagnostic], code);
        assert_eq!(error.value, "error[E0308]: mismatched types");
        assert_eq!(
            plain(&error),
            "error[E0308]: mismatched types\n --> cell, line 2, column 15\n  |\n2 | let 東京: i32 = \"a\";\n  |           --- expected due to this\n  |                 ^^^ expected `i32`, found `&str`\n  |\n  = help: try this: `1`"
        );
    }

    #[test]
    fn a_panic_shows_its_line() {
        let error = panic_error("index out of bounds\nmore", Some((2, 5)), "let a = 1;\nlet b = v[9];");
        assert_eq!(error.value, "index out of bounds");
        assert_eq!(
            plain(&error),
            "Panic: index out of bounds\nmore\n --> cell, line 2, column 5\n  |\n2 | let b = v[9];\n  |     ^\n  |"
        );
    }

    #[test]
    fn spans_outside_the_cell_do_no_harm() {
        let span = DiagnosticSpan {
            start_line: 99,
            start_column: 99,
            end_line: 100,
            end_column: 1,
            primary: true,
            ..DiagnosticSpan::default()
        };
        let diagnostic = Diagnostic { message: "odd".to_owned(), spans: vec![span], ..Diagnostic::default() };
        assert!(plain(&compile_error(&[diagnostic], "x")).contains("odd"));
    }
}

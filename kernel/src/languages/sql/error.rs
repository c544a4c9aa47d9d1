//! DuckDB's errors, pointed at the cell's own line.

use unicode_width::UnicodeWidthChar;

use super::lexer::{TokenKind, tokens};
use crate::languages::CellError;

/// The error for a statement of `cell`. `shift` counts the lines that were put before the
/// text DuckDB saw.
pub fn cell_error(error: &duckdb::Error, cell: &str, shift: usize) -> CellError {
    let message = match error {
        duckdb::Error::DuckDBFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    };
    if message.contains("INTERRUPT Error") {
        return CellError::interrupted("the query was stopped; statements before it in the cell took effect");
    }
    from_message(&message, cell, shift)
}

fn from_message(message: &str, cell: &str, shift: usize) -> CellError {
    let (text, place) = match message.split_once("\nLINE ") {
        Some((text, place)) => (text.trim_end(), locate(place, cell, shift)),
        None => (message.trim_end(), None),
    };
    let value = text.lines().next().unwrap_or_default().to_owned();
    let mut traceback = vec![format!("\u{1b}[1;31mSqlError\u{1b}[0m: {value}")];
    if let Some(place) = place {
        traceback.extend(excerpt(&place, cell));
    }
    traceback.extend(text.lines().skip(1).map(str::to_owned));
    CellError::new("SqlError", value).with_traceback(traceback)
}

/// A place in the cell; both count from zero, columns in characters.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

/// Reads `3: excerpt\n   ^`, what DuckDB prints after `LINE `.
fn locate(place: &str, cell: &str, shift: usize) -> Option<Place> {
    let mut lines = place.lines();
    let first = lines.next()?;
    let caret_line = lines.next()?;
    let (number, shown) = first.split_once(": ")?;
    let line = number.parse::<usize>().ok()?.checked_sub(1 + shift)?;
    let prefix = "LINE ".len() + number.len() + ": ".len();
    let caret = caret_line.find('^')?.checked_sub(prefix)?;
    let source = cell.lines().nth(line)?;
    let offset = characters_within(shown, caret);
    let column = match shown.strip_prefix("...") {
        // A long line is shown from its middle on.
        Some(middle) => {
            let middle = middle.strip_suffix("...").unwrap_or(middle);
            let start = source.find(middle)?;
            source[..start].chars().count() + offset.checked_sub(3)?
        }
        None => offset,
    };
    Some(Place { line, column })
}

/// How many characters of `text` take up `width` terminal cells.
fn characters_within(text: &str, width: usize) -> usize {
    let mut used = 0;
    text.chars()
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used <= width
        })
        .count()
}

fn excerpt(place: &Place, cell: &str) -> Vec<String> {
    let source = cell.lines().nth(place.line).unwrap_or_default().replace('\t', " ");
    let number = (place.line + 1).to_string();
    let gutter = " ".repeat(number.len());
    let start = source.char_indices().nth(place.column).map_or(source.len(), |(offset, _)| offset);
    let indent: usize = source[..start].chars().filter_map(UnicodeWidthChar::width).sum();
    let carets = "^".repeat(token_width(&source[start..]));
    vec![
        format!("{gutter}\u{1b}[34m-->\u{1b}[0m line {number}, column {}", place.column + 1),
        format!("{gutter} \u{1b}[34m|\u{1b}[0m"),
        format!("\u{1b}[34m{number} |\u{1b}[0m {source}"),
        format!("{gutter} \u{1b}[34m|\u{1b}[0m {}\u{1b}[1;31m{carets}\u{1b}[0m", " ".repeat(indent)),
    ]
}

/// How wide the word or string at the beginning of `rest` is.
fn token_width(rest: &str) -> usize {
    match tokens(rest).first() {
        Some(token) if token.start == 0 && token.kind != TokenKind::Comment => {
            token.text(rest).chars().filter_map(UnicodeWidthChar::width).sum::<usize>().max(1)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_token() {
        let message = "Binder Error: Referenced column \"foo\" not found!\nCandidate bindings: \"a\"\n\nLINE 3:  foo from t\n         ^";
        let error = from_message(message, "select\n foo from t", 1);
        assert_eq!(error.value, "Binder Error: Referenced column \"foo\" not found!");
        let plain: Vec<String> = error.traceback.iter().map(|line| strip_ansi_escapes::strip_str(line)).collect();
        assert_eq!(
            plain,
            vec![
                "SqlError: Binder Error: Referenced column \"foo\" not found!",
                " --> line 2, column 2",
                "  |",
                "2 |  foo from t",
                "  |  ^^^",
                "Candidate bindings: \"a\"",
            ]
        );
    }

    #[test]
    fn long_lines_are_found_by_their_excerpt() {
        let cell = format!("select {} wrong from t", "a, ".repeat(60));
        let message = "Binder Error: no\n\nLINE 1: ...a, a,  wrong from t\n                  ^";
        let error = from_message(message, &cell, 0);
        let column = cell.find("wrong").unwrap() + 1;
        assert!(error.traceback[1].contains(&format!("line 1, column {column}")), "{:?}", error.traceback);
    }

    #[test]
    fn a_message_without_a_place_is_kept_whole() {
        let error = from_message("Out of Memory Error: no\nhint", "select 1", 0);
        assert_eq!(error.traceback.len(), 2);
        assert_eq!(error.name, "SqlError");
    }
}

//! From a tool's result to a sentence: the result's cells become references, and the starter
//! writes an answer that speaks of them. Values are copied, never spelled.

use super::linking::{Numbering, Piece};
use super::notation::{Keyword, Kind, Token};
use super::words::name_words;

/// Cells of a result that the prompt holds.
pub const MAX_CELLS: usize = 12;
/// Rows of a result whose cells the prompt holds.
const MAX_ROWS: usize = 3;
/// Words of a cell that the prompt holds; the answer shows more.
const CELL_WORDS: usize = 4;
/// Characters of a cell that an answer shows.
const CELL_CHARACTERS: usize = 400;

/// What a tool returned, in the little the starter needs of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    pub tool: Keyword,
    pub failed: bool,
    pub columns: Vec<String>,
    /// Row by row, from the first rows.
    pub cells: Vec<String>,
    /// Rows, lines or matches there are in all.
    pub rows: usize,
}

impl Findings {
    /// Reads a tool's text: a table for `sql` and `describe_table` (a header line, then a row a
    /// line, cells between ` | `), lines for the others.
    pub fn read(tool: Keyword, text: &str) -> Self {
        let failed = ["error", "denied", "invalid arguments", "unknown tool", "interrupted", "failed"].iter().any(|word| text.to_lowercase().starts_with(word));
        if failed {
            let message = text.trim_start_matches(|c: char| c.is_alphabetic()).trim_start_matches([':', ' ']);
            return Self { tool, failed, columns: Vec::new(), cells: vec![shorten(if message.is_empty() { text } else { message })], rows: 1 };
        }
        match tool {
            Keyword::Sql | Keyword::DescribeTable => Self::table(tool, text),
            _ => Self::lines(tool, text),
        }
    }

    fn table(tool: Keyword, text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let columns: Vec<String> = lines.next().unwrap_or_default().split(" | ").map(|cell| cell.trim().to_owned()).collect();
        let (mut rows, mut said) = (Vec::new(), None);
        for line in lines {
            match count_line(line) {
                Some(count) => said = Some(count),
                None => rows.push(line.split(" | ").map(|cell| shorten(cell.trim())).collect::<Vec<_>>()),
            }
        }
        let count = said.unwrap_or(rows.len());
        let cells: Vec<String> = rows.into_iter().take(MAX_ROWS).flatten().take(MAX_CELLS).collect();
        if tool == Keyword::DescribeTable {
            return Self { tool, failed: false, columns: Vec::new(), cells, rows: count };
        }
        Self { tool, failed: false, columns, cells, rows: count }
    }

    fn lines(tool: Keyword, text: &str) -> Self {
        let nothing = ["no ", "nothing", "0 ", "empty", "clean"].iter().any(|word| text.trim_start().to_lowercase().starts_with(word)) || text.trim().is_empty();
        let single = matches!(tool, Keyword::Calculate | Keyword::Remember | Keyword::RunRust | Keyword::ExplainError);
        if single {
            let value = if tool == Keyword::Calculate { text.rsplit(" = ").next().unwrap_or(text) } else { text };
            return Self { tool, failed: false, columns: Vec::new(), cells: vec![shorten(value)], rows: 1 };
        }
        if nothing {
            return Self { tool, failed: false, columns: Vec::new(), cells: Vec::new(), rows: 0 };
        }
        // A first line that counts or introduces ("12 files:") is not an item.
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let header = lines.first().is_some_and(|line| line.trim_end().ends_with(':') || (lines.len() > 1 && leading_number(line).is_some()));
        let counted = lines.first().and_then(|line| leading_number(line));
        let items: Vec<&&str> = lines.iter().skip(usize::from(header)).collect();
        let rows = counted.filter(|_| header).unwrap_or(items.len());
        Self { tool, failed: false, columns: Vec::new(), cells: items.iter().take(MAX_ROWS).map(|line| shorten(line.trim())).collect(), rows }
    }

    /// The prompt, up to where the answer starts, and the reference of each cell.
    pub fn prompt(&self, numbering: &mut Numbering) -> (Vec<Piece>, Vec<Token>) {
        let mut pieces = vec![Piece::Token(Keyword::Result.token()), Piece::Token(self.tool.token())];
        if self.failed {
            pieces.push(Piece::Token(Keyword::Failed.token()));
        }
        let size = match self.rows {
            0 => "none",
            1 => "one",
            _ => "many",
        };
        pieces.push(Piece::Text(size.to_owned()));
        pieces.push(Piece::Text(["zero", "one", "two", "three", "four"].get(self.columns.len()).unwrap_or(&"many").to_string()));
        pieces.push(Piece::Token(Keyword::Columns.token()));
        let mut references = Vec::new();
        for cell in self.cells.iter().take(MAX_CELLS) {
            let Some(token) = numbering.next(Kind::Cell) else { break };
            references.push(token);
            pieces.push(Piece::Token(token));
            pieces.push(Piece::Text(name_words(cell).into_iter().take(CELL_WORDS).collect::<Vec<_>>().join(" ")));
        }
        pieces.push(Piece::Token(Keyword::Answer.token()));
        (pieces, references)
    }
}

/// `(12 rows)`, `12 rows, first 50 shown` and the like.
fn count_line(line: &str) -> Option<usize> {
    let lower = line.trim().trim_start_matches('(').to_lowercase();
    (lower.contains(" row") && !line.contains(" | ")).then(|| leading_number(&lower)).flatten()
}

fn leading_number(line: &str) -> Option<usize> {
    let digits: String = line.trim().chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn shorten(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= CELL_CHARACTERS {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(CELL_CHARACTERS).collect();
    short.push('…');
    short
}

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
        let failed = ["error", "denied", "invalid arguments", "unknown tool", "interrupted", "failed"]
            .iter()
            .any(|word| text.to_lowercase().starts_with(word));
        if failed {
            let message = text.trim_start_matches(|c: char| c.is_alphabetic()).trim_start_matches([':', ' ']);
            return Self {
                tool,
                failed,
                columns: Vec::new(),
                cells: vec![shorten(if message.is_empty() { text } else { message })],
                rows: 1,
            };
        }
        match tool {
            Keyword::Sql | Keyword::DescribeTable => Self::table(tool, text),
            _ => Self::lines(tool, text),
        }
    }

    fn table(tool: Keyword, text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let columns: Vec<String> =
            lines.next().unwrap_or_default().split(" | ").map(|cell| cell.trim().to_owned()).collect();
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
        let found = |cells: Vec<String>, rows: usize| Self { tool, failed: false, columns: Vec::new(), cells, rows };
        match tool {
            Keyword::Calculate => return found(vec![shorten(text.rsplit(" = ").next().unwrap_or(text))], 1),
            Keyword::Remember | Keyword::RunRust | Keyword::ExplainError => return found(vec![shorten(text)], 1),
            _ => {}
        }
        let lower = text.trim_start().to_lowercase();
        if lower.is_empty()
            || lower.starts_with("no ")
            || lower.starts_with("nothing")
            || lower.contains(" is empty")
            || lower.ends_with(": empty")
            || lower.contains("is clean")
        {
            return found(Vec::new(), 0);
        }
        // "12 entries in src:" introduces; "… and 3 more" closes.
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('…') && !line.starts_with("Not searched"))
            .collect();
        let introduces = |line: &&str| line.trim_end().ends_with(':');
        let items: Vec<&str> = match tool {
            // Under their headings, what changed is indented; a patch follows a diff's files.
            Keyword::GitStatus | Keyword::GitDiff => {
                lines.iter().copied().filter(|line| line.starts_with("  ")).collect()
            }
            // Behind the file's name and size, every line has its number.
            Keyword::ReadFile => lines
                .iter()
                .skip(1)
                .map(|line| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()))
                .filter(|line| !line.trim().is_empty())
                .collect(),
            _ => lines.iter().copied().skip(usize::from(lines.first().is_some_and(introduces))).collect(),
        };
        let rows = match tool {
            Keyword::GitDiff => lines.iter().filter(|line| is_changed_line(line)).count(),
            Keyword::GitStatus => items.len(),
            Keyword::ReadFile => lines
                .first()
                .and_then(|line| line.split_once('('))
                .and_then(|(_, size)| leading_number(size))
                .unwrap_or(items.len()),
            _ => lines
                .first()
                .filter(|line| introduces(line))
                .and_then(|line| leading_number(line))
                .unwrap_or(items.len()),
        };
        found(items.iter().take(MAX_ROWS).map(|line| shorten(line)).collect(), rows)
    }

    /// The section of `phrases/answers.txt` that speaks of results of this shape.
    pub fn section(&self) -> String {
        use Keyword::{
            Calculate, DescribeTable, ExplainError, GitDiff, GitLog, GitStatus, ListFiles, ReadFile, Recall, Remember,
            RunRust, SearchFiles, Sql,
        };
        if self.failed {
            return "answer.failed".to_owned();
        }
        let name = match self.tool {
            Sql => {
                let section = match (self.columns.len(), self.rows) {
                    (_, 0) => "answer.empty",
                    (1, 1) => "answer.value",
                    (2, 1) => "answer.pair",
                    (_, 1) => "answer.row",
                    (1, _) => "answer.list",
                    (2, _) => "answer.pairs",
                    _ => "answer.table",
                };
                return section.to_owned();
            }
            DescribeTable => "describe_table",
            GitStatus => "git_status",
            GitLog => "git_log",
            GitDiff => "git_diff",
            ListFiles => "list_files",
            ReadFile => "read_file",
            SearchFiles => "search_files",
            RunRust => "run_rust",
            Calculate => "calculate",
            Remember => "remember",
            Recall => "recall",
            ExplainError => "explain_error",
            _ => "search_docs",
        };
        let singular = matches!(self.tool, GitStatus | GitLog | ListFiles | ReadFile | SearchFiles);
        match self.rows {
            0 => format!("answer.{name}.empty"),
            1 if singular => format!("answer.{name}.one"),
            _ => format!("answer.{name}"),
        }
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
        pieces.push(Piece::Text(
            ["zero", "one", "two", "three", "four"].get(self.columns.len()).unwrap_or(&"many").to_string(),
        ));
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

/// A line of a patch that adds or removes.
fn is_changed_line(line: &str) -> bool {
    (line.starts_with('+') && !line.starts_with("+++")) || (line.starts_with('-') && !line.starts_with("---"))
}

/// A template of an answer as pieces: `<A>` is the first cell, `<N>` the number of rows. `None`
/// where it speaks of a cell that is not there.
pub fn pieces(template: &str, references: &[Token]) -> Option<Vec<Piece>> {
    let spaced = template.replace('<', " <").replace('>', "> ");
    let words =
        spaced.split_whitespace().map(|word| match word.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            Some("N") => Some(Piece::Token(Keyword::Rows.token())),
            Some(slot) => {
                let index = slot.bytes().next().map_or(0, |letter| usize::from(letter.saturating_sub(b'A')));
                references.get(index).map(|token| Piece::Token(*token))
            }
            None => Some(Piece::Text(word.to_lowercase())),
        });
    let mut pieces = words.collect::<Option<Vec<_>>>()?;
    pieces.push(Piece::Token(Keyword::End.token()));
    Some(pieces)
}

/// `(12 rows)`, `12 rows, first 50 shown` and the like.
fn count_line(line: &str) -> Option<usize> {
    let lower = line.trim().trim_start_matches('(').to_lowercase();
    (lower.contains(" row") && !line.contains(" | ")).then(|| leading_number(&lower)).flatten()
}

fn leading_number(line: &str) -> Option<usize> {
    let digits: String =
        line.trim().chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(char::is_ascii_digit).collect();
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

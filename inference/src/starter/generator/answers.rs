//! Answers: a request, what a tool returned, and a sentence that says what was found.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::Example;
use crate::starter::answering::{Findings, MAX_CELLS};
use crate::starter::linking::{Numbering, Piece};
use crate::starter::notation::{Keyword, Kind};
use crate::starter::phrases::Phrases;

/// A result of a random shape, and the answer to it. The cells' own words do not matter:
/// answers speak of them by reference.
pub(super) fn example(phrases: &Phrases, random: &mut ChaCha8Rng) -> Example {
    let (tool, section, columns, rows) = shape(random);
    let failed = section == "answer.failed";
    let cells: Vec<String> = (0..columns * rows.min(3).max(1)).map(|_| cell(phrases, random)).collect();
    let names: Vec<String> = (0..columns).map(|_| phrases.pick("things", random).to_lowercase()).collect();
    let cells = if rows == 0 { Vec::new() } else { cells };
    let findings = Findings { tool, failed, columns: names, cells: cells.into_iter().take(MAX_CELLS).collect(), rows };
    let mut numbering = Numbering::with(|pool| pool.shuffle(random));
    let (prompt, references) = findings.prompt(&mut numbering);
    let reference = |index: usize| references.get(index).copied().unwrap_or(Kind::Cell.token(0));
    let text = phrases.expand(&section, random, &mut |slot| format!(" <{slot}> "));
    let mut target = Vec::new();
    for word in text.replace('<', " <").replace('>', "> ").split_whitespace() {
        match word.trim_matches(['<', '>']) {
            "N" if word.starts_with('<') => target.push(Piece::Token(Keyword::Rows.token())),
            slot if word.starts_with('<') => target.push(Piece::Token(reference(slot.chars().next().map_or(0, |letter| (letter as usize).saturating_sub('A' as usize))))),
            _ => target.push(Piece::Text(word.to_lowercase())),
        }
    }
    target.push(Piece::Token(Keyword::End.token()));
    Example { prompt, target, request: text }
}

fn shape(random: &mut impl Rng) -> (Keyword, String, usize, usize) {
    use Keyword::{Calculate, DescribeTable, ExplainError, GitDiff, GitLog, GitStatus, ListFiles, ReadFile, Recall, Remember, RunRust, SearchDocs, SearchFiles, Sql};
    let tool = *[Sql, Sql, Sql, Sql, Sql, DescribeTable, GitStatus, GitLog, GitDiff, ListFiles, ReadFile, SearchFiles, RunRust, Calculate, Remember, Recall, ExplainError, SearchDocs].choose(random).unwrap_or(&Sql);
    if random.random_bool(0.06) {
        return (tool, "answer.failed".to_owned(), 1, 1);
    }
    let rows = *[0, 1, 1, 1, 2, 3, 4, 7, 20].choose(random).unwrap_or(&1);
    let name = match tool {
        Sql => {
            let columns = random.random_range(1..=4);
            let section = match (columns, rows) {
                (_, 0) => "answer.empty",
                (1, 1) => "answer.value",
                (2, 1) => "answer.pair",
                (_, 1) => "answer.row",
                (1, _) => "answer.list",
                (2, _) => "answer.pairs",
                _ => "answer.table",
            };
            return (tool, section.to_owned(), columns, rows);
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
    let always_one = matches!(tool, RunRust | Calculate | Remember | ExplainError);
    let rows = if always_one { 1 } else { rows };
    let section = if rows == 0 { format!("answer.{name}.empty") } else { format!("answer.{name}") };
    (tool, section, 1, rows)
}

fn cell(phrases: &Phrases, random: &mut impl Rng) -> String {
    match random.random_range(0..4) {
        0 => random.random_range(0..100_000).to_string(),
        1 => format!("{:.2}", random.random_range(0.0..5000.0)),
        2 => phrases.pick("people", random),
        _ => phrases.pick("things", random),
    }
}

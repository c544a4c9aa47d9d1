//! Answers: a request, what a tool returned, and a sentence that says what was found.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::Example;
use crate::starter::answering::{self, Findings, MAX_CELLS};
use crate::starter::linking::{Numbering, Piece};
use crate::starter::notation::Keyword;
use crate::starter::phrases::Phrases;

/// A result of a random shape, and the answer to it. The cells' own words do not matter:
/// answers speak of them by reference.
pub(super) fn example(phrases: &Phrases, random: &mut ChaCha8Rng) -> Example {
    let (findings, template) = loop {
        let findings = findings(phrases, random);
        let template = phrases.expand(&findings.section(), random, &mut |slot| format!("<{slot}>"));
        if !template.is_empty() {
            break (findings, template);
        }
    };
    let mut numbering = Numbering::with(|pool| pool.shuffle(random));
    let (prompt, references) = findings.prompt(&mut numbering);
    let target = answering::pieces(&template, &references).unwrap_or_else(|| vec![Piece::Token(Keyword::End.token())]);
    Example { prompt, target, request: template }
}

fn findings(phrases: &Phrases, random: &mut ChaCha8Rng) -> Findings {
    use Keyword::{
        Calculate, DescribeTable, ExplainError, GitDiff, GitLog, GitStatus, ListFiles, ReadFile, Recall, Remember,
        RunRust, SearchDocs, SearchFiles, Sql,
    };
    let tool = *[
        Sql,
        Sql,
        Sql,
        Sql,
        Sql,
        DescribeTable,
        GitStatus,
        GitLog,
        GitDiff,
        ListFiles,
        ReadFile,
        SearchFiles,
        RunRust,
        Calculate,
        Remember,
        Recall,
        ExplainError,
        SearchDocs,
    ]
    .choose(random)
    .unwrap_or(&Sql);
    let failed = random.random_bool(0.06);
    let rows = match tool {
        RunRust | Calculate | Remember | ExplainError => 1,
        _ if failed => 1,
        _ => *[0, 1, 1, 1, 2, 3, 4, 7, 20].choose(random).unwrap_or(&1),
    };
    let width = if tool == Sql && !failed { random.random_range(1..=4) } else { 0 };
    let columns: Vec<String> = (0..width).map(|_| phrases.pick("things", random).to_lowercase()).collect();
    let cells = (0..width.max(1) * rows.min(3)).take(MAX_CELLS).map(|_| cell(phrases, random)).collect();
    Findings { tool, failed, columns, cells, rows }
}

fn cell(phrases: &Phrases, random: &mut impl Rng) -> String {
    match random.random_range(0..4) {
        0 => random.random_range(0..100_000).to_string(),
        1 => format!("{:.2}", random.random_range(0.0..5000.0)),
        2 => phrases.pick("people", random),
        _ => phrases.pick("things", random),
    }
}

//! Which cells ran, what they made and what they read: so that an agent knows which results are
//! older than what they were computed from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

/// Older runs are forgotten.
const MOST_RUNS: usize = 1_000;
/// Of a cell's first line.
const LONGEST_LINE: usize = 60;

/// The runs of a session, oldest first.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    count: u32,
    /// The front end's name of the cell, else its source: what a later run replaces.
    cell: String,
    first_line: String,
    made: BTreeSet<String>,
    read: BTreeSet<String>,
}

/// A cell whose result is out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleCell {
    pub count: u32,
    pub first_line: String,
    /// What it read, and the execution that made it anew.
    pub changed: Vec<(String, u32)>,
}

impl Runs {
    /// Notes an execution, in order. `cell` is the front end's identifier, where it sends one.
    pub fn note(&mut self, count: u32, cell: Option<&str>, code: &str) {
        let made = made(code);
        let mut read = BTreeSet::new();
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for word in WORD.iter().flat_map(|pattern| pattern.find_iter(code)) {
            *times.entry(word.as_str()).or_default() += 1;
        }
        for (word, times) in times {
            // Where it is made, its name stands once.
            let name = word.to_lowercase();
            if times > usize::from(made.contains(&name)) {
                read.insert(name);
            }
        }
        let first_line = code.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        self.runs.push(Run {
            count,
            cell: cell.unwrap_or(code).to_owned(),
            first_line: first_line.chars().take(LONGEST_LINE).collect(),
            made,
            read,
        });
        let surplus = self.runs.len().saturating_sub(MOST_RUNS);
        self.runs.drain(..surplus);
    }

    /// Cells that read something which a later run of another cell made anew, oldest first.
    pub fn stale(&self) -> Vec<StaleCell> {
        let is_latest = |index: usize, run: &Run| !self.runs.iter().skip(index + 1).any(|later| later.cell == run.cell);
        let stale = self.runs.iter().enumerate().filter(|(index, run)| is_latest(*index, run)).map(|(index, run)| {
            let earlier = self.runs.get(..index).unwrap_or_default();
            let later = self.runs.get(index + 1..).unwrap_or_default();
            let was_made = |name: &String| earlier.iter().any(|other| other.made.contains(name));
            let made_anew = |name: &String| {
                let by = later.iter().rev().find(|other| other.cell != run.cell && other.made.contains(name))?;
                Some((name.clone(), by.count))
            };
            let changed: Vec<(String, u32)> =
                run.read.iter().filter(|name| was_made(name)).filter_map(made_anew).collect();
            StaleCell { count: run.count, first_line: run.first_line.clone(), changed }
        });
        stale.filter(|cell| !cell.changed.is_empty()).collect()
    }
}

impl StaleCell {
    /// A line for a model or a person.
    pub fn line(&self) -> String {
        let changed: Vec<String> =
            self.changed.iter().map(|(name, count)| format!("{name}, made anew by [{count}]")).collect();
        format!("- [{}] `{}` read {}", self.count, self.first_line, changed.join("; "))
    }
}

static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{L}_][\p{L}\p{N}_]*").ok());

/// What makes or changes something of a name, in SQL, Rust and our own magics.
static MAKING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?imx)
        \bcreate\s+(?:or\s+replace\s+)?(?:temp(?:orary)?\s+)?(?:table|view|macro|function|sequence)\s+(?:if\s+not\s+exists\s+)?"?(?P<created>[\p{L}_][\p{L}\p{N}_]*)
        | \b(?:insert\s+(?:or\s+\w+\s+)?into|delete\s+from|drop\s+(?:table|view)(?:\s+if\s+exists)?|alter\s+table|truncate)\s+"?(?P<changed>[\p{L}_][\p{L}\p{N}_]*)
        | \bupdate\s+"?(?P<updated>[\p{L}_][\p{L}\p{N}_]*)"?\s+set\b
        | \b(?:let(?:\s+mut)?|fn|struct|enum|trait|type|const|static|union|mod)\s+(?P<defined>[\p{L}_][\p{L}\p{N}_]*)
        | ^\s*%%?set\s+(?P<set>[\p{L}_][\p{L}\p{N}_]*)
        "#,
    )
    .ok()
});

fn made(code: &str) -> BTreeSet<String> {
    let captures = MAKING.iter().flat_map(|pattern| pattern.captures_iter(code));
    captures
        .flat_map(|found| found.iter().skip(1).flatten().map(|name| name.as_str().to_lowercase()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{MAKING, Runs, WORD, made};

    #[test]
    fn what_a_cell_makes_is_seen() {
        assert!(WORD.is_some() && MAKING.is_some());
        let made_by = |code: &str| made(code).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(
            made_by("%%sql\nCREATE OR REPLACE TEMP TABLE Sales AS FROM 'a.csv'; insert into log values (1)"),
            "log sales"
        );
        assert_eq!(made_by("let mut total = 1;\nfn area(r: f64) -> f64 { r }\nstruct P;"), "area p total");
        assert_eq!(made_by("update sales set x = 1; delete from old"), "old sales");
        assert_eq!(made_by("%set month March"), "month");
        assert_eq!(made_by("%%sql\nselect * from sales"), "");
    }

    #[test]
    fn a_cell_is_stale_when_what_it_read_was_made_anew() {
        let mut runs = Runs::default();
        runs.note(1, Some("a"), "%%sql\ncreate or replace table sales as from 'a.csv'");
        runs.note(2, Some("b"), "%%sql\nselect sum(amount) from sales");
        runs.note(3, Some("c"), "let tax = 0.2;");
        assert_eq!(runs.stale(), []);
        runs.note(4, Some("a"), "%%sql\ncreate or replace table sales as from 'b.csv'");
        let stale = runs.stale();
        assert_eq!(stale.len(), 1);
        assert_eq!(stale[0].line(), "- [2] `%%sql` read sales, made anew by [4]");
        runs.note(5, Some("b"), "%%sql\nselect sum(amount) from sales");
        assert_eq!(runs.stale(), []);
    }

    #[test]
    fn a_cell_that_changes_what_it_reads_is_not_its_own_victim() {
        let mut runs = Runs::default();
        runs.note(1, None, "let mut total = 1;");
        runs.note(2, None, "let total = total + 1;");
        runs.note(3, None, "println!(\"{total}\")");
        assert_eq!(runs.stale(), []);
        runs.note(4, None, "let total = total + 1;");
        let stale: Vec<u32> = runs.stale().iter().map(|cell| cell.count).collect();
        assert_eq!(stale, [3]);
    }
}

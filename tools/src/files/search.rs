//! Finding text in files.

use std::io::{BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::path::Path;

use regex::bytes::{Regex, RegexBuilder};
use rustix::fs::FileType;

use super::open::Opened;
use super::read::{HEAD, Lines, LinesError, binary_kind};
use super::{FileError, Workspace, looks_secret, shown};

/// What to look for, made from what was asked.
#[derive(Debug, Clone)]
pub struct Query(Regex);

impl Query {
    /// Text as it is. Written in lower case only, it matches any case.
    pub fn literal(text: &str) -> Result<Self, FileError> {
        let any_case = !text.chars().any(char::is_uppercase);
        Self::build(&regex::escape(text), any_case)
    }

    /// A regular expression in Rust's syntax, matched against each line.
    pub fn regex(expression: &str) -> Result<Self, FileError> {
        Self::build(expression, false)
    }

    fn build(expression: &str, any_case: bool) -> Result<Self, FileError> {
        if expression.is_empty() {
            return Err(FileError::InvalidArgument("the query is empty; say what to look for".to_owned()));
        }
        RegexBuilder::new(expression)
            .case_insensitive(any_case)
            .build()
            .map(Self)
            .map_err(|error| FileError::InvalidArgument(format!("not a valid regular expression: {error}")))
    }
}

/// Where a query was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResult {
    /// At most as many as were asked for.
    pub matches: Vec<Match>,
    /// How many lines match, shown or not.
    pub total: usize,
    pub files_with_matches: usize,
    pub files_searched: usize,
    pub skipped_binary: usize,
    pub skipped_secret: usize,
    /// False where the workspace was too large to search all of it.
    pub complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    pub path: String,
    pub line: usize,
    /// The line, or as much of it around the match as fits.
    pub text: String,
}

impl Workspace {
    /// Lines longer than this are searched up to here.
    const LONGEST_SEARCHED_LINE: usize = 1 << 20;
    const MOST_SEARCHED: u64 = 2 << 30;

    /// Searches a file, or all files beneath a folder that are not ignored.
    pub fn search(
        &self,
        path: &str,
        query: &Query,
        limit: usize,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<SearchResult, FileError> {
        let relative = self.relative(path)?;
        let mut search = Search::new(query, limit, interrupted);
        match self.open_at(&relative)? {
            Opened::File { file, .. } => search.file(&relative, file)?,
            Opened::Folder(folder) => {
                let mut failure = None;
                self.walk(&folder, &relative, interrupted, &mut |found| {
                    if found.kind != FileType::RegularFile {
                        return ControlFlow::Continue(());
                    }
                    if looks_secret(found.path) {
                        search.result.skipped_secret += 1;
                        return ControlFlow::Continue(());
                    }
                    let Some((file, _)) = found.open() else {
                        return ControlFlow::Continue(());
                    };
                    match search.file(found.path, file) {
                        Ok(()) if search.searched > Self::MOST_SEARCHED => {
                            search.result.complete = false;
                            ControlFlow::Break(())
                        }
                        Ok(()) => ControlFlow::Continue(()),
                        Err(error) => {
                            failure = Some(error);
                            ControlFlow::Break(())
                        }
                    }
                })?;
                if let Some(error) = failure {
                    return Err(error);
                }
            }
        }
        Ok(search.result)
    }
}

struct Search<'a> {
    query: &'a Query,
    limit: usize,
    interrupted: &'a dyn Fn() -> bool,
    searched: u64,
    result: SearchResult,
}

impl<'a> Search<'a> {
    fn new(query: &'a Query, limit: usize, interrupted: &'a dyn Fn() -> bool) -> Self {
        let result = SearchResult {
            matches: Vec::new(),
            total: 0,
            files_with_matches: 0,
            files_searched: 0,
            skipped_binary: 0,
            skipped_secret: 0,
            complete: true,
        };
        Self { query, limit, interrupted, searched: 0, result }
    }

    /// A file that cannot be read is passed over; only an interrupt is an error.
    fn file(&mut self, path: &Path, mut file: std::fs::File) -> Result<(), FileError> {
        if (self.interrupted)() {
            return Err(FileError::Interrupted);
        }
        let mut head = Vec::new();
        if Read::by_ref(&mut file).take(HEAD).read_to_end(&mut head).is_err() || file.rewind().is_err() {
            return Ok(());
        }
        if binary_kind(&head, path).is_some() {
            self.result.skipped_binary += 1;
            return Ok(());
        }
        self.result.files_searched += 1;
        let before = self.result.total;
        let mut lines = Lines::new(BufReader::with_capacity(1 << 17, file), Workspace::LONGEST_SEARCHED_LINE);
        let mut number = 0;
        loop {
            let line = match lines.next(self.interrupted) {
                Ok(Some(line)) => line.bytes,
                Ok(None) | Err(LinesError::Io(_)) => break,
                Err(LinesError::Interrupted) => return Err(FileError::Interrupted),
            };
            number += 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(found) = self.query.0.find(line) else {
                continue;
            };
            self.result.total += 1;
            if self.result.matches.len() < self.limit {
                let text = around(line, found.start(), found.end());
                self.result.matches.push(Match { path: shown(path), line: number, text });
            }
        }
        self.searched += lines.consumed;
        self.result.files_with_matches += usize::from(self.result.total > before);
        Ok(())
    }
}

/// The part of a line around a match, at most about 240 bytes.
fn around(line: &[u8], start: usize, end: usize) -> String {
    const WIDTH: usize = 240;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if line.len() <= WIDTH {
        return text(line).trim_end().to_owned();
    }
    let matched = (end - start).min(WIDTH);
    let from = start.saturating_sub((WIDTH - matched) / 2);
    let until = (from + WIDTH).min(line.len());
    // Move inwards to where characters begin.
    let is_start = |index: &usize| line.get(*index).is_none_or(|byte| byte & 0xc0 != 0x80);
    let from = (from..=start).find(is_start).unwrap_or(start);
    let until = (from..=until).rev().find(is_start).unwrap_or(until);
    let before = if from > 0 { "…" } else { "" };
    let after = if until < line.len() { "…" } else { "" };
    format!("{before}{}{after}", text(&line[from..until]).trim_end())
}

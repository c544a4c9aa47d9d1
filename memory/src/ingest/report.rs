//! How far the work is, and what came of it.

use std::time::Duration;

/// How far the work is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files looked at, of those there are.
    pub files: usize,
    pub total_files: usize,
    /// Pieces kept so far.
    pub chunks: usize,
    /// Bytes read so far.
    pub bytes: u64,
    /// Pieces that have their vector, of those that need one; both 0 before that begins.
    pub embedded: usize,
    pub to_embed: usize,
    /// What is read at the moment.
    pub current: String,
}

/// Something that did not go in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub origin: String,
    pub reason: String,
    /// It should have gone in: not left out on purpose.
    pub is_failure: bool,
}

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Documents that were not there before.
    pub added: usize,
    pub changed: usize,
    pub unchanged: usize,
    /// Documents whose file is gone.
    pub removed: usize,
    /// Pieces of what was added or changed.
    pub chunks: usize,
    /// Bytes that were read.
    pub bytes: u64,
    pub problems: Vec<Problem>,
    /// It was stopped; the same request goes on from there.
    pub interrupted: bool,
    pub elapsed: Duration,
}

impl Report {
    /// What should have gone in and did not.
    pub fn failures(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.is_failure)
    }

    /// What was left out on purpose: each reason, how many it met, and the first of them.
    pub fn left_out(&self) -> Vec<(&str, usize, &str)> {
        let mut reasons: Vec<(&str, usize, &str)> = Vec::new();
        for problem in self.problems.iter().filter(|problem| !problem.is_failure) {
            match reasons.iter_mut().find(|(reason, _, _)| *reason == problem.reason) {
                Some((_, count, _)) => *count += 1,
                None => reasons.push((&problem.reason, 1, &problem.origin)),
            }
        }
        reasons
    }

    pub(super) fn leave_out(&mut self, origin: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(Problem { origin: origin.into(), reason: reason.into(), is_failure: false });
    }

    pub(super) fn fail(&mut self, origin: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(Problem { origin: origin.into(), reason: reason.into(), is_failure: true });
    }
}

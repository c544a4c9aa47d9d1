//! Which commits there are.

use std::collections::HashMap;
use std::path::Path;

use chrono::{DateTime, FixedOffset, TimeZone, Utc};
use git2::{Oid, ReferenceType, RevparseMode, Sort};
use serde::Serialize;

use super::GitError;
use super::repository::{Opened, short_id};

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    pub max_count: usize,
    /// Only commits that changed this file or folder.
    pub path: Option<String>,
    /// A branch, tag, commit or range (`main..feature`) instead of HEAD.
    pub revision: Option<String>,
    /// `path` must lie in the folder, not just in the repository.
    pub confined: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { max_count: 20, path: None, revision: None, confined: false }
    }
}

/// Commits, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    pub commits: Vec<Commit>,
    /// There are more than were asked for.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// The full hash.
    pub id: String,
    /// As short as is unambiguous.
    pub short_id: String,
    pub author: Person,
    /// When the change was written, in the author's time zone.
    pub authored: DateTime<FixedOffset>,
    pub committer: Person,
    pub committed: DateTime<FixedOffset>,
    /// The first line of the message.
    pub subject: String,
    /// The rest of it.
    pub body: String,
    /// Full hashes; more than one for a merge.
    pub parents: Vec<String>,
    /// What points here.
    pub labels: Vec<Label>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    pub name: String,
    pub email: String,
}

/// A name that points at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    pub kind: LabelKind,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum LabelKind {
    /// HEAD; the name is that of its branch, or `HEAD` where it is detached.
    Head,
    Branch,
    Remote,
    Tag,
}

/// Lists commits, newest first.
pub fn log(folder: &Path, options: &LogOptions) -> Result<Log, GitError> {
    let opened = Opened::new(folder)?;
    let repository = &opened.repository;
    let path = options.path.as_deref().map(|path| opened.path(path, options.confined)).transpose()?;
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TIME)?;
    match options.revision.as_deref() {
        Some(range) if range.contains("..") => {
            let (hidden, start) = opened.range(range)?;
            walk.push(start)?;
            walk.hide(hidden)?;
        }
        Some(revision) => walk.push(opened.find_commit(revision)?.id())?,
        None => walk.push(opened.head_commit()?.ok_or(GitError::NoCommits)?.id())?,
    }
    let labels = Labels::of(&opened);
    let mut log = Log { commits: Vec::new(), more: false };
    for id in walk {
        let commit = repository.find_commit(id?)?;
        if let Some(path) = &path
            && !changes(&commit, path)?
        {
            continue;
        }
        if log.commits.len() == options.max_count {
            log.more = true;
            break;
        }
        log.commits.push(Commit::of(&commit, &labels));
    }
    match path {
        Some(path) if log.commits.is_empty() && options.revision.is_none() => {
            Err(opened.unknown_path(&path, "its history"))
        }
        _ => Ok(log),
    }
}

impl Opened {
    /// Both ends of `a..b` or `a...b`; an end left out is HEAD. With three dots the first
    /// end is where the two parted.
    pub(super) fn range(&self, range: &str) -> Result<(Oid, Oid), GitError> {
        let (from, to) = range.split_once("..").unwrap_or((range, ""));
        let (mode, to) = match to.strip_prefix('.') {
            Some(to) => (RevparseMode::MERGE_BASE, to),
            None => (RevparseMode::RANGE, to),
        };
        let or_head = |end: &str| if end.is_empty() { "HEAD".to_owned() } else { end.to_owned() };
        let (from, to) = (or_head(from), or_head(to));
        let (first, last) = (self.find_commit(&from)?.id(), self.find_commit(&to)?.id());
        if mode == RevparseMode::MERGE_BASE {
            let base = self
                .repository
                .merge_base(first, last)
                .map_err(|_| GitError::Other(format!("{from} and {to} have no commit in common")))?;
            return Ok((base, last));
        }
        Ok((first, last))
    }
}

/// Whether a commit has something else at `path` than each of its parents.
fn changes(commit: &git2::Commit<'_>, path: &Path) -> Result<bool, GitError> {
    let at = |commit: &git2::Commit<'_>| -> Result<Option<(Oid, i32)>, GitError> {
        Ok(commit.tree()?.get_path(path).ok().map(|entry| (entry.id(), entry.filemode())))
    };
    let here = at(commit)?;
    let mut any_parent = false;
    for parent in commit.parents() {
        any_parent = true;
        if at(&parent)? == here {
            return Ok(false);
        }
    }
    Ok(any_parent || here.is_some())
}

impl Commit {
    pub(super) fn of(commit: &git2::Commit<'_>, labels: &Labels) -> Self {
        let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
        let message = message.trim();
        let (subject, body) = message.split_once('\n').unwrap_or((message, ""));
        Self {
            id: commit.id().to_string(),
            short_id: short_id(commit.as_object()),
            author: Person::of(&commit.author()),
            authored: time(commit.author().when()),
            committer: Person::of(&commit.committer()),
            committed: time(commit.committer().when()),
            subject: subject.trim_end().to_owned(),
            body: body.trim().to_owned(),
            parents: commit.parent_ids().map(|id| id.to_string()).collect(),
            labels: labels.0.get(&commit.id()).cloned().unwrap_or_default(),
        }
    }

    /// The first line of a commit's message.
    pub(super) fn subject_of(commit: &git2::Commit<'_>) -> String {
        String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned()
    }
}

impl Person {
    pub(super) fn of(signature: &git2::Signature<'_>) -> Self {
        Self {
            name: String::from_utf8_lossy(signature.name_bytes()).into_owned(),
            email: String::from_utf8_lossy(signature.email_bytes()).into_owned(),
        }
    }
}

/// A commit can hold any number as its time; what is no date counts as 1970.
pub(super) fn time(time: git2::Time) -> DateTime<FixedOffset> {
    let utc = DateTime::<Utc>::from_timestamp(time.seconds(), 0).unwrap_or_default();
    let offset = time.offset_minutes().checked_mul(60).and_then(FixedOffset::east_opt);
    offset.map_or_else(|| utc.fixed_offset(), |offset| offset.from_utc_datetime(&utc.naive_utc()))
}

/// The names that point at commits.
pub(super) struct Labels(HashMap<Oid, Vec<Label>>);

impl Labels {
    pub(super) fn of(opened: &Opened) -> Self {
        /// Some repositories have a reference for every pull request there ever was.
        const MOST: usize = 10_000;
        let mut labels: HashMap<Oid, Vec<Label>> = HashMap::new();
        let head = opened.repository.head().ok();
        if let Some(head) = &head
            && let Ok(commit) = head.peel_to_commit()
        {
            let name = String::from_utf8_lossy(head.shorthand_bytes()).into_owned();
            labels.entry(commit.id()).or_default().push(Label { kind: LabelKind::Head, name });
        }
        let Ok(references) = opened.repository.references() else {
            return Self(labels);
        };
        for reference in references.flatten().take(MOST) {
            let kind = match () {
                () if reference.is_branch() => LabelKind::Branch,
                () if reference.is_remote() => LabelKind::Remote,
                () if reference.is_tag() => LabelKind::Tag,
                () => continue,
            };
            // origin/HEAD only repeats another name.
            let repeats = reference.kind() == Some(ReferenceType::Symbolic);
            let is_head = kind == LabelKind::Branch
                && head.as_ref().is_some_and(|head| head.name_bytes() == reference.name_bytes());
            if let Ok(commit) = reference.peel_to_commit()
                && !repeats
                && !is_head
            {
                let name = String::from_utf8_lossy(reference.shorthand_bytes()).into_owned();
                labels.entry(commit.id()).or_default().push(Label { kind, name });
            }
        }
        for at_commit in labels.values_mut() {
            at_commit.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        }
        Self(labels)
    }
}

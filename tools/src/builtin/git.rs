//! `git_status`, `git_log`, `git_diff`.
//!
//! They show what lies in the workspace, even where the repository is larger, and never
//! the contents of what looks like a secret.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Builtin, number, text, truth};
use crate::git::{self, Diff, DiffOptions, Head, Log, LogOptions, Status};
use crate::text::{bytes, count, visible};
use crate::{Tool, ToolContext, ToolDisplay, ToolError, ToolOutput};

pub(super) fn tools() -> Vec<Arc<dyn Tool>> {
    vec![git_status(), git_log(), git_diff()]
}

fn git_status() -> Arc<dyn Tool> {
    Builtin::reading(
        "git_status",
        "Show the git branch and which files are staged, changed, in conflict or untracked.",
        json!({}),
        &[],
        |_, context| {
            let folder = context.workspace.clone();
            let mut status = git::interruptible(&*context.interrupted, move || git::status(&folder))?;
            status.entries.retain(|entry| entry.inside);
            Ok(ToolOutput { text: describe_status(&status), display: ToolDisplay::Text })
        },
    )
}

fn describe_status(status: &Status) -> String {
    let mut output = describe_head(&status.head);
    if let Some(operation) = status.in_progress {
        output.push_str(&format!(" A {operation} is in progress."));
    }
    if status.is_clean() {
        output.push_str(" Nothing has changed: the working tree is clean.");
        return output;
    }
    let changed = |(entry, change): (&git::StatusEntry, git::Change)| match (&entry.from, change) {
        (Some(from), git::Change::Renamed) => format!("renamed: {from} -> {}", entry.path),
        _ => format!("{}: {}", change.describe(), entry.path),
    };
    let plain = |entry: &git::StatusEntry| entry.path.clone();
    group(&mut output, "In conflict", status.conflicted().map(plain).collect());
    group(&mut output, "Staged for commit", status.staged().map(changed).collect());
    group(&mut output, "Changed, not staged", status.unstaged().map(changed).collect());
    group(&mut output, "Untracked", status.untracked().map(plain).collect());
    output
}

fn group(output: &mut String, title: &str, lines: Vec<String>) {
    const MOST: usize = 60;
    if lines.is_empty() {
        return;
    }
    output.push_str(&format!("\n{title} ({}):", lines.len()));
    for line in lines.iter().take(MOST) {
        output.push_str(&format!("\n  {line}"));
    }
    if lines.len() > MOST {
        output.push_str(&format!("\n  … and {} more", lines.len() - MOST));
    }
}

fn describe_head(head: &Head) -> String {
    match head {
        Head::Unborn { name } => format!("On branch {name}, no commits yet."),
        Head::Detached { commit } => format!("Not on a branch: HEAD is detached at {commit}."),
        Head::Branch { name, upstream: None, .. } => format!("On branch {name}."),
        Head::Branch { name, upstream: Some(upstream), .. } => {
            let followed = &upstream.name;
            match upstream.ahead_behind {
                None => format!("On branch {name}, whose upstream {followed} is gone."),
                Some((0, 0)) => format!("On branch {name}, up to date with {followed}."),
                Some((ahead, 0)) => format!("On branch {name}, {ahead} ahead of {followed}."),
                Some((0, behind)) => format!("On branch {name}, {behind} behind {followed}."),
                Some((ahead, behind)) => format!("On branch {name}, {ahead} ahead of and {behind} behind {followed}."),
            }
        }
    }
}

fn git_log() -> Arc<dyn Tool> {
    Builtin::reading(
        "git_log",
        "List git commits, newest first: hash, date, author, subject.",
        json!({
            "max_count": {"type": "integer", "minimum": 1, "maximum": 200, "description": "how many commits; default 10"},
            "path": {"type": "string", "description": "only commits that changed this file or folder"},
            "branch": {"type": "string", "description": "branch, tag or range (main..feature); default: what is checked out"},
        }),
        &[],
        |arguments, context| {
            let options = LogOptions {
                max_count: number(arguments, "max_count").unwrap_or(10),
                path: text(arguments, "path").map(str::to_owned),
                revision: text(arguments, "branch").map(str::to_owned),
                confined: true,
            };
            let (folder, asked) = (context.workspace.clone(), options.clone());
            let log = git::interruptible(&*context.interrupted, move || git::log(&folder, &asked))?;
            Ok(describe_log(&log, &options))
        },
    )
}

fn describe_log(log: &Log, options: &LogOptions) -> ToolOutput {
    let mut about = String::new();
    if let Some(revision) = &options.revision {
        about.push_str(&format!(" on {}", visible(revision)));
    }
    if let Some(path) = &options.path {
        about.push_str(&format!(" that changed {}", visible(path)));
    }
    let mut output = match log.commits.len() {
        0 => format!("No commits{about}."),
        1 if log.more => format!("The last commit{about}:"),
        number if log.more => format!("The last {}{about}:", count(number, "commit")),
        number => format!("{}{about}:", count(number, "commit")),
    };
    let mut rows = Vec::new();
    for commit in &log.commits {
        let date = commit.authored.format("%Y-%m-%d %H:%M").to_string();
        let (author, subject) = (visible(&commit.author.name), visible(&commit.subject));
        let labels: Vec<&str> = commit.labels.iter().map(|label| label.name.as_str()).collect();
        let labels = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
        output.push_str(&format!("\n{} {date} {author}: {subject}{labels}", commit.short_id));
        rows.push(vec![commit.short_id.clone(), date, author, subject + &labels]);
    }
    if log.more {
        output.push_str("\n… and older ones.");
    }
    let total_rows = rows.len() + usize::from(log.more);
    let columns = ["commit", "date", "author", "subject"].map(str::to_owned).to_vec();
    ToolOutput { text: output, display: ToolDisplay::Table { columns, rows, total_rows } }
}

fn git_diff() -> Arc<dyn Tool> {
    Builtin::reading(
        "git_diff",
        "Show changes as a unified diff. Default: changes not staged yet. staged: what the next commit will hold. \
         from and to: between two commits, branches or tags (to left out: the files as they are).",
        json!({
            "path": {"type": "string", "description": "only this file or folder"},
            "staged": {"type": "boolean", "description": "what is staged instead; default false"},
            "from": {"type": "string", "description": "commit, branch or tag to compare from"},
            "to": {"type": "string", "description": "commit, branch or tag to compare to"},
        }),
        &[],
        diff,
    )
}

fn diff(arguments: &Value, context: &ToolContext) -> Result<ToolOutput, ToolError> {
    const MOST_BYTES: usize = 24_000;
    let owned = |name| text(arguments, name).map(str::to_owned);
    let options = DiffOptions {
        staged: truth(arguments, "staged"),
        from: owned("from"),
        to: owned("to"),
        paths: owned("path").into_iter().collect(),
        max_bytes: MOST_BYTES,
        confined: true,
        ..DiffOptions::default()
    };
    let (folder, asked) = (context.workspace.clone(), options.clone());
    let diff = git::interruptible(&*context.interrupted, move || git::diff(&folder, &asked))?;
    if diff.is_empty() {
        return Ok(ToolOutput { text: nothing_changed(&options, context)?, display: ToolDisplay::Text });
    }
    Ok(ToolOutput { text: describe_diff(&diff), display: ToolDisplay::Diff(diff.patch) })
}

fn describe_diff(diff: &Diff) -> String {
    const MOST_FILES: usize = 60;
    let mut output = format!("{}:", diff.summary());
    for file in diff.files.iter().take(MOST_FILES) {
        let what = match (&file.from, file.withheld, file.binary) {
            (Some(from), ..) => format!("renamed from {from}, +{} -{}", file.insertions, file.deletions),
            (None, true, _) => format!("{}, contents withheld: it may hold secrets", file.change.describe()),
            (None, _, true) => format!("{}, binary", file.change.describe()),
            _ => format!("{}, +{} -{}", file.change.describe(), file.insertions, file.deletions),
        };
        output.push_str(&format!("\n  {} ({what})", file.path));
    }
    if diff.files.len() > MOST_FILES {
        output.push_str(&format!("\n  … and {} more", diff.files.len() - MOST_FILES));
    }
    output.push_str("\n\n");
    output.push_str(visible(&diff.patch).trim_end_matches('\n'));
    if diff.omitted_bytes > 0 {
        output.push_str(&format!(
            "\n… {} of the diff left out; ask for one path at a time.",
            bytes(diff.omitted_bytes as u64)
        ));
    }
    output
}

/// An empty diff often means that the change was looked for in the wrong place.
fn nothing_changed(options: &DiffOptions, context: &ToolContext) -> Result<String, ToolError> {
    let place = options.paths.first().map(|path| format!(" in {path}")).unwrap_or_default();
    if options.from.is_some() || options.to.is_some() {
        return Ok(format!("No differences{place}."));
    }
    let folder = context.workspace.clone();
    let status = git::interruptible(&*context.interrupted, move || git::status(&folder))?;
    let (what, other, hint) = if options.staged {
        (
            "staged",
            status.unstaged().filter(|(entry, _)| entry.inside).count(),
            "changed but not staged: leave staged out to see them",
        )
    } else {
        (
            "unstaged",
            status.staged().filter(|(entry, _)| entry.inside).count(),
            "staged: pass staged = true to see them",
        )
    };
    let mut output = format!("No {what} changes{place}.");
    if other > 0 {
        output.push_str(&format!(" {} {hint}.", count(other, "file")));
    }
    let untracked = status.untracked().filter(|entry| entry.inside).count();
    if untracked > 0 && !options.staged {
        output.push_str(&format!(" {} untracked, which a diff does not show.", count(untracked, "entry")));
    }
    Ok(output)
}

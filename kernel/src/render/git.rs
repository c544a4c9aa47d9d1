//! What git says, as people like to see it.

mod history;

use codriver_tools::git::{Branches, Change, Committed, Diff, Head, Status, StatusEntry, Upstream};
use codriver_tools::text::{bytes, count, visible};

use crate::render::diff::unified;
use crate::render::table::escape;
use crate::session::MimeBundle;

pub use history::{blame, log, show};

const MUTED: &str = "var(--jp-content-font-color2,#808080)";
const GREEN: &str = "var(--jp-success-color1,#2e9f4b)";
const RED: &str = "var(--jp-error-color1,#d9534f)";
const AMBER: &str = "var(--jp-warn-color1,#c98a00)";
const BLUE: &str = "var(--jp-info-color1,#2a8fbd)";
const CODE: &str = "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);";
const CELL: &str = "text-align:left;vertical-align:top;padding:2px 12px 2px 4px;border:none;";

/// More entries than this of a group are counted, not listed.
const MOST_ENTRIES: usize = 200;

/// Grouped and coloured: what is staged, what is not, what git does not know yet.
pub fn status(status: &Status) -> MimeBundle {
    let mut page = Page::default();
    page.head(&status.head);
    if let Some(operation) = status.in_progress {
        page.line(AMBER, "33", &format!("A {operation} is in progress."));
    }
    if status.is_clean() {
        page.line(MUTED, "2", "Nothing to commit, the working tree is clean.");
    }
    let changed = |(entry, change): (&StatusEntry, Change)| (change.describe(), path(entry));
    page.group("In conflict", AMBER, "33", status.conflicted().map(|entry| ("both changed", path(entry))).collect());
    page.group("Staged for commit", GREEN, "32", status.staged().map(changed).collect());
    page.group("Changed, not staged", RED, "31", status.unstaged().map(changed).collect());
    page.group("Untracked", MUTED, "31", status.untracked().map(|entry| ("", path(entry))).collect());
    page.finish()
}

fn path(entry: &StatusEntry) -> String {
    match &entry.from {
        Some(from) => format!("{from} → {}", entry.path),
        None => entry.path.clone(),
    }
}

/// A diff by file, with what was left out of it.
pub fn diff(diff: &Diff) -> MimeBundle {
    if diff.is_empty() {
        return unified("");
    }
    let bundle = unified(&diff.patch);
    let mut page = Page::default();
    page.line(MUTED, "2", &diff.summary());
    page.append(&bundle);
    if diff.omitted_bytes > 0 {
        let left_out = bytes(diff.omitted_bytes as u64);
        page.line(AMBER, "33", &format!("… {left_out} of the diff are left out; name a path to see its part."));
    }
    page.finish()
}

/// Local branches, then those of remotes, with what they follow.
pub fn branches(branches: &Branches) -> MimeBundle {
    let mut page = Page::default();
    if !matches!(branches.head, Head::Branch { .. }) {
        page.head(&branches.head);
    }
    let mut rows = Vec::new();
    for branch in &branches.branches {
        let (colour, code) = match (branch.is_head, branch.remote) {
            (true, _) => (GREEN, "32"),
            (_, true) => (RED, "31"),
            _ => ("inherit", "0"),
        };
        let marker = if branch.is_head { "*" } else { " " };
        let (name, subject) = (visible(&branch.name), visible(&branch.subject));
        let following = branch.upstream.as_ref().map(follows).unwrap_or_default();
        let date = branch.committed.format("%Y-%m-%d").to_string();
        page.plain.push_str(&format!("{marker} \x1b[{code}m{name}\x1b[0m {} {subject}", branch.short_id));
        if !following.is_empty() {
            page.plain.push_str(&format!(" [{following}]"));
        }
        page.plain.push('\n');
        let weight = if branch.is_head { "bold" } else { "normal" };
        rows.push(vec![
            format!("<span style=\"color:{GREEN}\">{}</span>", marker.trim()),
            format!("<span style=\"{CODE}color:{colour};font-weight:{weight}\">{}</span>", escape(&name)),
            format!("<span style=\"color:{MUTED}\">{}</span>", escape(&following)),
            format!("<span style=\"{CODE}color:{AMBER}\">{}</span>", escape(&branch.short_id)),
            date,
            escape(&subject),
        ]);
    }
    if rows.is_empty() {
        page.line(MUTED, "2", "No branches yet: the first commit makes one.");
    } else {
        page.html.push_str(&table(&["", "branch", "follows", "commit", "date", "subject"], &rows));
    }
    page.finish()
}

/// The commit that was just made.
pub fn committed(committed: &Committed) -> MimeBundle {
    let commit = &committed.commit;
    let place = match &committed.head {
        Head::Branch { name, .. } | Head::Unborn { name } => visible(name),
        Head::Detached { .. } => "detached HEAD".to_owned(),
    };
    let first = if commit.parents.is_empty() { " (first commit)" } else { "" };
    let subject = visible(&commit.subject);
    let mut page = Page::default();
    page.html.push_str(&format!(
        "<div><span style=\"{CODE}color:{AMBER}\">{}</span> <b>{}</b> <span style=\"color:{MUTED}\">on {}{first}</span></div>",
        escape(&commit.short_id),
        escape(&subject),
        escape(&place),
    ));
    page.plain.push_str(&format!("[{place}{first} \x1b[33m{}\x1b[0m] {subject}\n", commit.short_id));
    page.line(MUTED, "0", &committed.diff.summary());
    for note in &committed.notes {
        page.line(AMBER, "33", note);
    }
    page.finish()
}

/// HTML and plain text that say the same, written side by side.
#[derive(Default)]
struct Page {
    html: String,
    plain: String,
}

impl Page {
    /// One line in a colour: CSS for HTML, an SGR code for plain text.
    fn line(&mut self, colour: &str, code: &str, text: &str) {
        let text = visible(text);
        self.html.push_str(&format!("<div style=\"color:{colour}\">{}</div>", escape(&text)));
        self.plain.push_str(&format!("\x1b[{code}m{text}\x1b[0m\n"));
    }

    fn head(&mut self, head: &Head) {
        let (name, rest) = match head {
            Head::Unborn { name } => (visible(name), "no commits yet".to_owned()),
            Head::Detached { commit } => ("HEAD".to_owned(), format!("detached at {commit}, not on a branch")),
            Head::Branch { name, upstream, .. } => (visible(name), upstream.as_ref().map(follows).unwrap_or_default()),
        };
        let separator = if rest.is_empty() { "" } else { " · " };
        self.html.push_str(&format!(
            "<div><b style=\"{CODE}color:{GREEN}\">{}</b><span style=\"color:{MUTED}\">{separator}{}</span></div>",
            escape(&name),
            escape(&rest)
        ));
        self.plain.push_str(&format!("\x1b[1;32m{name}\x1b[0m{separator}{rest}\n"));
    }

    fn group(&mut self, title: &str, colour: &str, code: &str, entries: Vec<(&str, String)>) {
        if entries.is_empty() {
            return;
        }
        let total = entries.len();
        self.html.push_str(&format!(
            "<div style=\"margin-top:6px\"><b>{title}</b> <span style=\"color:{MUTED}\">{total}</span></div><div style=\"{CODE}color:{colour};padding-left:1.5em;white-space:pre-wrap\">"
        ));
        self.plain.push_str(&format!("{title} ({total}):\n"));
        let widest = entries.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
        for (what, path) in entries.iter().take(MOST_ENTRIES) {
            let what = if widest == 0 { String::new() } else { format!("{what:widest$}  ") };
            self.html.push_str(&format!("<div>{what}{}</div>", escape(path)));
            self.plain.push_str(&format!("  \x1b[{code}m{what}{path}\x1b[0m\n"));
        }
        self.html.push_str("</div>");
        if total > MOST_ENTRIES {
            self.line(MUTED, "2", &format!("  … and {} more", total - MOST_ENTRIES));
        }
    }

    fn append(&mut self, bundle: &MimeBundle) {
        self.html.push_str(bundle.data.get("text/html").and_then(serde_json::Value::as_str).unwrap_or_default());
        self.plain.push_str(bundle.text());
        self.plain.push('\n');
    }

    fn finish(mut self) -> MimeBundle {
        self.plain.truncate(self.plain.trim_end_matches('\n').len());
        MimeBundle::html(format!("<div class=\"codriver-git\">{}</div>", self.html), self.plain)
    }
}

/// `2 ahead of and 1 behind origin/main`.
fn follows(upstream: &Upstream) -> String {
    let name = visible(&upstream.name);
    match upstream.ahead_behind {
        None => format!("{name} (gone)"),
        Some((0, 0)) => format!("up to date with {name}"),
        Some((ahead, 0)) => format!("{} ahead of {name}", count(ahead, "commit")),
        Some((0, behind)) => format!("{} behind {name}", count(behind, "commit")),
        Some((ahead, behind)) => format!("{ahead} ahead of and {behind} behind {name}"),
    }
}

/// A table of cells that are HTML already.
fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = String::from(
        "<div style=\"overflow-x:auto\"><table style=\"border-collapse:collapse;table-layout:auto;margin:0\"><thead><tr>",
    );
    for column in columns {
        html.push_str(&format!("<th style=\"{CELL}color:{MUTED};font-weight:normal\">{}</th>", escape(column)));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            html.push_str(&format!("<td style=\"{CELL}\">{cell}</td>"));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

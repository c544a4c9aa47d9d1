//! Commits: lists of them, one of them, and the lines they left.

use chrono::{DateTime, FixedOffset, Utc};
use codriver_tools::git::{Blame, BlameLine, Commit, Label, LabelKind, Log, Shown};
use codriver_tools::text::{count, thousands, visible};

use super::{AMBER, BLUE, CELL, CODE, GREEN, MUTED, Page, RED, diff, table};
use crate::render::table::escape;
use crate::session::MimeBundle;

/// More lines of a file than this are counted, not shown.
const MOST_LINES: usize = 4000;

/// Commits as a table, newest first.
pub fn log(log: &Log) -> MimeBundle {
    let now = Utc::now();
    let mut page = Page::default();
    let mut rows = Vec::new();
    for commit in &log.commits {
        let subject = visible(&commit.subject);
        page.plain.push_str(&format!(
            "\x1b[33m{}\x1b[0m {} \x1b[2m{}\x1b[0m{} {subject}\n",
            commit.short_id,
            date(commit.authored),
            visible(&commit.author.name),
            labels_plain(&commit.labels),
        ));
        let title = if commit.body.is_empty() {
            String::new()
        } else {
            format!(" title=\"{}\"", escape(&visible(&commit.body)))
        };
        rows.push(vec![
            hash_html(commit),
            date_html(commit.authored, now),
            format!(
                "<span title=\"{}\">{}</span>",
                escape(&visible(&commit.author.email)),
                escape(&visible(&commit.author.name))
            ),
            format!("{}<span{title}>{}</span>", labels_html(&commit.labels), escape(&subject)),
        ]);
    }
    if rows.is_empty() {
        page.line(MUTED, "2", "No commits.");
    } else {
        page.html.push_str(&table(&["commit", "date", "author", "subject"], &rows));
    }
    if log.more {
        page.line(MUTED, "2", "… and older ones; -n COUNT shows more.");
    }
    page.finish()
}

/// A commit with what it changed, or a file or folder as it was.
pub fn show(shown: &Shown) -> MimeBundle {
    let mut page = Page::default();
    match shown {
        Shown::Commit { commit, tag_message, diff: changes } => {
            page.commit(commit, tag_message.as_deref());
            page.append(&diff(changes));
        }
        Shown::File { name, text } => {
            page.line(MUTED, "1", name);
            let lines: Vec<&str> = text.lines().collect();
            let kept = lines[..lines.len().min(MOST_LINES)].join("\n");
            page.block(&kept);
            page.left_out(lines.len());
        }
        Shown::Folder { name, entries } => {
            page.line(MUTED, "1", name);
            page.block(&entries.join("\n"));
        }
    }
    page.finish()
}

/// The lines of a file, each run of them beside the commit it comes from.
pub fn blame(blame: &Blame) -> MimeBundle {
    let mut page = Page::default();
    page.line(MUTED, "1", &blame.path);
    let lines = &blame.lines[..blame.lines.len().min(MOST_LINES)];
    let widest_author = lines.iter().map(|line| author(line).chars().count()).max().unwrap_or(0).min(20);
    let widest_number = lines.last().map_or(1, |line| line.number.to_string().len());
    let mut rows = Vec::new();
    for run in lines.chunk_by(|a, b| a.origin == b.origin) {
        for line in run {
            let (id, when) = line
                .origin
                .as_ref()
                .map_or(("-------", String::new()), |origin| (origin.short_id.as_str(), day(origin.authored)));
            let author: String = author(line).chars().take(widest_author).collect();
            page.plain.push_str(&format!(
                "\x1b[33m{id:7}\x1b[0m \x1b[2m{author:widest_author$} {when:10}\x1b[0m {:widest_number$}  {}\n",
                line.number,
                visible(&line.text)
            ));
        }
        rows.push(run_html(run));
    }
    page.html.push_str(&format!(
        "<div style=\"overflow-x:auto\"><table style=\"border-collapse:collapse;table-layout:auto;margin:0;width:100%\"><tbody>{}</tbody></table></div>",
        rows.concat()
    ));
    page.left_out(blame.lines.len());
    page.finish()
}

fn author(line: &BlameLine) -> String {
    line.origin.as_ref().map_or_else(|| "not committed".to_owned(), |origin| visible(&origin.author.name))
}

fn run_html(run: &[BlameLine]) -> String {
    let Some(first) = run.first() else {
        return String::new();
    };
    let rule = "border-top:1px solid var(--jp-border-color3,rgba(127,127,127,.25));";
    let origin = match &first.origin {
        None => format!("<td style=\"{CELL}{rule}color:{MUTED}\" colspan=\"3\">not committed yet</td>"),
        Some(origin) => format!(
            "<td style=\"{CELL}{rule}{CODE}color:{AMBER}\" title=\"{}\">{}</td><td style=\"{CELL}{rule}white-space:nowrap\">{}</td>\
             <td style=\"{CELL}{rule}color:{MUTED};white-space:nowrap\">{}</td>",
            escape(&visible(&origin.subject)),
            escape(&origin.short_id),
            escape(&visible(&origin.author.name)),
            day(origin.authored),
        ),
    };
    let numbers: Vec<String> = run.iter().map(|line| line.number.to_string()).collect();
    let text: Vec<String> = run.iter().map(|line| escape(&visible(&line.text))).collect();
    format!(
        "<tr style=\"background:transparent\">{origin}\
         <td style=\"{CELL}{rule}{CODE}color:{MUTED};text-align:right;white-space:pre;user-select:none;line-height:1.4\">{}</td>\
         <td style=\"{CELL}{rule}{CODE}white-space:pre;width:100%;line-height:1.4\">{}</td></tr>",
        numbers.join("\n"),
        text.join("\n"),
    )
}

impl Page {
    fn commit(&mut self, commit: &Commit, tag_message: Option<&str>) {
        let (name, email) = (visible(&commit.author.name), visible(&commit.author.email));
        let subject = visible(&commit.subject);
        let body = visible(&commit.body);
        self.html.push_str(&format!(
            "<div style=\"margin-bottom:8px\"><div>{}{} <b>{}</b></div><div style=\"color:{MUTED}\">{} &lt;{}&gt; · {}</div>",
            labels_html(&commit.labels),
            hash_html(commit),
            escape(&subject),
            escape(&name),
            escape(&email),
            date_html(commit.authored, Utc::now()),
        ));
        self.plain.push_str(&format!(
            "\x1b[33mcommit {}\x1b[0m{}\nAuthor: {name} <{email}>\nDate:   {}\n\n    {subject}\n",
            commit.id,
            labels_plain(&commit.labels),
            commit.authored.format("%a %b %-d %H:%M:%S %Y %z"),
        ));
        for text in [Some(body.as_str()).filter(|body| !body.is_empty()), tag_message].into_iter().flatten() {
            let text = visible(text);
            self.html.push_str(&format!("<div style=\"white-space:pre-wrap;margin-top:4px\">{}</div>", escape(&text)));
            self.plain.push('\n');
            for line in text.lines() {
                self.plain.push_str(&format!("    {line}\n"));
            }
        }
        if commit.parents.len() > 1 {
            self.html.push_str(&format!("<div style=\"color:{MUTED}\">A merge, compared with its first parent.</div>"));
            self.plain.push_str("\n    (a merge, compared with its first parent)\n");
        }
        self.html.push_str("</div>");
        self.plain.push('\n');
    }

    fn block(&mut self, text: &str) {
        let text = visible(text);
        self.html.push_str(&format!("<pre style=\"{CODE}overflow-x:auto\">{}</pre>", escape(&text)));
        self.plain.push_str(&text);
        self.plain.push('\n');
    }

    fn left_out(&mut self, total: usize) {
        if total > MOST_LINES {
            self.line(MUTED, "2", &format!("… {} more lines", thousands((total - MOST_LINES) as u64)));
        }
    }
}

fn hash_html(commit: &Commit) -> String {
    let (id, short) = (escape(&commit.id), escape(&commit.short_id));
    format!("<span style=\"{CODE}color:{AMBER}\" title=\"{id}\">{short}</span>")
}

fn labels_html(labels: &[Label]) -> String {
    let mut html = String::new();
    for label in labels {
        let (colour, name) = match label.kind {
            LabelKind::Head => (BLUE, head_name(label)),
            LabelKind::Branch => (GREEN, visible(&label.name)),
            LabelKind::Remote => (RED, visible(&label.name)),
            LabelKind::Tag => (AMBER, visible(&label.name)),
        };
        html.push_str(&format!(
            "<span style=\"color:{colour};border:1px solid {colour};border-radius:3px;padding:0 4px;margin-right:4px;font-size:85%\">{}</span>",
            escape(&name)
        ));
    }
    html
}

fn labels_plain(labels: &[Label]) -> String {
    let shown: Vec<String> = labels
        .iter()
        .map(|label| match label.kind {
            LabelKind::Head => format!("\x1b[1;36m{}\x1b[0m", head_name(label)),
            LabelKind::Branch => format!("\x1b[1;32m{}\x1b[0m", visible(&label.name)),
            LabelKind::Remote => format!("\x1b[1;31m{}\x1b[0m", visible(&label.name)),
            LabelKind::Tag => format!("\x1b[1;33mtag: {}\x1b[0m", visible(&label.name)),
        })
        .collect();
    if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) }
}

fn head_name(label: &Label) -> String {
    if label.name == "HEAD" { label.name.clone() } else { format!("HEAD → {}", visible(&label.name)) }
}

fn date(when: DateTime<FixedOffset>) -> String {
    when.format("%Y-%m-%d %H:%M").to_string()
}

fn day(when: DateTime<FixedOffset>) -> String {
    when.format("%Y-%m-%d").to_string()
}

/// The date, and how long ago that is. Plain text has the date alone, so that running a
/// notebook again gives the same text.
fn date_html(when: DateTime<FixedOffset>, now: DateTime<Utc>) -> String {
    format!(
        "<span style=\"white-space:nowrap\" title=\"{}\">{} <span style=\"color:{MUTED}\">{}</span></span>",
        when.to_rfc3339(),
        date(when),
        ago(when, now)
    )
}

fn ago(when: DateTime<FixedOffset>, now: DateTime<Utc>) -> String {
    let seconds = now.signed_duration_since(when).num_seconds();
    let units = [
        (31_557_600, "year"),
        (2_629_800, "month"),
        (604_800, "week"),
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
    ];
    for (length, unit) in units {
        if seconds >= length {
            let number = usize::try_from(seconds / length).unwrap_or(0);
            return format!("{} ago", count(number, unit));
        }
    }
    if seconds >= 0 { "just now".to_owned() } else { "in the future".to_owned() }
}

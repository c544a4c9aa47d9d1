//! Unified diffs as people like to see them: by file, added and removed lines on colour.
//!
//! Inline styles only, with the front end's CSS variables and fallbacks that read well on
//! light and on dark. Line numbers and signs cannot be selected, so that copying gives code.

mod parse;

use std::fmt::Write as _;

use codriver_tools::text::{thousands, visible};

use crate::render::table::escape;
use crate::session::MimeBundle;

use parse::{FileDiff, Hunk, Line, Sign, parse};

/// More lines than this are counted, not shown: a browser has to live with them.
const MOST_LINES: usize = 4000;
/// Files after this many start out collapsed.
const MOST_OPEN: usize = 20;

const TEXT: &str = "var(--jp-content-font-color1,inherit)";
const MUTED: &str = "var(--jp-content-font-color2,#808080)";
const ADDED: &str = "var(--jp-success-color1,#2e9f4b)";
const REMOVED: &str = "var(--jp-error-color1,#d9534f)";
const BORDER: &str = "var(--jp-border-color2,rgba(127,127,127,.35))";
const BAR: &str = "rgba(127,127,127,.12)";

/// A diff in the format of `git diff`: HTML by file, and coloured text as git's own.
pub fn unified(patch: &str) -> MimeBundle {
    let files = parse(patch);
    if files.is_empty() {
        let text = if patch.trim().is_empty() { "No differences." } else { patch };
        return MimeBundle::html(format!("<pre>{}</pre>", escape(&visible(text))), visible(text));
    }
    MimeBundle::html(html(&files), plain(patch))
}

/// A patch as a terminal shows it.
pub fn plain(patch: &str) -> String {
    let mut shown = String::with_capacity(patch.len() + patch.len() / 4);
    let mut rest = 0;
    let lines = parse::signs(patch);
    for (number, (sign, line)) in lines.enumerate() {
        if number >= MOST_LINES {
            rest += 1;
            continue;
        }
        // As git does, a CR shows where it was added.
        let unchanged = matches!(sign, Sign::Context | Sign::Removed);
        let line = visible(line.strip_suffix('\r').filter(|_| unchanged).unwrap_or(line));
        match sign {
            Sign::Header => shown.push_str(&format!("\x1b[1m{line}\x1b[0m\n")),
            Sign::Added => shown.push_str(&format!("\x1b[32m{line}\x1b[0m\n")),
            Sign::Removed => shown.push_str(&format!("\x1b[31m{line}\x1b[0m\n")),
            Sign::Context | Sign::Note => shown.push_str(&format!("{line}\n")),
            Sign::Hunk => {
                let end = line.get(2..).and_then(|after| after.find("@@")).map_or(line.len(), |end| end + 4);
                let (range, context) = line.split_at(end);
                shown.push_str(&format!("\x1b[36m{range}\x1b[0m{context}\n"));
            }
        }
    }
    if rest > 0 {
        shown.push_str(&format!("… {} more lines\n", thousands(rest)));
    }
    shown.truncate(shown.trim_end_matches('\n').len());
    shown
}

fn html(files: &[FileDiff<'_>]) -> String {
    let mut html = String::from("<div class=\"codriver-diff\">");
    let mut room = MOST_LINES;
    for (index, file) in files.iter().enumerate() {
        file_html(&mut html, file, index < MOST_OPEN, &mut room);
    }
    html.push_str("</div>");
    html
}

fn file_html(html: &mut String, file: &FileDiff<'_>, open: bool, room: &mut usize) {
    let (added, removed) = (file.count(Sign::Added), file.count(Sign::Removed));
    let mut title = format!("<b>{}</b>", escape(&visible(&file.title)));
    if let Some(from) = &file.from {
        title.push_str(&format!(" <span style=\"color:{MUTED}\">from {}</span>", escape(&visible(from))));
    }
    for note in &file.notes {
        title.push_str(&format!(" <span style=\"color:{MUTED}\">· {}</span>", escape(&visible(note))));
    }
    if added + removed > 0 {
        title.push_str(&format!(
            " <span style=\"color:{ADDED}\">+{added}</span> <span style=\"color:{REMOVED}\">−{removed}</span>"
        ));
    }
    html.push_str(&format!(
        "<details{} style=\"border:1px solid {BORDER};border-radius:4px;margin:0 0 8px 0;overflow:hidden;color:{TEXT}\">\
         <summary style=\"background:{BAR};padding:4px 8px;cursor:pointer;font-family:var(--jp-code-font-family,monospace);\
         font-size:var(--jp-code-font-size,13px)\">{title}</summary>",
        if open { " open" } else { "" },
    ));
    if !file.hunks.is_empty() {
        html.push_str(
            "<div style=\"overflow-x:auto\"><table style=\"border-collapse:collapse;table-layout:auto;width:100%;margin:0;border:none;\
             font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);line-height:1.4\"><tbody>",
        );
        let before = *room;
        for hunk in &file.hunks {
            hunk_html(html, hunk, room);
        }
        html.push_str("</tbody></table></div>");
        let lines: usize = file.hunks.iter().map(|hunk| hunk.lines.len()).sum();
        let left_out = lines.saturating_sub(before - *room);
        if left_out > 0 {
            let left_out = thousands(left_out as u64);
            html.push_str(&format!("<div style=\"color:{MUTED};padding:4px 8px\">… {left_out} more lines</div>"));
        }
    }
    html.push_str("</details>");
}

/// Neighbouring lines of a kind share a table row: a tenth of the HTML, the same picture.
fn hunk_html(html: &mut String, hunk: &Hunk<'_>, room: &mut usize) {
    if *room == 0 {
        return;
    }
    let (old, new, context) = (hunk.old_start, hunk.new_start, escape(&visible(hunk.context)));
    html.push_str(&format!(
        "<tr style=\"background:{BAR}\"><td colspan=\"4\" style=\"{CELL}color:{MUTED};padding:1px 8px\">@@ −{old} +{new} @@ {context}</td></tr>"
    ));
    let (mut old, mut new) = (hunk.old_start, hunk.new_start);
    for run in hunk.lines.chunk_by(|a, b| a.sign == b.sign) {
        let run = &run[..run.len().min(*room)];
        *room -= run.len();
        run_html(html, run, &mut old, &mut new);
    }
}

const CELL: &str = "border:none;text-align:left;vertical-align:top;white-space:pre;";

fn run_html(html: &mut String, run: &[Line<'_>], old: &mut usize, new: &mut usize) {
    let Some(Line { sign, .. }) = run.first() else {
        return;
    };
    let (background, colour, mark) = match sign {
        Sign::Added => ("var(--jp-diff-added-color0,rgba(46,160,67,.18))", ADDED, "+"),
        Sign::Removed => ("var(--jp-diff-deleted-color0,rgba(248,81,73,.18))", REMOVED, "−"),
        _ => ("transparent", MUTED, " "),
    };
    let (mut olds, mut news, mut marks, mut text) = (String::new(), String::new(), String::new(), String::new());
    for (index, line) in run.iter().enumerate() {
        if index > 0 {
            for column in [&mut olds, &mut news, &mut marks, &mut text] {
                column.push('\n');
            }
        }
        if matches!(sign, Sign::Context | Sign::Removed) {
            append_number(&mut olds, old);
        }
        if matches!(sign, Sign::Context | Sign::Added) {
            append_number(&mut news, new);
        }
        marks.push_str(mark);
        text.push_str(&escape(&visible(line.text)));
    }
    let style = if *sign == Sign::Note { format!("color:{MUTED};font-style:italic;") } else { String::new() };
    let gutter = format!("{CELL}text-align:right;color:{MUTED};user-select:none;width:1%;");
    html.push_str(&format!(
        "<tr style=\"background:{background}\"><td style=\"{gutter}padding:0 4px 0 8px\">{olds}</td>\
         <td style=\"{gutter}padding:0 8px 0 4px\">{news}</td>\
         <td style=\"{CELL}color:{colour};user-select:none;width:1%;padding:0 4px\">{marks}</td>\
         <td style=\"{CELL}{style}padding:0 8px 0 0\">{text}</td></tr>"
    ));
}

fn append_number(column: &mut String, number: &mut usize) {
    if write!(column, "{number}").is_ok() {
        *number += 1;
    }
}

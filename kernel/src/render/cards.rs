//! Cards: what an agent did and what it read, collapsed beside its answer.
//!
//! Inline styles with JupyterLab's CSS variables and fallbacks, no classes that a style sheet
//! would have to know, no scripts: readable in both themes, in VS Code and in exported HTML.

use codriver_tools::ToolDisplay;
use serde_json::Value;

use crate::render::diff;
use crate::render::table::escape;
use crate::session::MimeBundle;

pub(super) const CARD: &str = "border:1px solid var(--jp-border-color2,#bdbdbd);border-left:3px solid var(--jp-brand-color1,#1976d2);\
border-radius:3px;background:var(--jp-layout-color1,transparent);color:var(--jp-content-font-color1,inherit);\
font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px);margin:4px 0;padding:2px 8px;";
const CODE: &str = "background:var(--jp-layout-color2,rgba(127,127,127,.12));color:inherit;\
font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);line-height:1.4;\
margin:4px 0;max-height:320px;overflow:auto;padding:6px 8px;white-space:pre-wrap;";
pub(super) const MUTED: &str = "color:var(--jp-content-font-color2,#757575);";
pub(super) const CELL: &str =
    "border-bottom:1px solid var(--jp-border-color3,#e0e0e0);padding:2px 8px;text-align:left;vertical-align:top;";

/// Rows of a tool's table that a card shows.
const MOST_ROWS: usize = 50;

/// One call of a tool, at whatever stage it is.
#[derive(Debug, Clone)]
pub struct ToolCard<'a> {
    pub tool: &'a str,
    pub arguments: &'a Value,
    pub stage: Stage<'a>,
    /// Shown where a person watches. Unattended runs leave it out, so that two runs of a
    /// notebook give the same output; the metadata has it either way.
    pub milliseconds: Option<u64>,
}

#[derive(Debug, Clone)]
pub enum Stage<'a> {
    Running,
    Done { text: &'a str, display: &'a ToolDisplay },
    Failed(&'a str),
    Denied(&'a str),
}

/// What, with which arguments, the result and how long it took.
pub fn tool_card(card: &ToolCard<'_>) -> MimeBundle {
    let (mark, colour, word) = match card.stage {
        Stage::Running => ("…", "var(--jp-info-color1,#00bcd4)", "running"),
        Stage::Done { .. } => ("✓", "var(--jp-success-color1,#388e3c)", ""),
        Stage::Failed(_) => ("✗", "var(--jp-error-color1,#d32f2f)", "failed"),
        Stage::Denied(_) => ("⊘", "var(--jp-warn-color1,#f57c00)", "denied"),
    };
    let time = card.milliseconds.map(duration).unwrap_or_default();
    let brief = one_line(&brief(card.arguments), 90);
    let state: Vec<&str> = [word, time.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
    let state = state.join(" · ");
    let (body_html, body_plain) = match &card.stage {
        Stage::Running => (String::new(), String::new()),
        Stage::Done { text, display } => (display_html(text, display), display_plain(text, display)),
        Stage::Failed(reason) | Stage::Denied(reason) => {
            (format!("<pre style=\"{CODE}\">{}</pre>", escape(reason)), (*reason).to_owned())
        }
    };
    let html = format!(
        "<details style=\"{CARD}\"><summary style=\"cursor:pointer;\"><span style=\"color:{colour};\">{mark}</span> \
         <b>{tool}</b> <code style=\"background:transparent;color:inherit;\">{brief}</code> \
         <span style=\"{MUTED}\">{state}</span></summary>{arguments}{body_html}</details>",
        tool = escape(card.tool),
        brief = escape(&brief),
        arguments = arguments_html(card.arguments),
    );
    let mut plain = format!("{mark} {}", card.tool);
    for extra in [brief.as_str(), word] {
        if !extra.is_empty() {
            plain.push(' ');
            plain.push_str(extra);
        }
    }
    for line in body_plain.lines() {
        plain.push_str("\n  ");
        plain.push_str(line);
    }
    MimeBundle::html(html, plain)
}

/// A plain table of text cells, escaped.
pub fn table(columns: &[&str], rows: &[Vec<String>]) -> MimeBundle {
    MimeBundle::html(table_html(columns, rows), table_plain(columns, rows))
}

/// A table in which one column of a row may lead to what it names.
pub fn table_with_links(
    columns: &[&str],
    rows: &[Vec<String>],
    linked_column: &str,
    links: &[Option<String>],
) -> MimeBundle {
    let html = table_html_with(columns, rows, &|row, column, cell| match links.get(row) {
        Some(Some(link)) if column == linked_column => linked(link, cell),
        _ => escape(cell),
    });
    MimeBundle::html(html, table_plain(columns, rows))
}

/// Only what a browser opens without running anything: a page, or a file of the workspace.
pub(super) fn linked(link: &str, text: &str) -> String {
    let has_scheme = link.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'));
    let is_page = link.starts_with("https://") || link.starts_with("http://");
    if has_scheme && !is_page {
        return escape(text);
    }
    format!("<a href=\"{}\" target=\"_blank\" rel=\"noopener noreferrer\">{}</a>", escape(link), escape(text))
}

/// A remark in small print.
pub fn note(text: &str) -> MimeBundle {
    MimeBundle::html(format!("<div style=\"{MUTED}font-size:90%;\">{}</div>", escape(text)), text)
}

/// A block of text as it is, collapsed under a title.
pub fn folded_text(title: &str, text: &str) -> MimeBundle {
    let html = format!(
        "<details style=\"{CARD}\"><summary style=\"cursor:pointer;\"><b>{}</b></summary><pre style=\"{CODE}\">{}</pre></details>",
        escape(title),
        escape(text)
    );
    MimeBundle::html(html, format!("{title}\n{text}"))
}

/// 0.8 s, 12 s, 340 ms.
pub fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..10_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!("{} s", milliseconds / 1000),
    }
}

fn arguments_html(arguments: &Value) -> String {
    let Some(fields) = arguments.as_object().filter(|fields| !fields.is_empty()) else {
        return match arguments {
            Value::Object(_) | Value::Null => String::new(),
            other => format!("<pre style=\"{CODE}\">{}</pre>", escape(&plain_value(other))),
        };
    };
    fields
        .iter()
        .map(|(name, value)| {
            format!(
                "<div style=\"{MUTED}\">{}</div><pre style=\"{CODE}\">{}</pre>",
                escape(name),
                escape(&plain_value(value))
            )
        })
        .collect()
}

/// The arguments on one line: a lone argument as it is, several as `name: value`.
fn brief(arguments: &Value) -> String {
    match arguments.as_object() {
        Some(fields) if fields.len() == 1 => fields.values().map(plain_value).collect(),
        Some(fields) => {
            let parts: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}: {}", plain_value(value))).collect();
            parts.join(", ")
        }
        None if arguments.is_null() => String::new(),
        None => plain_value(arguments),
    }
}

fn plain_value(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn display_html(text: &str, display: &ToolDisplay) -> String {
    match display {
        ToolDisplay::Text => format!("<pre style=\"{CODE}\">{}</pre>", escape(text)),
        ToolDisplay::Code { source, .. } => format!("<pre style=\"{CODE}\">{}</pre>", escape(source)),
        ToolDisplay::Diff(diff) => html_of(&diff::unified(diff)).to_owned(),
        ToolDisplay::Table { columns, rows, total_rows } => {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let shown = &rows[..rows.len().min(MOST_ROWS)];
            format!(
                "{}<div style=\"{MUTED}\">{}</div>",
                table_html(&columns, shown),
                rows_line(shown.len(), *total_rows)
            )
        }
    }
}

fn html_of(bundle: &MimeBundle) -> &str {
    bundle.data.get("text/html").and_then(Value::as_str).unwrap_or_default()
}

fn display_plain(text: &str, display: &ToolDisplay) -> String {
    match display {
        ToolDisplay::Text => text.to_owned(),
        ToolDisplay::Code { source, .. } => source.clone(),
        ToolDisplay::Diff(diff) => diff.clone(),
        ToolDisplay::Table { columns, rows, total_rows } => {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let shown = &rows[..rows.len().min(MOST_ROWS)];
            format!("{}{}", table_plain(&columns, shown), rows_line(shown.len(), *total_rows))
        }
    }
}

fn rows_line(shown: usize, total: usize) -> String {
    if shown < total { format!("{shown} of {total} rows") } else { format!("{total} row{}", plural(total)) }
}

fn table_html(columns: &[&str], rows: &[Vec<String>]) -> String {
    table_html_with(columns, rows, &|_, _, cell| escape(cell))
}

/// `show` makes HTML of a row's number, a column's name and a cell.
fn table_html_with(columns: &[&str], rows: &[Vec<String>], show: &dyn Fn(usize, &str, &str) -> String) -> String {
    let row = |(number, row): (usize, &Vec<String>)| {
        let cells = columns
            .iter()
            .zip(row)
            .map(|(column, cell)| format!("<td style=\"{CELL}\">{}</td>", show(number, column, cell)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    table_of_rows(columns, &rows.iter().enumerate().map(row).collect::<String>())
}

/// A table whose rows are HTML already.
pub(super) fn table_of_rows(columns: &[&str], body: &str) -> String {
    let head: String =
        columns.iter().map(|column| format!("<th style=\"{CELL}{MUTED}\">{}</th>", escape(column))).collect();
    format!(
        "<div style=\"max-height:420px;overflow:auto;\"><table style=\"border-collapse:collapse;color:inherit;font-size:inherit;margin:4px 0;\">\
         <thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
}

pub(super) fn table_plain(columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = columns.iter().map(|column| width(column)).collect();
    for row in rows {
        for (cell, widest) in row.iter().zip(&mut widths) {
            *widest = (*widest).max(width(&one_line(cell, 80)));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, widest)| format!("{cell}{}", " ".repeat(widest.saturating_sub(width(&cell)))))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut columns.iter().map(|column| (*column).to_owned()));
    text.push_str(&line(&mut widths.iter().map(|width| "─".repeat(*width))));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(|cell| one_line(cell, 80))));
    }
    text
}

fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// Line breaks as spaces, and no longer than `most` characters.
pub fn one_line(text: &str, most: usize) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if joined.chars().count() <= most {
        return joined;
    }
    let short: String = joined.chars().take(most.saturating_sub(1)).collect();
    format!("{short}…")
}

pub(super) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::linked;

    #[test]
    fn links_lead_to_pages_and_files_only() {
        assert!(linked("docs/a.md#L3", "a").starts_with("<a href=\"docs/a.md#L3\""));
        assert!(linked("https://example.com/x?y=\"", "a").contains("&quot;"));
        assert_eq!(linked("javascript:alert(1)", "a<b"), "a&lt;b");
        assert_eq!(linked("data:text/html,x", "a"), "a");
    }
}

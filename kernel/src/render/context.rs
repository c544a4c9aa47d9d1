//! What went before a model, to look at: how the window was shared out, every item with its
//! reason, what earlier turns were condensed to, what left the machine.

use codriver_memory::{ContextItem, StoredSent};

use super::cards::{CARD, CELL, MUTED, linked, one_line, plural, table, table_of_rows, table_plain};
use super::table::{escape, grouped};
use crate::agent::compaction::Compaction;
use crate::agent::context::Section;
use crate::session::MimeBundle;

/// Of an item's title.
const LONGEST_TITLE: usize = 80;

/// The parts of a window have a colour each, light and dark themes alike.
const COLOURS: [(&str, &str); 8] = [
    ("system", "#7e8aa2"),
    ("tools", "#5c6bc0"),
    ("request", "#26a69a"),
    ("pinned", "#d4a017"),
    ("turns", "#42a5f5"),
    ("session", "#66bb6a"),
    ("retrieved", "#ab47bc"),
    ("examples", "#ef7043"),
];

/// What was put before the model for one turn, and what was left out; collapsed.
pub fn context_card(items: &[ContextItem], window: usize) -> MimeBundle {
    let summary = summary(items, window);
    let html = format!(
        "<details style=\"{CARD}\"><summary style=\"cursor:pointer;\"><b>context</b> <span style=\"{MUTED}\">{}</span></summary>{}{}</details>",
        escape(&summary),
        bar(items, window),
        rows_html(items)
    );
    MimeBundle::html(html, format!("context: {summary}\n{}", plain(items)))
}

/// The same, opened and by section, for `%context`.
pub fn context_table(items: &[ContextItem], window: usize) -> MimeBundle {
    let html = format!("<div>{}{}{}</div>", bar(items, window), sections_html(items), rows_html(items));
    MimeBundle::html(html, format!("{}\n{}", sections_plain(items), plain(items)))
}

/// What earlier turns came to.
pub fn compaction_card(compaction: &Compaction) -> MimeBundle {
    let title = format!(
        "turns {} to {} condensed: {} tokens instead of {}, by {}",
        compaction.first,
        compaction.last,
        grouped(compaction.tokens_after),
        grouped(compaction.tokens_before),
        compaction.by
    );
    let mut body = String::new();
    if !compaction.state.task.is_empty() {
        body.push_str(&format!("<p style=\"margin:4px 0;\"><b>Task</b> {}</p>", escape(&compaction.state.task)));
    }
    for (name, entries) in compaction.lists() {
        if !entries.is_empty() {
            let entries: String = entries.iter().map(|entry| format!("<li>{}</li>", escape(entry))).collect();
            body.push_str(&format!(
                "<p style=\"margin:4px 0 0;\"><b>{name}</b></p><ul style=\"margin:0 0 4px;\">{entries}</ul>"
            ));
        }
    }
    if !compaction.summary.is_empty() {
        let summary = escape(&compaction.summary).replace('\n', "<br>");
        body.push_str(&format!("<p style=\"margin:4px 0;\"><b>What happened</b><br>{summary}</p>"));
    }
    let hint = "The turns themselves are kept. %context edit changes this, %context undo takes it back.";
    let html = format!(
        "<details style=\"{CARD}\"><summary style=\"cursor:pointer;\"><b>compaction</b> <span style=\"{MUTED}\">{}</span></summary>{body}<p style=\"{MUTED}margin:4px 0;\">{hint}</p></details>",
        escape(&title)
    );
    MimeBundle::html(html, format!("compaction: {title}\n{}\n{hint}\n", compaction.editable()))
}

/// The ledger: what left the machine.
pub fn ledger_table(entries: &[StoredSent]) -> MimeBundle {
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|StoredSent { sent, at }| {
            vec![
                at.format("%Y-%m-%d %H:%M:%S").to_string(),
                sent.destination.clone(),
                sent.model.clone(),
                sent.purpose.clone(),
                grouped(sent.bytes),
                grouped(sent.prompt_tokens),
                grouped(sent.completion_tokens),
                grouped(sent.rows),
                one_line(&sent.columns.join(", "), 200),
            ]
        })
        .collect();
    table(
        &["when (UTC)", "sent to", "model", "for", "bytes", "tokens sent", "tokens back", "rows of yours", "columns"],
        &rows,
    )
}

fn summary(items: &[ContextItem], window: usize) -> String {
    let kept: Vec<&ContextItem> = items.iter().filter(|item| item.dropped.is_none()).collect();
    let chosen = kept.iter().filter(|item| !Section::is_fixed(&item.details.section)).count();
    let tokens: usize = kept.iter().map(|item| item.tokens).sum();
    let dropped = items.len() - kept.len();
    let left_out = if dropped == 0 { String::new() } else { format!(", {dropped} left out") };
    format!("{chosen} item{}{left_out} · {} of {} tokens", plural(chosen), grouped(tokens), grouped(window))
}

fn used(items: &[ContextItem], section: Section) -> usize {
    let of_section = items.iter().filter(|item| item.details.section == section.name() && item.dropped.is_none());
    of_section.map(|item| item.tokens).sum()
}

/// The window as a bar, a colour a section.
fn bar(items: &[ContextItem], window: usize) -> String {
    let parts: String = Section::ALL
        .iter()
        .filter_map(|section| {
            let tokens = used(items, *section);
            let (_, colour) = COLOURS.iter().find(|(name, _)| *name == section.name())?;
            let percent = tokens as f64 * 100.0 / window.max(1) as f64;
            let title = format!("{}: {} tokens", section.words(), grouped(tokens));
            (tokens > 0).then(|| {
                format!("<div title=\"{}\" style=\"background:{colour};width:{percent:.2}%;\"></div>", escape(&title))
            })
        })
        .collect();
    format!(
        "<div style=\"background:var(--jp-layout-color3,rgba(127,127,127,.25));border-radius:3px;display:flex;height:8px;margin:4px 0;max-width:48em;overflow:hidden;\">{parts}</div>"
    )
}

const SECTION_COLUMNS: [&str; 4] = ["part of the window", "tokens", "items", "left out"];

fn section_rows(items: &[ContextItem]) -> Vec<(Section, Vec<String>)> {
    let row = |section: &Section| {
        let of_section = || items.iter().filter(|item| item.details.section == section.name());
        let kept = of_section().filter(|item| item.dropped.is_none()).count();
        let dropped = of_section().count() - kept;
        let cells =
            vec![section.words().to_owned(), grouped(used(items, *section)), kept.to_string(), dropped.to_string()];
        (of_section().next().is_some()).then_some((*section, cells))
    };
    Section::ALL.iter().filter_map(row).collect()
}

fn sections_html(items: &[ContextItem]) -> String {
    let body: String = section_rows(items)
        .iter()
        .map(|(section, cells)| {
            let colour = COLOURS.iter().find(|(name, _)| *name == section.name()).map_or("inherit", |(_, colour)| colour);
            let cells: String = cells.iter().map(|cell| format!("<td style=\"{CELL}\">{}</td>", escape(cell))).collect();
            format!("<tr><td style=\"{CELL}\"><div style=\"background:{colour};height:10px;width:10px;\"></div></td>{cells}</tr>")
        })
        .collect();
    let [part, tokens, items, left_out] = SECTION_COLUMNS;
    table_of_rows(&["", part, tokens, items, left_out], &body)
}

fn sections_plain(items: &[ContextItem]) -> String {
    let rows: Vec<Vec<String>> = section_rows(items).into_iter().map(|(_, cells)| cells).collect();
    table_plain(&SECTION_COLUMNS, &rows)
}

const COLUMNS: [&str; 11] =
    ["#", "part", "kind", "item", "origin", "meaning", "words", "reranker", "tokens", "rank", "used"];

/// Those that say something, with their place in a row: without a reranker it has no column.
fn columns(items: &[ContextItem]) -> Vec<(usize, &'static str)> {
    let reranked = items.iter().any(|item| item.details.reranker.is_some());
    COLUMNS.into_iter().enumerate().filter(|(_, column)| reranked || *column != "reranker").collect()
}

fn row(index: usize, item: &ContextItem) -> Vec<String> {
    let number = |value: Option<f32>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
    let title = if item.title.is_empty() { &item.text } else { &item.title };
    let reason = &item.details.reason;
    vec![
        (index + 1).to_string(),
        item.details.section.clone(),
        item.kind.clone(),
        one_line(title, LONGEST_TITLE),
        item.origin.clone(),
        number(item.details.cosine),
        number(item.details.bm25),
        number(item.details.reranker),
        item.tokens.to_string(),
        if item.details.rank == 0 { String::new() } else { item.details.rank.to_string() },
        match &item.dropped {
            Some(why) => format!("left out: {why}"),
            None if reason.is_empty() => "yes".to_owned(),
            None => format!("yes: {reason}"),
        },
    ]
}

fn plain(items: &[ContextItem]) -> String {
    let (places, columns): (Vec<usize>, Vec<&str>) = columns(items).into_iter().unzip();
    let cells =
        |row: Vec<String>| -> Vec<String> { places.iter().filter_map(|place| row.get(*place).cloned()).collect() };
    let rows: Vec<Vec<String>> = items.iter().enumerate().map(|(index, item)| cells(row(index, item))).collect();
    table_plain(&columns, &rows)
}

fn rows_html(items: &[ContextItem]) -> String {
    if items.is_empty() {
        return format!("<div style=\"{MUTED}\">nothing was retrieved</div>");
    }
    let columns = columns(items);
    let body: String = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let faded = if item.dropped.is_some() { "opacity:.6;" } else { "" };
            let row = row(index, item);
            let cells: String = columns
                .iter()
                .filter_map(|(place, column)| Some((*column, row.get(*place)?)))
                .map(|(column, cell)| {
                    let text = match (&item.details.link, column) {
                        (Some(link), "origin") => linked(link, cell),
                        _ => escape(cell),
                    };
                    format!("<td style=\"{CELL}\" title=\"{}\">{text}</td>", escape(&hover(column, item)))
                })
                .collect();
            format!("<tr style=\"{faded}\">{cells}</tr>")
        })
        .collect();
    table_of_rows(&columns.iter().map(|(_, column)| *column).collect::<Vec<_>>(), &body)
}

/// The beginning of the text, over its title.
fn hover(column: &str, item: &ContextItem) -> String {
    if column == "item" { item.text.chars().take(600).collect() } else { String::new() }
}

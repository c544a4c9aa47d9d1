//! Figures of what was asked: a chart and a table.

use codriver_memory::Usage;

use super::cards::{MUTED, duration, one_line, table};
use super::table::{escape, grouped};
use crate::session::MimeBundle;

const READ: &str = "var(--jp-brand-color1,#1976d2)";
const WRITTEN: &str = "var(--jp-warn-color1,#f57c00)";

/// Of the chart, in pixels.
const WIDTH: usize = 640;
const ROW: usize = 18;
const LABEL: usize = 190;
/// Groups in the chart; the table has all.
const MOST_BARS: usize = 31;

/// Figures by `group` (day, model, ...) over the last `days`, 0 for all time.
pub fn figures(group: &str, figures: &[Usage], days: u16) -> MimeBundle {
    let span = if days == 0 { "all time".to_owned() } else { format!("the last {days} days") };
    if figures.is_empty() {
        return MimeBundle::plain(format!("no turn in {span}"));
    }
    let rows: Vec<Vec<String>> = figures.iter().map(row).collect();
    let mut rows = rows;
    if figures.len() > 1 {
        rows.push(total(figures));
    }
    let columns =
        [group, "turns", "tokens read", "tokens written", "beside turns", "cost", "median", "95 %", "memory helped"];
    let table = table(&columns, &rows);
    let title = format!("Tokens by {group}, {span}");
    let html = table.data.get("text/html").and_then(serde_json::Value::as_str).unwrap_or_default();
    MimeBundle::html(
        format!("<div><b>{}</b>{}{html}</div>", escape(&title), chart(figures)),
        format!("{title}\n{}", table.text()),
    )
}

fn row(usage: &Usage) -> Vec<String> {
    vec![
        named(&usage.group),
        grouped(usage.turns),
        grouped(usage.prompt_tokens as usize),
        grouped(usage.completion_tokens as usize),
        grouped(usage.beside_turns as usize),
        usage.cost.map(money).unwrap_or_default(),
        duration(usage.median_latency as u64),
        duration(usage.p95_latency as u64),
        format!("{:.0} %", usage.hit_rate * 100.0),
    ]
}

/// Latencies of groups can't be added up.
fn total(figures: &[Usage]) -> Vec<String> {
    let turns: usize = figures.iter().map(|usage| usage.turns).sum();
    let sum = |tokens: fn(&Usage) -> u64| grouped(figures.iter().map(tokens).sum::<u64>() as usize);
    let costs: Vec<f64> = figures.iter().filter_map(|usage| usage.cost).collect();
    let hits: f64 = figures.iter().map(|usage| usage.hit_rate * usage.turns as f64).sum();
    vec![
        "all".to_owned(),
        grouped(turns),
        sum(|usage| usage.prompt_tokens),
        sum(|usage| usage.completion_tokens),
        sum(|usage| usage.beside_turns),
        if costs.is_empty() { String::new() } else { money(costs.iter().sum()) },
        String::new(),
        String::new(),
        format!("{:.0} %", hits * 100.0 / turns.max(1) as f64),
    ]
}

fn named(group: &str) -> String {
    if group.is_empty() { "(none)".to_owned() } else { group.to_owned() }
}

fn money(amount: f64) -> String {
    if amount < 1.0 { format!("{amount:.4}") } else { format!("{amount:.2}") }
}

/// A bar a group: what was read and what was written.
fn chart(figures: &[Usage]) -> String {
    let shown =
        figures.get(figures.len().saturating_sub(MOST_BARS)..).filter(|_| figures.len() > MOST_BARS).unwrap_or(figures);
    let most = shown.iter().map(|usage| usage.prompt_tokens + usage.completion_tokens).max().unwrap_or(0).max(1);
    let scale = (WIDTH - LABEL - 70) as f64 / most as f64;
    let bars: String = shown
        .iter()
        .enumerate()
        .map(|(index, usage)| {
            let top = index * ROW;
            let (read, written) = (usage.prompt_tokens as f64 * scale, usage.completion_tokens as f64 * scale);
            let tokens = usage.prompt_tokens + usage.completion_tokens;
            format!(
                "<text x=\"{label}\" y=\"{middle}\" text-anchor=\"end\" fill=\"currentColor\">{name}</text>\
                 <rect x=\"{LABEL}\" y=\"{bar}\" width=\"{read:.1}\" height=\"12\" fill=\"{READ}\"/>\
                 <rect x=\"{second:.1}\" y=\"{bar}\" width=\"{written:.1}\" height=\"12\" fill=\"{WRITTEN}\"/>\
                 <text x=\"{end:.1}\" y=\"{middle}\" fill=\"currentColor\">{tokens}</text>",
                label = LABEL - 6,
                middle = top + 13,
                bar = top + 3,
                name = escape(&one_line(&named(&usage.group), 28)),
                second = LABEL as f64 + read,
                end = LABEL as f64 + read + written + 6.0,
                tokens = grouped(tokens as usize),
            )
        })
        .collect();
    let height = shown.len() * ROW + 4;
    format!(
        "<svg role=\"img\" aria-label=\"tokens by group\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         style=\"display:block;font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:12px;margin:6px 0;max-width:100%;\">{bars}</svg>\
         <div style=\"{MUTED}font-size:12px;\">{} read {} written</div>",
        square(READ),
        square(WRITTEN)
    )
}

fn square(colour: &str) -> String {
    format!("<span style=\"background:{colour};display:inline-block;height:10px;width:10px;\"></span>")
}

//! A frame as people know it from dataframes.

pub use codriver_notebooks::escape;
use unicode_width::UnicodeWidthStr;

use crate::languages::sql::{Frame, FrameColumn};
use crate::session::MimeBundle;

/// The widest a column gets in the text table; HTML is not cut.
const WIDEST: usize = 60;

/// HTML and a box-drawn text table of `frame`.
pub fn frame(frame: &Frame) -> MimeBundle {
    MimeBundle::html(html(frame), plain(frame))
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn html(frame: &Frame) -> String {
    let mut html = String::from(
        "<div class=\"codriver-frame\" style=\"overflow-x: auto\"><table border=\"0\" class=\"dataframe\"><thead><tr>",
    );
    for column in &frame.columns {
        let align = if is_number(&column.data_type) { "right" } else { "left" };
        html.push_str(&format!(
            "<th style=\"text-align: {align}\">{}<br><span style=\"font-weight: normal; font-size: 85%; color: var(--jp-ui-font-color2, #777)\">{}</span></th>",
            escape(&column.name),
            escape(&column.data_type)
        ));
    }
    html.push_str("</tr></thead><tbody>");
    for row in &frame.rows {
        html.push_str("<tr>");
        for (cell, column) in row.iter().zip(&frame.columns) {
            html.push_str(&html_cell(cell.as_deref(), column));
        }
        html.push_str("</tr>");
    }
    html.push_str(&format!(
        "</tbody></table><p style=\"color: var(--jp-ui-font-color2, #777); margin: 0.3em 0\">{}</p></div>",
        shape(frame)
    ));
    html
}

fn html_cell(cell: Option<&str>, column: &FrameColumn) -> String {
    let align = if is_number(&column.data_type) { "right" } else { "left" };
    match cell {
        Some(text) => format!("<td style=\"text-align: {align}; white-space: pre-wrap\">{}</td>", escape(text)),
        None => format!(
            "<td style=\"text-align: {align}; color: var(--jp-ui-font-color3, #999); font-style: italic\">NULL</td>"
        ),
    }
}

fn shape(frame: &Frame) -> String {
    let rows = if frame.total_rows == 1 { "row" } else { "rows" };
    let columns = if frame.columns.len() == 1 { "column" } else { "columns" };
    let mut text = format!("{} {rows} × {} {columns}", grouped(frame.total_rows), frame.columns.len());
    if frame.rows.len() < frame.total_rows {
        text.push_str(&format!(" (first {} shown)", grouped(frame.rows.len())));
    }
    text
}

fn plain(frame: &Frame) -> String {
    let header: Vec<String> = frame.columns.iter().map(|column| one_line(&column.name)).collect();
    let types: Vec<String> = frame.columns.iter().map(|column| one_line(&column.data_type)).collect();
    let body: Vec<Vec<String>> = (frame.rows.iter())
        .map(|row| row.iter().map(|cell| one_line(cell.as_deref().unwrap_or("NULL"))).collect())
        .collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|index| {
            let cells = body.iter().map(|row| row[index].width());
            cells.chain([header[index].width(), types[index].width()]).max().unwrap_or(0)
        })
        .collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let dashes: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", dashes.join(middle))
    };
    let line = |cells: &[String], right: &dyn Fn(usize) -> bool| {
        let padded: Vec<String> = (cells.iter().enumerate())
            .map(|(index, cell)| {
                let space = " ".repeat(widths[index].saturating_sub(cell.width()));
                if right(index) { format!(" {space}{cell} ") } else { format!(" {cell}{space} ") }
            })
            .collect();
        format!("│{}│\n", padded.join("│"))
    };
    let by_type = |index: usize| is_number(&frame.columns[index].data_type);
    let mut text = rule("┌", "┬", "┐");
    text.push_str(&line(&header, &by_type));
    text.push_str(&line(&types, &by_type));
    text.push_str(&rule("├", "┼", "┤"));
    for row in &body {
        text.push_str(&line(row, &by_type));
    }
    text.push_str(&rule("└", "┴", "┘"));
    text.push_str(&shape(frame));
    text
}

/// Control characters shown as they would be typed, and nothing wider than [`WIDEST`].
fn one_line(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            control if control.is_control() => shown.push('\u{fffd}'),
            other => shown.push(other),
        }
        if shown.width() > WIDEST {
            while shown.width() >= WIDEST {
                shown.pop();
            }
            shown.push('…');
            break;
        }
    }
    shown
}

fn is_number(data_type: &str) -> bool {
    let base = data_type.split('(').next().unwrap_or_default();
    matches!(
        base,
        "TINYINT"
            | "SMALLINT"
            | "INTEGER"
            | "BIGINT"
            | "HUGEINT"
            | "UTINYINT"
            | "USMALLINT"
            | "UINTEGER"
            | "UBIGINT"
            | "UHUGEINT"
            | "FLOAT"
            | "DOUBLE"
            | "DECIMAL"
            | "BIGNUM"
    ) && !data_type.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Frame {
        let column =
            |name: &str, data_type: &str| FrameColumn { name: name.to_owned(), data_type: data_type.to_owned() };
        Frame {
            columns: vec![column("<城市>", "VARCHAR"), column("n", "BIGINT")],
            rows: vec![vec![Some("東京".to_owned()), Some("1200".to_owned())], vec![Some("<b>\n".to_owned()), None]],
            total_rows: 1234,
        }
    }

    #[test]
    fn text_is_aligned_by_display_width() {
        let text = plain(&sample());
        let widths: Vec<usize> = text.lines().take(7).map(UnicodeWidthStr::width).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
        assert!(text.contains("│ 東京    │   1200 │"), "{text}");
        assert!(text.contains("│ <b>\\n   │   NULL │"), "{text}");
        assert!(text.ends_with("1,234 rows × 2 columns (first 2 shown)"), "{text}");
    }

    #[test]
    fn html_is_escaped() {
        let html = html(&sample());
        assert!(html.contains("&lt;城市&gt;") && html.contains("&lt;b&gt;"));
        assert!(!html.contains("<b>"));
        assert!(html.contains("NULL"));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn long_cells_are_cut_in_text_only() {
        let mut frame = sample();
        frame.rows[0][0] = Some("x".repeat(500));
        assert!(plain(&frame).contains('…'));
        assert!(html(&frame).contains(&"x".repeat(500)));
    }
}

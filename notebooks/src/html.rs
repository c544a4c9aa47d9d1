//! A notebook as one HTML page that needs nothing else: no script, no network.

mod ansi;
mod code;
mod sanitize;

use std::fmt::Write as _;

use serde_json::Value;

use crate::{Bundle, Cell, CellKind, Notebook, Output, StreamName};

const STYLE: &str = include_str!("html/style.css");

/// Outputs are untrusted: their HTML is sanitized, and the page's content policy forbids
/// scripts and the network in case something gets through.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:";

/// Renders the whole notebook, for light and dark themes.
pub fn to_html(notebook: &Notebook) -> String {
    let title = notebook.title().unwrap_or_else(|| "Notebook".to_owned());
    let mut body = String::new();
    for cell in &notebook.cells {
        body.push_str(&match cell.kind() {
            CellKind::Code => code_cell(cell),
            CellKind::Markdown => markdown_cell(cell),
            CellKind::Raw => raw_cell(cell),
        });
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{CONTENT_POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(&title),
        code::stylesheet(),
    )
}

fn markdown_cell(cell: &Cell) -> String {
    let html = sanitize::markdown(&cell.source(), &|name| cell.attachment(name));
    format!("<section class=\"cell markdown\">{html}</section>\n")
}

fn raw_cell(cell: &Cell) -> String {
    format!("<section class=\"cell raw\"><pre>{}</pre></section>\n", escape(&cell.source()))
}

fn code_cell(cell: &Cell) -> String {
    let source = cell.source();
    let language = code::Language::of(&source);
    let count = cell.execution_count().map_or_else(|| " ".to_owned(), |count| count.to_string());
    let mut html = format!(
        "<section class=\"cell code {class}\"><div class=\"prompt\">[{count}]</div><div class=\"source\">\
         <span class=\"language\">{label}</span>{source}</div>",
        class = language.class(),
        label = language.label(),
        source = code::highlight_cell(&source, language),
    );
    let outputs = cell.outputs();
    if !outputs.is_empty() {
        html.push_str("<div class=\"outputs\">");
        for output in &outputs {
            html.push_str(&render_output(output));
        }
        html.push_str("</div>");
    }
    html.push_str("</section>\n");
    html
}

fn render_output(output: &Output) -> String {
    match output {
        Output::Stream { name, text } => {
            let class = match name {
                StreamName::Stdout => "stdout",
                StreamName::Stderr => "stderr",
            };
            format!("<pre class=\"stream {class}\">{}</pre>", ansi::to_html(text))
        }
        Output::Display { bundle } | Output::Result { bundle, .. } if bundle.is_empty() => String::new(),
        Output::Display { bundle } => format!("<div class=\"display\">{}</div>", render_bundle(bundle)),
        Output::Result { bundle, .. } => format!("<div class=\"display result\">{}</div>", render_bundle(bundle)),
        Output::Error { name, value, traceback } => {
            let text = if traceback.is_empty() { format!("{name}: {value}") } else { traceback.join("\n") };
            format!("<pre class=\"error\">{}</pre>", ansi::to_html(&text))
        }
    }
}

/// The richest type that a page without scripts can show.
fn render_bundle(bundle: &Bundle) -> String {
    if let Some(html) = bundle.text("text/html") {
        return format!("<div class=\"html\">{}</div>", sanitize::html(&html));
    }
    if let Some(image) = image(bundle) {
        return image;
    }
    if let Some(text) = bundle.text("text/markdown") {
        return format!("<div class=\"markdown\">{}</div>", sanitize::markdown(&text, &|_| None));
    }
    for mime in ["text/latex", "text/plain"] {
        if let Some(text) = bundle.text(mime) {
            return format!("<pre>{}</pre>", ansi::to_html(&text));
        }
    }
    match bundle.data.iter().next() {
        Some((mime, Value::String(_) | Value::Array(_))) => format!("<pre>[{}]</pre>", escape(mime)),
        Some((_, value)) => {
            let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
            format!("<pre>{}</pre>", escape(&text))
        }
        None => String::new(),
    }
}

/// An image by `data:` address; in an `img`, an SVG's scripts don't run.
fn image(bundle: &Bundle) -> Option<String> {
    let address = if let Some(svg) = bundle.text("image/svg+xml") {
        format!("data:image/svg+xml;charset=utf-8,{}", percent_encode(&svg))
    } else {
        let mime = ["image/png", "image/jpeg", "image/gif", "image/webp"]
            .into_iter()
            .find(|mime| bundle.data.contains_key(*mime))?;
        let data: String = bundle.text(mime)?.split_whitespace().collect();
        format!("data:{mime};base64,{}", escape(&data))
    };
    let alternative = bundle.text("text/plain").unwrap_or_default();
    Some(format!("<img src=\"{address}\" alt=\"{}\">", escape(&alternative)))
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else if write!(encoded, "%{byte:02X}").is_err() {
            return String::new();
        }
    }
    encoded
}

/// Text as HTML, in elements and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

//! Notebooks, cell by cell, with what the cells put out.

use serde_json::Value;

use super::outline::BUDGET;
use super::{Chunk, ChunkError, Kind, Place, STEP, chunk_text, html};

/// Bytes of one cell's outputs that are kept: their beginning and end say most.
const MOST_OUTPUT: usize = 8 * 1024;

pub(super) fn chunk(name: &str, text: &str) -> Result<Vec<Chunk>, ChunkError> {
    let notebook: Value = serde_json::from_str(text).map_err(|error| ChunkError::Notebook(error.to_string()))?;
    let cells = cells(&notebook).ok_or_else(|| ChunkError::Notebook("it has no cells".to_owned()))?;
    let metadata = &notebook["metadata"];
    let language =
        [&metadata["language_info"]["name"], &metadata["kernelspec"]["language"], &metadata["kernelspec"]["name"]]
            .into_iter()
            .find_map(|name| Kind::of_language(name.as_str()?));
    let mut reader = Reader {
        name,
        language: language.unwrap_or(Kind::Text),
        headings: Vec::new(),
        chunks: Vec::new(),
        waiting: None,
    };
    for (index, cell) in cells.into_iter().enumerate() {
        reader.cell(index + 1, cell);
    }
    reader.chunks.extend(reader.waiting);
    Ok(reader.chunks)
}

/// Of format 4, and of format 3 with its worksheets.
fn cells(notebook: &Value) -> Option<Vec<&Value>> {
    if let Some(cells) = notebook["cells"].as_array() {
        return Some(cells.iter().collect());
    }
    let sheets = notebook["worksheets"].as_array()?;
    Some(sheets.iter().filter_map(|sheet| sheet["cells"].as_array()).flatten().collect())
}

struct Reader<'a> {
    name: &'a str,
    language: Kind,
    /// Level and words of the headings above the present cell.
    headings: Vec<(usize, String)>,
    chunks: Vec<Chunk>,
    /// A cell with nothing but a heading: the titles of what follows say it.
    waiting: Option<Chunk>,
}

impl Reader<'_> {
    fn cell(&mut self, number: usize, cell: &Value) {
        let source = joined(if cell["source"].is_null() { &cell["input"] } else { &cell["source"] });
        let id = cell["id"].as_str().map(str::to_owned);
        let kind = cell["cell_type"].as_str().unwrap_or_default();
        if kind == "markdown" || kind == "heading" {
            return self.markdown(number, id, &source);
        }
        let outputs = if kind == "code" { outputs(&cell["outputs"]) } else { String::new() };
        if source.trim().is_empty() && outputs.is_empty() {
            return;
        }
        self.waiting = None;
        let language = if kind == "code" { self.language_of(&source) } else { Kind::Text };
        let title = self.title(number);
        let mut pieces = chunk_text(&title, language, &source);
        if !outputs.is_empty() {
            let shown = format!("Output:\n{outputs}");
            match pieces.last_mut() {
                // A short cell and its result belong together.
                Some(last) if last.text.len() + shown.len() <= 3 * BUDGET => {
                    last.text = format!("{}\n\n{shown}", last.text.trim_end())
                }
                _ => pieces.extend(chunk_text(&format!("{title}{STEP}output"), Kind::Text, &outputs)),
            }
        }
        self.keep(number, id, pieces);
    }

    fn markdown(&mut self, number: usize, id: Option<String>, source: &str) {
        if source.trim().is_empty() {
            return;
        }
        let is_heading = |line: &&str| line.starts_with('#') && line.trim_start_matches('#').starts_with(' ');
        let bare = source.lines().filter(|line| !line.trim().is_empty()).all(|line| is_heading(&line));
        if !bare {
            self.waiting = None;
        }
        let title = self.title(number);
        let mut in_code = false;
        for line in source.lines() {
            in_code ^= line.trim_start().starts_with("```");
            if !in_code && is_heading(&line) {
                let words = line.trim_start_matches('#');
                let level = line.len() - words.len();
                self.headings.retain(|(above, _)| *above < level);
                self.headings.push((level, words.trim().trim_end_matches('#').trim().to_owned()));
            }
        }
        let pieces = chunk_text(&title, Kind::Markdown, source);
        if bare {
            let place = Place::Cell { number, id };
            self.waiting = pieces.into_iter().next().map(|piece| Chunk { place, ..piece });
        } else {
            self.keep(number, id, pieces);
        }
    }

    fn keep(&mut self, number: usize, id: Option<String>, pieces: Vec<Chunk>) {
        let place = Place::Cell { number, id };
        self.chunks.extend(
            pieces
                .into_iter()
                .filter(|piece| !piece.text.trim().is_empty())
                .map(|piece| Chunk { place: place.clone(), ..piece }),
        );
    }

    fn title(&self, number: usize) -> String {
        let mut parts = vec![self.name];
        parts.extend(self.headings.iter().map(|(_, words)| words.as_str()));
        let cell = format!("cell {number}");
        parts.push(&cell);
        parts.join(STEP)
    }

    /// What a `%%sql` line says, or the notebook.
    fn language_of(&self, source: &str) -> Kind {
        let first = source.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let magic = first.trim().strip_prefix("%%").map(|rest| rest.split_whitespace().next().unwrap_or_default());
        magic.map_or(self.language, |name| Kind::of_language(name).unwrap_or(Kind::Text))
    }
}

/// What a code cell put out, as text: streams, results, tables, errors; images by their type.
fn outputs(outputs: &Value) -> String {
    let texts: Vec<String> = outputs.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(output).collect();
    let texts: Vec<&str> = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    let text = without_escapes(&texts.join("\n"));
    if text.len() <= MOST_OUTPUT {
        return text;
    }
    let head = text.floor_char_boundary(MOST_OUTPUT * 3 / 4);
    let tail = text.ceil_char_boundary(text.len() - MOST_OUTPUT / 4);
    let left_out = tail - head;
    format!(
        "{}\n… {left_out} bytes left out …\n{}",
        text.get(..head).unwrap_or_default(),
        text.get(tail..).unwrap_or_default()
    )
}

fn output(output: &Value) -> String {
    match output["output_type"].as_str().unwrap_or_default() {
        "stream" => joined(&output["text"]),
        "error" | "pyerr" => format!(
            "{}: {}",
            output["ename"].as_str().unwrap_or("Error"),
            output["evalue"].as_str().unwrap_or_default()
        ),
        _ => {
            // Format 3 has the data beside the type.
            let data = if output["data"].is_object() { &output["data"] } else { output };
            shown(data)
        }
    }
}

/// The best text among the representations of one result.
fn shown(data: &Value) -> String {
    let mut parts = Vec::new();
    let text = ["text/markdown", "text/plain", "text"]
        .iter()
        .map(|mime| joined(&data[*mime]))
        .find(|text| !text.trim().is_empty());
    match text {
        Some(text) => parts.push(text),
        None => {
            let pieces = html::chunk("", &joined(&data["text/html"]));
            parts.extend(pieces.into_iter().map(|piece| piece.text));
        }
    }
    let types = data.as_object().into_iter().flat_map(|data| data.keys());
    parts.extend(types.filter(|mime| mime.starts_with("image/")).map(|mime| format!("[{mime}]")));
    parts.join("\n")
}

/// A string, or a list of lines.
fn joined(text: &Value) -> String {
    match text {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

/// Without the codes that colour a terminal.
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
        } else if characters.next_if_eq(&'[').is_some() {
            for code in characters.by_ref() {
                if ('@'..='~').contains(&code) {
                    break;
                }
            }
        }
    }
    plain
}

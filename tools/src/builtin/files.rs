//! `list_files`, `read_file`, `search_files`.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Builtin, number, text, truth};
use crate::files::{EntryKind, FileText, LineRange, Listing, Query, SearchResult, Workspace};
use crate::text::{bytes, count, thousands, visible};
use crate::{Tool, ToolContext, ToolDisplay, ToolError, ToolOutput};

pub(super) fn tools() -> Vec<Arc<dyn Tool>> {
    vec![list_files(), read_file(), search_files()]
}

fn list_files() -> Arc<dyn Tool> {
    Builtin::reading(
        "list_files",
        "List files. Without a pattern: what is directly in a folder. With one: every file below it that matches. \
         Files ignored by git are left out.",
        json!({
            "path": {"type": "string", "description": "folder to list, relative to the workspace; default: the workspace"},
            "pattern": {"type": "string", "description": "glob such as *.csv or src/**/*.rs, or a part of the name"},
        }),
        &[],
        |arguments, context| {
            const MOST: usize = 200;
            let workspace = Workspace::open(&context.workspace)?;
            let pattern = text(arguments, "pattern");
            let folder = text(arguments, "path").unwrap_or(".");
            let listing = workspace.list(folder, pattern, MOST, &*context.interrupted)?;
            Ok(describe_listing(&listing, pattern))
        },
    )
}

fn describe_listing(listing: &Listing, pattern: Option<&str>) -> ToolOutput {
    let place = if listing.folder == "." { "the workspace".to_owned() } else { listing.folder.clone() };
    let rows: Vec<Vec<String>> = listing
        .entries
        .iter()
        .map(|entry| {
            let detail = match entry.kind {
                EntryKind::File { bytes: size } => bytes(size),
                EntryKind::Folder { .. } if pattern.is_some() => "folder".to_owned(),
                EntryKind::Folder { files } => count(files, "file"),
                EntryKind::Link => "link".to_owned(),
                EntryKind::Special => "not a file".to_owned(),
            };
            vec![entry.path.clone(), detail]
        })
        .collect();
    let mut output = match (listing.total, pattern) {
        (0, Some(pattern)) => format!("Nothing in {place} matches {pattern}."),
        (0, None) => format!("{place} is empty, apart from what git ignores."),
        (total, Some(pattern)) => format!("{} in {place} match {pattern}:", count(total, "entry")),
        (total, None) => format!("{} in {place}:", count(total, "entry")),
    };
    for row in &rows {
        output.push_str(&format!("\n{}  ({})", row[0], row[1]));
    }
    if listing.total > rows.len() {
        output.push_str(&format!(
            "\n… and {} more; narrow it with path or pattern.",
            thousands((listing.total - rows.len()) as u64)
        ));
    }
    if !listing.complete {
        output.push_str("\nThe folder is too large to look at all of it; narrow it with path.");
    }
    let display =
        ToolDisplay::Table { columns: vec!["path".to_owned(), "size".to_owned()], rows, total_rows: listing.total };
    ToolOutput { text: output, display }
}

fn read_file() -> Arc<dyn Tool> {
    Builtin::reading(
        "read_file",
        "Read a text file of the workspace, with line numbers. Long files come in pieces: give start_line and end_line.",
        json!({
            "path": {"type": "string", "minLength": 1, "description": "the file, relative to the workspace"},
            "start_line": {"type": "integer", "minimum": 1, "description": "first line to read; default 1"},
            "end_line": {"type": "integer", "minimum": 1, "description": "last line to read; default: as many as fit"},
        }),
        &["path"],
        |arguments, context| {
            const MOST_LINES: usize = 400;
            const MOST_BYTES: usize = 32_000;
            let path = text(arguments, "path").unwrap_or_default();
            let range =
                LineRange { first: number(arguments, "start_line").unwrap_or(1), last: number(arguments, "end_line") };
            if range.last.is_some_and(|last| last < range.first) {
                let reason = format!("end_line comes before start_line ({})", range.first);
                return Err(ToolError::InvalidArguments { tool: "read_file".to_owned(), reason });
            }
            let workspace = Workspace::open(&context.workspace)?;
            let file = workspace.read(path, range, MOST_LINES, MOST_BYTES, &*context.interrupted)?;
            Ok(describe_file(&file))
        },
    )
}

fn describe_file(file: &FileText) -> ToolOutput {
    let total = file.total_lines.map_or_else(|| "too many lines to count".to_owned(), |total| count(total, "line"));
    let mut output = format!("{} ({total}, {}", file.path, bytes(file.bytes));
    if file.carriage_returns {
        output.push_str(", CRLF line ends");
    }
    if file.lossy {
        output.push_str(", not UTF-8: unreadable bytes are shown as \u{fffd}");
    }
    output.push(')');
    if file.lines.is_empty() {
        output.push_str(if file.bytes == 0 { ": empty" } else { ": no lines" });
    } else if file.first_line > 1 || file.has_more() {
        output.push_str(&format!(", lines {} to {}", file.first_line, file.last_line()));
    }
    let width = file.last_line().to_string().len();
    let lines: Vec<String> = file.lines.iter().map(|line| visible(line)).collect();
    for (index, line) in lines.iter().enumerate() {
        output.push_str(&format!("\n{:>width$}  {line}", file.first_line + index));
    }
    if file.has_more() && !file.lines.is_empty() {
        output.push_str(&format!("\n… more follows; read on with start_line {}.", file.last_line() + 1));
    }
    let language = language_of(Path::new(&file.path)).to_owned();
    ToolOutput { text: output, display: ToolDisplay::Code { language, source: lines.join("\n") } }
}

fn search_files() -> Arc<dyn Tool> {
    Builtin::reading(
        "search_files",
        "Find text in the workspace's files; gives path, line number and line. A query in lower case matches any case. \
         Files ignored by git, binary files and files that hold secrets are left out.",
        json!({
            "query": {"type": "string", "minLength": 1, "description": "the text to find"},
            "path": {"type": "string", "description": "file or folder to search, relative to the workspace; default: all"},
            "regex": {"type": "boolean", "description": "the query is a regular expression; default false"},
        }),
        &["query"],
        search,
    )
}

fn search(arguments: &Value, context: &ToolContext) -> Result<ToolOutput, ToolError> {
    const MOST: usize = 100;
    // Not trimmed: blanks can be part of what is looked for.
    let wanted = arguments.get("query").and_then(Value::as_str).unwrap_or_default();
    let query = if truth(arguments, "regex") { Query::regex(wanted)? } else { Query::literal(wanted)? };
    let place = text(arguments, "path").unwrap_or(".");
    let result = Workspace::open(&context.workspace)?.search(place, &query, MOST, &*context.interrupted)?;
    Ok(describe_search(&result, wanted))
}

fn describe_search(result: &SearchResult, wanted: &str) -> ToolOutput {
    let mut output = if result.total == 0 {
        format!("No line matches {wanted:?} ({} searched).", count(result.files_searched, "file"))
    } else {
        format!(
            "{} in {} for {wanted:?} ({} searched):",
            count(result.total, "match"),
            count(result.files_with_matches, "file"),
            count(result.files_searched, "file"),
        )
    };
    for found in &result.matches {
        output.push_str(&format!("\n{}:{}: {}", found.path, found.line, visible(&found.text)));
    }
    if result.total > result.matches.len() {
        let more = thousands((result.total - result.matches.len()) as u64);
        output.push_str(&format!("\n… and {more} more; narrow it with path or a longer query."));
    }
    let mut skipped = Vec::new();
    for (number, noun) in
        [(result.skipped_binary, "binary file"), (result.skipped_secret, "file that may hold secrets")]
    {
        if number > 0 {
            skipped.push(format!("{number} {noun}"));
        }
    }
    if !skipped.is_empty() {
        output.push_str(&format!("\nNot searched: {}.", skipped.join(", ")));
    }
    if !result.complete {
        output.push_str("\nThe workspace is too large to search all of it; narrow it with path.");
    }
    let rows = result
        .matches
        .iter()
        .map(|found| vec![found.path.clone(), found.line.to_string(), visible(&found.text)])
        .collect();
    let columns = ["path", "line", "text"].map(str::to_owned).to_vec();
    ToolOutput { text: output, display: ToolDisplay::Table { columns, rows, total_rows: result.total } }
}

/// The name of a file's syntax, by its ending.
fn language_of(path: &Path) -> &'static str {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    match name.rsplit_once('.').map_or(name.as_str(), |(_, ending)| ending) {
        "rs" => "rust",
        "py" => "python",
        "sql" => "sql",
        "sh" | "bash" => "bash",
        "md" => "markdown",
        "js" | "mjs" => "javascript",
        "ts" => "typescript",
        "json" | "ipynb" => "json",
        "toml" => "toml",
        "yaml" | "yml" => "yaml",
        "html" => "html",
        "css" => "css",
        "c" | "h" => "c",
        "cpp" | "hpp" | "cc" => "cpp",
        "go" => "go",
        "java" => "java",
        "r" => "r",
        "rb" => "ruby",
        "csv" => "csv",
        "diff" | "patch" => "diff",
        "makefile" => "makefile",
        "dockerfile" => "dockerfile",
        _ => "text",
    }
}

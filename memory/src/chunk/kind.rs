//! What a document is, by its name and its beginning.

use std::path::Path;

/// How a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Rust,
    Python,
    Sql,
    JavaScript,
    TypeScript,
    Tsx,
    Shell,
    Markdown,
    Notebook,
    Html,
    Pdf,
    Csv,
    Tsv,
    Parquet,
    JsonLines,
    Text,
}

impl Kind {
    /// In lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Sql => "SQL",
            Self::JavaScript => "JavaScript",
            Self::TypeScript => "TypeScript",
            Self::Tsx => "TSX",
            Self::Shell => "shell",
            Self::Markdown => "Markdown",
            Self::Notebook => "notebook",
            Self::Html => "HTML",
            Self::Pdf => "PDF",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Parquet => "Parquet",
            Self::JsonLines => "JSON Lines",
            Self::Text => "text",
        }
    }

    /// By the name's ending, or else by the first bytes.
    pub fn of(path: &Path, beginning: &[u8]) -> Self {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        ending
            .and_then(|ending| Self::of_ending(&ending))
            .or_else(|| Self::of_beginning(beginning))
            .unwrap_or(Self::Text)
    }

    /// Of a `Content-Type`, with or without parameters; `None` for what says nothing (`text/plain` does not).
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_lowercase();
        Some(match essence.as_str() {
            "text/html" | "application/xhtml+xml" => Self::Html,
            "text/markdown" | "text/x-markdown" => Self::Markdown,
            "application/pdf" | "application/x-pdf" => Self::Pdf,
            "application/x-ipynb+json" => Self::Notebook,
            "text/csv" => Self::Csv,
            "text/tab-separated-values" => Self::Tsv,
            "application/vnd.apache.parquet" => Self::Parquet,
            "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => Self::JsonLines,
            "text/javascript" | "application/javascript" | "application/x-javascript" => Self::JavaScript,
            "application/typescript" => Self::TypeScript,
            "text/x-python" | "application/x-python" => Self::Python,
            "text/x-rust" | "text/rust" => Self::Rust,
            "application/sql" => Self::Sql,
            "application/x-sh" | "text/x-shellscript" => Self::Shell,
            _ => return None,
        })
    }

    /// A table, which is told by its columns and a sample.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Parquet | Self::JsonLines)
    }

    /// The language a notebook's kernel or a `%%` line names.
    pub(super) fn of_language(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "rust" | "codriver" => Self::Rust,
            "python" | "python3" | "ipython" => Self::Python,
            "sql" => Self::Sql,
            "javascript" | "js" | "node" => Self::JavaScript,
            "typescript" | "ts" => Self::TypeScript,
            "bash" | "sh" | "shell" | "zsh" => Self::Shell,
            "markdown" => Self::Markdown,
            "html" => Self::Html,
            _ => return None,
        })
    }

    fn of_ending(ending: &str) -> Option<Self> {
        Some(match ending {
            "rs" => Self::Rust,
            "py" | "pyi" | "pyw" => Self::Python,
            "sql" | "ddl" | "psql" => Self::Sql,
            "js" | "mjs" | "cjs" | "jsx" => Self::JavaScript,
            "ts" | "mts" | "cts" => Self::TypeScript,
            "tsx" => Self::Tsx,
            "sh" | "bash" | "zsh" | "ksh" => Self::Shell,
            "md" | "markdown" | "mdx" | "qmd" | "rmd" => Self::Markdown,
            "ipynb" => Self::Notebook,
            "html" | "htm" | "xhtml" => Self::Html,
            "pdf" => Self::Pdf,
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "parquet" => Self::Parquet,
            "jsonl" | "ndjson" => Self::JsonLines,
            "txt" | "rst" | "text" | "log" => Self::Text,
            _ => return None,
        })
    }

    fn of_beginning(beginning: &[u8]) -> Option<Self> {
        if beginning.starts_with(b"%PDF-") {
            return Some(Self::Pdf);
        }
        if beginning.starts_with(b"PAR1") {
            return Some(Self::Parquet);
        }
        let first = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first.get(..first.len().min(200)).unwrap_or(first)).to_lowercase();
        if let Some(program) = first.strip_prefix("#!") {
            let names = ["python", "node", "deno", "bash", "zsh", "ksh", "sh"];
            let words = || program.split(|character: char| !character.is_alphanumeric());
            let name =
                names.into_iter().find(|name| words().any(|word| word.trim_end_matches(char::is_numeric) == *name))?;
            return match name {
                "python" => Some(Self::Python),
                "node" => Some(Self::JavaScript),
                "deno" => Some(Self::TypeScript),
                _ => Some(Self::Shell),
            };
        }
        let is_page = ["<!doctype html", "<html"].iter().any(|start| first.trim_start().starts_with(start));
        is_page.then_some(Self::Html)
    }
}

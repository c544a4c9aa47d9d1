//! Source with its colours.

use std::sync::OnceLock;

use syntect::highlighting::ThemeSet;
use syntect::html::{ClassStyle, ClassedHTMLGenerator, css_for_theme_with_class_style};
use syntect::parsing::SyntaxSet;
use syntect::util::LinesWithEndings;

use super::escape;

const CLASSES: ClassStyle = ClassStyle::SpacedPrefixed { prefix: "hl-" };

/// What a cell is written in, told from its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    Sql,
    Bash,
    Agent,
    Magic,
}

impl Language {
    pub fn of(source: &str) -> Self {
        let first = source.lines().map(str::trim_start).find(|line| !line.is_empty()).unwrap_or_default();
        if first.starts_with('!') {
            return Self::Bash;
        }
        let Some(magic) = first.strip_prefix('%') else {
            return Self::Rust;
        };
        match magic.trim_start_matches('%').split_whitespace().next() {
            Some("sql") => Self::Sql,
            Some("bash" | "sh" | "shell") => Self::Bash,
            Some("agent") => Self::Agent,
            Some("rust") => Self::Rust,
            _ => Self::Magic,
        }
    }

    pub fn class(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Sql => "sql",
            Self::Bash => "bash",
            Self::Agent => "agent",
            Self::Magic => "magic",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Sql => "SQL",
            Self::Bash => "Bash",
            Self::Agent => "Agent",
            Self::Magic => "Magic",
        }
    }

    /// The file extension by which the syntax is known.
    fn syntax(self) -> Option<&'static str> {
        match self {
            Self::Rust => Some("rs"),
            Self::Sql => Some("sql"),
            Self::Bash => Some("sh"),
            Self::Agent | Self::Magic => None,
        }
    }
}

/// A cell's source: its magic line apart, the rest in the colours of its language.
pub fn highlight_cell(source: &str, language: Language) -> String {
    let source = source.trim_matches('\n');
    let (magic, body) = match source.split_once('\n') {
        _ if !source.trim_start().starts_with('%') => ("", source),
        Some((magic, body)) => (magic, body),
        None => (source, ""),
    };
    let mut html = String::new();
    if !magic.is_empty() {
        html.push_str(&format!("<span class=\"magic-line\">{}</span>", escape(magic)));
    }
    if !body.is_empty() {
        html.push_str(&language.syntax().and_then(|syntax| highlight(body, syntax)).unwrap_or_else(|| escape(body)));
    }
    let class = if language == Language::Agent { "request" } else { "listing" };
    format!("<pre class=\"{class}\">{html}</pre>")
}

/// `None` for a syntax we don't know. `token` is a language's name or file extension.
pub fn highlight(source: &str, token: &str) -> Option<String> {
    static SYNTAXES: OnceLock<SyntaxSet> = OnceLock::new();
    let syntaxes = SYNTAXES.get_or_init(SyntaxSet::load_defaults_newlines);
    let syntax = syntaxes.find_syntax_by_token(token)?;
    let mut generator = ClassedHTMLGenerator::new_with_class_style(syntax, syntaxes, CLASSES);
    for line in LinesWithEndings::from(source) {
        generator.parse_html_for_line_which_includes_newline(line).ok()?;
    }
    Some(generator.finalize())
}

/// The colours of both themes; computed once.
pub fn stylesheet() -> &'static str {
    static STYLESHEET: OnceLock<String> = OnceLock::new();
    STYLESHEET.get_or_init(|| {
        let themes = ThemeSet::load_defaults();
        let css = |name: &str| {
            let theme = themes.themes.get(name);
            theme.and_then(|theme| css_for_theme_with_class_style(theme, CLASSES).ok()).unwrap_or_default()
        };
        let light = css("InspiredGitHub");
        let dark = css("base16-eighties.dark");
        // Kept apart: each theme colours words that the other leaves alone.
        format!(
            "@media not (prefers-color-scheme: dark) {{\n{light}\n}}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
        )
    })
}

//! `search_docs`: Codriver's own help, found by BM25, and the documents that were taken in.

use std::collections::HashMap;
use std::sync::LazyLock;

use codriver_memory::{Hit, SearchOptions};
use codriver_tools::{Effect, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolSpecification};
use serde_json::{Value, json};

use super::{SessionParts, text_argument};
use crate::agent::context::{LEAST_SCORE_BY_MEANING, LEAST_SCORE_BY_WORDS};

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../help/", $name, ".md")))),*]
    };
}

/// Every help page: its name and its Markdown.
pub const PAGES: &[(&str, &str)] = pages![
    "agent",
    "ask",
    "context",
    "errors",
    "files",
    "frames",
    "git",
    "install",
    "interrupts",
    "knowledge",
    "magics",
    "memory",
    "models",
    "notebooks",
    "overview",
    "prompts",
    "providers",
    "rust",
    "safety",
    "shell",
    "sql",
    "tools",
    "usage",
    "values",
];

const MOST_HITS: usize = 3;
const LONGEST_SECTION: usize = 1_800;

/// One section of a page.
#[derive(Debug, Clone)]
pub struct Section {
    pub page: &'static str,
    pub title: String,
    pub text: String,
    words: Vec<String>,
}

pub(super) struct SearchDocs {
    parts: SessionParts,
    specification: ToolSpecification,
}

impl SearchDocs {
    pub(super) fn new(parts: &SessionParts) -> Self {
        Self {
            parts: parts.clone(),
            specification: ToolSpecification {
                name: "search_docs",
                description: "Searches Codriver's own help (magics, agents, models, memory, SQL, Rust, shell, git, installation) and the documents that \
                              were taken in with %knowledge.",
                parameters: json!({
                    "type": "object",
                    "properties": { "query": { "type": "string", "description": "a few words" } },
                    "required": ["query"],
                    "additionalProperties": false,
                }),
                effect: Effect::Read,
            },
        }
    }
}

impl Tool for SearchDocs {
    fn specification(&self) -> &ToolSpecification {
        &self.specification
    }

    fn run(&self, arguments: &Value, _context: &ToolContext) -> Result<ToolOutput, ToolError> {
        let hits = search(text_argument(arguments, "query"), MOST_HITS);
        let mut texts = Vec::new();
        if !hits.is_empty() {
            let found: Vec<String> = hits.iter().map(|section| described(section)).collect();
            texts.push(format!("{} of Codriver's help:\n{}", count(found.len()), found.join("\n\n")));
        }
        let pieces = self.pieces(text_argument(arguments, "query"))?;
        if !pieces.is_empty() {
            texts.push(format!("From documents:\n{}", pieces.join("\n\n")));
        }
        if texts.is_empty() {
            texts.push("nothing in the help or in documents matches".to_owned());
        }
        Ok(ToolOutput { text: texts.join("\n\n"), display: ToolDisplay::Text })
    }
}

impl SearchDocs {
    /// The pieces of documents that match well, each with where it stands.
    fn pieces(&self, query: &str) -> Result<Vec<String>, ToolError> {
        let memory = &self.parts.memory;
        let options = SearchOptions { kinds: vec!["chunk"], ..SearchOptions::default() };
        self.parts.embedder.wait(memory, &self.parts.context.interrupt);
        let hits =
            memory.search_with(query, MOST_HITS, &options).map_err(|error| ToolError::Failed(error.to_string()))?;
        let matches =
            |hit: &&Hit| hit.score >= if hit.cosine.is_some() { LEAST_SCORE_BY_MEANING } else { LEAST_SCORE_BY_WORDS };
        let told = |hit: &Hit| format!("{} ({}):\n{}", hit.title, memory.whereabouts(hit), hit.text.trim_end());
        Ok(hits.iter().filter(matches).map(told).collect())
    }
}

fn count(sections: usize) -> String {
    if sections == 1 { "1 section".to_owned() } else { format!("{sections} sections") }
}

/// The title and the first paragraph on one line, then the rest.
fn described(section: &Section) -> String {
    let (first, rest) = section.text.split_once("\n\n").unwrap_or((&section.text, ""));
    let first = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    format!("{} ({}): {first}\n{rest}", section.title, section.page).trim_end().to_owned()
}

/// The sections that match best.
pub fn search(query: &str, most: usize) -> Vec<&'static Section> {
    let index = &*INDEX;
    let mut scored: Vec<(f64, usize)> = Vec::new();
    let terms = words(query);
    for (number, section) in index.sections.iter().enumerate() {
        let score: f64 = terms.iter().map(|term| index.score(term, section)).sum();
        if score > 0.0 {
            scored.push((score, number));
        }
    }
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    scored.into_iter().take(most).map(|(_, number)| &index.sections[number]).collect()
}

/// The section of a page with this title.
pub fn section(page: &str, title: &str) -> Option<String> {
    let found = INDEX.sections.iter().find(|section| section.page == page && section.title.eq_ignore_ascii_case(title));
    found.map(|section| section.text.clone())
}

static INDEX: LazyLock<Index> = LazyLock::new(Index::build);

struct Index {
    sections: Vec<Section>,
    containing: HashMap<String, usize>,
    average_length: f64,
}

impl Index {
    fn build() -> Self {
        let sections: Vec<Section> = PAGES.iter().flat_map(|(page, text)| sections(page, text)).collect();
        let mut containing: HashMap<String, usize> = HashMap::new();
        for section in &sections {
            let mut distinct = section.words.clone();
            distinct.sort();
            distinct.dedup();
            for word in distinct {
                *containing.entry(word).or_default() += 1;
            }
        }
        let total: usize = sections.iter().map(|section| section.words.len()).sum();
        let average_length = total as f64 / sections.len().max(1) as f64;
        Self { sections, containing, average_length }
    }

    /// BM25 with the usual constants.
    fn score(&self, term: &str, section: &Section) -> f64 {
        const SATURATION: f64 = 1.2;
        const LENGTH: f64 = 0.75;
        let frequency = section.words.iter().filter(|word| *word == term).count() as f64;
        if frequency == 0.0 {
            return 0.0;
        }
        let containing = self.containing.get(term).copied().unwrap_or(0) as f64;
        let rarity = (1.0 + (self.sections.len() as f64 - containing + 0.5) / (containing + 0.5)).ln();
        let length = section.words.len() as f64 / self.average_length;
        rarity * frequency * (SATURATION + 1.0) / (frequency + SATURATION * (1.0 - LENGTH + LENGTH * length))
    }
}

/// Cuts a page at its headings; what stands before the first belongs to the title.
fn sections(page: &'static str, text: &str) -> Vec<Section> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        match line.strip_prefix("# ").or_else(|| line.strip_prefix("## ")).filter(|_| !in_code) {
            Some(title) => found.push((title.trim().to_owned(), String::new())),
            None => {
                if let Some((_, body)) = found.last_mut() {
                    body.push_str(line);
                    body.push('\n');
                }
            }
        }
    }
    found
        .into_iter()
        .filter(|(_, body)| !body.trim().is_empty())
        .map(|(title, body)| {
            // The page's name and the title count more than a word of the text.
            let words = words(&format!("{page} {page} {title} {title} {title} {body}"));
            let text = crate::agent::context::shorten(body.trim(), LONGEST_SECTION);
            Section { page, title, text, words }
        })
        .collect()
}

/// Lower-case words, the commonest left out, plurals cut.
fn words(text: &str) -> Vec<String> {
    const COMMON: [&str; 40] = [
        "a", "an", "and", "are", "as", "at", "be", "by", "can", "codriver", "do", "does", "for", "from", "has", "have",
        "how", "i", "in", "is", "it", "its", "me", "my", "of", "on", "one", "or", "that", "the", "there", "this", "to",
        "use", "what", "when", "where", "which", "with", "you",
    ];
    text.split(|character: char| !(character.is_alphanumeric() || character == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| !COMMON.contains(&word.as_str()))
        .map(|word| match word.strip_suffix('s') {
            Some(stem) if stem.len() >= 3 && !stem.ends_with('s') => stem.to_owned(),
            _ => word,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{PAGES, search};

    #[test]
    fn questions_find_their_page() {
        for (query, page) in [
            ("how do I switch the model", "models"),
            ("attach an OpenAI compatible server", "providers"),
            ("stop a running cell", "interrupts"),
            ("limit the rows of a query", "sql"),
            ("add a crate dependency", "rust"),
            ("what does the agent remember, and how do I delete a fact", "memory"),
            ("install the kernel for one user", "install"),
            ("show the last commits", "git"),
            ("batch requests from a file in the terminal", "ask"),
            ("run a notebook without a browser", "notebooks"),
            ("what did the model see", "context"),
            ("pass a table from SQL to Rust", "frames"),
            ("list all magics", "magics"),
            ("shell command exit code", "shell"),
            ("memory storage location", "memory"),
            ("forget memory", "memory"),
            ("offline models", "models"),
            ("limit agent steps", "agent"),
            ("%%agent flags", "agent"),
            ("switch model", "models"),
        ] {
            let pages: Vec<&str> = search(query, 3).iter().map(|section| section.page).collect();
            assert!(pages.contains(&page), "{query}: {pages:?}");
        }
        assert!(search("zxqv", 3).is_empty());
        assert!(PAGES.iter().all(|(name, text)| text.starts_with("# ") && !name.is_empty()));
    }
}

//! Requests that a tool other than `sql` answers, and those that none does.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::arithmetic;
use super::queries::weighted;
use super::{Request, Want, plural, singular};
use crate::starter::mentions::FILE_KINDS;
use crate::starter::notation::Keyword;
use crate::starter::phrases::Phrases;
use crate::starter::words::name_words;
use crate::starter::worlds::World;

const SECTIONS: &[(&str, u32)] = &[
    ("describe_table", 12),
    ("git_status", 7),
    ("git_log", 5),
    ("git_log.count", 5),
    ("git_log.one", 3),
    ("git_log.path", 4),
    ("git_log.branch", 3),
    ("git_diff", 6),
    ("git_diff.staged", 3),
    ("git_diff.path", 4),
    ("git_diff.branches", 4),
    ("git_diff.previous", 2),
    ("list_files", 5),
    ("list_files.folder", 5),
    ("list_files.glob", 5),
    ("list_files.folderglob", 3),
    ("read_file", 9),
    ("read_file.range", 3),
    ("read_file.first", 3),
    ("search_files", 9),
    ("search_files.in", 5),
    ("run_rust", 5),
    ("calculate", 22),
    ("remember", 9),
    ("recall", 9),
    ("explain_error", 6),
    ("search_docs", 11),
    ("decline", 11),
];

/// What is asked, by the section of its phrases.
pub(super) fn section(random: &mut impl Rng) -> &'static str {
    weighted(SECTIONS, random)
}

pub(super) fn request(
    section: &'static str,
    world: &World,
    phrases: &Phrases,
    random: &mut ChaCha8Rng,
) -> Option<Request> {
    let mut writer = Writer { world, phrases, random, call: Vec::new(), span: None };
    let text = writer.write(section)?;
    let mut call = writer.call;
    if let Some(span) = writer.span {
        let start = text.find(&span)?;
        let span = span.trim_end_matches(['.', '?', '!', '"', '\'', '`']);
        let quote = span.len() - span.trim_start_matches(['"', '\'', '`']).len();
        for want in &mut call {
            match want {
                Want::SpanStart(offset) => *offset = start + quote,
                Want::SpanEnd(offset) => *offset = start + span.len(),
                _ => {}
            }
        }
    }
    Some(Request { text, call })
}

struct Writer<'a> {
    world: &'a World,
    phrases: &'a Phrases,
    random: &'a mut ChaCha8Rng,
    call: Vec<Want>,
    /// The text that the call's span covers.
    span: Option<String>,
}

impl Writer<'_> {
    fn write(&mut self, section: &'static str) -> Option<String> {
        let tool = section.split('.').next().unwrap_or(section);
        self.call.push(Want::Keyword(keyword(tool)));
        let mut slots: Vec<(&str, String)> = Vec::new();
        match section {
            "describe_table" => {
                let table = self.world.tables.choose(self.random)?;
                self.call.push(Want::Table(table.name.clone()));
                let words = if self.random.random_bool(0.35) { table.name.clone() } else { self.plain(&table.name) };
                slots.push(("T", words));
            }
            "git_log.count" => slots.push(("K", self.constant(1, 30))),
            "git_log.one" => self.call.push(Want::Keyword(Keyword::One)),
            "git_log.path" | "git_diff.path" | "read_file" => slots.push(("F", self.file()?)),
            "git_log.branch" => slots.push(("B", self.branch()?)),
            "git_diff.staged" => self.call.push(Want::Keyword(Keyword::Staged)),
            "git_diff.previous" => self.call.push(Want::Keyword(Keyword::Previous)),
            "git_diff.branches" => {
                slots.push(("B", self.branch()?));
                slots.push(("B2", self.branch()?));
                if slots[0].1 == slots[1].1 {
                    return None;
                }
            }
            "list_files.folder" => slots.push(("D", self.folder()?)),
            "list_files.glob" => slots.push(("X", self.glob()?)),
            "list_files.folderglob" => {
                slots.push(("D", self.folder()?));
                slots.push(("X", self.glob()?));
            }
            "read_file.range" | "read_file.first" => {
                slots.push(("F", self.file()?));
                if section == "read_file.first" {
                    self.call.push(Want::Keyword(Keyword::First));
                    slots.push(("K", self.constant(3, 60)));
                } else {
                    let first = self.random.random_range(2..60);
                    slots.push(("K", self.constant(first, first)));
                    slots.push(("K2", self.constant(first + 2, first + 60)));
                }
            }
            "search_files" => slots.push(("S", self.needle())),
            "search_files.in" => {
                slots.push(("S", self.needle()));
                let place = if self.random.random_bool(0.6) { self.folder()? } else { self.file()? };
                slots.push(("D", place));
            }
            "run_rust" => {
                self.call.push(Want::Code);
                slots.push(("R", self.phrases.pick("codes_rust", self.random)));
            }
            "calculate" => {
                let (text, call) = arithmetic::request(self.phrases, self.random)?;
                self.call.extend(call);
                return Some(text);
            }
            "remember" => slots.push(("S", self.spanned("facts"))),
            "recall" => {
                slots.push(("S", self.phrases.pick("topics", self.random)));
                slots.push(("O", self.phrases.pick("matters", self.random)));
                slots.push(("Y", self.phrases.pick("clauses", self.random)));
            }
            "search_docs" => {
                let topic = self.phrases.pick("docs", self.random);
                let magic = self.phrases.pick("magics", self.random);
                slots.push(("S", topic));
                slots.push(("M", magic));
            }
            _ => {}
        }
        Some(self.phrases.expand(section, self.random, &mut |slot| {
            slots.iter().find(|(name, _)| *name == slot).map(|(_, value)| value.clone()).unwrap_or_default()
        }))
    }

    fn plain(&mut self, name: &str) -> String {
        let mut words = name_words(name);
        if let Some(last) = words.last_mut() {
            *last = if self.random.random_bool(0.7) { plural(last) } else { singular(last) };
        }
        words.join(" ")
    }

    fn constant(&mut self, low: u32, high: u32) -> String {
        const NAMES: &[&str] = &["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
        let number = self.random.random_range(low..=high);
        self.call.push(Want::Constant(number.to_string()));
        match NAMES.get((number as usize).wrapping_sub(1)) {
            Some(name) if number > 1 && self.random.random_bool(0.35) => (*name).to_owned(),
            _ => number.to_string(),
        }
    }

    /// A file as people name it: its path, its name, or its words.
    fn file(&mut self) -> Option<String> {
        let files: Vec<&String> = self.world.environment.files.iter().filter(|path| !path.ends_with('/')).collect();
        let path = (*files.choose(self.random)?).clone();
        self.call.push(Want::File(path.clone()));
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let unique = |word: &str| files.iter().filter(|other| other.to_lowercase().contains(word)).count() == 1;
        let (base, extension) = name.split_once('.').unwrap_or((&name, ""));
        let words = name_words(base).join(" ");
        Some(match self.random.random_range(0..10) {
            0..3 if !words.is_empty() && unique(&base.to_lowercase()) => words,
            3 if !words.is_empty() && !extension.is_empty() && unique(&base.to_lowercase()) => {
                let kind = FILE_KINDS
                    .iter()
                    .find(|(_, glob)| glob.ends_with(&format!(".{extension}")))
                    .map_or("file", |(kind, _)| *kind);
                format!("{words} {}", [kind, "file", extension].choose(self.random).copied().unwrap_or("file"))
            }
            4..7 if files.iter().filter(|other| other.ends_with(&name)).count() == 1 => name,
            _ => path,
        })
    }

    fn folder(&mut self) -> Option<String> {
        let folders: Vec<&String> = self.world.environment.files.iter().filter(|path| path.ends_with('/')).collect();
        let folder = folders.choose(self.random)?.trim_end_matches('/').to_owned();
        self.call.push(Want::Folder(folder.clone()));
        Some(if self.random.random_bool(0.2) { format!("{folder}/") } else { folder })
    }

    fn glob(&mut self) -> Option<String> {
        let (name, glob) = *FILE_KINDS.choose(self.random)?;
        self.call.push(Want::Glob(glob.to_owned()));
        let extension = glob.trim_start_matches('*');
        Some(match self.random.random_range(0..6) {
            0 => glob.to_owned(),
            1 => format!("{extension} files"),
            2 if name == "notebook" || name == "markdown" => "notebooks".to_owned(),
            3 if matches!(name, "rust" | "python" | "javascript") => format!(
                "{name} {}",
                ["sources", "scripts", "source files", "code"].choose(self.random).copied().unwrap_or("sources")
            ),
            _ => format!("{name} files"),
        })
    }

    fn branch(&mut self) -> Option<String> {
        let branch = self.world.environment.branches.choose(self.random)?.clone();
        self.call.push(Want::Branch(branch.clone()));
        Some(branch)
    }

    fn needle(&mut self) -> String {
        let needle = self.phrases.pick("needles", self.random);
        let quoted = needle.starts_with(['"', '\'', '`']);
        if quoted {
            self.call.push(Want::Literal(needle.trim_matches(['"', '\'', '`']).to_owned()));
        } else if self.random.random_bool(0.35) {
            let mark = *["\"", "'", "`"].choose(self.random).unwrap_or(&"\"");
            self.call.push(Want::Literal(needle.clone()));
            return format!("{mark}{needle}{mark}");
        } else {
            self.call.extend([Want::SpanStart(0), Want::SpanEnd(0)]);
            self.span = Some(needle.trim_start_matches("the word ").to_owned());
        }
        needle
    }

    fn spanned(&mut self, section: &str) -> String {
        let text = self.phrases.pick(section, self.random);
        self.call.extend([Want::SpanStart(0), Want::SpanEnd(0)]);
        self.span = Some(text.clone());
        text
    }
}

fn keyword(tool: &str) -> Keyword {
    use Keyword::{
        Calculate, Decline, DescribeTable, ExplainError, GitDiff, GitLog, GitStatus, ListFiles, ReadFile, Recall,
        Remember, RunRust, SearchDocs, SearchFiles,
    };
    match tool {
        "describe_table" => DescribeTable,
        "git_status" => GitStatus,
        "git_log" => GitLog,
        "git_diff" => GitDiff,
        "list_files" => ListFiles,
        "read_file" => ReadFile,
        "search_files" => SearchFiles,
        "run_rust" => RunRust,
        "calculate" => Calculate,
        "remember" => Remember,
        "recall" => Recall,
        "explain_error" => ExplainError,
        "search_docs" => SearchDocs,
        _ => Decline,
    }
}

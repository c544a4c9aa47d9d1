//! Where a request mentions something: names, values, literals, files.

mod periods;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use periods::{DAY, period};
use regex::Regex;

use super::linking::Referent;
use super::notation::{Kind, Token};
use super::numbers;
use super::words::{Word, alike, name_words, related, stem};
use crate::Environment;

/// One mention, at the word it starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub word: usize,
    pub length: usize,
    /// 3: the whole name, 2: with a slip, 1: one word of a longer name.
    pub strength: i64,
    pub token: Token,
}

impl Mention {
    fn at(word: usize, length: usize, strength: i64) -> Self {
        Self { word, length, strength, token: 0 }
    }
}

/// At most this many references stand before one word.
const MAX_A_WORD: usize = 5;

/// Words too common to stand for a longer name they are part of. A name that starts with one
/// (`by_region`) is not meant by its words in a sentence ("total by region").
const WEAK: &[&str] = &[
    "by", "id", "is", "of", "the", "at", "on", "in", "no", "to", "per", "a", "an", "number", "has", "and", "or", "for",
    "with", "name", "count",
];

/// Drops partial mentions of words that a whole mention covers.
pub fn strongest(mut mentions: Vec<Mention>) -> Vec<Mention> {
    let covers = |strong: &Mention, weak: &Mention| {
        strong.word <= weak.word
            && strong.word + strong.length >= weak.word + weak.length
            && (strong.strength > weak.strength && weak.strength == 1
                || strong.length > weak.length && strong.strength >= weak.strength)
    };
    let all = mentions.clone();
    mentions.retain(|mention| !all.iter().any(|other| covers(other, mention)));
    mentions.sort_by_key(|mention| (mention.word, -mention.strength, mention.token));
    mentions.dedup_by_key(|mention| (mention.word, mention.token));
    let mut kept: Vec<Mention> = Vec::new();
    for mention in mentions {
        if kept.iter().filter(|other| other.word == mention.word).count() < MAX_A_WORD {
            kept.push(mention);
        }
    }
    kept
}

/// Mentions of a table's or column's name.
pub fn of_name(words: &[Word], name: &str) -> Vec<Mention> {
    let parts: Vec<String> = name_words(name).iter().map(|part| stem(part)).collect();
    if parts.is_empty() {
        return Vec::new();
    }
    let lower = name.to_lowercase();
    let joined: String = parts.concat();
    let mut found = Vec::new();
    for index in 0..words.len() {
        let word = &words[index];
        let named = || {
            let words = name_words(&word.text);
            words.len() > 1 && words.iter().map(|part| stem(part)).eq(parts.iter().cloned())
        };
        if word.lower == lower || (word.stem == joined && joined.len() > 2) || named() {
            found.push(Mention::at(index, 1, 3));
        } else if let Some(strength) =
            sequence(&words[index..], &parts).filter(|_| parts.len() == 1 || !WEAK.contains(&parts[0].as_str()))
        {
            found.push(Mention::at(index, parts.len(), strength));
        } else if parts.len() == 1 && related(&word.stem, &parts[0]) {
            found.push(Mention::at(index, 1, 2));
        } else if parts.len() > 1
            && parts.iter().any(|part| part.len() > 3 && !WEAK.contains(&part.as_str()) && related(&word.stem, part))
        {
            found.push(Mention::at(index, 1, 1));
        } else if word.stem.len() >= 4
            && parts.iter().any(|part| {
                part.len() > word.stem.len() && part.len() <= 2 * word.stem.len() && part.ends_with(&word.stem)
            })
        {
            // "Hooks" for `webhooks`.
            found.push(Mention::at(index, 1, if parts.len() == 1 { 2 } else { 1 }));
        } else if parts.len() > 1 && parts.iter().any(|part| *part == word.stem && !WEAK.contains(&part.as_str())) {
            found.push(Mention::at(index, 1, 1));
        }
    }
    found
}

/// Whether `words` start with `parts`; 3 to the letter, 2 with slips.
fn sequence(words: &[Word], parts: &[String]) -> Option<i64> {
    if words.len() < parts.len() {
        return None;
    }
    let mut strength = 3;
    for (word, part) in words.iter().zip(parts) {
        if word.stem == *part {
            continue;
        }
        if !alike(&word.stem, part) {
            return None;
        }
        strength = 2;
    }
    Some(strength)
}

/// Words that deny a flag's name: `unpaid` and `non-paid` for `paid` or `is_paid`.
pub fn of_opposite(words: &[Word], flag: &str) -> Vec<Mention> {
    let parts = name_words(flag);
    let Some(last) = parts.last() else { return Vec::new() };
    let denies = |word: &Word| {
        ["un", "in", "non", "non-", "dis", "im", "ir"]
            .iter()
            .any(|prefix| word.lower.strip_prefix(prefix) == Some(last))
    };
    words.iter().enumerate().filter(|(_, word)| denies(word)).map(|(index, _)| Mention::at(index, 1, 3)).collect()
}

/// Mentions of a value of a text column, whatever its case and number.
pub fn of_value(words: &[Word], value: &str) -> Vec<Mention> {
    let parts: Vec<String> = value
        .split(|c: char| c.is_whitespace() || c == '_')
        .filter(|part| !part.is_empty())
        .map(|part| stem(&part.to_lowercase()))
        .collect();
    if parts.is_empty() || parts.len() > 5 || value.len() < 2 {
        return Vec::new();
    }
    let lower = value.to_lowercase();
    (0..words.len())
        .filter_map(|index| {
            if words[index].lower == lower {
                return Some(Mention::at(index, 1, 3));
            }
            let strength = sequence(&words[index..], &parts)?;
            (strength == 3 || parts.iter().all(|part| part.len() >= 6))
                .then(|| Mention::at(index, parts.len(), strength))
        })
        .collect()
}

static QUOTED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"`([^`]+)`|"([^"]+)"|“([^”]+)”|(?:^|[\s(,:=])'([^']+)'"#).ok());
static EXPRESSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:sqrt|abs|round|floor|ceil|ln|log10|exp|sin|cos|tan)?\(*-?\$?\d[\d,]*(?:\.\d+)?(?:\s*(?:\*\*|[-+*/^%x×÷()]|% of|mod|(?:sqrt|abs|round)\()+\s*\(*\s*\$?\d[\d,]*(?:\.\d+)?%?\)*)+").ok()
});
static RUN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?is)^(?:please |now |can you |could you )*(?:run|execute|evaluate|eval|compile(?: and run)?)(?: this| the| following| rust| code| snippet)*:?\s+(\S.*[;(){}].*)$").ok()
});
static REVISION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(?:HEAD|head)(?:[~^]\d*)*$").ok());

/// Quoted text, code, expressions, numbers and dates.
pub fn of_literals(request: &str, words: &[Word]) -> Vec<(Mention, Kind, Referent)> {
    let mut found = Vec::new();
    let word_at = |offset: usize| words.iter().position(|word| word.end > offset);
    let code = trailing_code(request);
    if let Some((start, code)) = &code
        && let Some(word) = word_at(*start)
    {
        found.push((Mention::at(word, 1, 3), Kind::Code, Referent::Code(code.clone())));
    }
    if let Some(pattern) = QUOTED.as_ref() {
        for capture in pattern.captures_iter(request) {
            let Some(text) = (1..=4).find_map(|group| capture.get(group)) else { continue };
            // What is quoted inside code is part of the code.
            if code.as_ref().is_some_and(|(start, _)| text.start() > *start) {
                continue;
            }
            let Some(word) = word_at(text.start()) else { continue };
            let length =
                words.iter().filter(|word| word.start >= text.start() && word.end <= text.end()).count().max(1);
            found.push((Mention::at(word, length, 3), Kind::Literal, Referent::Literal(text.as_str().to_owned())));
            if looks_like_code(text.as_str()) {
                found.push((Mention::at(word, length, 3), Kind::Code, Referent::Code(text.as_str().to_owned())));
            }
        }
    }
    if let Some(pattern) = EXPRESSION.as_ref() {
        for expression in pattern.find_iter(request) {
            let text = balanced(expression.as_str().trim());
            let is_date = DAY.as_ref().is_some_and(|day| day.is_match(text));
            if let Some(word) = word_at(expression.start())
                && !is_date
            {
                let length = words
                    .iter()
                    .filter(|word| word.start >= expression.start() && word.end <= expression.end())
                    .count()
                    .max(1);
                found.push((Mention::at(word, length, 3), Kind::Expression, Referent::Expression(symbols(text))));
            }
        }
    }
    let mut index = 0;
    while index < words.len() {
        let period = period(words, index);
        if let Some((number, length)) = numbers::at(words, index) {
            found.push((Mention::at(index, length, 3), Kind::Constant, Referent::Constant(number)));
        }
        if let Some((period, length)) = period {
            found.push((Mention::at(index, length, 3), Kind::Period, Referent::Period(period)));
        }
        index += numbers::at(words, index).map_or(1, |(_, length)| length);
    }
    found
}

/// An expression without the parentheses that the sentence around it owns.
fn balanced(mut text: &str) -> &str {
    let count = |text: &str, parenthesis: char| text.matches(parenthesis).count();
    while text.starts_with('(') && count(text, '(') > count(text, ')') {
        text = text.trim_start_matches('(');
    }
    while text.ends_with(')') && count(text, ')') > count(text, '(') {
        text = text.strip_suffix(')').unwrap_or(text);
    }
    text.trim()
}

static CROSS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"([\d)])\s*[xX]\s*([\d(])").ok());

/// An expression in the symbols of `calculate`.
fn symbols(text: &str) -> String {
    let text = text.replace('×', "*").replace('÷', "/").replace("**", "^");
    CROSS.as_ref().map_or(text.clone(), |cross| cross.replace_all(&text, "$1 * $2").into_owned())
}

fn looks_like_code(text: &str) -> bool {
    text.contains(['(', ';', '{', '=']) || text.contains("::") || text.contains('+') && text.contains(' ')
}

/// Code at the end of a request, behind a colon or a fence.
fn trailing_code(request: &str) -> Option<(usize, String)> {
    if let Some(start) = request.find("```") {
        let body = &request[start + 3..];
        let body = body.strip_prefix("rust").unwrap_or(body);
        let code = body.split("```").next()?.trim();
        return (!code.is_empty()).then(|| (start + 3, code.to_owned()));
    }
    let behind_verb = RUN.as_ref().and_then(|pattern| pattern.captures(request)).and_then(|capture| capture.get(1));
    let behind_colon = request.find(": ").or_else(|| request.find(":\n")).map(|colon| colon + 2);
    let start = behind_verb.map(|code| code.start()).or(behind_colon)?;
    let code = request.get(start..)?.trim();
    (looks_like_code(code) && !code.contains('`')).then(|| (start, code.to_owned()))
}

/// Kinds of files people name by what is in them.
pub const FILE_KINDS: &[(&str, &str)] = &[
    ("rust", "*.rs"),
    ("python", "*.py"),
    ("sql", "*.sql"),
    ("markdown", "*.md"),
    ("csv", "*.csv"),
    ("json", "*.json"),
    ("toml", "*.toml"),
    ("yaml", "*.yaml"),
    ("yml", "*.yml"),
    ("notebook", "*.ipynb"),
    ("text", "*.txt"),
    ("parquet", "*.parquet"),
    ("javascript", "*.js"),
    ("typescript", "*.ts"),
    ("shell", "*.sh"),
    ("html", "*.html"),
    ("md", "*.md"),
    ("txt", "*.txt"),
    ("rs", "*.rs"),
    ("py", "*.py"),
    ("ipynb", "*.ipynb"),
    ("js", "*.js"),
    ("sh", "*.sh"),
    ("log", "*.log"),
];

/// Files, folders, globs and branches.
pub fn of_workspace(words: &[Word], environment: &Environment) -> Vec<(Mention, Kind, Referent)> {
    let mut found = Vec::new();
    for folder in folders(&environment.files) {
        let name = folder.rsplit('/').next().unwrap_or(folder).to_lowercase();
        for (index, word) in words.iter().enumerate() {
            let lower = word.lower.trim_start_matches("./").trim_end_matches('/');
            if lower == folder.to_lowercase() || lower == name {
                found.push((Mention::at(index, 1, 3), Kind::Folder, Referent::Folder(folder.to_owned())));
            }
        }
    }
    for path in environment.files.iter().filter(|path| !path.ends_with('/')) {
        for mention in of_file(words, path) {
            found.push((mention, Kind::File, Referent::File(path.clone())));
        }
    }
    for (index, word) in words.iter().enumerate() {
        let next_is_files = words
            .get(index + 1)
            .is_some_and(|next| matches!(next.stem.as_str(), "file" | "source" | "script" | "document" | "code"));
        if word.text.contains('*') && word.text.len() > 1 && word.text.chars().any(|c| c == '.' || c == '/') {
            found.push((Mention::at(index, 1, 3), Kind::Glob, Referent::Glob(word.text.clone())));
        } else if let Some((_, glob)) = FILE_KINDS.iter().find(|(name, _)| word.stem.trim_start_matches('.') == *name)
            && (next_is_files || word.lower.starts_with('.') || word.stem != word.lower)
        {
            found.push((
                Mention::at(index, 1 + usize::from(next_is_files), 3),
                Kind::Glob,
                Referent::Glob((*glob).to_owned()),
            ));
        }
    }
    for (index, word) in words.iter().enumerate() {
        if REVISION.as_ref().is_some_and(|pattern| pattern.is_match(&word.text)) {
            found.push((Mention::at(index, 1, 3), Kind::Branch, Referent::Branch(word.text.replace("head", "HEAD"))));
        }
    }
    for branch in &environment.branches {
        let lower = branch.to_lowercase();
        for (index, word) in words.iter().enumerate() {
            let parts = name_words(branch);
            let spelled = parts.len() > 1
                && index + parts.len() <= words.len()
                && words[index..index + parts.len()].iter().map(|word| &word.lower).eq(parts.iter());
            if word.lower == lower {
                found.push((Mention::at(index, 1, 3), Kind::Branch, Referent::Branch(branch.clone())));
            } else if spelled {
                found.push((Mention::at(index, parts.len(), 3), Kind::Branch, Referent::Branch(branch.clone())));
            } else if lower.rsplit('/').next() == Some(word.lower.as_str()) {
                found.push((Mention::at(index, 1, 2), Kind::Branch, Referent::Branch(branch.clone())));
            }
        }
    }
    found
}

/// The folders that paths lie in, and those that are listed themselves.
fn folders(paths: &[String]) -> BTreeSet<&str> {
    paths.iter().flat_map(|path| path.match_indices('/').map(|(position, _)| &path[..position])).collect()
}

/// Mentions of a file: its path, its name, or the words of its name.
fn of_file(words: &[Word], path: &str) -> Vec<Mention> {
    let lower = path.to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower).to_owned();
    let base = name.split('.').find(|part| !part.is_empty()).unwrap_or(&name);
    let parts: Vec<String> = name_words(base).iter().map(|part| stem(part)).collect();
    let extension = name.rsplit('.').next().unwrap_or_default();
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let typed = word.lower.trim_start_matches("./");
        if typed == lower || typed == name {
            found.push(Mention::at(index, 1, 3));
        } else if alike(typed, &name) {
            found.push(Mention::at(index, 1, 2));
        } else if !parts.is_empty() && sequence(&words[index..], &parts) == Some(3) {
            // "sales csv" and "the sales file" are stronger than a bare "sales".
            let next = words.get(index + parts.len()).map(|word| word.stem.as_str()).unwrap_or_default();
            let named = next == extension
                || matches!(next, "file" | "script" | "module" | "document" | "notebook")
                || FILE_KINDS.iter().any(|(kind, glob)| *kind == next && glob.ends_with(extension));
            found.push(Mention::at(index, parts.len(), if named { 3 } else { 2 }));
        } else if typed == base && base.len() > 2 {
            found.push(Mention::at(index, 1, 2));
        }
    }
    found
}

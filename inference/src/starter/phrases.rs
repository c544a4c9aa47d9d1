//! The generator's phrase files: sections of templates with `{a|b}` choices and `<X>` slots.

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::IndexedRandom;

/// Sections of templates, by name.
#[derive(Debug, Clone, Default)]
pub struct Phrases(BTreeMap<String, Vec<String>>);

impl Phrases {
    /// The phrase files that ship in the source.
    pub fn shipped() -> Self {
        let mut phrases = Self::default();
        for text in [
            include_str!("phrases/requests.txt"),
            include_str!("phrases/more.txt"),
            include_str!("phrases/wider.txt"),
            include_str!("phrases/arithmetic.txt"),
            include_str!("phrases/contents.txt"),
            include_str!("phrases/answers.txt"),
        ] {
            phrases.read(text);
        }
        phrases
    }

    fn read(&mut self, text: &str) {
        let mut section = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(name) => section = name.to_owned(),
                None => self.0.entry(section.clone()).or_default().push(line.to_owned()),
            }
        }
    }

    /// Expands a random template of a section; `fill` writes what a slot stands for.
    pub fn expand(&self, section: &str, random: &mut impl Rng, fill: &mut dyn FnMut(&str) -> String) -> String {
        let template = self.0.get(section).and_then(|lines| lines.choose(random)).map_or("", String::as_str);
        expand_template(template, random, fill)
    }

    /// The templates of a section.
    pub fn templates(&self, section: &str) -> &[String] {
        self.0.get(section).map_or(&[], Vec::as_slice)
    }

    /// The words of all sections whose names start with `prefix`.
    pub fn words(&self, prefix: &str) -> Vec<String> {
        let lines = self.0.iter().filter(|(name, _)| name.starts_with(prefix)).flat_map(|(_, lines)| lines);
        lines.flat_map(|line| line.split_whitespace().map(str::to_owned)).collect()
    }

    /// A random line of a section without slots.
    pub fn pick(&self, section: &str, random: &mut impl Rng) -> String {
        self.expand(section, random, &mut |_| String::new())
    }
}

/// Expands one template; `fill` writes what a slot stands for.
pub fn expand_template(template: &str, random: &mut impl Rng, fill: &mut dyn FnMut(&str) -> String) -> String {
    tidy(&expand(template, random, fill))
}

fn expand(template: &str, random: &mut impl Rng, fill: &mut dyn FnMut(&str) -> String) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(position) = rest.find(['{', '<']) {
        text.push_str(&rest[..position]);
        let tail = &rest[position..];
        if let Some(inner) = tail.strip_prefix('<') {
            let slot = inner.find('>').filter(|close| {
                inner[..*close].chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == 's') && *close > 0
            });
            let Some(close) = slot else {
                text.push('<');
                rest = inner;
                continue;
            };
            text.push_str(&fill(&inner[..close]));
            rest = &inner[close + 1..];
        } else {
            let close = matching(tail);
            let options = choices(&tail[1..close]);
            if let Some(option) = options.choose(random) {
                text.push_str(&expand(option, random, fill));
            }
            rest = &tail[(close + 1).min(tail.len())..];
        }
    }
    text.push_str(rest);
    text
}

/// The brace that closes the one `text` starts with.
fn matching(text: &str) -> usize {
    let mut depth = 0;
    for (position, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return position;
        }
    }
    text.len() - 1
}

/// Splits at the bars outside inner braces.
fn choices(text: &str) -> Vec<&str> {
    let mut options = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (position, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '|' if depth == 0 => {
                options.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    options.push(&text[start..]);
    options
}

/// One space between words, none before a comma.
fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",").replace(" :", ":")
}

//! Cutting a text into the words within which byte-pair encoding merges.
//!
//! The patterns are those of the models' own `tokenizer.json`, as llama.cpp reads them: stages,
//! each of which cuts what the stage before left into matches and what lies between matches.

mod patterns;
mod recipes;

use std::ops::Range;

use regex::Regex;

pub(super) use recipes::Recipe;

/// The stages of one family of models.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    stages: Vec<Stage>,
}

#[derive(Debug)]
enum Stage {
    /// Cuts out a pattern's matches.
    Matches(Regex),
    /// The same where the pattern's last alternative is white space, followed by a rule that
    /// patterns can't express without lookahead.
    Words { pattern: Regex, spaces: Spaces, takes_line_breaks: bool },
    /// Digits in threes from the right; see [`after_digit_groups`].
    DigitGroups,
    /// ASCII digits in threes from the right; see [`before_digit_groups`].
    BeforeDigitGroups,
}

/// What becomes of a run of white space.
#[derive(Debug, Clone, Copy)]
enum Spaces {
    /// `\s+(?!\S)|\s+`: its last character is left for the word that follows.
    LeaveLast,
    /// The same in pieces of at most 512 characters, each the largest power of two that fits.
    PowersOfTwo,
}

impl PreTokenizer {
    /// # Errors
    /// A pattern that is none: a mistake in the tables here.
    pub(super) fn new(stages: &[&str]) -> Result<Self, String> {
        let stages = stages.iter().map(|pattern| Stage::new(pattern)).collect::<Result<_, _>>();
        Ok(Self { stages: stages.map_err(|error| error.to_string())? })
    }

    /// The words of a text, in order, with nothing left out.
    pub(super) fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let whole = if text.is_empty() { Vec::new() } else { vec![text] };
        self.stages.iter().fold(whole, |words, stage| {
            let mut cut = Vec::with_capacity(words.len());
            for word in words {
                stage.cut(word, &mut cut);
            }
            cut
        })
    }
}

impl Stage {
    fn new(pattern: &str) -> Result<Self, regex::Error> {
        let tails =
            [(patterns::SPACES_LEAVE_LAST, Spaces::LeaveLast), (patterns::SPACES_BY_POWERS, Spaces::PowersOfTwo)];
        for (tail, spaces) in tails {
            if let Some(body) = pattern.strip_suffix(tail) {
                // The alternatives before the tail take white space only up to its line breaks.
                let takes_line_breaks = body.ends_with(r"|\s*[\r\n]+") || body.ends_with(r"|\s*[\r\n]");
                let pattern = Regex::new(&format!(r"{body}|\s+"))?;
                return Ok(Self::Words { pattern, spaces, takes_line_breaks });
            }
        }
        Ok(match pattern {
            patterns::DIGITS_IN_THREES => Self::DigitGroups,
            patterns::BEFORE_THREE_DIGITS => Self::BeforeDigitGroups,
            pattern => Self::Matches(Regex::new(pattern)?),
        })
    }

    fn cut<'t>(&self, word: &'t str, cut: &mut Vec<&'t str>) {
        let mut cutter = Cutter { text: word, start: 0, words: cut };
        match self {
            Self::Matches(pattern) => {
                for found in pattern.find_iter(word) {
                    cutter.cut_out(found.range());
                }
            }
            Self::Words { pattern, spaces, takes_line_breaks } => {
                let mut position = 0;
                while let Some(found) = pattern.find_at(word, position) {
                    let is_space = found.as_str().chars().all(char::is_whitespace)
                        && !(*takes_line_breaks && found.as_str().contains(['\r', '\n']));
                    if is_space {
                        position = spaces.cut(word, found.range(), &mut cutter);
                    } else {
                        cutter.cut_out(found.range());
                        position = found.end();
                    }
                }
            }
            Self::DigitGroups => after_digit_groups(word, &mut cutter),
            Self::BeforeDigitGroups => before_digit_groups(word, &mut cutter),
        }
        cutter.cut_to(word.len());
    }
}

/// Cuts a text from left to right.
struct Cutter<'t, 'w> {
    text: &'t str,
    /// Where the last cut was.
    start: usize,
    words: &'w mut Vec<&'t str>,
}

impl Cutter<'_, '_> {
    /// Ends a word.
    fn cut_to(&mut self, end: usize) {
        if let Some(word) = self.text.get(self.start..end).filter(|word| !word.is_empty()) {
            self.words.push(word);
            self.start = end;
        }
    }

    /// Makes a range a word of its own.
    fn cut_out(&mut self, range: Range<usize>) {
        self.cut_to(range.start);
        self.cut_to(range.end);
    }
}

impl Spaces {
    /// Cuts a run of white space; the end of what it has cut.
    fn cut(self, text: &str, run: Range<usize>, cutter: &mut Cutter) -> usize {
        let followed = run.end < text.len();
        let ends: Vec<usize> = text
            .get(run.clone())
            .unwrap_or_default()
            .char_indices()
            .map(|(index, character)| run.start + index + character.len_utf8())
            .collect();
        // A run of one, before a word that did not take it, is a word.
        let usable = if followed && ends.len() > 1 { ends.len() - 1 } else { ends.len() };
        cutter.cut_to(run.start);
        match self {
            Self::LeaveLast => {
                if let Some(end) = usable.checked_sub(1).and_then(|last| ends.get(last)) {
                    cutter.cut_to(*end);
                }
            }
            Self::PowersOfTwo => {
                let mut cut = 0;
                while cut < usable {
                    let left = usable - cut;
                    let largest = 1 << left.min(512).ilog2();
                    cut += largest;
                    if let Some(end) = ends.get(cut - 1) {
                        cutter.cut_to(*end);
                    }
                }
            }
        }
        cutter.start
    }
}

/// Cuts after each group of three digits, counted from the right end of a run of digits; what
/// precedes the run stays with its first group, for the next stage to part.
fn after_digit_groups(text: &str, cutter: &mut Cutter) {
    let mut ends = Vec::new();
    let mut close = |ends: &mut Vec<usize>| {
        for (index, end) in ends.iter().enumerate() {
            if (ends.len() - index - 1).is_multiple_of(3) {
                cutter.cut_to(*end);
            }
        }
        ends.clear();
    };
    for (index, character) in text.char_indices() {
        if is_number(character) {
            ends.push(index + character.len_utf8());
        } else {
            close(&mut ends);
        }
    }
    close(&mut ends);
}

/// Cuts before each group of three ASCII digits, counted from the right end of a run of them:
/// `(?=(\d{3})+(?!\d))`.
fn before_digit_groups(text: &str, cutter: &mut Cutter) {
    let bytes = text.as_bytes();
    let mut start = 0;
    for run in bytes.chunk_by(|left, right| left.is_ascii_digit() && right.is_ascii_digit()) {
        if run.first().is_some_and(u8::is_ascii_digit) {
            let first = run.len() % 3;
            for offset in (first..run.len()).step_by(3) {
                cutter.cut_to(start + offset);
            }
        }
        start += run.len();
    }
}

/// `\p{N}`: decimal digits, letters that count, fractions and the like.
fn is_number(character: char) -> bool {
    character.is_numeric()
}

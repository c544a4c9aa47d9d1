//! Finding special tokens that are spelled out in a text, before anything else is done with it.

use super::vocabulary::{Kind, SPECIAL, Vocabulary};

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

/// The tokens to look for.
#[derive(Debug)]
pub(super) struct Partition {
    /// Longest text first, since the longest is looked for first, all over the text.
    tokens: Vec<Sought>,
}

#[derive(Debug)]
struct Sought {
    id: u32,
    text: String,
    kind: Kind,
}

/// C's `isspace`, which is what special tokens strip.
const SPACE: [char; 6] = [' ', '\t', '\n', '\u{B}', '\u{C}', '\r'];

impl Partition {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let sought = vocabulary.iter().filter(|(_, token)| token.kind.is_any_of(SPECIAL.or(Kind::USER_DEFINED)));
        let mut tokens: Vec<Sought> =
            sought.map(|(id, token)| Sought { id, text: token.text.clone(), kind: token.kind }).collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.text.len()));
        Self { tokens }
    }

    /// The text around the special tokens in it. Control tokens count only where `control` is set:
    /// spelled out in a user's text they are text.
    pub(super) fn fragments<'t>(&self, text: &'t str, control: bool) -> Vec<Fragment<'t>> {
        let mut fragments = if text.is_empty() { Vec::new() } else { vec![Fragment::Text(text)] };
        let pairs = BytePairs::of(text);
        for token in &self.tokens {
            let counts = control || !token.kind.is_any_of(SPECIAL);
            if counts && pairs.may_contain(&token.text) {
                fragments = token.cut(fragments);
            }
        }
        fragments
    }
}

impl Sought {
    fn cut<'t>(&self, fragments: Vec<Fragment<'t>>) -> Vec<Fragment<'t>> {
        let mut cut = Vec::with_capacity(fragments.len());
        for fragment in fragments {
            let Fragment::Text(mut rest) = fragment else {
                cut.push(fragment);
                continue;
            };
            while let Some((mut before, mut after)) = rest.split_once(&self.text) {
                if self.kind.is_any_of(Kind::STRIPS_BEFORE) {
                    before = before.trim_end_matches(SPACE);
                }
                if self.kind.is_any_of(Kind::STRIPS_AFTER) {
                    after = after.trim_start_matches(SPACE);
                }
                cut.extend((!before.is_empty()).then_some(Fragment::Text(before)));
                cut.push(Fragment::Token(self.id));
                rest = after;
            }
            cut.extend((!rest.is_empty()).then_some(Fragment::Text(rest)));
        }
        cut
    }
}

/// Which bytes follow each other somewhere in a text: a quick way to see that most of thousands of
/// special tokens are not in it.
struct BytePairs(Vec<u64>);

impl BytePairs {
    fn of(text: &str) -> Self {
        let mut pairs = vec![0; 1 << 10];
        for pair in text.as_bytes().windows(2) {
            let (word, bit) = Self::position(pair);
            if let Some(word) = pairs.get_mut(word) {
                *word |= 1 << bit;
            }
        }
        Self(pairs)
    }

    fn may_contain(&self, text: &str) -> bool {
        text.as_bytes().windows(2).all(|pair| {
            let (word, bit) = Self::position(pair);
            self.0.get(word).is_some_and(|word| word >> bit & 1 == 1)
        })
    }

    fn position(pair: &[u8]) -> (usize, usize) {
        let number = pair.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        (number >> 6, number & 63)
    }
}

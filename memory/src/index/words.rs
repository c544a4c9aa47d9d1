//! Text becomes the words that search compares.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Another number where the words of a text are others: indexes of the old ones are made anew.
pub(crate) const VERSION: u32 = 1;

/// Longer ones are not words but data: they are cut.
const LONGEST: usize = 64;

/// The words of `text`, as [`each_word`] gives them.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    each_word(text, |word| found.push(word.to_owned()));
    found
}

/// Gives the words of `text`: Unicode's word boundaries, without case, accents and English endings; the parts of
/// `snake_case` and `camelCase` names beside the whole. Scripts that write no spaces give their characters one by one.
pub(crate) fn each_word(text: &str, mut each: impl FnMut(&str)) {
    let mut give = |word: &str| {
        if !word.is_empty() {
            each(word.char_indices().nth(LONGEST).map_or(word, |(end, _)| &word[..end]));
        }
    };
    for word in text.unicode_words() {
        if !is_name(word) {
            give(&stem(&fold(word)));
            continue;
        }
        let parts = name_parts(word);
        if parts.len() > 1 {
            give(&fold(word));
        }
        for part in parts {
            give(&stem(&fold(part)));
        }
    }
}

/// How often the words of `text` occur in it.
pub(crate) fn count_words(text: &str) -> HashMap<String, u32> {
    let mut counts: HashMap<String, u32> = HashMap::new();
    each_word(text, |word| match counts.get_mut(word) {
        Some(count) => *count += 1,
        None => drop(counts.insert(word.to_owned(), 1)),
    });
    counts
}

/// Whether a word may have parts.
fn is_name(word: &str) -> bool {
    let capitals = word.chars().skip(1).any(char::is_uppercase) && word.chars().any(char::is_lowercase);
    capitals || word.chars().any(|character| !character.is_alphanumeric())
}

/// Compatibility forms and accents away, then lower case.
fn fold(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Cow::Borrowed(word);
    }
    if word.is_ascii() {
        return Cow::Owned(
            word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').map(|c| c.to_ascii_lowercase()).collect(),
        );
    }
    let combining = |character: &char| ('\u{300}'..='\u{36f}').contains(character);
    let folded = word.nfkd().filter(|character| !combining(character)).nfc().flat_map(char::to_lowercase);
    Cow::Owned(folded.filter(|c| c.is_alphanumeric() || *c == '_').collect())
}

/// `total_revenue` and `totalRevenue` -> `total`, `revenue`; `HTTPServer` -> `HTTP`, `Server`; `GPUs` stays whole
fn name_parts(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in word.split(|character: char| !character.is_alphanumeric()) {
        let (mut start, mut before) = (0, None::<char>);
        for (position, character) in part.char_indices() {
            let begins_word =
                || part[position..].chars().skip(1).take(2).filter(|next| next.is_lowercase()).count() == 2;
            let boundary = character.is_uppercase()
                && before.is_some_and(|before| before.is_lowercase() || (before.is_uppercase() && begins_word()));
            if boundary {
                parts.push(&part[start..position]);
                start = position;
            }
            before = Some(character);
        }
        parts.push(&part[start..]);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Without its English ending (Snowball's English stemmer, Porter 2001), for words in plain letters.
fn stem(word: &str) -> Cow<'_, str> {
    match word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        true => ENGLISH.stem(word),
        false => Cow::Borrowed(word),
    }
}

/// Lucene's for English (`EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`), which [`each_word`] leaves as they are.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// Whether a word, as [`each_word`] gives it, says nothing by itself.
pub(crate) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.contains(&word)
}

static ENGLISH: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

#[cfg(test)]
mod tests {
    use super::{STOP_WORDS, is_stop_word, words};

    fn joined(text: &str) -> String {
        words(text).join(" ")
    }

    #[test]
    fn case_accents_and_endings_do_not_matter() {
        assert_eq!(joined("The Cafés, queries & CLASSES: Straße"), "the café queri class straße".replace('é', "e"));
        assert_eq!(joined("cafe\u{301} ÅNGSTRÖM ﬁle"), "cafe angstrom file");
        assert_eq!(joined("connect connected connecting connections"), "connect connect connect connect");
        assert_eq!(joined("is 1999 x"), "is 1999 x");
    }

    #[test]
    fn names_are_found_whole_and_by_their_parts() {
        assert_eq!(joined("total_revenues"), "total_revenues total revenu");
        assert_eq!(joined("customerIds"), "customerids custom id");
        assert_eq!(joined("HTTP2 GPU x_1"), "http2 gpu x_1 x 1");
        assert_eq!(joined("HTTPServer parseJSON Vec<u8>"), "httpserver http server parsejson pars json vec u8");
        assert_eq!(joined("GPUs iPhone"), "gpus iphone i phone");
    }

    #[test]
    fn other_scripts_have_words_too() {
        assert_eq!(joined("売上 は 月曜"), "売 上 は 月 曜");
        assert_eq!(joined("Отчёты о продажах"), "отчеты о продажах");
        assert_eq!(joined("🎉 -- !!"), "");
    }

    #[test]
    fn stop_words_are_known_as_they_are_indexed() {
        assert!(STOP_WORDS.iter().all(|word| is_stop_word(word) && joined(&word.to_uppercase()) == **word));
        assert!(!is_stop_word("get"));
    }

    #[test]
    fn data_is_cut_to_the_length_of_a_word() {
        assert_eq!(joined(&"é".repeat(5000)).chars().count(), 64);
    }
}

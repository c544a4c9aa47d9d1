//! Text becomes the words that search compares.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// The words of `text`: Unicode's word boundaries, without case, accents and English plurals;
/// the parts of `snake_case` and `camelCase` names beside the whole. Scripts that write no
/// spaces give their characters one by one.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.unicode_words() {
        let parts = name_parts(word);
        if parts.len() > 1 {
            words.push(fold(word));
            words.extend(parts.into_iter().map(|part| singular(fold(part))));
        } else {
            words.push(singular(fold(word)));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Compatibility forms and accents away, then lower case.
fn fold(word: &str) -> String {
    let combining = |character: &char| ('\u{300}'..='\u{36f}').contains(character);
    word.nfkd().filter(|character| !combining(character)).nfc().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// `total_revenue` and `totalRevenue` -> `total`, `revenue`
fn name_parts(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in word.split(|character: char| !character.is_alphanumeric()) {
        let mut start = 0;
        let mut before_was_lower = false;
        for (position, character) in part.char_indices() {
            if character.is_uppercase() && before_was_lower {
                parts.push(&part[start..position]);
                start = position;
            }
            before_was_lower = character.is_lowercase();
        }
        parts.push(&part[start..]);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Harman's S-stemmer, for words in plain letters: the one inflection that questions and
/// notes most often differ in.
fn singular(mut word: String) -> String {
    if word.len() < 3 || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word;
    }
    if let Some(stem) = word.strip_suffix("ies") {
        if !stem.ends_with(['a', 'e']) {
            return format!("{stem}y");
        }
    } else if word.ends_with("es") && !word.ends_with("aes") && !word.ends_with("ees") && !word.ends_with("oes")
        || word.ends_with('s') && !word.ends_with("us") && !word.ends_with("ss") && !word.ends_with("es")
    {
        word.pop();
    }
    word
}

#[cfg(test)]
mod tests {
    use super::words;

    fn joined(text: &str) -> String {
        words(text).join(" ")
    }

    #[test]
    fn case_accents_and_plurals_do_not_matter() {
        assert_eq!(joined("The Cafés, queries & CLASSES: Straße"), "the cafe query classe straße");
        assert_eq!(joined("cafe\u{301} ÅNGSTRÖM ﬁle"), "cafe angstrom file");
        assert_eq!(joined("status pass is"), "status pass is");
    }

    #[test]
    fn names_are_found_whole_and_by_their_parts() {
        assert_eq!(joined("total_revenue"), "total_revenue total revenue");
        assert_eq!(joined("customerIds"), "customerids customer id");
        assert_eq!(joined("HTTP2 GPU x_1"), "http2 gpu x_1 x 1");
    }

    #[test]
    fn other_scripts_have_words_too() {
        assert_eq!(joined("売上 は 月曜"), "売 上 は 月 曜");
        assert_eq!(joined("Отчёты о продажах"), "отчеты о продажах");
        assert_eq!(joined("🎉 -- !!"), "");
    }
}

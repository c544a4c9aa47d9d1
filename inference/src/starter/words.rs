//! Splitting and comparing words, the same for requests and for names.

/// A word of a text with its byte range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub start: usize,
    pub end: usize,
    /// As typed.
    pub text: String,
    /// Lower case.
    pub lower: String,
    /// Lower case, singular.
    pub stem: String,
}

/// Splits at white space, then peels punctuation off both ends; punctuation inside a word
/// (`src/main.rs`, `order_items`, `2024-03-01`, `1,200.50`) stays.
pub fn split(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut position = 0;
    for chunk in text.split_whitespace() {
        let start = position + text[position..].find(chunk).unwrap_or(0);
        position = start + chunk.len();
        let keep = |c: char| {
            c.is_alphanumeric()
                || matches!(
                    c,
                    '_' | '*' | '%' | '.' | '/' | '-' | '+' | '^' | '=' | '<' | '>' | '#' | '&' | '$' | '€' | '£'
                )
        };
        let left = chunk.len() - chunk.trim_start_matches(|c: char| !keep(c)).len();
        let core = chunk[left..]
            .trim_end_matches(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '*' | '%' | '/' | '+')));
        // A function's name keeps its parentheses.
        let called =
            chunk[left + core.len()..].starts_with("()") && core.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let core = if called { &chunk[left..left + core.len() + 2] } else { core };
        let core = core.strip_suffix("'s").or_else(|| core.strip_suffix("’s")).unwrap_or(core);
        if core.is_empty() {
            continue;
        }
        let lower = core.to_lowercase();
        words.push(Word {
            start: start + left,
            end: start + left + core.len(),
            text: core.to_owned(),
            stem: stem(&lower),
            lower,
        });
    }
    words
}

/// The words of a name: `order_items` and `orderItems` are `order items`.
pub fn name_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            words.push(String::new());
            previous_lower = false;
            continue;
        }
        if c.is_uppercase() && previous_lower {
            words.push(String::new());
        }
        previous_lower = c.is_lowercase() || c.is_numeric();
        if let Some(last) = words.last_mut() {
            last.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The singular of an English noun, roughly; the same rough rule on both sides of a comparison.
pub fn stem(word: &str) -> String {
    let length = word.len();
    if !word.is_ascii() || length < 4 {
        return word.to_owned();
    }
    if let Some(base) = word.strip_suffix("ies") {
        return format!("{base}y");
    }
    for ending in ["sses", "shes", "ches", "xes", "zes"] {
        if word.ends_with(ending) {
            return word[..length - 2].to_owned();
        }
    }
    if word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us") && !word.ends_with("is") {
        return word[..length - 1].to_owned();
    }
    word.to_owned()
}

/// Whether two stems are the same word, allowing one slip of the fingers in a long one.
pub fn alike(left: &str, right: &str) -> bool {
    left == right
        || (left.len() >= 5 && right.len() >= 5 && left.as_bytes()[0] == right.as_bytes()[0] && slip(left, right))
}

/// Whether a word of a request is a form of a name's word, or spells it out: "aged" and "ages" for
/// `age`, "rated" for `rating`, "temperature" for `temp`, "quantity" for `qty`. Both are stems.
pub fn related(word: &str, name: &str) -> bool {
    if !word.is_ascii()
        || !name.is_ascii()
        || word.len() < 4
        || name.len() < 3
        || word.as_bytes()[0] != name.as_bytes()[0]
    {
        return false;
    }
    let root = |text: &str| -> String {
        let cut =
            ["ing", "ed", "er", "est", "e", "d"].iter().find_map(|ending| text.strip_suffix(ending)).unwrap_or(text);
        cut.strip_suffix('e').unwrap_or(cut).to_owned()
    };
    let inflected = word.len().abs_diff(name.len()) <= 3
        && (word.strip_suffix('d') == Some(name) || root(word).len() >= 3 && root(word) == root(name));
    // A shorter spelling begins like the word, or has its consonants in their order.
    let shortened = name.len() <= 4 && word.len() >= name.len() + 3 && word.starts_with(name);
    let vowel = |c: char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u');
    let mut letters = word.chars();
    let squeezed = name.len() <= 4
        && word.len() >= 5
        && !name.chars().any(vowel)
        && name.chars().all(|wanted| letters.any(|letter| letter == wanted));
    inflected || shortened || squeezed
}

/// One insertion, deletion, substitution or swap of neighbours apart.
fn slip(left: &str, right: &str) -> bool {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let prefix = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let suffix = left[prefix..].iter().rev().zip(right[prefix..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&left[prefix..left.len() - suffix], &right[prefix..right.len() - suffix]);
    match (a.len(), b.len()) {
        (0, 1) | (1, 0) => true,
        // A digit is never a slip: `q1` is not `q2`.
        (1, 1) => a[0].is_alphabetic() && b[0].is_alphabetic(),
        (2, 2) => a[0] == b[1] && a[1] == b[0],
        _ => false,
    }
}

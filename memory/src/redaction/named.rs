//! Secrets that are known by the name they are given to: `API_KEY=...`, `"password": "..."`, `--token ...`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use regex::Regex;

use super::Finding;

/// Names that only secrets bear.
const NAME: &str = r"(?i-u:api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|encryption[_-]?key|signing[_-]?key|account[_-]?key|memory[_-]?key|auth[_-]?key|secret|token|password|passwd|passphrase|passwort|kennwort|mot de passe|contrasena|senha|pwd|credential)";

/// Where such a name stands: most text has none, so the rest is looked at only there.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(NAME).ok());

/// What follows a name: the rest of it, what binds the value to it, and the value, in quotes or not.
static VALUE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let quote = r#"(?:\\{0,3}["'`])"#;
    let value = format!(
        r#"(?:{quote}(?P<quoted>[^"'`\\\s]{{4,}}){quote}|{quote}(?P<phrase>[^"'`\\\n]{{8,120}}){quote}|(?P<bare>[^\s"'`\\,;(){{}}\[\]<>]{{4,}}))"#
    );
    Regex::new(&format!(r#"\A[A-Za-z0-9_]{{0,16}}{quote}?(?P<binds>\s{{0,4}}(?::=|=>|[:=])\s{{0,4}}|(?:\s+(?:for|of|to|on)\s[^.:;\n]{{1,40}}?)?\s+(?:is|ist|est|es)\s+|[ ]){value}"#)).ok()
});

static SECRET_NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"(?:^|[_.\-a-z0-9]){NAME}(?:s?$|[_.\-A-Z0-9])|^{NAME}")).ok());

/// Bytes of a name before the part that gives it away.
const LONGEST_PREFIX: usize = 40;

/// Values that stand for a secret, and are none.
const PLACEHOLDERS: [&str; 7] = ["example", "placeholder", "changeme", "your", "xxx", "***", "..."];
const WORDS: [&str; 6] = ["none", "null", "true", "false", "undefined", "required"];

pub(super) fn find(text: &str, findings: &mut Vec<Finding>) {
    let (Some(named), Some(shape)) = (&*NAMED, &*VALUE) else { return };
    // A value may be the name of the next one: `the token is api_key=...`.
    let mut from = 0;
    while let Some(name) = named.find_at(text, from) {
        from = name.end();
        let begin = name_start(text, name.start());
        let Some(captures) = text.get(name.end()..).and_then(|rest| shape.captures(rest)) else { continue };
        let whole_name = text.get(begin..name.end()).unwrap_or_default();
        if let Some(phrase) = captures.name("phrase") {
            // Several words in quotes are a text, but for what is made of words.
            if whole_name.to_lowercase().ends_with("passphrase") && is_any_password(phrase.as_str()) {
                findings
                    .push(Finding { place: name.end() + phrase.start()..name.end() + phrase.end(), what: "secret" });
                from = name.end() + phrase.end();
            }
            continue;
        }
        let quoted = captures.name("quoted");
        let Some(value) = quoted.or_else(|| captures.name("bare")) else { continue };
        let spaced = captures.name("binds").is_some_and(|binds| binds.as_str() == " ");
        if spaced && text.as_bytes().get(begin) != Some(&b'-') {
            // Only an option of a command is bound to its value by a space.
            continue;
        }
        // Without quotes, what ends the sentence does not belong to the value.
        let ends: &[char] = if quoted.is_some() { &[] } else { &['.', '!', '?', ':', '*', '_'] };
        let trimmed = value.as_str().trim_end_matches(ends);
        let assigned = captures.name("binds").is_some_and(|binds| binds.as_str() == "=");
        if looks_secret(whole_name, trimmed)
            || (assigned && is_password_variable(text, begin, name.end()) && is_any_password(trimmed))
        {
            let start = name.end() + value.start();
            findings.push(Finding { place: start..start + trimmed.len(), what: "secret" });
            from = start + trimmed.len();
        }
    }
}

/// Where the name begins whose telling part begins at `part`.
fn name_start(text: &str, part: usize) -> usize {
    let before = text.as_bytes().get(..part).unwrap_or_default();
    let belongs = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    part - before.iter().rev().take(LONGEST_PREFIX).take_while(belongs).count()
}

/// Whether a variable or field of this name holds a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let about = ["tokens", "tokenize", "max_token", "token_count", "keyboard", "token_type", "password_hash_algorithm"];
    let lower = name.to_lowercase();
    !about.iter().any(|word| lower.contains(word)) && SECRET_NAME.as_ref().is_some_and(|pattern| pattern.is_match(name))
}

/// Whether a value under such a name is a secret, and not a word, a path or a piece of code.
///
/// A password may be short and half a word; everything else is long and has the disorder of chance.
pub(super) fn looks_secret(name: &str, value: &str) -> bool {
    let lower = value.to_lowercase();
    if is_placeholder(value, &lower) || value.starts_with(['$', '<', '%', '[', '{', '/', '~']) || is_code(value) {
        return false;
    }
    let characters = value.chars().count();
    let lower_name = name.to_lowercase();
    let password = ["passw", "pwd", "passphrase", "kennwort", "mot de passe", "contrasena", "senha"]
        .iter()
        .any(|word| lower_name.contains(word));
    let mixed = kinds(value);
    if password {
        let letters = value.chars().any(char::is_alphabetic);
        let digits = value.chars().any(|character| character.is_ascii_digit());
        return characters >= 6 && letters && (mixed >= 3 || (mixed == 2 && digits) || is_jumbled(value));
    }
    characters >= 16
        && mixed >= 2
        && disorder(value) >= 3.0
        && value.chars().any(|character| character.is_ascii_digit())
}

/// `PGPASSWORD=`, `DB_PASSWORD=`: what a shell gives a program under such a name is a password, however plain it is.
fn is_password_variable(text: &str, begin: usize, end: usize) -> bool {
    let name = text.get(begin..end).unwrap_or_default();
    let ends = ["PASSWORD", "PASSWD", "PASSPHRASE"].iter().any(|word| name.ends_with(word));
    ends && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_any_password(value: &str) -> bool {
    let lower = value.to_lowercase();
    value.len() >= 4
        && !is_placeholder(value, &lower)
        && !value.starts_with(['$', '<', '%', '[', '{'])
        && !value.contains("::")
}

/// Whether a value is written where a secret goes; what begins like one by chance is of letters and digits, long and varied.
fn is_placeholder(value: &str, lower: &str) -> bool {
    let is_of_chance = value.len() >= 20
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().collect::<HashSet<_>>().len() > 12;
    WORDS.contains(&lower) || !is_of_chance && PLACEHOLDERS.iter().any(|word| lower.starts_with(word))
}

/// Whether a value occurs in ordinary text, so that hiding it would do harm.
pub(super) fn is_ordinary(value: &str) -> bool {
    value.chars().all(|character| character.is_ascii_lowercase())
        || value.chars().all(|character| character.is_ascii_digit())
        || value.starts_with(['/', '~'])
        || value.contains("://")
}

/// `env.TOKEN`, `os.environ`, `tokens[0]`, `config::token`: names, not values.
fn is_code(value: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|character: char| character.is_ascii_alphabetic() || character == '_')
            && part.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
            && disorder(part) < 3.8
    };
    value.contains("::")
        || value.contains("://")
        || (value.contains('/') && value.contains('.'))
        || (value.contains('.') && value.split('.').all(word))
        || value.contains('_')
            && value.split('_').all(|part| part.chars().all(|character| character.is_ascii_alphabetic()))
}

/// Of small letters, capitals, digits and signs, how many kinds there are.
fn kinds(value: &str) -> usize {
    let has = |kind: fn(&char) -> bool| usize::from(value.chars().any(|character| kind(&character)));
    has(|character| character.is_lowercase())
        + has(|character| character.is_uppercase())
        + has(char::is_ascii_digit)
        + has(|character| !character.is_alphanumeric())
}

/// Capitals and small letters as in Base64, and not as in `readPasswordFromTerminal`.
fn is_jumbled(value: &str) -> bool {
    let capitals: Vec<bool> = value.chars().map(char::is_uppercase).collect();
    let begun = capitals.windows(2).filter(|pair| matches!(pair, [false, true])).count();
    capitals.len() >= 10 && begun * 4 >= capitals.len()
}

/// Shannon entropy of the characters, in bits a character.
fn disorder(value: &str) -> f64 {
    let mut counts: HashMap<char, usize> = HashMap::new();
    value.chars().for_each(|character| *counts.entry(character).or_default() += 1);
    let total = value.chars().count().max(1) as f64;
    counts.values().map(|count| *count as f64 / total).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::{disorder, names_a_secret};
    use crate::redaction::Redactor;

    #[test]
    fn values_given_to_secret_names_go() {
        for text in [
            "API_KEY=q8Zr2LmX0vTb71KpYw4N",
            "api_key: 'q8Zr2LmX0vTb71KpYw4N'",
            "{\"client_secret\": \"q8Zr2LmX0vTb71KpYw4N\"}",
            "{\\\"client_secret\\\": \\\"q8Zr2LmX0vTb71KpYw4N\\\"}",
            "export DB_PASSWORD=q8Zr2LmX0vTb71KpYw4N;",
            "let token = \"q8Zr2LmX0vTb71KpYw4N\";",
            "curl --token q8Zr2LmX0vTb71KpYw4N",
            "my password is q8Zr2LmX0vTb71KpYw4N.",
            "the token is api_key=q8Zr2LmX0vTb71KpYw4N",
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYq8Zr2LmX0vTb71KpYw4N",
        ] {
            let clean = Redactor::new().redact(text).into_owned();
            assert!(!clean.contains("q8Zr2LmX0vTb71KpYw4N") && clean.contains("[redacted: secret]"), "{clean}");
        }
        assert_eq!(Redactor::new().redact("password = 'hunter2!'"), "password = '[redacted: secret]'");
    }

    #[test]
    fn ordinary_text_about_secrets_stays() {
        for text in [
            "the token budget is 6000 tokens",
            "the token 550e8400-e29b-41d4-a716-446655440000 was seen",
            "token = tokens[position]",
            "password: required",
            "let token = std::env::var(\"API_TOKEN\")?;",
            "api_key = os.environ[\"OPENAI_API_KEY\"]",
            "api_key=config.openai_api_key",
            "set the password with ALTER USER",
            "secret: boolean",
            "the secret is out",
            "password=<your password>",
            "api_key=your_api_key_goes_here_2024",
            "max_tokens=2048, token_count: 123456789012345678",
            "token: [redacted: GitHub token]",
            "passphrase = read_passphrase_from_terminal",
        ] {
            assert_eq!(Redactor::new().redact(text), text);
        }
    }

    #[test]
    fn names_of_secrets_are_told_from_names_about_them() {
        for name in [
            "OPENAI_API_KEY",
            "GITHUB_TOKEN",
            "DB_PASSWORD",
            "password",
            "clientSecret",
            "AWS_SECRET_ACCESS_KEY",
            "CODRIVER_MEMORY_KEY",
        ] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in ["PATH", "MAX_TOKENS", "KEYBOARD", "prompt_tokens", "HOME", "query"] {
            assert!(!names_a_secret(name), "{name}");
        }
        assert!(disorder("aaaaaaaa") < 0.1 && disorder("abcdefghijklmnop") == 4.0);
    }
}

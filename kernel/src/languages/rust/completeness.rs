//! Whether a Rust cell can run as typed.

use crate::languages::Completeness;

/// By its brackets, strings and comments first, then by its syntax.
pub fn is_complete(code: &str) -> Completeness {
    let code = without_commands(code);
    match open_brackets(&code) {
        Brackets::Open(depth) => {
            return Completeness::Incomplete { indent: "    ".repeat(depth) };
        }
        Brackets::Unterminated => {
            return Completeness::Incomplete { indent: String::new() };
        }
        Brackets::Wrong => return Completeness::Invalid,
        Brackets::Closed => {}
    }
    let inner_attributes: String = code
        .lines()
        .map(|line| if line.trim_start().starts_with("#![") { "" } else { line })
        .collect::<Vec<_>>()
        .join("\n");
    match syn::parse_str::<syn::Block>(&format!("{{\n{inner_attributes}\n}}")) {
        Ok(_) => Completeness::Complete,
        // The parser ran into the end: more is to come.
        Err(error) if error.to_string().contains("unexpected end of input") => {
            Completeness::Incomplete { indent: String::new() }
        }
        Err(_) => Completeness::Invalid,
    }
}

/// The cell without evcxr's commands, which come before its code.
fn without_commands(code: &str) -> String {
    code.lines()
        .map(|line| if line.trim_start().starts_with(':') || line.starts_with('!') { "" } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[derive(Debug, PartialEq)]
enum Brackets {
    Closed,
    Open(usize),
    /// A string or comment goes on to the end.
    Unterminated,
    /// Something is closed that was not opened.
    Wrong,
}

fn open_brackets(code: &str) -> Brackets {
    let mut open = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => Some(rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            '\'' => Some(character_or_lifetime(rest)),
            _ if first.is_alphabetic() || first == '_' => match raw_string(rest) {
                Some(raw) => raw,
                None => Some(
                    rest.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(rest.len()),
                ),
            },
            _ => Some(first.len_utf8()),
        };
        let Some(length) = length else {
            return Brackets::Unterminated;
        };
        match first {
            '(' | '[' | '{' => open.push(first),
            ')' | ']' | '}' => {
                let expected = match first {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.pop() != Some(expected) {
                    return Brackets::Wrong;
                }
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    if open.is_empty() { Brackets::Closed } else { Brackets::Open(open.len()) }
}

fn block_comment(rest: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut offset = 0;
    while offset < rest.len() {
        let here = &rest[offset..];
        if here.starts_with("/*") {
            depth += 1;
            offset += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            offset += 2;
            if depth == 0 {
                return Some(offset);
            }
        } else {
            offset += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// The length of a `"string"` at the beginning.
fn string(rest: &str) -> Option<usize> {
    let mut escaped = false;
    for (offset, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(offset + 1),
            _ => {}
        }
    }
    None
}

/// `r"..."`, `r#"..."#` and their byte and C kin: `Some(None)` if it does not end.
fn raw_string(rest: &str) -> Option<Option<usize>> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return None;
    }
    let closing = format!("\"{}", "#".repeat(hashes));
    let body = prefix.len() + hashes + 1;
    Some(rest[body..].find(&closing).map(|end| body + end + closing.len()))
}

/// `'a'` and `'\n'` whole; of a lifetime only the quote.
fn character_or_lifetime(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            characters.next();
            characters.find(|(_, character)| *character == '\'').map_or(1, |(offset, _)| offset + 1)
        }
        Some(_) => match characters.next() {
            Some((offset, '\'')) => offset + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_text_do_not_count() {
        for code in [
            "let a = '{';",
            "let s = \"({[\";",
            "// (\n1",
            "/* ( /* [ */ */ 1",
            "let s = r#\"(\"\"#;",
            "fn f<'a>(x: &'a str) {}",
            "'\\''",
            "b\"(\"",
        ] {
            assert_eq!(open_brackets(code), Brackets::Closed, "{code}");
        }
    }

    #[test]
    fn cells_are_judged() {
        let complete = [
            "1 + 1",
            "let x = 1;",
            "fn f() -> i32 {\n 1\n}\nf()",
            ":dep regex = \"1\"\nlet x = 1;",
            "",
            "use std::io;\nstruct S;",
            "#![feature(x)]\nlet y = 1;",
            "for i in 0..3 { println!(\"{i}\") }",
        ];
        for code in complete {
            assert_eq!(is_complete(code), Completeness::Complete, "{code}");
        }
        for code in ["fn f() {", "let x = (1,", "let s = \"abc", "/* c", "let x =", "1 +", "struct S {\n a: i32,"] {
            assert!(matches!(is_complete(code), Completeness::Incomplete { .. }), "{code}: {:?}", is_complete(code));
        }
        for code in ["let x = );", "fn f( ]", "let = 5;", "}"] {
            assert_eq!(is_complete(code), Completeness::Invalid, "{code}");
        }
        assert_eq!(is_complete("fn f() {\n  if true {"), Completeness::Incomplete { indent: "        ".to_owned() });
    }
}

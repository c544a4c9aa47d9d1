//! Completion, and whether a cell can run as typed.

use codriver_inference::TableSchema;

use super::lexer::{Token, TokenKind, statements, tokens};
use crate::languages::{Completeness, Completion, Completions};

/// What can be completed.
pub struct Names {
    pub tables: Vec<TableSchema>,
    pub functions: Vec<String>,
    pub keywords: Vec<String>,
}

/// Completions at `cursor`: after `FROM` and its like tables come first, after `name.`
/// that table's columns, elsewhere columns of the tables in the statement.
pub fn complete(code: &str, cursor: usize, names: &Names) -> Completions {
    let mut cursor = cursor.min(code.len());
    while !code.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let before = tokens(&code[..cursor]);
    let none = Completions { start: cursor, end: cursor, matches: Vec::new() };
    let (prefix, before) = match before.split_last() {
        Some((last, rest)) if last.end == cursor && matches!(last.kind, TokenKind::Word | TokenKind::QuotedName) => {
            (Some(*last), rest)
        }
        Some((last, _)) if !last.terminated || (last.kind == TokenKind::Comment && last.end == cursor) => {
            return none;
        }
        _ => (None, before.as_slice()),
    };
    let start = prefix.map_or(cursor, |token| token.start);
    let typed = &code[start..cursor];
    let candidates = match before.last().map(|token| token.text(code)) {
        Some(".") => qualified(code, before, names),
        Some(word) if expects_table(word) => table_candidates(names),
        _ => anything(code, typed, names),
    };
    let wanted = typed.trim_start_matches('"').to_lowercase();
    let mut matches: Vec<Completion> = candidates
        .into_iter()
        .filter(|completion| completion.text.to_lowercase().trim_start_matches('"').starts_with(&wanted))
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    matches.retain(|completion| seen.insert(completion.text.clone()));
    Completions { start, end: cursor, matches }
}

/// Judged by DuckDB's parser, asked through `parse_error`, and by what is left open.
pub fn is_complete(code: &str, parse_error: impl Fn(&str) -> Option<String>) -> Completeness {
    let incomplete = Completeness::Incomplete { indent: String::new() };
    let tokens = tokens(code);
    if tokens.iter().any(|token| !token.terminated) {
        return incomplete;
    }
    let found = statements(code);
    let Some(last) = found.last() else {
        return Completeness::Complete;
    };
    if !last.terminated && open_parentheses(code, &tokens) > 0 {
        return Completeness::Incomplete { indent: "  ".to_owned() };
    }
    // DuckDB itself takes a comma before the end.
    if !last.terminated && code[..last.end].ends_with(',') {
        return incomplete;
    }
    for statement in &found {
        let text = &code[statement.start..statement.end];
        let Some(message) = parse_error(text) else {
            continue;
        };
        let at_end = message.contains("at end of input") || ends_in_the_middle(text);
        return if at_end && !statement.terminated { incomplete } else { Completeness::Invalid };
    }
    Completeness::Complete
}

/// The last word is one that something must follow.
fn ends_in_the_middle(text: &str) -> bool {
    const OPENING: &[&str] = &[
        "select", "from", "where", "by", "on", "join", "and", "or", "not", "as", "in", "set", "values", "into",
        "table", "having", "using", "with", "between", "like", "limit", ",", "+", "-", "*", "/", "=", "<", ">", "(",
        ".", "|",
    ];
    let tokens = tokens(text);
    let last = tokens.iter().rev().find(|token| token.kind != TokenKind::Comment);
    last.is_some_and(|token| OPENING.contains(&token.text(text).to_lowercase().as_str()))
}

fn open_parentheses(code: &str, tokens: &[Token]) -> isize {
    tokens.iter().filter(|token| token.kind == TokenKind::Symbol).fold(0, |open, token| match token.text(code) {
        "(" | "[" | "{" => open + 1,
        ")" | "]" | "}" => open - 1,
        _ => open,
    })
}

fn expects_table(word: &str) -> bool {
    let words = ["from", "join", "into", "update", "table", "describe", "summarize", "view", "truncate"];
    words.iter().any(|expected| word.eq_ignore_ascii_case(expected))
}

/// Columns of what stands before the dot: a table, or an alias of one.
fn qualified(code: &str, before: &[Token], names: &Names) -> Vec<Completion> {
    let Some(owner) = before.iter().rev().nth(1).map(|token| token.text(code).trim_matches('"').to_lowercase()) else {
        return Vec::new();
    };
    let all = tokens(code);
    let table = names.tables.iter().find(|table| table.name.to_lowercase() == owner).or_else(|| {
        names.tables.iter().find(|table| {
            all.iter().enumerate().any(|(index, token)| {
                let next = |step: usize| all.get(index + step).map(|token| token.text(code).to_lowercase());
                token.text(code).trim_matches('"').eq_ignore_ascii_case(&table.name)
                    && (next(1).as_deref() == Some(owner.as_str())
                        || (next(1).as_deref() == Some("as") && next(2).as_deref() == Some(owner.as_str())))
            })
        })
    });
    let mut matches: Vec<Completion> = table.into_iter().flat_map(column_candidates).collect();
    let schema_prefix = format!("{owner}.");
    matches.extend(names.tables.iter().filter_map(|table| {
        table.name.to_lowercase().strip_prefix(&schema_prefix).map(|rest| completion(rest, "table"))
    }));
    matches
}

fn anything(code: &str, typed: &str, names: &Names) -> Vec<Completion> {
    let lower = code.to_lowercase();
    let words: Vec<&str> = tokens(&lower).iter().map(|token| token.text(&lower).trim_matches('"')).collect();
    let (near, far): (Vec<&TableSchema>, Vec<&TableSchema>) =
        names.tables.iter().partition(|table| words.contains(&table.name.to_lowercase().as_str()));
    let mut candidates: Vec<Completion> = near.iter().copied().flat_map(column_candidates).collect();
    candidates.extend(table_candidates(names));
    if near.is_empty() {
        candidates.extend(far.iter().copied().flat_map(column_candidates));
    }
    if !typed.is_empty() {
        let lowercase = typed.chars().all(|character| !character.is_uppercase());
        candidates.extend(
            names.keywords.iter().map(|keyword| {
                completion(&if lowercase { keyword.to_lowercase() } else { keyword.clone() }, "keyword")
            }),
        );
        candidates.extend(names.functions.iter().map(|function| completion(function, "function")));
    }
    candidates
}

fn table_candidates(names: &Names) -> Vec<Completion> {
    names.tables.iter().map(|table| completion(&table.name, "table")).collect()
}

fn column_candidates(table: &TableSchema) -> Vec<Completion> {
    table.columns.iter().map(|column| completion(&quoted_if_needed(&column.name), "column")).collect()
}

fn quoted_if_needed(name: &str) -> String {
    let plain = name.chars().enumerate().all(|(index, character)| {
        character == '_' || character.is_alphabetic() || (index > 0 && character.is_alphanumeric())
    });
    if plain { name.to_owned() } else { super::run::quote(name) }
}

fn completion(text: &str, kind: &str) -> Completion {
    Completion { text: text.to_owned(), kind: kind.to_owned() }
}

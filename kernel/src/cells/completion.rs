//! What could stand at the cursor, and whether a cell is finished.

mod paths;

use clap::Command;

use super::flags;
use super::parser::{Cell, Step, line_magic, parse};
use crate::languages::{Completeness, Completion, Completions};
use crate::session::Session;

/// Where in a cell the cursor is. Offsets are bytes.
pub enum Place {
    /// In `%name` or `%%name`, which starts at `start`.
    MagicName { start: usize },
    /// After the name, on its line. The arguments start at `start`.
    MagicLine { name: String, start: usize },
    /// Below a `%%name` line.
    Body { name: String, body_start: usize },
    /// In `!command`.
    Shell { start: usize },
    /// Everywhere else. Magic lines are blanked out, offsets stay.
    Rust { source: String },
}

pub fn complete(session: &Session, code: &str, cursor: usize) -> Completions {
    let cursor = code.floor_char_boundary(cursor);
    match place(session, code, cursor) {
        Place::MagicName { start } => magic_names(session, code, start, cursor),
        Place::MagicLine { name, start } => magic_arguments(session, &name, code, start, cursor),
        Place::Body { name, body_start } => body(session, &name, code, body_start, cursor),
        Place::Shell { start } => {
            let word = start + code[start..cursor].rfind(char::is_whitespace).map_or(0, |at| at + 1);
            Completions { start: word, end: cursor, matches: paths::complete(&session.workspace, &code[word..cursor]) }
        }
        Place::Rust { source } => session.rust.complete(&source, cursor),
    }
}

pub fn is_complete(session: &Session, code: &str) -> Completeness {
    match parse(code, &|name| session.magics.get(name).is_some()) {
        Cell::Magic { name: "sql", line, body } => {
            let flags_only = line.is_empty() || line.starts_with('-');
            if body.trim().is_empty() && flags_only {
                incomplete()
            } else if flags_only {
                session.sql.is_complete(body)
            } else {
                session.sql.is_complete(&format!("{line}\n{body}"))
            }
        }
        Cell::Magic { name: "rust", body, .. } if !body.trim().is_empty() => session.rust.is_complete(body),
        Cell::Magic { line, body, .. } if line.is_empty() && body.trim().is_empty() => incomplete(),
        Cell::Magic { .. } | Cell::Help { .. } | Cell::Parameters(_) => Completeness::Complete,
        Cell::Steps(steps) => {
            if steps.iter().any(|step| matches!(step, Step::Rust { .. })) {
                session.rust.is_complete(&rust_only(session, code))
            } else {
                Completeness::Complete
            }
        }
    }
}

fn incomplete() -> Completeness {
    Completeness::Incomplete { indent: String::new() }
}

/// Where the cursor is.
pub fn place(session: &Session, code: &str, cursor: usize) -> Place {
    let cursor = code.floor_char_boundary(cursor);
    let indent = code.len() - code.trim_start().len();
    if let Some(rest) = code[indent..].strip_prefix("%%") {
        let name_length = rest.find(|character: char| !is_name_character(character)).unwrap_or(rest.len());
        let name_end = indent + 2 + name_length;
        let line_end = code[indent..].find('\n').map_or(code.len(), |at| indent + at);
        let name = rest[..name_length].to_owned();
        return if cursor <= name_end {
            Place::MagicName { start: indent }
        } else if cursor <= line_end {
            Place::MagicLine { name, start: name_end }
        } else {
            Place::Body { name, body_start: line_end + 1 }
        };
    }
    let line_start = code[..cursor].rfind('\n').map_or(0, |at| at + 1);
    let line_end = code[cursor..].find('\n').map_or(code.len(), |at| cursor + at);
    let line = &code[line_start..line_end];
    let start = line_start + line.len() - line.trim_start().len();
    let typed = &code[start.min(cursor)..cursor];
    if typed.starts_with('!') && is_step(session, code, line) {
        return Place::Shell { start: start + 1 };
    }
    if let Some(name) = typed.strip_prefix('%') {
        if name.trim_start_matches('%').chars().all(is_name_character) {
            return Place::MagicName { start };
        }
        if is_step(session, code, line)
            && let Some((name, _)) = line_magic(line)
        {
            return Place::MagicLine { name: name.to_owned(), start: start + 1 + name.len() };
        }
    }
    Place::Rust { source: rust_only(session, code) }
}

/// Whether a line that looks like a magic or a command is one.
fn is_step(session: &Session, code: &str, line: &str) -> bool {
    let Cell::Steps(steps) = parse(code, &|name| session.magics.get(name).is_some()) else { return false };
    let line = line.as_ptr();
    !steps.iter().any(|step| match step {
        Step::Rust { source, .. } => source.as_bytes().as_ptr_range().contains(&line),
        Step::Magic { .. } | Step::Shell { .. } => false,
    })
}

/// The cell with everything that is not Rust turned into spaces.
fn rust_only(session: &Session, code: &str) -> String {
    let mut blank: Vec<u8> = code.bytes().map(|byte| if byte == b'\n' { b'\n' } else { b' ' }).collect();
    if let Cell::Steps(steps) = parse(code, &|name| session.magics.get(name).is_some()) {
        for step in steps {
            if let Step::Rust { source, .. } = step {
                let start = source.as_ptr() as usize - code.as_ptr() as usize;
                blank[start..start + source.len()].copy_from_slice(source.as_bytes());
            }
        }
    }
    String::from_utf8(blank).unwrap_or_else(|_| code.to_owned())
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn magic_names(session: &Session, code: &str, start: usize, cursor: usize) -> Completions {
    let typed = &code[start..cursor];
    let prefix = typed.trim_start_matches('%');
    let sigils = &typed[..typed.len() - prefix.len()];
    let first_line = code[..start].trim().is_empty();
    let matches = session
        .magics
        .all()
        .filter(|magic| magic.name().starts_with(prefix))
        .filter_map(|magic| {
            let as_cell = match sigils {
                "%%" => magic.kind().allows_cell(),
                _ => !magic.kind().allows_line(),
            };
            let fits = if sigils == "%%" { as_cell } else { !as_cell || first_line };
            let sigil = if as_cell { "%%" } else { "%" };
            fits.then(|| Completion { text: format!("{sigil}{}", magic.name()), kind: "magic".to_owned() })
        })
        .collect();
    Completions { start, end: cursor, matches }
}

fn magic_arguments(session: &Session, name: &str, code: &str, start: usize, cursor: usize) -> Completions {
    let Some(magic) = session.magics.get(name) else {
        return Completions { start: cursor, end: cursor, matches: Vec::new() };
    };
    let arguments = &code[start..cursor];
    let word_start = start + arguments.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &code[word_start..cursor];
    let command = flags::command(magic.as_ref(), code.trim_start().starts_with("%%"));
    let command = subcommand(&command, &code[start..word_start]);
    if word.starts_with('-') {
        let matches = flag_names(command).into_iter().filter(|flag| flag.starts_with(word));
        let matches = matches.map(|text| Completion { text, kind: "flag".to_owned() }).collect();
        return Completions { start: word_start, end: cursor, matches };
    }
    if name == "sql" {
        let found = session.sql.complete(arguments, arguments.len());
        return Completions { start: start + found.start, end: start + found.end, matches: found.matches };
    }
    let is_value =
        code[start..word_start].split_whitespace().next_back().is_some_and(|word| takes_value(command, word));
    let mut matches: Vec<Completion> = command
        .get_subcommands()
        .filter(|_| !is_value)
        .map(|subcommand| Completion { text: subcommand.get_name().to_owned(), kind: "command".to_owned() })
        .chain(magic.complete(arguments.trim_start(), session))
        .filter(|found| found.text.starts_with(word))
        .collect();
    if matches.is_empty() {
        matches = paths::complete(&session.workspace, word);
    }
    let mut seen = std::collections::HashSet::new();
    matches.retain(|found| seen.insert(found.text.clone()));
    Completions { start: word_start, end: cursor, matches }
}

/// The subcommand that the words before the cursor have chosen.
fn subcommand<'command>(command: &'command Command, before: &str) -> &'command Command {
    let chosen = before.split_whitespace().find_map(|word| command.find_subcommand(word));
    chosen.unwrap_or(command)
}

/// Whether a word is a flag whose value comes next.
fn takes_value(command: &Command, word: &str) -> bool {
    let named = |argument: &&clap::Arg| {
        let long = argument.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        long || argument.get_short().is_some_and(|short| word.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4])))
    };
    command.get_arguments().find(named).is_some_and(|argument| argument.get_action().takes_values())
}

fn flag_names(command: &Command) -> Vec<String> {
    let mut names: Vec<String> = command
        .get_arguments()
        .flat_map(|argument| {
            let long = argument.get_long().map(|long| format!("--{long}"));
            let short = argument.get_short().map(|short| format!("-{short}"));
            long.into_iter().chain(short)
        })
        .collect();
    names.sort();
    names
}

fn body(session: &Session, name: &str, code: &str, body_start: usize, cursor: usize) -> Completions {
    let text = &code[body_start..];
    let at = cursor - body_start;
    let found = match name {
        "sql" => session.sql.complete(text, at),
        "rust" => session.rust.complete(text, at),
        _ => {
            let word = text[..at].rfind(char::is_whitespace).map_or(0, |space| space + 1);
            let prefix = &text[word..at];
            let mut matches = Vec::new();
            if name != "bash" && !prefix.is_empty() {
                let tables = session.sql.schema().into_iter().map(|table| table.name);
                matches.extend(
                    tables
                        .filter(|table| table.starts_with(prefix))
                        .map(|text| Completion { text, kind: "table".to_owned() }),
                );
            }
            matches.extend(paths::complete(&session.workspace, prefix));
            Completions { start: word, end: at, matches }
        }
    };
    Completions { start: found.start + body_start, end: found.end + body_start, matches: found.matches }
}

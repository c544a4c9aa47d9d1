//! A magic's line, read by clap.

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

use super::{Invocation, Magic, MagicKind};
use crate::languages::CellError;

/// How a line was understood.
pub enum Parsed {
    Run(Invocation),
    /// `--help` was asked for: the text to show.
    Help(String),
}

/// Reads the flags of `line`. `body` is `None` for a line magic.
pub fn parse(magic: &dyn Magic, line: &str, body: Option<&str>) -> Result<Parsed, CellError> {
    let command = command(magic, body.is_some());
    let (words, text) = if magic.takes_text() {
        let end = end_of_flags(&command, line);
        (words(&line[..end])?, line[end..].to_owned())
    } else {
        (words(line)?, String::new())
    };
    match command.try_get_matches_from(words) {
        Ok(matches) => Ok(Parsed::Run(invocation(magic, matches, line, text, body))),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Parsed::Help(error.render().ansi().to_string())),
        Err(error) => {
            let shown = error.render();
            let summary = shown.to_string();
            let summary = summary.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let lines = shown.ansi().to_string().trim_end().lines().map(str::to_owned).collect();
            Err(CellError::usage(summary).with_traceback(lines))
        }
    }
}

/// The help of a magic, without colours.
pub fn help(magic: &dyn Magic) -> String {
    command(magic, magic.kind() == MagicKind::Cell).render_long_help().to_string()
}

/// A magic's command, named as people type it and unable to end the process.
pub fn command(magic: &dyn Magic, as_cell: bool) -> Command {
    let sigil = if as_cell || !magic.kind().allows_line() { "%%" } else { "%" };
    let name = format!("{sigil}{}", magic.name());
    let mut command = magic.command().name(name.clone()).bin_name(name.clone());
    if magic.takes_text() {
        command = command.override_usage(format!("{name} [OPTIONS] [TEXT]"));
    }
    let mut command =
        command.no_binary_name(true).disable_version_flag(true).disable_help_subcommand(true).term_width(100);
    command.build();
    command
}

fn invocation(magic: &dyn Magic, matches: ArgMatches, line: &str, text: String, body: Option<&str>) -> Invocation {
    let (name, line) = (magic.name().to_owned(), line.to_owned());
    Invocation { name, matches, line, text, body: body.map(str::to_owned) }
}

fn words(line: &str) -> Result<Vec<String>, CellError> {
    shlex::split(line).ok_or_else(|| CellError::usage(format!("a quote is not closed in: {line}")))
}

/// Where the flags end and the text starts.
fn end_of_flags(command: &Command, line: &str) -> usize {
    let mut end = 0;
    let mut value_follows = false;
    while let Some((start, stop)) = next_word(line, end) {
        let word = &line[start..stop];
        if !value_follows && (!word.starts_with('-') || word.len() == 1) {
            return start;
        }
        end = stop;
        if word == "--" && !value_follows {
            return next_word(line, end).map_or(line.len(), |(start, _)| start);
        }
        value_follows = !value_follows && takes_value(command, word);
    }
    line.len()
}

/// The next word after `from`; quotes keep a word together.
fn next_word(line: &str, from: usize) -> Option<(usize, usize)> {
    let start = from + line[from..].find(|character: char| !character.is_whitespace())?;
    let mut quote = None;
    for (offset, character) in line[start..].char_indices() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if character == '"' || character == '\'' => quote = Some(character),
            None if character.is_whitespace() => return Some((start, start + offset)),
            None => {}
        }
    }
    Some((start, line.len()))
}

/// Whether the word is a flag whose value is the next word.
fn takes_value(command: &Command, word: &str) -> bool {
    let argument = if let Some(long) = word.strip_prefix("--") {
        if long.contains('=') {
            return false;
        }
        command.get_arguments().find(|argument| {
            argument.get_long() == Some(long)
                || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
        })
    } else {
        let mut letters = word[1..].chars();
        let short = letters.next();
        if letters.next().is_some() {
            return false;
        }
        command.get_arguments().find(|argument| argument.get_short() == short && short.is_some())
    };
    argument.is_some_and(|argument| argument.get_action().takes_values())
}

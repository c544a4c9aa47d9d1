//! `%git`: git through libgit2, rendered.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use codriver_tools::git::{self, BlameOptions, CommitOptions, DiffOptions, GitError, LogOptions, interruptible};

use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellOutcome, CellResult, Completion};
use crate::render;
use crate::session::{MimeBundle, Session};

pub struct Git;

impl Magic for Git {
    fn name(&self) -> &'static str {
        "git"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("git")
            .about("Shows the workspace's git repository, and commits to it")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(Command::new("status").about("What has changed"))
            .subcommand(
                Command::new("log")
                    .about("The latest commits")
                    .arg(number("count", 'n', "max-count", "COUNT", "How many [default: 20]"))
                    .arg(what("A branch, tag, commit or range, or a path"))
                    .arg(paths()),
            )
            .subcommand(
                Command::new("diff")
                    .about("What the changes are")
                    .arg(switch("staged", None, "staged", "What is staged").visible_alias("cached"))
                    .arg(what("One or two commits or branches, a range, or paths"))
                    .arg(paths()),
            )
            .subcommand(
                Command::new("show")
                    .about("A commit, or a file as it was (REVISION:PATH)")
                    .arg(Arg::new("revision").value_name("REVISION").default_value("HEAD")),
            )
            .subcommand(
                Command::new("blame")
                    .about("Who wrote each line of a file, and when")
                    .arg(
                        Arg::new("lines")
                            .short('L')
                            .value_name("FIRST,LAST")
                            .value_parser(line_range)
                            .help("Only these lines"),
                    )
                    .arg(Arg::new("path").value_name("FILE").required(true)),
            )
            .subcommand(Command::new("branch").about("All branches"))
            .subcommand(
                Command::new("commit")
                    .about("Commits what is staged")
                    .arg(Arg::new("message").short('m').long("message").value_name("TEXT").required(true))
                    .arg(switch("all", Some('a'), "all", "Every change to a tracked file, too"))
                    .arg(switch("allow-empty", None, "allow-empty", "Even when nothing changed"))
                    .arg(switch("no-verify", Some('n'), "no-verify", "Without the hooks, which Codriver cannot run")),
            )
            .after_help("Everything else that git can do: !git")
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let Some((name, matches)) = invocation.matches.subcommand() else { return Ok(CellOutcome::default()) };
        let folder = session.workspace.clone();
        let interrupt = context.interrupt.clone();
        let interrupted = move || interrupt.is_set();
        let bundle = match name {
            "status" => {
                let status = interruptible(&interrupted, move || git::status(&folder));
                status.map(|status| render::git::status(&status))
            }
            "log" => {
                let options = log_options(&folder, matches);
                interruptible(&interrupted, move || git::log(&folder, &options)).map(|log| render::git::log(&log))
            }
            "diff" => {
                let options = diff_options(&folder, matches);
                interruptible(&interrupted, move || git::diff(&folder, &options)).map(|diff| render::git::diff(&diff))
            }
            "show" => {
                let revision = text(matches, "revision").unwrap_or_else(|| "HEAD".to_owned());
                let shown = interruptible(&interrupted, move || git::show(&folder, &revision, &DiffOptions::default()));
                shown.map(|shown| render::git::show(&shown))
            }
            "blame" => {
                let path = text(matches, "path").unwrap_or_default();
                let range = matches.get_one::<(usize, usize)>("lines");
                let options = BlameOptions {
                    first_line: range.map(|(first, _)| *first),
                    last_line: range.map(|(_, last)| *last),
                };
                let blame = interruptible(&interrupted, move || git::blame(&folder, &path, &options));
                blame.map(|blame| render::git::blame(&blame))
            }
            "branch" => {
                let branches = interruptible(&interrupted, move || git::branches(&folder));
                branches.map(|branches| render::git::branches(&branches))
            }
            _ => git::commit(&folder, &commit_options(matches)).map(|committed| render::git::committed(&committed)),
        };
        outcome(bundle)
    }

    fn complete(&self, argument_prefix: &str, session: &Session) -> Vec<Completion> {
        let takes_revision = ["log ", "diff ", "show "].iter().any(|start| argument_prefix.starts_with(start));
        if !takes_revision {
            return Vec::new();
        }
        let branches = git::branches(&session.workspace).map(|found| found.branches).unwrap_or_default();
        let names = branches.into_iter().map(|branch| Completion { text: branch.name, kind: "branch".to_owned() });
        names.collect()
    }
}

fn outcome(bundle: Result<MimeBundle, GitError>) -> CellResult {
    match bundle {
        Ok(bundle) => Ok(CellOutcome { result: Some(bundle), payload: Vec::new() }),
        Err(GitError::Interrupted) => Err(CellError::interrupted("git was stopped; nothing else is lost")),
        Err(error) => Err(CellError::new("GitError", error.to_string())),
    }
}

fn log_options(folder: &Path, matches: &ArgMatches) -> LogOptions {
    let (revisions, paths) = revisions_and_paths(folder, matches);
    let defaults = LogOptions::default();
    LogOptions {
        max_count: matches.get_one("count").copied().unwrap_or(defaults.max_count),
        path: paths.into_iter().next(),
        revision: revisions.into_iter().next(),
        ..defaults
    }
}

fn diff_options(folder: &Path, matches: &ArgMatches) -> DiffOptions {
    let (revisions, paths) = revisions_and_paths(folder, matches);
    let mut revisions = revisions.into_iter();
    DiffOptions {
        staged: matches.get_flag("staged"),
        from: revisions.next(),
        to: revisions.next(),
        paths,
        ..DiffOptions::default()
    }
}

fn commit_options(matches: &ArgMatches) -> CommitOptions {
    CommitOptions {
        message: text(matches, "message").unwrap_or_default(),
        all: matches.get_flag("all"),
        allow_empty: matches.get_flag("allow-empty"),
        no_verify: matches.get_flag("no-verify"),
    }
}

/// A word that names a file is a path, as in git; what follows `--` always is.
fn revisions_and_paths(folder: &Path, matches: &ArgMatches) -> (Vec<String>, Vec<String>) {
    let words = matches.get_many::<String>("what").into_iter().flatten().cloned();
    let (mut paths, revisions): (Vec<String>, Vec<String>) = words.partition(|word| folder.join(word).exists());
    paths.extend(matches.get_many::<String>("paths").into_iter().flatten().cloned());
    (revisions, paths)
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn what(help: &'static str) -> Arg {
    Arg::new("what").value_name("WHAT").num_args(0..).help(help)
}

fn paths() -> Arg {
    Arg::new("paths").value_name("PATH").num_args(0..).last(true).help("Only these files and folders")
}

fn number(name: &'static str, short: char, long: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).short(short).long(long).value_name(value).value_parser(value_parser!(usize)).help(help)
}

fn switch(name: &'static str, short: Option<char>, long: &'static str, help: &'static str) -> Arg {
    let argument = Arg::new(name).long(long).action(ArgAction::SetTrue).help(help);
    match short {
        Some(short) => argument.short(short),
        None => argument,
    }
}

fn line_range(text: &str) -> Result<(usize, usize), String> {
    let (first, last) = text.split_once(',').ok_or("write FIRST,LAST")?;
    let line = |text: &str| text.trim().parse::<usize>().map_err(|error| error.to_string());
    Ok((line(first)?, line(last)?))
}

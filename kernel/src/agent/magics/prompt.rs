//! `%prompt`: the templates of system prompts and their versions; examples of good answers.

use clap::Command;

use super::{completions, said, shown, split_word};
use crate::agent::examples::{self, Example};
use crate::agent::prompts::{self, ORIGINAL};
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellOutcome, CellResult, Completion};
use crate::render::{cards, diff};
use crate::session::Session;

const COMMANDS: [&str; 6] = ["list", "show", "edit", "diff", "use", "example"];

pub(super) struct Prompt;

impl Magic for Prompt {
    fn name(&self) -> &'static str {
        "prompt"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Both
    }

    fn command(&self) -> Command {
        Command::new("prompt")
            .about("Shows and changes the templates of system prompts, and examples of good answers")
            .after_help(
                "%prompt list                 all templates, their versions and which are in use\n\
             %prompt show NAME [VERSION]  the text\n\
             %prompt edit NAME            a cell to change it in: %%prompt edit NAME with its text\n\
             %prompt diff NAME [V] [W]    what changed from V (built-in) to W (in use)\n\
             %prompt use NAME VERSION     goes back to a version; `built-in` is the one that ships\n\
             %prompt example              all examples; the ones most like a request go into its prompt\n\
             %prompt example add          keeps the last turn's request and answer as one\n\
             %prompt example remove N     removes one",
            )
    }

    fn takes_text(&self) -> bool {
        true
    }

    /// `{{ }}` is the templates' own.
    fn interpolates(&self) -> bool {
        false
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, _context: &CellContext) -> CellResult {
        let (command, rest) = split_word(&invocation.text);
        let words: Vec<&str> = rest.split_whitespace().collect();
        let body = invocation.body.as_deref().filter(|body| !body.trim().is_empty());
        match (command, words.as_slice(), body) {
            ("" | "list", [], None) => list(),
            ("show", [name], None) => show(name, None),
            ("show", [name, version], None) => show(name, Some(version)),
            ("edit", [name], None) => edit(name),
            ("edit", [name], Some(text)) => {
                let version = prompts::save(name, text)?;
                said(format!(
                    "{name} is version {version} from the next turn on; %prompt diff {name} shows what changed"
                ))
            }
            ("diff", [name], None) => difference(name, ORIGINAL, None),
            ("diff", [name, from], None) => difference(name, from, None),
            ("diff", [name, from, to], None) => difference(name, from, Some(to)),
            ("use", [name, version], None) => {
                prompts::choose(name, version)?;
                said(format!("{name} is {} from the next turn on", label(version)))
            }
            ("example", [], None) => list_examples(),
            ("example", ["add"], None) => add_example(session),
            ("example", ["remove", number], None) => remove_example(number),
            (known, _, _) if COMMANDS.contains(&known) => {
                Err(CellError::usage(format!("%prompt {known} is not complete, or says too much; %prompt --help")))
            }
            (other, _, _) => {
                let near = codriver_tools::nearest(other, COMMANDS);
                let hint = near.map_or_else(|| "; %prompt --help".to_owned(), |near| format!("; did you mean {near}?"));
                Err(CellError::usage(format!("%prompt does not know {other:?}{hint}")))
            }
        }
    }

    fn complete(&self, argument_prefix: &str, _session: &Session) -> Vec<Completion> {
        match argument_prefix.trim_start().split_once(char::is_whitespace) {
            None => completions(COMMANDS, "keyword"),
            Some(("show" | "edit" | "diff" | "use", rest)) if !rest.trim_start().contains(char::is_whitespace) => {
                let files = prompts::list();
                completions(files.iter().map(|file| file.name.as_str()), "template")
            }
            Some(_) => Vec::new(),
        }
    }
}

fn list() -> CellResult {
    let rows: Vec<Vec<String>> = prompts::list()
        .into_iter()
        .map(|file| {
            let versions: Vec<String> = file.versions.iter().map(u32::to_string).collect();
            vec![file.name, label(&file.used), versions.join(", ")]
        })
        .collect();
    shown(cards::table(&["template", "in use", "kept versions"], &rows))
}

fn show(name: &str, version: Option<&str>) -> CellResult {
    let text = prompts::text(name, version)?;
    let used = version.map_or_else(|| prompts::used_version(name), str::to_owned);
    shown(cards::folded_text(&format!("{name}, {}", label(&used)), &text))
}

fn edit(name: &str) -> CellResult {
    let cell = format!("%%prompt edit {name}\n{}", prompts::text(name, None)?);
    let result = cards::folded_text(&format!("{name}, as a cell to change and run"), &cell);
    Ok(CellOutcome::next_input(&cell, result))
}

fn difference(name: &str, from: &str, to: Option<&str>) -> CellResult {
    let (old, new) = (prompts::text(name, Some(from))?, prompts::text(name, to)?);
    let used = to.map_or_else(|| prompts::used_version(name), str::to_owned);
    let text = similar::TextDiff::from_lines(&old, &new);
    let header = (format!("a/{name} {}", label(from)), format!("b/{name} {}", label(&used)));
    shown(diff::unified(&text.unified_diff().header(&header.0, &header.1).to_string()))
}

fn list_examples() -> CellResult {
    let examples = examples::all();
    if examples.is_empty() {
        return said("there are no examples; %prompt example add keeps the last turn as one");
    }
    let rows: Vec<Vec<String>> = examples
        .iter()
        .enumerate()
        .map(|(index, example)| {
            vec![(index + 1).to_string(), cards::one_line(&example.request, 100), cards::one_line(&example.answer, 200)]
        })
        .collect();
    shown(cards::table(&["#", "request", "answer"], &rows))
}

fn add_example(session: &Session) -> CellResult {
    let conversation = session.agents.last_turn.as_ref().and_then(|last| last.conversation.as_ref());
    let Some(conversation) = conversation else {
        return Err(CellError::usage("no agent has been asked in this session yet"));
    };
    let stored = session.memory.last_turn(conversation).map_err(|error| crate::agent::memory_error(&error))?;
    let Some(stored) = stored else { return Err(CellError::usage("the last turn is not kept")) };
    let (request, answer) = (stored.turn.request, stored.turn.answer);
    if answer.trim().is_empty() {
        return Err(CellError::usage("the last turn has no answer"));
    }
    let mut examples = examples::all();
    examples.retain(|example| example.request != request);
    examples.push(Example { request, answer, score: 0.0 });
    examples::save(&examples)?;
    said(format!("kept as example {}", examples.len()))
}

fn remove_example(number: &str) -> CellResult {
    let mut examples = examples::all();
    let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let Some(index) = index.filter(|index| *index < examples.len()) else {
        return Err(CellError::usage(format!("there is no example {number}; %prompt example lists them")));
    };
    let removed = examples.remove(index);
    examples::save(&examples)?;
    said(format!("removed: {}", cards::one_line(&removed.request, 100)))
}

fn label(version: &str) -> String {
    if version.parse::<u32>().is_ok() { format!("version {version}") } else { version.to_owned() }
}

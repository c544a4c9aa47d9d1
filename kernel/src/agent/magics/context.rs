//! `%context`: what a turn's model saw, to the token, and what it will see.

mod change;

use clap::{Arg, ArgAction, Command};
use codriver_memory::{ContextItem, ConversationId, StoredTurn};

use super::{completions, said, shown, split_word};
use crate::agent::{LastTurn, memory_error};
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellResult, Completion};
use crate::render::{cards, context as show, diff};
use crate::session::Session;

const COMMANDS: [&str; 10] = ["list", "pin", "drop", "unpin", "choices", "diff", "compact", "edit", "undo", "ledger"];
/// Entries of the ledger that are shown.
const MOST_SENT: usize = 100;
const MOST_TURNS: usize = 200;

pub(super) struct Context;

impl Magic for Context {
    fn name(&self) -> &'static str {
        "context"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Both
    }

    fn command(&self) -> Command {
        Command::new("context")
            .about("Shows what a turn's model saw, to the token, and changes what it will see")
            .after_help(
                "%context               the last turn\n\
                 %context N             turn N of this conversation\n\
                 %context list          this conversation's turns\n\
                 %context diff N [M]    what changed from turn N to turn M, or to the last\n\
                 %context pin N         item N of what was shown is in from now on\n\
                 %context drop N        it is left out from now on\n\
                 %context unpin N       neither\n\
                 %context choices       what is pinned and dropped\n\
                 %context compact       condenses the earlier turns now\n\
                 %context edit          the compaction, to change it: %%context edit with its text\n\
                 %context undo          takes the last compaction back\n\
                 %context ledger        what left the machine",
            )
            .arg(
                Arg::new("prompt").long("prompt").action(ArgAction::SetTrue).help("Only the exact text of the prompts"),
            )
    }

    fn takes_text(&self) -> bool {
        true
    }

    /// An edited compaction is text, whatever stands in it.
    fn interpolates(&self) -> bool {
        false
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let only_prompt = invocation.matches.get_flag("prompt");
        let body = invocation.body.as_deref().filter(|body| !body.trim().is_empty());
        let (command, rest) = split_word(&invocation.text);
        if body.is_some() && command != "edit" {
            return Err(CellError::usage("only %%context edit takes lines below it"));
        }
        match (command, rest) {
            ("", _) => last_turn(session, context, only_prompt),
            ("list", "") => list(session),
            ("pin" | "drop" | "unpin", items) => change::choose(command, items, session),
            ("choices", "") => change::choices(session),
            ("diff", turns) => difference(turns, session),
            ("compact", "") => change::compact(session, context),
            ("edit", "") => change::edit(body, session),
            ("undo", "") => change::undo(session),
            ("ledger", "") => ledger(session),
            (number, "") if number.parse::<usize>().is_ok() => {
                let stored = turn(number, session)?;
                stored_turn(&stored, session, context, only_prompt)
            }
            (other, _) => {
                let near = codriver_tools::nearest(other, COMMANDS);
                let hint =
                    near.map_or_else(|| "; %context --help".to_owned(), |near| format!("; did you mean {near}?"));
                Err(CellError::usage(format!("%context does not know {other:?}{hint}")))
            }
        }
    }

    fn complete(&self, argument_prefix: &str, _session: &Session) -> Vec<Completion> {
        if argument_prefix.trim_start().contains(char::is_whitespace) {
            return Vec::new();
        }
        completions(COMMANDS, "keyword")
    }
}

fn last_turn(session: &mut Session, context: &CellContext, only_prompt: bool) -> CellResult {
    let Some(last) = session.agents.last_turn.clone() else {
        return said("no agent has been asked in this session yet");
    };
    if only_prompt {
        let prompts: Vec<&str> = last.prompts.iter().map(|(prompt, _)| prompt.as_str()).collect();
        return said(prompts.join("\n"));
    }
    session.agents.shown_items.clone_from(&last.context);
    show_turn(&last, context)
}

fn show_turn(turn: &LastTurn, context: &CellContext) -> CellResult {
    context.output.display(show::context_table(&turn.context, turn.window));
    let count = turn.prompts.len();
    for (number, (prompt, tokens)) in turn.prompts.iter().enumerate() {
        let title = format!("prompt {} of {count} to {}: {tokens} tokens", number + 1, turn.model);
        context.output.display(cards::folded_text(&title, prompt));
    }
    let kept: usize = turn.context.iter().filter(|item| item.dropped.is_none()).map(|item| item.tokens).sum();
    let rows = vec![
        vec!["request".to_owned(), cards::one_line(&turn.request, 200)],
        vec!["model".to_owned(), turn.model.clone()],
        vec!["model calls".to_owned(), count.to_string()],
        vec!["tokens of all that is in".to_owned(), kept.to_string()],
        vec!["tokens of the last prompt".to_owned(), turn.prompts.last().map_or(0, |(_, tokens)| *tokens).to_string()],
    ];
    shown(cards::table(&["turn", ""], &rows))
}

/// A turn that memory kept. How many tokens each of its prompts had is known of all of them together.
fn stored_turn(stored: &StoredTurn, session: &mut Session, context: &CellContext, only_prompt: bool) -> CellResult {
    let turn = &stored.turn;
    if only_prompt {
        return said(turn.prompt.clone());
    }
    session.agents.shown_items.clone_from(&turn.context);
    let used: usize = turn.context.iter().filter(|item| item.dropped.is_none()).map(|item| item.tokens).sum();
    let as_last = LastTurn {
        request: turn.request.clone(),
        model: turn.model.clone(),
        window: used.max(turn.prompt_tokens),
        context: turn.context.clone(),
        prompts: vec![(turn.prompt.clone(), turn.prompt_tokens)],
        conversation: Some(turn.conversation.clone()),
    };
    show_turn(&as_last, context)
}

fn list(session: &Session) -> CellResult {
    let turns = session.memory.earlier_turns(&conversation(session)?, 0, MOST_TURNS);
    let rows: Vec<Vec<String>> = turns
        .map_err(|error| memory_error(&error))?
        .into_iter()
        .map(|turn| {
            vec![
                turn.number.to_string(),
                cards::one_line(&turn.request, 100),
                cards::one_line(&turn.answer, 100),
                turn.ended.unwrap_or_default(),
            ]
        })
        .collect();
    shown(cards::table(&["turn", "request", "answer", ""], &rows))
}

/// Items that came and went, and the prompts line by line.
fn difference(turns: &str, session: &Session) -> CellResult {
    let (first, second) = split_word(turns);
    if first.is_empty() {
        return Err(CellError::usage("which turn is missing: %context diff N [M] (%context list shows them)"));
    }
    let from = turn(first, session)?;
    let to = match second {
        "" => session.memory.last_turn(&from.turn.conversation).map_err(|error| memory_error(&error))?,
        second => Some(turn(second, session)?),
    };
    let Some(to) = to else { return said("there is no later turn") };
    let kept = |turn: &StoredTurn| -> Vec<String> {
        let kept = turn.turn.context.iter().filter(|item| item.dropped.is_none());
        kept.map(|item| format!("{:<10} {:<10} {}", item.details.section, item.kind, title(item))).collect()
    };
    let lines = |turn: &StoredTurn| format!("{}\n\n{}\n", kept(turn).join("\n"), turn.turn.prompt);
    let (old, new) = (lines(&from), lines(&to));
    let text = similar::TextDiff::from_lines(&old, &new);
    let patch = text
        .unified_diff()
        .context_radius(2)
        .header(&format!("a/turn {first}"), &format!("b/turn {}", if second.is_empty() { "(last)" } else { second }))
        .to_string();
    shown(diff::unified(&patch))
}

fn ledger(session: &Session) -> CellResult {
    let sent = session.memory.sent(MOST_SENT).map_err(|error| memory_error(&error))?;
    if sent.is_empty() {
        return said("nothing has left this machine: no remote model was asked");
    }
    shown(show::ledger_table(&sent))
}

/// The conversation that the last turn belongs to, else the current agent's.
fn conversation(session: &Session) -> Result<ConversationId, CellError> {
    let agents = &session.agents;
    let last = agents.last_turn.as_ref().and_then(|last| last.conversation.clone());
    let current = || agents.conversations.get(&agents.current).cloned();
    last.or_else(current).ok_or_else(|| CellError::usage("no agent has been asked in this session yet"))
}

fn turn(number: &str, session: &Session) -> Result<StoredTurn, CellError> {
    let conversation = conversation(session)?;
    let parsed =
        number.parse::<usize>().map_err(|_| CellError::usage(format!("{number:?} is not the number of a turn")))?;
    let found = session.memory.turn(&conversation, parsed).map_err(|error| memory_error(&error))?;
    found.ok_or_else(|| {
        CellError::usage(format!("this conversation has no turn {number}; %context list shows its turns"))
    })
}

fn title(item: &ContextItem) -> String {
    cards::one_line(if item.title.is_empty() { &item.text } else { &item.title }, 80)
}

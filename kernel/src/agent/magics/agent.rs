//! `%%agent`: ask; `%agent list | use | reset | history | conversations | resume`: whom.

use chrono::{DateTime, Local, Utc};
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use codriver_memory::{ConversationId, StoredConversation};
use codriver_tools::nearest;

use super::{completions, said, shown, split_word};
use crate::agent::{TurnOptions, limits, memory_error, run_turn};
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellOutcome, CellResult, Completion};
use crate::render::cards;
use crate::session::Session;

const COMMANDS: [&str; 6] = ["list", "use", "reset", "history", "conversations", "resume"];

const MOST_HISTORY: usize = 20;
const MOST_CONVERSATIONS: usize = 50;

pub(super) struct Agent;

impl Magic for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Both
    }

    fn command(&self) -> Command {
        Command::new("agent")
            .about("Asks an agent; the request stands on the line or below it")
            .after_help(
                "%%agent [FLAGS] [NAME] [REQUEST], the request going on below the line.\n\
                 NAME is an agent (%agent list); without one, the current agent answers.\n\n\
                 %agent list           all agents\n\
                 %agent use NAME       who answers from now on\n\
                 %agent reset [NAME]   forget this conversation (the record stays)\n\
                 %agent history [N]    the last N requests and answers\n\
                 %agent conversations  the conversations of this project\n\
                 %agent resume [ID]    go on with an earlier one; the last, without ID",
            )
            .arg(
                value(
                    "model",
                    "MODEL",
                    value_parser!(String),
                    "Asks this model: `starter`, one of %model list, a folder, a GGUF file, or http://host:port/v1#name",
                )
                .short('m'),
            )
            .arg(value("tools", "A,B", value_parser!(String), "Offers only these tools (%tools); `none` for none"))
            .arg(value("max-turns", "N", limits::limit, "Model calls before giving up"))
            .arg(value("max-tokens", "N", limits::limit, "Tokens of one answer"))
            .arg(
                value("temperature", "T", limits::temperature, "0 gives the same answer each time [default: 0]")
                    .allow_negative_numbers(true),
            )
            .arg(value("seed", "S", value_parser!(u64), "Makes sampling repeatable [default: 0]"))
            .arg(
                Arg::new("no-memory")
                    .long("no-memory")
                    .action(ArgAction::SetTrue)
                    .help("Tells the model nothing remembered, earlier turns included"),
            )
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        if let Some(problem) = session.agents.problem.take() {
            context.output.stderr(format!("your agents are left out: {problem}\n"));
        }
        super::tell_notices(session, context);
        let words: Vec<&str> = invocation.text.split_whitespace().collect();
        if invocation.body.as_deref().is_none_or(|body| body.trim().is_empty())
            && let Some(outcome) = manage(&words, session)
        {
            return outcome;
        }
        // Flags are those of a request.
        if invocation.body.is_none() && invocation.line.trim() == invocation.text.trim() {
            check_command(&words, session)?;
        }
        let mut options = options(&invocation.matches);
        let whole = invocation.whole_text();
        let (first, rest) = split_word(&invocation.text);
        let request = match session.agents.definitions.get(first) {
            Some(agent) => {
                options.agent = Some(agent.name.clone());
                Invocation { text: rest.to_owned(), ..invocation.clone() }.whole_text()
            }
            None => whole,
        };
        run_turn(session, &options, &request, context)?;
        Ok(CellOutcome::default())
    }

    fn complete(&self, argument_prefix: &str, session: &Session) -> Vec<Completion> {
        match previous_word(argument_prefix) {
            "--model" | "-m" => super::model::completions(session),
            "--tools" => super::tools::completions(session),
            "resume" => {
                let known = session.memory.conversations(MOST_CONVERSATIONS).unwrap_or_default();
                completions(known.iter().map(|conversation| conversation.id.short()), "conversation")
            }
            "use" | "reset" => completions(session.agents.definitions.names(), "agent"),
            "" => completions(session.agents.definitions.names().chain(COMMANDS), "agent"),
            _ => Vec::new(),
        }
    }
}

fn value(name: &'static str, value_name: &'static str, parser: impl Into<ValueParser>, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).value_parser(parser).help(help)
}

fn options(matches: &ArgMatches) -> TurnOptions {
    let tools = matches.get_one::<String>("tools").map(|names| names.split(',').map(str::to_owned).collect());
    TurnOptions {
        model: matches.get_one::<String>("model").cloned(),
        tools,
        max_turns: matches.get_one::<usize>("max-turns").copied(),
        max_tokens: matches.get_one::<usize>("max-tokens").copied(),
        temperature: matches.get_one::<f32>("temperature").copied(),
        seed: matches.get_one::<u64>("seed").copied(),
        no_memory: matches.get_flag("no-memory"),
        ..TurnOptions::default()
    }
}

/// The subcommands; `None` where the words are none.
fn manage(words: &[&str], session: &mut Session) -> Option<CellResult> {
    match words {
        ["list"] => Some(list(session)),
        ["use", name] => Some(switch(name, session)),
        ["reset"] => {
            let current = session.agents.current.clone();
            Some(reset(&current, session))
        }
        ["reset", name] if session.agents.definitions.get(name).is_some() => Some(reset(name, session)),
        ["conversations"] => Some(conversations(session)),
        ["resume"] => Some(resume(None, session)),
        ["resume", id] if is_id(id) => Some(resume(Some(id), session)),
        ["history"] => Some(history(MOST_HISTORY, session)),
        ["history", count] => count.parse().ok().map(|count| history(count, session)),
        _ => None,
    }
}

/// Conversations are named in hexadecimal digits.
fn is_id(word: &str) -> bool {
    word.chars().all(|character| character.is_ascii_hexdigit() || character == '-')
}

/// A `%agent` line that begins like a subcommand is none that a model should see: what was meant may not leave the machine.
fn check_command(words: &[&str], session: &Session) -> Result<(), CellError> {
    let [first, rest @ ..] = words else { return Ok(()) };
    let definitions = &session.agents.definitions;
    if definitions.get(first).is_some() {
        return Ok(());
    }
    let wrong = match (*first, rest) {
        ("list" | "conversations", _) => format!("%agent {first} takes nothing behind it"),
        ("use", []) => "which agent is missing: %agent use NAME (%agent list shows them)".to_owned(),
        ("use", _) => "%agent use takes one name (%agent list shows them)".to_owned(),
        ("reset", [name]) => {
            let near = nearest(name, definitions.names()).map(|near| format!("; did you mean {near}?"));
            format!("there is no agent {name:?}{}", near.unwrap_or_else(|| " (%agent list shows them)".to_owned()))
        }
        ("reset", _) => "%agent reset takes one name at most (%agent list shows them)".to_owned(),
        ("resume", _) => {
            format!("{:?} is no conversation's id: %agent resume ID (%agent conversations shows them)", rest.join(" "))
        }
        ("history", _) => format!("{:?} is no number: %agent history N shows the last N turns", rest.join(" ")),
        // A request of so few words that one is nearly a subcommand is most likely one that was mistyped.
        _ => match nearest(first, COMMANDS).filter(|_| rest.len() <= 1) {
            Some(near) => format!("%agent does not know {first:?}; did you mean {near}?"),
            None => return Ok(()),
        },
    };
    Err(CellError::usage(format!("{wrong}. Nothing was asked; to ask an agent these words, write them below %%agent")))
}

fn list(session: &Session) -> CellResult {
    let agents = &session.agents;
    let rows: Vec<Vec<String>> = agents
        .definitions
        .all()
        .iter()
        .map(|agent| {
            let current = if agent.name == agents.current { "●" } else { "" };
            vec![
                current.to_owned(),
                agent.name.clone(),
                agent.description.clone(),
                agent.model.clone().unwrap_or_else(|| "current".to_owned()),
                agent.tools.join(", "),
            ]
        })
        .collect();
    shown(cards::table(&["", "agent", "what it does", "model", "tools"], &rows))
}

fn switch(name: &str, session: &mut Session) -> CellResult {
    let definitions = &session.agents.definitions;
    let Some(agent) = definitions.get(name) else {
        let hint =
            nearest(name, definitions.names()).map(|near| format!(" Did you mean {near:?}?")).unwrap_or_default();
        return Err(CellError::new(
            "AgentError",
            format!("there is no agent {name:?}.{hint} %agent list shows all of them"),
        ));
    };
    let name = agent.name.clone();
    session.agents.current = name.clone();
    said(format!("{name} answers from now on"))
}

fn reset(name: &str, session: &mut Session) -> CellResult {
    let had = session.agents.reset(name)?;
    said(if had {
        format!("the conversation with {name} starts anew")
    } else {
        format!("there is no conversation with {name} yet")
    })
}

fn history(count: usize, session: &Session) -> CellResult {
    let agents = &session.agents;
    let Some(conversation) = agents.conversations.get(&agents.current) else {
        return said(format!("nothing was said to {} in this session", agents.current));
    };
    let turns = session.memory.turns(conversation, count).map_err(|error| memory_error(&error))?;
    let rows: Vec<Vec<String>> = turns
        .into_iter()
        .map(|stored| vec![stored.turn.request, cards::one_line(&stored.turn.answer, 300), stored.turn.model])
        .collect();
    shown(cards::table(&["request", "answer", "model"], &rows))
}

fn conversations(session: &Session) -> CellResult {
    let all = session.memory.conversations(MOST_CONVERSATIONS).map_err(|error| memory_error(&error))?;
    let said_something: Vec<StoredConversation> =
        all.into_iter().filter(|conversation| conversation.turns > 0).collect();
    if said_something.is_empty() {
        return said("there are no conversations in this project yet");
    }
    let current: Vec<&ConversationId> = session.agents.conversations.values().collect();
    let time = |time: DateTime<Utc>| time.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string();
    let rows: Vec<Vec<String>> = said_something
        .iter()
        .map(|conversation| {
            vec![
                if current.contains(&&conversation.id) { "●" } else { "" }.to_owned(),
                conversation.id.short().to_owned(),
                conversation.agent.clone(),
                cards::one_line(&conversation.first_request, 120),
                conversation.turns.to_string(),
                time(conversation.last_turn_at.unwrap_or(conversation.started_at)),
                conversation.notebook.clone(),
            ]
        })
        .collect();
    shown(cards::table(&["", "id", "agent", "it began with", "turns", "last", "notebook"], &rows))
}

fn resume(id: Option<&str>, session: &mut Session) -> CellResult {
    let resumed = session.agents.resume(id)?;
    let request = cards::one_line(&resumed.first_request, 120);
    let turns = if resumed.turns == 1 { "1 turn".to_owned() } else { format!("{} turns", resumed.turns) };
    said(format!("going on with {} ({turns}, {}): {request}", resumed.id.short(), resumed.agent))
}

/// The last word that is complete.
fn previous_word(prefix: &str) -> &str {
    let complete = prefix.rfind(char::is_whitespace).map_or("", |end| &prefix[..end]);
    complete.split_whitespace().last().unwrap_or_default()
}

//! `%context`: what the last turn's model saw, to the token.

use clap::{Arg, ArgAction, Command};

use super::{said, shown};
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellResult};
use crate::render::cards;
use crate::session::Session;

pub(super) struct Context;

impl Magic for Context {
    fn name(&self) -> &'static str {
        "context"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("context").about("Shows what the last turn's model saw, to the token").arg(
            Arg::new("prompt").long("prompt").action(ArgAction::SetTrue).help("Only the exact text of the prompts"),
        )
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let Some(last) = &session.agents.last_turn else {
            return said("no agent has been asked in this session yet");
        };
        if invocation.matches.get_flag("prompt") {
            let prompts: Vec<&str> = last.prompts.iter().map(|(prompt, _)| prompt.as_str()).collect();
            return said(prompts.join("\n"));
        }
        context.output.display(cards::context_table(&last.context));
        let count = last.prompts.len();
        for (number, (prompt, tokens)) in last.prompts.iter().enumerate() {
            let title = format!("prompt {} of {count} to {}: {tokens} tokens", number + 1, last.model);
            context.output.display(cards::folded_text(&title, prompt));
        }
        let kept: usize = last.context.iter().filter(|item| item.dropped.is_none()).map(|item| item.tokens).sum();
        let rows = vec![
            vec!["request".to_owned(), cards::one_line(&last.request, 200)],
            vec!["model".to_owned(), last.model.clone()],
            vec!["model calls".to_owned(), count.to_string()],
            vec!["tokens retrieved and used".to_owned(), kept.to_string()],
            vec![
                "tokens of the last prompt".to_owned(),
                last.prompts.last().map_or(0, |(_, tokens)| *tokens).to_string(),
            ],
        ];
        shown(cards::table(&["last turn", ""], &rows))
    }
}

//! `%tools`: what agents can do, and what the policy says to it.

use clap::Command;
use codriver_tools::{Decision, Effect, Policy};

use super::shown;
use crate::agent::tools::specifications;
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellResult, Completion};
use crate::render::cards;
use crate::session::Session;

pub(super) struct Tools;

impl Magic for Tools {
    fn name(&self) -> &'static str {
        "tools"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("tools").about("Lists the tools agents can use, and whether they have to ask")
    }

    fn run(&self, _invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let policy = Policy { can_ask: context.output.can_ask() };
        let rows: Vec<Vec<String>> = specifications(session, context)
            .into_iter()
            .map(|tool| {
                let effect = match tool.effect {
                    Effect::Read => "reads",
                    Effect::Memory => "remembers",
                    Effect::Write => "changes",
                };
                let decision = match policy.decide(&tool) {
                    Decision::Allow if tool.name == "sql" => "allowed; what is not a query asks",
                    Decision::Allow => "allowed",
                    Decision::Ask => "asks",
                    Decision::Deny => "denied here: nobody can be asked",
                };
                let arguments = tool.parameters["properties"].as_object();
                let arguments: Vec<&str> = arguments.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                vec![
                    tool.name.to_owned(),
                    arguments.join(", "),
                    effect.to_owned(),
                    decision.to_owned(),
                    tool.description.to_owned(),
                ]
            })
            .collect();
        shown(cards::table(&["tool", "arguments", "effect", "policy", "what it does"], &rows))
    }
}

pub(super) fn completions(session: &Session) -> Vec<Completion> {
    let definitions = session.agents.definitions.all();
    let mut names: Vec<&str> = definitions.iter().flat_map(|agent| agent.tools.iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    super::completions(names, "tool")
}

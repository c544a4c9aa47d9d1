//! `%knowledge`: the documents that agents find things in.

use clap::{Command, FromArgMatches, Subcommand};
use codriver_memory::ingest::IngestError;

use super::completions;
use crate::agent::knowledge::{self, IngestDisplay, KnowledgeCommand, Outcome};
use crate::agent::memory_error;
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellOutcome, CellResult, Completion};
use crate::session::Session;

const COMMANDS: [&str; 5] = ["add", "list", "refresh", "remove", "show"];

pub(super) struct Knowledge;

impl Magic for Knowledge {
    fn name(&self) -> &'static str {
        "knowledge"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        let command = Command::new("knowledge")
            .about("Takes in files and pages, so that agents find what they say")
            .after_help(
                "%knowledge add src               a folder: source code, Markdown, notebooks, PDF, HTML, tables, text\n\
                 %knowledge add 'docs/**/*.md'    a pattern\n\
                 %knowledge add https://...       a page\n\
                 %knowledge list                  what there is, and whether files have changed since\n\
                 %knowledge refresh               reads what changed\n\
                 %knowledge remove docs           forgets documents\n\
                 %knowledge show src/lib.rs       how a document was cut\n\n\
                 .gitignore and .codriverignore are honoured; hidden, binary and secret files stay out.",
            )
            .subcommand_required(true);
        KnowledgeCommand::augment_subcommands(command)
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let command = KnowledgeCommand::from_arg_matches(&invocation.matches)
            .map_err(|error| CellError::usage(error.to_string()))?;
        let mut display = match &command {
            KnowledgeCommand::Add(arguments) => IngestDisplay::new(&arguments.source),
            _ => IngestDisplay::new("refresh"),
        };
        let mut live = None;
        let outcome = knowledge::run(&command, session, &context.interrupt, &mut |progress| {
            let Some(bundle) = display.update(progress) else { return };
            match &live {
                None => live = Some(context.output.live_display(bundle)),
                Some(live) => live.update(bundle),
            }
        });
        let outcome = outcome.map_err(|error| match error {
            IngestError::Memory(error) => memory_error(&error),
            error => CellError::new("KnowledgeError", error.to_string()),
        })?;
        let result = match live {
            Some(live) => {
                live.update(outcome.bundle());
                None
            }
            None => Some(outcome.bundle()),
        };
        match outcome {
            Outcome::Read(report) if report.interrupted => {
                Err(CellError::interrupted("interrupted; what is done stays, and the same again goes on from there"))
            }
            _ => Ok(CellOutcome { result, ..CellOutcome::default() }),
        }
    }

    fn complete(&self, argument_prefix: &str, session: &Session) -> Vec<Completion> {
        match argument_prefix.trim_start().split_once(char::is_whitespace) {
            None => completions(COMMANDS, "keyword"),
            Some(("add", _)) => Vec::new(),
            Some(_) => {
                let documents = session.memory.documents(None).unwrap_or_default();
                completions(documents.iter().map(|document| document.origin.as_str()), "file")
            }
        }
    }
}

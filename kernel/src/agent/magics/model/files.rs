//! `%model convert | quantize | tokenize | template`: what `codriver model` does with files, in a notebook.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::model_error;
use crate::agent::magics::said;
use crate::agent::store::convert::{ConvertArguments, NotWritten, QuantizeArguments, TYPES, Written};
use crate::agent::store::inputs::Inputs;
use crate::agent::store::progress_bar;
use crate::agent::store::template::TemplateArguments;
use crate::agent::store::tokenize::{OUTPUT, TokenizeArguments};
use crate::languages::{CellContext, CellError, CellOutcome, CellResult};
use crate::session::{Interrupt, LiveDisplay, MimeBundle, Session};

/// Between two updates of a progress display.
const REFRESH: Duration = Duration::from_millis(200);

const TEMPLATE_HELP: &str = "MESSAGES holds what the OpenAI API takes: an array of messages, or an object with\n\
                             `messages` (and `tools`). Paths start at the workspace.";

pub(super) fn commands() -> Vec<Command> {
    vec![
        ConvertArguments::augment_args(Command::new("convert"))
            .about("Writes a model as a GGUF file")
            .after_help(TYPES),
        QuantizeArguments::augment_args(Command::new("quantize"))
            .about("Writes a model as a GGUF file with smaller weights")
            .after_help(TYPES),
        TokenizeArguments::augment_args(Command::new("tokenize"))
            .about("Shows the token ids of a text")
            .after_help(OUTPUT),
        TemplateArguments::augment_args(Command::new("template"))
            .about("Shows the prompt that a chat template makes of messages")
            .after_help(TEMPLATE_HELP),
    ]
}

/// `None` for a command that is none of these.
pub(super) fn run(command: &str, matches: &ArgMatches, session: &Session, context: &CellContext) -> Option<CellResult> {
    let inputs = Inputs { workspace: &session.workspace, standard_input: false };
    let printed = |printed: Result<String, String>| said(printed.map_err(|reason| model_error(&reason))?);
    Some(match command {
        "convert" => {
            ConvertArguments::from_arg_matches(matches).map_err(|error| model_error(&error)).and_then(|arguments| {
                write(context, |interrupt, on_progress| arguments.run(&inputs, interrupt, on_progress))
            })
        }
        "quantize" => {
            QuantizeArguments::from_arg_matches(matches).map_err(|error| model_error(&error)).and_then(|arguments| {
                write(context, |interrupt, on_progress| arguments.run(&inputs, interrupt, on_progress))
            })
        }
        "tokenize" => TokenizeArguments::from_arg_matches(matches)
            .map_err(|error| model_error(&error))
            .and_then(|arguments| printed(arguments.run(&inputs).map(|line| line.trim_end().to_owned()))),
        "template" => TemplateArguments::from_arg_matches(matches)
            .map_err(|error| model_error(&error))
            .and_then(|arguments| printed(arguments.run(&inputs))),
        _ => return None,
    })
}

type OnProgress<'a> = &'a mut dyn FnMut(usize, usize, &str);

/// Writes a file under a bar, and says how to use it.
fn write(
    context: &CellContext,
    work: impl FnOnce(&Interrupt, OnProgress<'_>) -> Result<Written, NotWritten>,
) -> CellResult {
    let mut live: Option<(LiveDisplay, Instant)> = None;
    let written = work(&context.interrupt, &mut |done, total, tensor| {
        if live.as_ref().is_some_and(|(_, shown)| shown.elapsed() < REFRESH) {
            return;
        }
        let percent = (done as u128 * 100).checked_div(total as u128).unwrap_or_default();
        let bar = progress_bar("writing", percent.min(100), tensor);
        match &mut live {
            None => live = Some((context.output.live_display(bar), Instant::now())),
            Some((live, shown)) => {
                live.update(bar);
                *shown = Instant::now();
            }
        }
    });
    let end = |text: String| match &live {
        Some((live, _)) => {
            live.update(MimeBundle::plain(text));
            Ok(CellOutcome::default())
        }
        None => said(text),
    };
    match written {
        Ok(written) => {
            let path = written.path.display().to_string();
            let start = if written.path.is_absolute() || path.starts_with(['.', '~']) { "" } else { "./" };
            end(format!("{path} is written: {}; %model {start}{path} uses it", written.text()))
        }
        Err(error) => {
            if live.is_some() {
                end("nothing was written".to_owned())?;
            }
            Err(match error {
                NotWritten::Interrupted => CellError::interrupted("nothing was written"),
                NotWritten::Failed(reason) => model_error(&reason),
            })
        }
    }
}

//! Running a parsed cell.

use super::flags::{self, Parsed};
use super::interpolation::{interpolate, value};
use super::parser::{Cell, Step, parse};
use super::{MagicKind, help};
use crate::languages::{CellContext, CellError, CellOutcome, CellResult};
use crate::session::Session;

/// Runs a cell, whatever it is written in.
pub fn execute(session: &mut Session, code: &str, context: &CellContext) -> CellResult {
    let magics = session.magics.clone();
    match parse(code, &|name| magics.get(name).is_some()) {
        Cell::Magic { name, line, body } => run_magic(session, name, line, Some(body), context),
        Cell::Help { topic } => help::page(session, topic),
        Cell::Parameters(parameters) => {
            for (name, value) in parameters {
                session.values.set(name, value);
            }
            Ok(CellOutcome::default())
        }
        Cell::Steps(steps) => run_steps(session, &steps, context),
    }
}

/// One after the other, up to the first error. The last step's value is the cell's; the
/// values of those before are shown where they come about.
fn run_steps(session: &mut Session, steps: &[Step<'_>], context: &CellContext) -> CellResult {
    let mut whole = CellOutcome::default();
    for step in steps {
        if context.interrupt.is_set() {
            return Err(CellError::interrupted("the steps before this one are done"));
        }
        if let Some(bundle) = whole.result.take() {
            context.output.display(bundle);
        }
        let outcome = match step {
            Step::Rust { source, first_line } => {
                // Positions in errors count from the cell's first line.
                session.rust.execute(&format!("{}{source}", "\n".repeat(*first_line)), context)?
            }
            Step::Magic { name, line } => run_magic(session, name, line, None, context)?,
            Step::Shell { command } => {
                let command = interpolate(command, &|name| value(session, name));
                session.shell.execute(&command, context)?
            }
        };
        whole.result = outcome.result;
        whole.payload.extend(outcome.payload);
    }
    Ok(whole)
}

fn run_magic(session: &mut Session, name: &str, line: &str, body: Option<&str>, context: &CellContext) -> CellResult {
    let Some(magic) = session.magics.get(name) else { return Err(unknown(session, name, body.is_some())) };
    // `%%set x 1` with nothing below it is `%set x 1`.
    let body =
        if magic.kind() == MagicKind::Line && body.is_some_and(|body| body.trim().is_empty()) { None } else { body };
    match body {
        Some(_) if !magic.kind().allows_cell() => {
            let reason = format!("%%{name} is a line magic: write %{name}, with nothing below it in its line");
            return Err(CellError::usage(reason));
        }
        // `%agent hello` is `%%agent hello`.
        None if !magic.kind().allows_line() => {
            return run_magic(session, name, line, Some(""), context);
        }
        _ => {}
    }
    let (line, body) = if magic.interpolates() {
        let lookup = |name: &str| value(session, name);
        (interpolate(line, &lookup), body.map(|body| interpolate(body, &lookup)))
    } else {
        (line.to_owned(), body.map(str::to_owned))
    };
    match flags::parse(magic.as_ref(), &line, body.as_deref())? {
        Parsed::Run(invocation) => magic.run(&invocation, session, context),
        Parsed::Help(text) => {
            context.output.stdout(text);
            Ok(CellOutcome::default())
        }
    }
}

fn unknown(session: &Session, name: &str, cell: bool) -> CellError {
    let sigil = if cell { "%%" } else { "%" };
    let hint = match session.magics.nearest(name) {
        Some(nearest) => format!("did you mean {sigil}{nearest}?"),
        None => "%lsmagic lists what there is".to_owned(),
    };
    CellError::new("UnknownMagic", format!("there is no {sigil}{name}; {hint}"))
}

//! `%set`: named values for `{{name}}`.

use clap::{Arg, ArgAction, Command};

use crate::cells::interpolation::is_name;
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellOutcome, CellResult, Completion};
use crate::session::{MimeBundle, Session};

pub struct Set;

impl Magic for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("set")
            .about("Names a value that {{name}} stands for in later magics; without arguments, lists them")
            .arg(
                Arg::new("remove").short('d').long("delete").value_name("NAME").exclusive(true).help("Forgets a value"),
            )
            .arg(switch("ask", "Asks the person for the value, so that the notebook does not hold it"))
            .arg(switch("password", "With --ask: does not show what is typed"))
            .after_help(
                "Examples:\n  %set region North\n  %sql SELECT * FROM sales WHERE region = '{{region}}'\n\n\
                 Notebook parameters (papermill's -p) are values too.",
            )
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        if let Some(name) = invocation.matches.get_one::<String>("remove") {
            return match session.values.remove(name) {
                Some(_) => Ok(CellOutcome::default()),
                None => Err(CellError::new("UnknownValue", format!("no value is named {name}; %set lists them"))),
            };
        }
        let text = invocation.text.trim();
        if text.is_empty() {
            let listed = session.values.iter().map(|(name, value)| format!("{name} = {value}"));
            let listed = listed.collect::<Vec<_>>().join("\n");
            let shown =
                if listed.is_empty() { "no values are set; %set NAME VALUE sets one".to_owned() } else { listed };
            return Ok(CellOutcome { result: Some(MimeBundle::plain(shown)), payload: Vec::new() });
        }
        let (name, value) =
            text.split_once(|character: char| character.is_whitespace() || character == '=').unwrap_or((text, ""));
        let value = value.trim_start_matches(|character: char| character.is_whitespace() || character == '=');
        if !is_name(name) {
            return Err(CellError::usage(format!("{name:?} is not a name; write %set NAME VALUE")));
        }
        if invocation.matches.get_flag("ask") {
            let answer = context.output.ask(&format!("{name}: "), invocation.matches.get_flag("password"));
            let missing = || CellError::new("NoAnswer", format!("{name} is not set: nobody answered"));
            session.values.set(name, answer.ok_or_else(missing)?);
            return Ok(CellOutcome::default());
        }
        if value.is_empty() {
            return match session.values.get(name) {
                Some(value) => Ok(CellOutcome { result: Some(MimeBundle::plain(value)), payload: Vec::new() }),
                None => {
                    Err(CellError::new("UnknownValue", format!("no value is named {name}; write %set {name} VALUE")))
                }
            };
        }
        session.values.set(name, unquoted(value));
        Ok(CellOutcome::default())
    }

    fn complete(&self, _argument_prefix: &str, session: &Session) -> Vec<Completion> {
        session.values.iter().map(|(name, _)| Completion { text: name.to_owned(), kind: "value".to_owned() }).collect()
    }
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

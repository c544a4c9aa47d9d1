//! `%%sql`, `%%bash` and `%%rust`: cells in a named language.

use clap::{Arg, Command, value_parser};

use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::sql::SqlOptions;
use crate::languages::{CellContext, CellOutcome, CellResult, Completion};
use crate::session::Session;

pub struct Sql;

impl Magic for Sql {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Both
    }

    fn command(&self) -> Command {
        Command::new("sql")
            .about("Runs SQL on the session's DuckDB database and shows the last result as a table")
            .arg(
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_name("NAME")
                    .help("Keeps the result as a frame of this name, for later cells"),
            )
            .arg(
                Arg::new("limit")
                    .short('l')
                    .long("limit")
                    .value_name("ROWS")
                    .value_parser(value_parser!(usize))
                    .help("Rows to show; all are counted [default: 100]"),
            )
            .after_help(
                "Examples:\n  %sql SELECT 42\n  %%sql -o top\n  SELECT city, sum(amount) FROM sales GROUP BY city\n\n\
                 {{name}} stands for a %set value, a notebook parameter, or a frame of one value.",
            )
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let defaults = SqlOptions::default();
        let options = SqlOptions {
            limit: invocation.matches.get_one("limit").copied().unwrap_or(defaults.limit),
            output: invocation.matches.get_one::<String>("output").cloned(),
        };
        session.sql.execute(&invocation.whole_text(), &options, context)
    }

    fn complete(&self, argument_prefix: &str, session: &Session) -> Vec<Completion> {
        session.sql.complete(argument_prefix, argument_prefix.len()).matches
    }
}

pub struct Bash;

impl Magic for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Both
    }

    fn command(&self) -> Command {
        Command::new("bash")
            .about("Runs a bash script in the workspace; a line alone can be written !command")
            .after_help("Output streams, colours are kept, and an exit code other than 0 is an error.")
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        session.shell.execute(&invocation.whole_text(), context)
    }
}

pub struct Rust;

impl Magic for Rust {
    fn name(&self) -> &'static str {
        "rust"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Cell
    }

    fn command(&self) -> Command {
        Command::new("rust").about("Runs Rust, as a cell without a magic does")
    }

    fn takes_text(&self) -> bool {
        true
    }

    /// `{{name}}` means a literal brace in a format string.
    fn interpolates(&self) -> bool {
        false
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let code = invocation.whole_text();
        if code.trim().is_empty() {
            return Ok(CellOutcome::default());
        }
        // Positions in errors count from the cell's first line, which is the magic's.
        let shift = if invocation.text.is_empty() { "\n" } else { "" };
        session.rust.execute(&format!("{shift}{code}"), context)
    }
}

//! `%lsmagic`, `%help` and `%clear`.

use clap::{Arg, ArgAction, Command};

use crate::cells::{Invocation, Magic, MagicKind, flags, help};
use crate::languages::{CellContext, CellOutcome, CellResult, Completion};
use crate::session::{MimeBundle, Session};

pub struct ListMagics;

impl Magic for ListMagics {
    fn name(&self) -> &'static str {
        "lsmagic"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("lsmagic").about("Lists all magics")
    }

    fn run(&self, _invocation: &Invocation, session: &mut Session, _context: &CellContext) -> CellResult {
        let rows: Vec<(String, String)> = session
            .magics
            .all()
            .map(|magic| {
                let sigils = match magic.kind() {
                    MagicKind::Line => format!("%{}", magic.name()),
                    MagicKind::Cell => format!("%%{}", magic.name()),
                    MagicKind::Both => format!("%{0}, %%{0}", magic.name()),
                };
                let about = flags::command(magic.as_ref(), false).get_about().map(ToString::to_string);
                (sigils, about.unwrap_or_default())
            })
            .collect();
        let width = rows.iter().map(|(sigils, _)| sigils.len()).max().unwrap_or(0);
        let mut plain = String::new();
        let mut html = String::from("<table>");
        for (sigils, about) in &rows {
            plain.push_str(&format!("{sigils:width$}  {about}\n"));
            let about = crate::cells::help::escape(about);
            html.push_str(&format!(
                "<tr><td style=\"text-align:left\"><code>{sigils}</code></td><td style=\"text-align:left\">{about}</td></tr>"
            ));
        }
        plain.push_str("\nAny other line is Rust; !command runs in a shell. %name? shows a magic's help.");
        html.push_str("</table><p>Any other line is Rust; <code>!command</code> runs in a shell. ");
        html.push_str("<code>%name?</code> shows a magic's help.</p>");
        Ok(CellOutcome { result: Some(MimeBundle::html(html, plain)), payload: Vec::new() })
    }
}

pub struct Help;

impl Magic for Help {
    fn name(&self) -> &'static str {
        "help"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("help")
            .about("Shows how to start, or the help of one magic")
            .arg(Arg::new("topic").value_name("MAGIC").help("A magic's name, with or without %"))
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, _context: &CellContext) -> CellResult {
        match invocation.matches.get_one::<String>("topic") {
            Some(topic) => help::page(session, topic.trim_start_matches('%')),
            None => Ok(CellOutcome { result: Some(help::overview()), payload: Vec::new() }),
        }
    }

    fn complete(&self, _argument_prefix: &str, session: &Session) -> Vec<Completion> {
        let name =
            |magic: &std::sync::Arc<dyn Magic>| Completion { text: magic.name().to_owned(), kind: "magic".to_owned() };
        session.magics.all().map(name).collect()
    }
}

pub struct Clear;

impl Magic for Clear {
    fn name(&self) -> &'static str {
        "clear"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("clear").about("Clears what the cell has shown so far").arg(
            Arg::new("wait")
                .short('w')
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Clears when the next output arrives, so that nothing flickers"),
        )
    }

    fn run(&self, invocation: &Invocation, _session: &mut Session, context: &CellContext) -> CellResult {
        context.output.clear(invocation.matches.get_flag("wait"));
        Ok(CellOutcome::default())
    }
}

//! `%cd`: another folder as workspace.

use std::path::Path;

use clap::{Arg, Command};

use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::shell::ShellEngine;
use crate::languages::{CellContext, CellError, CellOutcome, CellResult};
use crate::session::folders::expand_home;
use crate::session::{MimeBundle, Session};

/// Moves shell cells, `%git` and the agents' file and git tools; a Rust session stays in its
/// process' folder, and paths in SQL count from where the kernel started.
pub struct ChangeFolder;

impl Magic for ChangeFolder {
    fn name(&self) -> &'static str {
        "cd"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("cd")
            .about("Makes a folder the workspace of shell cells, %git and agents; without one, shows the workspace")
            .arg(Arg::new("folder").value_name("FOLDER").help("Relative to the workspace, absolute, or below ~"))
            .after_help("Agents' tools can reach the files of the workspace, and no others.")
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, _context: &CellContext) -> CellResult {
        if let Some(folder) = invocation.matches.get_one::<String>("folder") {
            let target = session.workspace.join(expand_home(Path::new(folder)));
            let workspace = fs_err::canonicalize(&target)
                .ok()
                .filter(|path| path.is_dir())
                .ok_or_else(|| CellError::new("NoSuchFolder", format!("{} is not a folder", target.display())))?;
            session.shell = ShellEngine::new(&workspace);
            session.workspace = workspace;
        }
        let shown = session.workspace.display().to_string();
        Ok(CellOutcome { result: Some(MimeBundle::plain(shown)), payload: Vec::new() })
    }
}

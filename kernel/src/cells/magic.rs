//! What a `%line` or `%%cell` magic is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::languages::{CellContext, CellResult, Completion};
use crate::session::Session;

/// A command a cell can give with `%name` or `%%name`.
///
/// Flags are described by a [`clap::Command`], so every magic has `--help`, its help can be
/// paged with `%name?`, and its flags complete.
pub trait Magic: Send + Sync {
    /// Without the `%`.
    fn name(&self) -> &'static str;

    fn kind(&self) -> MagicKind;

    /// The flags. The registry sets the command's name and usage, and turns off what would exit.
    fn command(&self) -> clap::Command;

    /// When true, clap reads the flags at the start of the line only, and everything from the
    /// first other word on is [`Invocation::text`], as typed: a query, a request, a script.
    fn takes_text(&self) -> bool {
        false
    }

    /// Whether `{{name}}` in the line and the body is replaced by the session's values.
    fn interpolates(&self) -> bool {
        true
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult;

    /// Values that could stand at the cursor. `argument_prefix` is the line after the name, up
    /// to the cursor; the matches replace its last word.
    fn complete(&self, _argument_prefix: &str, _session: &Session) -> Vec<Completion> {
        Vec::new()
    }
}

/// Where a magic may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MagicKind {
    /// `%name`, among other lines.
    Line,
    /// `%%name`, the first line of a cell.
    Cell,
    Both,
}

impl MagicKind {
    pub fn allows_line(self) -> bool {
        matches!(self, Self::Line | Self::Both)
    }

    pub fn allows_cell(self) -> bool {
        matches!(self, Self::Cell | Self::Both)
    }
}

/// One use of a magic.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub name: String,
    pub matches: clap::ArgMatches,
    /// The rest of the magic's line, as typed (after interpolation).
    pub line: String,
    /// What follows the flags on that line, as typed; empty unless [`Magic::takes_text`].
    pub text: String,
    /// The lines below a `%%name` line; `None` for a line magic.
    pub body: Option<String>,
}

impl Invocation {
    /// The text on the line and the body below it, joined by a line break where both are there.
    pub fn whole_text(&self) -> String {
        match &self.body {
            None => self.text.clone(),
            Some(body) if self.text.is_empty() => body.clone(),
            Some(body) if body.trim().is_empty() => self.text.clone(),
            Some(body) => format!("{}\n{body}", self.text),
        }
    }
}

/// All magics by name.
#[derive(Default)]
pub struct MagicRegistry {
    magics: BTreeMap<&'static str, Arc<dyn Magic>>,
}

impl MagicRegistry {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a magic; a later one of the same name replaces the earlier.
    pub fn register(&mut self, magic: Box<dyn Magic>) {
        self.magics.insert(magic.name(), Arc::from(magic));
    }

    pub fn get(&self, name: &str) -> Option<Arc<dyn Magic>> {
        self.magics.get(name).cloned()
    }

    /// In alphabetical order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Magic>> {
        self.magics.values()
    }

    /// The name a person may have meant.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        self.magics
            .keys()
            .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
            .filter(|(distance, candidate)| *distance <= 1.max(candidate.len() / 3))
            .min()
            .map(|(_, candidate)| candidate)
    }
}

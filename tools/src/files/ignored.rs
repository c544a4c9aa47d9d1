//! What `.gitignore` files leave out.

use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The ignore rules in force in one folder: its own first, then those of the folders above.
#[derive(Clone)]
pub(super) struct IgnoreRules {
    /// Outermost first.
    layers: Vec<Gitignore>,
}

impl IgnoreRules {
    /// The rules that come from outside the workspace: the user's own excludes file, and
    /// those of the repository the workspace lies in. They are read for their rules only.
    pub(super) fn around(workspace: &Path) -> Self {
        let mut layers = vec![Gitignore::global().0];
        if let Some(repository) = workspace.ancestors().find(|folder| folder.join(".git").exists()) {
            layers.extend(rules_in_file(repository, &repository.join(".git/info/exclude")));
            let mut between: Vec<&Path> =
                workspace.ancestors().skip(1).take_while(|folder| folder.starts_with(repository)).collect();
            between.reverse();
            for folder in between {
                layers.extend(rules_in_file(folder, &folder.join(".gitignore")));
            }
        }
        Self { layers }
    }

    /// These rules and those that `text`, the `.gitignore` of `folder` (absolute), adds.
    #[must_use]
    pub(super) fn with(&self, folder: &Path, text: &str) -> Self {
        let mut layers = self.layers.clone();
        layers.extend(rules(folder, text));
        Self { layers }
    }

    /// Whether `path` (absolute) is left out. The innermost rule that says anything decides.
    pub(super) fn leave_out(&self, path: &PathBuf, is_folder: bool) -> bool {
        for layer in self.layers.iter().rev() {
            match layer.matched(path, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

fn rules_in_file(folder: &Path, file: &Path) -> Option<Gitignore> {
    rules(folder, &fs_err::read_to_string(file).ok()?)
}

fn rules(folder: &Path, text: &str) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new(folder);
    for line in text.lines() {
        // A line that is not a valid glob is skipped, as git does.
        if let Err(error) = builder.add_line(None, line) {
            tracing::debug!(%error, "skipping a .gitignore line");
        }
    }
    builder.build().ok()
}

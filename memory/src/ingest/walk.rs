//! The files beneath a folder that are worth reading.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use globset::GlobMatcher;
use ignore::WalkBuilder;

use super::report::Report;
use super::{IngestError, Surroundings};

/// Beside `.gitignore`, in the same language: what is in the repository and not worth remembering.
const IGNORE_FILE: &str = ".codriverignore";

/// Written by programs: nobody asks what they say, and they bury the rest.
const GENERATED_NAMES: [&str; 13] = [
    "Cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "Pipfile.lock",
    "Gemfile.lock",
    "composer.lock",
    "go.sum",
];
const GENERATED_ENDINGS: [&str; 5] = [".min.js", ".min.css", ".js.map", ".css.map", ".ts.map"];

/// Every file that is not ignored, hidden, secret or generated, in the order of names; links are not followed. What was
/// left out, but for what ignore files leave out, is noted.
pub(super) fn files(
    folder: &Path,
    matcher: Option<&GlobMatcher>,
    surroundings: &dyn Surroundings,
    report: &mut Report,
) -> Result<Vec<PathBuf>, IngestError> {
    let hidden: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let noted = Arc::clone(&hidden);
    let mut builder = WalkBuilder::new(folder);
    builder.hidden(false).require_git(false).follow_links(false).add_custom_ignore_filename(IGNORE_FILE);
    builder.sort_by_file_name(Ord::cmp).filter_entry(move |entry| {
        let is_hidden = entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
        if is_hidden {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(entry.path().to_owned());
        }
        !is_hidden
    });
    let mut files = Vec::new();
    for entry in builder.build() {
        if surroundings.is_cancelled() {
            report.interrupted = true;
            break;
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                report.fail(folder.display().to_string(), error.to_string());
                continue;
            }
        };
        let path = entry.path();
        if matcher.is_some_and(|matcher| !matcher.is_match(path)) {
            continue;
        }
        match entry.file_type() {
            Some(kind) if kind.is_file() => match unwanted(path, surroundings) {
                Some(reason) => report.leave_out(path.display().to_string(), reason),
                None => files.push(entry.into_path()),
            },
            Some(kind) if kind.is_dir() => {}
            Some(kind) if kind.is_symlink() => report.leave_out(path.display().to_string(), "a link"),
            _ => report.leave_out(path.display().to_string(), "neither a file nor a folder"),
        }
    }
    for path in hidden.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // A secret is said to be one, also where its name is hidden.
        let reason = if surroundings.is_secret(&path) { SECRET } else { "hidden" };
        if matcher.is_none_or(|matcher| matcher.is_match(&path)) {
            report.leave_out(path.display().to_string(), reason);
        }
    }
    Ok(files)
}

/// Why keys and passwords stay out.
pub(super) const SECRET: &str = "it looks like it holds secrets";

/// Why what programs write stays out.
pub(super) const GENERATED: &str = "written by a program";

fn unwanted(path: &Path, surroundings: &dyn Surroundings) -> Option<&'static str> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if surroundings.is_secret(path) {
        return Some(SECRET);
    }
    let generated = GENERATED_NAMES.contains(&&*name) || GENERATED_ENDINGS.iter().any(|ending| name.ends_with(ending));
    generated.then_some(GENERATED)
}

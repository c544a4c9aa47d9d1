//! What exists in the session: the names a tool call may use.

use codriver_inference::Environment;
use codriver_tools::files::Workspace;
use codriver_tools::git;

use super::context::shorten_clean;
use super::tools::plain_error;
use crate::languages::rust::RustEngine;
use crate::session::{Interrupt, Session};

/// Files and folders a model can be offered; a workspace may hold any number.
const MOST_FILES: usize = 500;
const LONGEST_ERROR: usize = 4_000;

pub fn environment(session: &Session, interrupt: &Interrupt) -> Environment {
    Environment {
        tables: session.sql.schema(),
        files: files(session, interrupt),
        branches: branches(session, interrupt),
        variables: session.rust.started().map(RustEngine::variables).unwrap_or_default(),
        last_error: session
            .last_error
            .as_ref()
            .map(|error| shorten_clean(&plain_error(error), LONGEST_ERROR, &session.memory.redactor())),
    }
}

fn files(session: &Session, interrupt: &Interrupt) -> Vec<String> {
    let listing = Workspace::open(&session.workspace)
        .and_then(|workspace| workspace.list(".", Some("*"), MOST_FILES, &|| interrupt.is_set()));
    match listing {
        Ok(listing) => listing.entries.into_iter().map(|entry| entry.path).collect(),
        Err(error) => {
            tracing::debug!("the agent is told of no files: {error}");
            Vec::new()
        }
    }
}

/// Local branches, the one checked out first.
fn branches(session: &Session, interrupt: &Interrupt) -> Vec<String> {
    let workspace = session.workspace.clone();
    let found = git::interruptible(&|| interrupt.is_set(), move || git::branches(&workspace));
    let Ok(mut found) = found else { return Vec::new() };
    found.branches.retain(|branch| !branch.remote);
    found.branches.sort_by_key(|branch| !branch.is_head);
    found.branches.into_iter().map(|branch| branch.name).collect()
}

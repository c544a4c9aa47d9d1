//! Rust cells, through evcxr.
//!
//! Three processes: this one; the evaluator, which holds evcxr ([`worker`]); and the user
//! process, which runs the compiled cells ([`child`]). All connect to one socket ([`link`]).

mod bundle;
mod cell_crate;
mod child;
mod completeness;
mod diagnostics;
mod filter;
mod frames;
mod link;
mod processes;
mod protocol;
mod run;
mod session;
mod source;
mod worker;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

pub use self::worker::runtime_hook;

use self::run::Run;
use self::session::Session;
use super::sql::SqlEngine;
use super::{CellContext, CellError, CellResult, Completeness, Completion, Completions};
use crate::session::MimeBundle;

/// What a Rust session needs besides the toolchain.
#[derive(Clone, Default)]
pub struct RustOptions {
    /// The binary that is started to evaluate and run user code; its `main` begins with
    /// [`runtime_hook`]. This process' own binary by default.
    pub runtime: Option<PathBuf>,
    /// Where `cell::frame("name")` finds frames.
    pub frames: Option<SqlEngine>,
    /// The folder user code runs in; the current folder by default.
    pub workspace: Option<PathBuf>,
}

/// One Rust session.
pub struct RustEngine {
    options: RustOptions,
    session: Mutex<Session>,
    /// Known without asking a busy session.
    variables: Mutex<Vec<String>>,
    last_error: Mutex<Option<CellError>>,
}

impl RustEngine {
    /// Returns at once; the evaluator warms up in the background.
    pub fn start() -> Self {
        Self::start_with(RustOptions::default())
    }

    /// [`RustEngine::start`] with frames, a workspace or another runtime binary.
    pub fn start_with(options: RustOptions) -> Self {
        let session = Mutex::new(Session::start(&options));
        Self { options, session, variables: Mutex::default(), last_error: Mutex::default() }
    }

    /// Waits until cells can run, or says why they cannot.
    pub fn wait_until_ready(&self, context: &CellContext) -> Result<(), CellError> {
        self.ready_session(context).map(drop)
    }

    pub fn execute(&self, code: &str, context: &CellContext) -> CellResult {
        let result = self.run(code, context);
        *lock(&self.last_error) = result.as_ref().err().cloned();
        result
    }

    fn run(&self, code: &str, context: &CellContext) -> CellResult {
        if code.lines().any(|line| line.trim() == ":quit") {
            return Err(CellError::new(
                "RustError",
                ":quit would end the session; shut the kernel down in the front end instead",
            ));
        }
        let mut session = self.ready_session(context)?;
        let before = self.variables();
        let ended = Run::new(code, context, &session, before).follow(&mut session);
        *lock(&self.variables) = ended.variables;
        if ended.restart {
            *session = Session::start(&self.options);
        }
        ended.result
    }

    fn ready_session(&self, context: &CellContext) -> Result<MutexGuard<'_, Session>, CellError> {
        let mut session = lock(&self.session);
        // What was missing then (a toolchain) may be there now.
        if session.is_unavailable() {
            *session = Session::start(&self.options);
        }
        session.wait_until_ready(context)?;
        Ok(session)
    }

    /// Completions at `cursor` (a byte offset into `code`). While a cell runs there are none.
    pub fn complete(&self, code: &str, cursor: usize) -> Completions {
        let answer = self.idle_session().and_then(|mut session| session.complete(code, cursor));
        let Some((start, end, matches)) = answer else {
            return Completions { start: cursor, end: cursor, matches: Vec::new() };
        };
        let mut seen = std::collections::BTreeSet::new();
        let matches = (matches.into_iter())
            .filter(|(text, _)| seen.insert(text.clone()))
            .map(|(text, kind)| Completion { text, kind })
            .collect();
        Completions { start, end, matches }
    }

    /// Type and documentation of what stands at `cursor` (a byte offset into `code`).
    pub fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        if let Some((plain, html)) = self.idle_session().and_then(|mut session| session.inspect(code, cursor)) {
            return Some(MimeBundle::html(ammonia::clean(&html), plain));
        }
        let word = word_at(code, cursor);
        let variable = self.variables().into_iter().find(|variable| variable.split(':').next() == Some(word));
        variable.map(MimeBundle::plain)
    }

    pub fn is_complete(&self, code: &str) -> Completeness {
        completeness::is_complete(code)
    }

    /// The session's variables as `name: Type`.
    pub fn variables(&self) -> Vec<String> {
        lock(&self.variables).clone()
    }

    /// The last cell's error, if it failed.
    pub fn last_error(&self) -> Option<CellError> {
        lock(&self.last_error).clone()
    }

    fn idle_session(&self) -> Option<MutexGuard<'_, Session>> {
        match self.session.try_lock() {
            Ok(session) => Some(session),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

fn word_at(code: &str, cursor: usize) -> &str {
    let mut cursor = cursor.min(code.len());
    while !code.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let start = code[..cursor]
        .rfind(|character| !is_word(character))
        .map_or(0, |offset| offset + code[offset..].chars().next().map_or(1, char::len_utf8));
    let end = code[cursor..].find(|character| !is_word(character)).map_or(code.len(), |offset| cursor + offset);
    &code[start..end]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

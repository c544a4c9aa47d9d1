//! An answer's guide on a thread of its own, beside the network's.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::{AnswerGuide, GrammarError, Next};

/// Computes what may come next while the network computes how likely each token is.
///
/// [`Beside::ahead`] and [`Beside::next`] take turns with [`Beside::commit`]: begin, ahead, next,
/// commit, ahead, next, commit, ... The thread ends when this is dropped, after at most one mask.
pub struct Beside {
    commits: Sender<u32>,
    steps: Receiver<Result<Step, GrammarError>>,
}

/// What the thread has found out since the last token.
enum Step {
    Ahead(Ahead),
    Next(Next),
}

/// What is known of an answer at once, before its next mask.
#[derive(Debug, Default)]
pub struct Ahead {
    /// The tokens that must come next; the guide has moved on by them.
    pub forced: Vec<u32>,
    /// Whether the answer is whole with them, and nothing can follow.
    pub is_whole: bool,
    /// Why a call could not be held to its grammar.
    pub warning: Option<GrammarError>,
}

impl Beside {
    /// Begins an answer: its first mask is being computed when this returns.
    pub fn begin(guide: AnswerGuide) -> Result<Self, GrammarError> {
        let (commits, tokens) = channel();
        let (sender, steps) = channel();
        std::thread::Builder::new()
            .name("answer's guide".to_string())
            // Where the answer begins a call, its grammar is compiled on yet another one.
            .spawn(move || follow(guide, &tokens, &sender))
            .map_err(|error| GrammarError::Internal(format!("no thread to guide on: {error}")))?;
        Ok(Self { commits, steps })
    }

    /// What follows the last token for certain, if it is known by then. The next mask need not be.
    pub fn ahead(&mut self, patience: Duration) -> Result<Option<Ahead>, GrammarError> {
        match self.receive(patience)? {
            Some(Step::Ahead(ahead)) => Ok(Some(ahead)),
            Some(Step::Next(_)) => Err(out_of_turn()),
            None => Ok(None),
        }
    }

    /// Which tokens may come next, if it is known by then.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Next>, GrammarError> {
        match self.receive(patience)? {
            Some(Step::Next(next)) => Ok(Some(next)),
            Some(Step::Ahead(_)) => Err(out_of_turn()),
            None => Ok(None),
        }
    }

    /// Moves on by a token that was chosen.
    pub fn commit(&mut self, token: u32) -> Result<(), GrammarError> {
        self.commits.send(token).map_err(|_| stopped())
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Step>, GrammarError> {
        match self.steps.recv_timeout(patience) {
            Ok(step) => step.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(stopped()),
        }
    }
}

/// The thread: ends when nobody waits for it any more, or with the first error.
fn follow(mut guide: AnswerGuide, tokens: &Receiver<u32>, steps: &Sender<Result<Step, GrammarError>>) {
    loop {
        let forced = guide.forced();
        let ahead = Ahead { forced, is_whole: guide.is_whole(), warning: guide.take_warning() };
        if steps.send(Ok(Step::Ahead(ahead))).is_err() {
            return;
        }
        let next = guide.next().map(Step::Next);
        let failed = next.is_err();
        if steps.send(next).is_err() || failed {
            return;
        }
        let Ok(token) = tokens.recv() else { return };
        if let Err(error) = guide.commit(token) {
            // Nobody left to tell is no failure.
            steps.send(Err(error)).unwrap_or_default();
            return;
        }
    }
}

fn stopped() -> GrammarError {
    GrammarError::Internal("the guide's thread has ended".to_string())
}

fn out_of_turn() -> GrammarError {
    GrammarError::Internal("the guide was asked out of turn".to_string())
}

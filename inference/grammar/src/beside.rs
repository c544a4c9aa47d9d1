//! An answer's guide on a thread of its own, beside the network's.

use std::sync::mpsc::{Receiver, Sender, channel};

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

    /// What follows the last token for certain. Waits only for that, not for the next mask.
    pub fn ahead(&mut self) -> Result<Ahead, GrammarError> {
        match self.receive()? {
            Step::Ahead(ahead) => Ok(ahead),
            Step::Next(_) => Err(out_of_turn()),
        }
    }

    /// Which tokens may come next, waiting until it is known.
    pub fn next(&mut self) -> Result<Next, GrammarError> {
        match self.receive()? {
            Step::Next(next) => Ok(next),
            Step::Ahead(_) => Err(out_of_turn()),
        }
    }

    /// Moves on by a token that was chosen.
    pub fn commit(&mut self, token: u32) -> Result<(), GrammarError> {
        self.commits.send(token).map_err(|_| stopped())
    }

    fn receive(&mut self) -> Result<Step, GrammarError> {
        self.steps.recv().map_err(|_| stopped())?
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

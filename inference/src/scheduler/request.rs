//! What is asked of the scheduler, and what comes of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use codriver_grammar::Beside;

use crate::sampling::Sampler;
use crate::{Cancellation, FinishReason, ModelError, Priority};

/// Something to be computed.
pub(crate) struct Request {
    /// At least one token, each of the model's vocabulary.
    pub(crate) prompt: Vec<u32>,
    pub(crate) task: Task,
    pub(crate) priority: Priority,
    pub(crate) cancellation: Cancellation,
}

pub(crate) enum Task {
    /// Go on after the prompt.
    Answer(Box<Answer>),
    /// The scores of the next token after each of the prompt's.
    Scores,
}

/// How an answer is written.
pub(crate) struct Answer {
    pub(crate) sampler: Sampler,
    pub(crate) guide: Option<Beside>,
    /// Tokens at most.
    pub(crate) limit: usize,
    /// Tokens that end it.
    pub(crate) ends: Arc<HashSet<u32>>,
    /// Whether tokens may be guessed and checked, several in a step: the answer is the same.
    pub(crate) speculate: bool,
}

/// What comes of a request, bit by bit.
#[derive(Debug)]
pub(crate) enum Event {
    /// The answer's next token.
    Token(u32),
    /// Why a call in the answer is not held to its schema.
    Warning(String),
    /// The scores after some more of the prompt's tokens.
    Scores(Vec<f32>),
    /// The last event.
    Ended(Completion),
}

/// How an answer ended, and after how many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    pub reason: FinishReason,
    pub tokens: usize,
}

/// Whoever waits for a request. Dropped, it ends the request.
pub(crate) struct Ticket {
    events: Receiver<Result<Event, ModelError>>,
    cancellation: Cancellation,
    abandoned: Cancellation,
}

/// The scheduler's end of a [`Ticket`].
pub(super) struct Reply {
    events: Sender<Result<Event, ModelError>>,
    pub(super) interest: Interest,
}

/// Whether anybody still waits for a request.
#[derive(Clone)]
pub(super) struct Interest {
    cancellation: Cancellation,
    abandoned: Cancellation,
}

/// How often a waiting thread looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn ticket(cancellation: Cancellation) -> (Ticket, Reply) {
    let (sender, events) = channel();
    let abandoned = Cancellation::new();
    let interest = Interest { cancellation: cancellation.clone(), abandoned: abandoned.clone() };
    (Ticket { events, cancellation, abandoned }, Reply { events: sender, interest })
}

impl Ticket {
    /// The next event, waiting for it.
    ///
    /// # Errors
    /// What ended the request early; [`ModelError::Cancelled`] at once where it is cancelled.
    pub(crate) fn next(&mut self) -> Result<Event, ModelError> {
        loop {
            if self.cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            match self.events.recv_timeout(LOOK) {
                Ok(event) => return event,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ModelError::Numeric("the model's engine has stopped; load the model again".to_owned()));
                }
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.abandoned.cancel();
    }
}

impl Reply {
    pub(super) fn send(&self, event: Event) {
        // Nobody left to tell is no failure: the request ends before the next step.
        self.events.send(Ok(event)).unwrap_or_default();
    }

    pub(super) fn fail(&self, error: ModelError) {
        self.events.send(Err(error)).unwrap_or_default();
    }
}

impl Interest {
    pub(super) fn is_lost(&self) -> bool {
        self.cancellation.is_cancelled() || self.abandoned.is_cancelled()
    }
}

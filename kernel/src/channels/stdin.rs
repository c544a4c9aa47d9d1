//! Questions to the person, over the stdin channel.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::router::Replies;
use super::wire::Request;
use crate::session::Interrupt;

/// How often a waiting question looks for an interrupt.
const POLL: Duration = Duration::from_millis(50);

/// Asks on behalf of the running cell. One question at a time.
#[derive(Clone, Default)]
pub struct Stdin(Arc<Inner>);

#[derive(Default)]
struct Inner {
    replies: OnceLock<Replies>,
    waiting: Mutex<Option<Sender<String>>>,
}

impl Stdin {
    /// Gives the socket's writing half, once it is bound.
    pub fn connect(&self, replies: Replies) {
        if self.0.replies.set(replies).is_err() {
            tracing::error!("stdin is connected already");
        }
    }

    /// Takes an `input_reply`. Front ends leave out its parent, so it goes to whoever waits.
    pub fn deliver(&self, reply: &Request) {
        match self.waiting().take() {
            Some(asker) if asker.send(reply.text("value").to_owned()).is_ok() => {}
            _ => tracing::debug!("an answer came after its question was given up"),
        }
    }

    /// Waits for the answer. `None` when dismissed (front ends send an empty answer), or interrupted.
    pub fn ask(&self, request: &Request, prompt: &str, password: bool, interrupt: &Interrupt) -> Option<String> {
        let (sender, answers) = channel();
        *self.waiting() = Some(sender);
        self.0.replies.get()?.send("input_request", request, &json!({ "prompt": prompt, "password": password }));
        loop {
            match answers.recv_timeout(POLL) {
                Ok(answer) => return Some(answer).filter(|answer| !answer.is_empty()),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if interrupt.is_set() => {
                    self.waiting().take();
                    return None;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Sender<String>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

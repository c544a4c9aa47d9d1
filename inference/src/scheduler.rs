//! Many requests, one network: who is read when, in which step.
//!
//! One thread a model computes step after step; each reads what every running request has to read:
//! the last token of those that write, pieces of the prompts of those that begin (continuous
//! batching, Yu et al. 2022; chunked prefill, Agrawal et al. 2023). Keys and values lie in blocks
//! that sequences share where they begin alike. What a request gets does not depend on who shares
//! its steps, to the last bit.

mod engine;
mod lookup;
mod pace;
mod pool;
mod request;
mod sequence;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use self::engine::Engine;
pub use self::pool::BlockUse;
pub use self::request::Completion;
pub(crate) use self::request::{Answer, Event, Request, Task, Ticket};
use self::request::{Reply, ticket};
use crate::ModelError;
use crate::network::{BLOCK, Network};

/// The way to a model's network.
pub(crate) struct Scheduler {
    requests: Option<Sender<(Request, Reply)>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the scheduler's thread lets others see.
#[derive(Default)]
struct Shared {
    /// Requests that have not run yet.
    waiting: AtomicUsize,
    load: Mutex<Load>,
}

/// What a model is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that are being computed.
    pub running: usize,
    /// Requests that wait to be.
    pub waiting: usize,
    /// Blocks of 64 tokens' keys and values.
    pub blocks: BlockUse,
    /// Bytes of a block.
    pub block_size: usize,
}

/// What is kept of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Tokens whose keys and values there is room for.
    pub(crate) tokens: usize,
    /// Bytes of them that are kept while nobody uses them, for requests that begin alike.
    pub(crate) kept: u64,
}

/// Requests that may wait. Whoever comes then would wait for long, and is told so at once.
const QUEUE: usize = 256;

impl Scheduler {
    /// Starts the thread, which ends when this is dropped.
    pub(crate) fn start(network: Box<dyn Network>, room: Room) -> Result<Self, ModelError> {
        let (sender, requests) = channel();
        let shared = Arc::new(Shared::default());
        let engine = Engine::new(network, room, requests, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || engine.run())
            .map_err(|error| ModelError::Unsupported(format!("no thread for the model: {error}")))?;
        Ok(Self { requests: Some(sender), shared, thread: Some(thread) })
    }

    /// Hands over a request; what comes of it comes through the ticket.
    ///
    /// # Errors
    /// [`ModelError::Busy`] where too many wait already.
    pub(crate) fn submit(&self, request: Request) -> Result<Ticket, ModelError> {
        let waiting = self.shared.waiting.fetch_add(1, Ordering::SeqCst);
        if waiting >= QUEUE {
            self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(ModelError::Busy { waiting });
        }
        let (ticket, reply) = ticket(request.cancellation.clone());
        if let Some(requests) = &self.requests {
            // A thread that has ended drops the reply, which the ticket tells.
            requests.send((request, reply)).unwrap_or_default();
        }
        Ok(ticket)
    }

    /// Whether the thread has ended, in a panic: it answers nobody any more.
    pub(crate) fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(crate) fn load(&self) -> Load {
        let load = *self.shared.load.lock().unwrap_or_else(PoisonError::into_inner);
        Load { waiting: load.waiting.max(self.shared.waiting.load(Ordering::SeqCst)), ..load }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told to everyone who waited.
            thread.join().unwrap_or_default();
        }
    }
}

impl Room {
    fn blocks(self) -> usize {
        // One more for the block that a sequence copies the beginning of.
        self.tokens.div_ceil(BLOCK) + 1
    }
}

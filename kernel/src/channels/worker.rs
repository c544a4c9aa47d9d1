//! The one thread that owns the session and answers the shell channel, in order.

mod answers;
mod execution;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::iopub::Iopub;
use super::messages;
use super::router::Replies;
use super::stdin::Stdin;
use super::wire::Request;
use crate::languages::CellError;
use crate::session::{Interrupt, Session, SessionOptions};

/// The engines start when the first requests have been answered, or after this long.
const WARM_UP_AFTER: Duration = Duration::from_millis(400);
/// After an answer, a front end that goes on asking is answered first.
const WARM_UP_PAUSE: Duration = Duration::from_millis(15);

/// What comes to the worker.
pub enum Work {
    Answer(Request),
    Stop,
}

/// What the worker is given.
pub struct Worker {
    pub work: Receiver<Work>,
    pub iopub: Iopub,
    pub replies: Replies,
    pub stdin: Stdin,
    pub interrupt: Interrupt,
    pub options: SessionOptions,
    /// Set when the kernel is going down: nothing new is started.
    pub stopping: Arc<AtomicBool>,
    pub stop: UnboundedSender<()>,
}

impl Worker {
    /// Answers until it is told to stop.
    pub fn run(self) {
        let mut state = State { session: None, execution_count: 0, queue: VecDeque::new(), aborted: Vec::new() };
        let mut pause = WARM_UP_AFTER;
        while let Some(work) = self.next(&mut state, pause) {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            match work {
                Work::Answer(request) => self.answer(request, &mut state),
                Work::Stop => return,
            }
            pause = WARM_UP_PAUSE;
        }
    }

    /// What to do next; opens the session when nothing has come for a while.
    fn next(&self, state: &mut State, pause: Duration) -> Option<Work> {
        if let Some(work) = state.queue.pop_front() {
            return Some(work);
        }
        if state.session.is_none() {
            match self.work.recv_timeout(pause) {
                Ok(work) => return Some(work),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.open_session(state) {
                        tracing::error!("{error}");
                    }
                }
            }
        }
        self.work.recv().ok()
    }

    fn answer(&self, request: Request, state: &mut State) {
        let request = Arc::new(request);
        self.iopub.status(&request, "busy");
        match request.kind.as_str() {
            "kernel_info_request" => self.replies.send("kernel_info_reply", &request, &messages::kernel_info()),
            "comm_info_request" => {
                self.replies.send("comm_info_reply", &request, &json!({ "status": "ok", "comms": {} }));
            }
            // No comm targets here: the front end learns it at once.
            "comm_open" => {
                let content = json!({ "comm_id": request.text("comm_id"), "data": {} });
                self.iopub.publish("comm_close", &request, &content);
            }
            "comm_msg" | "comm_close" => {}
            "shutdown_request" => {
                let content = messages::shutdown_reply(&request);
                self.replies.send("shutdown_reply", &request, &content);
                if self.stop.send(()).is_err() {
                    tracing::debug!("already stopping");
                }
            }
            "execute_request" => self.execute(&request, state),
            "complete_request" => self.with_session(&request, state, "complete_reply", answers::complete),
            "inspect_request" => self.with_session(&request, state, "inspect_reply", answers::inspect),
            "is_complete_request" => self.with_session(&request, state, "is_complete_reply", answers::is_complete),
            "history_request" => self.with_session(&request, state, "history_reply", answers::history),
            other => tracing::warn!("shell: {other} is not supported"),
        }
        self.iopub.status(&request, "idle");
        self.abort_queued_cells(state);
    }

    fn with_session(
        &self,
        request: &Arc<Request>,
        state: &mut State,
        reply: &str,
        answer: fn(&Session, &Request) -> serde_json::Value,
    ) {
        let content = match self.open_session(state) {
            Ok(session) => answers::guarded(session, request, answer),
            Err(error) => answers::failed(error),
        };
        self.replies.send(reply, request, &content);
    }

    /// The session, opened at its first use. One that cannot be opened is tried again.
    fn open_session<'state>(&self, state: &'state mut State) -> Result<&'state mut Session, &'state CellError> {
        if matches!(state.session, Some(Err(_))) {
            state.session = None;
        }
        let open = || Session::new(&self.options).map_err(|error| CellError::new("SessionError", error.to_string()));
        match state.session.get_or_insert_with(open) {
            Ok(session) => Ok(session),
            Err(error) => Err(error),
        }
    }
}

/// What changes from request to request.
struct State {
    session: Option<Result<Session, CellError>>,
    execution_count: u32,
    /// Taken from the channel before its turn.
    queue: VecDeque<Work>,
    /// Cells that wait behind one that failed.
    aborted: Vec<Request>,
}

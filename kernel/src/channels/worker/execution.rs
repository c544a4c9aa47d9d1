//! `execute_request`: run a cell, publish what it shows, reply, give up what waits after an error.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{State, Work, Worker, answers};
use crate::channels::messages;
use crate::channels::sink::{self, CellSink};
use crate::channels::wire::Request;
use crate::languages::{CellContext, CellResult};
use crate::session::{Output, RecordingSink, Session};

/// Requests that a front end sent in the same breath as the failed one are on their way for
/// this long at most. Waited for before the reply, so that what is sent after it is never aborted.
const IN_FLIGHT: Duration = Duration::from_millis(10);

impl Worker {
    pub(super) fn execute(&self, request: &Arc<Request>, state: &mut State) {
        // An interrupt that comes while the session opens is meant for this cell.
        self.interrupt.reset();
        let silent = request.flag("silent", false);
        let store_history = request.flag("store_history", true) && !silent;
        let code = request.text("code");
        if store_history {
            state.execution_count += 1;
        }
        let count = state.execution_count;
        if !silent {
            self.iopub.publish("execute_input", request, &json!({ "code": code, "execution_count": count }));
        }

        let result = match self.open_session(state) {
            Ok(session) => {
                if store_history {
                    session.history.append(count, code);
                }
                let result = self.run_cell(request, session, silent, count);
                if store_history && result.is_ok() {
                    session.runs.note(count, request.cell.as_deref(), code);
                }
                result
            }
            Err(error) => Err(error.clone()),
        };
        if !silent {
            match &result {
                Ok(outcome) => {
                    if let Some(bundle) = &outcome.result {
                        let content = json!({
                            "execution_count": count, "data": sink::data(bundle), "metadata": bundle.metadata
                        });
                        self.iopub.publish("execute_result", request, &content);
                    }
                }
                Err(error) => self.iopub.publish("error", request, &messages::error(error)),
            }
        }
        if result.is_err() && request.flag("stop_on_error", true) {
            self.take_queued_cells(state);
        }
        let content = self.execute_reply(request, state, &result, count);
        self.replies.send("execute_reply", request, &content);
    }

    fn run_cell(&self, request: &Arc<Request>, session: &mut Session, silent: bool, count: u32) -> CellResult {
        let stdin = request.flag("allow_stdin", false).then(|| self.stdin.clone());
        let sink =
            Arc::new(CellSink::new(self.iopub.clone(), Arc::clone(request), silent, stdin, self.interrupt.clone()));
        let context = CellContext {
            output: Output::new(sink.clone()),
            interrupt: self.interrupt.clone(),
            execution_count: count,
        };
        let result = session.execute(request.text("code"), &context);
        sink.finish();
        result
    }

    fn execute_reply(&self, request: &Request, state: &mut State, result: &CellResult, count: u32) -> Value {
        let mut content = match result {
            Ok(outcome) => {
                let expressions = match &mut state.session {
                    Some(Ok(session)) => self.user_expressions(request, session, count),
                    _ => Map::new(),
                };
                json!({ "status": "ok", "payload": outcome.payload, "user_expressions": expressions })
            }
            Err(error) => {
                let mut content = answers::failed(error);
                content["payload"] = json!([]);
                content["user_expressions"] = json!({});
                content
            }
        };
        content["execution_count"] = json!(count);
        content
    }

    /// Each expression is a cell of its own, run in silence.
    fn user_expressions(&self, request: &Request, session: &mut Session, count: u32) -> Map<String, Value> {
        let Some(Value::Object(expressions)) = request.content.get("user_expressions") else { return Map::new() };
        let evaluate = |code: &str, session: &mut Session| {
            let context = CellContext {
                output: Output::new(Arc::new(RecordingSink::default())),
                interrupt: self.interrupt.clone(),
                execution_count: count,
            };
            match session.execute(code, &context) {
                Ok(outcome) => {
                    let bundle = outcome.result.unwrap_or_default();
                    json!({ "status": "ok", "data": sink::data(&bundle), "metadata": bundle.metadata })
                }
                Err(error) => answers::failed(&error),
            }
        };
        expressions
            .iter()
            .map(|(name, code)| (name.clone(), evaluate(code.as_str().unwrap_or_default(), session)))
            .collect()
    }

    /// Takes the execute requests that are waiting out of the queue; others keep their turn.
    fn take_queued_cells(&self, state: &mut State) {
        std::thread::sleep(IN_FLIGHT);
        state.queue.extend(self.work.try_iter());
        for work in std::mem::take(&mut state.queue) {
            match work {
                Work::Answer(request) if request.kind == "execute_request" => state.aborted.push(request),
                work => state.queue.push_back(work),
            }
        }
    }

    /// Answers the cells that an error before them has stopped.
    pub(super) fn abort_queued_cells(&self, state: &mut State) {
        for request in std::mem::take(&mut state.aborted) {
            self.abort(&request, state.execution_count);
        }
    }

    fn abort(&self, request: &Request, count: u32) {
        self.iopub.status(request, "busy");
        let content = json!({
            "status": "aborted", "execution_count": count, "payload": [], "user_expressions": {},
            "ename": "", "evalue": "", "traceback": [],
        });
        self.replies.send("execute_reply", request, &content);
        self.iopub.status(request, "idle");
    }
}

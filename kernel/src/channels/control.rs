//! The control channel: interrupt and shutdown, also while a cell runs.

use std::sync::{Arc, OnceLock};

use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::iopub::Iopub;
use super::messages;
use super::router::Replies;
use super::wire::Request;
use crate::session::Interrupt;

/// What the control channel needs to answer.
pub struct Control {
    pub iopub: Iopub,
    pub interrupt: Interrupt,
    pub stop: UnboundedSender<()>,
    /// Set as soon as the socket is served.
    pub replies: Arc<OnceLock<Replies>>,
}

impl Control {
    pub fn handle(&self, request: Request) {
        let Some(replies) = self.replies.get().cloned() else { return };
        let (iopub, interrupt, stop) = (self.iopub.clone(), self.interrupt.clone(), self.stop.clone());
        // What stops a cell may take a moment (a killed process is waited for).
        tokio::task::spawn_blocking(move || {
            iopub.status(&request, "busy");
            match request.kind.as_str() {
                "kernel_info_request" => replies.send("kernel_info_reply", &request, &messages::kernel_info()),
                "interrupt_request" => {
                    interrupt.trigger();
                    replies.send("interrupt_reply", &request, &json!({ "status": "ok" }));
                }
                "shutdown_request" => {
                    let content = messages::shutdown_reply(&request);
                    iopub.publish("shutdown_reply", &request, &content);
                    replies.send("shutdown_reply", &request, &content);
                }
                "debug_request" => replies.send("debug_reply", &request, &messages::no_debugger(&request)),
                other => tracing::warn!("control: {other} is not supported"),
            }
            iopub.status(&request, "idle");
            if request.kind == "shutdown_request" && stop.send(()).is_err() {
                tracing::debug!("already stopping");
            }
        });
    }
}

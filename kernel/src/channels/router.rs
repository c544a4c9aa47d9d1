//! A ROUTER socket as two tasks: one reads requests, one writes what is queued.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use zeromq::{RouterSocket, SocketRecv, SocketSend, ZmqMessage};

use super::wire::{Request, Wire};

/// Queues messages for one ROUTER socket.
#[derive(Clone)]
pub struct Replies {
    queue: mpsc::UnboundedSender<Vec<Bytes>>,
    wire: Arc<Wire>,
}

impl Replies {
    /// Sends a message to whoever sent `request`, as its child.
    pub fn send(&self, kind: &str, request: &Request, content: &impl Serialize) {
        let frames = match self.wire.encode(&request.identities, kind, Some(request), content) {
            Ok(frames) => frames,
            Err(error) => {
                tracing::error!("cannot encode {kind}: {error}");
                return;
            }
        };
        if self.queue.send(frames).is_err() {
            tracing::debug!("{kind} not sent: the channel is closed");
        }
    }
}

/// Serves the socket. `handle` gets each message that is well formed and rightly signed; all
/// others are logged and dropped.
pub fn start(
    channel: &'static str,
    socket: RouterSocket,
    wire: &Arc<Wire>,
    handle: impl FnMut(Request) + Send + 'static,
) -> Replies {
    let (queue, messages) = mpsc::unbounded_channel();
    let (writer, reader) = socket.split();
    tokio::spawn(write(channel, writer, messages));
    tokio::spawn(read(channel, reader, Arc::clone(wire), handle));
    Replies { queue, wire: Arc::clone(wire) }
}

async fn write(channel: &str, mut socket: impl SocketSend, mut messages: mpsc::UnboundedReceiver<Vec<Bytes>>) {
    while let Some(frames) = messages.recv().await {
        let Ok(message) = ZmqMessage::try_from(frames) else { continue };
        if let Err(error) = socket.send(message).await {
            tracing::warn!("{channel}: reply not delivered: {error}");
        }
    }
}

async fn read(channel: &str, mut socket: impl SocketRecv, wire: Arc<Wire>, mut handle: impl FnMut(Request)) {
    loop {
        match socket.recv().await {
            Ok(message) => match wire.decode(message.into_vec()) {
                Ok(request) => handle(request),
                Err(error) => tracing::warn!("{channel}: message dropped: {error}"),
            },
            Err(error) => {
                tracing::warn!("{channel}: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

//! IOPub: one actor owns the clients, everybody else holds an [`Iopub`] handle.
//!
//! The actor joins small pieces of one stream into one message, and lets go of a client that
//! has stopped reading.

mod client;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::wire::{Request, Wire};
use client::Client;

/// Text waits this long for more of the same stream.
const COALESCE: Duration = Duration::from_millis(25);
/// A stream message is sent when it has grown to this many bytes.
const STREAM_MESSAGE_BYTES: usize = 32 * 1024;
/// Writers wait while this much is on its way.
const BYTES_IN_FLIGHT: usize = 8 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamName {
    Stdout,
    Stderr,
}

impl StreamName {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Publishes messages, in the order of the calls. Usable from any thread.
#[derive(Clone)]
pub struct Iopub {
    queue: mpsc::UnboundedSender<Item>,
    wire: Arc<Wire>,
    flow: Arc<Flow>,
}

impl Iopub {
    /// Publishes one message as a child of `parent`.
    pub fn publish(&self, kind: &str, parent: &Request, content: &impl Serialize) {
        let topic = Bytes::copy_from_slice(kind.as_bytes());
        match self.wire.encode(&[topic], kind, Some(parent), content) {
            Ok(frames) => self.push(Item::Message(frames)),
            Err(error) => tracing::error!("cannot encode {kind}: {error}"),
        }
    }

    pub fn stream(&self, parent: &Arc<Request>, name: StreamName, text: String) {
        self.push(Item::Stream { parent: Arc::clone(parent), name, text });
    }

    pub fn status(&self, parent: &Request, state: &str) {
        self.publish("status", parent, &json!({ "execution_state": state }));
    }

    /// Returns when everything published before has been handed to the clients' connections.
    pub async fn drained(&self) {
        let (done, drained) = oneshot::channel();
        self.push(Item::Barrier(done));
        if drained.await.is_err() {
            tracing::debug!("IOPub is closed");
        }
    }

    fn push(&self, item: Item) {
        self.flow.wait_and_add(item.bytes());
        if self.queue.send(item).is_err() {
            tracing::debug!("IOPub is closed");
        }
    }
}

enum Item {
    Message(Vec<Bytes>),
    Stream { parent: Arc<Request>, name: StreamName, text: String },
    Barrier(oneshot::Sender<()>),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(frames) => frames.iter().map(Bytes::len).sum(),
            Self::Stream { text, .. } => text.len(),
            Self::Barrier(_) => 0,
        }
    }
}

/// Holds writers back while too much is on its way.
#[derive(Default)]
struct Flow {
    bytes: Mutex<usize>,
    drained: Condvar,
}

impl Flow {
    fn wait_and_add(&self, bytes: usize) {
        let mut in_flight = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        while *in_flight > BYTES_IN_FLIGHT {
            in_flight = self.drained.wait(in_flight).unwrap_or_else(PoisonError::into_inner);
        }
        *in_flight += bytes;
    }

    fn subtract(&self, bytes: usize) {
        let mut in_flight = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *in_flight = in_flight.saturating_sub(bytes);
        self.drained.notify_all();
    }
}

/// Where clients connect.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Connection> {
        match self {
            Self::Tcp(listener) => Ok(Connection::Tcp(listener.accept().await?.0)),
            Self::Unix(listener) => Ok(Connection::Unix(listener.accept().await?.0)),
        }
    }
}

/// Starts the actor. It ends, everything sent, when all handles are gone.
pub fn start(listener: Listener, wire: Arc<Wire>) -> Iopub {
    let (queue, items) = mpsc::unbounded_channel();
    let flow = Arc::new(Flow::default());
    let actor = Actor { listener, wire: Arc::clone(&wire), clients: Vec::new(), pending: None };
    tokio::spawn(actor.run(items, Arc::clone(&flow)));
    Iopub { queue, wire, flow }
}

struct Actor {
    listener: Listener,
    wire: Arc<Wire>,
    clients: Vec<Client>,
    pending: Option<Pending>,
}

/// Stream text that waits for more.
struct Pending {
    parent: Arc<Request>,
    name: StreamName,
    text: String,
    deadline: Instant,
}

impl Actor {
    async fn run(mut self, mut items: mpsc::UnboundedReceiver<Item>, flow: Arc<Flow>) {
        loop {
            let deadline = self.pending.as_ref().map(|pending| pending.deadline);
            tokio::select! {
                biased;
                connection = self.listener.accept() => {
                    if let Err(error) = self.welcome(connection).await {
                        tracing::warn!("IOPub: a client could not connect: {error}");
                        tokio::time::sleep(COALESCE).await;
                    }
                },
                item = items.recv() => {
                    let Some(item) = item else { break };
                    let bytes = item.bytes();
                    self.take(item).await;
                    flow.subtract(bytes);
                },
                () = sleep_until(deadline), if deadline.is_some() => self.flush().await,
            }
        }
        self.flush().await;
    }

    async fn welcome(&mut self, connection: std::io::Result<Connection>) -> std::io::Result<()> {
        let wire = Arc::clone(&self.wire);
        let client = match connection? {
            Connection::Tcp(stream) => {
                stream.set_nodelay(true)?;
                Client::start(stream, wire).await?
            }
            Connection::Unix(stream) => Client::start(stream, wire).await?,
        };
        self.clients.push(client);
        Ok(())
    }

    async fn take(&mut self, item: Item) {
        match item {
            Item::Message(frames) => {
                self.flush().await;
                self.send(frames).await;
            }
            Item::Barrier(done) => {
                self.flush().await;
                for client in &self.clients {
                    client.drained().await;
                }
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for IOPub");
                }
            }
            Item::Stream { parent, name, text } => {
                match &mut self.pending {
                    Some(pending) if pending.name == name && pending.parent.id == parent.id => {
                        pending.text.push_str(&text);
                    }
                    _ => {
                        self.flush().await;
                        self.pending = Some(Pending { parent, name, text, deadline: Instant::now() + COALESCE });
                    }
                }
                if self.pending.as_ref().is_some_and(|pending| pending.text.len() >= STREAM_MESSAGE_BYTES) {
                    self.flush().await;
                }
            }
        }
    }

    async fn flush(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        let topic = Bytes::from(format!("stream.{}", pending.name.as_str()));
        let content = json!({ "name": pending.name.as_str(), "text": pending.text });
        match self.wire.encode(&[topic], "stream", Some(&pending.parent), &content) {
            Ok(frames) => self.send(frames).await,
            Err(error) => tracing::error!("cannot encode a stream: {error}"),
        }
    }

    async fn send(&mut self, frames: Vec<Bytes>) {
        let mut connected = Vec::with_capacity(self.clients.len());
        for client in self.clients.drain(..) {
            if client.send(&frames).await {
                connected.push(client);
            } else {
                tracing::info!("an IOPub client is gone, or has stopped reading");
            }
        }
        self.clients = connected;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

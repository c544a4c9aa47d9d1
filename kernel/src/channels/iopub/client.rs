//! One IOPub client: a socket and a queue of its own.
//!
//! zeromq's XPUB sends to its subscribers in turn, so one that stops reading (a console that
//! was suspended) would keep messages from all others. Each connection is therefore passed on
//! to an XPUB socket that has no other peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use zeromq::{Socket, SocketRecv, SocketSend, XPubSocket, ZmqMessage};

use crate::channels::wire::Wire;

/// Queued for a client before writers wait for it.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// A client with a full queue that reads nothing for this long is let go. It may come back.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connected client; disconnected when dropped.
pub struct Client {
    queue: mpsc::UnboundedSender<Vec<Bytes>>,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Progress {
    queued: AtomicUsize,
    sent: AtomicUsize,
    changed: Notify,
}

impl Client {
    /// Serves an accepted connection.
    pub async fn start<S>(stream: S, wire: Arc<Wire>) -> std::io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let folder = tempfile::Builder::new().prefix("codriver").tempdir()?;
        let path = folder.path().join("iopub");
        let mut socket = XPubSocket::new();
        let listener = std::os::unix::net::UnixListener::bind(&path)?;
        socket.bind_listener(listener).await.map_err(std::io::Error::other)?;
        let inner = UnixStream::connect(&path).await?;

        let (queue, messages) = mpsc::unbounded_channel();
        let progress = Arc::new(Progress::default());
        let task = tokio::spawn(serve(stream, inner, socket, messages, Arc::clone(&progress), wire));
        Ok(Self { queue, progress, task })
    }

    /// Queues a message. `false` when the client is gone, or has stopped reading.
    pub async fn send(&self, frames: &[Bytes]) -> bool {
        while self.progress.queued.load(Ordering::SeqCst) > QUEUE_BYTES {
            if !self.progressed().await {
                return false;
            }
        }
        self.progress.queued.fetch_add(size(frames), Ordering::SeqCst);
        self.queue.send(frames.to_vec()).is_ok()
    }

    /// Waits until the queue is empty, as long as the client goes on reading.
    pub async fn drained(&self) {
        while self.progress.queued.load(Ordering::SeqCst) > 0 && self.progressed().await {}
    }

    async fn progressed(&self) -> bool {
        let sent = self.progress.sent.load(Ordering::SeqCst);
        let waited = tokio::time::timeout(PATIENCE, self.progress.changed.notified()).await;
        !self.task.is_finished() && (waited.is_ok() || self.progress.sent.load(Ordering::SeqCst) > sent)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S>(
    mut stream: S,
    mut inner: UnixStream,
    mut socket: XPubSocket,
    mut messages: mpsc::UnboundedReceiver<Vec<Bytes>>,
    progress: Arc<Progress>,
    wire: Arc<Wire>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = tokio::spawn(async move { copy_bidirectional(&mut stream, &mut inner).await });
    let guard = AbortOnDrop(connection);
    let mut ended = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            biased;
            // A subscription counts only once it is read.
            subscription = socket.recv() => match subscription {
                Ok(message) => welcome(&mut socket, &message, &wire).await,
                Err(error) => tracing::debug!("IOPub client: {error}"),
            },
            frames = messages.recv() => {
                let Some(frames) = frames else { return };
                let bytes = size(&frames);
                send(&mut socket, frames).await;
                progress.queued.fetch_sub(bytes, Ordering::SeqCst);
                progress.sent.fetch_add(1, Ordering::SeqCst);
                progress.changed.notify_one();
            },
            _ = ended.tick() => if guard.0.is_finished() { return },
        }
    }
}

/// JEP 65: a new subscriber learns that it is subscribed.
async fn welcome(socket: &mut XPubSocket, message: &ZmqMessage, wire: &Wire) {
    let Some([1, topic @ ..]) = message.get(0).map(|frame| &frame[..]) else { return };
    let content = json!({ "subscription": String::from_utf8_lossy(topic) });
    match wire.encode(&[Bytes::copy_from_slice(topic)], "iopub_welcome", None, &content) {
        Ok(frames) => send(socket, frames).await,
        Err(error) => tracing::error!("cannot encode iopub_welcome: {error}"),
    }
}

async fn send(socket: &mut XPubSocket, frames: Vec<Bytes>) {
    let Ok(message) = ZmqMessage::try_from(frames) else { return };
    if let Err(error) = socket.send(message).await {
        tracing::debug!("IOPub client: {error}");
    }
}

fn size(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

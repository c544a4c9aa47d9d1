//! The kernel's five sockets. The only place that names zeromq.
//!
//! One thread runs all sockets; another ([`worker`]) owns the session and answers what comes
//! in on shell, in order. Control is answered beside it, so an interrupt always gets through.

mod control;
mod heartbeat;
mod iopub;
mod messages;
mod parent;
mod router;
mod sink;
mod stdin;
mod wire;
mod worker;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jupyter_protocol::connection_info::{ConnectionInfo, Transport};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use zeromq::{RepSocket, RouterSocket, Socket, ZmqError};

use crate::session::{Interrupt, SessionOptions};
use control::Control;
use stdin::Stdin;
use wire::Wire;
use worker::{Work, Worker};

/// Why a kernel does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{path} is not a connection file: {reason}")]
    ConnectionFile { path: String, reason: String },
    #[error("signature scheme {0} is not supported; Jupyter's own is hmac-sha256")]
    SignatureScheme(String),
    #[error("cannot listen on {endpoint}: {source}")]
    Bind { endpoint: String, source: ZmqError },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// How long a cell may take to end when the kernel goes down.
const LAST_CELL: Duration = Duration::from_millis(1500);
/// How long the last messages may take to leave.
const LAST_MESSAGES: Duration = Duration::from_millis(500);
const FLUSH: Duration = Duration::from_millis(20);
/// Deep recursion in a parser must not end the kernel.
const WORKER_STACK: usize = 64 * 1024 * 1024;

/// Reads a connection file and serves until shutdown, SIGTERM or the parent's death.
pub fn serve(connection_file: &Path, options: SessionOptions) -> Result<(), ServeError> {
    let connection = read_connection_file(connection_file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve_until_stopped(&connection, options));
    runtime.shutdown_background();
    served
}

fn read_connection_file(path: &Path) -> Result<ConnectionInfo, ServeError> {
    let text = fs_err::read_to_string(path)?;
    let mut connection: ConnectionInfo = serde_json::from_str(&text)
        .map_err(|error| ServeError::ConnectionFile { path: path.display().to_string(), reason: error.to_string() })?;
    if !connection.key.is_empty() && connection.signature_scheme != "hmac-sha256" {
        return Err(ServeError::SignatureScheme(connection.signature_scheme));
    }
    if connection.ip == "*" {
        connection.ip = "0.0.0.0".to_owned();
    }
    Ok(connection)
}

async fn serve_until_stopped(connection: &ConnectionInfo, options: SessionOptions) -> Result<(), ServeError> {
    let wire = Arc::new(Wire::new(&connection.key));
    let interrupt = Interrupt::new();
    let stopping = Arc::new(AtomicBool::new(false));
    let (stop, mut stopped) = mpsc::unbounded_channel();

    let heartbeat = bind::<RepSocket>(connection.hb_url()).await?;
    let iopub_listener = listen(connection).await?;
    let stdin_socket = bind::<RouterSocket>(connection.stdin_url()).await?;
    let control_socket = bind::<RouterSocket>(connection.control_url()).await?;
    let shell_socket = bind::<RouterSocket>(connection.shell_url()).await?;

    tokio::spawn(heartbeat::echo(heartbeat));
    let iopub = iopub::start(iopub_listener, Arc::clone(&wire));

    let stdin = Stdin::default();
    let answers = stdin.clone();
    stdin.connect(router::start("stdin", stdin_socket, &wire, move |message| answers.deliver(&message)));

    let control = Control {
        iopub: iopub.clone(),
        interrupt: interrupt.clone(),
        stop: stop.clone(),
        replies: Arc::new(OnceLock::new()),
    };
    let control_replies = Arc::clone(&control.replies);
    let replies = router::start("control", control_socket, &wire, move |request| control.handle(request));
    if control_replies.set(replies).is_err() {
        tracing::error!("control is served already");
    }

    let (sender, work) = std::sync::mpsc::channel();
    let shell = sender.clone();
    let replies = router::start("shell", shell_socket, &wire, move |request| {
        if shell.send(Work::Answer(request)).is_err() {
            tracing::debug!("shell request after the worker's end");
        }
    });
    let worker = Worker {
        work,
        iopub: iopub.clone(),
        replies,
        stdin,
        interrupt: interrupt.clone(),
        options,
        stopping: Arc::clone(&stopping),
        stop,
    };
    let (ended, worker_ended) = oneshot::channel();
    std::thread::Builder::new().name("cells".to_owned()).stack_size(WORKER_STACK).spawn(move || {
        worker.run();
        if ended.send(()).is_err() {
            tracing::debug!("nobody waits for the worker");
        }
    })?;

    wait_for_the_end(&mut stopped, &interrupt).await?;
    stopping.store(true, Ordering::SeqCst);
    if sender.send(Work::Stop).is_err() {
        tracing::debug!("the worker has ended already");
    }
    tokio::task::spawn_blocking(move || interrupt.trigger());
    if tokio::time::timeout(LAST_CELL, worker_ended).await.is_err() {
        tracing::debug!("a cell was still running at the end");
    }
    // Replies are queued, not flushed: let the sockets' own tasks write.
    if tokio::time::timeout(LAST_MESSAGES, iopub.drained()).await.is_err() {
        tracing::debug!("not all IOPub messages were delivered");
    }
    tokio::time::sleep(FLUSH).await;
    Ok(())
}

async fn bind<S: Socket>(endpoint: String) -> Result<S, ServeError> {
    let mut socket = S::new();
    match socket.bind(&endpoint).await {
        Ok(_) => Ok(socket),
        Err(source) => Err(ServeError::Bind { endpoint, source }),
    }
}

/// IOPub's connections are accepted here and passed on, see [`iopub`].
async fn listen(connection: &ConnectionInfo) -> Result<iopub::Listener, ServeError> {
    let bound = match connection.transport {
        Transport::TCP => {
            TcpListener::bind((connection.ip.as_str(), connection.iopub_port)).await.map(iopub::Listener::Tcp)
        }
        Transport::IPC => {
            UnixListener::bind(format!("{}-{}", connection.ip, connection.iopub_port)).map(iopub::Listener::Unix)
        }
    };
    bound.map_err(|error| ServeError::Bind { endpoint: connection.iopub_url(), source: ZmqError::Network(error) })
}

/// Returns at shutdown, SIGTERM or the parent's death. SIGINT interrupts the running cell.
async fn wait_for_the_end(stopped: &mut mpsc::UnboundedReceiver<()>, interrupt: &Interrupt) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let parent = parent::death();
    tokio::pin!(parent);
    loop {
        tokio::select! {
            _ = stopped.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            () = &mut parent => {
                tracing::info!("the Jupyter server is gone");
                return Ok(());
            }
            _ = interrupts.recv() => {
                let interrupt = interrupt.clone();
                tokio::task::spawn_blocking(move || interrupt.trigger());
            }
        }
    }
}

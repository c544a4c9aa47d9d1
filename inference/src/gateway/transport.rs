//! The socket: one request out, pieces of the answer in, while an interrupt can come.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use super::Patience;
use crate::{Cancellation, ModelError};

/// How often a waiting call looks for an interrupt.
const GLANCE: Duration = Duration::from_millis(15);

/// Where requests go and with which key.
pub(super) struct Endpoint {
    url: Url,
    key: Option<SecretString>,
    patience: Patience,
    client: Client,
}

/// What arrives, in this order: one head, bytes, the end.
pub(super) enum Piece {
    Head { status: u16, content_type: String, retry_after: Option<Duration> },
    Bytes(Vec<u8>),
    End,
}

impl Endpoint {
    pub(super) fn new(url: Url, key: Option<SecretString>, patience: Patience) -> Result<Self, ModelError> {
        let client = client(&url, patience)?;
        Ok(Self { url, key, patience, client })
    }

    pub(super) fn with_patience(self, patience: Patience) -> Result<Self, ModelError> {
        Self::new(self.url, self.key, patience)
    }

    pub(super) fn key(&self) -> Option<&SecretString> {
        self.key.as_ref()
    }

    /// Who answers, for messages: the host.
    pub(super) fn provider(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub(super) fn protocol_error(&self, reason: &str) -> ModelError {
        ModelError::Protocol { provider: self.provider(), reason: reason.to_owned() }
    }

    pub(super) fn provider_error(&self, status: u16, message: String) -> ModelError {
        let advice = match status {
            401 | 403 if self.key.is_none() => "; set CODRIVER_API_KEY in the environment or in .env",
            401 | 403 => "; check the key in CODRIVER_API_KEY (environment or .env)",
            404 => "; check the address and the model's name (%model http://host:port/v1#name)",
            429 => "; wait a little, or choose another model with %model",
            _ => "",
        };
        ModelError::Provider { provider: self.provider(), status, message: format!("{message}{advice}") }
    }

    /// The pause before attempt `attempt + 1`, or `None` where it is time to give up.
    pub(super) fn pause(&self, attempt: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if attempt >= self.patience.attempts {
            return None;
        }
        match retry_after {
            Some(asked) if asked > self.patience.longest_pause => None,
            Some(asked) => Some(asked),
            None => {
                let doubled = self.patience.pause.saturating_mul(2_u32.saturating_pow(attempt - 1));
                Some(doubled.min(self.patience.longest_pause))
            }
        }
    }

    /// Sends the request on the gateway's own runtime.
    pub(super) fn post(&self, body: String) -> Pieces {
        let (sender, receiver) = channel();
        let request = self.client.post(self.url.clone()).headers(self.headers()).body(body);
        let silence = self.patience.silence;
        let task = match runtime() {
            Ok(runtime) => Some(runtime.spawn(async move { drive(request, silence, &sender).await }).abort_handle()),
            Err(reason) => {
                send(&sender, Err(Interruption::Broken(reason.to_owned())));
                None
            }
        };
        Pieces { receiver, task, endpoint: self.address(), provider: self.provider() }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        if let Some(key) = &self.key
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret().trim()))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers
    }

    fn address(&self) -> String {
        format!("{}://{}", self.url.scheme(), self.provider())
    }
}

/// The pieces of one answer. Dropped early, it closes the socket.
pub(super) struct Pieces {
    receiver: Receiver<Result<Piece, Interruption>>,
    task: Option<AbortHandle>,
    endpoint: String,
    provider: String,
}

impl Pieces {
    /// Waits for the next piece or the interrupt, whichever comes first.
    pub(super) fn next(&mut self, cancellation: &Cancellation) -> Result<Piece, ModelError> {
        loop {
            if cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            match self.receiver.recv_timeout(GLANCE) {
                Ok(Ok(piece)) => return Ok(piece),
                Ok(Err(interruption)) => return Err(self.explain(interruption)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.explain(Interruption::Broken("the connection ended".to_owned())));
                }
            }
        }
    }

    fn explain(&self, interruption: Interruption) -> ModelError {
        match interruption {
            Interruption::Unreachable(reason) => ModelError::Unreachable {
                endpoint: self.endpoint.clone(),
                reason: format!("{reason}; is the server running, and is the address right?"),
            },
            Interruption::Silent(waited) => ModelError::Unreachable {
                endpoint: self.endpoint.clone(),
                reason: format!("nothing came for {} s", waited.as_secs_f32()),
            },
            Interruption::Broken(reason) => ModelError::Protocol {
                provider: self.provider.clone(),
                reason: format!("the answer broke off ({reason})"),
            },
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Sleeps, unless the interrupt comes.
pub(super) fn sleep(pause: Duration, cancellation: &Cancellation) -> Result<(), ModelError> {
    let end = Instant::now() + pause;
    while Instant::now() < end {
        if cancellation.is_cancelled() {
            return Err(ModelError::Cancelled);
        }
        std::thread::sleep(GLANCE.min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// 501 says that the server will never know how.
pub(crate) fn is_worth_another_try(status: u16) -> bool {
    status == 429 || (status >= 500 && status != 501)
}

enum Interruption {
    Unreachable(String),
    Silent(Duration),
    Broken(String),
}

async fn drive(request: reqwest::RequestBuilder, silence: Duration, sender: &Sender<Result<Piece, Interruption>>) {
    let response = match tokio::time::timeout(silence, request.send()).await {
        Err(_) => return send(sender, Err(Interruption::Silent(silence))),
        Ok(Err(error)) => return send(sender, Err(Interruption::Unreachable(root_cause(&error)))),
        Ok(Ok(response)) => response,
    };
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    send(
        sender,
        Ok(Piece::Head {
            status: response.status().as_u16(),
            content_type: header(CONTENT_TYPE).unwrap_or_default().to_owned(),
            retry_after: header(RETRY_AFTER).and_then(retry_after),
        }),
    );
    let mut stream = response.bytes_stream();
    loop {
        match tokio::time::timeout(silence, stream.next()).await {
            Err(_) => return send(sender, Err(Interruption::Silent(silence))),
            Ok(None) => return send(sender, Ok(Piece::End)),
            Ok(Some(Err(error))) => return send(sender, Err(Interruption::Broken(root_cause(&error)))),
            Ok(Some(Ok(bytes))) => send(sender, Ok(Piece::Bytes(bytes.to_vec()))),
        }
    }
}

/// A receiver that is gone has been interrupted: its task is being aborted as well.
fn send(sender: &Sender<Result<Piece, Interruption>>, piece: Result<Piece, Interruption>) {
    if sender.send(piece).is_err() {
        tracing::trace!("nobody waits for this answer any more");
    }
}

/// `Retry-After` in seconds or as a date.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = chrono::DateTime::parse_from_rfc2822(value.trim()).ok()?;
    Some((date.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default())
}

/// The innermost error: the outer ones repeat the address, the inner one says why.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn client(url: &Url, patience: Patience) -> Result<Client, ModelError> {
    // A redirect would carry the prompt to a host that nobody chose.
    let builder = Client::builder()
        .connect_timeout(patience.connect)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("codriver/", env!("CARGO_PKG_VERSION")));
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| ModelError::Unreachable {
        endpoint: url.host_str().unwrap_or_default().to_owned(),
        reason: root_cause(&error),
    })
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// One small runtime for all remote models. Calls come from threads that may belong to
/// another runtime, so nothing here blocks on it.
fn runtime() -> Result<&'static Runtime, &'static str> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("codriver-gateway")
                .enable_all()
                .build()
                .map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(String::as_str)
}

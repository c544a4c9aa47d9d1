//! Models behind an endpoint: any server that speaks OpenAI's chat completions.

mod request;
mod response;
mod server_events;
pub(crate) mod transport;

use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::{Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, ModelError, Usage};
use request::Body;
use response::Assembler;
use transport::{Endpoint, Piece};

/// What is assumed where the server does not say how much its model can read.
const DEFAULT_WINDOW: usize = 32_768;

/// A whole answer larger than this is a server gone wrong.
const MOST_BYTES: usize = 64 << 20;

/// One model of one OpenAI-compatible server: OpenAI itself, llama.cpp, vLLM, Ollama,
/// Mistral, DeepSeek and many more.
pub struct OpenAiCompatible {
    name: String,
    model: String,
    endpoint: Endpoint,
    window: usize,
}

/// How long to wait for a server, and how often to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub connect: Duration,
    /// The longest silence: before the first byte and between two of them.
    pub silence: Duration,
    /// Requests sent in all, the first included, while the server says 429 or 5xx.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    pub pause: Duration,
    /// A `Retry-After` longer than this is reported instead of waited for.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(300),
            attempts: 4,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

impl OpenAiCompatible {
    /// `base_url` is what comes before `/chat/completions`, usually `http://host:port/v1`.
    pub fn new(base_url: &str, model: &str, key: Option<SecretString>) -> Result<Self, ModelError> {
        let url = parse_base(base_url)?;
        let name = format!("{}#{model}", base_url.trim_end_matches('/'));
        let endpoint = Endpoint::new(url, key, Patience::default())?;
        Ok(Self { name, model: model.to_owned(), endpoint, window: DEFAULT_WINDOW })
    }

    #[must_use]
    pub fn with_context_window(mut self, tokens: usize) -> Self {
        self.window = tokens;
        self
    }

    pub fn with_patience(mut self, patience: Patience) -> Result<Self, ModelError> {
        self.endpoint = self.endpoint.with_patience(patience)?;
        Ok(self)
    }

    /// Sends the request until a server takes it, leaving out what it says it does not know.
    fn exchange(
        &self,
        body: &mut Body,
        cancellation: &Cancellation,
        on_event: &mut dyn FnMut(ChatEvent),
    ) -> Result<ChatResponse, ModelError> {
        let mut attempt = 1;
        loop {
            match self.attempt(body, cancellation, on_event) {
                Ok(response) => return Ok(response),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Refused { status, message, retry_after }) => {
                    let message = self.redact(&message);
                    if matches!(status, 400 | 422) && body.leave_out_what_is_named_in(&message) {
                        tracing::debug!(%message, "the server refuses a parameter: sending without it");
                        continue;
                    }
                    let failure = self.endpoint.provider_error(status, message);
                    if !transport::is_worth_another_try(status) {
                        return Err(failure);
                    }
                    let Some(pause) = self.endpoint.pause(attempt, retry_after) else {
                        return Err(failure);
                    };
                    transport::sleep(pause, cancellation)?;
                    attempt += 1;
                }
            }
        }
    }

    fn attempt(
        &self,
        body: &Body,
        cancellation: &Cancellation,
        on_event: &mut dyn FnMut(ChatEvent),
    ) -> Result<ChatResponse, Failure> {
        let mut pieces = self.endpoint.post(body.to_json());
        let mut assembler = Assembler::new(self.endpoint.provider());
        let mut refusal: Option<(u16, Option<Duration>, Vec<u8>)> = None;
        let mut received = 0;
        loop {
            match pieces.next(cancellation).map_err(Failure::Final)? {
                Piece::Head { status, content_type, retry_after } => {
                    if (200..300).contains(&status) {
                        assembler.begin(&content_type);
                    } else {
                        refusal = Some((status, retry_after, Vec::new()));
                    }
                }
                Piece::Bytes(bytes) => {
                    received += bytes.len();
                    if received > MOST_BYTES {
                        return Err(Failure::Final(self.endpoint.protocol_error("an answer of more than 64 MiB")));
                    }
                    match &mut refusal {
                        Some((_, _, text)) => text.extend_from_slice(&bytes),
                        None => {
                            assembler.push(&bytes, on_event).map_err(|error| self.redacted(error))?;
                        }
                    }
                    if assembler.is_done() {
                        return assembler.finish(on_event).map_err(|error| self.redacted(error));
                    }
                }
                Piece::End => {
                    return match refusal {
                        Some((status, retry_after, text)) => Err(self.refused(status, retry_after, &text)),
                        None => assembler.finish(on_event).map_err(|error| self.redacted(error)),
                    };
                }
            }
        }
    }

    fn refused(&self, status: u16, retry_after: Option<Duration>, text: &[u8]) -> Failure {
        let text = String::from_utf8_lossy(text);
        match response::context_overflow(&text) {
            Some(overflow) => Failure::Final(overflow),
            None => Failure::Refused { status, message: response::error_message(&text), retry_after },
        }
    }

    fn redacted(&self, error: ModelError) -> Failure {
        Failure::Final(match error {
            ModelError::Provider { provider, status, message } => {
                ModelError::Provider { provider, status, message: self.redact(&message) }
            }
            ModelError::Protocol { provider, reason } => {
                ModelError::Protocol { provider, reason: self.redact(&reason) }
            }
            other => other,
        })
    }

    /// Some servers quote the key they refuse.
    fn redact(&self, text: &str) -> String {
        match self.endpoint.key() {
            Some(key) if !key.expose_secret().is_empty() => text.replace(key.expose_secret(), "[key]"),
            _ => text.to_owned(),
        }
    }
}

impl ChatModel for OpenAiCompatible {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_window(&self) -> usize {
        self.window
    }

    fn destination(&self) -> Option<String> {
        Some(self.endpoint.provider())
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len().div_ceil(4)
    }

    fn render_prompt(&self, request: &ChatRequest) -> Result<String, ModelError> {
        Ok(Body::new(&self.model, request)?.to_pretty_json())
    }

    fn chat(
        &self,
        request: &ChatRequest,
        cancellation: &Cancellation,
        on_event: &mut dyn FnMut(ChatEvent),
    ) -> Result<ChatResponse, ModelError> {
        let mut body = Body::new(&self.model, request)?;
        let mut response = self.exchange(&mut body, cancellation, on_event)?;
        if response.usage == Usage::default() {
            let answer = &response.message;
            let calls: usize =
                answer.tool_calls.iter().map(|call| call.arguments.to_string().len() + call.name.len()).sum();
            response.usage = Usage {
                prompt_tokens: self.count_tokens(&body.to_json()),
                completion_tokens: (answer.content.len() + calls).div_ceil(4),
            };
        }
        Ok(response)
    }
}

/// Why one attempt gave no answer.
enum Failure {
    Final(ModelError),
    Refused { status: u16, message: String, retry_after: Option<Duration> },
}

fn parse_base(base_url: &str) -> Result<Url, ModelError> {
    let refuse = |reason: &str| ModelError::Unsupported(format!("the address {base_url:?} {reason}"));
    let mut url = Url::parse(base_url)
        .map_err(|error| refuse(&format!("cannot be read ({error}); write http://host:port/v1")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refuse("is not an http or https address; write http://host:port/v1"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated in the message: it holds a password.
        return Err(ModelError::Unsupported(
            "the address holds a name or password; put the key into CODRIVER_API_KEY instead".to_owned(),
        ));
    }
    url.set_fragment(None);
    url.path_segments_mut()
        .map_err(|()| refuse("has no path; write http://host:port/v1"))?
        .pop_if_empty()
        .extend(["chat", "completions"]);
    Ok(url)
}

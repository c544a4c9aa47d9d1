//! A model hub over HTTP: what a repository holds, and its files from any byte on.
//!
//! hf-hub gives the addresses, the names of folders and the shape of a cache. Its downloads are
//! not used: version 0.4 checks no checksum, can't say why a server refused, knows no offline
//! mode, and can be stopped only by dropping it in the middle of a write.

use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, RANGE};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};

use super::remote::{Checksum, RemoteFile, Repository};
use super::settings::{environment, token};
use super::{HubName, StoreError};
use crate::gateway::transport::{is_loopback, is_worth_another_try, root_cause};

const PUBLIC: &str = "https://huggingface.co";

/// The longest description of a repository that is read.
const LONGEST_ANSWER: usize = 64 << 20;

/// A hub, and what is told to it.
#[derive(Clone)]
pub struct Hub {
    endpoint: Url,
    token: Option<SecretString>,
    pub(super) offline: bool,
    pub(super) patience: Patience,
}

/// How long a server is waited for, and how often it is asked again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub silence: Duration,
    /// Attempts in a row that bring nothing.
    pub attempts: u32,
    /// Before the second attempt; doubles with each.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            attempts: 5,
            pause: Duration::from_millis(500),
        }
    }
}

impl Hub {
    /// The hub at `endpoint`, an http or https address.
    pub fn new(endpoint: &str, token: Option<SecretString>) -> Result<Self, StoreError> {
        let error =
            |reason: &str| StoreError::Setting { variable: "HF_ENDPOINT".to_owned(), reason: reason.to_owned() };
        let url =
            Url::parse(endpoint.trim()).map_err(|problem| error(&format!("{endpoint:?} is no address: {problem}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(error(&format!("{endpoint:?} is no http or https address")));
        }
        let printable = |token: &SecretString| token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
        if token.as_ref().is_some_and(|token| !printable(token)) {
            return Err(StoreError::Setting {
                variable: "HF_TOKEN".to_owned(),
                reason: "it holds characters that no token has; copy it again".to_owned(),
            });
        }
        Ok(Self { endpoint: url, token, offline: false, patience: Patience::default() })
    }

    /// `HF_ENDPOINT`, `HF_HUB_OFFLINE`, and the token in `HF_TOKEN` or in the file that
    /// `hf auth login` writes (`HF_TOKEN_PATH`, or `token` in `HF_HOME`).
    pub fn from_environment() -> Result<Self, StoreError> {
        let endpoint = environment("HF_ENDPOINT").unwrap_or_else(|| PUBLIC.to_owned());
        let offline = environment("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()));
        Ok(Self::new(&endpoint, token())?.with_offline(offline))
    }

    /// Whether nothing may be asked.
    #[must_use]
    pub fn with_offline(self, offline: bool) -> Self {
        Self { offline: self.offline || offline, ..self }
    }

    /// With this token where there was none.
    #[must_use]
    pub fn or_token(self, token: Option<SecretString>) -> Self {
        Self { token: self.token.or(token), ..self }
    }

    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The hub as messages name it.
    pub fn address(&self) -> String {
        self.endpoint.as_str().trim_end_matches('/').to_owned()
    }

    /// What a repository holds, with sizes and checksums.
    pub(super) async fn repository(&self, name: &HubName) -> Result<Repository, StoreError> {
        let client = self.client(redirect::Policy::limited(10))?;
        let mut url = self.url(&format!("api/models/{}/revision", name.repository), &[&name.revision])?;
        url.set_query(Some("blobs=true"));
        let response = self.ask(name, || client.get(url.clone())).await?;
        let body = self.body(response).await?;
        Repository::read(&body).map_err(|reason| self.protocol(&reason))
    }

    /// Completes what the list of files did not say: mirrors leave sizes and checksums out.
    pub(super) async fn complete(&self, name: &HubName, commit: &str, file: &mut RemoteFile) -> Result<(), StoreError> {
        if file.bytes.is_some() && file.checksum != Checksum::Unknown {
            return Ok(());
        }
        // The hub answers itself for what it has moved (a relative redirect) and says what it
        // knows of a file before it sends on to a CDN.
        let stay = redirect::Policy::custom(|attempt| {
            let elsewhere = attempt.previous().last().is_some_and(|last| last.origin() != attempt.url().origin());
            if elsewhere || attempt.previous().len() > 10 { attempt.stop() } else { attempt.follow() }
        });
        let client = self.client(stay)?;
        let url = self.file_url(name, commit, &file.name)?;
        let response = self.ask(name, || client.head(url.clone())).await?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let redirected = response.status().is_redirection();
        let length = header("x-linked-size").or_else(|| header(CONTENT_LENGTH.as_str()).filter(|_| !redirected));
        let etag = header("x-linked-etag").or_else(|| header(ETAG.as_str()).filter(|_| !redirected));
        file.bytes = file.bytes.or_else(|| length.and_then(|length| length.parse().ok()));
        if file.checksum == Checksum::Unknown {
            file.checksum = etag.map_or(Checksum::Unknown, Checksum::from_etag);
        }
        Ok(())
    }

    /// The contents of a file from byte `start` on, and the byte where they really start: a
    /// server that can't do ranges sends all.
    pub(super) async fn open(
        &self,
        client: &Client,
        name: &HubName,
        commit: &str,
        file: &str,
        start: u64,
    ) -> Result<(Response, u64), Fault> {
        let url = self.file_url(name, commit, file)?;
        let mut request = self.signed(client.get(url));
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok((response, 0)),
            StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(start) => Ok((response, start)),
            StatusCode::PARTIAL_CONTENT => {
                Err(Fault::Final(self.protocol(&"it sent another range than was asked for")))
            }
            status if is_worth_another_try(status.as_u16()) => {
                Err(Fault::Passing(format!("the server answered {status}")))
            }
            // A CDN's address that has run out: a new one is asked for.
            StatusCode::FORBIDDEN if response.url().origin() != self.endpoint.origin() => {
                Err(Fault::Passing("the address of the file had expired".to_owned()))
            }
            _ => Err(Fault::Final(self.refusal(name, response).await)),
        }
    }

    /// A client that follows redirects; reqwest sends no token to another host.
    pub(super) fn download_client(&self) -> Result<Client, StoreError> {
        self.client(redirect::Policy::limited(10))
    }

    async fn ask(&self, name: &HubName, request: impl Fn() -> reqwest::RequestBuilder) -> Result<Response, StoreError> {
        let mut attempt = 1;
        loop {
            let fault = match self.send(self.signed(request())).await {
                Ok(response) if response.status().is_success() || response.status().is_redirection() => {
                    return Ok(response);
                }
                Ok(response)
                    if attempt < self.patience.attempts && is_worth_another_try(response.status().as_u16()) =>
                {
                    None
                }
                Ok(response) => return Err(self.refusal(name, response).await),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(reason)) => Some(reason),
            };
            if let Some(reason) = fault.filter(|_| attempt >= self.patience.attempts.min(3)) {
                return Err(StoreError::Unreachable { endpoint: self.address(), reason });
            }
            tokio::time::sleep(self.patience.pause * 2_u32.saturating_pow(attempt - 1)).await;
            attempt += 1;
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Fault> {
        match tokio::time::timeout(self.patience.silence, request.send()).await {
            Err(_) => Err(Fault::Passing(format!("no answer for {} s", self.patience.silence.as_secs_f32()))),
            Ok(Err(error)) => Err(Fault::Passing(root_cause(&error.without_url()))),
            Ok(Ok(response)) => Ok(response),
        }
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, StoreError> {
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(piece) = tokio::time::timeout(self.patience.silence, stream.next())
            .await
            .map_err(|_| self.protocol(&"the answer did not end"))?
        {
            body.extend_from_slice(&piece.map_err(|error| self.protocol(&root_cause(&error.without_url())))?);
            if body.len() > LONGEST_ANSWER {
                return Err(self.protocol(&"the answer does not end"));
            }
        }
        Ok(body)
    }

    /// What a refusal means. The hub says it in `X-Error-Code`.
    async fn refusal(&self, name: &HubName, response: Response) -> StoreError {
        const SHOWN: usize = 300;
        let (repository, endpoint) = (name.repository.clone(), self.address());
        let signed_in = self.token.is_some();
        let status = response.status().as_u16();
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (code, message) = (header("x-error-code"), header("x-error-message"));
        match (status, code.as_str()) {
            (_, "GatedRepo") | (403, "") => {
                let page = format!("{endpoint}/{repository}");
                return StoreError::Gated { repository, page, signed_in };
            }
            (_, "RevisionNotFound") => {
                return StoreError::NoSuchRevision { repository, revision: name.revision.clone() };
            }
            (_, "RepoNotFound") | (404, "") => return StoreError::NoSuchRepository { repository, endpoint, signed_in },
            // The hub does not tell strangers which repositories exist, and says this to a wrong token as well.
            (401, _) if signed_in => return StoreError::BadToken { endpoint },
            (401, _) => return StoreError::NoSuchRepository { repository, endpoint, signed_in },
            _ => {}
        }
        let message = if message.is_empty() {
            let body = self.body(response).await.unwrap_or_default();
            String::from_utf8_lossy(&body).into_owned()
        } else {
            message
        };
        let message: String = self.without_token(&message).chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        let message = if message.trim().is_empty() { "nothing more".to_owned() } else { message };
        StoreError::Refused { endpoint, status, message }
    }

    fn without_token(&self, text: &str) -> String {
        match &self.token {
            Some(token) if !token.expose_secret().is_empty() => text.replace(token.expose_secret(), "[token]"),
            _ => text.to_owned(),
        }
    }

    fn protocol(&self, reason: &dyn ToString) -> StoreError {
        StoreError::Protocol { endpoint: self.address(), reason: self.without_token(&reason.to_string()) }
    }

    fn client(&self, redirects: redirect::Policy) -> Result<Client, StoreError> {
        let builder = Client::builder()
            .connect_timeout(self.patience.connect)
            .redirect(redirects)
            .referer(false)
            .user_agent(concat!("codriver/", env!("CARGO_PKG_VERSION")));
        let builder = if is_loopback(&self.endpoint) { builder.no_proxy() } else { builder };
        builder
            .build()
            .map_err(|error| StoreError::Unreachable { endpoint: self.address(), reason: root_cause(&error) })
    }

    fn file_url(&self, name: &HubName, commit: &str, file: &str) -> Result<Url, StoreError> {
        let parts: Vec<&str> = [commit].into_iter().chain(file.split('/')).collect();
        self.url(&format!("{}/resolve", name.repo().url()), &parts)
    }

    /// An address below the endpoint; each of `parts` is one segment, escaped.
    fn url(&self, path: &str, parts: &[&str]) -> Result<Url, StoreError> {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| self.protocol(&"its address can't be continued"))?
            .pop_if_empty()
            .extend(path.split('/'))
            .extend(parts);
        Ok(url)
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Hub").field("endpoint", &self.address()).finish_non_exhaustive()
    }
}

/// Why a piece of a file did not come.
pub(super) enum Fault {
    /// It may come if asked for again.
    Passing(String),
    Final(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

//! An HTTP server on loopback that answers from a script and keeps what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use futures::StreamExt;
use serde_json::Value;

/// One answer of the script.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Bytes to a chunk.
    pub chunk: usize,
    /// The pause before each chunk.
    pub pause: Duration,
    /// Breaks the connection instead of ending the body properly.
    pub cut: bool,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
            chunk: 7,
            pause: Duration::ZERO,
            cut: false,
        }
    }

    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "application/json", body)
    }

    /// A stream of these chunks, `[DONE]` at the end.
    pub fn stream(chunks: &[Value]) -> Self {
        let mut body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        body.push_str("data: [DONE]\n\n");
        Self::new(200, "text/event-stream", body)
    }
}

/// What the server was sent.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub struct Server {
    pub base: String,
    script: Script,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    pub fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let script = Script { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Script::default() };
        let router = Router::new().fallback(answer).with_state(script.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { base, script, runtime: Some(runtime) }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(script): State<Script>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    script.seen.lock().unwrap().push(Seen {
        path: uri.path().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    });
    let next = script.answers.lock().unwrap().pop_front();
    let answer = next.unwrap_or_else(|| Answer::json(410, r#"{"error":{"message":"the script is over"}}"#));
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let mut chunks: Vec<Result<Bytes, std::io::Error>> =
        answer.body.as_bytes().chunks(answer.chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    if answer.cut {
        chunks.push(Err(std::io::Error::other("cut")));
    }
    let pause = answer.pause;
    let stream = futures::stream::iter(chunks).then(move |chunk| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        chunk
    });
    response.body(Body::from_stream(stream)).unwrap()
}

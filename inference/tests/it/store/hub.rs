//! A model hub on loopback, as huggingface.co answers: metadata by commit, small files served at
//! once, large ones by a redirect to a CDN on another port, ranges, ETags, tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use futures::StreamExt;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const TOKEN: &str = "hf_aTokenThatNobodyMaySee123";

/// Bytes to a piece of an answer.
const PIECE: usize = 16 << 10;

/// What the server does wrong, and whom it lets in.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Breaks the connection after so many bytes of a large file, so many times.
    pub cut: Option<(usize, usize)>,
    /// Sends other bytes than it should, so many times.
    pub corrupt: usize,
    /// Before each piece of a large file.
    pub pause: Duration,
    /// Sends whole files to whoever asks for ranges.
    pub no_ranges: bool,
    /// Answers so many requests with 503 first.
    pub busy: usize,
    /// Only `TOKEN` gets in; others hear that the model is gated.
    pub gated: bool,
    /// Says neither sizes nor checksums in the list of files, as mirrors do.
    pub mirror: bool,
    /// The commit that `main` stands for.
    pub commit: Option<String>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub to_cdn: bool,
    pub method: Method,
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
}

#[derive(Clone)]
struct Site {
    is_cdn: bool,
    cdn: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    repositories: Mutex<BTreeMap<String, BTreeMap<String, Vec<u8>>>>,
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Vec<Seen>>,
}

pub struct HubServer {
    pub address: String,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl HubServer {
    /// A hub with one repository.
    pub fn start(repository: &str, files: &[(&str, &[u8])]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shared = Arc::new(Shared::default());
        let listen = || runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (hub, cdn) = (listen(), listen());
        let address = |listener: &tokio::net::TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (hub_address, cdn_address) = (address(&hub), address(&cdn));
        for (listener, is_cdn) in [(hub, false), (cdn, true)] {
            let site = Site { is_cdn, cdn: cdn_address.clone(), shared: Arc::clone(&shared) };
            let router = Router::new().fallback(answer).with_state(site);
            runtime.spawn(async move { axum::serve(listener, router).await });
        }
        let server = Self { address: hub_address, shared, runtime: Some(runtime) };
        server.put(repository, files);
        server
    }

    pub fn put(&self, repository: &str, files: &[(&str, &[u8])]) {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        self.shared.repositories.lock().unwrap().insert(repository.to_owned(), files);
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().unwrap());
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The files that were asked of the CDN, and from which byte on.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.seen()
            .into_iter()
            .filter(|seen| seen.to_cdn && seen.method == Method::GET)
            .map(|seen| seen.range)
            .collect()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(site): State<Site>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (path, range, token) = (uri.path().to_owned(), header("range"), header("authorization"));
    let seen = Seen {
        to_cdn: site.is_cdn,
        method: method.clone(),
        path: path.clone(),
        range: range.clone(),
        token: token.clone(),
    };
    site.shared.seen.lock().unwrap().push(seen);
    let behaviour = {
        let mut behaviour = site.shared.behaviour.lock().unwrap();
        if behaviour.busy > 0 {
            behaviour.busy -= 1;
            return refuse(503, "", "come back later");
        }
        behaviour.clone()
    };
    if site.is_cdn {
        return site.large_file(&path, range.as_deref(), &behaviour);
    }
    match token.as_deref().map(|token| token == format!("Bearer {TOKEN}")) {
        Some(false) => return refuse(401, "", "Invalid credentials in Authorization header"),
        None if behaviour.gated => return refuse(401, "GatedRepo", "Access to this model is restricted"),
        _ => {}
    }
    let commit = behaviour.commit.clone().unwrap_or_else(|| COMMIT.to_owned());
    if let Some(rest) = path.strip_prefix("/api/models/") {
        return site.metadata(rest, &commit, &behaviour, uri.query().unwrap_or_default());
    }
    match path.trim_start_matches('/').split_once("/resolve/") {
        Some((repository, rest)) => site.resolve(repository, rest, &commit, &method),
        None => refuse(404, "", "no such page"),
    }
}

impl Site {
    fn metadata(&self, rest: &str, commit: &str, behaviour: &Behaviour, query: &str) -> Response<Body> {
        let (repository, revision) = match rest.split_once("/revision/").or_else(|| rest.split_once("/tree/")) {
            Some((repository, revision)) => (repository, revision),
            None => (rest, "main"),
        };
        let repositories = self.shared.repositories.lock().unwrap();
        let Some(files) = repositories.get(repository) else {
            // Strangers are not told what exists.
            return refuse(401, "RepoNotFound", "Invalid username or password.");
        };
        if !["main", "v1", "refs%2Fpr%2F1", commit].contains(&revision) {
            return refuse(404, "RevisionNotFound", "Invalid rev id");
        }
        let tell = query.contains("blobs=true") && !behaviour.mirror;
        let sibling = |(name, bytes): (&String, &Vec<u8>)| match tell {
            true if is_large(name) => json!({
                "rfilename": name, "size": bytes.len(), "blobId": git_id(b"a pointer"),
                "lfs": { "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134 },
            }),
            true => json!({ "rfilename": name, "size": bytes.len(), "blobId": git_id(bytes) }),
            false => json!({ "rfilename": name }),
        };
        let tree = |(name, bytes): (&String, &Vec<u8>)| match is_large(name) {
            true => json!({ "type": "file", "path": name, "size": bytes.len(), "oid": git_id(b"a pointer"),
                "lfs": { "oid": sha256(bytes), "size": bytes.len(), "pointerSize": 134 } }),
            false => json!({ "type": "file", "path": name, "size": bytes.len(), "oid": git_id(bytes) }),
        };
        if rest.contains("/tree/") {
            return json_answer(&files.iter().map(tree).collect());
        }
        json_answer(&json!({
            "_id": "1", "id": repository, "modelId": repository, "sha": commit, "private": false, "gated": false,
            "cardData": { "license": "apache-2.0" }, "tags": ["license:apache-2.0"], "downloads": 1, "likes": 1,
            "siblings": files.iter().map(sibling).collect::<Vec<Value>>(),
        }))
    }

    fn resolve(&self, repository: &str, rest: &str, commit: &str, method: &Method) -> Response<Body> {
        let Some((revision, file)) = rest.split_once('/') else { return refuse(404, "EntryNotFound", "no file") };
        let repositories = self.shared.repositories.lock().unwrap();
        let Some(bytes) = repositories.get(repository).and_then(|files| files.get(file)) else {
            return refuse(404, "EntryNotFound", "Entry not found");
        };
        if revision != commit && revision != "main" {
            return refuse(404, "RevisionNotFound", "Invalid rev id");
        }
        let builder = Response::builder().header("x-repo-commit", commit).header("accept-ranges", "bytes");
        if is_large(file) {
            let builder = builder
                .status(302)
                .header("x-linked-size", bytes.len())
                .header("x-linked-etag", format!("\"{}\"", sha256(bytes)))
                .header("location", format!("{}/{repository}/{file}?signature=secret", self.cdn));
            return builder.body(Body::from("Found. Redirecting")).unwrap();
        }
        let builder = builder.header("etag", format!("\"{}\"", git_id(bytes))).header("content-length", bytes.len());
        let body = if method == Method::HEAD { Body::empty() } else { Body::from(bytes.clone()) };
        builder.body(body).unwrap()
    }

    fn large_file(&self, path: &str, range: Option<&str>, behaviour: &Behaviour) -> Response<Body> {
        let (owner, rest) = path.trim_start_matches('/').split_once('/').unwrap();
        let (name, file) = rest.split_once('/').unwrap();
        let mut bytes = self.shared.repositories.lock().unwrap()[&format!("{owner}/{name}")][file].clone();
        let whole = bytes.len();
        let start: usize = match range.filter(|_| !behaviour.no_ranges) {
            Some(range) => range.trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap(),
            None => 0,
        };
        let mut live = self.shared.behaviour.lock().unwrap();
        if live.corrupt > 0 {
            live.corrupt -= 1;
            *bytes.last_mut().unwrap() ^= 1;
        }
        let mut end = whole;
        let mut cut = false;
        if let Some((after, times)) = &mut live.cut
            && *times > 0
        {
            *times -= 1;
            end = whole.min(start + *after);
            cut = true;
        }
        let pieces: Vec<Bytes> = bytes[start..end].chunks(PIECE).map(Bytes::copy_from_slice).collect();
        let pause = behaviour.pause;
        let stream = futures::stream::iter(pieces).then(move |piece| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(piece)
        });
        let end = futures::stream::iter(cut.then(|| Err(std::io::Error::other("cut"))));
        let builder = Response::builder().header("content-length", whole - start);
        let builder = if start > 0 {
            builder.status(206).header("content-range", format!("bytes {start}-{}/{whole}", whole - 1))
        } else {
            builder
        };
        builder.body(Body::from_stream(stream.chain(end))).unwrap()
    }
}

fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".gguf")
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn git_id(bytes: &[u8]) -> String {
    let hash = Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json_answer(value: &Value) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(Body::from(value.to_string())).unwrap()
}

fn refuse(status: u16, code: &str, message: &str) -> Response<Body> {
    let builder = Response::builder().status(StatusCode::from_u16(status).unwrap());
    let builder = if code.is_empty() { builder } else { builder.header("x-error-code", code) };
    builder.header("x-error-message", message).body(Body::from(json!({ "error": message }).to_string())).unwrap()
}

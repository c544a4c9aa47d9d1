//! Servers that are slow, wrong, full or rude.

use std::time::{Duration, Instant};

use codriver_inference::gateway::{OpenAiCompatible, Patience};
use codriver_inference::{Cancellation, ChatEvent, ChatModel, ChatResponse, FinishReason, ModelError, Usage};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::request;
use super::server::{Answer, Server};

const KEY: &str = "sk-very-secret-0123456789";

fn patience() -> Patience {
    Patience { pause: Duration::from_millis(20), silence: Duration::from_secs(5), ..Patience::default() }
}

fn model(server: &Server) -> OpenAiCompatible {
    let model = OpenAiCompatible::new(&server.base, "tiny", Some(SecretString::from(KEY))).unwrap();
    model.with_patience(patience()).unwrap()
}

fn ask(server: &Server) -> (Result<ChatResponse, ModelError>, Vec<ChatEvent>) {
    let mut events = Vec::new();
    let answer = model(server).chat(&request("hello"), &Cancellation::new(), &mut |event| events.push(event));
    (answer, events)
}

fn delta(delta: Value, finish: Option<&str>) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

fn whole(text: &str) -> Answer {
    let message = json!({ "role": "assistant", "content": text });
    Answer::json(200, json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] }).to_string())
}

/// 429, with the pause the server asks for.
fn busy(retry_after: &str) -> Answer {
    let mut answer = Answer::json(429, r#"{"error":{"message":"slow down"}}"#);
    answer.headers.push(("retry-after".to_owned(), retry_after.to_owned()));
    answer
}

#[test]
fn the_key_travels_in_the_header_and_nowhere_else() {
    let server = Server::start([
        whole("fine"),
        Answer::json(401, json!({ "error": { "message": format!("Incorrect API key provided: {KEY}") } }).to_string()),
    ]);
    let model = model(&server);
    let answer = model.chat(&request("hello"), &Cancellation::new(), &mut |_| {}).unwrap();
    assert_eq!(answer.message.content, "fine");
    assert_eq!(server.seen()[0].headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(server.seen()[0].path, "/v1/chat/completions");
    assert!(!model.render_prompt(&request("hello")).unwrap().contains(KEY));

    let error = model.chat(&request("hello"), &Cancellation::new(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ModelError::Provider { status: 401, .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(KEY));
    assert!(error.to_string().contains("CODRIVER_API_KEY"), "{error}");
    assert_eq!(server.seen().len(), 2, "a refused key is not tried again");
}

#[test]
fn a_busy_server_is_asked_again_when_it_says_so() {
    let server = Server::start([busy("0.2"), Answer::json(503, "loading"), whole("ready")]);
    let started = Instant::now();
    let (answer, _) = ask(&server);
    assert_eq!(answer.unwrap().message.content, "ready");
    assert!(started.elapsed() >= Duration::from_millis(200), "Retry-After was not waited for");
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn patience_ends() {
    let server = Server::start((0..9).map(|_| Answer::json(429, r#"{"error":{"message":"slow down"}}"#)));
    let (answer, _) = ask(&server);
    assert!(matches!(answer, Err(ModelError::Provider { status: 429, .. })), "{answer:?}");
    assert_eq!(server.seen().len(), 4);

    let server = Server::start([busy("3600")]);
    let (answer, _) = ask(&server);
    assert!(matches!(answer, Err(ModelError::Provider { status: 429, .. })), "an hour is not waited for: {answer:?}");
}

#[test]
fn an_interrupt_wins_against_a_slow_server() {
    let mut slow = Answer::stream(&[
        delta(json!({ "content": "first" }), None),
        delta(json!({ "content": " never" }), Some("stop")),
    ]);
    slow.pause = Duration::from_millis(100);
    slow.chunk = 75;
    let server = Server::start([slow]);
    let cancellation = Cancellation::new();
    let mut heard = String::new();
    let started = Instant::now();
    let answer = model(&server).chat(&request("hello"), &cancellation, &mut |event| {
        if let ChatEvent::Text(text) = event {
            heard.push_str(&text);
            cancellation.cancel();
        }
    });
    assert!(matches!(answer, Err(ModelError::Cancelled)), "{answer:?}");
    assert_eq!(heard, "first");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_interrupt_wins_against_a_server_that_says_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", silent.local_addr().unwrap());
    let model = OpenAiCompatible::new(&base, "tiny", None).unwrap();
    let cancellation = Cancellation::new();
    let other = cancellation.clone();
    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        other.cancel();
    });
    let started = Instant::now();
    let answer = model.chat(&request("hello"), &cancellation, &mut |_| {});
    assert!(matches!(answer, Err(ModelError::Cancelled)), "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    waker.join().unwrap();
}

#[test]
fn silence_has_an_end() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", silent.local_addr().unwrap());
    let short = Patience { silence: Duration::from_millis(200), ..patience() };
    let model = OpenAiCompatible::new(&base, "tiny", None).unwrap().with_patience(short).unwrap();
    let answer = model.chat(&request("hello"), &Cancellation::new(), &mut |_| {});
    assert!(
        matches!(&answer, Err(ModelError::Unreachable { reason, .. }) if reason.contains("nothing came")),
        "{answer:?}"
    );
}

#[test]
fn nobody_listens() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", closed.local_addr().unwrap());
    drop(closed);
    let model = OpenAiCompatible::new(&base, "tiny", None).unwrap();
    let answer = model.chat(&request("hello"), &Cancellation::new(), &mut |_| {});
    assert!(
        matches!(&answer, Err(ModelError::Unreachable { endpoint, .. }) if base.starts_with(endpoint.as_str())),
        "{answer:?}"
    );
}

#[test]
fn a_stream_that_is_cut_is_an_error_and_what_came_was_heard() {
    let mut cut =
        Answer::new(200, "text/event-stream", format!("data: {}\n\n", delta(json!({ "content": "half" }), None)));
    cut.cut = true;
    // Time for the head and the chunk to leave before the connection breaks.
    (cut.chunk, cut.pause) = (4096, Duration::from_millis(50));
    let mut ends_early = cut.clone();
    ends_early.cut = false;
    let server = Server::start([cut, ends_early]);
    for _ in 0..2 {
        let (answer, events) = ask(&server);
        assert!(matches!(answer, Err(ModelError::Protocol { .. })), "{answer:?}");
        assert_eq!(events, [ChatEvent::Text("half".to_owned())]);
    }
}

#[test]
fn garbage_is_said_to_be_garbage() {
    let server = Server::start([
        Answer::new(200, "text/event-stream", "data: {\"choices\": [oops\n\n"),
        Answer::new(200, "text/html", "<html>It works!</html>"),
        Answer::json(200, "{}"),
        Answer::json(200, "[1, 2]"),
        Answer::new(200, "text/event-stream", ""),
    ]);
    for _ in 0..5 {
        let (answer, _) = ask(&server);
        assert!(matches!(answer, Err(ModelError::Protocol { .. })), "{answer:?}");
    }
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_an_error() {
    let said = delta(json!({ "content": "so far" }), None);
    let server = Server::start([
        Answer::new(
            200,
            "text/event-stream",
            format!("data: {said}\n\ndata: {{\"error\":{{\"code\":500,\"message\":\"out of memory\"}}}}\n\n"),
        ),
        Answer::new(
            200,
            "text/event-stream",
            format!("data: {said}\n\nerror: {{\"error\":{{\"code\":500,\"message\":\"out of memory\"}}}}\n\n"),
        ),
    ]);
    for _ in 0..2 {
        let (answer, _) = ask(&server);
        assert!(
            matches!(&answer, Err(ModelError::Provider { message, .. }) if message == "out of memory"),
            "{answer:?}"
        );
    }
}

#[test]
fn parameters_a_server_refuses_are_left_out() {
    let server = Server::start([
        Answer::json(
            400,
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."}}"#,
        ),
        Answer::json(422, r#"{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#),
        Answer::json(
            400,
            r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.0 with this model."}}"#,
        ),
        whole("at last"),
    ]);
    let (answer, _) = ask(&server);
    assert_eq!(answer.unwrap().message.content, "at last");
    let last = &server.seen()[3].body;
    assert_eq!(last["max_completion_tokens"], 64);
    for gone in ["max_tokens", "stream_options", "temperature"] {
        assert!(last.get(gone).is_none(), "{gone} is still there");
    }
}

#[test]
fn calls_in_pieces_calls_without_index_and_reasoning() {
    let call = |delta: Value| json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [delta] } }] });
    let server = Server::start([Answer::stream(&[
        delta(json!({ "reasoning_content": "Let me " }), None),
        delta(json!({ "reasoning": "look." }), None),
        call(json!({ "index": 0, "id": "a", "function": { "name": "sql", "arguments": "{\"que" } })),
        call(json!({ "index": 1, "id": "b", "function": { "name": "recall", "arguments": { "query": "x" } } })),
        call(json!({ "index": 0, "function": { "arguments": "ry\": \"SELECT 1\"}" } })),
        call(json!({ "index": 0, "id": "c", "function": { "name": "sql", "arguments": "{not json" } })),
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }], "usage": { "prompt_tokens": 5, "completion_tokens": 3 } }),
    ])]);
    let (answer, events) = ask(&server);
    let answer = answer.unwrap();
    let calls: Vec<(&str, &str, String)> = answer
        .message
        .tool_calls
        .iter()
        .map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.to_string()))
        .collect();
    assert_eq!(
        calls,
        [
            ("a", "sql", r#"{"query":"SELECT 1"}"#.to_owned()),
            ("b", "recall", r#"{"query":"x"}"#.to_owned()),
            ("c", "sql", r#""{not json""#.to_owned()),
        ]
    );
    assert_eq!(answer.finish_reason, FinishReason::ToolCalls);
    assert_eq!(answer.usage, Usage { prompt_tokens: 5, completion_tokens: 3 });
    assert_eq!(events[..2], [ChatEvent::Reasoning("Let me ".to_owned()), ChatEvent::Reasoning("look.".to_owned())]);
}

#[test]
fn addresses_that_cannot_be_right_are_refused() {
    for bad in ["ftp://host/v1", "not an address", "http://user:secret@host/v1", ""] {
        let error = OpenAiCompatible::new(bad, "m", None).err().unwrap_or_else(|| panic!("{bad} was accepted"));
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn it_can_be_called_from_inside_a_runtime() {
    let server = Server::start([whole("fine")]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async { ask(&server).0 });
    assert_eq!(answer.unwrap().message.content, "fine");
}

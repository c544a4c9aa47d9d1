//! Facts that the model of a turn finds in it, after the answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use codriver::agent::TurnOptions;
use codriver::agent::facts::Learning;
use codriver_memory::{Fact, Scope};
use serde_json::{Value, json};

use super::fixture::{GO, Script, TEMPLATE, widened, write_random_model};
use super::helpers::{Desk, asked, calls, says};
use super::server::{Answer, Server};

/// A request whose fact no rule sees.
const MOVED: &str = "Since we moved the books, accounts close with the month of March. What was sold?";

fn desk() -> Desk {
    learning(Desk::new())
}

fn learning(desk: Desk) -> Desk {
    desk.session.agents.learner.set(Learning::Model);
    desk
}

fn settle(desk: &Desk) {
    desk.session.agents.learner.settle(&desk.interrupt);
    assert_eq!(desk.session.agents.learner.unread(), 0);
}

fn noted(sentence: usize, text: &str, replaces: usize) -> Value {
    json!({ "sentence": sentence, "text": text, "kind": "fact", "scope": "project", "importance": "high", "replaces": replaces })
}

fn facts(noted: &[Value]) -> String {
    json!({ "facts": noted }).to_string()
}

fn known(desk: &Desk) -> Vec<Fact> {
    desk.session.memory.facts(None).unwrap()
}

fn texts(desk: &Desk) -> Vec<String> {
    known(desk).into_iter().map(|fact| fact.text).collect()
}

fn shown(desk: &mut Desk, line: &str) -> String {
    desk.cell(line).unwrap().result.unwrap().text().to_owned()
}

#[test]
fn the_model_that_answered_reads_the_turn_afterwards() {
    let server =
        Server::start([says("A lot."), says(&facts(&[noted(1, "Our accounts close with the month of March", 0)]))]);
    let mut desk = desk();
    let report = desk.ask(&server, &format!("{MOVED} Remember that our currency is Swiss francs.")).unwrap();
    assert_eq!(report.answer, "A lot.");
    settle(&desk);
    assert_eq!(texts(&desk), ["Our currency is Swiss francs", "Our accounts close with the month of March"]);
    let fact = known(&desk).remove(1);
    assert!(
        fact.reason.contains("you said: \"Since we moved")
            && fact.reason.starts_with("found by the model http://127.0.0.1"),
        "{}",
        fact.reason
    );
    assert_eq!((fact.source.as_str(), fact.scope, fact.importance), ("user", Scope::Project, 0.8));
    let why = shown(&mut desk, &format!("%memory why {}", fact.id.short()));
    assert!(why.contains("from the turn") && why.contains("found by the model"), "{why}");

    // What it was asked: the person's statements and what is known, as JSON of a schema, and nothing else.
    let body = &server.seen()[1].body;
    assert_eq!(
        (&body["response_format"]["type"], &body["response_format"]["json_schema"]["strict"]),
        (&json!("json_schema"), &json!(true))
    );
    let asked = body["messages"][1]["content"].as_str().unwrap();
    assert!(
        asked.contains("1. Since we moved the books") && asked.contains("1. Our currency is Swiss francs"),
        "{asked}"
    );
    assert!(!asked.contains("What was sold") && !asked.contains("A lot."), "{asked}");

    // What it cost, and what left the machine.
    let sent = desk.session.memory.sent(9).unwrap();
    assert_eq!(sent.iter().map(|stored| stored.sent.purpose.as_str()).collect::<Vec<_>>(), ["turn", "facts"]);
    let by_model = shown(&mut desk, "%usage model");
    let row = by_model.lines().find(|line| line.contains("#tiny")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[1..5], ["1", "200", "20", "110"], "one turn, tokens of both calls, of which beside turns: {row}");
    let calls = desk
        .cell("%%sql\nSELECT purpose, prompt_tokens, turn IS NOT NULL AS of_turn FROM memory.model_calls")
        .unwrap()
        .result
        .unwrap();
    assert!(
        calls.text().contains("facts") && calls.text().contains("100") && calls.text().contains("true"),
        "{}",
        calls.text()
    );
}

#[test]
fn a_contradiction_that_only_a_model_sees_supersedes() {
    let server = Server::start([says("Fine."), says(&facts(&[noted(1, "Reports travel by e-mail", 1)]))]);
    let mut desk = desk();
    let old = desk.session.memory.remember("Reports travel on paper", Scope::Project, "user").unwrap();
    desk.ask(&server, "Nobody wants paper any more, reports travel by e-mail").unwrap();
    settle(&desk);
    assert_eq!(texts(&desk), ["Reports travel by e-mail"]);
    let new = known(&desk).remove(0);
    let history = desk.session.memory.why(&new.id).unwrap().unwrap();
    assert_eq!((history.replaced[0].id.clone(), history.replaced[0].superseded_by.clone()), (old, Some(new.id)));
    assert!(server.seen()[1].body.to_string().contains("1. Reports travel on paper"));
}

#[test]
fn what_nobody_said_is_not_believed() {
    let key = "sk-proj-Zq3vX8nT5wYb2KdR7mHc4JfLs9GpAe6UxCiVo1Nt";
    let found = [
        noted(1, "Accounts close with the month of May", 0),
        noted(1, "The password of the server is hunter2", 0),
        noted(7, "Accounts close with the month of March", 0),
        noted(0, "Accounts close with the month of March", 0),
        noted(1, "ok", 0),
        noted(1, "accounts close with\nthe month of March", 0),
        json!({ "sentence": 1, "text": "Accounts close with March" }),
    ];
    let server = Server::start([says("Fine."), says(&format!("Here: {}.", facts(&found)))]);
    let mut desk = desk();
    desk.ask(&server, &format!("{MOVED} And the token {key} is what we send to it.")).unwrap();
    settle(&desk);
    assert_eq!(texts(&desk), ["Accounts close with March"]);
    let body = server.seen()[1].body.to_string();
    assert!(!body.contains(key) && body.contains("[redacted"), "{body}");
}

#[test]
fn nonsense_leaves_what_the_rules_found_and_is_not_asked_for_for_ever() {
    let mut answers = Vec::new();
    for nonsense in
        ["I would rather chat.", "{\"facts\": \"none\"}", "{\"facts\": [{\"sentence\": 1, \"te", "never asked"]
    {
        answers.extend([says("Fine."), says(nonsense)]);
    }
    let server = Server::start(answers);
    let mut desk = desk();
    for number in 0..4 {
        desk.ask(&server, &format!("{MOVED} Remember that region {number} is led by Ada.")).unwrap();
        settle(&desk);
    }
    assert_eq!((texts(&desk).len(), server.seen().len()), (4, 7), "{:?}", texts(&desk));
    assert!(desk.person.events.lock().unwrap().iter().all(|event| !format!("{event:?}").contains("facts")));
}

#[test]
fn a_provider_that_knows_no_schema_is_asked_by_a_tool() {
    let refusal = || {
        Answer::json(
            400,
            r#"{"error":{"message":"This response_format type is unavailable now","type":"invalid_request_error"}}"#,
        )
    };
    let found = || calls("note_facts", json!({ "facts": [noted(1, "Our accounts close with the month of March", 0)] }));
    let server = Server::start([says("One."), refusal(), found(), says("Two."), found()]);
    let mut desk = desk();
    desk.ask(&server, MOVED).unwrap();
    settle(&desk);
    assert_eq!(texts(&desk), ["Our accounts close with the month of March"]);
    assert_eq!(server.seen()[2].body["tool_choice"]["function"]["name"], "note_facts");
    // The next time it is asked so at once.
    desk.ask(&server, MOVED).unwrap();
    settle(&desk);
    assert_eq!((server.seen().len(), texts(&desk).len()), (5, 1));
    assert!(server.seen()[4].body.get("response_format").is_none());
}

#[test]
fn only_what_the_setting_allows_is_asked() {
    let server = Server::start((0..9).map(|_| says("Fine.")));
    let mut desk = desk();
    assert!(shown(&mut desk, "%memory learn").starts_with("model: "));
    for (setting, request, options) in [
        // What runs elsewhere is not asked, nor is anybody.
        ("local", MOVED, TurnOptions::default()),
        ("rules", MOVED, TurnOptions::default()),
        // Nothing remembered may go before a model; and questions tell nothing.
        ("model", MOVED, TurnOptions { no_memory: true, ..TurnOptions::default() }),
        ("model", "What was sold in March, and who sold it?", TurnOptions::default()),
        ("off", "Remember that our currency is Swiss francs.", TurnOptions::default()),
    ] {
        shown(&mut desk, &format!("%memory learn {setting}"));
        let before = server.seen().len();
        desk.ask_with(&server, request, options).unwrap();
        settle(&desk);
        assert_eq!(server.seen().len(), before + 1, "{setting}: {request}");
    }
    assert_eq!(texts(&desk), [""; 0]);
    // A turn that stayed on this machine is not sent anywhere, whatever the current model is.
    shown(&mut desk, "%memory learn model");
    desk.cell(&format!("%model {}", super::helpers::model(&server))).unwrap();
    let before = server.seen().len();
    desk.cell(&format!("%%agent --model starter\n{MOVED}")).unwrap();
    settle(&desk);
    assert_eq!(server.seen().len(), before);
    assert!(desk.cell("%memory learn everything").unwrap_err().value.contains("none of model, local, rules, off"));
    assert!(shown(&mut desk, "%memory stats").contains("found by rules, and by the model"));
}

fn slow(text: &str) -> Answer {
    Answer { pause: Duration::from_millis(400), chunk: 60, ..says(text) }
}

/// Far longer than any wait here, so that nothing but a stop ends it.
fn endless(text: &str) -> Answer {
    Answer { pause: Duration::from_secs(60), ..says(text) }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_person_does_not_wait_and_can_stop_it() {
    let found = facts(&[noted(1, "Our accounts close with the month of March", 0)]);
    let server = Server::start([says("One."), endless(&found), says("Two."), says("Three."), endless(&found)]);
    let mut desk = learning(Desk::attended(&[]));
    desk.ask(&server, MOVED).unwrap();
    wait_until("it is asked", || server.seen().len() == 2);
    // Answered while the other is still read.
    assert_eq!(desk.ask(&server, "And what was sold?").unwrap().answer, "Two.");
    assert_eq!(desk.session.agents.learner.unread(), 1);
    desk.interrupt.trigger();
    wait_until("it is stopped", || desk.session.agents.learner.unread() == 0);
    desk.interrupt.reset();
    assert_eq!(texts(&desk), [""; 0]);
    // The end of a session stops it too. The turns are on record.
    assert_eq!(desk.ask(&server, MOVED).unwrap().answer, "Three.");
    wait_until("it is asked again", || server.seen().len() == 5);
    let memory = desk.session.memory.clone();
    let begin = Instant::now();
    drop(desk);
    assert!(begin.elapsed() < Duration::from_secs(30), "the end waited");
    assert_eq!((memory.facts(None).unwrap().len(), memory.statistics().unwrap().turns), (0, 3));
}

#[test]
fn where_nobody_waits_the_next_turn_knows_what_this_one_told() {
    let found = facts(&[noted(1, "Our accounts close with the month of March", 0)]);
    let server = Server::start([says("One."), slow(&found), says("In March.")]);
    let mut desk = desk();
    desk.ask(&server, MOVED).unwrap();
    desk.ask(&server, "With which month do accounts close?").unwrap();
    let (known, _) = asked(&server, 2);
    assert!(known.contains("Our accounts close with the month of March"), "{known}");
}

fn recordings() -> Option<PathBuf> {
    let shared = std::env::var_os("CODRIVER_SHARED").map_or_else(|| PathBuf::from("../../shared"), PathBuf::from);
    let folder = shared.join("data/wire");
    if !folder.is_dir() {
        eprintln!("SKIPPED: no recordings at {} (set CODRIVER_SHARED)", folder.display());
        return None;
    }
    Some(folder)
}

/// A recorded answer to a chat completion, with `text` for what was said in it, and for the arguments of a tool call.
fn recorded(path: &Path, text: &str) -> Answer {
    #[derive(serde::Deserialize)]
    struct Exchange {
        then: Then,
    }
    #[derive(serde::Deserialize)]
    struct Then {
        status: u16,
        body: String,
    }
    let file = fs_err::read_to_string(path).unwrap();
    let document = serde_yaml_ng::Deserializer::from_str(&file).next().unwrap();
    let Exchange { then } = serde::Deserialize::deserialize(document).unwrap();
    let mut left = Some(text);
    let mut replace = |chunk: &mut Value| {
        for part in ["delta", "message"] {
            let place = format!("/choices/0/{part}");
            if let Some(content) = chunk
                .pointer_mut(&format!("{place}/content"))
                .filter(|content| content.as_str().is_some_and(|text| !text.is_empty()))
            {
                *content = json!(left.take().unwrap_or_default());
            }
            if let Some(function) = chunk.pointer_mut(&format!("{place}/tool_calls/0/function")) {
                *function = json!({ "name": "note_facts", "arguments": left.take().unwrap_or_default() });
            }
        }
    };
    let line = |line: &str, replace: &mut dyn FnMut(&mut Value)| match line
        .strip_prefix("data: ")
        .map(serde_json::from_str::<Value>)
    {
        Some(Ok(mut chunk)) => {
            replace(&mut chunk);
            format!("data: {chunk}\n")
        }
        _ => format!("{line}\n"),
    };
    if then.body.starts_with("data: ") {
        let body: String = then.body.lines().map(|text| line(text, &mut replace)).collect();
        return Answer::new(then.status, "text/event-stream", body + "\n");
    }
    let mut body: Value = serde_json::from_str(&then.body).unwrap();
    replace(&mut body);
    Answer::json(then.status, body.to_string())
}

#[test]
fn what_providers_really_send_is_read() {
    let Some(wire) = recordings() else { return };
    let found = facts(&[noted(1, "Our accounts close with the month of March", 0)]);
    for file in [
        "openai/chat_history_roundtrip_matrix__streaming_gpt_4o_mini_normalized_single_tool.yaml",
        "mistral/history_roundtrip_matrix__streaming_ministral_3b_normalized_text.yaml",
        "llamacpp/response_identity_matrix__streaming_identity.yaml",
        "llamacpp/extractor_usage__extract_with_chat_history_with_usage_works.yaml",
        "deepseek/raw_stream_capture_matrix__stream_raw_exposes_terminal_cache_miss_tokens.yaml",
        "deepseek/agent_tool_sessions__json_object_response_format_roundtrip.yaml",
    ] {
        let server = Server::start([says("One."), recorded(&wire.join(file), &found)]);
        let mut desk = desk();
        desk.ask(&server, MOVED).unwrap();
        settle(&desk);
        assert_eq!(texts(&desk), ["Our accounts close with the month of March"], "{file}");
        let calls = desk.session.memory.sent(9).unwrap();
        assert!(calls[1].sent.prompt_tokens > 0 && calls[1].sent.completion_tokens > 0, "{file}");
    }
    // As it was recorded: JSON, and no facts.
    let file = wire.join("deepseek/agent_tool_sessions__json_object_response_format_roundtrip.yaml");
    let server = Server::start([
        says("One."),
        recorded(&file, "{\"release_lane\": \"canary\", \"checks\": {\"compile\": true}}"),
    ]);
    let mut desk = desk();
    desk.ask(&server, MOVED).unwrap();
    settle(&desk);
    assert_eq!(texts(&desk), [""; 0]);
}

fn ask_local(desk: &mut Desk, folder: &Path) {
    let context = desk.context();
    let options = TurnOptions {
        agent: Some("chat".to_owned()),
        model: Some(folder.display().to_string()),
        tools: Some(Vec::new()),
        max_tokens: Some(200),
        ..TurnOptions::default()
    };
    codriver::agent::run_turn(&mut desk.session, &options, MOVED, &context).unwrap();
}

#[test]
fn a_local_model_is_held_to_the_schema() {
    // It says the same whatever it is asked; the grammar has to admit it, and memory to take it.
    let pieces = [
        r#"{"facts":[{"sentence":1,"#,
        r#""text":"Our accounts close with the month of March","#,
        r#""kind":"fact","#,
        r#""scope":"project","#,
        r#""importance":"high","#,
        r#""replaces":0}]}"#,
    ];
    let (folder, model) = Script { pieces: &pieces, start: GO, template: TEMPLATE }.model();
    drop(model);
    widened(folder.path());
    let mut desk = desk();
    tracing_subscriber::fmt().with_env_filter("codriver=debug").with_test_writer().try_init().unwrap_or_default();
    shown(&mut desk, "%memory learn local");
    ask_local(&mut desk, folder.path());
    settle(&desk);
    assert_eq!(texts(&desk), ["Our accounts close with the month of March"]);
    assert_eq!(desk.session.memory.sent(9).unwrap().len(), 0, "nothing left the machine");
    let calls = desk
        .cell("%%sql\nSELECT count(*) AS n FROM memory.model_calls WHERE completion_tokens > 0")
        .unwrap()
        .result
        .unwrap();
    assert!(calls.text().contains('1'), "{}", calls.text());
}

#[test]
fn a_local_model_of_random_weights_teaches_nothing_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), rand::random());
    widened(folder.path());
    let mut desk = desk();
    ask_local(&mut desk, folder.path());
    settle(&desk);
    assert_eq!(texts(&desk), [""; 0]);
    let calls = desk
        .cell("%%sql\nSELECT count(*) AS n FROM memory.model_calls WHERE completion_tokens > 0")
        .unwrap()
        .result
        .unwrap();
    assert!(calls.text().contains('1'), "{}", calls.text());
}

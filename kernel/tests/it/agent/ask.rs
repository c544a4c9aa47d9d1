//! `codriver ask`, the real binary.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::helpers::{asked, calls, model, says};
use super::server::{Answer, Server};

fn ask(folder: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut child = command(folder, arguments).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn command(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codriver"));
    command
        .arg("ask")
        .args(arguments)
        .current_dir(folder.path())
        .env("CODRIVER_DATA_DIR", folder.path().join("data"))
        .env("CODRIVER_CONFIG_DIR", folder.path().join("config"))
        .env_remove("CODRIVER_MODEL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(
        folder.path().join("setup.sql"),
        "CREATE TABLE sales(region VARCHAR, amount INT);\nINSERT INTO sales VALUES ('north', 42);",
    )
    .unwrap();
    folder
}

#[test]
fn a_request_is_answered_on_standard_output() {
    let server = Server::start([calls("sql", json!({ "query": "SELECT amount FROM sales" })), says("It is 42.")]);
    let folder = folder();
    let output = ask(&folder, &["--setup", "setup.sql", "--model", &model(&server), "how", "much?"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout(&output), "It is 42.\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("✓ sql SELECT amount FROM sales"));
    let messages = server.seen()[1].body["messages"].to_string();
    assert!(messages.contains("how much?") && messages.contains("amount\\n42"), "{messages}");
}

#[test]
fn json_dry_run_and_standard_input() {
    let call = || calls("sql", json!({ "query": "DROP TABLE sales" }));
    let server = Server::start([call(), says("Nothing to do."), call(), says("I may not.")]);
    let folder = folder();
    let model = model(&server);
    let dry = ask(&folder, &["--setup", "setup.sql", "--dry-run", "--model", &model, "-"], "drop it\n");
    assert_eq!(lines(&dry), [json!({ "id": null, "tool": "sql", "arguments": { "query": "DROP TABLE sales" } })]);
    let answer = ask(&folder, &["--dry-run", "--model", &model, "well?"], "");
    assert_eq!(lines(&answer), [json!({ "id": null, "tool": null, "arguments": null, "answer": "Nothing to do." })]);
    assert_eq!(server.seen().len(), 2, "a dry run makes one model call");
    let full = lines(&ask(&folder, &["--setup", "setup.sql", "--json", "--model", &model, "drop it"], "")).remove(0);
    assert_eq!(full["answer"], "I may not.");
    assert_eq!(full["tool_calls"][0]["status"], "denied");
}

#[test]
fn a_batch_answers_every_line_by_itself() {
    let server = Server::start([calls("git_status", json!({})), calls("sql", json!({ "query": "SELECT 1" }))]);
    let folder = folder();
    let requests = "{\"id\": 1, \"request\": \"what changed?\"}\n\nnot json\n{\"id\": \"x\"}\n{\"id\": \"b\", \"request\": \"one\"}\n";
    fs_err::write(folder.path().join("requests.jsonl"), requests).unwrap();
    let output = ask(&folder, &["--dry-run", "--batch", "requests.jsonl", "--model", &model(&server)], "");
    assert!(!output.status.success(), "bad lines must show in the exit code");
    let answers = lines(&output);
    assert_eq!(answers.len(), 4);
    assert_eq!(answers[0], json!({ "id": 1, "tool": "git_status", "arguments": {} }));
    assert!(answers[1]["error"].as_str().unwrap().contains("not JSON"));
    assert_eq!((&answers[2]["id"], answers[2]["error"].is_string()), (&json!("x"), true));
    assert_eq!(answers[3]["tool"], "sql");
    let second = server.seen()[1].body["messages"].to_string();
    assert!(!second.contains("what changed?"), "requests must not know of each other");
}

#[test]
fn what_cannot_work_is_said() {
    let folder = folder();
    for (arguments, expected) in [
        (vec!["--setup", "missing.sql", "x"], "missing.sql"),
        (vec!["--model", "http://127.0.0.1:9/v1#m", "x y z"], "127.0.0.1:9"),
        (vec!["--model", "nowhere", "x y z"], "there is no model"),
    ] {
        let output = ask(&folder, &arguments, "");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{arguments:?}: {error}");
    }
    fs_err::write(folder.path().join("bad.sql"), "SELEC 1").unwrap();
    let output = ask(&folder, &["--setup", "bad.sql", "x"], "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.sql"));
}

#[test]
fn control_c_stops_a_request() {
    let mut slow = says("Once upon a time there was a story without an end.");
    (slow.chunk, slow.pause) = (65, Duration::from_millis(300));
    let server = Server::start([slow]);
    let folder = folder();
    let mut child = command(&folder, &["--model", &model(&server), "a story, please"]).spawn().unwrap();
    drop(child.stdin.take());
    let mut heard = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    let started = Instant::now();
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(!stdout(&output).contains("end"));
}

#[test]
fn agents_and_prompts_of_the_user_go_before_the_built_in_ones() {
    let server = Server::start([says("Aye."), says("Well.")]);
    let folder = folder();
    let config = folder.path().join("config");
    fs_err::create_dir_all(config.join("prompts")).unwrap();
    fs_err::write(config.join("prompts/pirate.j2"), "Talk like a pirate.{% include \"context.j2\" %}").unwrap();
    fs_err::write(config.join("prompts/rules.j2"), "\n- Never use the letter e.").unwrap();
    let pirate = json!([{ "name": "pirate", "description": "a pirate", "template": "pirate.j2", "tools": ["calculate"],
                          "max_turns": 2, "max_tokens": 50 }]);
    fs_err::write(config.join("agents.json"), pirate.to_string()).unwrap();
    let model = model(&server);
    let output = ask(&folder, &["--setup", "setup.sql", "--agent", "pirate", "--model", &model, "where to?"], "");
    assert_eq!(stdout(&output), "Aye.\n", "{}", String::from_utf8_lossy(&output.stderr));
    let system = server.seen()[0].body["messages"][0]["content"].as_str().unwrap().to_owned();
    assert_eq!(system, "Talk like a pirate.");
    assert!(asked(&server, 0).0.contains("sales("), "{:?}", asked(&server, 0));
    ask(&folder, &["--model", &model, "where to?"], "");
    let system = server.seen()[1].body["messages"][0]["content"].as_str().unwrap().to_owned();
    assert!(system.contains("Never use the letter e.") && system.starts_with("You are Codriver"), "{system}");
}

#[test]
fn what_is_said_before_a_tool_runs_is_a_paragraph_of_its_own() {
    let call =
        json!({ "index": 0, "id": "c", "function": { "name": "calculate", "arguments": "{\"expression\":\"1+1\"}" } });
    let both = Answer::stream(&[
        json!({ "choices": [{ "index": 0, "delta": { "content": "Let me see.", "tool_calls": [call] } }] }),
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }),
    ]);
    let server = Server::start([both, says("Two.")]);
    let output = ask(&folder(), &["--model", &model(&server), "1+1?"], "");
    assert_eq!(stdout(&output), "Let me see.\n\nTwo.\n");
}

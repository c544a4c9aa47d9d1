//! What changes something is asked about, and denied where nobody can be asked.

use codriver::languages::rust::RustOptions;
use codriver::session::LazyRust;
use serde_json::json;

use super::helpers::{Desk, calls, last_message, says};
use super::server::{Answer, Server};

fn creates_a_table() -> Vec<Answer> {
    vec![calls("sql", json!({ "query": "CREATE TABLE made AS SELECT 1 AS x" })), says("Done or not.")]
}

fn tables(desk: &Desk) -> Vec<String> {
    desk.session.sql.schema().into_iter().map(|table| table.name).collect()
}

#[test]
fn with_nobody_to_ask_it_is_denied() {
    let server = Server::start(creates_a_table());
    let mut desk = Desk::new();
    let report = desk.ask(&server, "Make a table").unwrap();
    assert!(tables(&desk).is_empty());
    assert_eq!(report.tool_runs[0].status, "denied");
    let told = last_message(&server, 1)["content"].as_str().unwrap().to_owned();
    assert!(told.starts_with("denied: ") && told.contains("nobody can be asked"), "{told}");
    assert!(desk.displays_of("tool")[0].text().contains("denied"));
    let conversation = desk.session.memory.conversations(1).unwrap().remove(0);
    let runs = desk.session.memory.tool_runs(&conversation.id, 10).unwrap();
    assert_eq!((runs[0].status.as_str(), runs[0].run.policy.starts_with("denied")), ("denied", true));
}

#[test]
fn the_person_decides() {
    for (answer, allowed) in [("y", true), ("Yes", true), ("", false), ("n", false), ("maybe", false)] {
        let server = Server::start(creates_a_table());
        let mut desk = Desk::attended(&[answer]);
        desk.ask(&server, "Make a table").unwrap();
        assert_eq!(!tables(&desk).is_empty(), allowed, "answer {answer:?}");
        let questions = desk.person.questions.lock().unwrap().clone();
        assert_eq!(questions.len(), 1);
        assert!(questions[0].contains("sql") && questions[0].contains("CREATE TABLE made"), "{}", questions[0]);
        let told = last_message(&server, 1)["content"].as_str().unwrap().to_owned();
        assert_eq!(told.starts_with("denied: "), !allowed, "{told}");
    }
}

#[test]
fn a_dismissed_question_is_a_no() {
    let server = Server::start(creates_a_table());
    let mut desk = Desk::attended(&[]);
    desk.ask(&server, "Make a table").unwrap();
    assert!(tables(&desk).is_empty());
}

#[test]
fn reading_does_not_ask_and_running_rust_does() {
    let server = Server::start([
        calls("sql", json!({ "query": "SELECT 1" })),
        calls("run_rust", json!({ "code": "1 + 1" })),
        says("Fine."),
    ]);
    let mut desk = Desk::attended(&["n"]);
    desk.ask(&server, "Compute").unwrap();
    let questions = desk.person.questions.lock().unwrap().clone();
    assert_eq!(questions.len(), 1);
    assert!(questions[0].contains("run_rust") && questions[0].contains("1 + 1"), "{}", questions[0]);
}

#[test]
fn files_outside_the_workspace_and_files_in_sql_stay_out_of_reach() {
    let server = Server::start([
        calls("read_file", json!({ "path": "../../../etc/passwd" })),
        calls("read_file", json!({ "path": "/etc/passwd" })),
        calls("sql", json!({ "query": "SELECT * FROM read_csv('/etc/passwd')" })),
        calls("sql", json!({ "query": "COPY (SELECT 1) TO 'out.csv'" })),
        says("No way."),
    ]);
    let mut desk = Desk::new();
    desk.ask(&server, "Read passwords").unwrap();
    let everything = format!("{:?}", server.seen().last().unwrap().body);
    assert!(!everything.contains("root:"), "a file outside was read");
    assert!(!desk.workspace.path().join("out.csv").exists());
}

#[test]
fn rust_that_was_allowed_runs_in_the_session() {
    let server = Server::start([
        calls("run_rust", json!({ "code": "let answer = 6 * 7; println!(\"it is {answer}\");" })),
        calls("run_rust", json!({ "code": "let x: i32 = \"no number\";" })),
        says("Both tried."),
    ]);
    let mut desk = Desk::attended(&["y", "y"]);
    desk.session.rust = LazyRust::new(RustOptions {
        runtime: Some(env!("CARGO_BIN_EXE_codriver").into()),
        workspace: Some(desk.workspace.path().to_owned()),
        ..RustOptions::default()
    });
    let report = desk.ask(&server, "Try it").unwrap();
    let told = |number: usize| last_message(&server, number)["content"].as_str().unwrap().to_owned();
    assert_eq!(told(1), "it is 42");
    assert!(told(2).starts_with("error: ") && told(2).contains("E0308"), "{}", told(2));
    let statuses: Vec<&str> = report.tool_runs.iter().map(|run| run.status).collect();
    assert_eq!(statuses, ["ok", "failed"]);
    let variables = desk.session.rust.variables();
    assert!(variables.iter().any(|variable| variable.starts_with("answer:")), "{variables:?}");
}

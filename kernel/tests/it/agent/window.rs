//! How a window is packed, condensed and shown.

use codriver_memory::Scope;
use serde_json::json;

use super::helpers::{Desk, asked, calls, says};
use super::server::Server;

/// What stood before the `number`th request (from 0).
fn known(server: &Server, number: usize) -> String {
    asked(server, number).0
}

/// Turns that take `tokens` each, and then one more.
fn long_talk(desk: &mut Desk, server: &Server, turns: usize) {
    for number in 0..turns {
        let request = match number {
            0 => "Find out why revenue fell in March. All amounts must be in EUR.".to_owned(),
            1 => "Use gross revenue from now on.".to_owned(),
            _ => format!("And what about region {number}?"),
        };
        desk.ask(server, &request).unwrap();
    }
}

fn long_answers(count: usize) -> Vec<super::server::Answer> {
    (0..count)
        .map(|number| says(&format!("Region {number} fell. {}", "It is so and not otherwise. ".repeat(320))))
        .collect()
}

#[test]
fn documents_link_to_what_a_front_end_opens() {
    let server = Server::start([says("In the morning.")]);
    let mut desk = Desk::new();
    fs_err::create_dir(desk.workspace.path().join("old songs")).unwrap();
    fs_err::write(desk.workspace.path().join("old songs/walrus.md"), "# Songs\n\nThe walrus sings at dawn.\n").unwrap();
    desk.cell("%knowledge add .").unwrap();
    desk.ask(&server, "When does the walrus sing?").unwrap();
    let items = &desk.session.agents.last_turn.as_ref().unwrap().context;
    let chunk = items.iter().find(|item| item.kind == "chunk").unwrap();
    assert_eq!(chunk.details.link.as_deref(), Some("old%20songs/walrus.md"));
}

#[test]
fn the_window_is_shown_part_by_part_with_reasons() {
    let server = Server::start([says("Because."), says("Again.")]);
    let mut desk = Desk::new();
    desk.sql("CREATE TABLE sales(month VARCHAR, revenue INT); INSERT INTO sales VALUES ('March', 1)");
    desk.session.memory.remember("Revenue is booked in EUR.", Scope::Global, "user").unwrap();
    desk.ask(&server, "Why did revenue drop in sales?").unwrap();
    let card = desk.displays_of("context").remove(0);
    assert!(card.text().contains("of 32,768 tokens"), "{}", card.text());
    let shown = desk.text("%context");
    for part in ["the system prompt", "the tools", "the request", "the session's state", "what was retrieved"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("a table the request names") && shown.contains("matches the request by"), "{shown}");
    let items = &desk.session.agents.last_turn.as_ref().unwrap().context;
    let fact = items.iter().find(|item| item.kind == "fact").unwrap();
    assert!(
        (fact.details.bm25.is_some() || fact.details.cosine.is_some())
            && fact.details.rank == 1
            && fact.details.key.starts_with("fact:"),
        "{fact:?}"
    );
    // What the parts come to is the prompt.
    let parts: usize = items.iter().filter(|item| item.dropped.is_none()).map(|item| item.tokens).sum();
    let whole = desk.session.agents.last_turn.as_ref().unwrap().prompts[0].0.len() / 4;
    assert!(parts.abs_diff(whole) < whole / 50, "{parts} and {whole}");
    let kept =
        desk.session.memory.last_turn(&desk.session.agents.last_turn.as_ref().unwrap().conversation.clone().unwrap());
    assert_eq!(&kept.unwrap().unwrap().turn.context, items);
}

#[test]
fn what_is_pinned_stays_and_what_is_dropped_goes() {
    let server = Server::start([says("One."), says("Two."), says("Three."), says("Four.")]);
    let mut desk = Desk::new();
    desk.sql("CREATE TABLE sales(month VARCHAR); CREATE TABLE costs(month VARCHAR)");
    desk.session.memory.remember("The fiscal year starts in April.", Scope::Global, "user").unwrap();
    desk.ask(&server, "When does the fiscal year start?").unwrap();
    let number = |desk: &Desk, wanted: &str| {
        let items = &desk.session.agents.last_turn.as_ref().unwrap().context;
        items.iter().position(|item| item.text.contains(wanted)).unwrap() + 1
    };
    let (fact, table) = (number(&desk, "fiscal year starts"), number(&desk, "costs("));
    desk.cell(&format!("%context pin {fact}")).unwrap();
    desk.cell(&format!("%context drop #{table}")).unwrap();
    desk.ask(&server, "Something else entirely, please: zebras?").unwrap();
    assert!(known(&server, 1).contains("fiscal year starts") && !known(&server, 1).contains("costs("));
    let listed = desk.text("%context choices");
    assert!(listed.contains("pinned") && listed.contains("dropped") && listed.contains("costs"), "{listed}");
    let fact = number(&desk, "fiscal year starts");
    desk.cell(&format!("%context unpin {fact}")).unwrap();
    desk.ask(&server, "More about zebras?").unwrap();
    assert!(!known(&server, 2).contains("fiscal year starts"));
    assert!(desk.cell("%context pin 99").unwrap_err().value.contains("1 to"));
    assert!(desk.cell("%context pin 1").unwrap_err().value.contains("always there"));
    assert!(desk.cell("%context pinn 1").unwrap_err().value.contains("did you mean pin"));
    // A fact that was forgotten is not told, pinned or not.
    desk.ask(&server, "When does the fiscal year start?").unwrap();
    let fact = number(&desk, "fiscal year starts");
    desk.cell(&format!("%context pin {fact}")).unwrap();
    let id = desk.session.memory.facts(None).unwrap().remove(0).id;
    desk.session.memory.forget(&id).unwrap();
    let server = Server::start([says("Five.")]);
    desk.ask(&server, "And now?").unwrap();
    assert!(!known(&server, 0).contains("fiscal year starts"));
}

#[test]
fn a_long_conversation_is_condensed_by_the_model_and_nothing_settled_is_lost() {
    let condensed = json!({
        "task": "Find out why revenue fell in March.", "constraints": ["North only"],
        "decisions": ["gross revenue"], "open_steps": ["look at returns"], "summary": "All regions fell."
    });
    let answers = long_answers(6).into_iter().chain([says(&format!("Here you are: {condensed}")), says("Seven.")]);
    let server = Server::start(answers.collect::<Vec<_>>());
    let mut desk = Desk::new();
    long_talk(&mut desk, &server, 7);
    let asked = server.seen().len();
    assert_eq!(asked, 8, "one more call, to condense");
    let told = known(&server, 7);
    for part in [
        "Task: Find out why revenue fell",
        "All amounts must be in EUR.",
        "- North only",
        "- look at returns",
        "All regions fell.",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let card = desk.displays_of("compaction").remove(0);
    assert!(card.text().contains("turns 1 to") && card.text().contains("instead of"), "{}", card.text());
    // Its prompt is on record, and what went over the network too.
    let prompts = &desk.session.agents.last_turn.as_ref().unwrap().prompts;
    assert!(prompts.len() == 2 && prompts[0].0.contains("You condense"), "{}", prompts.len());
    assert!(desk.text("%context ledger").contains("compaction"));
    let conversation = desk.session.agents.last_turn.as_ref().unwrap().conversation.clone().unwrap();
    assert_eq!(desk.session.memory.turns(&conversation, 100).unwrap().len(), 7, "the turns themselves stay");
}

#[test]
fn nonsense_from_the_model_is_condensed_by_rules_and_can_be_edited_and_undone() {
    let answers =
        long_answers(6).into_iter().chain([says("I would rather not."), says("Seven."), says("Eight."), says("Nine.")]);
    let server = Server::start(answers.collect::<Vec<_>>());
    let mut desk = Desk::new();
    long_talk(&mut desk, &server, 7);
    let told = known(&server, 7);
    assert!(
        told.contains("Task: Find out why revenue fell in March.") && told.contains("- Use gross revenue from now on."),
        "{told}"
    );
    let items = &desk.session.agents.last_turn.as_ref().unwrap().context;
    let compaction = items.iter().find(|item| item.kind == "compaction").unwrap();
    assert!(compaction.dropped.is_none() && compaction.tokens < 4000, "{compaction:?}");

    let edit = desk.cell("%context edit").unwrap();
    let cell = edit.payload[0]["text"].as_str().unwrap().to_owned();
    assert!(cell.starts_with("%%context edit\nTask: "), "{cell}");
    desk.cell(&cell.replace("All amounts must be in EUR.", "All amounts must be in CHF.")).unwrap();
    desk.ask(&server, "And?").unwrap();
    assert!(known(&server, 8).contains("in CHF.") && !known(&server, 8).contains("in EUR."));

    assert!(desk.text("%context undo").contains("as they were again"));
    desk.ask(&server, "And then?").unwrap();
    assert_eq!(server.seen().len(), 10, "nothing is condensed after an undo");
    let told = &server.seen()[9].body["messages"];
    assert!(!known(&server, 9).contains("condensed") && told.to_string().contains("And?"));
}

#[test]
fn any_turn_can_be_looked_at_and_compared() {
    let server = Server::start([says("One."), says("Two.")]);
    let mut desk = Desk::new();
    desk.ask(&server, "First question?").unwrap();
    desk.sql("CREATE TABLE late(x INT)");
    desk.ask(&server, "Second question?").unwrap();
    let first = desk.text("%context 1");
    assert!(first.contains("First question?") && !first.contains("late("), "{first}");
    assert!(desk.text("%context list").contains("Second question?"));
    let difference = desk.text("%context diff 1");
    assert!(difference.contains("late(x INTEGER)") && difference.contains("turn 1"), "{difference}");
    assert!(desk.cell("%context 7").unwrap_err().value.contains("no turn 7"));
    assert!(desk.text("%context --prompt 1").contains("First question?"));
}

#[test]
fn the_ledger_knows_what_left_the_machine() {
    let server = Server::start([calls("sql", json!({ "query": "SELECT * FROM sales" })), says("Two rows.")]);
    let mut desk = Desk::new();
    assert!(desk.text("%context ledger").contains("nothing has left"));
    desk.sql("CREATE TABLE sales(month VARCHAR, revenue INT); INSERT INTO sales VALUES ('March', 1), ('April', 2)");
    desk.ask(&server, "What is in sales?").unwrap();
    let sent: Vec<_> = desk.session.memory.sent(10).unwrap().into_iter().map(|stored| stored.sent).collect();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].rows, sent[0].columns.as_slice()), (2, &["sales.month".to_owned()][..]));
    assert_eq!((sent[1].rows, sent[1].columns.len()), (4, 3));
    assert!(sent[0].destination.starts_with("127.0.0.1:") && sent[0].prompt_tokens == 50, "{:?}", sent[0]);
    // The starter stays at home.
    let before = sent.len();
    desk.cell("%%agent --model starter\nhow many rows has sales?").unwrap();
    assert_eq!(desk.session.memory.sent(10).unwrap().len(), before);
}

#[test]
fn cells_that_are_out_of_date_are_named() {
    let server = Server::start([says("Run it again.")]);
    let mut desk = Desk::new();
    desk.session.runs.note(1, Some("a"), "%%sql\ncreate table sales as from 'a.csv'");
    desk.session.runs.note(2, Some("b"), "%%sql\nselect sum(amount) from sales");
    desk.session.runs.note(3, Some("a"), "%%sql\ncreate or replace table sales as from 'b.csv'");
    desk.ask(&server, "What is the total?").unwrap();
    assert!(known(&server, 0).contains("read sales, made anew by [3]"), "{}", known(&server, 0));
}

#[test]
fn what_leaves_the_machine_and_what_is_kept_is_without_secrets() {
    let key = "sk-proj-Zq3vX8nT5wYb2KdR7mHc4JfLs9GpAe6UxCiVo1Nt";
    let server =
        Server::start([calls("sql", json!({ "query": "SELECT * FROM settings" })), says("I see nothing secret.")]);
    let mut desk = Desk::new();
    desk.sql(&format!("CREATE TABLE settings AS SELECT 'api_key' AS name, '{key}' AS setting"));
    desk.ask(&server, &format!("Is OPENAI_API_KEY={key} set?")).unwrap();
    for request in server.seen() {
        assert!(!request.body.to_string().contains(key), "{}", request.body);
    }
    let conversation = desk.session.agents.last_turn.as_ref().unwrap().conversation.clone().unwrap();
    let kept = format!("{:?}", desk.session.memory.turns(&conversation, 10).unwrap());
    assert!(!kept.contains(key) && kept.contains("OPENAI_API_KEY"), "{kept}");
}

/// Half of a secret is not recognized any more: whatever is cut is clean before.
#[test]
fn what_is_cut_is_without_secrets_before() {
    let key = "ghp_Zq3vX8nT5wYb2KdR7mHc4JfLs9GpAe6UxCiV";
    let piece = &key[..12];
    let server = Server::start([calls("sql", json!({ "query": "SELECT * FROM notes" })), says("Fine."), says("Fine.")]);
    let mut desk = Desk::new();
    desk.sql(&format!("CREATE TABLE notes AS SELECT repeat('x ', 92) || '{key} and more' AS note"));
    for fill in ["", " this week"] {
        let request = format!("Tell me what is in the notes of mine{fill}. My token is {key}");
        assert!(request.find(key).unwrap() < 80 && request.len() > 80, "the title is cut within the key");
        desk.ask(&server, &request).unwrap();
    }
    for card in desk.displays_of("context") {
        assert!(!format!("{card:?}").contains(piece), "{card:?}");
    }
    let shown = desk.text("%context");
    assert!(shown.contains("My token is [redacted: GitHub token]"), "{shown}");
    let conversation = desk.session.agents.last_turn.as_ref().unwrap().conversation.clone().unwrap();
    let kept = format!("{:?}", desk.session.memory.turns(&conversation, 10).unwrap());
    assert!(!kept.contains(piece), "{kept}");
    for request in server.seen() {
        assert!(!request.body.to_string().contains(piece), "{}", request.body);
    }
    for table in ["turns", "messages", "context_items", "facts", "tool_runs"] {
        let rows = desk.session.memory.table_rows(table, codriver_memory::Whose::ThisProject, 0, 99).unwrap().rows;
        assert!(!format!("{rows:?}").contains(piece), "{table}: {rows:?}");
    }
}

/// Its facts are before the model, are shown and pinned, and are in no file.
#[test]
fn what_only_the_session_knows_is_in_no_file_and_in_every_turn() {
    let server =
        Server::start([says("Blue."), says("As you said: SESSMARK is the code word of the launch."), says("Blue.")]);
    let data = tempfile::tempdir().unwrap();
    let mut desk = Desk::new();
    let options = codriver::session::SessionOptions {
        workspace: desk.workspace.path().to_owned(),
        data_folder: Some(data.path().to_owned()),
    };
    desk.session = codriver::session::Session::without_rust(&options).unwrap();
    desk.session.agents.learner.set(codriver::agent::facts::Learning::Rules);
    desk.cell("%memory --scope session remember SESSMARK is the code word of the launch").unwrap();
    desk.ask(&server, "Which code word has the launch?").unwrap();
    let shown = desk.text("%context");
    let line = shown.lines().find(|line| line.contains("SESSMARK") && line.contains("fact")).unwrap();
    let number = line.split_whitespace().next().unwrap().to_owned();
    desk.cell(&format!("%context pin {number}")).unwrap();
    desk.ask(&server, "And which code word once more?").unwrap();
    desk.ask(&server, "Something else entirely: what is the weather?").unwrap();
    for number in 0..3 {
        assert!(known(&server, number).contains("SESSMARK is the code word"), "{}", known(&server, number));
    }
    for line in ["%context 1", "%context 2", "%context --prompt", "%context choices", "%context diff 1 2"] {
        assert!(desk.text(line).contains("SESSMARK"), "{line}");
    }
    let files = || {
        let mut found = Vec::new();
        let mut folders = vec![data.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder).unwrap() {
                let file = entry.unwrap().path();
                match file.is_dir() {
                    true => folders.push(file),
                    false if fs_err::read(&file).unwrap().windows(8).any(|window| window == b"SESSMARK") => {
                        found.push(file)
                    }
                    false => {}
                }
            }
        }
        found
    };
    assert_eq!(files(), [std::path::PathBuf::new(); 0], "while it lasts: a killed kernel leaves nothing");
    drop(desk);
    assert_eq!(files(), [std::path::PathBuf::new(); 0]);
}

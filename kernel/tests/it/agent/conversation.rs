//! Turns that follow each other, and the magics around them.

use std::path::Path;
use std::sync::Arc;

use codriver::agent::{ModelManager, TurnOptions, run_turn};
use codriver_inference::Cancellation;
use codriver_memory::Scope;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fixture::{GO, Script, TEMPLATE, widened, write_random_model};
use super::helpers::{Desk, asked, calls, model, parts, says};
use super::server::{Answer, Server};

fn said(server: &Server, number: usize) -> Vec<(String, String)> {
    let messages = server.seen()[number].body["messages"].clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    messages
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .map(|message| (text(&message["role"]), parts(&text(&message["content"])).1.to_owned()))
        .collect()
}

fn line(role: &str, text: &str) -> (String, String) {
    (role.to_owned(), text.to_owned())
}

#[test]
fn an_agent_knows_what_was_said_until_it_is_reset() {
    let server = Server::start([says("Blue."), says("You asked."), says("Nothing."), says("Anew.")]);
    let mut desk = Desk::new();
    desk.ask(&server, "What colour is the sky?").unwrap();
    desk.ask(&server, "What did I ask?").unwrap();
    assert_eq!(
        said(&server, 1),
        [line("user", "What colour is the sky?"), line("assistant", "Blue."), line("user", "What did I ask?")]
    );
    desk.ask_with(&server, "And now?", TurnOptions { no_memory: true, ..TurnOptions::default() }).unwrap();
    assert_eq!(said(&server, 2), [line("user", "And now?")]);
    desk.cell("%agent reset").unwrap();
    desk.ask(&server, "Who are you?").unwrap();
    assert_eq!(said(&server, 3), [line("user", "Who are you?")]);
}

/// A model that has read it goes on from there: only what is new is read.
#[test]
fn what_comes_before_the_request_stays_while_the_session_changes() {
    let server = Server::start([says("One."), says("Two.")]);
    let mut desk = Desk::new();
    desk.sql("CREATE TABLE sales(month VARCHAR)");
    desk.ask(&server, "What is in sales?").unwrap();
    desk.sql("CREATE TABLE costs(month VARCHAR)");
    fs_err::write(desk.workspace.path().join("new.txt"), "new").unwrap();
    desk.session.memory.remember("Costs are booked in May.", Scope::Global, "user").unwrap();
    desk.ask(&server, "And in costs?").unwrap();
    let [first, second] = [0, 1].map(|number| server.seen()[number].body.clone());
    assert_eq!(first["messages"][0], second["messages"][0]);
    assert_eq!(first["tools"], second["tools"]);
    assert_eq!(second["messages"][1]["content"], "What is in sales?", "nothing that changes stands before it");
    let (known, request) = asked(&server, 1);
    assert_eq!(request, "And in costs?");
    for new in ["costs(month", "new.txt", "booked in May"] {
        assert!(known.contains(new) && !asked(&server, 0).0.contains(new), "{new}: {known}");
    }
    // What is kept of the request is the request.
    let recorded = desk.session.agents.last_turn.as_ref().unwrap().conversation.clone().unwrap();
    let kept = desk.session.memory.last_turn(&recorded).unwrap().unwrap();
    assert_eq!(kept.turn.request, "And in costs?");
    assert_eq!(kept.turn.messages[0].content, "And in costs?");
}

#[test]
fn turns_that_failed_are_not_told() {
    let server = Server::start([Answer::json(404, "no"), says("Fine.")]);
    let mut desk = Desk::new();
    desk.ask(&server, "Are you there?").unwrap_err();
    desk.ask(&server, "And now?").unwrap();
    assert_eq!(said(&server, 1), [line("user", "And now?")]);
    let items = &desk.session.agents.last_turn.as_ref().unwrap().context;
    assert!(items.iter().any(|item| item.dropped.as_deref() == Some("that turn failed")), "{items:?}");
}

#[test]
fn cells_name_agents_flags_and_requests() {
    let server = Server::start([says("one"), says("two"), says("three")]);
    let mut desk = Desk::new();
    let model = model(&server);
    desk.cell(&format!("%%agent --model {model} --max-tokens 12 chat why, {{x}} and {{y}}?\nsecond line")).unwrap();
    assert_eq!(said(&server, 0), [line("user", "why, {x} and {y}?\nsecond line")]);
    assert_eq!(server.seen()[0].body["max_tokens"], 12);
    let tools = server.seen()[0].body["tools"].to_string();
    assert!(!tools.contains("run_rust"), "chat must not run code");
    desk.cell(&format!("%agent --model {model} --tools none list all that you know")).unwrap();
    assert_eq!(said(&server, 1), [line("user", "list all that you know")]);
    assert!(server.seen()[1].body.get("tools").is_none());
    desk.cell(&format!("%%agent --model {model} --no-memory\nIt's \"quoted\" & <odd>")).unwrap();
    assert_eq!(said(&server, 2), [line("user", "It's \"quoted\" & <odd>")]);
}

#[test]
fn agents_are_listed_chosen_and_looked_back_on() {
    let server = Server::start([says("Hello.")]);
    let mut desk = Desk::new();
    let list = desk.cell("%agent list").unwrap().result.unwrap();
    for name in ["codriver", "chat", "code"] {
        assert!(list.text().contains(name), "{}", list.text());
    }
    assert!(desk.cell("%agent use nobody").unwrap_err().value.contains("no agent"));
    desk.cell("%agent use code").unwrap();
    desk.cell(&format!("%agent --model {} who?", model(&server))).unwrap();
    let history = desk.cell("%agent history").unwrap().result.unwrap();
    assert!(history.text().contains("who?") && history.text().contains("Hello."), "{}", history.text());
}

#[test]
fn what_begins_like_a_subcommand_is_not_sent_to_a_model() {
    let server = Server::start([says("Yours?"), says("A list."), says("Histories."), says("On the line.")]);
    let mut desk = Desk::new();
    desk.cell(&format!("%model {}", model(&server))).unwrap();
    for (line, explained) in [
        ("%agent resume nosuch", "%agent resume ID"),
        ("%agent resume", "no earlier conversation"),
        ("%agent resume ab", "first 4 characters"),
        ("%agent resume ab12 cd34", "%agent resume ID"),
        ("%agent history abc", "%agent history N"),
        ("%agent history -3", "%agent history N"),
        ("%agent use", "%agent use NAME"),
        ("%agent use two names", "one name"),
        ("%agent use cood", "Did you mean \"code\"?"),
        ("%agent reset nobody", "there is no agent \"nobody\""),
        ("%agent reset cood", "did you mean code?"),
        ("%agent list agents", "takes nothing behind it"),
        ("%agent conversations all", "takes nothing behind it"),
        ("%agent histroy", "did you mean history?"),
        ("%agent resme ab12cd34", "did you mean resume?"),
        ("%agent lsit", "did you mean list?"),
    ] {
        let error = desk.cell(line).unwrap_err();
        assert!(error.value.contains(explained), "{line}: {}", error.value);
    }
    assert_eq!(server.seen().len(), 0, "nothing left the machine");
    // What is meant for a model still reaches it: on a line, with flags, in a cell.
    desk.cell("%agent whose history is this?").unwrap();
    desk.cell("%agent --tools none list what you know").unwrap();
    desk.cell("%%agent\nhistory of sales").unwrap();
    desk.cell("%%agent list the tables\n").unwrap();
    let asked: Vec<(String, String)> = (0..4).map(|number| said(&server, number).pop().unwrap()).collect();
    let requests = ["whose history is this?", "list what you know", "history of sales", "list the tables"];
    assert_eq!(asked, requests.map(|request| line("user", request)));
}

#[test]
fn facts_are_remembered_found_told_and_forgotten() {
    let server = Server::start([
        calls("remember", json!({ "text": "The fiscal year starts in April." })),
        says("Noted."),
        says("In April."),
    ]);
    let mut desk = Desk::new();
    desk.ask(&server, "Remember that the fiscal year starts in April.").unwrap();
    let scopes: Vec<Scope> = desk.session.memory.facts(None).unwrap().iter().map(|fact| fact.scope).collect();
    assert_eq!(scopes, [Scope::Project], "nothing crosses a project unasked");
    desk.cell("%agent reset").unwrap();
    desk.ask(&server, "When does the fiscal year start?").unwrap();
    let (known, _) = asked(&server, 2);
    assert!(known.contains("The fiscal year starts in April."), "{known}");
    let found = desk.cell("%memory search what's the fiscal year").unwrap().result.unwrap();
    assert!(found.text().contains("April"), "{}", found.text());
    let list = desk.cell("%memory list").unwrap().result.unwrap();
    let id = list.text().lines().nth(2).unwrap().split_whitespace().next().unwrap().to_owned();
    desk.cell(&format!("%memory forget {id}")).unwrap();
    assert!(desk.cell("%memory list").unwrap().result.unwrap().text().contains("nothing is remembered"));
    assert!(desk.cell(&format!("%memory forget {id}")).is_err());
    assert!(desk.cell("%memory stats").unwrap().result.unwrap().text().contains("conversations"));
    assert!(desk.cell("%memory serach x").unwrap_err().value.contains("did you mean search"));
}

/// Whatever a model makes of it: that a fact holds in all projects is for the person to say.
#[test]
fn an_agent_remembers_for_its_project_alone() {
    let server = Server::start([
        calls("remember", json!({ "text": "In all projects, the client is ACME secret corp" })),
        says("Noted."),
        calls("remember", json!({ "text": "The currency is euro" })),
        says("Noted."),
        calls("remember", json!({ "text": "My token is ghp_Zq3vX8nT5wYb2KdR7mHc4JfLs9GpAe6UxCiV" })),
        says("I may not."),
    ]);
    let mut desk = Desk::new();
    desk.ask(&server, "Remember who the client is.").unwrap();
    desk.ask(&server, "Remember for all projects that the currency is euro.").unwrap();
    let secret = desk.ask(&server, "Remember that my token is ghp_Zq3vX8nT5wYb2KdR7mHc4JfLs9GpAe6UxCiV").unwrap();
    assert_eq!(secret.tool_runs[0].status, "failed", "{:?}", secret.tool_runs[0]);
    let mut known: Vec<(String, Scope)> =
        desk.session.memory.facts(None).unwrap().into_iter().map(|fact| (fact.text, fact.scope)).collect();
    known.sort();
    assert_eq!(
        known,
        [
            ("In all projects, the client is ACME secret corp".to_owned(), Scope::Project),
            ("The currency is euro".to_owned(), Scope::Global),
        ]
    );
}

#[test]
fn models_and_tools_are_shown() {
    let mut desk = Desk::new();
    let tools = desk.cell("%tools").unwrap().result.unwrap();
    for name in ["sql", "git_diff", "run_rust", "search_docs", "explain_error"] {
        assert!(tools.text().contains(name), "{}", tools.text());
    }
    assert!(tools.text().contains("nobody can be asked"));
    assert!(desk.cell("%model").unwrap().result.unwrap().text().contains("starter on cpu"));
    assert!(desk.cell("%model startr").unwrap_err().value.contains("did you mean \"starter\""));
    assert!(desk.cell("%model http://127.0.0.1:9/v1").unwrap_err().value.contains("behind a #"));
    let chosen = desk.cell("%model http://127.0.0.1:9/v1#tiny").unwrap().result.unwrap();
    assert!(chosen.text().contains("http://127.0.0.1:9/v1#tiny"), "{}", chosen.text());
    let list = desk.cell("%model list").unwrap().result.unwrap();
    assert!(list.text().contains("starter") && list.text().contains("#tiny"), "{}", list.text());
    assert_eq!(desk.cell("%agent anybody there?").unwrap_err().name, "ModelError");
}

/// A local model that says one word.
fn speaker(word: &str) -> TempDir {
    let (folder, model) = Script { pieces: &[word], start: GO, template: TEMPLATE }.model();
    drop(model);
    widened(folder.path());
    folder
}

/// What the current model says.
fn spoken(desk: &mut Desk) -> String {
    let context = desk.context();
    let options =
        TurnOptions { agent: Some("chat".to_owned()), tools: Some(Vec::new()), fresh: true, ..TurnOptions::default() };
    run_turn(&mut desk.session, &options, "Say it.", &context).unwrap().answer
}

#[test]
fn a_model_whose_files_were_replaced_is_read_again_when_it_is_chosen() {
    let (folder, other) = (speaker("before"), speaker("afterwards"));
    let mut desk = Desk::new();
    let choose = format!("%model {}", folder.path().display());
    desk.cell(&choose).unwrap();
    assert_eq!(spoken(&mut desk), "before");
    for file in fs_err::read_dir(other.path()).unwrap() {
        let file = file.unwrap();
        fs_err::rename(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    assert_eq!(spoken(&mut desk), "before", "what is loaded answers until it is chosen again");
    desk.cell(&choose).unwrap();
    assert_eq!(spoken(&mut desk), "afterwards");
}

#[test]
fn what_nobody_needs_any_more_is_let_go_of_and_never_while_it_is_asked() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [chosen, of_an_agent, aside] = folders.each_ref().map(|folder| {
        write_random_model(folder.path(), 5);
        folder.path().display().to_string()
    });
    let models = ModelManager::new(Path::new("."), vec![of_an_agent.clone()]);
    let held = |name: Option<&str>| Arc::downgrade(&models.get(name, &Cancellation::new()).unwrap());
    models.choose(&chosen, &[], Default::default(), None).unwrap();
    let [first, agents, other] = [held(None), held(Some(&of_an_agent)), held(Some(&aside))];
    assert!([&first, &agents, &other].iter().all(|model| model.strong_count() == 1));
    assert!(first.ptr_eq(&held(None)) && other.ptr_eq(&held(Some(&aside))), "nothing is loaded twice");
    // Somebody asks it while another is chosen, and it is chosen again.
    let asking = first.upgrade().unwrap();
    models.choose("starter", &[], Default::default(), None).unwrap();
    assert_eq!((agents.strong_count(), other.strong_count()), (1, 0), "what an agent is defined with stays");
    asking.count_tokens("it still works");
    let leaving: Vec<bool> = models.list().iter().flat_map(|entry| &entry.loaded).map(|model| model.leaving).collect();
    assert_eq!(leaving.iter().filter(|leaving| **leaving).count(), 1, "{leaving:?}");
    models.choose(&chosen, &[], Default::default(), None).unwrap();
    assert!(first.ptr_eq(&held(None)), "it is kept again");
    drop(asking);
    assert_eq!(first.strong_count(), 1);
    models.choose("starter", &[], Default::default(), None).unwrap();
    assert_eq!(first.strong_count(), 0, "its memory is given back");
}

#[test]
fn models_are_unloaded_and_the_list_says_what_is_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 6);
    let name = folder.path().display().to_string();
    let mut desk = Desk::new();
    let load = |desk: &Desk| drop(desk.session.agents.models.get(None, &Cancellation::new()).unwrap());
    for rounding in ["--quant q8_0", "--kv f16"] {
        desk.cell(&format!("%model {name} {rounding}")).unwrap();
        load(&desk);
    }
    let list = desk.text("%model list");
    assert!(list.contains("loaded, keys and values as f16, on cpu: ") && list.contains(" kB"), "{list}");
    assert_eq!(list.matches("loaded").count(), 1, "{list}");
    let code = "%model unload ";
    let offered = codriver::cells::complete(&desk.session, code, code.len());
    let offered: Vec<String> = offered.matches.into_iter().map(|completion| completion.text).collect();
    assert_eq!(offered, [name.clone()]);
    let error = desk.cell("%model unload nobody").unwrap_err().value;
    assert!(error.contains("nobody is not loaded; loaded: ") && error.contains(&name), "{error}");
    let unloaded = desk.text(&format!("%model unload {name}"));
    assert!(unloaded.contains(&format!("{name}, loaded, keys and values as f16, on cpu")), "{unloaded}");
    assert!(!desk.text("%model list").contains("loaded"));
    assert!(desk.text("%model unload").contains("no model is loaded"));
    load(&desk);
    assert!(desk.text("%model list").contains("loaded, keys"), "asked again, it is loaded again");
}

#[test]
fn the_last_error_and_the_help_are_at_hand() {
    let server = Server::start([
        calls("explain_error", json!({})),
        calls("search_docs", json!({ "query": "attach a bigger model" })),
        says("I see."),
    ]);
    let mut desk = Desk::new();
    desk.cell("%%sql\nSELECT missing FROM nowhere").unwrap_err();
    let cell = format!("%%agent --model {}\nWhat went wrong?", model(&server));
    desk.cell(&cell).unwrap();
    let told = |number: usize| super::helpers::last_message(&server, number)["content"].as_str().unwrap().to_owned();
    assert!(told(1).contains("nowhere") && told(1).contains("Catalog Error"), "{}", told(1));
    assert!(told(2).contains("%model http://"), "{}", told(2));
}

#[test]
fn the_budget_decides_what_is_told() {
    let server = Server::start([says("I see.")]);
    let mut desk = Desk::new();
    for number in 0..6 {
        let fact = format!("Fact {number} about zebras. {}", "Zebras have stripes. ".repeat(300));
        desk.session.memory.remember(&fact, Scope::Global, "test").unwrap();
    }
    desk.ask(&server, "What about zebras?").unwrap();
    let items = desk.session.agents.last_turn.as_ref().unwrap().context.clone();
    let items: Vec<_> = items.into_iter().filter(|item| item.details.section == "retrieved").collect();
    let used: usize = items.iter().filter(|item| item.dropped.is_none()).map(|item| item.tokens).sum();
    let dropped: Vec<_> = items.iter().filter(|item| item.dropped.is_some()).collect();
    assert!(used <= 6000 && used > 3000, "{used} tokens are used");
    assert!(!dropped.is_empty() && dropped.iter().all(|item| item.dropped.as_ref().unwrap().contains("budget")));
    let (known, _) = asked(&server, 0);
    for item in &items {
        assert_eq!(known.contains(&item.text), item.dropped.is_none(), "{}", &item.text[..20]);
    }
}

#[test]
fn a_prompt_that_is_too_long_for_the_server_is_made_shorter() {
    let overflow = || {
        Answer::json(
            400,
            r#"{"error":{"code":400,"message":"too long","n_ctx":512,"n_prompt_tokens":2009,"type":"exceed_context_size_error"}}"#,
        )
    };
    let server = Server::start([overflow(), overflow(), says("Short enough.")]);
    let mut desk = Desk::new();
    for table in ["alpha", "beta", "gamma"] {
        desk.sql(&format!("CREATE TABLE {table}(x INT)"));
    }
    let report = desk.ask(&server, "What is in alpha?").unwrap();
    assert_eq!(report.answer, "Short enough.");
    let last = server.seen()[2].body["messages"].clone();
    let (known, request) = parts(last[1]["content"].as_str().unwrap());
    assert!(known.contains("alpha(") && !(known.contains("beta(") && known.contains("gamma(")), "{known}");
    assert_eq!(request, "What is in alpha?");
    let items = &desk.session.agents.last_turn.as_ref().unwrap().context;
    assert_eq!(items.iter().filter(|item| item.dropped.is_some()).count(), 2);
}

#[test]
fn facts_are_replaced_explained_promoted_and_edited() {
    let mut desk = Desk::new();
    let mut said = |line: &str| {
        desk.cell(line).map(|outcome| outcome.result.unwrap().text().to_owned()).map_err(|error| error.value)
    };
    said("%memory remember The deadline is Friday").unwrap();
    let replaced = said("%memory remember The deadline isn't on the list").unwrap();
    assert!(replaced.starts_with("remembered as"), "{replaced}");
    assert!(replaced.contains("only until this session ends"), "a desk has no file: {replaced}");
    let replaced = said("%memory remember The deadline is Monday").unwrap();
    assert!(
        replaced.contains("in place of \"The deadline is Friday\"") && replaced.contains("now Monday"),
        "{replaced}"
    );
    let id = replaced.split_whitespace().nth(2).unwrap().to_owned();
    let why = said(&format!("%memory why {id}")).unwrap();
    assert!(why.contains("The deadline is Monday (project)") && why.contains("The deadline is Friday"), "{why}");
    assert!(said("%memory history").unwrap().contains("The deadline is Friday"));
    let promoted = said(&format!("%memory promote {id}")).unwrap();
    assert!(promoted.contains("everywhere"), "{promoted}");
    let id = promoted.split("as ").nth(1).unwrap().split(':').next().unwrap().to_owned();
    assert!(said(&format!("%memory promote {id}")).unwrap_err().contains("already"));
    assert!(said(&format!("%memory pin {id}")).unwrap().starts_with("pinned"));
    let edited = said(&format!("%memory edit {id} The deadline is Tuesday, isn't it")).unwrap();
    assert!(edited.starts_with("it is "), "{edited}");
    let list = said("%memory list --scope global").unwrap();
    assert!(list.contains("📌 The deadline is Tuesday") && !list.contains("Monday"), "{list}");
    assert!(said("%memory list --scope session").unwrap().contains("nothing"));
    assert!(said("%memory cleanup").unwrap().contains("nothing to clean up"));
    assert!(
        said("%memory list --scope nowhere").is_err()
            && said("%memory why").is_err()
            && said("%memory show zzzz").is_err()
    );
    // Too little of an identifier names no fact.
    let before = said("%memory list").unwrap();
    for line in ["%memory edit 2 Something else", "%memory forget a", "%memory pin 7", "%memory promote abc"] {
        let error = said(line).unwrap_err();
        assert!(error.contains("first 4 characters"), "{line}: {error}");
    }
    assert_eq!(said("%memory list").unwrap(), before);
}

#[test]
fn an_earlier_conversation_is_listed_and_resumed() {
    let server = Server::start([says("It was May."), says("A new start."), says("As I said, May.")]);
    let mut desk = Desk::new();
    desk.ask(&server, "Which month was best?").unwrap();
    let conversations = desk.session.memory.conversations(9).unwrap();
    let first = conversations[0].id.clone();
    let ask_anew = TurnOptions { fresh: true, ..TurnOptions::default() };
    desk.ask_with(&server, "Something else", ask_anew).unwrap();
    let list = desk.cell("%agent conversations").unwrap().result.unwrap().text().to_owned();
    assert!(list.contains("Which month was best?") && list.contains("Something else"), "{list}");
    let resumed = desk.cell("%agent resume").unwrap().result.unwrap().text().to_owned();
    assert!(resumed.contains(first.short()) && resumed.contains("Which month was best?"), "{resumed}");
    desk.ask(&server, "Which one, again?").unwrap();
    let sent = server.seen()[2].body["messages"].to_string();
    assert!(sent.contains("It was May.") && !sent.contains("A new start."), "{sent}");
    assert_eq!(desk.session.memory.turns(&first, 9).unwrap().len(), 2);
    assert!(desk.cell("%agent resume 00000000").unwrap_err().value.contains("knows no conversation"));
}

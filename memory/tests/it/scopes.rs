//! What is seen from where.

use codriver_memory::{
    ContextItem, Fact, FactId, ItemDetails, Memory, MemoryError, NewChunk, NewMessage, NewToolRun, NewTurn, Outcome,
    RuleExtractor, Scope, Whose,
};
use serde_json::json;

use crate::support::{files_with, folder, of_project, turn};

fn texts(memory: &Memory) -> Vec<(String, Scope)> {
    memory.facts(None).unwrap().into_iter().map(|fact| (fact.text, fact.scope)).collect()
}

fn found(memory: &Memory, query: &str) -> usize {
    memory.search(query, 20).unwrap().len()
}

#[test]
fn nothing_crosses_a_project_unasked() {
    let (_folder, path) = folder();
    let one = of_project(&path, "one");
    one.remember("The zebra lives in one", Scope::Project, "user").unwrap();
    one.remember("The walrus is everywhere", Scope::Global, "user").unwrap();
    one.add_chunks("notes.md", &[NewChunk::new("", "a zebra document")], Scope::Project).unwrap();
    let conversation = one.start_conversation("codriver", "a.ipynb").unwrap();
    one.append_turn(&turn(&conversation, "where is the zebra", "in one")).unwrap();
    assert_eq!((found(&one, "zebra"), found(&one, "walrus"), one.conversations(9).unwrap().len()), (3, 1, 1));
    drop(one);

    let other = of_project(&path, "other");
    assert_eq!((found(&other, "zebra"), found(&other, "walrus"), other.conversations(9).unwrap().len()), (0, 1, 0));
    assert_eq!(texts(&other), [("The walrus is everywhere".to_owned(), Scope::Global)]);
    // The same name of a document is another document.
    other.add_chunks("notes.md", &[NewChunk::new("", "a yak document")], Scope::Project).unwrap();
    assert!(matches!(other.find_conversation(conversation.short()), Err(MemoryError::Unknown { .. })));
    drop(other);

    let one = of_project(&path, "one");
    assert_eq!((found(&one, "zebra"), found(&one, "yak")), (3, 0));
    let statistics = one.statistics().unwrap();
    assert_eq!((statistics.facts, statistics.project_facts, statistics.chunks), (2, 1, 2));
}

#[test]
fn nothing_crosses_a_project_while_both_are_open() {
    let (_folder, path) = folder();
    let holder = of_project(&path, "one");
    let other = of_project(&path, "other");
    holder.remember("The zebra lives in one", Scope::Project, "user").unwrap();
    other.remember("The yak lives in the other", Scope::Project, "user").unwrap();
    other.remember("The walrus is everywhere", Scope::Global, "user").unwrap();
    assert_eq!((found(&other, "zebra"), found(&other, "yak"), found(&other, "walrus")), (0, 1, 1));
    assert_eq!((found(&holder, "zebra"), found(&holder, "yak"), found(&holder, "walrus")), (1, 0, 1));
    drop(holder);
    drop(other);
    let other = of_project(&path, "other");
    assert_eq!((found(&other, "zebra"), found(&other, "yak"), found(&other, "walrus")), (0, 1, 1));
}

#[test]
fn a_fact_is_promoted_step_by_step_and_is_one_fact_after_it() {
    let (_folder, path) = folder();
    let one = of_project(&path, "one");
    let id = one.remember("Amounts are in thousands", Scope::Session, "user").unwrap();
    let (fact, scope) = one.promote_fact(&FactId::from(id.short()), None).unwrap();
    assert_eq!((fact.scope, scope), (Scope::Project, Scope::Project));
    assert_eq!(texts(&one), [("Amounts are in thousands".to_owned(), Scope::Project)]);
    drop(one);
    let one = of_project(&path, "one");
    assert_eq!(one.statistics().unwrap().session_facts, 0);
    let (fact, _) = one.promote_fact(&fact.id, None).unwrap();
    assert_eq!(texts(&one), [("Amounts are in thousands".to_owned(), Scope::Global)]);
    assert!(matches!(one.promote_fact(&fact.id, None), Err(MemoryError::NoPromotion { .. })));
    assert!(matches!(one.promote_fact(&FactId::from("nothing"), None), Err(MemoryError::Unknown { .. })));
    // What is known everywhere is not kept here once more.
    assert_eq!(one.remember("amounts are in  thousands.", Scope::Project, "agent").unwrap(), fact.id);
    assert_eq!(one.remember("amounts are in thousands", Scope::Session, "agent").unwrap(), fact.id);
    let history = one.why(&fact.id).unwrap().unwrap();
    assert_eq!(history.replaced.iter().map(|fact| fact.scope).collect::<Vec<_>>(), [Scope::Project]);
    assert!(history.fact.reason.contains("promoted from project"), "{}", history.fact.reason);
    drop(one);
    assert_eq!(texts(&of_project(&path, "other")), [("Amounts are in thousands".to_owned(), Scope::Global)]);
}

#[test]
fn a_project_may_differ_from_what_holds_everywhere() {
    let (_folder, path) = folder();
    let one = of_project(&path, "one");
    one.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    let here = one.remember("Amounts are in dollars", Scope::Project, "user").unwrap();
    let hits: Vec<String> = one.search("amounts", 5).unwrap().into_iter().map(|hit| hit.text).collect();
    assert_eq!(hits, ["Amounts are in dollars"]);
    let history = one.why(&here).unwrap().unwrap();
    let texts = |facts: &[Fact]| facts.iter().map(|fact| fact.text.clone()).collect::<Vec<_>>();
    assert_eq!(
        (texts(&history.stands_before), texts(&history.replaced)),
        (vec!["Amounts are in euro".to_owned()], vec![])
    );
    drop(one);
    let other = of_project(&path, "other");
    assert_eq!(other.search("amounts", 5).unwrap()[0].text, "Amounts are in euro");
}

#[test]
fn a_session_ends_with_what_it_knew() {
    let (_folder, path) = folder();
    let one = of_project(&path, "one");
    let outcome = one
        .remember_fact(&codriver_memory::NewFact::new("The frame is called jan", Scope::Session, "agent"))
        .unwrap()
        .outcome;
    assert_eq!(outcome, Outcome::New);
    assert_eq!(found(&one, "frame"), 1);
    drop(one);
    assert_eq!(found(&of_project(&path, "one"), "frame"), 0);
}

#[test]
fn what_was_said_in_a_project_is_the_projects() {
    let (_folder, path) = folder();
    let one = of_project(&path, "one");
    let conversation = one.start_conversation("codriver", "a.ipynb").unwrap();
    one.append_turn(&turn(&conversation, "Which turbine is loudest?", "Turbine four.")).unwrap();
    one.remember("Turbines are loud", Scope::Global, "user").unwrap();
    let scopes = |memory: &Memory| {
        let mut scopes: Vec<(&str, Scope)> =
            memory.search("turbine turbines", 9).unwrap().iter().map(|hit| (hit.kind, hit.scope)).collect();
        scopes.sort();
        scopes
    };
    let expected = [("fact", Scope::Global), ("message", Scope::Project), ("message", Scope::Project)];
    assert_eq!(scopes(&one), expected);
    drop(one);
    // Read from the database, too, and not seen from elsewhere.
    assert_eq!(scopes(&of_project(&path, "one")), expected);
    assert_eq!(scopes(&of_project(&path, "other")), [("fact", Scope::Global)]);
}

/// A client told in one project is not known in another, whoever noted it.
#[test]
fn what_rules_find_stays_in_its_project_unless_it_is_the_persons_own() {
    let (_folder, path) = folder();
    let one = of_project(&path, "one");
    one.remember("The fiscal year starts in July.", Scope::Project, "user").unwrap();
    let conversation = one.start_conversation("codriver", "a.ipynb").unwrap();
    let request = "Remember that the client is ACME secret corp. I prefer ACME's invoices in short tables. \
                   My name is Ada and our fiscal year starts in October.";
    let told = turn(&conversation, request, "Noted.");
    let id = one.append_turn(&told).unwrap();
    one.learn(&id, &told, &RuleExtractor).unwrap();
    let mut known = texts(&one);
    known.sort();
    assert_eq!(
        known,
        [
            ("I prefer ACME's invoices in short tables".to_owned(), Scope::Project),
            ("My name is Ada".to_owned(), Scope::Global),
            ("Our fiscal year starts in October".to_owned(), Scope::Project),
            ("The client is ACME secret corp".to_owned(), Scope::Project),
        ]
    );
    drop(one);
    assert_eq!(texts(&of_project(&path, "other")), [("My name is Ada".to_owned(), Scope::Global)]);
}

/// What a turn repeats of it included: its context, its prompt, results and answers.
#[test]
fn what_only_the_session_knows_is_in_no_file() {
    const FACT: &str = "The launch is called \"SESSMARK\" \u{2013} until Friday";
    const LINE: &str = "DOCMARK is what the draft calls it";
    let (_folder, path) = folder();
    let memory = of_project(&path, "one");
    let id = memory.remember(FACT, Scope::Session, "user").unwrap();
    let piece = NewChunk::new("Draft", format!("A short line\n{LINE}\n\nand more of the draft than \"anybody\" reads"));
    memory.add_chunks("draft.md", std::slice::from_ref(&piece), Scope::Session).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let item = |kind: &str, key: &str, title: &str, text: String| ContextItem {
        kind: kind.to_owned(),
        origin: "here".to_owned(),
        title: title.to_owned(),
        text,
        score: None,
        tokens: 7,
        dropped: None,
        details: ItemDetails { key: key.to_owned(), ..ItemDetails::default() },
    };
    let context = vec![
        item("fact", &format!("fact:{id}"), "", format!("- {FACT}")),
        item("chunk", "chunk:draft.md#0", "Draft", format!("- Draft: {}", piece.text)),
    ];
    let result = format!("{FACT}\nDraft (draft.md:1): {}", piece.text);
    let answer = format!("As you said: {FACT}, and {}", LINE.to_uppercase());
    let message = |role: &str, content: &str| NewMessage {
        role: role.to_owned(),
        content: content.to_owned(),
        json: Some(json!({ "role": role, "content": content })),
    };
    let told = NewTurn {
        prompt: format!("<|system|>{}\n{}\n{}", context[0].text, context[1].text, json!([FACT, piece.text])),
        messages: vec![message("user", "How is it called?"), message("tool", &result), message("assistant", &answer)],
        context,
        ..turn(&conversation, "How is it called?", &answer)
    };
    let run = NewToolRun {
        conversation: conversation.clone(),
        tool: "recall".to_owned(),
        arguments: json!({ "query": FACT }),
        policy: "allowed".to_owned(),
    };
    let run = memory.start_tool_run(&run).unwrap();
    memory.finish_tool_run(&run, "ok", &result, 3).unwrap();
    memory.append_turn(&told).unwrap();
    memory.write_note(&conversation, "choices", &json!({ "pins": [told.context[0]] })).unwrap();

    for mark in ["SESSMARK", "DOCMARK is what", "more of the draft"] {
        assert_eq!(files_with(&path, mark), [""; 0], "{mark}");
    }
    // While it lasts, everything reads as it was.
    let stored = memory.turn(&conversation, 1).unwrap().unwrap().turn;
    assert_eq!((&stored.context, &stored.answer, &stored.messages), (&told.context, &told.answer, &told.messages));
    assert!(
        stored.prompt.starts_with(&format!("<|system|>- {FACT}\n- Draft: A short line\n{LINE}")),
        "{}",
        stored.prompt
    );
    assert_eq!(memory.last_turn(&conversation).unwrap().unwrap().turn, stored);
    assert_eq!(memory.turns(&conversation, 9).unwrap()[0].turn, stored);
    assert_eq!(memory.earlier_turns(&conversation, 0, 9).unwrap()[0].answer, answer);
    assert_eq!(memory.recent_messages(&conversation, 9).unwrap()[1].content, result);
    let kept = memory.tool_runs(&conversation, 9).unwrap().remove(0);
    assert_eq!((kept.result, kept.run.arguments), (result, json!({ "query": FACT })));
    let note = memory.note(&conversation, "choices").unwrap().unwrap();
    assert_eq!(note["pins"][0]["text"], format!("- {FACT}"));
    let rows = memory.table_rows("context_items", Whose::ThisProject, 0, 9).unwrap();
    assert!(format!("{:?}", rows.rows).contains("SESSMARK"));
    assert!(memory.search("as you said", 9).unwrap().iter().any(|hit| hit.kind == "message" && hit.text == answer));

    // What is promoted is known for good, and what is said of it later is written.
    let (kept, _) = memory.promote_fact(&id, None).unwrap();
    memory.append_turn(&turn(&conversation, "And now?", &format!("Now everyone knows: {FACT}"))).unwrap();
    assert!(!files_with(&path, "SESSMARK").is_empty());
    memory.forget(&kept.id).unwrap();
    drop(memory);

    // Afterwards nobody can tell what stood there.
    let memory = of_project(&path, "one");
    let stored = memory.turn(&conversation, 1).unwrap().unwrap().turn;
    assert!(!format!("{stored:?}").contains("SESSMARK") && !format!("{stored:?}").contains("DOCMARK is"), "{stored:?}");
    assert!(
        stored.answer.contains("[known to session ") && stored.answer.contains("As you said: "),
        "{}",
        stored.answer
    );
    assert_eq!(stored.request, "How is it called?");
}

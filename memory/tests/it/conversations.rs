use codriver_memory::{
    ContextItem, ConversationId, ItemDetails, Memory, MemoryError, Mode, NewToolRun, Sent, ToolRunId,
};
use serde_json::json;

use crate::support::{folder, turn};

#[test]
fn a_turn_comes_back_as_it_was_after_a_restart() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(memory.mode(), Mode::Durable);
    let conversation = memory.start_conversation("analyst", "sales.ipynb").unwrap();
    let mut new = turn(&conversation, "Which month was best? 'quoted' \"twice\" \u{0} 🎉", "May; DROP TABLE turns;--");
    new.context = vec![
        ContextItem {
            kind: "fact".into(),
            origin: "user".into(),
            title: String::new(),
            text: "Months are named in English".into(),
            score: Some(0.75),
            tokens: 6,
            dropped: None,
            details: ItemDetails { key: "fact:1".into(), rank: 1, cosine: Some(0.5), ..ItemDetails::default() },
        },
        ContextItem {
            kind: "chunk".into(),
            origin: "help/sql.md".into(),
            title: "Frames".into(),
            text: "...".into(),
            score: None,
            tokens: 900,
            dropped: Some("over the budget of 512 tokens".into()),
            details: ItemDetails::default(),
        },
    ];
    let id = memory.append_turn(&new).unwrap();
    drop(memory);

    let memory = Memory::open(&path, None).unwrap();
    let stored = memory.last_turn(&conversation).unwrap().unwrap();
    assert_eq!(stored.id, id);
    assert_eq!(stored.turn, new);
    let messages = memory.recent_messages(&conversation, 10).unwrap();
    assert_eq!(messages.iter().map(|message| message.role.as_str()).collect::<Vec<_>>(), ["user", "tool", "assistant"]);
    assert_eq!(messages[0].json, new.messages[0].json);
    let conversations = memory.conversations(10).unwrap();
    assert_eq!(
        (conversations[0].agent.as_str(), conversations[0].notebook.as_str(), conversations[0].turns),
        ("analyst", "sales.ipynb", 1)
    );
}

#[test]
fn notes_and_the_ledger_survive_a_restart() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let other = memory.start_conversation("codriver", "b.ipynb").unwrap();
    memory.write_note(&conversation, "choices", &json!({ "pins": [1] })).unwrap();
    memory.write_note(&conversation, "choices", &json!({ "pins": [2] })).unwrap();
    let sent = Sent {
        conversation: Some(conversation.clone()),
        destination: "api.example.com".into(),
        model: "large".into(),
        purpose: "turn".into(),
        bytes: 1200,
        prompt_tokens: 300,
        completion_tokens: 20,
        rows: 7,
        columns: vec!["sales.month".into(), "sales.revenue".into()],
    };
    memory.record_sent(&sent).unwrap();
    drop(memory);

    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(memory.note(&conversation, "choices").unwrap(), Some(json!({ "pins": [2] })));
    assert_eq!(memory.note(&other, "choices").unwrap(), None);
    assert_eq!(memory.note(&conversation, "compactions").unwrap(), None);
    assert_eq!(memory.sent(10).unwrap().into_iter().map(|stored| stored.sent).collect::<Vec<_>>(), [sent]);
}

#[test]
fn recent_messages_are_the_last_ones_in_order() {
    let memory = Memory::in_memory(None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let other = memory.start_conversation("codriver", "b.ipynb").unwrap();
    for number in 0..5 {
        memory.append_turn(&turn(&conversation, &format!("question {number}"), &format!("answer {number}"))).unwrap();
        memory.append_turn(&turn(&other, "elsewhere", "elsewhere")).unwrap();
    }
    let contents: Vec<String> =
        memory.recent_messages(&conversation, 4).unwrap().into_iter().map(|message| message.content).collect();
    assert_eq!(contents, ["answer 3", "question 4", "42 rows", "answer 4"]);
    let requests: Vec<String> =
        memory.turns(&conversation, 2).unwrap().into_iter().map(|turn| turn.turn.request).collect();
    assert_eq!(requests, ["question 3", "question 4"]);
    assert_eq!(memory.turns(&conversation, usize::MAX).unwrap().len(), 5);
}

#[test]
fn a_reset_hides_what_was_said_and_keeps_the_record() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    memory.append_turn(&turn(&conversation, "the old zebra", "old")).unwrap();
    assert_eq!(memory.search("zebra", 5).unwrap().len(), 1);
    memory.reset_conversation(&conversation).unwrap();
    assert_eq!(memory.search("zebra", 5).unwrap(), []);
    memory.append_turn(&turn(&conversation, "the new zebra", "new")).unwrap();
    drop(memory);

    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(memory.recent_messages(&conversation, 10).unwrap().len(), 3);
    assert_eq!(
        memory.search("zebra", 5).unwrap().iter().map(|hit| hit.text.as_str()).collect::<Vec<_>>(),
        ["the new zebra"]
    );
    assert_eq!(memory.turns(&conversation, 10).unwrap().len(), 2);
    assert!(memory.conversations(1).unwrap()[0].reset_at.is_some());
}

#[test]
fn tool_runs_are_on_record_from_their_start() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let run = NewToolRun {
        conversation: conversation.clone(),
        tool: "sql".into(),
        arguments: json!({"query": "SELECT 1", "limit": 18_446_744_073_709_551_615_u64}),
        policy: "allowed: reads only".into(),
    };
    let first = memory.start_tool_run(&run).unwrap();
    memory.finish_tool_run(&first, "ok", "1 row", 12).unwrap();
    let second = memory.start_tool_run(&run).unwrap();
    let runs = memory.tool_runs(&conversation, 10).unwrap();
    assert_eq!(runs.iter().map(|run| run.status.as_str()).collect::<Vec<_>>(), ["ok", "running"]);
    assert_eq!((&runs[0].run, runs[0].result.as_str(), runs[0].milliseconds), (&run, "1 row", 12));
    drop(memory);

    let memory = Memory::open(&path, None).unwrap();
    let runs = memory.tool_runs(&conversation, 1).unwrap();
    assert_eq!((&runs[0].id, runs[0].status.as_str()), (&second, "lost"));
}

#[test]
fn what_does_not_exist_is_an_error() {
    let memory = Memory::in_memory(None).unwrap();
    let nowhere = ConversationId::from("nowhere");
    assert!(matches!(
        memory.append_turn(&turn(&nowhere, "a", "b")),
        Err(MemoryError::Unknown { what: "conversation", .. })
    ));
    assert!(matches!(memory.reset_conversation(&nowhere), Err(MemoryError::Unknown { .. })));
    let run = ToolRunId::from("nothing");
    let error = memory.finish_tool_run(&run, "ok", "", 1).unwrap_err();
    assert_eq!(error.to_string(), "memory knows no tool run nothing");
    assert_eq!(memory.last_turn(&nowhere).unwrap(), None);
}

//! With a key, nothing that was said or read is in any file.

use std::sync::Arc;

use codriver_memory::{
    Collections, ContextItem, MasterKey, Memory, MemoryError, MemoryOptions, Mode, NewChunk, NewToolRun, Scope, Vault,
};
use serde_json::json;

use crate::support::{Topics, files_with, folder, turn, with_key};

/// One word for everything that can be kept.
const WORDS: [&str; 12] = [
    "requestzebra",
    "answerzebra",
    "promptzebra",
    "contextzebra",
    "titlezebra",
    "argumentzebra",
    "resultzebra",
    "factzebra",
    "chunkzebra",
    "documentzebra",
    "notebookzebra",
    "sourcezebra",
];

/// Keeps something with each of [`WORDS`].
fn fill(memory: &Memory) -> codriver_memory::ConversationId {
    let conversation = memory.start_conversation("codriver", "notebookzebra.ipynb").unwrap();
    let mut turn = turn(&conversation, "a requestzebra", "an answerzebra");
    turn.prompt = "a promptzebra".into();
    turn.context = vec![ContextItem {
        kind: "fact".into(),
        origin: "here".into(),
        title: "titlezebra".into(),
        text: "contextzebra".into(),
        score: Some(0.5),
        tokens: 3,
        dropped: None,
        details: Default::default(),
    }];
    memory.append_turn(&turn).unwrap();
    let run = NewToolRun {
        conversation: conversation.clone(),
        tool: "sql".into(),
        arguments: json!({"q": "argumentzebra"}),
        policy: "allowed".into(),
    };
    let id = memory.start_tool_run(&run).unwrap();
    memory.finish_tool_run(&id, "ok", "resultzebra", 1).unwrap();
    memory.remember("a factzebra rains in the storm", Scope::Global, "sourcezebra").unwrap();
    memory.add_chunks("documentzebra.md", &[NewChunk::new("Chunk", "chunkzebra of sales")], Scope::Project).unwrap();
    conversation
}

fn check(memory: &Memory, conversation: &codriver_memory::ConversationId) {
    let stored = memory.last_turn(conversation).unwrap().unwrap().turn;
    assert_eq!(
        (stored.request.as_str(), stored.answer.as_str(), stored.prompt.as_str()),
        ("a requestzebra", "an answerzebra", "a promptzebra")
    );
    assert_eq!(
        (stored.context[0].title.as_str(), stored.messages[0].content.as_str()),
        ("titlezebra", "a requestzebra")
    );
    let run = memory.tool_runs(conversation, 1).unwrap().remove(0);
    assert_eq!((run.run.arguments, run.result.as_str()), (json!({"q": "argumentzebra"}), "resultzebra"));
    let fact = memory.facts(None).unwrap().remove(0);
    assert_eq!((fact.text.as_str(), fact.source.as_str()), ("a factzebra rains in the storm", "sourcezebra"));
    let hit = memory.search("chunkzebra", 1).unwrap().remove(0);
    assert_eq!((hit.origin.as_str(), hit.id.as_str()), ("documentzebra.md", "documentzebra.md#0"));
    assert_eq!(memory.conversations(1).unwrap()[0].notebook, "notebookzebra.ipynb");
    assert_eq!(memory.conversations(1).unwrap()[0].first_request, "a requestzebra");
}

#[test]
fn nothing_that_was_said_or_read_is_in_any_file() {
    let key = MasterKey::random();
    let (_folder, path) = folder();
    let topics = Arc::new(Topics::default());
    let memory = Memory::open_with(MemoryOptions { embedder: Some(topics.clone()), ..with_key(&path, &key) }).unwrap();
    let conversation = fill(&memory);
    // The log first, then, after a second process, journals and all.
    let beside = Memory::open_with(with_key(&path, &key)).unwrap();
    assert!(matches!(beside.mode(), Mode::Shared { .. }));
    fill(&beside);
    for word in WORDS {
        assert_eq!(files_with(&path, word), [""; 0], "{word}");
    }
    assert!(path.with_extension("duckdb.wal").exists());
    drop(memory);
    drop(beside);
    for word in WORDS {
        assert_eq!(files_with(&path, word), [""; 0], "{word}");
    }
    let memory = Memory::open_with(MemoryOptions { embedder: Some(topics), ..with_key(&path, &key) }).unwrap();
    let statistics = memory.statistics().unwrap();
    assert_eq!(
        (statistics.turns, statistics.tool_runs, statistics.encrypted, statistics.pending_journals),
        (2, 2, true, 0)
    );
    check(&memory, &conversation);
    // Not even a vector: it says what the text is about.
    assert!(memory.search("weather", 1).unwrap()[0].cosine.unwrap() > 0.9);
    drop(memory);
    // Without encryption the same test finds all of them: it looks in the right places.
    let (_folder, path) = folder();
    fill(&Memory::open(&path, None).unwrap());
    for word in WORDS {
        assert!(!files_with(&path, word).is_empty(), "{word}");
    }
}

#[test]
fn without_the_key_nothing_is_opened_and_nothing_changes() {
    let key: MasterKey = "correct horse battery staple".parse().unwrap();
    let (_folder, path) = folder();
    let memory = Memory::open_with(with_key(&path, &key)).unwrap();
    let conversation = fill(&memory);
    let files = || {
        let mut files: Vec<_> =
            std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.retain(|file| file.extension().is_none_or(|extension| extension != "lock"));
        files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect::<Vec<_>>()
    };
    // Beside the holder, then alone.
    let mut holder = Some(memory);
    for _ in 0..2 {
        let before = files();
        let error = Memory::open(&path, None).err().unwrap();
        assert!(matches!(error, MemoryError::KeyMissing { .. }), "{error:?}");
        assert!(error.to_string().contains("CODRIVER_MEMORY_KEY"), "{error}");
        for wrong in [MasterKey::random(), "wrong horse battery staple".parse().unwrap()] {
            let error = Memory::open_with(with_key(&path, &wrong)).err().unwrap();
            assert!(matches!(error, MemoryError::WrongKey { .. }), "{error:?}");
        }
        assert_eq!(files(), before);
        drop(holder.take());
    }
    check(&Memory::open_with(with_key(&path, &key)).unwrap(), &conversation);
}

#[test]
fn the_database_alone_knows_that_it_is_encrypted() {
    let key = MasterKey::random();
    let (_folder, path) = folder();
    let conversation = fill_and_close(&path, &key);
    let beside = path.with_extension("duckdb.vault");
    std::fs::remove_file(&beside).unwrap();
    assert!(matches!(Memory::open(&path, None).err().unwrap(), MemoryError::KeyMissing { .. }));
    check(&Memory::open_with(with_key(&path, &key)).unwrap(), &conversation);
    assert!(beside.exists());
    // A damaged file beside it is said, and nothing is lost.
    std::fs::write(&beside, "{").unwrap();
    let error = Memory::open_with(with_key(&path, &key)).err().unwrap();
    assert!(
        matches!(&error, MemoryError::Vault { .. }) && error.to_string().contains(beside.to_str().unwrap()),
        "{error}"
    );
    std::fs::remove_file(&beside).unwrap();
    check(&Memory::open_with(with_key(&path, &key)).unwrap(), &conversation);
}

#[test]
fn a_memory_that_is_there_is_encrypted_gets_another_key_and_is_opened_again() {
    let (data, path) = folder();
    let topics = Arc::new(Topics::default());
    let memory = Memory::open(&path, Some(topics.clone())).unwrap();
    let conversation = fill(&memory);
    memory.back_up_if_due().unwrap().unwrap();
    let (first, second): (MasterKey, MasterKey) =
        ("correct horse battery staple".parse().unwrap(), MasterKey::random());
    let (alone, none) = (|_: &Vault, _: &Vault| Ok(()), Collections::at(data.path().join("none")));
    // Nobody else may be at work on it.
    assert!(matches!(Memory::encrypt(&path, None, &first, &alone), Err(MemoryError::Busy { .. })));
    drop(memory);
    topics.asked.lock().unwrap().clear();
    Memory::encrypt(&path, None, &first, &alone).unwrap();
    for word in WORDS {
        assert_eq!(files_with(&path, word), [""; 0], "{word}");
    }
    let open =
        |key: &MasterKey| Memory::open_with(MemoryOptions { embedder: Some(topics.clone()), ..with_key(&path, key) });
    check(&open(&first).unwrap(), &conversation);
    assert!(open(&first).unwrap().search("weather", 1).unwrap()[0].cosine.unwrap() > 0.9, "the vectors came along");
    assert!(!topics.asked.lock().unwrap().iter().any(|text| text.contains("factzebra")), "and were not made again");

    // The user's key changes, the contents stay.
    let size = std::fs::metadata(&path).unwrap().len();
    Memory::change_key(Some(&path), &none, Some(&first), &second).unwrap();
    assert!(matches!(open(&first).err().unwrap(), MemoryError::WrongKey { .. }));
    check(&open(&second).unwrap(), &conversation);
    assert!(std::fs::metadata(&path).unwrap().len() < size + (1 << 20));
    // The data key changes too.
    let key_id = || std::fs::read_to_string(path.with_extension("duckdb.vault")).unwrap();
    let before = key_id();
    Memory::encrypt(&path, Some(&second), &first, &alone).unwrap();
    assert_ne!(key_id(), before);
    check(&open(&first).unwrap(), &conversation);
    // Turned off, everything can be read without a key.
    assert!(matches!(Memory::decrypt(&path, Some(&second), &alone), Err(MemoryError::WrongKey { .. })));
    Memory::decrypt(&path, Some(&first), &alone).unwrap();
    check(&Memory::open(&path, None).unwrap(), &conversation);
    assert!(matches!(Memory::change_key(Some(&path), &none, None, &second), Err(MemoryError::NotEncrypted { .. })));
    assert!(!files_with(&path, "requestzebra").is_empty());
}

#[test]
fn a_vault_that_is_off_changes_nothing() {
    let vault = Vault::off();
    assert_eq!(
        (vault.is_on(), vault.key_id(), vault.open(b"index", b"here").unwrap()),
        (false, None, b"index".to_vec())
    );
}

fn fill_and_close(path: &std::path::Path, key: &MasterKey) -> codriver_memory::ConversationId {
    fill(&Memory::open_with(with_key(path, key)).unwrap())
}

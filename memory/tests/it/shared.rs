//! A second opening of the same file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use codriver_memory::{Memory, Mode, NewChunk, NewToolRun, Scope};
use duckdb::Connection;
use serde_json::json;

use crate::durability::{holder, ready};
use crate::support::{folder, helper, helper_path, turn};

fn journals(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.to_string_lossy().contains(".journal-")).collect()
}

#[test]
fn a_second_opening_works_beside_and_is_merged_later() {
    let (_folder, path) = folder();
    let first = Memory::open(&path, None).unwrap();
    first.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    let second = Memory::open(&path, None).unwrap();
    let Mode::Shared { holder } = second.mode() else { panic!("{:?}", second.mode()) };
    assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");

    // It knows what the holder knew, and its own.
    assert_eq!(second.search("euro", 5).unwrap().len(), 1);
    assert_eq!(journals(&path).len(), 0, "reading leaves no journal");
    let conversation = second.start_conversation("codriver", "b.ipynb").unwrap();
    let appended = second.append_turn(&turn(&conversation, "How much?", "A lot")).unwrap();
    let run = NewToolRun {
        conversation: conversation.clone(),
        tool: "sql".into(),
        arguments: json!({}),
        policy: "allowed".into(),
    };
    let run = second.start_tool_run(&run).unwrap();
    second.finish_tool_run(&run, "ok", "7", 3).unwrap();
    let fact = second.remember("The year starts in April", Scope::Global, "agent").unwrap();
    second.add_chunks("notes.md", &[NewChunk::new("A", "walrus")], Scope::Global).unwrap();
    second.remember("only here", Scope::Session, "agent").unwrap();
    assert_eq!(second.recent_messages(&conversation, 9).unwrap().len(), 3);
    assert_eq!(second.search("april", 5).unwrap().len(), 1);
    assert_eq!(journals(&path).len(), 1);

    // A new holder merges what is there while the second one goes on writing.
    drop(first);
    let third = Memory::open(&path, None).unwrap();
    assert_eq!(third.mode(), Mode::Durable);
    assert_eq!(third.last_turn(&conversation).unwrap().unwrap().id, appended);
    assert_eq!(third.statistics().unwrap().pending_journals, 1);
    let later = second.append_turn(&turn(&conversation, "And now?", "More")).unwrap();
    assert!(second.forget(&fact).unwrap());
    drop(second);
    drop(third);

    let last = Memory::open(&path, None).unwrap();
    let turns: Vec<_> = last.turns(&conversation, 9).unwrap().into_iter().map(|turn| turn.id).collect();
    assert_eq!(turns, [appended, later]);
    assert_eq!(last.tool_runs(&conversation, 9).unwrap()[0].status, "ok");
    let facts: Vec<String> = last.facts(None).unwrap().into_iter().map(|fact| fact.text).collect();
    assert_eq!(facts, ["Amounts are in euro"]);
    assert_eq!(last.search("walrus", 5).unwrap()[0].id, "notes.md#0");
    assert_eq!((journals(&path).len(), last.statistics().unwrap().pending_journals), (0, 0));
}

#[test]
fn notebooks_side_by_side_share_what_they_remember() {
    let (_folder, path) = folder();
    let holder = Memory::open(&path, None).unwrap();
    let other = Memory::open(&path, None).unwrap();
    let knows = |memory: &Memory, word: &str| !memory.search(word, 5).unwrap().is_empty();
    assert!(!knows(&holder, "euro") && !knows(&other, "april"));
    let euro = other.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    holder.remember("The year starts in April", Scope::Global, "user").unwrap();
    assert!(knows(&holder, "euro") && knows(&holder, "april"));
    assert!(knows(&other, "euro") && knows(&other, "april"));
    assert_eq!(
        other.remember("the year starts in april", Scope::Global, "user").unwrap(),
        holder.facts(None).unwrap()[1].id
    );

    // Forgotten on one side is forgotten on both, whoever remembered it.
    assert!(holder.forget(&euro).unwrap());
    assert!(!knows(&other, "euro"));
    let april = other.facts(None).unwrap().remove(0).id;
    assert!(other.forget(&april).unwrap());
    assert!(!knows(&other, "april") && !knows(&holder, "april"));
    assert_eq!((holder.facts(None).unwrap(), other.facts(None).unwrap()), (vec![], vec![]));

    // A journal that is read as it grows is still merged once.
    let conversation = other.start_conversation("codriver", "b.ipynb").unwrap();
    for number in 0..5 {
        other.append_turn(&turn(&conversation, &format!("request {number}"), "zebra")).unwrap();
        assert!(knows(&holder, "zebra"));
    }
    drop(other);
    drop(holder);
    let memory = Memory::open(&path, None).unwrap();
    assert_eq!((memory.turns(&conversation, 99).unwrap().len(), memory.facts(None).unwrap().len()), (5, 0));
    assert_eq!(journals(&path).len(), 0);
}

/// The crash between the merge and the removal of the journal, whichever way it is looked at:
/// by the journal's name, or, were that lost, by the entries' own identifiers.
#[test]
fn a_journal_that_comes_back_is_not_merged_twice() {
    let (_folder, path) = folder();
    let first = Memory::open(&path, None).unwrap();
    let second = Memory::open(&path, None).unwrap();
    let conversation = second.start_conversation("codriver", "b.ipynb").unwrap();
    second.append_turn(&turn(&conversation, "How much?", "A lot")).unwrap();
    second.remember("The year starts in April", Scope::Global, "agent").unwrap();
    second.add_chunks("notes.md", &[NewChunk::new("A", "walrus")], Scope::Global).unwrap();
    drop(second);
    let journal = journals(&path).remove(0);
    let content = fs::read(&journal).unwrap();
    drop(first);
    let before = Memory::open(&path, None).unwrap().statistics().unwrap();
    assert_eq!((before.turns, before.messages, before.facts, before.chunks), (1, 3, 1, 1));

    for name in [journal.clone(), journal.with_file_name("memory.duckdb.journal-copy.jsonl")] {
        fs::write(&name, &content).unwrap();
        let after = Memory::open(&path, None).unwrap().statistics().unwrap();
        assert_eq!((after.conversations, after.turns, after.messages, after.facts, after.chunks), (1, 1, 3, 1, 1));
        assert!(!name.exists());
    }
}

#[test]
fn the_unfinished_line_of_a_journal_is_ignored_and_the_rest_kept() {
    let (_folder, path) = folder();
    let first = Memory::open(&path, None).unwrap();
    let second = Memory::open(&path, None).unwrap();
    second.remember("first", Scope::Global, "agent").unwrap();
    second.remember("second", Scope::Global, "agent").unwrap();
    drop(second);
    let journal = journals(&path).remove(0);
    let mut content = fs::read(&journal).unwrap();
    content.truncate(content.len() - 5);
    fs::write(&journal, &content).unwrap();
    drop(first);
    let facts: Vec<String> =
        Memory::open(&path, None).unwrap().facts(None).unwrap().into_iter().map(|fact| fact.text).collect();
    assert_eq!(facts, ["first"]);
    assert!(!journal.exists());
}

#[test]
fn damaged_lines_are_set_aside_and_a_newer_journal_is_left_alone() {
    let (_folder, path) = folder();
    let first = Memory::open(&path, None).unwrap();
    let second = Memory::open(&path, None).unwrap();
    second.remember("first", Scope::Global, "agent").unwrap();
    second.remember("second", Scope::Global, "agent").unwrap();
    drop(second);
    let journal = journals(&path).remove(0);
    let content = fs::read_to_string(&journal).unwrap();
    let (one, two) = content.split_once('\n').unwrap();
    fs::write(&journal, format!("{one}\n\u{1}garbage{{\n{two}")).unwrap();
    let newer = journal.with_file_name("memory.duckdb.journal-newer.jsonl");
    fs::write(&newer, "{\"format\":99,\"what\":\"unknown\"}\n").unwrap();
    drop(first);
    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(memory.facts(None).unwrap().len(), 2);
    assert_eq!(memory.statistics().unwrap().pending_journals, 1);
    assert!(newer.exists() && journal.with_extension("jsonl.damaged").exists() && !journal.exists());
}

#[test]
fn the_holder_may_be_another_process_and_may_die() {
    let (_folder, path) = folder();
    let mut child = holder(&path);
    let memory = Memory::open(&path, None).unwrap();
    let Mode::Shared { holder } = memory.mode() else { panic!("{:?}", memory.mode()) };
    assert!(holder.contains(&format!("process {}", child.id())), "{holder}");
    memory.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // It goes on as before; the next one to open the file has it all.
    memory.remember("The year starts in April", Scope::Global, "user").unwrap();
    drop(memory);
    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(memory.mode(), Mode::Durable);
    for word in ["euro", "April"] {
        assert_eq!(memory.facts(None).unwrap().iter().filter(|fact| fact.text.contains(word)).count(), 1, "{word}");
    }
}

#[test]
fn another_name_of_the_file_is_the_same_file() {
    let (folder, path) = folder();
    let first = Memory::open(&path, None).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(path.parent().unwrap(), &link).unwrap();
    let second = Memory::open(&link.join("memory.duckdb"), None).unwrap();
    assert!(matches!(second.mode(), Mode::Shared { .. }));
    let alias = folder.path().join("alias.duckdb");
    std::os::unix::fs::symlink(&path, &alias).unwrap();
    assert!(matches!(Memory::open(&alias, None).unwrap().mode(), Mode::Shared { .. }));
    drop(first);
}

#[test]
fn nobody_else_can_read_the_files() {
    let (_folder, path) = folder();
    let first = Memory::open(&path, None).unwrap();
    first.remember("a secret", Scope::Global, "user").unwrap();
    let second = Memory::open(&path, None).unwrap();
    second.remember("another", Scope::Global, "user").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = path.parent().unwrap();
    assert_eq!(mode(folder), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        names.push(file.file_name().unwrap().to_string_lossy().into_owned());
    }
    for expected in ["memory.duckdb", "memory.duckdb.wal", "memory.duckdb.lock", "memory.duckdb.facts.jsonl"] {
        assert!(names.iter().any(|name| name == expected), "{expected} is not among {names:?}");
    }
}

/// The helper: a program that knows nothing of Codriver and has the file open.
#[test]
fn helper_is_a_stranger() {
    let Some(path) = helper_path() else { return };
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("SELECT count(*) FROM turns").unwrap();
    println!("\nACK turn");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_stranger_may_hold_the_file() {
    let (_folder, path) = folder();
    drop(Memory::open(&path, None).unwrap());
    let mut child = ready(helper("shared::helper_is_a_stranger", &path));
    let memory = Memory::open(&path, None).unwrap();
    let Mode::Shared { holder } = memory.mode() else { panic!("{:?}", memory.mode()) };
    assert!(holder.contains(&format!("PID {}", child.id())), "{holder}");
    memory.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(memory);
    assert_eq!(Memory::open(&path, None).unwrap().facts(None).unwrap().len(), 1);
}

#[test]
fn many_openings_at_once_lose_nothing() {
    let (_folder, path) = folder();
    let write = |number: usize| {
        let memory = Memory::open(&path, None).unwrap();
        for fact in 0..5 {
            memory.remember(&format!("fact {fact} of {number}"), Scope::Global, "user").unwrap();
        }
    };
    for round in 0..3 {
        std::thread::scope(|scope| (0..6).for_each(|number| drop(scope.spawn(move || write(10 * round + number)))));
    }
    let facts = Memory::open(&path, None).unwrap().facts(None).unwrap();
    assert_eq!(facts.len(), 90);
}

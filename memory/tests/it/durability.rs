//! What was acknowledged survives kill -9, whenever it comes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use codriver_memory::{ConversationId, Memory, Mode, NewToolRun, Scope};
use serde_json::json;
use uuid::Uuid;

use crate::support::{folder, helper, helper_path, turn};

/// The helper: writes until it is killed, and says what it was told is safe.
#[test]
fn helper_writes_until_killed() {
    let Some(path) = helper_path() else { return };
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    acknowledge("conversation", conversation.as_str(), "");
    // A checkpoint each 16 turns: DuckDB makes one when the log has 16 MB.
    let filler = "0123456789abcdef".repeat(64 * 1024);
    for number in 0.. {
        let run = NewToolRun {
            conversation: conversation.clone(),
            tool: "sql".into(),
            arguments: json!({"n": number}),
            policy: "allowed".into(),
        };
        let id = memory.start_tool_run(&run).unwrap();
        acknowledge("run", id.as_str(), "running");
        memory.finish_tool_run(&id, "ok", "done", number).unwrap();
        acknowledge("run", id.as_str(), "ok");
        let mut turn = turn(&conversation, &format!("request {number}"), "fine");
        turn.prompt = format!("{filler}{number}");
        let id = memory.append_turn(&turn).unwrap();
        acknowledge("turn", id.as_str(), &number.to_string());
        let fact = format!("{conversation} fact {number}");
        memory.remember(&fact, Scope::Global, "user").unwrap();
        acknowledge("fact", &fact.replace(' ', "_"), "");
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let written = kill_rounds(12);
    assert!(written >= 60, "only {written} turns were written: the test says nothing");
}

/// A measurement: cargo test --release -p codriver-memory --test it -- --ignored two_hundred --nocapture
#[test]
#[ignore = "takes minutes"]
fn two_hundred_rounds_of_kill_9_lose_nothing_acknowledged() {
    kill_rounds(200);
}

/// How many turns were written in so many rounds.
fn kill_rounds(rounds: usize) -> usize {
    let (_folder, path) = folder();
    let mut safe = Acknowledged::default();
    let (mut length_before, mut checkpoints) = (0, 0);
    for round in 0..rounds {
        // While the file is opened; while turns are written; about when a checkpoint is made.
        let (turns, patience) = [(0, 200_000), (1, 500_000), (14 + random() as usize % 4, 150_000)][round % 3];
        let patience = Duration::from_micros(u64::from(random() % patience));
        let acknowledged = killed_after(helper("durability::helper_writes_until_killed", &path), turns, patience);
        let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        checkpoints += usize::from(length != length_before);
        let memory = Memory::open(&path, None).unwrap_or_else(|error| panic!("round {round}, {patience:?}: {error}"));
        assert_eq!(memory.mode(), Mode::Durable);
        acknowledged.check(&memory);
        safe.extend(acknowledged);
        drop(memory);
        length_before = std::fs::metadata(&path).unwrap().len();
        if round % 20 == 19 {
            println!("{} rounds, {} turns, {} MB", round + 1, safe.turns.len(), length_before / 1_000_000);
        }
    }
    safe.check(&Memory::open(&path, None).unwrap());
    println!(
        "{} turns, {} runs, {} facts; {checkpoints} rounds with a checkpoint",
        safe.turns.len(),
        safe.runs.len(),
        safe.facts.len()
    );
    safe.turns.len()
}

#[test]
fn kill_9_of_a_second_process_loses_nothing_acknowledged() {
    let (_folder, path) = folder();
    let mut safe = Acknowledged::default();
    let mut holder = Memory::open(&path, None).unwrap();
    for _ in 0..8 {
        let patience = Duration::from_micros(u64::from(random() % 200_000));
        let round = killed_after(helper("durability::helper_writes_until_killed", &path), 1, patience);
        assert!(!round.turns.is_empty());
        safe.extend(round);
        drop(holder);
        holder = Memory::open(&path, None).unwrap();
        safe.check(&holder);
        assert_eq!(holder.statistics().unwrap().pending_journals, 0);
    }
}

/// A checkpoint comes each 16 turns or so, in the middle of some of the copies.
#[test]
fn a_copy_made_beside_a_process_that_writes_has_all_that_was_acknowledged() {
    let (folder, path) = folder();
    let mut writer = helper("durability::helper_writes_until_killed", &path);
    let said = Arc::new(Mutex::new(Vec::new()));
    let output = BufReader::new(writer.stdout.take().unwrap());
    let into = Arc::clone(&said);
    let reader = std::thread::spawn(move || output.lines().for_each(|line| into.lock().unwrap().push(line.unwrap())));
    while !said.lock().unwrap().iter().any(|line| line.starts_with("ACK turn")) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let beside = Memory::open(&path, None).unwrap();
    assert!(matches!(beside.mode(), Mode::Shared { .. }));
    let (mut turns, mut headers) = (0, std::collections::HashSet::new());
    for round in 0..6 {
        std::thread::sleep(Duration::from_micros(u64::from(random() % 200_000)));
        beside.remember(&format!("beside {round}"), Scope::Global, "user").unwrap();
        let acknowledged = Acknowledged::of(&said.lock().unwrap());
        turns = acknowledged.turns.len();
        headers.insert(std::fs::read(&path).unwrap()[..3 * 4096].to_vec());
        let copy = folder.path().join(format!("{round}.duckdb"));
        let bytes = beside.backup(&copy).unwrap();
        assert_eq!(std::fs::metadata(&copy).unwrap().len(), bytes);
        let restored = Memory::open(&copy, None).unwrap();
        acknowledged.check(&restored);
        let facts = restored.facts(None).unwrap();
        for fact in 0..=round {
            let text = format!("beside {fact}");
            assert_eq!(facts.iter().filter(|known| known.text == text).count(), 1, "{text}");
        }
        assert!(!folder.path().join(format!("{round}.duckdb.new")).exists());
        drop(restored);
        std::fs::remove_file(&copy).unwrap();
    }
    assert!(turns >= 10 && headers.len() > 1, "{turns} turns, {} states: the test says nothing", headers.len());
    // The writer was not in the way of it, nor it in the writer's.
    assert!(writer.try_wait().unwrap().is_none());
    writer.kill().unwrap();
    writer.wait().unwrap();
    reader.join().unwrap();
}

/// A write-ahead log that ends in the middle of a record, as a loss of power leaves it.
#[test]
fn a_torn_log_loses_only_its_last_record() {
    let (_folder, path) = folder();
    let round = killed_after(helper("durability::helper_writes_until_killed", &path), 3, Duration::from_millis(100));
    let log = path.with_extension("duckdb.wal");
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 7).unwrap();
    let memory = Memory::open(&path, None).unwrap();
    let kept = memory.turns(&round.conversations[0], usize::MAX).unwrap();
    assert!(kept.len() + 1 >= round.turns.len() && !kept.is_empty(), "{} of {}", kept.len(), round.turns.len());
}

#[derive(Default)]
struct Acknowledged {
    conversations: Vec<ConversationId>,
    turns: HashMap<String, String>,
    /// The last status acknowledged.
    runs: HashMap<String, String>,
    facts: Vec<String>,
}

impl Acknowledged {
    /// What a helper said.
    fn of(lines: &[String]) -> Self {
        let mut acknowledged = Self::default();
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["ACK", "conversation", id] => acknowledged.conversations.push(ConversationId::from(*id)),
                ["ACK", "turn", id, number] => {
                    acknowledged.turns.insert((*id).to_owned(), (*number).to_owned());
                }
                ["ACK", "run", id, status] => {
                    acknowledged.runs.insert((*id).to_owned(), (*status).to_owned());
                }
                ["ACK", "fact", fact] => acknowledged.facts.push((*fact).to_owned()),
                _ => {}
            }
        }
        acknowledged
    }

    fn extend(&mut self, other: Self) {
        self.conversations.extend(other.conversations);
        self.turns.extend(other.turns);
        self.runs.extend(other.runs);
        self.facts.extend(other.facts);
    }

    fn check(&self, memory: &Memory) {
        let facts: Vec<String> =
            memory.facts(None).unwrap().into_iter().map(|fact| fact.text.replace(' ', "_")).collect();
        for fact in &self.facts {
            assert_eq!(facts.iter().filter(|known| *known == fact).count(), 1, "{fact}");
        }
        let mut turns = HashMap::new();
        let mut runs = HashMap::new();
        for conversation in &self.conversations {
            let stored = memory.turns(conversation, usize::MAX).unwrap();
            for (number, turn) in stored.iter().enumerate() {
                assert_eq!(turn.turn.request, format!("request {number}"), "whole and in order");
                assert_eq!(turn.turn.messages.len(), 3);
                assert!(turn.turn.prompt.ends_with(&format!("f{number}")));
                assert!(turns.insert(turn.id.to_string(), number.to_string()).is_none(), "twice: {}", turn.id);
            }
            for run in memory.tool_runs(conversation, usize::MAX).unwrap() {
                assert!(runs.insert(run.id.to_string(), run.status).is_none(), "twice: {}", run.id);
            }
        }
        for (id, number) in &self.turns {
            assert_eq!(turns.get(id), Some(number), "turn {id}");
        }
        for (id, status) in &self.runs {
            let stored = runs.get(id).map(String::as_str);
            let expected: &[&str] = if status == "running" { &["lost", "ok", "running"] } else { &["ok"] };
            assert!(stored.is_some_and(|stored| expected.contains(&stored)), "run {id}: {status}, but {stored:?}");
        }
    }
}

fn acknowledge(kind: &str, id: &str, detail: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("\nACK {kind} {id} {detail}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

/// Kills `patience` after so many turns were acknowledged, and gives what was acknowledged.
fn killed_after(mut child: Child, turns: usize, patience: Duration) -> Acknowledged {
    let output = child.stdout.take().unwrap();
    let (turn, wait) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut lines: Vec<String> = Vec::new();
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if line.starts_with("ACK turn") {
                turn.send(()).unwrap_or_default();
            }
            // A line without an end was not said.
            if line.ends_with('\n') {
                lines.push(std::mem::take(&mut line));
            }
        }
        lines
    });
    for number in 0..turns {
        wait.recv_timeout(Duration::from_secs(60))
            .unwrap_or_else(|error| panic!("after {number} turns: {error}, {:?}", child.try_wait()));
    }
    std::thread::sleep(patience);
    child.kill().unwrap();
    child.wait().unwrap();
    Acknowledged::of(&reader.join().unwrap())
}

fn random() -> u32 {
    Uuid::new_v4().as_fields().0
}

/// Used by other tests: a helper that holds the file until it is killed.
pub fn holder(path: &Path) -> Child {
    ready(helper("durability::helper_writes_until_killed", path))
}

/// Waits until a helper has acknowledged a turn.
pub fn ready(mut child: Child) -> Child {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ACK turn") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the helper ended");
    }
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    child
}

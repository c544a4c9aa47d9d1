//! Files that are not as they should be, and places that cannot be written.

use std::fs;
use std::path::Path;
use std::process::Command;

use codriver_memory::{ConversationId, Memory, MemoryError, Mode};
use duckdb::Connection;

use crate::durability::holder;
use crate::support::{folder, helper_path, turn};

fn written(path: &Path) {
    let memory = Memory::open(path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    for number in 0..20 {
        memory.append_turn(&turn(&conversation, &format!("request {number}"), "fine")).unwrap();
    }
}

#[test]
fn opening_again_changes_nothing() {
    let (_folder, path) = folder();
    written(&path);
    let statistics = || Memory::open(&path, None).unwrap().statistics().unwrap();
    let (first, second) = (statistics(), statistics());
    assert_eq!((first.turns, first.schema_version), (20, 5));
    assert_eq!(
        (first.turns, first.messages, first.conversations),
        (second.turns, second.messages, second.conversations)
    );
    let connection = Connection::open(&path).unwrap();
    let versions: i64 = connection.query_row("SELECT count(*) FROM schema_versions", [], |row| row.get(0)).unwrap();
    assert_eq!(versions, 5);
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    written(&path);
    Connection::open(&path)
        .unwrap()
        .execute_batch("INSERT INTO schema_versions VALUES (99, 'from the future', now()::TIMESTAMP)")
        .unwrap();
    let before = fs::read(&path).unwrap();
    let error = Memory::open(&path, None).err().unwrap();
    assert!(matches!(error, MemoryError::NewerSchema { found: 99, known: 5, .. }));
    assert!(error.to_string().contains("Update Codriver"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_named_and_not_replaced() {
    let (_folder, path) = folder();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for content in ["not a database, but a letter\n".repeat(500).as_str(), "short"] {
        fs::write(&path, content).unwrap();
        let error = Memory::open(&path, None).err().unwrap();
        assert!(matches!(&error, MemoryError::Unreadable { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()) && error.to_string().contains("mv "), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    // The lock is free again: once the file is moved aside, a new one is made.
    fs::rename(&path, path.with_extension("damaged")).unwrap();
    assert_eq!(Memory::open(&path, None).unwrap().mode(), Mode::Durable);
}

#[test]
fn someone_elses_database_is_not_ours_to_change() {
    let (_folder, path) = folder();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE invoices (id INTEGER)").unwrap();
    let error = Memory::open(&path, None).err().unwrap();
    assert!(matches!(&error, MemoryError::Unreadable { reason, .. } if reason.contains("invoices")), "{error:?}");
    let tables: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM duckdb_tables()", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_truncated_or_overwritten_database_is_an_error_and_not_a_panic() {
    let (_folder, path) = folder();
    written(&path);
    let whole = fs::read(&path).unwrap();
    for length in [100, 4096, 8192, whole.len() / 2] {
        fs::write(&path, &whole[..length]).unwrap();
        let opened = Memory::open(&path, None).and_then(|memory| memory.statistics());
        assert!(opened.is_err(), "{length} of {} bytes", whole.len());
    }
    let mut damaged = whole;
    for byte in damaged.iter_mut().skip(12 * 1024).step_by(97) {
        *byte ^= 0x5a;
    }
    fs::write(&path, &damaged).unwrap();
    let error = Memory::open(&path, None).and_then(|memory| memory.search("request", 5)).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in
        [file.join("memory.duckdb"), Path::new("/proc/codriver/memory.duckdb").to_owned(), folder.path().to_owned()]
    {
        let error = Memory::open(&path, None).err().unwrap();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    // The caller's way out.
    assert_eq!(Memory::in_memory(None).unwrap().mode(), Mode::InMemory);
}

#[test]
fn a_damaged_log_is_told_from_a_damaged_database() {
    let (_folder, path) = folder();
    let mut child = holder(&path);
    child.kill().unwrap();
    child.wait().unwrap();
    let log = path.with_extension("duckdb.wal");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].copy_from_slice(b"damaged!");
    fs::write(&log, &bytes).unwrap();
    let error = Memory::open(&path, None).err().unwrap();
    assert!(matches!(error, MemoryError::UnreadableLog { .. }), "{error:?}");
    assert!(error.to_string().contains(log.to_str().unwrap()), "{error}");
    // The advice it gives.
    fs::rename(&log, path.with_extension("duckdb.damaged.wal")).unwrap();
    assert_eq!(Memory::open(&path, None).unwrap().mode(), Mode::Durable);
}

/// Under a limit on file sizes, which fails writes the way a full disk does.
#[test]
fn helper_fills_the_disk() {
    let Some(path) = helper_path() else { return };
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    println!("\nCONVERSATION {conversation}");
    for number in 0.. {
        let mut turn = turn(&conversation, &format!("request {number}"), "fine");
        // Nothing that a checkpoint could make small.
        turn.prompt = (0..8000).map(|_| uuid::Uuid::new_v4().to_string()).collect();
        match memory.append_turn(&turn) {
            Ok(_) => println!("\nACK {number}"),
            Err(error) => {
                println!("\nFAILED {error}");
                turn.prompt = "short".to_owned();
                let again = memory.append_turn(&turn).map_or_else(|error| error.to_string(), |_| "fine".to_owned());
                println!("\nTHEN {again} {}", memory.turns(&conversation, usize::MAX).unwrap().len());
                return;
            }
        }
    }
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing_acknowledged() {
    // In thousands of bytes: the log, the checkpoint of the log, and the journal find no space.
    for (limit, shared) in [(4096, false), (17_500, false), (4096, true)] {
        let (_folder, path) = folder();
        let holder = Memory::open(&path, None).unwrap();
        let holder = shared.then_some(holder);
        // The signal that comes with the limit is ignored, so that the write fails.
        let output = Command::new("bash")
            .args([
                "-c",
                &format!(
                    "trap '' XFSZ; ulimit -f {limit}; exec \"$0\" --exact damage::helper_fills_the_disk --nocapture"
                ),
            ])
            .arg(std::env::current_exe().unwrap())
            .env("CODRIVER_TEST_PATH", &path)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = |word: &str| output.lines().filter_map(|line| line.strip_prefix(word)).collect::<Vec<_>>();
        let acknowledged = said("ACK ").len();
        assert!(acknowledged >= 5, "{output}");
        assert!(said("FAILED ")[0].contains(path.to_str().unwrap()), "{output}");
        // What is small still fits, and everything can still be read.
        assert_eq!(said("THEN "), [format!("fine {}", acknowledged + 1)]);
        drop(holder);
        let conversation = ConversationId::from(said("CONVERSATION ")[0]);
        let turns = Memory::open(&path, None).unwrap().turns(&conversation, usize::MAX).unwrap();
        assert_eq!(turns.len(), acknowledged + 1);
        for (number, turn) in turns[..acknowledged].iter().enumerate() {
            assert_eq!(
                (turn.turn.request.as_str(), turn.turn.prompt.len()),
                (format!("request {number}").as_str(), 288_000)
            );
        }
    }
}

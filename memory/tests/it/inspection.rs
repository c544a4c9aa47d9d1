//! Memory looked at from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use codriver_memory::{Finding, MasterKey, Memory, NewChunk, Scope};
use duckdb::Connection;

use crate::durability::holder;
use crate::support::{folder, turn, with_key};

fn fill(memory: &Memory) {
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    // Some megabytes: so that there are blocks in the middle.
    let filler: String =
        (0..60_000).map(|number: u64| format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    for number in 0..8 {
        let mut turn = turn(&conversation, &format!("request {number}"), "fine");
        turn.prompt = format!("{number}{filler}");
        memory.append_turn(&turn).unwrap();
    }
    for number in 0..24 {
        memory.remember(&format!("Number {number} is a fact"), Scope::Global, "user").unwrap();
    }
    memory.add_chunks("notes.md", &[NewChunk::new("A", "walrus"), NewChunk::new("B", "zebra")], Scope::Global).unwrap();
}

fn unsound(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| !finding.sound).collect()
}

fn detail<'a>(findings: &'a [Finding], part: &str) -> &'a str {
    &findings.iter().find(|finding| finding.part == part).unwrap_or_else(|| panic!("{part}: {findings:?}")).detail
}

/// Every file but the lock.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|file| file.is_file() && file.extension().is_none_or(|extension| extension != "lock"));
    files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Turns the bits of pages in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 60 * 4096].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_sound_is_read_to_the_end_and_counted() {
    for key in [None, Some(MasterKey::random())] {
        let (_folder, path) = folder();
        let memory = match &key {
            Some(key) => Memory::open_with(with_key(&path, key)).unwrap(),
            None => Memory::open(&path, None).unwrap(),
        };
        fill(&memory);
        memory.back_up_if_due().unwrap().unwrap();
        drop(memory);
        let before = files(&path);
        let findings = Memory::check(&path, key.as_ref()).unwrap();
        assert_eq!(unsound(&findings), [] as [&Finding; 0]);
        let database = detail(&findings, "database");
        assert!(
            database.contains("24 facts") && database.contains("8 turns") && database.contains("2 chunks"),
            "{database}"
        );
        assert_eq!(database.contains("opens with the key"), key.is_some(), "{database}");
        assert!(detail(&findings, "backup").contains("can be restored"));
        let holdings = Memory::holdings(&path, key.as_ref()).unwrap();
        assert_eq!(
            (holdings.facts, holdings.turns, holdings.messages, holdings.documents, holdings.pieces, holdings.backups),
            (24, 8, 24, 1, 2, 1)
        );
        assert_eq!((holdings.encrypted, holdings.used_by), (key.is_some(), None));
        assert_eq!(files(&path), before, "looking changes nothing");
        if key.is_some() {
            assert!(Memory::check(&path, Some(&MasterKey::random())).is_err());
        }
    }
}

#[test]
fn damaged_pages_are_found_and_the_backup_to_go_back_to_is_named() {
    for with_backup in [true, false] {
        let (_folder, path) = folder();
        let memory = Memory::open(&path, None).unwrap();
        fill(&memory);
        let backup = with_backup.then(|| memory.back_up_if_due().unwrap().unwrap());
        drop(memory);
        if let Some(backup) = &backup {
            // A newer one is of no use.
            fs::write(backup.with_file_name("memory-99990101-000000.duckdb"), "no database").unwrap();
        }
        damage(&path);
        let before = files(&path);
        let findings = Memory::check(&path, None).unwrap();
        let database = unsound(&findings).into_iter().find(|finding| finding.part == "database").unwrap();
        assert!(database.detail.contains("orrupt"), "{findings:?}");
        let next = detail(&findings, "next step");
        match &backup {
            Some(backup) => assert!(next.contains(backup.to_str().unwrap()), "{next}"),
            None => assert!(next.contains("no daily backup"), "{next}"),
        }
        assert_eq!(files(&path), before, "looking changes nothing");
    }
}

#[test]
fn rows_that_do_not_open_are_counted() {
    let (_folder, path) = folder();
    let key = MasterKey::random();
    fill(&Memory::open_with(with_key(&path, &key)).unwrap());
    let connection = Connection::open(&path).unwrap();
    let sql =
        "UPDATE facts SET text = (SELECT max(text) FROM facts) WHERE id IN (SELECT id FROM facts ORDER BY id LIMIT 3)";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let findings = Memory::check(&path, Some(&key)).unwrap();
    let found = unsound(&findings)[0];
    assert!(found.detail.contains("of 24 facts cannot be opened"), "{findings:?}");
}

#[test]
fn while_another_process_writes_a_copy_is_read() {
    let (_folder, path) = folder();
    fill(&Memory::open(&path, None).unwrap());
    let mut writer = holder(&path);
    let findings = Memory::check(&path, None).unwrap();
    assert_eq!(unsound(&findings), [] as [&Finding; 0]);
    let database = detail(&findings, "database");
    assert!(database.contains(&format!("process {}", writer.id())) && database.contains("copy"), "{database}");
    let holdings = Memory::holdings(&path, None).unwrap();
    assert!(holdings.facts >= 24 && holdings.turns > 8, "{holdings:?}");
    assert!(holdings.used_by.is_some_and(|holder| holder.contains(&format!("process {}", writer.id()))));
    assert!(!path.with_extension("duckdb.reading").exists());
    writer.kill().unwrap();
    writer.wait().unwrap();
    // What it left in its log is read, too.
    assert_eq!(unsound(&Memory::check(&path, None).unwrap()), [] as [&Finding; 0]);
}

#[test]
fn a_damaged_journal_and_a_damaged_index_are_found_and_the_index_is_made_anew() {
    let (_folder, path) = folder();
    let first = Memory::open(&path, None).unwrap();
    fill(&first);
    let second = Memory::open(&path, None).unwrap();
    second.remember("the last one", Scope::Global, "agent").unwrap();
    drop(second);
    drop(first);
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let journal = entries.into_iter().find(|file| file.to_string_lossy().contains(".journal-")).unwrap();
    assert!(detail(&Memory::check(&path, None).unwrap(), "journal").contains("1 changes"));
    assert_eq!(Memory::holdings(&path, None).unwrap().facts, 25, "with what was not merged yet");
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, [whole.as_slice(), b"garbage\n"].concat()).unwrap();
    let findings = Memory::check(&path, None).unwrap();
    assert!(unsound(&findings)[0].detail.contains("1 lines are damaged"), "{findings:?}");
    fs::remove_file(&journal).unwrap();

    let rebuild = || Memory::open(&path, None).unwrap().rebuild_indexes(&|_, _| true).unwrap();
    rebuild();
    let words = path.with_extension("duckdb.index").join("words");
    let mut bytes = fs::read(&words).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&words, bytes).unwrap();
    let findings = Memory::check(&path, None).unwrap();
    assert!(
        unsound(&findings)[0].part == "words" && unsound(&findings)[0].detail.contains("memory rebuild"),
        "{findings:?}"
    );
    rebuild();
    let findings = Memory::check(&path, None).unwrap();
    assert!(unsound(&findings).is_empty() && detail(&findings, "words").contains("18 texts"), "{findings:?}");
    assert_eq!(Memory::open(&path, None).unwrap().search("walrus", 1).unwrap()[0].text, "walrus");
}

//! Copies of the database, and putting them back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use codriver_memory::{MasterKey, Memory, MemoryError, Mode, Scope};

use crate::support::{folder, turn, with_key};

#[test]
fn a_backup_made_in_use_is_put_back_in_use() {
    let (folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    memory.append_turn(&turn(&conversation, "before", "ok")).unwrap();
    memory.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    let copy = folder.path().join("copies/one.duckdb");
    let error = memory.backup(&copy).unwrap_err();
    assert!(matches!(&error, MemoryError::NoFolder { .. }) && error.to_string().contains("make it first"), "{error}");
    assert!(!folder.path().join("copies").exists());
    fs::create_dir(folder.path().join("copies")).unwrap();
    let bytes = memory.backup(&copy).unwrap();
    assert_eq!(
        (fs::metadata(&copy).unwrap().len(), fs::metadata(&copy).unwrap().permissions().mode() & 0o777),
        (bytes, 0o600)
    );
    memory.append_turn(&turn(&conversation, "after", "ok")).unwrap();
    memory.remember("Amounts are in dollars", Scope::Global, "user").unwrap();

    let aside = memory.restore(&copy).unwrap();
    assert_eq!(memory.turns(&conversation, 9).unwrap().len(), 1);
    assert_eq!(memory.search("amounts", 3).unwrap()[0].text, "Amounts are in euro");
    // It goes on being written to, and what it was before is kept.
    memory.append_turn(&turn(&conversation, "later", "ok")).unwrap();
    drop(memory);
    let memory = Memory::open(&path, None).unwrap();
    let requests: Vec<String> =
        memory.turns(&conversation, 9).unwrap().into_iter().map(|turn| turn.turn.request).collect();
    assert_eq!(requests, ["before", "later"]);
    assert_eq!(Memory::open(&aside, None).unwrap().turns(&conversation, 9).unwrap().len(), 2);
    // A backup is a memory of its own.
    assert_eq!(Memory::open(&copy, None).unwrap().turns(&conversation, 9).unwrap().len(), 1);
}

#[test]
fn backups_made_while_others_write_are_whole() {
    let (folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let beside = Memory::open(&path, None).unwrap();
    let (conversation, other) = (
        memory.start_conversation("codriver", "a.ipynb").unwrap(),
        beside.start_conversation("codriver", "b.ipynb").unwrap(),
    );
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (memory, conversation) in [(&memory, &conversation), (&beside, &other)] {
            let done = &done;
            scope.spawn(move || {
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    memory.append_turn(&turn(conversation, &format!("request {number}"), "fine")).unwrap();
                    number += 1;
                }
            });
        }
        for number in 0..5 {
            let acknowledged = memory.turns(&conversation, usize::MAX).unwrap().len();
            let copy = folder.path().join(format!("{number}.duckdb"));
            memory.backup(&copy).unwrap();
            let turns = Memory::open(&copy, None).unwrap().turns(&conversation, usize::MAX).unwrap();
            assert!(turns.len() >= acknowledged);
            assert!(turns.iter().enumerate().all(
                |(number, turn)| turn.turn.request == format!("request {number}") && turn.turn.messages.len() == 3
            ));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(matches!(beside.backup(&folder.path().join("no.duckdb")), Err(MemoryError::Busy { .. })));
    assert!(matches!(beside.restore(&folder.path().join("0.duckdb")), Err(MemoryError::Busy { .. })));
}

#[test]
fn what_is_no_backup_is_refused_and_nothing_changes() {
    let (folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    memory.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    let (letter, cut) = (folder.path().join("letter.duckdb"), folder.path().join("cut.duckdb"));
    fs::write(&letter, "a letter, and no database").unwrap();
    memory.backup(&cut).unwrap();
    let whole = fs::read(&cut).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    for file in [&letter, &cut, &folder.path().join("nothing.duckdb")] {
        let error = memory.restore(file).unwrap_err();
        assert!(matches!(error, MemoryError::NoBackup { .. }), "{error:?}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        assert_eq!(memory.facts(None).unwrap().len(), 1);
    }
    assert!(matches!(Memory::in_memory(None).unwrap().backup(&letter), Err(MemoryError::NoBackup { .. })));
}

#[test]
fn automatic_backups_are_made_once_a_day_and_the_oldest_go() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(memory.back_up_if_due().unwrap(), None, "there is nothing to keep");
    memory.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    let first = memory.back_up_if_due().unwrap().unwrap();
    assert_eq!(memory.back_up_if_due().unwrap(), None);
    let mut made = vec![first];
    for _ in 0..5 {
        let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 60 * 60);
        for backup in memory.backups() {
            fs::File::options().append(true).open(backup).unwrap().set_modified(yesterday).unwrap();
        }
        made.push(memory.back_up_if_due().unwrap().unwrap());
    }
    assert_eq!(memory.backups(), made[2..]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&made[5]), mode(made[5].parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_damaged_database_is_set_aside_and_the_newest_whole_backup_taken() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    memory.append_turn(&turn(&conversation, "kept", "ok")).unwrap();
    memory.back_up_if_due().unwrap().unwrap();
    memory.append_turn(&turn(&conversation, "since", "ok")).unwrap();
    drop(memory);
    // A newer backup that is damaged itself is passed over.
    let backups = path.with_extension("duckdb.backups");
    fs::write(backups.join("memory-99990101-000000.duckdb"), "not a database").unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().skip(12 * 1024).step_by(97).for_each(|byte| *byte ^= 0x5a);
    fs::write(&path, &bytes).unwrap();

    // Damage may be seen when a block is read: then the next opening knows of it.
    let opened = Memory::open(&path, None).and_then(|memory| memory.verify().map(|()| memory));
    let memory = opened.or_else(|_| Memory::open(&path, None)).unwrap();
    let notices = memory.take_notices();
    assert_eq!((memory.mode(), notices.len()), (Mode::Durable, 1), "{notices:?}");
    assert!(notices[0].contains("restored from the backup of") && notices[0].contains(".damaged-"), "{notices:?}");
    let requests: Vec<String> =
        memory.turns(&conversation, 9).unwrap().into_iter().map(|turn| turn.turn.request).collect();
    assert_eq!(requests, ["kept"]);
    let aside = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|file| file.to_string_lossy().contains(".damaged-"));
    assert_eq!(fs::read(aside.unwrap()).unwrap(), bytes);
    drop(memory);
    assert_eq!(Memory::open(&path, None).unwrap().take_notices().len(), 0);
}

#[test]
fn an_encrypted_backup_needs_its_key() {
    let (folder, path) = folder();
    let key = MasterKey::random();
    let memory = Memory::open_with(with_key(&path, &key)).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    memory.append_turn(&turn(&conversation, "a requestzebra", "ok")).unwrap();
    fs::create_dir(folder.path().join("copies")).unwrap();
    let copy = folder.path().join("copies/one.duckdb");
    memory.backup(&copy).unwrap();
    assert_eq!(crate::support::files_with(&copy, "requestzebra"), [""; 0]);
    assert_eq!(memory.restore(&copy).map(drop).map_err(|error| error.to_string()), Ok(()));
    assert_eq!(memory.turns(&conversation, 9).unwrap().len(), 1);
    assert!(matches!(Memory::open(&copy, None).err().unwrap(), MemoryError::KeyMissing { .. }));
    assert_eq!(Memory::open_with(with_key(&copy, &key)).unwrap().turns(&conversation, 9).unwrap().len(), 1);
    // Another memory, with another key, takes it only with the key it was made with.
    let (_other_folder, other_path) = crate::support::folder();
    let other = Memory::open_with(with_key(&other_path, &MasterKey::random())).unwrap();
    assert!(matches!(other.restore(&copy), Err(MemoryError::WrongKey { .. })));
}

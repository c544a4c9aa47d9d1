//! Collections sealed, opened with other keys, backed up and put back.

use std::sync::atomic::Ordering;

use codriver_memory::{
    Collection, CollectionQuery, Collections, Embedder, MasterKey, Memory, MemoryError, Record, parse_line,
};

use crate::collections::Hashed;

fn record(number: usize, text: &str) -> Record {
    parse_line(number, &format!(r#"{{"id":"d{number}","text":"{text} {number}","metadata":{{"n":"ocelotword"}}}}"#))
        .unwrap()
}

fn words_of(collection: &Collection, embedder: &dyn Embedder) -> Vec<String> {
    let query = CollectionQuery { k: 3, ..CollectionQuery::default() };
    let hits =
        collection.search(&["an ocelotword on a wing 7"], Some(embedder), &query, &|_, _| true).unwrap().remove(0);
    hits.into_iter().map(|hit| hit.id).collect()
}

#[test]
fn collections_that_are_there_are_sealed_get_another_key_and_are_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let data = folder.path().join("collections");
    let plain = Collections::at(&data);
    let word = |file: &str| crate::support::files_with(&data.join(file).join("documents.duckdb"), "ocelotword");
    for name in ["one", "two"] {
        let collection = plain.open_or_create(name).unwrap();
        let records: Vec<Record> = (0..50).map(|number| record(number, "an ocelotword on a wing")).collect();
        collection.put(&records).unwrap();
        collection.embed_missing(&embedder, &|_, _| true).unwrap();
        collection.refresh(Some(embedder.name()), &|_, _| true).unwrap();
    }
    let found = words_of(&plain.open("one").unwrap(), &embedder);
    let asked = embedder.asked.load(Ordering::Relaxed);
    assert!(!word("one").is_empty());

    let (first, second) = (MasterKey::random(), MasterKey::random());
    assert_eq!(plain.encrypt(None, &first).unwrap(), ["one", "two"]);
    assert_eq!(word("one"), [""; 0]);
    assert!(matches!(plain.open("one").unwrap().statistics(), Err(MemoryError::KeyMissing { .. })));
    let with = |key: &MasterKey| Collections::at(&data).with_key(key.clone());
    assert_eq!(words_of(&with(&first).open("one").unwrap(), &embedder), found);
    with(&first).open("one").unwrap().refresh(Some(embedder.name()), &|_, _| true).unwrap();
    assert_eq!(
        with(&first).open("one").unwrap().embed_missing(&embedder, &|_, _| true).unwrap(),
        0,
        "vectors came along"
    );
    assert_eq!(word("one"), [""; 0], "nor in an index");

    // A crash before the file beside the database followed it.
    fs_err::remove_file(data.join("one/documents.duckdb.vault")).unwrap();
    assert_eq!(words_of(&with(&first).open("one").unwrap(), &embedder), found);
    assert!(data.join("one/documents.duckdb.vault").exists());

    // Another key for all of them, and for the memory beside them.
    let memory = folder.path().join("memory.duckdb");
    drop(Memory::open_with(crate::support::with_key(&memory, &first)).unwrap());
    Memory::change_key(Some(&memory), &plain, Some(&first), &second).unwrap();
    for name in ["one", "two"] {
        let opened = with(&first).open(name).unwrap().statistics();
        assert!(matches!(opened, Err(MemoryError::WrongKey { .. })), "{opened:?}");
        assert_eq!(with(&second).open(name).unwrap().statistics().unwrap().documents, 50);
        assert!(with(&second).open(name).unwrap().verify().unwrap()[0].sound);
    }
    drop(Memory::open_with(crate::support::with_key(&memory, &second)).unwrap());
    // Run again, as after a crash, it goes through.
    Memory::change_key(Some(&memory), &plain, Some(&first), &second).unwrap();

    let vault = fs_err::read(data.join("two/documents.duckdb.vault")).unwrap();
    plain.decrypt(Some(&second)).unwrap();
    assert_eq!(words_of(&plain.open("one").unwrap(), &embedder), found);
    assert_eq!(embedder.asked.load(Ordering::Relaxed) - asked, 3, "only the queries");
    // The same crash the other way round.
    fs_err::write(data.join("two/documents.duckdb.vault"), vault).unwrap();
    assert_eq!(with(&second).open("two").unwrap().statistics().unwrap().documents, 50);
    assert_eq!(plain.open("two").unwrap().statistics().unwrap().documents, 50);
    assert!(!data.join("two/documents.duckdb.vault").exists());
}

#[test]
fn collections_are_backed_up_and_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("collections");
    let key = MasterKey::random();
    let collections = Collections::at(&data).with_key(key.clone());
    collections.open_or_create("one").unwrap().put(&[record(1, "kept")]).unwrap();
    let backup = folder.path().join("backup");
    let made = collections.back_up(&backup).unwrap();
    assert!(made.len() == 1 && made[0].0 == "one" && made[0].1.is_ok(), "{made:?}");
    collections.open("one").unwrap().put(&[record(2, "since")]).unwrap();
    collections.open_or_create("later").unwrap();
    let (names, aside) = collections.restore(&backup).unwrap();
    assert_eq!(
        (names.as_slice(), collections.list().unwrap().as_slice()),
        (["one".to_owned()].as_slice(), ["one".to_owned()].as_slice())
    );
    assert_eq!(collections.open("one").unwrap().statistics().unwrap().documents, 1);
    let aside = Collections::at(aside.unwrap()).with_key(key);
    assert_eq!(aside.list().unwrap(), ["later", "one"]);
    assert_eq!(aside.open("one").unwrap().statistics().unwrap().documents, 2);
    // What is no collection is not put in the place of one.
    fs_err::write(backup.join("one/documents.duckdb"), "a letter").unwrap();
    assert!(collections.restore(&backup).is_err());
    assert_eq!(collections.open("one").unwrap().statistics().unwrap().documents, 1);
}

//! `codriver memory verify`, `stats`, `backup`, `encrypt` and `key`, over memory and collections together.

use std::path::Path;
use std::process::{Command, Output};

use codriver_memory::{Memory, Scope};
use serde_json::Value;

fn memory(data: &Path, key: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codriver"));
    command.arg("memory").args(arguments).env("CODRIVER_DATA_DIR", data).env_remove("CODRIVER_MEMORY_KEY");
    command.env("CODRIVER_EMBEDDING_MODEL", data.join("nowhere"));
    key.map(|key| command.env("CODRIVER_MEMORY_KEY", key));
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

/// Facts, a collection and a history of cells, each with a word of its own.
fn fill(data: &Path) {
    fs_err::create_dir_all(data).unwrap();
    let remembered = Memory::open(&data.join("memory.duckdb"), None).unwrap();
    for number in 0..24 {
        remembered.remember(&format!("factzebra number {number}"), Scope::Global, "user").unwrap();
    }
    let lines = data.with_file_name("lines.jsonl");
    fs_err::write(&lines, "{\"id\":\"a\",\"text\":\"the collectionzebra stands here\"}\n").unwrap();
    done(&memory(data, None, &["import", lines.to_str().unwrap(), "--collection", "cc"]));
    let history = "{\"format\":2,\"session\":1,\"line\":1,\"input\":\"historyzebra\"}\n";
    fs_err::write(data.join("history.jsonl"), history).unwrap();
}

fn files_with(folder: &Path, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files_with(&entry, word));
        } else if fs_err::read(&entry).unwrap().windows(word.len()).any(|window| window == word.as_bytes()) {
            found.push(entry.display().to_string());
        }
    }
    found
}

const WORDS: [&str; 3] = ["factzebra", "collectionzebra", "historyzebra"];

#[test]
fn everything_is_sealed_gets_another_key_and_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fill(&data);
    WORDS.iter().for_each(|word| assert!(!files_with(&data, word).is_empty(), "{word}"));
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    done(&memory(&data, None, &["encrypt", "--key-file", one.to_str().unwrap()]));
    let one = fs_err::read_to_string(one).unwrap();
    let found = |key: Option<&str>| memory(&data, key, &["search", "-c", "cc", "--mode", "lexical", "collectionzebra"]);
    let facts = |key: Option<&str>| {
        let stats: Value = serde_json::from_slice(&memory(&data, key, &["stats", "--json"]).stdout).unwrap();
        stats["memory"]["facts"].as_u64()
    };
    assert!(done(&found(Some(&one))).contains("stands here"));
    assert_eq!(facts(Some(&one)), Some(24));
    WORDS.iter().for_each(|word| assert_eq!(files_with(&data, word), [""; 0], "{word}"));
    let locked = memory(&data, None, &["verify"]);
    assert!(!locked.status.success() && said(&locked).contains("there is no key"), "{}", said(&locked));
    assert!(said(&locked).contains("NOT SOUND") && !said(&locked).contains(" sound "), "{}", said(&locked));

    done(&memory(&data, Some(&one), &["key", "--new-key-file", two.to_str().unwrap()]));
    let two = fs_err::read_to_string(two).unwrap();
    assert!(!found(Some(&one)).status.success());
    assert!(done(&found(Some(&two))).contains("stands here"));
    assert_eq!((facts(Some(&one)), facts(Some(&two))), (None, Some(24)));
    done(&memory(&data, Some(&two), &["verify"]));

    done(&memory(&data, Some(&two), &["decrypt"]));
    assert!(done(&found(None)).contains("stands here"));
    assert_eq!(facts(None), Some(24));
    WORDS.iter().for_each(|word| assert!(!files_with(&data, word).is_empty(), "{word}"));
}

#[test]
fn memory_is_verified_counted_backed_up_and_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let nothing = memory(&data, None, &["verify"]);
    assert!(done(&nothing).contains("no memory and no collection"));
    fill(&data);
    let sound = done(&memory(&data, None, &["verify"]));
    assert!(sound.contains("24 facts") && sound.contains("1 documents") && !sound.contains("NOT"), "{sound}");
    let counted = done(&memory(&data, None, &["stats"]));
    assert!(
        counted.contains("facts          24") && counted.contains("last backup") && counted.contains("cc"),
        "{counted}"
    );
    assert!(done(&memory(&data, None, &["rebuild"])).contains("memory: the indexes are built anew"));

    let missing = folder.path().join("missing");
    let refused = memory(&data, None, &["backup", missing.join("x.duckdb").to_str().unwrap()]);
    assert!(!refused.status.success() && said(&refused).contains("there is no folder"), "{}", said(&refused));
    assert!(!missing.exists());
    let copy = folder.path().join("copy.duckdb");
    let told = done(&memory(&data, None, &["backup", copy.to_str().unwrap()]));
    assert!(told.contains("copy.duckdb.collections: collection cc"), "{told}");
    let other = folder.path().join("other");
    done(&memory(&other, None, &["restore", copy.to_str().unwrap()]));
    let stats: Value = serde_json::from_slice(&memory(&other, None, &["stats", "--json"]).stdout).unwrap();
    assert_eq!((&stats["memory"]["facts"], &stats["collections"][0]["documents"]), (&24.into(), &1.into()));

    let database = data.join("memory.duckdb");
    let mut bytes = fs_err::read(&database).unwrap();
    let middle = bytes.len() / 2;
    let end = bytes.len().min(middle + 60 * 4096);
    bytes[middle..end].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs_err::write(&database, bytes).unwrap();
    let damaged = memory(&data, None, &["verify", "--json"]);
    assert_eq!(damaged.status.code(), Some(1));
    let damaged: Value = serde_json::from_slice(&damaged.stdout).unwrap();
    let findings = damaged["findings"].as_array().unwrap();
    let of = |part: &str| {
        findings.iter().filter(|finding| finding["part"] == part).map(Value::to_string).collect::<String>()
    };
    assert!(damaged["sound"] == false && of("database").contains("checksum"), "{damaged:#}");
    assert!(of("next step").contains("codriver memory restore"), "{damaged:#}");
}

/// Collections alone are worth a backup, too.
#[test]
fn collections_are_backed_up_where_nothing_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let copy = folder.path().join("copy.duckdb");
    let refused = memory(&data, None, &["backup", copy.to_str().unwrap()]);
    assert!(!refused.status.success() && said(&refused).contains("no memory yet"), "{}", said(&refused));
    fill(&data);
    fs_err::remove_file(data.join("memory.duckdb")).unwrap();
    done(&memory(&data, None, &["backup", copy.to_str().unwrap()]));
    assert!(!copy.exists());
    let other = folder.path().join("other");
    let told = done(&memory(&other, None, &["restore", copy.to_str().unwrap()]));
    assert!(told.contains("cc"), "{told}");
    assert!(done(&memory(&other, None, &["export", "--collection", "cc"])).contains("collectionzebra"));
}

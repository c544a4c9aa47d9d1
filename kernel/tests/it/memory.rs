//! `codriver memory` as a person runs it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Without an embedding model: what words find is the same on every machine.
pub fn memory(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codriver"));
    command
        .arg("memory")
        .args(arguments)
        .env("CODRIVER_DATA_DIR", data)
        .env("CODRIVER_EMBEDDING_MODEL", data.join("nowhere"));
    command.env_remove("CODRIVER_MEMORY_KEY").output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const LINES: &str = r#"{"id":"a","text":"wing flutter at high speed","metadata":{"year":1999}}
{"id":"b","title":"Boundary layers","text":"laminar flow over a flat plate","metadata":{"year":2001}}
nonsense
{"id":"c"}

{"id":"d","text":"flutter of panels in supersonic flow","metadata":{"year":2001}}
{"id":"a","text":"wings flutter when they are fast","metadata":{"year":1999}}
"#;

#[test]
fn documents_are_imported_found_exported_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("papers.jsonl"));
    fs_err::write(&file, LINES).unwrap();
    let file = file.to_str().unwrap();
    let imported = memory(&data, &["import", file, "--collection", "papers"]);
    let said = errors(&imported);
    assert!(said.contains("line 3: not JSON") && said.contains("line 4: \"c\" has no \"text\""), "{said}");
    assert!(
        said.contains("3 added, 1 replaced, 0 unchanged, 0 texts embedded, 2 lines left out")
            && said.contains("words alone"),
        "{said}"
    );
    let again = errors(&memory(&data, &["import", file, "--collection", "papers"]));
    assert!(again.contains("0 added, 1 replaced, 3 unchanged"), "{again}");

    let found =
        text(&memory(&data, &["search", "--collection", "papers", "--mode", "lexical", "--json", "flutter", "flows"]));
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["results"][0]["id"], &found["results"][0]["metadata"]), (&json!("d"), &json!({"year": 2001})));
    let arguments = ["search", "-c", "papers", "--mode", "lexical", "--filter", "year=1999", "-k", "1", "flutter"];
    let found = text(&memory(&data, &arguments));
    assert!(found.contains("wings flutter when they are fast") && !found.contains("supersonic"), "{found}");

    for (narrow, found_too) in
        [(["--where", "year>=2000"], false), (["--where", "year<2000"], true), (["--since", "2000"], false)]
    {
        let arguments =
            ["search", "-c", "papers", "--mode", "lexical", "--date-key", "year", narrow[0], narrow[1], "flutter"];
        let found = text(&memory(&data, &arguments));
        assert_eq!(found.contains("wings flutter"), found_too, "{narrow:?}: {found}");
        assert_eq!(found.contains("supersonic"), !found_too, "{narrow:?}: {found}");
    }

    let queries = folder.path().join("queries.jsonl");
    fs_err::write(&queries, "{\"id\":\"q1\",\"query\":\"flat plates\"}\n{\"id\":2,\"query\":\"zebra\"}\n").unwrap();
    let arguments = [
        "search",
        "--collection",
        "papers",
        "--mode",
        "lexical",
        "--batch",
        queries.to_str().unwrap(),
        "-k",
        "5",
        "--json",
    ];
    let lines: Vec<Value> =
        text(&memory(&data, &arguments)).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["id"], &lines[0]["results"][0]["id"]), (2, &json!("q1"), &json!("b")));
    assert_eq!(lines[1], json!({ "id": 2, "results": [] }));

    let exported = text(&memory(&data, &["export", "--collection", "papers"]));
    assert_eq!(exported.lines().count(), 3);
    let mut import = Command::new(env!("CARGO_BIN_EXE_codriver"))
        .args(["memory", "import", "-", "--collection", "copy", "--quiet"])
        .env("CODRIVER_DATA_DIR", &data)
        .env("CODRIVER_EMBEDDING_MODEL", data.join("nowhere"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(exported.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    assert_eq!(text(&memory(&data, &["export", "--collection", "copy"])), exported);

    let listed: Value = serde_json::from_str(&text(&memory(&data, &["list", "--json"]))).unwrap();
    assert_eq!(
        (listed["collections"].as_array().map(Vec::len), &listed["collections"][1]["documents"]),
        (Some(2), &json!(3))
    );
    let refused = memory(&data, &["remove", "--collection", "copy"]);
    assert!(!refused.status.success() && errors(&refused).contains("--yes"), "{}", errors(&refused));
    text(&memory(&data, &["remove", "--collection", "copy", "--yes"]));
    let gone = memory(&data, &["search", "--collection", "copy", "x", "--mode", "lexical"]);
    assert!(errors(&gone).contains("no collection \"copy\" (there are: papers)"), "{}", errors(&gone));
}

#[test]
fn a_damaged_index_is_found_by_verify_and_mended_by_searching() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("papers.jsonl"));
    fs_err::write(&file, LINES).unwrap();
    memory(&data, &["import", file.to_str().unwrap(), "--collection", "papers"]);
    text(&memory(&data, &["verify"]));
    let index = data.join("collections/papers/index/lexical");
    let mut bytes = fs_err::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs_err::write(&index, &bytes).unwrap();
    let verified = memory(&data, &["verify", "--collection", "papers"]);
    assert!(!verified.status.success() && String::from_utf8_lossy(&verified.stdout).contains("NOT SOUND"));
    let searched = memory(&data, &["search", "--collection", "papers", "--mode", "lexical", "flutter"]);
    let said = errors(&searched);
    assert!(
        text(&searched).contains("supersonic") && said.contains("warning: ") && said.contains("built anew"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}') && said.matches("index/lexical").count() == 1, "{said}");
    text(&memory(&data, &["verify"]));
    // Where somebody put a file, too.
    let folder = data.join("collections/papers/index");
    fs_err::remove_dir_all(&folder).unwrap();
    fs_err::write(&folder, "").unwrap();
    text(&memory(&data, &["search", "--collection", "papers", "--mode", "lexical", "flutter"]));
    text(&memory(&data, &["verify"]));
    assert_eq!(errors(&memory(&data, &["search", "--collection", "papers", "--mode", "lexical", "flutter"])), "");
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("papers.jsonl"));
    let import = |lines: &str, more: &[&str]| {
        fs_err::write(&file, lines).unwrap();
        memory(&data, &[&["import", file.to_str().unwrap(), "-c", "papers"], more].concat())
    };
    let refused = |arguments: &[&str], said: &str| {
        let output = memory(&data, arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
        assert!(errors(&output).contains(said), "{arguments:?}: {}", errors(&output));
    };
    refused(&["import", "nofile.jsonl", "-c", "papers"], "there is no file nofile.jsonl; name a file of JSON lines");
    // All lines, some, and none are documents.
    assert_eq!(import("{\"id\":\"a\",\"text\":\"wing flutter\"}\n", &["--no-embedding"]).status.code(), Some(0));
    let some = import(LINES, &["--no-embedding"]);
    assert_eq!(some.status.code(), Some(3));
    let said = errors(&some);
    assert!(said.contains("warning: line 3: ") && said.contains("2 lines left out"), "{said}");
    assert!(said.contains("codriver memory rebuild --collection papers") && !said.contains("pull"), "{said}");
    let none = import("{\"id\":18446744073709551616,\"text\":\"x\"}\n{\"id\":1,\"text\":\"x\",\"metadata\":[]}\n", &[]);
    assert_eq!(none.status.code(), Some(1));
    let said = errors(&none);
    for part in ["line 1: \"id\" is a number of too many digits", "line 2: \"metadata\"", "nothing is imported"] {
        assert!(said.contains(part), "{said}");
    }

    // By words, where there is no model; by meaning, not at all.
    let by_words = memory(&data, &["search", "-c", "papers", "--mode", "lexical", "--json", "flutter"]);
    let both = memory(&data, &["search", "-c", "papers", "--json", "flutter"]);
    assert_eq!(text(&both), text(&by_words));
    let said = errors(&both);
    assert!(said.starts_with("warning: found by words alone: there is no embedding model"), "{said}");
    assert!(said.lines().count() == 1 && said.contains("codriver memory rebuild --collection papers"), "{said}");
    refused(&["search", "-c", "papers", "--mode", "vector", "flutter"], "embedding model");
    refused(&["search", "-c", "papers", " "], "the query is empty");
    for day in ["yesterday", "2026-13-45", "x", "2026-1-5"] {
        for option in ["--since", "--before"] {
            refused(&["search", "-c", "papers", option, day, "flutter"], "write it as YYYY-MM-DD");
        }
    }
    let queries = folder.path().join("queries.jsonl");
    fs_err::write(&queries, "{\"id\":1,\"query\":\"\"}\n{\"id\":2,\"query\":\"plate\"}\n").unwrap();
    let found = text(&memory(&data, &["search", "-c", "papers", "--batch", queries.to_str().unwrap(), "--json"]));
    let found: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&found[0]["results"], &found[1]["results"][0]["id"]), (&json!([]), &json!("b")));
}

#[test]
fn one_damaged_collection_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("papers.jsonl"));
    fs_err::write(&file, LINES).unwrap();
    for name in ["broken", "good", "locked"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codriver"));
        command.args(["memory", "import", file.to_str().unwrap(), "-c", name]).env("CODRIVER_DATA_DIR", &data);
        let key = if name == "locked" { "a passphrase of mine" } else { "" };
        let command = command.env("CODRIVER_MEMORY_KEY", key).env("CODRIVER_EMBEDDING_MODEL", data.join("nowhere"));
        assert_eq!(command.output().unwrap().status.code(), Some(3));
    }
    let database = data.join("collections/broken/documents.duckdb");
    fs_err::OpenOptions::new().write(true).open(&database).unwrap().set_len(20_000).unwrap();
    for arguments in [["list", "--json"], ["stats", "--json"]] {
        let listed = memory(&data, &arguments);
        let value: Value = serde_json::from_str(&text(&listed)).unwrap();
        assert_eq!(
            (&value["collections"][0]["name"], &value["collections"][0]["documents"]),
            (&json!("good"), &json!(3))
        );
        assert_eq!(
            (&value["unreadable"][0]["name"], &value["unreadable"][1]["name"]),
            (&json!("broken"), &json!("locked"))
        );
        let said = errors(&listed);
        assert!(
            said.contains("codriver memory remove --collection broken") && said.contains("no key for it"),
            "{said}"
        );
    }
    let verified = memory(&data, &["verify"]);
    let printed = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.status.code(), Some(1));
    assert!(printed.contains("3 documents, all readable") && printed.contains("the collection broken is damaged"));
    let rebuilt = memory(&data, &["rebuild"]);
    assert!(!rebuilt.status.success() && errors(&rebuilt).contains("good: the indexes are built anew"));
    for name in ["broken", "locked"] {
        let asked = memory(&data, &["remove", "-c", name]);
        assert!(!asked.status.success() && errors(&asked).contains("cannot be read"), "{}", errors(&asked));
        text(&memory(&data, &["remove", "-c", name, "-y"]));
    }
    text(&memory(&data, &["verify"]));
}

/// In a folder where nothing can be written; `None` where this user may not mount one.
fn read_only(data: &Path, arguments: &str) -> Option<Output> {
    let mount = "mount --bind \"$CODRIVER_DATA_DIR\" \"$CODRIVER_DATA_DIR\" && \
        mount -o remount,ro,bind \"$CODRIVER_DATA_DIR\" \"$CODRIVER_DATA_DIR\"";
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-euc", script]).env("CODRIVER_DATA_DIR", data);
        command.env("CODRIVER_EMBEDDING_MODEL", data.join("nowhere")).env_remove("CODRIVER_MEMORY_KEY");
        command.output()
    };
    if !run(mount).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file system can be mounted here");
        return None;
    }
    Some(run(&format!("{mount}\n'{}' memory {arguments}", env!("CARGO_BIN_EXE_codriver"))).unwrap())
}

#[test]
fn what_cannot_be_written_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("papers.jsonl"));
    fs_err::write(&file, LINES).unwrap();
    memory(&data, &["import", file.to_str().unwrap(), "-c", "papers"]);
    for (arguments, expected) in [
        ("search -c papers --mode lexical flutter", "supersonic"),
        ("export -c papers", "laminar"),
        ("stats", "papers"),
        ("verify", "3 documents, all readable"),
    ] {
        let Some(output) = read_only(&data, arguments) else { return };
        assert!(text(&output).contains(expected), "{arguments}: {output:?}");
        assert_eq!(errors(&output), "", "{arguments}");
    }
    fs_err::remove_dir_all(data.join("collections/papers/index")).unwrap();
    let Some(searched) = read_only(&data, "search -c papers --mode lexical flutter") else { return };
    assert!(text(&searched).contains("supersonic") && errors(&searched).contains("has to index"), "{searched:?}");
    let Some(refused) = read_only(&data, "rebuild -c papers") else { return };
    assert!(!refused.status.success() && errors(&refused).contains("Make the folder writable"), "{refused:?}");
}

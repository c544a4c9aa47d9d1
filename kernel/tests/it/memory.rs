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
    assert!(text(&searched).contains("supersonic") && errors(&searched).contains("built anew"));
    text(&memory(&data, &["verify"]));
    let missing = memory(&data, &["search", "--collection", "papers", "flutter"]);
    assert!(!missing.status.success() && errors(&missing).contains("embedding model"), "{}", errors(&missing));
}

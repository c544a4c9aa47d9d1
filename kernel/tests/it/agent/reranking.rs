//! A real cross-encoder of random weights, as transformers saves it, between search and its results.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use codriver::agent::open_reranker;
use codriver_inference::{CrossEncoder, DeviceChoice};
use codriver_memory::{Hit, Scope};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::helpers::{Desk, says};
use super::server::Server;

const PATIENT: Duration = Duration::from_secs(300);

/// A cross-encoder, and an embedding model, which is none.
fn models(folder: &Path) -> (PathBuf, PathBuf) {
    (model(folder, "cross_encoders.py", "bert-identity"), model(folder, "encoders.py", "bert"))
}

fn model(folder: &Path, program: &str, name: &str) -> PathBuf {
    let home = std::env::var("HOME").unwrap();
    let python =
        std::env::var("CODRIVER_PYTHON").unwrap_or_else(|_| format!("{home}/.cache/codriver/python/bin/python"));
    let program = Path::new("../inference/tests/reference").join(program);
    let output =
        Command::new(&python).arg(program).arg(folder).args(["7", name]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(output.status.success(), "{python}: run `cargo xtask setup`:\n{}", String::from_utf8_lossy(&output.stderr));
    folder.join(name)
}

const FACTS: [&str; 7] = [
    "the rows of a table",
    "what the orders add up to by month",
    "the revenue of the last week did drop",
    "customers search words and names",
    "the count of the orders from a table",
    "why the rows drop",
    "a name of the table",
];

#[test]
fn a_notebook_is_shown_what_the_reranker_put_first() {
    let folder = TempDir::new().unwrap();
    let (reranker, embedder) = models(folder.path());
    let mut desk = Desk::new();
    let memory = std::sync::Arc::clone(&desk.session.memory);
    for fact in FACTS {
        memory.remember(fact, Scope::Project, "user").unwrap();
    }
    let question = "rows of the table and orders that drop";
    // Waits for the embedding model of this machine, if there is one.
    let plain = desk.cell(&format!("%memory search {question}")).unwrap().result.unwrap();
    assert!(!plain.text().contains("reranker"), "{}", plain.text());
    let fused = memory.search(question, 7).unwrap();
    assert!(fused.len() >= 5 && fused.iter().all(|hit| hit.reranker.is_none()), "{fused:?}");
    assert_eq!(memory.reranking(), None);

    memory.use_reranker(open_reranker(reranker.to_str().unwrap(), PATIENT));
    let hits = memory.search(question, 7).unwrap();
    // What the model itself says of them, one by one.
    let model = CrossEncoder::open(&reranker, DeviceChoice::Cpu).unwrap();
    let mut expected: Vec<(f32, &str)> =
        fused.iter().map(|hit| (model.score(question, &[&hit.text]).unwrap()[0], hit.text.as_str())).collect();
    expected.sort_by(|one, other| other.0.total_cmp(&one.0));
    assert_eq!(hits.iter().map(|hit| (hit.reranker.unwrap(), hit.text.as_str())).collect::<Vec<_>>(), expected);
    assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    // A few of them are the best of all, not the reranked few.
    let ids = |hits: &[Hit]| -> Vec<String> { hits.iter().map(|hit| hit.id.clone()).collect() };
    assert_eq!(ids(&memory.search(question, 2).unwrap()), ids(&hits[..2]));
    let shown = desk.cell(&format!("%memory search {question}")).unwrap().result.unwrap();
    assert!(
        shown.text().contains("reranker") && shown.text().contains(&format!("{:.2}", expected[0].0)),
        "{}",
        shown.text()
    );
    let stats = desk.cell("%memory stats").unwrap().result.unwrap();
    assert!(stats.text().contains("the best 50 ordered by bert-identity"), "{}", stats.text());

    // What goes before an agent's model.
    let server = Server::start([says("Since Monday.")]);
    desk.ask(&server, question).unwrap();
    let items = &desk.session.agents.last_turn.as_ref().unwrap().context;
    assert!(items.iter().any(|item| item.kind == "fact" && item.details.reranker.is_some()), "{items:?}");
    let context = desk.text("%context");
    assert!(context.contains("reranker") && context.contains("ordered by the reranker"), "{context}");

    // No cross-encoder, none at all, one that is too slow: search goes on, and says why.
    let slow = "the words of a text that is long ".repeat(20);
    for number in 0..50 {
        memory.remember(&format!("{slow} and number {number} of the rows"), Scope::Project, "user").unwrap();
    }
    for (reranker, reason) in [
        (open_reranker(embedder.to_str().unwrap(), PATIENT), "no classification head"),
        (open_reranker("nobody/nothing", PATIENT), "codriver model pull nobody/nothing"),
        (open_reranker(reranker.to_str().unwrap(), Duration::ZERO), "too slow"),
    ] {
        memory.use_reranker(reranker);
        let hits = memory.search(question, 7).unwrap();
        assert!(hits.len() == 7 && hits.iter().all(|hit| hit.reranker.is_none()), "{reason}: {hits:?}");
        assert!(memory.reranking().unwrap().unwrap_err().contains(reason), "{:?}", memory.reranking());
        let stats = desk.text("%memory stats");
        assert!(stats.contains("not reranked: ") && stats.contains(reason), "{stats}");
    }
}

/// `codriver memory`, without an embedding model.
fn memory(data: &Path, arguments: &[&str]) -> Output {
    let output = crate::memory::memory(data, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn a_collection_is_searched_with_a_reranker() {
    let folder = TempDir::new().unwrap();
    let (reranker, embedder) = models(folder.path());
    let (data, file, queries) =
        (folder.path().join("data"), folder.path().join("facts.jsonl"), folder.path().join("queries.jsonl"));
    let lines: String = FACTS
        .iter()
        .enumerate()
        .map(|(number, text)| format!("{}\n", json!({ "id": number.to_string(), "text": text })))
        .collect();
    fs_err::write(&file, lines).unwrap();
    fs_err::write(
        &queries,
        "{\"id\":\"q\",\"query\":\"orders of the table\"}\n{\"id\":\"none\",\"query\":\"zebra\"}\n",
    )
    .unwrap();
    memory(&data, &["import", file.to_str().unwrap(), "-c", "facts", "-q"]);
    let search = |more: &[&str]| {
        let output = memory(&data, &[&["search", "-c", "facts", "--mode", "lexical", "--json"], more].concat());
        let values: Vec<Value> =
            String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (values, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (plain, _) = search(&["orders of the table"]);
    let (found, said) = search(&["--rerank", reranker.to_str().unwrap(), "orders of the table"]);
    assert_eq!(said, "");
    let hits = found[0]["results"].as_array().unwrap();
    let scores: Vec<f64> = hits.iter().map(|hit| hit["reranker"].as_f64().unwrap()).collect();
    assert!(scores.len() >= 3 && scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
    assert_eq!(hits.len(), plain[0]["results"].as_array().unwrap().len());
    // A batch gives the same order, cut where it is asked to be.
    let (batch, _) =
        search(&["--rerank", reranker.to_str().unwrap(), "--batch", queries.to_str().unwrap(), "-k", "2", "-q"]);
    let ids = |results: &Value| -> Vec<String> {
        results.as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&batch[0]["results"]), ids(&found[0]["results"])[..2]);
    assert_eq!(batch[1], json!({ "id": "none", "results": [] }));
    for (model, reason) in
        [(embedder.to_str().unwrap(), "no classification head"), ("nobody/nothing", "model pull nobody/nothing")]
    {
        let (values, said) = search(&["--rerank", model, "orders of the table"]);
        assert!(said.contains("not reranked") && said.contains(reason), "{said}");
        assert_eq!(values, plain);
    }
    let doctor = Command::new(env!("CARGO_BIN_EXE_codriver"))
        .arg("doctor")
        .env("CODRIVER_RERANKING_MODEL", &embedder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(told.contains("reranking model") && told.contains("no classification head"), "{told}");
}

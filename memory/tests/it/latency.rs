//! How long a person waits for durability. Run with --nocapture for the figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codriver_memory::{ContextItem, Embedder, Memory, NewChunk, Scope};

use crate::support::{folder, turn};

#[test]
fn a_turn_is_durable_within_the_blink_of_an_eye() {
    let (_folder, path) = folder();
    let begin = Instant::now();
    let memory = Memory::open(&path, None).unwrap();
    let opened = begin.elapsed();
    let holder_times = appends(&memory);
    let other = Memory::open(&path, None).unwrap();
    let journal_times = appends(&other);

    println!(
        "open {opened:.1?}; append_turn in the database p50 {:.1?} p95 {:.1?}; in a journal p50 {:.1?} p95 {:.1?}",
        percentile(&holder_times, 50),
        percentile(&holder_times, 95),
        percentile(&journal_times, 50),
        percentile(&journal_times, 95)
    );
    // Far above what is measured; a machine that is busy with other things passes too.
    assert!(percentile(&holder_times, 50) < Duration::from_millis(250));
}

/// Vectors of usual size, without a model's time.
struct Letters;

impl Embedder for Letters {
    fn name(&self) -> &str {
        "letters"
    }

    fn dimensions(&self) -> usize {
        384
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        let embed = |text: &&str| {
            let mut vector = vec![0.0; 384];
            text.bytes()
                .zip(text.bytes().skip(1))
                .for_each(|(one, other)| vector[(usize::from(one) * 31 + usize::from(other)) % 384] += 1.0);
            vector
        };
        Ok(texts.iter().map(embed).collect())
    }
}

#[test]
fn ten_thousand_pieces_are_searched_at_once() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, Some(Arc::new(Letters))).unwrap();
    let text = |number: usize| {
        format!(
            "Region {} sold {} pieces of item {}, {}",
            number % 17,
            number * 7,
            number % 301,
            "and so on, ".repeat(30)
        )
    };
    let chunks: Vec<NewChunk> =
        (0..10_000).map(|number| NewChunk::new(format!("Part {number}"), text(number))).collect();
    let begin = Instant::now();
    memory.add_chunks("book", &chunks, Scope::Global).unwrap();
    let added = begin.elapsed();
    drop(memory);
    let begin = Instant::now();
    let memory = Memory::open(&path, Some(Arc::new(Letters))).unwrap();
    let opened = begin.elapsed();
    let search = |query: &str| {
        let begin = Instant::now();
        let hits = memory.search(query, 5).unwrap();
        assert_eq!(hits.len(), 5);
        begin.elapsed()
    };
    let first = search("what did region 7 sell of item 21");
    let mut later: Vec<Duration> =
        (0..20).map(|number| search(&format!("region {number} item {}", number * 9))).collect();
    later.sort();
    println!(
        "10,000 pieces with 384 dimensions: added in {added:.1?}, opened in {opened:.1?}, first search {first:.1?}, later p50 {:.1?} p95 {:.1?}",
        percentile(&later, 50),
        percentile(&later, 95)
    );
    assert!(percentile(&later, 50) < Duration::from_secs(1));
}

/// A measurement: cargo test --release -p codriver-memory --test it -- --ignored ten_thousand_facts --nocapture
#[test]
#[ignore = "a measurement"]
fn ten_thousand_facts_and_a_thousand_conversations() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    for number in 0..1000 {
        let conversation = memory.start_conversation("codriver", &format!("notebook {number}.ipynb")).unwrap();
        memory.append_turn(&turn(&conversation, &format!("what of region {number}?"), "It grew.")).unwrap();
    }
    // Written as another kernel would: one by one, the file of known facts would be written ten thousand times.
    let journal = path.with_file_name("memory.duckdb.journal-facts.jsonl");
    let fact = |number: usize| {
        let scope = ["global", "project"][number % 2];
        let text = format!("Region {} of product {} is led by person {number}", number % 5000, number % 331);
        let id = uuid::Uuid::new_v4().to_string();
        let details = serde_json::json!({ "place": { "scope": scope, "project": "" } });
        let event =
            serde_json::json!({ "fact_remembered": { "id": id, "text": text, "source": "user", "details": details } });
        serde_json::json!({ "format": 3, "at": 1_700_000_000_000_000_i64 + number as i64, "change": event }).to_string()
            + "\n"
    };
    std::fs::write(&journal, (0..10_000).map(fact).collect::<String>()).unwrap();
    let time = |what: &str, mut work: Box<dyn FnMut() + '_>| {
        let mut times: Vec<Duration> = (0..10)
            .map(|_| {
                let begin = Instant::now();
                work();
                begin.elapsed()
            })
            .collect();
        let first = times[0];
        times.sort();
        println!(
            "{what}: first {first:.1?}, p50 {:.1?}, slowest {:.1?}",
            percentile(&times, 50),
            percentile(&times, 100)
        );
    };
    time("facts", Box::new(|| assert_eq!(memory.facts(None).unwrap().len(), 10_000)));
    time("a search", Box::new(|| assert_eq!(memory.search("region 7 of product", 8).unwrap().len(), 8)));
    time("whether there is something", Box::new(|| assert!(memory.holds_something())));
    time("conversations", Box::new(|| assert_eq!(memory.conversations(50).unwrap().len(), 50)));
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let mut number = 0;
    time(
        "a turn appended, and rules that learn nothing",
        Box::new(|| {
            let told = turn(&conversation, "What of region 7?", "It grew.");
            let id = memory.append_turn(&told).unwrap();
            memory.learn(&id, &told, &codriver_memory::RuleExtractor).unwrap();
        }),
    );
    time(
        "a fact remembered",
        Box::new(|| {
            number += 1;
            memory.remember(&format!("Region {number} is closed on day {number}"), Scope::Project, "user").unwrap();
        }),
    );
    time("earlier turns", Box::new(|| assert!(!memory.earlier_turns(&conversation, 0, 400).unwrap().is_empty())));
}

/// Sorted.
fn appends(memory: &Memory) -> Vec<Duration> {
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let mut times: Vec<Duration> = (0..200)
        .map(|number| {
            let mut turn =
                turn(&conversation, &format!("request {number}"), "an answer of some length ".repeat(20).as_str());
            turn.prompt = "a prompt of usual size ".repeat(300);
            turn.context = vec![
                ContextItem {
                    kind: "fact".into(),
                    origin: "user".into(),
                    title: String::new(),
                    text: "x".repeat(200),
                    score: Some(0.5),
                    tokens: 50,
                    dropped: None,
                    details: Default::default()
                };
                6
            ];
            let begin = Instant::now();
            memory.append_turn(&turn).unwrap();
            begin.elapsed()
        })
        .collect();
    times.sort();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

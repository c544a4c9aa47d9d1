//! Measurements for `cargo xtask bench memory`, which runs them and reads their lines.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codriver_memory::{CollectionQuery, Collections, ConversationId, Embedder, Memory, NewChunk, Record, Scope};
use duckdb::Connection;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::support::{folder, turn};

fn figure(name: &str, time: Duration, goal: Option<f64>) {
    println!("figure: {}", json!({ "name": name, "milliseconds": time.as_secs_f64() * 1e3, "goal": goal }));
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

/// Vectors of usual size, without a model's time: each word has a direction.
struct Words;

impl Embedder for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn dimensions(&self) -> usize {
        384
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        let embed = |text: &&str| {
            let mut vector = vec![0.01; 384];
            for word in text.split_whitespace() {
                let seed = word.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
                let mut mixed = seed | 1;
                for number in &mut vector {
                    // xorshift64 (Marsaglia, 2003)
                    mixed ^= mixed << 13;
                    mixed ^= mixed >> 7;
                    mixed ^= mixed << 17;
                    *number += (mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
                }
            }
            vector
        };
        Ok(texts.iter().map(embed).collect())
    }
}

/// Some words far more often than others, as in any language.
fn text(random: &mut StdRng, words: usize) -> String {
    let word = |random: &mut StdRng| {
        let rank = (1.0 / random.random_range(0.00003..1.0f64)) as u64;
        format!("w{:x}", rank.wrapping_mul(0x9e37_79b9) % 100_003)
    };
    (0..words).map(|_| word(random)).collect::<Vec<_>>().join(" ")
}

const CHUNKS: usize = 100_000;

#[test]
#[ignore = "a measurement of minutes"]
fn figures_of_chunks() {
    let mut random = StdRng::seed_from_u64(3);
    let (_folder, path) = folder();
    let memory = Memory::open(&path, Some(Arc::new(Words))).unwrap();
    let begin = Instant::now();
    for book in 0..CHUNKS / 1000 {
        let chunks: Vec<NewChunk> =
            (0..1000).map(|number| NewChunk::new(format!("Part {number}"), text(&mut random, 100))).collect();
        memory.add_chunks(&format!("book {book}"), &chunks, Scope::Global).unwrap();
    }
    figure("100,000 chunks added to memory", begin.elapsed(), None);
    wait_for_files(&memory, &path);
    drop(memory);
    let begin = Instant::now();
    let memory = Memory::open(&path, Some(Arc::new(Words))).unwrap();
    memory.search("w1 first", 10).unwrap();
    figure("  opened again, and the first search answered", begin.elapsed(), Some(1000.0));
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let query = text(&mut random, 8);
            let begin = Instant::now();
            memory.search(&query, 10).unwrap();
            begin.elapsed()
        })
        .collect();
    figure("  hybrid search p50", percentile(&mut times, 50), None);
    figure("  hybrid search p95", percentile(&mut times, 95), Some(30.0));
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    append_turns(&memory, &conversation);
}

/// Of words and of vectors.
fn wait_for_files(memory: &Memory, path: &Path) {
    let files = || {
        std::fs::read_dir(path.with_file_name("memory.duckdb.index"))
            .map_or(0, |entries| entries.flatten().filter(|entry| entry.path().extension().is_none()).count())
    };
    while files() < 2 {
        memory.search("w1", 10).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// As long as a year's talk of a few hundred people, put there past memory, which would take an hour.
fn a_million_messages(path: &Path) -> ConversationId {
    let memory = Memory::open(path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    drop(memory);
    let connection = Connection::open(path).unwrap();
    let text = "array_to_string(list_transform(range(0, 24 + (i % 40)::INT),
        j -> 'w' || (pow((hash(i * 64 + j) % 1000003) / 1000003.0, 4) * 60000)::INT), ' ')";
    let sql = format!(
        "CREATE TEMP TABLE said AS SELECT i, uuid()::VARCHAR AS turn, i // 200 AS talk FROM range(0, 500000) t(i);
        INSERT INTO conversations (id, agent, notebook, started_at, project)
            SELECT 'talk-' || talk, 'codriver', 'a.ipynb', now()::TIMESTAMP, '' FROM (SELECT DISTINCT talk FROM said);
        INSERT INTO turns SELECT turn, 'talk-' || talk, i % 200 + 1, 'why?', 'so', 'starter', 'why?', 1, 1, 1,
            now()::TIMESTAMP - to_seconds(500000 - i) FROM said ORDER BY i;
        INSERT INTO messages SELECT turn, 'talk-' || talk, i % 200 + 1, 0, 'user', {text}, NULL, now()::TIMESTAMP - to_seconds(500000 - i)
            FROM said ORDER BY i;
        INSERT INTO messages SELECT turn, 'talk-' || talk, i % 200 + 1, 1, 'assistant', {text}, NULL, now()::TIMESTAMP - to_seconds(500000 - i)
            FROM (SELECT i + 500000 AS i, turn, talk FROM said) ORDER BY i;
        DROP TABLE said; CHECKPOINT;"
    );
    connection.execute_batch(&sql).unwrap();
    conversation
}

#[test]
#[ignore = "a measurement of minutes"]
fn figures_of_messages() {
    let (_folder, path) = folder();
    let conversation = a_million_messages(&path);
    let begin = Instant::now();
    let memory = Memory::open(&path, None).unwrap();
    figure("1,000,000 messages, never indexed: opened", begin.elapsed(), None);
    memory.search("w7 w100", 10).unwrap();
    figure("  first search, over the newest, indexing the rest beside it", begin.elapsed(), None);
    while !path.with_file_name("memory.duckdb.index").join("words").exists() {
        memory.search("w7", 10).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    figure("  all of them indexed and written", begin.elapsed(), None);
    drop(memory);
    let begin = Instant::now();
    let memory = Memory::open(&path, None).unwrap();
    figure("1,000,000 messages opened again", begin.elapsed(), None);
    assert_eq!(memory.search("w7 w100 w59000", 10).unwrap().len(), 10);
    figure("  opened, and the first search answered", begin.elapsed(), Some(1000.0));
    let mut random = StdRng::seed_from_u64(5);
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let words: Vec<String> =
                (0..6).map(|_| format!("w{}", (random.random::<f64>().powi(4) * 60_000.0) as u32)).collect();
            let begin = Instant::now();
            memory.search(&words.join(" "), 10).unwrap();
            begin.elapsed()
        })
        .collect();
    figure("  search by words p95", percentile(&mut times, 95), None);
    append_turns(&memory, &conversation);
}

fn append_turns(memory: &Memory, conversation: &ConversationId) {
    let mut times: Vec<Duration> = (0..200)
        .map(|number| {
            let mut turn = turn(conversation, &format!("request {number}"), &"an answer of some length ".repeat(20));
            turn.prompt = "a prompt of usual size ".repeat(300);
            let begin = Instant::now();
            memory.append_turn(&turn).unwrap();
            begin.elapsed()
        })
        .collect();
    figure("  a turn appended, durable, p95", percentile(&mut times, 95), Some(5.0));
}

#[test]
#[ignore = "a measurement of minutes"]
fn figures_of_a_collection() {
    let mut random = StdRng::seed_from_u64(4);
    let folder = tempfile::tempdir().unwrap();
    let collection = Collections::at(folder.path()).open_or_create("texts").unwrap();
    let begin = Instant::now();
    for block in 0..CHUNKS / 4000 {
        let record = |number: usize| Record {
            id: format!("{block}-{number}"),
            text: text(&mut random, 100),
            ..Record::default()
        };
        collection.put(&(0..4000).map(record).collect::<Vec<_>>()).unwrap();
    }
    collection.embed_missing(&Words, &|_, _| true).unwrap();
    figure("100,000 documents put into a collection", begin.elapsed(), None);
    let begin = Instant::now();
    collection.refresh(Some("words"), &|_, _| true).unwrap();
    figure("  indexed", begin.elapsed(), None);
    let collection = Collections::at(folder.path()).open("texts").unwrap();
    let asked = CollectionQuery { k: 10, ..CollectionQuery::default() };
    let begin = Instant::now();
    collection.search(&["w1 first"], Some(&Words), &asked, &|_, _| true).unwrap();
    figure("  first search after opening", begin.elapsed(), None);
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let query = text(&mut random, 8);
            let begin = Instant::now();
            collection.search(&[query.as_str()], Some(&Words), &asked, &|_, _| true).unwrap();
            begin.elapsed()
        })
        .collect();
    figure("  hybrid search p50, opening the database each time", percentile(&mut times, 50), None);
    figure("  hybrid search p95, opening the database each time", percentile(&mut times, 95), None);
    let queries: Vec<String> = (0..2000).map(|_| text(&mut random, 8)).collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let begin = Instant::now();
    collection.search(&queries, Some(&Words), &asked, &|_, _| true).unwrap();
    figure("  2,000 searches as one batch", begin.elapsed(), None);
}

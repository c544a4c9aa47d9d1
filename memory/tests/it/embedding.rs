//! Another embedding model: everything is embedded anew, in the background, once.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use codriver_memory::{Embedder, EmbeddingProgress, Memory, NewChunk, Scope};

use crate::support::{folder, helper, helper_path};

/// Vectors by letters; notes what it was asked, and takes its time.
struct Letters {
    name: &'static str,
    dimensions: usize,
    pause: Duration,
    asked: Mutex<Vec<String>>,
}

impl Letters {
    fn new(name: &'static str, dimensions: usize, pause: u64) -> Arc<Self> {
        Arc::new(Self { name, dimensions, pause: Duration::from_millis(pause), asked: Mutex::default() })
    }

    /// Without queries.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|text| !text.starts_with("query")).cloned().collect()
    }
}

impl Embedder for Letters {
    fn name(&self) -> &str {
        self.name
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        self.asked.lock().unwrap().extend(texts.iter().map(|text| (*text).to_owned()));
        std::thread::sleep(self.pause);
        let embed = |text: &&str| {
            let mut vector = vec![0.1; self.dimensions];
            text.bytes()
                .zip(text.bytes().skip(1))
                .for_each(|(one, other)| vector[(usize::from(one) * 31 + usize::from(other)) % self.dimensions] += 1.0);
            vector
        };
        Ok(texts.iter().map(embed).collect())
    }
}

const FACTS: usize = 120;
const CHUNKS: usize = 240;

/// A memory whose texts all have vectors of the model "one".
fn filled(path: &std::path::Path) -> Memory {
    let memory = Memory::open(path, None).unwrap();
    for number in 0..FACTS {
        memory.remember(&format!("region {number} is led by person {number}"), Scope::Global, "user").unwrap();
    }
    let chunks: Vec<NewChunk> = (0..CHUNKS)
        .map(|number| NewChunk::new(format!("part {number}"), format!("the story of item {number}")))
        .collect();
    memory.add_chunks("book", &chunks, Scope::Global).unwrap();
    memory.set_embedder(Letters::new("one", 16, 0)).unwrap();
    assert_eq!(progress(&memory).done, FACTS + CHUNKS);
    memory
}

fn progress(memory: &Memory) -> EmbeddingProgress {
    memory.embedding_progress().unwrap().unwrap()
}

fn in_background(memory: &Arc<Memory>) {
    let memory = Arc::downgrade(memory);
    std::thread::spawn(move || Memory::embed_in_background(&memory));
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn search_works_while_everything_is_embedded_anew() {
    let (_folder, path) = folder();
    let memory = Arc::new(filled(&path));
    let two = Letters::new("two", 24, 20);
    memory.use_embedder(two.clone());
    in_background(&memory);
    // By words at once, by meaning as far as there are vectors of this model; never by those of the other.
    let hits = memory.search("query region 7", 5).unwrap();
    assert!(hits.iter().any(|hit| hit.text.starts_with("region 7 ")), "{hits:?}");
    wait_until("it begins", || progress(&memory).done > 0);
    let (mut partly, mut slowest) = (false, Duration::ZERO);
    wait_until("it ends", || {
        let before = progress(&memory);
        let begin = Instant::now();
        let hits = memory.search("query the story of item 7", 400).unwrap();
        slowest = slowest.max(begin.elapsed());
        let with = hits.iter().filter(|hit| hit.cosine.is_some()).count();
        partly |= with > 0 && hits.iter().any(|hit| hit.cosine.is_none());
        assert!(before.done < before.total || with == hits.len());
        before.done == before.total
    });
    assert!(partly, "some were found by meaning and some by words alone");
    println!("the slowest search beside it took {slowest:?}");
    let asked = two.asked();
    let distinct: HashSet<&String> = asked.iter().collect();
    assert_eq!((asked.len(), distinct.len()), (FACTS + CHUNKS, FACTS + CHUNKS), "each text once");
    // What is said meanwhile or later is embedded too; what another model made stays until it is cleaned up.
    memory.remember("a late fact", Scope::Global, "user").unwrap();
    let by_model = memory.statistics().unwrap().embeddings_by_model;
    assert_eq!(by_model, [("two".to_owned(), FACTS + CHUNKS + 1), ("one".to_owned(), FACTS + CHUNKS)]);
    assert_eq!(memory.remove_other_vectors(false).unwrap(), [("one".to_owned(), FACTS + CHUNKS)]);
    memory.remove_other_vectors(true).unwrap();
    assert_eq!(memory.statistics().unwrap().embeddings, FACTS + CHUNKS + 1);
    drop(memory);
    let again = Letters::new("two", 24, 0);
    let memory = Memory::open(&path, Some(again.clone())).unwrap();
    assert_eq!((progress(&memory).done, again.asked().len()), (FACTS + CHUNKS + 1, 0));
}

#[test]
fn a_fact_does_not_wait_for_the_rest() {
    let (_folder, path) = folder();
    let memory = Arc::new(filled(&path));
    let two = Letters::new("two", 24, 50);
    memory.use_embedder(two.clone());
    in_background(&memory);
    wait_until("it begins", || progress(&memory).done > 0);
    let begin = Instant::now();
    memory.remember("a zebra lives here", Scope::Global, "user").unwrap();
    let took = begin.elapsed();
    let hit = memory.search("query zebra", 1).unwrap().remove(0);
    assert!(hit.cosine.is_some(), "it has a vector at once");
    let left = progress(&memory);
    assert!(left.done < left.total, "the rest is not made yet: {left:?}");
    println!("it took {took:?}, {} of {} were done", left.done, left.total);
}

/// The helper: embeds until it is killed, and says how far it is.
#[test]
fn helper_embeds_until_killed() {
    let Some(path) = helper_path() else { return };
    let memory = Arc::new(Memory::open(&path, Some(Letters::new("two", 24, 30))).unwrap());
    in_background(&memory);
    loop {
        println!("\nDONE {}", progress(&memory).done);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_kill_9_interrupts_goes_on_where_it_was() {
    let (_folder, path) = folder();
    drop(filled(&path));
    let mut done = 0;
    for _ in 0..3 {
        let mut child = helper("embedding::helper_embeds_until_killed", &path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let begun = lines.find_map(|line| line.strip_prefix("DONE ")?.parse::<usize>().ok()).unwrap();
        assert!(begun >= done, "{begun} of {done} that were done are left");
        done = lines
            .find_map(|line| line.strip_prefix("DONE ")?.parse::<usize>().ok().filter(|now| *now >= begun + 40))
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let two = Letters::new("two", 24, 0);
    let memory = Arc::new(Memory::open(&path, Some(two.clone())).unwrap());
    let there = progress(&memory).done;
    assert!(there >= done && there < FACTS + CHUNKS, "{there} of {done}");
    in_background(&memory);
    wait_until("the rest", || progress(&memory).done == FACTS + CHUNKS);
    assert_eq!(two.asked().len(), FACTS + CHUNKS - there, "nothing is embedded twice");
}

#[test]
fn two_kernels_do_not_embed_the_same_twice() {
    let (_folder, path) = folder();
    let holder = Arc::new(filled(&path));
    let beside = Arc::new(Memory::open(&path, None).unwrap());
    let (mine, theirs) = (Letters::new("two", 24, 20), Letters::new("two", 24, 20));
    beside.use_embedder(theirs.clone());
    in_background(&beside);
    beside.search("query region", 1).unwrap();
    holder.use_embedder(mine.clone());
    in_background(&holder);
    wait_until("both", || {
        let (one, other) = (progress(&holder), progress(&beside));
        one.done == one.total && other.done == other.total && other.total == FACTS
    });
    assert_eq!((mine.asked().len(), theirs.asked().len()), (FACTS + CHUNKS, 0));
    let hit = beside.search("query region 7 is led by", 1).unwrap().remove(0);
    assert!(hit.cosine.is_some());
    // What it learns itself is its own to embed.
    beside.remember("a zebra lives here", Scope::Global, "user").unwrap();
    assert!(theirs.asked().iter().all(|text| text == "a zebra lives here"), "{:?}", theirs.asked());
}

#[test]
fn a_kernel_beside_one_with_another_model_makes_its_own() {
    let (_folder, path) = folder();
    let holder = Arc::new(filled(&path));
    in_background(&holder);
    let file = path.with_extension("duckdb.vectors");
    wait_until("the holder's vectors", || file.exists());
    let beside = Arc::new(Memory::open(&path, None).unwrap());
    let theirs = Letters::new("three", 8, 0);
    beside.use_embedder(theirs.clone());
    in_background(&beside);
    wait_until("its own", || progress(&beside).done == FACTS);
    assert_eq!(theirs.asked().len(), FACTS);
    // A file that is damaged is none.
    std::fs::write(&file, b"{\"model\": \"three\"").unwrap();
    assert!(!beside.search("query region 7", 3).unwrap().is_empty());
}

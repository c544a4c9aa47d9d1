use std::sync::{Arc, Condvar, Mutex};

use codriver_memory::{Embedder, FactId, Memory, NewChunk, NewFact, Outcome, Scope, SearchOptions};

use crate::support::{Broken, Topics, folder, turn};

fn texts(memory: &Memory, query: &str, k: usize) -> Vec<String> {
    memory.search(query, k).unwrap().into_iter().map(|hit| hit.text).collect()
}

#[test]
fn words_find_without_an_embedder() {
    let memory = Memory::in_memory(None).unwrap();
    for fact in [
        "The orders table has one row per order",
        "Amounts are in euro",
        "Der Bericht erscheint jeden Montag",
        "売上は月曜に届く",
    ] {
        memory.remember(fact, Scope::Global, "user").unwrap();
    }
    let hits = memory.search("In which currency are the AMOUNTS?", 2).unwrap();
    assert_eq!(hits[0].text, "Amounts are in euro");
    assert!(hits[0].bm25.is_some() && hits[0].cosine.is_none() && hits[0].score > 0.0 && hits[0].score <= 1.0);
    assert_eq!(texts(&memory, "montag", 5), ["Der Bericht erscheint jeden Montag"]);
    assert_eq!(texts(&memory, "売上", 5), ["売上は月曜に届く"]);
    assert_eq!(texts(&memory, "xylophone", 5), [""; 0]);
    assert_eq!(texts(&memory, "  ", 5), [""; 0]);
    assert_eq!(texts(&memory, "orders", 0), [""; 0]);
}

#[test]
fn rare_words_count_more_than_common_ones_and_short_texts_more_than_long_ones() {
    let memory = Memory::in_memory(None).unwrap();
    for number in 0..30 {
        memory.remember(&format!("the table number {number} of the report"), Scope::Global, "user").unwrap();
    }
    memory.remember("a walrus", Scope::Global, "user").unwrap();
    memory.remember(&format!("a walrus {}", "and other things ".repeat(20)), Scope::Global, "user").unwrap();
    assert_eq!(texts(&memory, "the table of the walrus", 1), ["a walrus"]);
}

#[test]
fn meaning_finds_what_words_do_not() {
    let memory = Memory::in_memory(Some(Arc::new(Topics::default()))).unwrap();
    memory.remember("Turnover is reported monthly", Scope::Global, "user").unwrap();
    memory.remember("Our puppy barks", Scope::Global, "user").unwrap();
    let hits = memory.search("sales figures", 3).unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].text.as_str(), hits[0].bm25), ("Turnover is reported monthly", None));
    assert!((hits[0].cosine.unwrap() - 1.0).abs() < 1e-6);
    assert!((hits[0].score - 0.5 * hits[0].weight).abs() < 1e-6 && (0.8..1.2).contains(&hits[0].weight));
    // Both ways together beat either alone.
    memory.remember("sales are sales", Scope::Global, "user").unwrap();
    assert_eq!(texts(&memory, "sales", 2), ["sales are sales", "Turnover is reported monthly"]);
}

#[test]
fn vectors_without_direction_do_no_harm() {
    let topics = Arc::new(Topics::default());
    let memory = Memory::in_memory(Some(topics.clone())).unwrap();
    memory.remember("this is undefined revenue", Scope::Global, "user").unwrap();
    memory.remember("about nothing at all", Scope::Global, "user").unwrap();
    memory.remember("income of the year", Scope::Global, "user").unwrap();
    assert_eq!(texts(&memory, "sales", 5), ["income of the year"]);
    let hits = memory.search("undefined nothing", 5).unwrap();
    assert_eq!(hits.len(), 2);
    assert!(hits.iter().all(|hit| hit.cosine.is_none() && hit.score.is_finite()));
    topics.asked.lock().unwrap().clear();
    memory.search("sales", 5).unwrap();
    assert_eq!(*topics.asked.lock().unwrap(), ["sales"], "texts without a usable vector are not asked for again");
}

#[test]
fn an_embedder_that_comes_later_embeds_what_is_there() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    memory.append_turn(&turn(&conversation, "How was our turnover?", "It was fine.")).unwrap();
    memory.remember("The kitten sleeps", Scope::Session, "user").unwrap();
    assert_eq!(texts(&memory, "income", 5), [""; 0]);
    memory.set_embedder(Arc::new(Topics::default())).unwrap();
    let hit = memory.search("income", 5).unwrap().remove(0);
    assert_eq!(
        (hit.kind, hit.text.as_str(), hit.origin.as_str()),
        ("message", "How was our turnover?", conversation.as_str())
    );
    assert_eq!(texts(&memory, "dog", 5), ["The kitten sleeps"]);
    assert_eq!(memory.statistics().unwrap().embeddings, 2, "the session's vectors stay out of the database");
}

#[test]
fn a_broken_embedder_leaves_search_by_words() {
    let memory = Memory::in_memory(Some(Arc::new(Broken))).unwrap();
    memory.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    let hits = memory.search("euro", 5).unwrap();
    assert_eq!((hits.len(), hits[0].cosine), (1, None));
    assert_eq!(
        memory.set_embedder(Arc::new(Broken)).unwrap_err().to_string(),
        "the embedding model failed: no weights. Search goes on by words alone"
    );
}

#[test]
fn a_search_can_leave_things_out() {
    let memory = Memory::in_memory(None).unwrap();
    let here = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let there = memory.start_conversation("codriver", "b.ipynb").unwrap();
    memory.append_turn(&turn(&here, "zebra here", "ok")).unwrap();
    memory.append_turn(&turn(&there, "zebra there", "ok")).unwrap();
    memory.remember("zebra fact", Scope::Global, "user").unwrap();
    memory.remember("zebra of this session", Scope::Session, "user").unwrap();
    let options = SearchOptions { without_conversation: Some(here), ..SearchOptions::default() };
    let found: Vec<String> =
        memory.search_with("zebra", 9, &options).unwrap().into_iter().map(|hit| hit.text).collect();
    assert_eq!(found.len(), 3);
    assert!(!found.contains(&"zebra here".to_owned()));
    let options = SearchOptions { kinds: vec!["message"], ..SearchOptions::default() };
    assert_eq!(memory.search_with("zebra", 9, &options).unwrap().len(), 2);
}

#[test]
fn the_index_that_is_kept_up_is_the_index_that_is_rebuilt() {
    let (_folder, path) = folder();
    let topics = Arc::new(Topics::default());
    let memory = Memory::open(&path, Some(topics.clone())).unwrap();
    memory.search("anything", 1).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    for round in 0..6 {
        let chunks: Vec<NewChunk> = (0..40)
            .map(|number| {
                NewChunk::new(format!("part {number}"), format!("round {round} of rain in sales region {number}"))
            })
            .collect();
        memory.add_chunks("book", &chunks, Scope::Global).unwrap();
        let id = memory.remember(&format!("round {round} had snow"), Scope::Global, "user").unwrap();
        memory.append_turn(&turn(&conversation, &format!("what of round {round}?"), "a storm")).unwrap();
        if round % 2 == 0 {
            memory.forget(&id).unwrap();
        }
    }
    let queries = ["rain in region 7", "round 5 snow", "storm", "what of round 3", "sales"];
    let kept_up: Vec<_> = queries.iter().map(|query| memory.search(query, 400).unwrap()).collect();
    drop(memory);
    let memory = Memory::open(&path, Some(topics)).unwrap();
    for (query, expected) in queries.iter().zip(kept_up) {
        let mut rebuilt = memory.search(query, 400).unwrap();
        let mut expected = expected;
        rebuilt.sort_by(|one, other| one.id.cmp(&other.id));
        expected.sort_by(|one, other| one.id.cmp(&other.id));
        assert!(!expected.is_empty());
        assert_eq!(rebuilt.len(), expected.len(), "{query}");
        for (one, other) in rebuilt.iter().zip(&expected) {
            assert_eq!((&one.id, &one.text), (&other.id, &other.text));
            assert!((one.score - other.score).abs() < 1e-5, "{query}: {one:?} {other:?}");
        }
    }
}

/// An embedder that answers only when it is let.
#[derive(Default)]
struct Slow {
    topics: Topics,
    answers: Mutex<bool>,
    changed: Condvar,
}

impl Slow {
    fn let_answer(&self, answers: bool) {
        *self.answers.lock().unwrap() = answers;
        self.changed.notify_all();
    }
}

impl Embedder for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn dimensions(&self) -> usize {
        self.topics.dimensions()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        drop(self.changed.wait_while(self.answers.lock().unwrap(), |answers| !*answers).unwrap());
        self.topics.embed(texts)
    }
}

/// Each of these would wait for ever if it waited for the embedder.
#[test]
fn nobody_waits_for_an_embedder_that_thinks() {
    let embedder = Arc::new(Slow::default());
    let memory = Memory::in_memory(Some(embedder.clone())).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    memory.remember("Amounts are in euro", Scope::Global, "user").unwrap();
    let edited = memory.remember("Sales are counted by the team", Scope::Global, "user").unwrap();
    memory.edit_fact(&edited, "Sales are counted by Ada").unwrap();
    memory.append_turn(&turn(&conversation, "How much?", "A lot")).unwrap();
    assert_eq!((memory.facts(None).unwrap().len(), memory.statistics().unwrap().turns), (2, 1));
    embedder.let_answer(true);
}

#[test]
fn a_fact_that_was_kept_before_its_vector_takes_the_place_of_what_it_repeats() {
    let (_folder, path) = folder();
    let embedder = Arc::new(Slow::default());
    embedder.let_answer(true);
    let memory = Memory::open(&path, Some(embedder.clone())).unwrap();
    let old = memory.remember("Sales are counted monthly by the team", Scope::Global, "user").unwrap();
    memory.pin_fact(&old, true).unwrap();
    let other = memory.remember("Dogs are walked by the team", Scope::Global, "user").unwrap();
    embedder.let_answer(false);
    let new = memory.remember_fact(&NewFact::new("The team counts the sales monthly", Scope::Global, "user")).unwrap();
    assert_eq!((&new.outcome, memory.facts(None).unwrap().len()), (&Outcome::New, 3));
    embedder.let_answer(true);
    memory.embed_pending(10).unwrap();
    let holding = |memory: &Memory| -> Vec<(FactId, bool)> {
        memory.facts(None).unwrap().into_iter().map(|fact| (fact.id, fact.pinned)).collect()
    };
    let expected = [(other, false), (new.id.clone(), true)];
    assert_eq!(holding(&memory), expected);
    let hits = memory.search("sales", 5).unwrap();
    assert_eq!(hits.iter().filter(|hit| hit.text.contains("sales") || hit.text.contains("Sales")).count(), 1);
    drop(memory);
    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(holding(&memory), expected);
    assert_eq!(memory.why(&new.id).unwrap().unwrap().replaced[0].id, old);
}

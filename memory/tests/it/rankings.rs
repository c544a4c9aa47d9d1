//! What a collection answers depends on what is in it, not on how it came there or how its indexes were built.

use std::collections::HashMap;

use codriver_memory::{Collection, CollectionQuery, Collections, Embedder as _, Record, SearchMode};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::collections::{Hashed, MODES, WORDS, go_on, seed};

fn text(random: &mut StdRng) -> String {
    let words: Vec<&str> =
        (0..random.random_range(1..16)).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
    words.join(" ")
}

/// Half of the texts are among a few; identifiers are in another order than the documents.
fn many_alike(count: usize, random: &mut StdRng) -> Vec<Record> {
    let few: Vec<String> = (0..12).map(|_| text(random)).collect();
    let mut numbers: Vec<usize> = (0..count).collect();
    numbers.shuffle(random);
    let text = |random: &mut StdRng| match random.random_bool(0.5) {
        true => few[random.random_range(0..few.len())].clone(),
        false => text(random),
    };
    numbers
        .into_iter()
        .map(|number| Record { id: format!("d{number}"), text: text(random), ..Record::default() })
        .collect()
}

type Answers = Vec<Vec<(String, u32)>>;

/// For every mode, number of results and query: identifiers, and scores to the bit.
fn answers(collection: &Collection, queries: &[String]) -> Answers {
    let embedder = Hashed::default();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let of = |mode, k| {
        let asked = CollectionQuery { mode, k, ..CollectionQuery::default() };
        let found = collection.search(&queries, Some(&embedder), &asked, &go_on).unwrap();
        found.into_iter().map(|hits| hits.into_iter().map(|hit| (hit.id, hit.score.to_bits())).collect())
    };
    MODES.iter().flat_map(|mode| [7, 300].map(|k| of(*mode, k))).flatten().collect()
}

fn index(collection: &Collection) {
    let embedder = Hashed::default();
    collection.embed_missing(&embedder, &go_on).unwrap();
    collection.refresh(Some(embedder.name()), &go_on).unwrap();
}

#[test]
fn equal_collections_answer_alike_however_they_were_built() {
    let (seed, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let collections = Collections::at(folder.path());
    let records = many_alike(1500, &mut random);
    let queries: Vec<String> = (0..24).map(|_| text(&mut random)).collect();
    let at_once = collections.open_or_create("at-once").unwrap();
    at_once.put(&records).unwrap();
    index(&at_once);
    let expected = answers(&at_once, &queries);
    for (position, hits) in expected.iter().enumerate() {
        for pair in hits.windows(2) {
            let order = (std::cmp::Reverse(f32::from_bits(pair[0].1)), &pair[0].0)
                .partial_cmp(&(std::cmp::Reverse(f32::from_bits(pair[1].1)), &pair[1].0));
            assert_eq!(order, Some(std::cmp::Ordering::Less), "seed {seed}, answer {position}: {pair:?}");
        }
    }
    for _ in 0..2 {
        at_once.rebuild(Some("owner/hashed"), &go_on).unwrap();
        assert!(answers(&at_once, &queries) == expected, "rebuilt, seed {seed}");
    }
    assert!(answers(&collections.open("at-once").unwrap(), &queries) == expected, "opened again, seed {seed}");

    // In pieces and another order, with texts that are replaced and documents that go.
    let in_pieces = collections.open_or_create("in-pieces").unwrap();
    let mut shuffled = records.clone();
    shuffled.shuffle(&mut random);
    for piece in shuffled.chunks(400) {
        let other = |record: &Record| Record { text: "amber amber kelp walrus".into(), ..record.clone() };
        in_pieces.put(&piece.iter().step_by(3).map(other).collect::<Vec<_>>()).unwrap();
        let gone = Record { id: format!("gone-{}", piece[0].id), text: "kelp river".into(), ..Record::default() };
        in_pieces.put(std::slice::from_ref(&gone)).unwrap();
        index(&in_pieces);
        in_pieces.put(piece).unwrap();
        in_pieces.delete(&[gone.id]).unwrap();
        in_pieces.embed_missing(&Hashed::default(), &go_on).unwrap();
    }
    assert!(answers(&in_pieces, &queries) == expected, "in pieces, not written yet, seed {seed}");
    index(&in_pieces);
    assert!(answers(&collections.open("in-pieces").unwrap(), &queries) == expected, "in pieces, seed {seed}");
}

/// The scores are those of BM25 as it is written down (Robertson and Zaragoza, 2009), and the `k` best are the `k` best.
#[test]
fn words_are_scored_as_by_hand() {
    let (seed, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let collection = Collections::at(folder.path()).open_or_create("things").unwrap();
    let records = many_alike(600, &mut random);
    collection.put(&records).unwrap();
    collection.refresh(None, &go_on).unwrap();
    let words: Vec<Vec<&str>> = records.iter().map(|record| record.text.split(' ').collect()).collect();
    let average = words.iter().map(Vec::len).sum::<usize>() as f64 / words.len() as f64;
    let queries: Vec<String> = (0..20).map(|_| text(&mut random)).collect();
    let scores = |query: &str| -> Vec<f64> {
        let mut counts: HashMap<&str, f64> = HashMap::new();
        query.split(' ').for_each(|word| *counts.entry(word).or_default() += 1.0);
        let score = |document: &Vec<&str>| -> f64 {
            let of_word = |(word, count): (&&str, &f64)| {
                let containing = words.iter().filter(|other| other.contains(word)).count() as f64;
                let rarity = (1.0 + (words.len() as f64 - containing + 0.5) / (containing + 0.5)).ln();
                let often = document.iter().filter(|other| *other == word).count() as f64;
                count * rarity * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * document.len() as f64 / average))
            };
            counts.iter().map(of_word).sum()
        };
        let mut scores: Vec<f64> = words.iter().map(score).filter(|score| *score > 0.0).collect();
        scores.sort_by(|one, other| other.total_cmp(one));
        scores
    };
    for k in [1, 5, 40, 1000] {
        let asked = CollectionQuery { mode: SearchMode::Lexical, k, ..CollectionQuery::default() };
        let texts: Vec<&str> = queries.iter().map(String::as_str).collect();
        let found = collection.search(&texts, None, &asked, &go_on).unwrap();
        for (query, hits) in queries.iter().zip(found) {
            let expected = scores(query);
            assert_eq!(hits.len(), k.min(expected.len()), "seed {seed}: {query}");
            for (hit, expected) in hits.iter().zip(&expected) {
                assert!((f64::from(hit.score) - expected).abs() < 1e-4 * expected, "seed {seed}: {query}: {hit:?}");
            }
        }
    }
}

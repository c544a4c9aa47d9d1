//! Collections without vectors, with damage, under other keys: what can be answered is, and the rest is said.

use codriver_memory::{Collections, Embedder, MasterKey, MemoryError, SearchMode, Shortfall, Staleness};
use rand::Rng as _;

use crate::collections::{Hashed, Narrow, asked, filled, found, go_on, records, seed};

/// Has a name and fails.
struct Failing;

impl Embedder for Failing {
    fn name(&self) -> &str {
        "owner/hashed"
    }

    fn dimensions(&self) -> usize {
        24
    }

    fn embed(&self, _: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        Err("out of order".to_owned())
    }
}

#[test]
fn words_answer_where_there_are_no_vectors() {
    let (seed, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let collection = Collections::at(folder.path()).open_or_create("things").unwrap();
    let embedder = Hashed::default();
    collection.put(&records(2000, &mut random)).unwrap();
    collection.refresh(None, &go_on).unwrap();
    let query = "amber basalt";
    let by_words = found(&collection, query, &embedder, SearchMode::Lexical);
    assert_eq!((by_words.len(), collection.shortfall()), (10, None));

    let unembedded = |missing: usize, model: &str, others: &[&str]| Shortfall::Unembedded {
        collection: "things".to_owned(),
        model: model.to_owned(),
        missing,
        documents: 2000,
        others: others.iter().map(|other| (*other).to_owned()).collect(),
    };
    assert_eq!(found(&collection, query, &embedder, SearchMode::Hybrid), by_words, "seed {seed}");
    let shortfall = collection.shortfall().unwrap();
    assert_eq!(shortfall, unembedded(2000, "owner/hashed", &[]));
    assert!(shortfall.to_string().contains("codriver memory rebuild --collection things"), "{shortfall}");
    // Nothing waits to be written for that.
    assert!(!collection.wants_refresh());
    let by_meaning = collection.search(&[query], Some(&embedder), &asked(SearchMode::Vector, 3), &go_on);
    assert!(matches!(by_meaning, Err(MemoryError::NotEmbedded { .. })));
    let hits = collection.search(&[query], None, &asked(SearchMode::Hybrid, 10), &go_on).unwrap().remove(0);
    assert!(hits.iter().zip(&by_words).all(|(hit, (id, _))| hit.id == *id));
    assert!(matches!(collection.shortfall(), Some(Shortfall::NoEmbedder { .. })));

    // Half way, what has a vector is found by it, and what has none by its words.
    let stopped = collection.embed_missing(&embedder, &|done, _| done < 1000);
    assert!(matches!(stopped, Err(MemoryError::Stopped)));
    let all = collection.search(&[query], Some(&embedder), &asked(SearchMode::Hybrid, 2000), &go_on).unwrap().remove(0);
    let missing = 2000 - all.iter().filter(|hit| hit.cosine.is_some()).count();
    let Some(Shortfall::Unembedded { missing: said, .. }) = collection.shortfall() else { panic!("seed {seed}") };
    assert!((1..2000).contains(&said) && missing <= said, "seed {seed}: {missing} {said}");
    let best = found(&collection, query, &embedder, SearchMode::Hybrid);
    assert_eq!(best.len(), 10);

    collection.embed_missing(&embedder, &go_on).unwrap();
    let both = found(&collection, query, &embedder, SearchMode::Hybrid);
    assert_eq!((both.len(), collection.shortfall()), (10, None));
    // Another model: searching goes on until its vectors are there.
    let other = Narrow::default();
    let hits = collection.search(&[query], Some(&other), &asked(SearchMode::Hybrid, 10), &go_on).unwrap().remove(0);
    assert!(hits.iter().zip(&by_words).all(|(hit, (id, _))| hit.id == *id), "seed {seed}");
    assert_eq!(collection.shortfall(), Some(unembedded(2000, "owner/narrow", &["owner/hashed"])));
    collection.embed_missing(&other, &go_on).unwrap();
    collection.search(&[query], Some(&other), &asked(SearchMode::Hybrid, 10), &go_on).unwrap();
    assert_eq!(collection.shortfall(), None);
    // A model that fails.
    let hits = collection.search(&[query], Some(&Failing), &asked(SearchMode::Hybrid, 10), &go_on).unwrap().remove(0);
    assert!(hits.iter().zip(&by_words).all(|(hit, (id, _))| hit.id == *id), "seed {seed}");
    assert_eq!(collection.shortfall(), Some(Shortfall::Failed { reason: "out of order".to_owned() }));
    assert!(collection.search(&[query], Some(&Failing), &asked(SearchMode::Exact, 10), &go_on).is_err());
}

#[test]
fn an_empty_query_finds_nothing() {
    let (_, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let collection = filled(folder.path(), &records(50, &mut random), &embedder);
    for mode in crate::collections::MODES {
        let found = collection.search(&["", "amber", " \n"], Some(&embedder), &asked(mode, 5), &go_on).unwrap();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [0, 5, 0], "{mode:?}");
    }
}

#[test]
fn a_damaged_collection_is_said_to_be_one_and_can_be_removed() {
    let (seed, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let collections = Collections::at(folder.path());
    let embedder = Hashed::default();
    filled(folder.path(), &records(300, &mut random), &embedder);
    let file = folder.path().join("things/documents.duckdb");
    let whole = fs_err::read(&file).unwrap();
    for round in 0..12 {
        let mut bytes = whole.clone();
        match round {
            0 => bytes.truncate(20_000),
            1..=8 => bytes.truncate(random.random_range(100..whole.len() - 100)),
            _ => bytes[..12_288].iter_mut().for_each(|byte| *byte = random.random()),
        }
        fs_err::write(&file, &bytes).unwrap();
        let collection = collections.open("things").unwrap();
        let findings = collection.verify().unwrap();
        assert!(findings.iter().any(|finding| finding.part == "database" && !finding.sound), "seed {seed}: {round}");
        let error = collection.verify().unwrap().remove(0).detail;
        assert!(error.contains("codriver memory remove --collection things"), "seed {seed}, round {round}: {error}");
    }
    collections.remove("things").unwrap();
    assert_eq!(collections.list().unwrap(), [""; 0]);

    let secret = Collections::at(folder.path()).with_key(MasterKey::random());
    secret.open_or_create("secret").unwrap().put(&records(3, &mut random)).unwrap();
    let other = Collections::at(folder.path()).with_key(MasterKey::random());
    let findings = other.open("secret").unwrap().verify().unwrap();
    assert!(findings.len() == 1 && !findings[0].sound && findings[0].detail.contains("not its key"), "{findings:?}");
    other.remove("secret").unwrap();
    assert_eq!(collections.list().unwrap(), [""; 0]);
}

#[test]
fn a_file_in_the_place_of_the_indexes_gives_way() {
    let (_, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let collection = filled(folder.path(), &records(50, &mut random), &embedder);
    let index = folder.path().join("things/index");
    let expected = found(&collection, "amber", &embedder, SearchMode::Hybrid);
    for rebuilds in [false, true] {
        fs_err::remove_dir_all(&index).unwrap();
        fs_err::write(&index, "something").unwrap();
        let collection = Collections::at(folder.path()).open("things").unwrap();
        assert_eq!(found(&collection, "amber", &embedder, SearchMode::Hybrid), expected);
        assert_eq!(collection.staleness(), Some(Staleness::Missing));
        match rebuilds {
            true => collection.rebuild(Some(embedder.name()), &go_on).unwrap(),
            false => collection.refresh(Some(embedder.name()), &go_on).unwrap(),
        }
        let again = Collections::at(folder.path()).open("things").unwrap();
        assert!(again.verify().unwrap().iter().all(|finding| finding.sound));
        assert_eq!(found(&again, "amber", &embedder, SearchMode::Hybrid), expected);
        assert_eq!(again.staleness(), None);
    }
}

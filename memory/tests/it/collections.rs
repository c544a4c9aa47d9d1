use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use codriver_memory::{
    Collection, CollectionQuery, Collections, Embedder, MasterKey, MemoryError, Record, SearchMode, Stored, parse_line,
};
use duckdb::Connection;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const DIMENSIONS: usize = 24;

/// Texts to directions by their words, and how many it was asked for.
#[derive(Default)]
pub struct Hashed {
    pub asked: AtomicUsize,
}

impl Embedder for Hashed {
    fn name(&self) -> &str {
        "owner/hashed"
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        self.asked.fetch_add(texts.len(), Ordering::Relaxed);
        let embed = |text: &&str| {
            let mut vector = vec![0.01; DIMENSIONS];
            for word in text.split_whitespace() {
                let seed = word.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
                let mut random = StdRng::seed_from_u64(seed);
                vector.iter_mut().for_each(|number| *number += random.random_range(-1.0..1.0f32));
            }
            vector
        };
        Ok(texts.iter().map(embed).collect())
    }
}

/// Reads twelve words at once.
#[derive(Default)]
pub struct Narrow(Hashed);

impl Embedder for Narrow {
    fn name(&self) -> &str {
        "owner/narrow"
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn windows(&self, text: &str) -> Vec<String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.chunks(12).map(|window| window.join(" ")).collect()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        assert!(texts.iter().all(|text| text.split_whitespace().count() <= 12));
        self.0.embed(texts)
    }
}

pub fn go_on(_: usize, _: usize) -> bool {
    true
}

pub fn seed() -> (u64, StdRng) {
    let seed = std::env::var("CODRIVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    (seed, StdRng::seed_from_u64(seed))
}

pub const WORDS: [&str; 20] = [
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbor", "island", "jungle", "kelp", "lagoon",
    "meadow", "nectar", "orchid", "pebble", "quartz", "river", "summit", "tundra",
];

pub fn records(count: usize, random: &mut StdRng) -> Vec<Record> {
    let record = |number: usize| {
        let words: Vec<&str> = (0..12).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
        let line = format!(
            r#"{{"id":"d{number}","title":"Number {number}","text":"{}","metadata":{{"half":{},"kind":"{}"}}}}"#,
            words.join(" "),
            number % 2,
            ["a", "b", "c"][number % 3]
        );
        parse_line(number, &line).unwrap()
    };
    (0..count).map(record).collect()
}

pub fn filled(folder: &Path, records: &[Record], embedder: &Hashed) -> Collection {
    let collection = Collections::at(folder).open_or_create("things").unwrap();
    collection.put(records).unwrap();
    collection.embed_missing(embedder, &go_on).unwrap();
    collection.refresh(Some(embedder.name()), &go_on).unwrap();
    collection
}

pub fn asked(mode: SearchMode, k: usize) -> CollectionQuery {
    CollectionQuery { mode, k, ..CollectionQuery::default() }
}

pub fn found(collection: &Collection, query: &str, embedder: &Hashed, mode: SearchMode) -> Vec<(String, f32)> {
    let hits = collection.search(&[query], Some(embedder), &asked(mode, 10), &go_on).unwrap().remove(0);
    hits.into_iter().map(|hit| (hit.id, hit.score)).collect()
}

pub const MODES: [SearchMode; 4] = [SearchMode::Hybrid, SearchMode::Vector, SearchMode::Lexical, SearchMode::Exact];

#[test]
fn what_goes_in_comes_out_and_is_found() {
    let (_, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let mut all = records(300, &mut random);
    all[7].text = "the walrus_count of WalrusReport".to_owned();
    let collection = filled(folder.path(), &all, &embedder);
    assert_eq!(embedder.asked.load(Ordering::Relaxed), 300);
    for mode in [SearchMode::Hybrid, SearchMode::Lexical] {
        for query in ["walrus", "walrus_count", "walrusreport"] {
            assert_eq!(found(&collection, query, &embedder, mode)[0].0, "d7", "{mode:?} {query}");
        }
    }
    let query = all[33].content();
    for mode in MODES {
        assert_eq!(found(&collection, &query, &embedder, mode)[0].0, "d33", "{mode:?}");
    }
    let mut exported = Vec::new();
    collection
        .export(&mut |record| {
            exported.push(record.clone());
            Ok(())
        })
        .unwrap();
    assert_eq!(exported, all);

    // Again: nothing is new; replaced: the old text is gone; and only the new one is embedded.
    let before = embedder.asked.load(Ordering::Relaxed);
    assert_eq!(collection.put(&all).unwrap(), Stored { added: 0, replaced: 0, unchanged: 300 });
    all[7].text = "an albatross".to_owned();
    let stored = collection
        .put(&[all[3].clone(), all[7].clone(), Record { text: "twice".into(), ..all[9].clone() }, all[9].clone()])
        .unwrap();
    assert_eq!(stored, Stored { added: 0, replaced: 2, unchanged: 2 });
    assert_eq!(collection.embed_missing(&embedder, &go_on).unwrap(), 1);
    assert_eq!(embedder.asked.load(Ordering::Relaxed), before + 1);
    assert_eq!(found(&collection, "albatross", &embedder, SearchMode::Hybrid)[0].0, "d7");
    assert_eq!(found(&collection, "walrus", &embedder, SearchMode::Lexical), []);
    assert!(collection.wants_refresh());
    collection.refresh(Some(embedder.name()), &go_on).unwrap();
    assert!(!collection.wants_refresh());
    assert_eq!(collection.delete(&["d7".to_owned(), "nobody".to_owned()]).unwrap(), 1);
    assert_eq!(found(&collection, "albatross", &embedder, SearchMode::Lexical), []);
    assert_eq!(collection.statistics().unwrap().documents, 299);
}

#[test]
fn what_lies_beyond_a_models_window_is_found() {
    let (seed, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Narrow::default();
    let mut passage = || (0..12).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect::<Vec<_>>().join(" ");
    let texts: Vec<Vec<String>> = (0..120).map(|number| (0..1 + number % 5).map(|_| passage()).collect()).collect();
    let records: Vec<Record> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| Record { id: format!("d{number}"), text: text.join(" "), ..Record::default() })
        .collect();
    let vector = |text: &str| codriver_vectors::unit(&embedder.0.embed(&[text]).unwrap()[0]).unwrap();
    let collection = Collections::at(folder.path()).open_or_create("long").unwrap();
    collection.put(&records).unwrap();
    assert_eq!(collection.embed_missing(&embedder, &go_on).unwrap(), 120);
    let again = Collections::at(folder.path()).open("long").unwrap();
    for collection in [&collection, &again] {
        for (number, text) in texts.iter().enumerate().step_by(7) {
            // The first window, or one after it together with it: the nearest of these to the query.
            let query = text.last().unwrap();
            let (asked_for, first) = (vector(query), |text: &[String]| vector(&text[0]));
            let nearness = |text: &Vec<String>| {
                let start = first(text);
                let of_window = |window: &String| {
                    let both: Vec<f32> =
                        start.iter().zip(vector(window)).map(|(first, later)| 2.0 * first + later).collect();
                    codriver_vectors::dot(&codriver_vectors::unit(&both).unwrap(), &asked_for)
                };
                text.iter().skip(1).map(of_window).fold(codriver_vectors::dot(&start, &asked_for), f32::max)
            };
            let mut expected: Vec<(f32, usize)> = texts.iter().map(nearness).zip(0..).collect();
            expected.sort_by(|one, other| other.0.total_cmp(&one.0));
            for mode in [SearchMode::Vector, SearchMode::Exact] {
                let hits = collection.search(&[query], Some(&embedder), &asked(mode, 30), &go_on).unwrap().remove(0);
                assert_eq!(hits.len(), 30, "each document once, seed {seed}");
                for (hit, (cosine, _)) in hits.iter().zip(&expected) {
                    assert!((hit.score - cosine).abs() < 1e-4, "seed {seed}, document {number}: {hit:?}, not {cosine}");
                }
            }
            let hits = collection
                .search(&[query], Some(&embedder), &asked(SearchMode::Hybrid, 120), &go_on)
                .unwrap()
                .remove(0);
            let own = hits.iter().find(|hit| hit.id == format!("d{number}")).unwrap();
            assert!((own.cosine.unwrap() - nearness(text)).abs() < 1e-4, "seed {seed}: {own:?}");
        }
        collection.refresh(Some(embedder.name()), &go_on).unwrap();
    }
    // Taken out, all of its windows are gone; what a filter lets through is found by any of them.
    collection.delete(&["d4".to_owned()]).unwrap();
    let query = texts[4].last().unwrap();
    let hits = collection.search(&[query], Some(&embedder), &asked(SearchMode::Vector, 200), &go_on).unwrap().remove(0);
    assert!(hits.len() == 119 && hits.iter().all(|hit| hit.id != "d4"));
}

#[test]
fn filters_and_both_halves() {
    let (seed, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let all = records(900, &mut random);
    let collection = filled(folder.path(), &all, &embedder);
    for mode in MODES {
        let filter = vec!["half=1".parse().unwrap(), "kind=b".parse().unwrap()];
        let asked = CollectionQuery { mode, k: 2000, filter, texts: true };
        let hits = collection.search(&["amber basalt cedar"], Some(&embedder), &asked, &go_on).unwrap().remove(0);
        assert!(!hits.is_empty(), "seed {seed}");
        assert!(hits.iter().all(|hit| {
            hit.record.as_ref().is_some_and(|record| record.metadata["half"] == 1 && record.metadata["kind"] == "b")
        }));
        if mode != SearchMode::Lexical {
            assert_eq!(hits.len(), 150, "{mode:?}");
        }
    }
    let hits =
        collection.search(&["amber fjord"], Some(&embedder), &asked(SearchMode::Hybrid, 20), &go_on).unwrap().remove(0);
    assert!(hits.is_sorted_by(|one, other| one.score >= other.score) && hits.iter().all(|hit| hit.cosine.is_some()));
    assert!(matches!(
        collection.search(&["x"], None, &asked(SearchMode::Vector, 3), &go_on),
        Err(MemoryError::NoEmbedder)
    ));
    assert_eq!(collection.search(&["amber"], None, &asked(SearchMode::Lexical, 3), &go_on).unwrap()[0].len(), 3);
    let many: Vec<&str> = WORDS.iter().cycle().take(300).copied().collect();
    let results = collection.search(&many, Some(&embedder), &asked(SearchMode::Hybrid, 5), &go_on).unwrap();
    assert_eq!((results.len(), &results[0]), (300, &results[20]));
}

#[test]
fn few_are_ranked_as_duckdb_ranks_them() {
    let (seed, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let all = records(2000, &mut random);
    let collection = filled(folder.path(), &all, &embedder);
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&format!("CREATE TABLE v (id VARCHAR, vector FLOAT[{DIMENSIONS}])")).unwrap();
    let list = |text: &str| format!("{:?}::FLOAT[{DIMENSIONS}]", embedder.embed(&[text]).unwrap()[0]);
    for block in all.chunks(200) {
        let rows: Vec<String> =
            block.iter().map(|record| format!("('{}', {})", record.id, list(&record.content()))).collect();
        connection.execute_batch(&format!("INSERT INTO v VALUES {}", rows.join(","))).unwrap();
    }
    for query in ["amber summit", "river", "kelp lagoon meadow"] {
        let sql =
            format!("SELECT array_cosine_similarity(vector, {}) AS c FROM v ORDER BY c DESC LIMIT 10", list(query));
        let expected: Vec<f32> = connection
            .prepare(&sql)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for mode in [SearchMode::Vector, SearchMode::Exact] {
            let ours = found(&collection, query, &embedder, mode);
            assert_eq!(ours.len(), 10);
            for ((id, score), expected) in ours.iter().zip(&expected) {
                assert!((score - expected).abs() < 1e-5, "seed {seed}: {score} for {expected}");
                let sql = format!("SELECT array_cosine_similarity(vector, {}) FROM v WHERE id = '{id}'", list(query));
                let own: f32 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
                assert!((score - own).abs() < 1e-5, "seed {seed}: {id}");
            }
        }
    }
}

#[test]
fn damaged_index_files_are_noticed_and_made_anew() {
    let (seed, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let all = records(400, &mut random);
    let query = "amber basalt tundra";
    let expected: Vec<Vec<(String, f32)>> = {
        let collection = filled(folder.path(), &all, &embedder);
        MODES.iter().map(|mode| found(&collection, query, &embedder, *mode)).collect()
    };
    let index = folder.path().join("things/index");
    let files: Vec<_> = fs_err::read_dir(&index).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    let whole: Vec<Vec<u8>> = files.iter().map(|file| fs_err::read(file).unwrap()).collect();
    for round in 0..24 {
        let which = round % 2;
        let mut bytes = whole[which].clone();
        match round % 4 / 2 {
            0 => bytes.truncate(random.random_range(0..bytes.len())),
            _ => {
                let place = random.random_range(0..bytes.len());
                // The rest of the vectors' first page is empty and never read.
                let place = if which == 0 || !(64..4096).contains(&place) { place } else { place % 64 };
                let place = if files[which].ends_with("lexical") {
                    place
                } else if (64..4096).contains(&place) {
                    place % 64
                } else {
                    place
                };
                bytes[place] ^= 1 << random.random_range(0..8);
            }
        }
        match round {
            20 => fs_err::remove_file(&files[which]).unwrap(),
            21 => fs_err::remove_dir_all(&index).unwrap(),
            _ => fs_err::write(&files[which], &bytes).unwrap(),
        }
        let collection = Collections::at(folder.path()).open("things").unwrap();
        let findings = collection.verify().unwrap();
        assert!(findings.iter().any(|finding| !finding.sound), "seed {seed}, round {round}: {findings:?}");
        for (mode, expected) in MODES.iter().zip(&expected) {
            let found = found(&collection, query, &embedder, *mode);
            let scores = |hits: &[(String, f32)]| hits.iter().map(|hit| hit.1).collect::<Vec<_>>();
            for (one, other) in scores(&found).iter().zip(scores(expected)) {
                assert!((one - other).abs() < 1e-4, "seed {seed}, round {round}, {mode:?}");
            }
        }
        assert!(collection.wants_refresh(), "seed {seed}, round {round}");
        collection.refresh(Some(embedder.name()), &go_on).unwrap();
        let findings = Collections::at(folder.path()).open("things").unwrap().verify().unwrap();
        assert!(findings.iter().all(|finding| finding.sound), "seed {seed}, round {round}: {findings:?}");
        // As they were: a build on several threads links differently each time.
        fs_err::create_dir_all(&index).unwrap();
        files.iter().zip(&whole).for_each(|(file, bytes)| fs_err::write(file, bytes).unwrap());
    }
}

#[test]
fn searches_go_on_while_documents_come() {
    let (_, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Arc::new(Hashed::default());
    let all = records(1200, &mut random);
    filled(folder.path(), &all[..200], &embedder);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let collection = Collections::at(folder.path()).open("things").unwrap();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(found(&collection, "amber kelp", &embedder, SearchMode::Hybrid).len(), 10);
                }
            });
        }
        let collection = Collections::at(folder.path()).open("things").unwrap();
        for block in all[200..].chunks(100) {
            collection.put(block).unwrap();
            collection.embed_missing(&*embedder, &go_on).unwrap();
            collection.refresh(Some(embedder.name()), &go_on).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let collection = Collections::at(folder.path()).open("things").unwrap();
    assert_eq!(found(&collection, &all[1100].content(), &embedder, SearchMode::Hybrid)[0].0, "d1100");
}

#[test]
fn an_import_that_was_stopped_goes_on() {
    let (_, mut random) = seed();
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let collection = Collections::at(folder.path()).open_or_create("things").unwrap();
    collection.put(&records(3000, &mut random)).unwrap();
    let stopped = collection.embed_missing(&embedder, &|done, _| done < 1000);
    assert!(matches!(stopped, Err(MemoryError::Stopped)));
    let before = embedder.asked.load(Ordering::Relaxed);
    assert!((1000..3000).contains(&before));
    // What had come is kept; what is missing still comes.
    assert_eq!(collection.embed_missing(&embedder, &go_on).unwrap() + before, 3000);
    assert_eq!(found(&collection, "amber", &embedder, SearchMode::Vector).len(), 10);
}

#[test]
fn collections_have_names_and_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let collections = Collections::at(folder.path().join("deep"));
    assert_eq!(collections.list().unwrap(), [""; 0]);
    let error = collections.open("papers").err().unwrap().to_string();
    assert!(error.contains("no collection \"papers\"") && error.contains("codriver memory import"), "{error}");
    let papers = collections.open_or_create("papers").unwrap();
    collections.open_or_create("Übersicht-2.b").unwrap();
    for name in ["", ".", "..", "a/b", ".hidden", "a b", &"x".repeat(101)] {
        assert!(matches!(collections.open_or_create(name), Err(MemoryError::CollectionName { .. })), "{name:?}");
    }
    assert_eq!(collections.list().unwrap(), ["papers", "Übersicht-2.b"]);
    let lock = papers.lock().unwrap();
    assert!(matches!(papers.lock(), Err(MemoryError::CollectionBusy { .. })));
    drop(lock);
    collections.remove("papers").unwrap();
    assert_eq!(collections.list().unwrap(), ["Übersicht-2.b"]);
    assert!(!folder.path().join("deep/papers").exists());
}

#[test]
fn with_a_key_nothing_that_was_read_lies_open() {
    let folder = tempfile::tempdir().unwrap();
    let embedder = Hashed::default();
    let key = MasterKey::random();
    let line = r#"{"id":"d1","title":"Zyzzyva","text":"weevilword","metadata":{"place":"metadataword"}}"#;
    let collections = Collections::at(folder.path()).with_key(key.clone());
    let collection = collections.open_or_create("things").unwrap();
    collection.put(&[parse_line(1, line).unwrap()]).unwrap();
    collection.embed_missing(&embedder, &go_on).unwrap();
    collection.refresh(Some(embedder.name()), &go_on).unwrap();
    let direction: Vec<u8> = embedder.embed(&["Zyzzyva\nweevilword"]).unwrap()[0][..4]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let mut files = 0;
    for folder in [folder.path().join("things"), folder.path().join("things/index")] {
        for file in fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            let bytes = fs_err::read(&file).unwrap();
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle));
            for needle in [&b"zyzzyva"[..], b"weevilword", b"metadataword", &direction] {
                assert!(!holds(needle), "{}", file.display());
            }
            files += 1;
        }
    }
    assert!(files >= 4);
    let again = collections.open("things").unwrap();
    assert!(again.verify().unwrap().iter().all(|finding| finding.sound));
    for mode in MODES {
        assert_eq!(found(&again, "weevilword", &embedder, mode)[0].0, "d1");
    }
    assert!(!again.wants_refresh());
    let mut exported = Vec::new();
    again
        .export(&mut |record| {
            exported.push(record.line());
            Ok(())
        })
        .unwrap();
    assert_eq!(exported, [line]);
    let other = Collections::at(folder.path()).with_key(MasterKey::random()).open("things").unwrap();
    assert!(matches!(other.statistics(), Err(MemoryError::WrongKey { .. })));
}

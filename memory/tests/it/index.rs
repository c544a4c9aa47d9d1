//! The index's files: used where they fit, made anew where they don't, and never a place where something leaks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use codriver_memory::{MasterKey, Memory, NewChunk, Scope, SearchOptions};

use crate::support::{files_with, folder, of_project, turn, with_key};

const CHUNKS: usize = 5000;

fn chunks(document: usize) -> Vec<NewChunk> {
    let text = |number: usize| {
        format!("document {document} tells of heron{} and of lake{} in passage {number}", number % 97, number % 13)
    };
    (0..CHUNKS / 5).map(|number| NewChunk::new(format!("Part {number}"), text(number))).collect()
}

fn filled(memory: &Memory, scope: Scope) {
    for document in 0..5 {
        memory.add_chunks(&format!("book{document}.md"), &chunks(document), scope).unwrap();
    }
}

fn words(path: &Path) -> PathBuf {
    path.with_file_name("memory.duckdb.index").join("words")
}

/// Searches until the file is there and in use.
fn wait_for(memory: &Memory, path: &Path, before: Option<&[u8]>) -> Vec<u8> {
    let begin = Instant::now();
    loop {
        memory.search("heron1", 1).unwrap();
        match fs::read(words(path)) {
            Ok(bytes) if Some(bytes.as_slice()) != before => {
                // The search after it was written goes over to it.
                std::thread::sleep(Duration::from_millis(20));
                memory.search("heron1", 1).unwrap();
                return bytes;
            }
            _ => assert!(begin.elapsed() < Duration::from_secs(60), "no file of words was written"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Each of which one text answers best.
const QUERIES: [&str; 6] = [
    "heron3 and lake5 of document 2",
    "document 4 passage 611",
    "walrus after what",
    "heron96 lake4 document 0 290",
    "only otters anew",
    "quagga",
];

/// What is found first.
fn found(memory: &Memory) -> Vec<Option<(String, String)>> {
    let best = |query: &&str| memory.search(query, 8).unwrap().into_iter().next().map(|hit| (hit.id, hit.text));
    QUERIES.iter().map(best).collect()
}

#[test]
fn a_file_of_words_finds_what_a_new_index_finds() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    filled(&memory, Scope::Global);
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let other = memory.start_conversation("codriver", "b.ipynb").unwrap();
    memory.append_turn(&turn(&conversation, "a walrus before the reset", "yes")).unwrap();
    wait_for(&memory, &path, None);
    // Everything that can change after the file was written.
    memory.add_chunks("book1.md", &[NewChunk::new("Anew", "otters only")], Scope::Global).unwrap();
    memory.remove_documents(Scope::Global, &["book3.md"]).unwrap();
    memory.reset_conversation(&conversation).unwrap();
    memory.append_turn(&turn(&conversation, "a walrus after the reset", "yes")).unwrap();
    memory.append_turn(&turn(&other, "what of otters?", "they swim")).unwrap();
    memory.remember("The walrus is pinned here", Scope::Session, "user").unwrap();
    memory.remember("A walrus costs 10 euro", Scope::Global, "user").unwrap();
    let kept_up = found(&memory);
    let ids =
        |query: &str| -> Vec<String> { memory.search(query, 4000).unwrap().into_iter().map(|hit| hit.id).collect() };
    let all = ids("heron3");
    assert!(all.len() > 20 && !all.iter().any(|id| id.starts_with("book3") || id.starts_with("book1")), "{all:?}");
    assert_eq!(ids("walrus").len(), 3);
    drop(memory);
    assert!(files_with(&path, "is pinned here").is_empty(), "the session is not written");
    let with_file = found(&Memory::open(&path, None).unwrap());
    fs::remove_file(words(&path)).unwrap();
    let without = found(&Memory::open(&path, None).unwrap());
    assert_eq!(with_file, without);
    assert_eq!(with_file, kept_up);
}

#[test]
fn a_damaged_file_of_words_is_noticed_and_made_anew() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    filled(&memory, Scope::Global);
    let whole = wait_for(&memory, &path, None);
    let expected = found(&memory);
    drop(memory);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let of_nothing = b"not an index".to_vec();
    for damaged in [Some(flipped), Some(whole[..whole.len() / 3].to_vec()), Some(of_nothing), None] {
        match &damaged {
            Some(bytes) => fs::write(words(&path), bytes).unwrap(),
            None => fs::remove_file(words(&path)).unwrap(),
        }
        let memory = Memory::open(&path, None).unwrap();
        assert_eq!(found(&memory), expected);
        wait_for(&memory, &path, damaged.as_deref());
        assert_eq!(found(&memory), expected);
    }
}

#[test]
fn a_file_of_words_keeps_projects_apart() {
    let (_folder, path) = folder();
    let one = of_project(&path, "one");
    filled(&one, Scope::Project);
    let conversation = one.start_conversation("codriver", "a.ipynb").unwrap();
    one.append_turn(&turn(&conversation, "our walrus", "yes")).unwrap();
    one.add_chunks("shared.md", &[NewChunk::new("All", "a walrus for everyone")], Scope::Global).unwrap();
    wait_for(&one, &path, None);
    drop(one);
    let other = of_project(&path, "other");
    assert!(other.search("heron3", 5).unwrap().is_empty());
    let texts = |memory: &Memory| -> Vec<String> {
        memory.search("walrus", 5).unwrap().into_iter().map(|hit| hit.text).collect()
    };
    assert_eq!(texts(&other), ["a walrus for everyone"]);
    drop(other);
    let one = of_project(&path, "one");
    assert_eq!(texts(&one).len(), 2);
    assert_eq!(one.search("heron3", 5).unwrap().len(), 5);
    // What a search asks for holds in the file, too.
    let only = |options: SearchOptions| one.search_with("walrus heron3", 9, &options).unwrap();
    let of_book = only(SearchOptions { origin: Some("book2".to_owned()), ..SearchOptions::default() });
    assert!(of_book.len() == 9 && of_book.iter().all(|hit| hit.origin == "book2.md"), "{of_book:?}");
    assert_eq!(only(SearchOptions { scopes: vec![Scope::Global], ..SearchOptions::default() }).len(), 1);
    assert_eq!(only(SearchOptions { kinds: vec!["message"], ..SearchOptions::default() }).len(), 1);
    let now = chrono::Utc::now();
    assert!(only(SearchOptions { since: Some(now), ..SearchOptions::default() }).is_empty());
    assert_eq!(only(SearchOptions { before: Some(now), ..SearchOptions::default() }).len(), 9);
}

#[test]
fn a_sealed_file_of_words_tells_nothing() {
    let (_folder, path) = folder();
    let key = MasterKey::random();
    let memory = Memory::open_with(with_key(&path, &key)).unwrap();
    filled(&memory, Scope::Global);
    wait_for(&memory, &path, None);
    let expected = found(&memory);
    drop(memory);
    for secret in ["heron3", "book2.md", "Part 7"] {
        assert!(files_with(&path, secret).is_empty(), "{secret}");
    }
    let memory = Memory::open_with(with_key(&path, &key)).unwrap();
    assert_eq!(found(&memory), expected);
}

//! Taking in files and pages, and keeping up with them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use codriver_memory::ingest::{
    Fetched, Freshness, IngestError, Report, Request, Surroundings, add, embed, freshness, refresh, remove, select,
};
use codriver_memory::{Memory, Scope, StoredDocument};
use tempfile::TempDir;

use crate::files::{parquet, pdf};
use crate::support::{Topics, folder};

/// A folder to work in, and a web of two pages.
struct Workplace {
    folder: TempDir,
    root: PathBuf,
    /// Files that were opened.
    opened: Mutex<Vec<String>>,
    /// Stops when this many files were opened.
    stop_after: AtomicUsize,
    web: Mutex<HashMap<String, Fetched>>,
}

impl Workplace {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path().canonicalize().unwrap();
        Self { folder, root, opened: Mutex::default(), stop_after: AtomicUsize::new(usize::MAX), web: Mutex::default() }
    }

    /// Written a while ago: what was written just now may still change within the clock's step.
    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        self.write_at(name, contents, 1_000);
    }

    fn write_at(&self, name: &str, contents: impl AsRef<[u8]>, seconds_ago: u64) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
    }

    fn opened(&self) -> Vec<String> {
        let mut opened = std::mem::take(&mut *self.opened.lock().unwrap());
        opened.sort();
        opened
    }

    fn add(&self, memory: &Memory, source: &str) -> Result<Report, IngestError> {
        let request = Request { source: source.to_owned(), scope: Scope::Global, collection: String::new() };
        let mut report = add(memory, &request, self, &mut |_| {})?;
        embed(memory, self, &mut report, &mut |_| {})?;
        Ok(report)
    }

    fn refresh(&self, memory: &Memory, selection: Option<&str>) -> Report {
        let mut report = refresh(memory, selection, self, &mut |_| {}).unwrap();
        embed(memory, self, &mut report, &mut |_| {}).unwrap();
        report
    }

    /// The documents' names below the folder.
    fn names(&self, memory: &Memory) -> Vec<String> {
        let documents = memory.documents(None).unwrap();
        documents
            .iter()
            .map(|document| Path::new(&document.origin).strip_prefix(&self.root).unwrap().display().to_string())
            .collect()
    }
}

impl Surroundings for Workplace {
    fn workspace(&self) -> &Path {
        &self.root
    }

    fn is_cancelled(&self) -> bool {
        self.opened.lock().unwrap().len() >= self.stop_after.load(Ordering::SeqCst)
    }

    fn is_secret(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == ".env" || name == "id_rsa")
    }

    fn commit(&self, path: &Path, _contents: &[u8]) -> Option<String> {
        self.opened.lock().unwrap().push(path.strip_prefix(&self.root).unwrap().display().to_string());
        Some("abc1234".to_owned())
    }

    fn pdf_pages(&self, contents: &[u8]) -> Result<Vec<String>, String> {
        codriver_memory::chunk::pages(contents)
    }

    fn fetch(&self, url: &str) -> Result<Fetched, String> {
        self.web.lock().unwrap().get(url).cloned().ok_or_else(|| "the server answered 404 Not Found".to_owned())
    }
}

fn counts(report: &Report) -> (usize, usize, usize, usize) {
    (report.added, report.changed, report.removed, report.unchanged)
}

#[test]
fn a_folder_goes_in_but_for_what_should_stay_out() {
    let place = Workplace::new();
    place.write("src/lib.rs", "/// Sums the revenue of a year.\npub fn revenue() -> u32 { 7 }\n");
    place.write("notes.md", "# Pets\n\nThe dog is called Ada.\n");
    place.write("data/sales.csv", "region,amount\nnorth,1\nsouth,2\n");
    parquet(&place.root.join("data/numbers.parquet"));
    place.write("paper.pdf", pdf(&[&["A paper about storms"]]));
    place.write("latin.txt", b"Gr\xfc\xdfe");
    place.write(".gitignore", "target/\n*.tmp\n");
    place.write("target/out.rs", "fn built() {}\n");
    place.write("scratch.tmp", "scratch\n");
    place.write(".codriverignore", "vendor/\n");
    place.write("vendor/theirs.rs", "fn theirs() {}\n");
    place.write(".hidden/inner.txt", "hidden\n");
    place.write(".env", "KEY=1\n");
    place.write("keys/id_rsa", "PRIVATE\n");
    place.write("logo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    place.write("Cargo.lock", "[[package]]\n");
    place.write("vocabulary.json", format!("[{}]", "\"word\",".repeat(20_000)));
    place.write("empty.py", "");
    place.write("broken.ipynb", "{\"cells\": [");
    std::os::unix::fs::symlink(place.root.join("notes.md"), place.root.join("link.md")).unwrap();

    let memory = Memory::in_memory(None).unwrap();
    let report = place.add(&memory, ".").unwrap();
    let expected = ["data/numbers.parquet", "data/sales.csv", "latin.txt", "notes.md", "paper.pdf", "src/lib.rs"];
    assert_eq!(place.names(&memory), expected);
    assert_eq!(counts(&report), (6, 0, 0, 0));
    let failures: Vec<&str> = report.failures().map(|problem| problem.origin.rsplit('/').next().unwrap()).collect();
    assert_eq!(failures, ["broken.ipynb"]);
    let mut reasons: Vec<(String, usize)> =
        report.left_out().iter().map(|(reason, count, _)| ((*reason).to_owned(), *count)).collect();
    reasons.sort();
    let expected = [
        ("a link", 1),
        ("binary", 1),
        ("hidden", 3),
        ("it looks like it holds secrets", 2),
        ("it says nothing", 1),
        ("written by a program", 2),
    ];
    assert_eq!(reasons, expected.map(|(reason, count)| (reason.to_owned(), count)));

    let hit = &memory.search("revenue of a year", 1).unwrap()[0];
    assert_eq!(memory.whereabouts(hit), format!("{}/src/lib.rs:1-2", place.root.display()));
    assert!(hit.title.starts_with("src/lib.rs › fn revenue"), "{}", hit.title);
    let hit = &memory.search("storms", 1).unwrap()[0];
    assert!(memory.whereabouts(hit).ends_with("/paper.pdf#page=1"), "{}", memory.whereabouts(hit));
    let document = &select(&memory, "src", &place.root).unwrap()[0];
    assert_eq!((document.kind.as_str(), document.chunks, document.commit.as_deref()), ("Rust", 1, Some("abc1234")));
    assert!(matches!(place.add(&memory, ".env"), Err(IngestError::Refused { .. })));
    assert!(matches!(place.add(&memory, "nowhere"), Err(IngestError::NotFound(_))));
    assert!(matches!(place.add(&memory, "*.nothing"), Err(IngestError::Nothing(_))));
    assert_eq!(place.add(&memory, "logo.png").unwrap().failures().count(), 1, "named itself, it is a failure");
}

#[test]
fn only_what_changed_is_read_and_only_what_is_new_is_embedded() {
    let (_folder, path) = folder();
    let topics = Arc::new(Topics::default());
    let memory = Memory::open(&path, Some(topics.clone())).unwrap();
    let asked = || std::mem::take(&mut *topics.asked.lock().unwrap());
    let place = Workplace::new();
    place.write("a.md", "# A\n\nthe dog\n");
    place.write("b.md", "# B\n\nthe sales\n");
    place.write("c/c.md", "# C\n\nthe rain\n");
    assert_eq!(counts(&place.add(&memory, ".").unwrap()), (3, 0, 0, 0));
    assert_eq!((place.opened().len(), asked().len()), (3, 3));

    assert_eq!(counts(&place.add(&memory, ".").unwrap()), (0, 0, 0, 3));
    assert_eq!((place.opened(), asked()), (vec![], vec![]), "not even opened");

    // Touched, and with the same contents: read, not embedded, and not read again.
    place.write_at("a.md", "# A\n\nthe dog\n", 500);
    assert_eq!(counts(&place.refresh(&memory, None)), (0, 0, 0, 3));
    assert_eq!((place.opened(), asked()), (vec!["a.md".to_owned()], vec![]));
    assert_eq!(counts(&place.refresh(&memory, None)), (0, 0, 0, 3));
    assert_eq!(place.opened(), Vec::<String>::new());
    let pieces: Vec<usize> = memory.documents(None).unwrap().iter().map(|document| document.chunks).collect();
    assert_eq!(pieces, [1, 1, 1], "those of what was not cut again, too");

    place.write_at("b.md", "# B\n\nthe income\n", 400);
    place.write("d.md", "# D\n\nthe snow\n");
    fs::remove_file(place.root.join("c/c.md")).unwrap();
    let states: Vec<Freshness> = memory.documents(None).unwrap().iter().map(freshness).collect();
    assert_eq!(states, [Freshness::Current, Freshness::Changed, Freshness::Gone]);
    assert_eq!(counts(&place.refresh(&memory, None)), (1, 1, 1, 1));
    assert_eq!(place.names(&memory), ["a.md", "b.md", "d.md"]);
    let mut embedded = asked();
    embedded.sort();
    assert_eq!(embedded, ["b.md › B\n# B\n\nthe income\n", "d.md › D\n# D\n\nthe snow\n"]);
    assert_eq!(memory.search("rain", 3).unwrap().iter().filter(|hit| hit.text.contains("rain")).count(), 0);

    // As large and as old as before, but written while it was read: noticed.
    let now = SystemTime::now();
    fs::write(place.root.join("a.md"), "# A\n\nthe cat\n").unwrap();
    assert_eq!(counts(&place.refresh(&memory, Some("a.md"))), (0, 1, 0, 0));
    let states: Vec<Freshness> = memory.documents(None).unwrap().iter().map(freshness).collect();
    assert_eq!(states, [Freshness::Current; 3], "just read");
    fs::write(place.root.join("a.md"), "# A\n\nthe pup\n").unwrap();
    fs::File::options().write(true).open(place.root.join("a.md")).unwrap().set_modified(now).unwrap();
    assert_eq!(place.refresh(&memory, Some("a.md")).changed, 1);

    drop(memory);
    let memory = Memory::open(&path, Some(topics.clone())).unwrap();
    place.opened();
    asked();
    assert_eq!(counts(&place.add(&memory, ".").unwrap()), (0, 0, 0, 3));
    assert_eq!(asked(), Vec::<String>::new(), "vectors come from the database");
    assert_eq!(remove(&memory, "*.md", &place.root).unwrap(), 3);
    assert_eq!(memory.documents(None).unwrap(), []);
    let statistics = memory.statistics().unwrap();
    assert_eq!((statistics.chunks, statistics.embeddings), (0, 0));
}

#[test]
fn an_interrupt_leaves_what_is_done_and_the_same_goes_on_from_there() {
    let memory = Memory::in_memory(None).unwrap();
    let place = Workplace::new();
    for number in 0..60 {
        place.write(&format!("{number:02}.md"), format!("# Number {number}\n\nText {number}.\n"));
    }
    place.stop_after.store(20, Ordering::SeqCst);
    let report = place.add(&memory, ".").unwrap();
    assert!(report.interrupted);
    let done = memory.documents(None).unwrap().len();
    assert!((15..60).contains(&done), "{done} of 60");
    place.stop_after.store(usize::MAX, Ordering::SeqCst);
    let opened = place.opened().len();
    let report = place.add(&memory, ".").unwrap();
    assert_eq!(counts(&report), (60 - done, 0, 0, done));
    assert_eq!(place.opened().len(), 60 - done, "what was kept before ({opened} opened) is not opened again");
}

#[test]
fn patterns_and_parts_of_sources() {
    let memory = Memory::in_memory(None).unwrap();
    let place = Workplace::new();
    for name in ["docs/a.md", "docs/deep/b.md", "docs/c.txt", "other/d.md"] {
        place.write(name, format!("About {name}.\n"));
    }
    place.add(&memory, "docs/**/*.md").unwrap();
    assert_eq!(place.names(&memory), ["docs/a.md", "docs/deep/b.md"]);
    place.add(&memory, "other").unwrap();
    place.write("docs/deep/e.md", "New.\n");
    place.write("other/f.md", "New.\n");
    // A part of a source: what is new in it, too, and nothing beside it.
    assert_eq!(counts(&place.refresh(&memory, Some("docs/deep"))), (1, 0, 0, 1));
    assert_eq!(place.names(&memory), ["docs/a.md", "docs/deep/b.md", "docs/deep/e.md", "other/d.md"]);
    fs::remove_dir_all(place.root.join("other")).unwrap();
    let report = place.refresh(&memory, None);
    assert_eq!(report.failures().count(), 1, "a folder that is gone may come back");
    assert_eq!(remove(&memory, "other", &place.root).unwrap(), 1);
    assert!(matches!(remove(&memory, "other", &place.root), Err(IngestError::Unknown(_))));
    assert!(place.folder.path().exists());
}

#[test]
fn pages_are_fetched_and_fetched_again() {
    let memory = Memory::in_memory(None).unwrap();
    let place = Workplace::new();
    let page = |text: &str| Fetched {
        contents: text.as_bytes().to_vec(),
        content_type: "text/html; charset=utf-8".to_owned(),
    };
    let url = "https://example.org/book/moves?x=1";
    let put = |fetched: Fetched| place.web.lock().unwrap().insert(url.to_owned(), fetched);
    put(page("<h1>Moves</h1><p>A move takes the value.</p>"));
    assert_eq!(counts(&place.add(&memory, url).unwrap()), (1, 0, 0, 0));
    assert_eq!(counts(&place.refresh(&memory, None)), (0, 0, 0, 1));
    let hit = &memory.search("move takes", 1).unwrap()[0];
    assert_eq!(
        (memory.whereabouts(hit).as_str(), hit.title.as_str()),
        (url, "https://example.org/book/moves?x=1 › Moves")
    );
    put(page("<h1>Moves</h1><p>A move leaves nothing behind.</p>"));
    assert_eq!(counts(&place.refresh(&memory, Some(url))), (0, 1, 0, 0));
    put(Fetched { contents: b"a,b\n1,2\n".to_vec(), content_type: "text/csv".to_owned() });
    assert_eq!(counts(&place.refresh(&memory, Some(url))), (0, 1, 0, 0));
    assert!(memory.search("1 row", 1).unwrap()[0].text.contains("2 columns and 1 row"));
    place.web.lock().unwrap().clear();
    let report = place.refresh(&memory, None);
    assert_eq!(report.failures().next().unwrap().reason, "the server answered 404 Not Found");
    assert_eq!(memory.documents(None).unwrap().len(), 1, "it stays until a person removes it");
}

#[test]
fn documents_of_the_session_and_of_the_project_are_told_apart() {
    let memory = Memory::in_memory(None).unwrap();
    let place = Workplace::new();
    place.write("a.md", "The walrus.\n");
    for scope in [Scope::Session, Scope::Project, Scope::Global] {
        let request = Request { source: "a.md".to_owned(), scope, collection: "sea".to_owned() };
        assert_eq!(counts(&add(&memory, &request, &place, &mut |_| {}).unwrap()), (1, 0, 0, 0), "{scope}");
    }
    let scopes: Vec<Scope> = memory.documents(None).unwrap().iter().map(|document| document.scope).collect();
    assert_eq!(scopes, [Scope::Session, Scope::Project, Scope::Global]);
    let of = |document: StoredDocument| memory.chunks_of(document.scope, &document.origin).unwrap().len();
    assert_eq!(memory.documents(None).unwrap().into_iter().map(of).collect::<Vec<_>>(), [1, 1, 1]);
    let origin = place.root.join("a.md").display().to_string();
    memory.remove_documents(Scope::Project, &[&origin]).unwrap();
    assert_eq!(memory.documents(Some(Scope::Project)).unwrap(), []);
    assert_eq!(memory.documents(None).unwrap().len(), 2);
}

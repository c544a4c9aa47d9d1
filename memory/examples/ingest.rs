//! How fast a source tree is taken in, cutting alone and into a database file, by words (no embedding model):
//! `cargo run --release -p codriver-memory --example ingest -- PATH`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use codriver_memory::chunk::{Kind, chunk};
use codriver_memory::ingest::{Fetched, Request, Surroundings, add};
use codriver_memory::{Memory, Scope};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("which folder? cargo run --release -p codriver-memory --example ingest -- PATH")?;
    let path = std::fs::canonicalize(path)?;
    cutting(&path)?;
    let folder = tempfile::tempdir()?;
    let memory = Memory::open(&folder.path().join("memory.duckdb"), None)?;
    for what in ["into a database file", "again, nothing changed"] {
        let request = Request { source: path.display().to_string(), scope: Scope::Global, collection: String::new() };
        let report = add(&memory, &request, &Nothing(path.clone()), &mut |_| {})?;
        let (documents, seconds) = (report.added + report.unchanged, report.elapsed.as_secs_f64());
        println!(
            "{what}: {documents} documents in {seconds:.2} s, {}",
            pace(report.chunks, report.bytes as usize, seconds)
        );
    }
    Ok(())
}

/// On one processor, the files in memory.
fn cutting(path: &Path) -> std::io::Result<()> {
    let entries = ignore::WalkBuilder::new(path).build().flatten();
    let files: Vec<PathBuf> = entries.map(ignore::DirEntry::into_path).filter(|path| path.is_file()).collect();
    let files: Vec<(PathBuf, Vec<u8>)> = files
        .into_iter()
        .map(|path| std::fs::read(&path).map(|contents| (path, contents)))
        .collect::<std::io::Result<_>>()?;
    let started = Instant::now();
    let (mut chunks, mut bytes) = (0, 0);
    for (path, contents) in &files {
        let kind = Kind::of(path, contents);
        if kind.is_table() {
            continue;
        }
        if let Ok(pieces) = chunk(&path.display().to_string(), kind, contents) {
            chunks += pieces.len();
            bytes += contents.len();
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "cutting alone, on one processor: {} files in {seconds:.2} s, {}",
        files.len(),
        pace(chunks, bytes, seconds)
    );
    Ok(())
}

fn pace(chunks: usize, bytes: usize, seconds: f64) -> String {
    format!(
        "{chunks} chunks of {bytes} bytes: {:.0} chunks/s, {:.2} MB/s",
        chunks as f64 / seconds,
        bytes as f64 / seconds / 1e6
    )
}

/// No network, no repository, no PDF files.
struct Nothing(PathBuf);

impl Surroundings for Nothing {
    fn workspace(&self) -> &Path {
        &self.0
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn is_secret(&self, _path: &Path) -> bool {
        false
    }

    fn commit(&self, _path: &Path, _contents: &[u8]) -> Option<String> {
        None
    }

    fn pdf_pages(&self, _contents: &[u8]) -> Result<Vec<String>, String> {
        Err("not measured".to_owned())
    }

    fn fetch(&self, _url: &str) -> Result<Fetched, String> {
        Err("not measured".to_owned())
    }
}

//! How fast a source tree is cut: `cargo run --release -p codriver-memory --example ingest -- PATH`.

use std::path::Path;
use std::time::Instant;

use codriver_memory::chunk::{Kind, chunk};

fn main() {
    let path = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let show = std::env::args().nth(2).is_some();
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(&path).sort_by_file_name(Ord::cmp).build().flatten() {
        if entry.path().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            files.push((entry.path().to_owned(), bytes));
        }
    }
    let started = Instant::now();
    let (mut chunks, mut bytes) = (0, 0);
    let mut slow = Vec::new();
    for (path, contents) in &files {
        let kind = Kind::of(path, &contents[..contents.len().min(512)]);
        if kind.is_table() { continue }
        let t = Instant::now();
        let Ok(pieces) = chunk(&path.strip_prefix(Path::new(&std::env::args().nth(1).unwrap_or_default())).unwrap_or(path).display().to_string(), kind, contents) else { continue };
        slow.push((t.elapsed(), contents.len(), path.clone()));
        chunks += pieces.len();
        bytes += contents.len();
        if show {
            for piece in &pieces {
                println!("──── {} {} [{}]\n{}", piece.title, piece.place, piece.text.len(), piece.text);
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{} files, {chunks} chunks, {bytes} bytes in {seconds:.2} s: {:.0} chunks/s, {:.1} MB/s", files.len(), chunks as f64 / seconds, bytes as f64 / seconds / 1e6);
    slow.sort();
    for (t, n, p) in slow.iter().rev().take(6) { eprintln!("{t:?} {n} {}", p.display()); }
}

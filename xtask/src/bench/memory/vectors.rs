//! Our graph beside hnswlib's and usearch's, on the same vectors, in turns, on one thread.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use codriver_vectors::{Admit, Built, Generation, Vectors};
use serde_json::Value;

use super::peers::{Peers, Searched};
use super::{at_least, at_most, row};
use crate::process::say;

const DIMENSIONS: usize = 384;
const K: usize = 10;
const RECALL: f64 = 0.97;

/// Widths that are tried, from narrow to wide.
const WIDTHS: [usize; 14] = [16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 400, 512];

pub fn measure(folder: &Path, count: usize, rounds: usize) -> Result<String> {
    let mut peers = Peers::start()?;
    let prepared = peers.prepare(folder, count)?;
    let path = folder.join("codriver.vectors");
    let seconds_path = folder.join("codriver.seconds");
    if !path.exists() {
        say("building ours");
        fs_err::write(&seconds_path, build(folder, &path)?.to_string())?;
    }
    let before = resident();
    let start = Instant::now();
    let vectors = Vectors::with_base(Generation::open(&path)?);
    let opened = start.elapsed().as_secs_f64();
    let queries = numbers(&folder.join("queries.f32"))?;
    let truth: Vec<u32> = words(&folder.join("truth.u32"))?;
    let search = |wide: usize| searched(&vectors, &queries, &truth, wide);
    let ours = (0, search(0));
    let (wide, _) = narrowest(|wide| Ok(search(wide)))?.context("no width reaches the recall")?;

    let mut text = String::new();
    text.push_str(&row(
        "recall@10 (as searched by default)",
        &format!("{:.4}", ours.1.recall),
        "",
        &at_least(ours.1.recall, RECALL),
    ));
    text.push_str(&row("  p99", &format!("{:.2} ms", 1e3 * ours.1.p99), "", &at_most(1e3 * ours.1.p99, 10.0, "ms")));
    for engine in ["hnswlib", "usearch"] {
        let figure = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let their_open = peers.open(engine)?;
        let Some((their_wide, _)) = narrowest(|wide| peers.search(engine, wide))? else {
            text.push_str(&row(&format!("{engine} never reaches recall {RECALL}"), "-", "", ""));
            continue;
        };
        let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            our_rates.push(search(wide).per_second);
            their_rates.push(peers.search(engine, their_wide)?.per_second);
        }
        let (ours, theirs) = (median(our_rates), median(their_rates));
        let name = format!("queries/s at recall {RECALL}, beside {engine}");
        let beside = format!("{theirs:.0} (wide {wide}, theirs {their_wide})");
        let verdict = if engine == "hnswlib" {
            format!("{:.2}x {}", ours / theirs, at_least(ours / theirs, 1.0))
        } else {
            format!("{:.2}x", ours / theirs)
        };
        text.push_str(&row(&name, &format!("{ours:.0}"), &beside, &verdict));
        let built = |seconds: f64| format!("{seconds:.0} s");
        let our_build: f64 =
            fs_err::read_to_string(&seconds_path).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        let their_build = prepared.get("build").map_or(f64::NAN, |build| figure(build, engine));
        text.push_str(&row(&format!("  build, beside {engine}"), &built(our_build), &built(their_build), ""));
        text.push_str(&row(
            &format!("  open, beside {engine}"),
            &format!("{opened:.2} s"),
            &format!("{:.2} s", figure(&their_open, "seconds")),
            "",
        ));
        let bytes = prepared.get("bytes").map_or(f64::NAN, |bytes| figure(bytes, engine)) / 1e6;
        let our_bytes = fs_err::metadata(&path)?.len() as f64 / 1e6;
        text.push_str(&row(
            &format!("  file, beside {engine}"),
            &format!("{our_bytes:.0} MB"),
            &format!("{bytes:.0} MB"),
            "",
        ));
        let memory = figure(&their_open, "resident") / 1e6;
        text.push_str(&row(
            &format!("  memory, beside {engine}"),
            &format!("{:.0} MB", (resident() - before) / 1e6),
            &format!("{memory:.0} MB"),
            "",
        ));
    }
    Ok(text)
}

/// Builds and writes; gives the seconds of building.
fn build(folder: &Path, path: &Path) -> Result<f64> {
    let base = numbers(&folder.join("base.f32"))?;
    let keys: Vec<u64> = (0..(base.len() / DIMENSIONS) as u64).collect();
    let vector = |position: usize| &base[position * DIMENSIONS..(position + 1) * DIMENSIONS];
    let start = Instant::now();
    let built = Built::build(DIMENSIONS, &keys, &vector, None, 0, 0, &|_| true)?;
    let seconds = start.elapsed().as_secs_f64();
    built.write(path)?;
    Ok(seconds)
}

fn searched(vectors: &Vectors, queries: &[f32], truth: &[u32], wide: usize) -> Searched {
    let (mut times, mut hits) = (Vec::new(), 0);
    for (query, truth) in queries.chunks_exact(DIMENSIONS).zip(truth.chunks_exact(100)) {
        let start = Instant::now();
        let found = vectors.search(query, K, wide, &Admit::All);
        times.push(start.elapsed().as_secs_f64());
        hits += found.iter().filter(|found| truth[..K].contains(&(found.key as u32))).count();
    }
    times.sort_by(f64::total_cmp);
    let total: f64 = times.iter().sum();
    Searched {
        recall: hits as f64 / (K * times.len()) as f64,
        per_second: times.len() as f64 / total,
        p99: times[times.len() * 99 / 100],
    }
}

fn narrowest(mut search: impl FnMut(usize) -> Result<Searched>) -> Result<Option<(usize, Searched)>> {
    for wide in WIDTHS {
        let searched = search(wide)?;
        if searched.recall >= RECALL {
            return Ok(Some((wide, searched)));
        }
    }
    Ok(None)
}

fn numbers(path: &Path) -> Result<Vec<f32>> {
    Ok(fs_err::read(path)?.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect())
}

fn words(path: &Path) -> Result<Vec<u32>> {
    Ok(fs_err::read(path)?.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Of this process, in bytes.
fn resident() -> f64 {
    let pages =
        fs_err::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<f64>().ok());
    pages.unwrap_or(f64::NAN) * 4096.0
}

//! How fast an embedding model reads.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::{median, resident_memory};
use crate::{Cancellation, DeviceChoice, ModelError, Prompt, TextEmbedder, device};

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbeddingReport {
    pub model: String,
    /// The device, in words.
    pub device: String,
    pub load_seconds: f64,
    /// Memory of this process that loading and running the model took, in bytes.
    pub memory_bytes: Option<u64>,
    pub texts: usize,
    /// Of all texts together.
    pub texts_per_second: f64,
    /// One text on its own: the median of some of them.
    pub latency_seconds: f64,
    /// The texts' vectors.
    #[serde(skip)]
    pub vectors: Vec<Vec<f32>>,
}

/// Texts that are embedded one at a time.
const SINGLES: usize = 50;
/// Texts that are embedded before anything is measured.
const WARM_UP: usize = 64;

/// Loads the embedding model in a folder and measures it on texts. `on_test` is told what is next,
/// `on_done` of texts that are done.
pub fn measure_embedder(
    name: &str,
    path: &Path,
    choice: DeviceChoice,
    texts: &[&str],
    cancellation: &Cancellation,
    on_test: &mut dyn FnMut(&str),
    on_done: &(dyn Fn(usize) + Sync),
) -> Result<EmbeddingReport, ModelError> {
    let before = resident_memory();
    on_test("loading");
    let started = Instant::now();
    let embedder = TextEmbedder::open(path, choice)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let embed = |texts: &[&str], on_done| embedder.embed_watched(Prompt::Default, texts, cancellation, on_done);
    on_test("warming up");
    embed(texts.get(..WARM_UP.min(texts.len())).unwrap_or_default(), &|_| ())?;
    on_test("all texts");
    let started = Instant::now();
    let vectors = embed(texts, on_done)?;
    let seconds = started.elapsed().as_secs_f64();
    on_test("one text at a time");
    let mut singles = Vec::new();
    for text in texts.iter().step_by((texts.len() / SINGLES).max(1)) {
        let started = Instant::now();
        embed(&[text], &|_| ())?;
        singles.push(started.elapsed().as_secs_f64());
    }
    Ok(EmbeddingReport {
        model: name.to_owned(),
        device: device::describe(choice),
        load_seconds,
        memory_bytes: before.zip(resident_memory()).map(|(before, after)| after.saturating_sub(before)),
        texts: texts.len(),
        texts_per_second: texts.len() as f64 / seconds.max(f64::MIN_POSITIVE),
        latency_seconds: median(&singles),
        vectors,
    })
}

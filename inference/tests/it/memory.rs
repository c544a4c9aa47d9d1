//! What models take of memory: estimated by their files, asked for before they are loaded.

use std::fs::File;
use std::path::Path;

use codriver_inference::{
    Cancellation, ChatModel, DeviceChoice, LocalModel, ModelError, OpenOptions, SamplingParameters, TextEmbedder,
    memory_estimate,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{config, write_json, write_random_model};

#[test]
fn estimates_are_the_files_numbers_in_32_bits() {
    let folder = model(2048);
    let estimate = memory_estimate(folder.path()).unwrap();
    let file = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(file[..8].try_into().unwrap());
    assert_eq!(estimate.weights, file.len() as u64 - 8 - header);
    // Keys and values: 2 layers, 2 heads of 4 dimensions, which values are padded to 32 of, 4 bytes each.
    assert_eq!(estimate.cache, 2 * 2 * (4 + 32) * 4 * 2048);
    // No scores of all positions: a step of 256 tokens does with little.
    assert!(estimate.workspace < 2 << 20, "{estimate:?}");
    assert_eq!(estimate.window, 2048);
    assert_eq!(estimate.total(), estimate.weights + estimate.cache + estimate.workspace);
    assert!(estimate.available.unwrap() > estimate.total());
    let shown = estimate.to_string();
    assert!(shown.contains("GB weights") && shown.contains("2048 tokens") && shown.contains("available"), "{shown}");
    memory_estimate(Path::new("/no/such/folder")).unwrap_err();
}

#[test]
fn a_model_beyond_memory_is_refused_before_it_is_read() {
    let folder = model(2048);
    enlarge(folder.path(), "model.layers.0.filler.weight");
    let start = std::time::Instant::now();
    let error = open(folder.path(), &OpenOptions::default()).err().unwrap().to_string();
    for part in ["needs about 800.0 GB", "400.0 GB weights", "available", "smaller model", "CODRIVER_IGNORE_MEMORY"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(memory_estimate(folder.path()).unwrap().weights > 400_000_000_000);
    // Loaded anyway, the numbers that no layer asks for are never read.
    open(folder.path(), &OpenOptions { ignore_memory: true, ..OpenOptions::default() }).unwrap();

    write_json(folder.path(), "config.json", &encoder_config());
    let error = TextEmbedder::open(folder.path(), DeviceChoice::Cpu).err().unwrap().to_string();
    assert!(error.contains("needs about 80") && error.contains("smaller model"), "{error}");
    assert!(start.elapsed().as_secs() < 20);
}

#[test]
fn a_window_beyond_memory_is_cut_and_one_that_was_asked_for_is_refused() {
    const BEYOND: usize = 1 << 28;
    let folder = model(BEYOND);
    let cut = open(folder.path(), &OpenOptions::default()).unwrap().context_window();
    assert!((4096..BEYOND).contains(&cut), "{cut}");
    // Nearly all that there is goes to keys and values; what else a token takes is for where it is listed.
    let available = memory_estimate(folder.path()).unwrap().available.unwrap();
    let cache = cut as u64 * 2 * 2 * (4 + 32) * 4;
    assert!(cache > available / 3 * 2, "{cache} of {available}");
    let asked = |window| OpenOptions { window: Some(window), ..OpenOptions::default() };
    let error = open(folder.path(), &asked(BEYOND)).err().unwrap().to_string();
    assert!(error.contains("keys and values of 268435456 tokens"), "{error}");
    let (_, after) = error.split_once("a window of ").unwrap();
    let fits: usize = after.split(' ').next().unwrap().parse().unwrap();
    // Less than all of it: others use memory too.
    assert_eq!(open(folder.path(), &asked(fits / 2)).unwrap().context_window(), fits / 2);
    let whole = open(folder.path(), &OpenOptions { ignore_memory: true, ..asked(BEYOND) }).unwrap();
    assert_eq!(whole.context_window(), BEYOND);
    // Room is made for what a request needs, not for the window.
    let sampling = SamplingParameters { max_tokens: 3, ..SamplingParameters::default() };
    whole.generate("short", &sampling, &Cancellation::new(), &mut |_| {}).unwrap();
    assert!(peak_memory() < 1 << 30, "{} bytes", peak_memory());
}

#[test]
fn a_prompt_beyond_the_window_that_was_asked_for_is_an_error() {
    let folder = model(2048);
    let model = open(folder.path(), &OpenOptions { window: Some(16), ..OpenOptions::default() }).unwrap();
    assert_eq!(model.context_window(), 16);
    let sampling = SamplingParameters { max_tokens: 3, ..SamplingParameters::default() };
    let generate = |prompt: &str| model.generate(prompt, &sampling, &Cancellation::new(), &mut |_| {});
    let error = generate("a prompt of more than 16 bytes").unwrap_err();
    assert!(matches!(error, ModelError::ContextOverflow { prompt: 31, window: 16 }), "{error}");
    generate("a shorter one").unwrap();
}

/// A small model that says it can read `window` tokens.
fn model(window: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 11);
    let mut config = config(258, 32, 2);
    config["max_position_embeddings"] = json!(window);
    write_json(folder.path(), "config.json", &config);
    folder
}

fn encoder_config() -> Value {
    json!({ "model_type": "bert", "vocab_size": 258, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 8, "max_position_embeddings": 64 })
}

/// Adds a tensor of 400 GB to a checkpoint: a hole in the file, that takes nothing on the disk.
fn enlarge(folder: &Path, name: &str) {
    let path = folder.join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let (length, rest) = whole.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    let size = 400_000_000_000;
    header[name] =
        json!({ "dtype": "F32", "shape": [100_000, 1_000_000], "data_offsets": [data.len(), data.len() + size] });
    let header = header.to_string();
    let start = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
    std::fs::write(&path, &start).unwrap();
    File::options().write(true).open(&path).unwrap().set_len((start.len() + size) as u64).unwrap();
}

fn open(folder: &Path, options: &OpenOptions) -> Result<LocalModel, ModelError> {
    LocalModel::open_with(folder, options)
}

/// The most memory this process ever had, in bytes.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

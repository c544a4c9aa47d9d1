//! Two real embedding models of random weights: changing from one to the other, with documents and facts.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codriver_inference::TextEmbedder;
use codriver_inference::device::DeviceChoice;
use codriver_memory::{Embedder, Memory, Scope};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::fixture::{Weights, write_json, write_random_model};
use super::helpers::Desk;

/// A BERT of random weights, its tokens the 256 bytes.
fn write_encoder(folder: &Path, hidden: usize, layers: usize, seed: u64) {
    fs_err::create_dir_all(folder).unwrap();
    // Its tokenizer is what is wanted of it.
    write_random_model(folder, seed);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Weights::default();
    let mut add = |name: &str, shape: &[usize]| {
        let values = (0..shape.iter().product()).map(|_| random.random_range(-0.3..0.3_f32)).collect();
        weights.add(name, shape, values);
    };
    add("embeddings.word_embeddings.weight", &[258, hidden]);
    add("embeddings.position_embeddings.weight", &[128, hidden]);
    add("embeddings.token_type_embeddings.weight", &[2, hidden]);
    let norm = |name: &str, add: &mut dyn FnMut(&str, &[usize])| {
        add(&format!("{name}.weight"), &[hidden]);
        add(&format!("{name}.bias"), &[hidden]);
    };
    norm("embeddings.LayerNorm", &mut add);
    for layer in 0..layers {
        let layer = format!("encoder.layer.{layer}");
        for (name, rows, columns) in [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", 2 * hidden, hidden),
            ("output.dense", hidden, 2 * hidden),
        ] {
            add(&format!("{layer}.{name}.weight"), &[rows, columns]);
            add(&format!("{layer}.{name}.bias"), &[rows]);
        }
        norm(&format!("{layer}.attention.output.LayerNorm"), &mut add);
        norm(&format!("{layer}.output.LayerNorm"), &mut add);
    }
    weights.write(folder);
    let config = json!({
        "model_type": "bert", "vocab_size": 258, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 4,
        "intermediate_size": 2 * hidden, "max_position_embeddings": 128, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "pad_token_id": 0
    });
    write_json(folder, "config.json", &config);
}

struct Real(TextEmbedder);

impl Embedder for Real {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn dimensions(&self) -> usize {
        self.0.dimensions()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        self.0.embed(texts).map_err(|error| error.to_string())
    }
}

fn open(folder: &Path) -> Arc<dyn Embedder> {
    Arc::new(Real(TextEmbedder::open(folder, DeviceChoice::Cpu).unwrap()))
}

fn stats(desk: &mut Desk) -> String {
    desk.cell("%memory stats").unwrap().result.unwrap().text().to_owned()
}

/// Waits until all texts have a vector of this model, searching meanwhile; how many there are.
fn all_embedded(memory: &Memory, model: &str) -> usize {
    let begin = Instant::now();
    loop {
        let progress = memory.embedding_progress().unwrap().unwrap();
        assert_eq!(progress.model, model);
        assert!(!memory.search("walrus of region 17", 3).unwrap().is_empty());
        if progress.done == progress.total {
            return progress.total;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{progress:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn another_embedding_model_makes_its_own_vectors_while_search_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (folder.path().join("small"), folder.path().join("large"));
    write_encoder(&small, 32, 1, 3);
    write_encoder(&large, 64, 2, 4);
    let mut desk = Desk::new();
    let memory = Arc::clone(&desk.session.memory);
    let text: String = (0..400)
        .map(|number| format!("## Part {number}\n\nThe walrus of region {number} sleeps {number} hours.\n\n"))
        .collect();
    fs_err::write(desk.workspace.path().join("walrus.md"), text).unwrap();
    // The model of this machine, if there is one, is loaded here, and embeds in the background.
    desk.cell("%knowledge add walrus.md").unwrap();
    for number in 0..60 {
        memory.remember(&format!("region {number} is led by person {number}"), Scope::Project, "user").unwrap();
    }
    let held = Arc::downgrade(&memory);
    std::thread::spawn(move || Memory::embed_in_background(&held));
    memory.use_embedder(open(&small));
    let total = all_embedded(&memory, "small");
    assert!(total > 80, "{total}");
    assert!(
        stats(&mut desk).contains(&format!("all {total} texts here have a vector of small")),
        "{}",
        stats(&mut desk)
    );

    let anew = open(&large);
    let before = Instant::now();
    memory.use_embedder(anew);
    assert!(before.elapsed() < Duration::from_secs(2), "nothing is waited for");
    let shown = stats(&mut desk);
    assert!(shown.contains(&format!("of {total} texts here have a vector of large")), "{shown}");
    let found = desk.cell("%memory search walrus of region 17").unwrap().result.unwrap();
    assert!(found.text().contains("walrus.md:") && found.text().contains("Part 17"), "{}", found.text());
    assert!(found.data["text/html"].as_str().unwrap().contains("<a href=\"walrus.md\""), "{found:?}");
    assert_eq!(all_embedded(&memory, "large"), total);
    let shown = stats(&mut desk);
    assert!(shown.contains("of large, ") && shown.contains("of small"), "{shown}");
    assert!(shown.contains(&format!("all {total} texts here have a vector of large")), "{shown}");
    let hits = memory.search("walrus of region 17", 5).unwrap();
    assert!(hits.iter().all(|hit| hit.cosine.is_some()), "{hits:?}");
    let cleaned = desk.cell("%memory cleanup --yes").unwrap().result.unwrap();
    assert!(cleaned.text().contains("vectors of small"), "{}", cleaned.text());
    assert!(!stats(&mut desk).contains("of small"));
}

//! Model folders made by the tests: random ones, and ones that say what a test wants.

use std::collections::BTreeMap;
use std::path::Path;

use codriver_inference::{DeviceChoice, LocalModel};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The prompt's last token under [`TEMPLATE`], and the token that ends an answer.
pub const GO: &str = "<|go|>";
pub const END: &str = "<|end|>";

/// A chat template that shows messages and nothing else.
pub const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}<|go|>";

/// A model that says `pieces`, each a token, whatever the prompt before [`GO`] says.
///
/// The token that comes next depends on the last token only: the embeddings are one-hot, the
/// layers add nothing and the head maps each token to its successor. So no piece may occur twice.
pub struct Script<'a> {
    pub pieces: &'a [&'a str],
    /// What the prompt ends with.
    pub start: &'a str,
    pub template: &'a str,
}

impl Script<'_> {
    pub fn model(&self) -> (TempDir, LocalModel) {
        let folder = tempfile::tempdir().unwrap();
        self.write(folder.path());
        let model = LocalModel::open(folder.path(), DeviceChoice::Cpu).unwrap();
        (folder, model)
    }

    fn write(&self, folder: &Path) {
        let bytes = |piece: &&&str| piece.len() == 1 || (!piece.is_ascii() && piece.chars().count() == 1);
        let written = std::iter::once(&self.start).chain(self.pieces);
        let added: Vec<&str> = written.filter(|piece| !bytes(piece) && **piece != GO).copied().collect();
        let tokenizer = Tokens::new(&added);
        // A single character that is not an added token is its bytes, a token each.
        let chain: Vec<u32> = std::iter::once(&self.start)
            .chain(self.pieces)
            .chain(std::iter::once(&END))
            .flat_map(|piece| tokenizer.ids(piece))
            .collect();
        let size = tokenizer.size();
        let mut weights = Weights::default();
        let mut embeddings = vec![0.0; size * size];
        let mut head = vec![0.0; size * size];
        for token in 0..size {
            embeddings[token * size + token] = 1.0;
        }
        for pair in chain.windows(2) {
            head[pair[1] as usize * size + pair[0] as usize] = 1.0;
        }
        weights.add("model.embed_tokens.weight", &[size, size], embeddings);
        weights.add("lm_head.weight", &[size, size], head);
        let config = config(size, size, 1);
        weights.add_layers(&config, |_| 0.0);
        weights.write(folder);
        write_json(folder, "config.json", &config);
        tokenizer.write(folder, self.template);
    }
}

/// A small Llama with random weights, its tokens the 256 bytes.
pub fn write_random_model(folder: &Path, seed: u64) {
    write_random_chat_model(folder, seed, TEMPLATE, 258);
}

/// The same with a chat template, and as many scores as `size` says, whatever tokens there are.
pub fn write_random_chat_model(folder: &Path, seed: u64, template: &str, size: usize) {
    let tokenizer = Tokens::new(&[]);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let config = config(size, 32, 2);
    let mut weights = Weights::default();
    let mut values = |count: usize| (0..count).map(|_| random.random_range(-0.3..0.3)).collect::<Vec<f32>>();
    weights.add("model.embed_tokens.weight", &[size, 32], values(size * 32));
    weights.add("lm_head.weight", &[size, 32], values(size * 32));
    let mut random = ChaCha8Rng::seed_from_u64(seed + 1);
    weights.add_layers(&config, |_| random.random_range(-0.3..0.3));
    weights.write(folder);
    write_json(folder, "config.json", &config);
    tokenizer.write(folder, template);
}

pub fn config(vocabulary: usize, hidden: usize, layers: usize) -> Value {
    json!({
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": 8,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": 1024,
        "hidden_act": "silu",
        "tie_word_embeddings": false,
    })
}

/// Room for prompts of which each byte is a token.
pub fn widened(folder: &Path) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = json!(16_384);
    std::fs::write(path, config.to_string()).unwrap();
}

pub fn write_json(folder: &Path, name: &str, value: &Value) {
    std::fs::write(folder.join(name), value.to_string()).unwrap();
}

/// Tensors on their way into a safetensors file.
#[derive(Default)]
pub struct Weights(BTreeMap<String, (Vec<usize>, Vec<u8>)>);

impl Weights {
    pub fn add(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.0.insert(name.to_string(), (shape.to_vec(), bytes));
    }

    fn add_layers(&mut self, config: &Value, mut value: impl FnMut(usize) -> f32) {
        let size = |key: &str| config[key].as_u64().unwrap() as usize;
        let (hidden, wide) = (size("hidden_size"), size("intermediate_size"));
        let query = size("num_attention_heads") * size("head_dim");
        let key = size("num_key_value_heads") * size("head_dim");
        self.add("model.norm.weight", &[hidden], vec![1.0; hidden]);
        for layer in 0..size("num_hidden_layers") {
            for (name, rows, columns) in [
                ("self_attn.q_proj", query, hidden),
                ("self_attn.k_proj", key, hidden),
                ("self_attn.v_proj", key, hidden),
                ("self_attn.o_proj", hidden, query),
                ("mlp.gate_proj", wide, hidden),
                ("mlp.up_proj", wide, hidden),
                ("mlp.down_proj", hidden, wide),
            ] {
                let values = (0..rows * columns).map(&mut value).collect();
                self.add(&format!("model.layers.{layer}.{name}.weight"), &[rows, columns], values);
            }
            for name in ["input_layernorm", "post_attention_layernorm"] {
                self.add(&format!("model.layers.{layer}.{name}.weight"), &[hidden], vec![1.0; hidden]);
            }
        }
    }

    pub fn write(&self, folder: &Path) {
        let views = self
            .0
            .iter()
            .map(|(name, (shape, bytes))| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    }
}

/// A byte-level tokenizer without merges, and some longer tokens.
struct Tokens {
    added: Vec<String>,
}

impl Tokens {
    fn new(added: &[&str]) -> Self {
        let added = [GO, END].iter().chain(added).map(ToString::to_string).collect();
        Self { added }
    }

    fn size(&self) -> usize {
        256 + self.added.len()
    }

    fn ids(&self, piece: &str) -> Vec<u32> {
        match self.added.iter().position(|added| added == piece) {
            Some(position) => vec![256 + position as u32],
            None => piece.bytes().map(u32::from).collect(),
        }
    }

    fn write(&self, folder: &Path, template: &str) {
        let vocabulary: serde_json::Map<String, Value> =
            (0..=255_u8).map(|byte| (letter(byte).to_string(), json!(byte))).collect();
        let added: Vec<Value> = (256..)
            .zip(&self.added)
            .map(|(id, content): (u32, _)| {
                let special = content.starts_with('<');
                json!({ "id": id, "content": content, "special": special, "single_word": false,
                        "lstrip": false, "rstrip": false, "normalized": false })
            })
            .collect();
        let byte_level =
            json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
            "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                       "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                       "vocab": vocabulary, "merges": [] },
        });
        write_json(folder, "tokenizer.json", &tokenizer);
        write_json(folder, "tokenizer_config.json", &json!({ "chat_template": template, "eos_token": END }));
    }
}

/// The letter that stands for a byte in byte-level vocabularies: itself if it can be seen.
fn letter(byte: u8) -> char {
    let visible = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if visible(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|other| !visible(*other)).count() as u32;
    char::from_u32(256 + before).unwrap()
}

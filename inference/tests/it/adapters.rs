//! LoRA adapters against the same changes made by hand in torch, and adapters that do not fit.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use codriver_formats::convert::{FileType, convert_to_gguf};
use codriver_inference::{Adapter, LocalModel, OpenOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{Weights, write_json, write_random_model};
use crate::reference::{floats, fresh_seed, run};

#[test]
fn adapters_compute_what_torch_computes() {
    let folder = tempfile::tempdir().unwrap();
    let models = run("adapters.py", &[folder.path().to_str().unwrap(), &fresh_seed().to_string()]);
    for model in models.as_array().unwrap() {
        let path = Path::new(model["model"].as_str().unwrap());
        check(path, &model["tokens"], &model["cases"], false);
        check(&converted(path, FileType::F32), &model["tokens"], &model["cases"], false);
        // As tensors, for products on packed weights round what the weights are multiplied with.
        check(&converted(path, FileType::Q8_0), &model["tokens"], &model["rounded"], true);
    }
}

fn check(path: &Path, tokens: &Value, cases: &Value, as_tensors: bool) {
    let tokens: Vec<u32> = floats(tokens).into_iter().map(|token| token as u32).collect();
    let plain = OpenOptions { as_tensors, ..OpenOptions::default() };
    let plain = LocalModel::open_with(path, &plain).unwrap().logits(&tokens).unwrap().concat();
    for case in cases.as_array().unwrap() {
        let adapters: Vec<Adapter> = case["adapters"].as_array().unwrap().iter().map(adapter).collect();
        let changes = adapters.iter().any(|adapter| adapter.weight != 0.0);
        let options = OpenOptions { adapters, as_tensors, ..OpenOptions::default() };
        let model = LocalModel::open_with(path, &options).unwrap();
        let ours = model.logits(&tokens).unwrap().concat();
        let theirs = scores(&case["logits"]);
        let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let apart =
            |other: &[f32]| ours.iter().zip(other).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest;
        let what = format!("{} {}", path.display(), case["adapters"]);
        eprintln!("{what}: {:.1e}, from the model itself {:.1e}", apart(&theirs), apart(&plain));
        assert_eq!(ours.len(), theirs.len());
        assert!(apart(&theirs) < 1e-3, "{what}");
        assert_eq!(apart(&plain) > 1e-2, changes, "{what}");
    }
}

/// A model's folder as a GGUF file beside it.
fn converted(folder: &Path, file_type: FileType) -> PathBuf {
    let path = folder.with_file_name(format!("{file_type}.gguf"));
    convert_to_gguf(folder, &path, file_type, &mut |_| ControlFlow::Continue(())).unwrap();
    path
}

#[test]
fn adapters_that_do_not_fit_are_explained() {
    let query = "base_model.model.model.layers.0.self_attn.q_proj";
    let shapes = [(format!("{query}.lora_A.weight"), [2, 32]), (format!("{query}.lora_B.weight"), [16, 2])];
    let config = json!({ "peft_type": "LORA", "base_model_name_or_path": "someone/base", "r": 2, "lora_alpha": 4,
                         "target_modules": ["q_proj"] });
    let with = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        config
    };
    // The adapter as it is fits; each change below is one thing wrong.
    assert_eq!(open(&config, &shapes), Ok(()));
    let narrow = [(shapes[0].0.clone(), [2, 48]), shapes[1].clone()];
    let deep = shapes.clone().map(|(name, shape)| (name.replace("layers.0", "layers.7"), shape));
    let named = shapes.clone().map(|(name, shape)| (name.replace("lora_A", "lora_C"), shape));
    for (config, tensors, expected) in [
        (&config, &narrow[..], &["q_proj.lora_A.weight", "[2, 48]", "[2, 32]", "someone/base"][..]),
        (&config, &deep, &["layers.7.self_attn.q_proj.weight", "does not have", "someone/base"]),
        (&config, &shapes[..1], &["only one of the two matrices"]),
        (&config, &[], &["holds no tensors"]),
        (&config, &named, &["lora_C.weight", "no part of a LoRA"]),
        (&with("r", json!(3)), &shapes, &["lora_A.weight", "[3, 32]"]),
        (&with("r", json!(0)), &shapes, &["r is 0"]),
        (&with("r", json!("many")), &shapes, &["adapter_config.json", "many"]),
        (&with("target_modules", json!(["q_proj", "k_proj"])), &shapes, &["`k_proj`", "incomplete"]),
        (&with("target_modules", json!(["k_proj"])), &shapes, &["q_proj", "does not name"]),
        (&with("use_dora", json!(true)), &shapes, &["lora_magnitude_vector"]),
        (&with("peft_type", json!("IA3")), &shapes, &["IA3", "merge_and_unload"]),
        (&with("bias", json!("all")), &shapes, &["biases"]),
        (&with("init_lora_weights", json!("pissa_niter_4")), &shapes, &["pissa"]),
        (&with("layer_replication", json!([[0, 1]])), &shapes, &["layer_replication"]),
    ] {
        let error = open(config, tensors).unwrap_err();
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn truncated_and_missing_adapter_files_are_named() {
    let (model, adapter) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_random_model(model.path(), 3);
    let open = || open_folders(&model, &adapter);
    assert!(open().unwrap_err().contains("adapter_config.json"));
    let config = json!({ "r": 1, "lora_alpha": 1, "target_modules": "lm_head" });
    write_json(adapter.path(), "adapter_config.json", &config);
    assert!(open().unwrap_err().contains("adapter_model.safetensors"));
    let mut weights = Weights::default();
    weights.add("base_model.model.lm_head.lora_A.weight", &[1, 32], vec![1.0; 32]);
    weights.add("base_model.model.lm_head.lora_B.weight", &[258, 1], vec![1.0; 258]);
    weights.write(adapter.path());
    let path = adapter.path().join("adapter_model.safetensors");
    std::fs::rename(adapter.path().join("model.safetensors"), &path).unwrap();
    assert_eq!(open(), Ok(()));
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 7, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(open().unwrap_err().contains("adapter_model.safetensors"), "{length} bytes");
    }
}

fn adapter(case: &Value) -> Adapter {
    Adapter { weight: case["weight"].as_f64().unwrap() as f32, ..Adapter::new(case["folder"].as_str().unwrap()) }
}

fn scores(logits: &Value) -> Vec<f32> {
    logits.as_array().unwrap().iter().flat_map(floats).collect()
}

/// Opens a random model with an adapter made of ones.
fn open(config: &Value, tensors: &[(String, [usize; 2])]) -> Result<(), String> {
    let (model, adapter) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_random_model(model.path(), 3);
    write_json(adapter.path(), "adapter_config.json", config);
    let mut weights = Weights::default();
    for (name, shape) in tensors {
        weights.add(name, shape, vec![1.0; shape[0] * shape[1]]);
    }
    weights.write(adapter.path());
    std::fs::rename(adapter.path().join("model.safetensors"), adapter.path().join("adapter_model.safetensors"))
        .unwrap();
    open_folders(&model, &adapter)
}

fn open_folders(model: &TempDir, adapter: &TempDir) -> Result<(), String> {
    let options = OpenOptions { adapters: vec![Adapter::new(adapter.path())], ..OpenOptions::default() };
    LocalModel::open_with(model.path(), &options).map(drop).map_err(|error| error.to_string())
}

//! Cross-encoders against transformers: random models of every architecture that has one.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use codriver_inference::{Cancellation, CrossEncoder, DeviceChoice, EmbedderOptions, ModelError};
use serde_json::{Value, json};

use crate::fixture::write_json;
use crate::reference::{floats, fresh_seed, run};

#[test]
fn cross_encoders_score_as_transformers_does() {
    let folder = tempfile::tempdir().unwrap();
    let cases = run("cross_encoders.py", &[folder.path().to_str().unwrap(), &fresh_seed().to_string()]);
    let (classes, cases): (Vec<&Value>, Vec<&Value>) =
        cases.as_array().unwrap().iter().partition(|case| case["name"] == "classes");
    assert_eq!(cases.len(), 11);
    for case in cases {
        let (name, folder) = (case["name"].as_str().unwrap(), Path::new(case["folder"].as_str().unwrap()));
        let model = CrossEncoder::open(folder, DeviceChoice::Cpu).unwrap();
        let (question, texts) = (case["question"].as_str().unwrap(), texts_of(case));
        let ours = model.score(question, &texts).unwrap();
        let theirs = floats(&case["scores"]);
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let largest = theirs.iter().fold(0.0_f32, |largest, score| largest.max(score.abs()));
        let worst = ours.iter().zip(&theirs).fold(0.0_f32, |most, (ours, theirs)| most.max((ours - theirs).abs()));
        eprintln!("{name}: scores differ by {worst:.1e} of {largest}");
        assert!(worst < 1e-3 * largest, "{name}: {ours:?}, not {theirs:?}");
        // Scores tell texts apart, or nothing is shown.
        assert!(theirs.iter().any(|score| (score - theirs[0]).abs() > 100.0 * worst), "{name}: {theirs:?}");
        // The same network as tensors, which is what runs on GPUs.
        let options = EmbedderOptions { as_tensors: true, ..EmbedderOptions::default() };
        let tensors = CrossEncoder::open_with(folder, &options).unwrap().score(question, &texts).unwrap();
        assert!(ours.iter().zip(&tensors).all(|(packed, tensors)| (packed - tensors).abs() < 1e-3 * largest), "{name}");
        // A score must not depend on what shares its batch.
        assert_eq!(model.score(question, &texts[2..3]).unwrap(), ours[2..3], "{name}");
    }
    let error = CrossEncoder::open(Path::new(classes[0]["folder"].as_str().unwrap()), DeviceChoice::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("3 classes") && error.contains("one label"), "{error}");
}

#[test]
fn what_is_no_cross_encoder_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let cases = run("cross_encoders.py", &[folder.path().to_str().unwrap(), &fresh_seed().to_string(), "bert"]);
    let folder = Path::new(cases[0]["folder"].as_str().unwrap());
    let error = |folder: &Path| CrossEncoder::open(folder, DeviceChoice::Cpu).err().unwrap().to_string();
    let nowhere = error(&folder.join("nowhere"));
    assert!(nowhere.contains("nowhere"), "{nowhere}");
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    for (file, content, expected) in [
        ("config.json", with(&config, "model_type", json!("t5")), "`t5`"),
        ("config.json", with(&config, "sentence_transformers", json!({ "activation_fn": "torch.nn.Mish" })), "`Mish`"),
        ("config.json", with(&config, "hidden_size", json!(32)), "pooler"),
        ("tokenizer_config.json", json!({ "model_max_length": 3 }), "special tokens"),
    ] {
        let before = std::fs::read(folder.join(file)).unwrap();
        write_json(folder, file, &content);
        let error = error(folder);
        assert!(error.contains(expected) || (expected == "pooler" && error.contains("weight")), "{file}: {error}");
        std::fs::write(folder.join(file), before).unwrap();
    }
    // An embedding model has no head.
    let embedder = tempfile::tempdir().unwrap();
    let cases = run("encoders.py", &[embedder.path().to_str().unwrap(), &fresh_seed().to_string(), "bert"]);
    let error = error(Path::new(cases[0]["folder"].as_str().unwrap()));
    assert!(error.contains("no classification head") && error.contains("cross-encoder/"), "{error}");
    // Weights cut short, as by a full disk.
    let weights = folder.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert!(CrossEncoder::open(folder, DeviceChoice::Cpu).is_err());
}

#[test]
fn scoring_ends_between_batches_when_it_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let cases = run("cross_encoders.py", &[folder.path().to_str().unwrap(), &fresh_seed().to_string(), "bert"]);
    let model = CrossEncoder::open(Path::new(cases[0]["folder"].as_str().unwrap()), DeviceChoice::Cpu).unwrap();
    let texts: Vec<String> = (0..20_000).map(|number| format!("the words of text {number} to search")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (cancellation, done) = (Cancellation::new(), AtomicUsize::new(0));
    let on_done = |count: usize| {
        done.fetch_add(count, Ordering::SeqCst);
        cancellation.cancel();
    };
    let result = model.score_watched("which words?", &texts, &cancellation, &on_done);
    assert!(matches!(result, Err(ModelError::Cancelled)), "{result:?}");
    let done = done.into_inner();
    assert!(done > 0 && done < texts.len(), "{done}");
    assert_eq!(model.score("which words?", &[]).unwrap(), Vec::<f32>::new());
}

fn texts_of(case: &Value) -> Vec<&str> {
    case["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn with(config: &Value, key: &str, value: Value) -> Value {
    let mut config = config.clone();
    config[key] = value;
    config
}

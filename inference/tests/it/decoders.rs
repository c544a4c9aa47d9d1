//! Decoders against transformers and torch, on checkpoints with random weights.

use std::path::Path;

use codriver_inference::{Cancellation, DeviceChoice, Flow, LocalModel, SamplingParameters};
use serde_json::Value;

use crate::reference::{floats, fresh_seed, run};

#[test]
fn decoders_compute_what_transformers_computes() {
    let folder = tempfile::tempdir().unwrap();
    let seed = fresh_seed().to_string();
    let cases = run("decoders.py", &[folder.path().to_str().unwrap(), &seed]);
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let model = LocalModel::open(
            Path::new(case["folder"].as_str().unwrap()),
            DeviceChoice::Cpu,
        )
        .unwrap();
        check_logits(name, &model, case);
        check_continuation(name, &model, case);
    }
    let sharded = cases
        .iter()
        .filter(|case| case["shards"].as_u64().unwrap() > 1)
        .count();
    assert_eq!(sharded, 2, "two of the checkpoints are to be in shards");
}

/// Within 1e-3 of the reference, relative to the position's largest score.
fn check_logits(name: &str, model: &LocalModel, case: &Value) {
    let ours = model.logits(&tokens(&case["short"])).unwrap();
    let theirs: Vec<Vec<f32>> = case["logits"]
        .as_array()
        .unwrap()
        .iter()
        .map(floats)
        .collect();
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let mut worst = 0.0_f32;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let scale = theirs
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let difference = ours
            .iter()
            .zip(theirs)
            .fold(0.0_f32, |largest, (ours, theirs)| {
                largest.max((ours - theirs).abs())
            });
        worst = worst.max(difference / scale);
    }
    eprintln!("{name}: logits differ by {worst:.1e}");
    assert!(worst < 1e-3, "{name}: logits differ by {worst}");
}

/// The same greedy tokens after a long prompt, first read whole, then on what is already read.
fn check_continuation(name: &str, model: &LocalModel, case: &Value) {
    let prompt = tokens(&case["tokens"]);
    assert_eq!(
        model.tokens(case["prompt"].as_str().unwrap()).unwrap(),
        prompt,
        "{name}"
    );
    let sampling = SamplingParameters {
        max_tokens: 40,
        ..SamplingParameters::default()
    };
    for attempt in ["a new prompt", "the same prompt again"] {
        let mut continuation = Vec::new();
        model
            .complete(&prompt, &sampling, &Cancellation::new(), &mut |token| {
                continuation.push(token);
                Ok(Flow::Continue)
            })
            .unwrap();
        assert_eq!(
            continuation,
            tokens(&case["continuation"]),
            "{name}, {attempt}"
        );
    }
}

fn tokens(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token.as_u64().unwrap() as u32)
        .collect()
}

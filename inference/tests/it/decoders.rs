//! Decoders against transformers and torch, on checkpoints with random weights.

use std::path::Path;

use codriver_inference::device::resolve;
use codriver_inference::{Cancellation, DeviceChoice, Engine, Flow, LocalModel, OpenOptions, SamplingParameters};
use serde_json::Value;

use crate::reference::{floats, fresh_seed, run};

#[test]
fn decoders_compute_what_transformers_computes() {
    let folder = tempfile::tempdir().unwrap();
    let seed = fresh_seed().to_string();
    let mut arguments = vec![folder.path().to_str().unwrap(), &seed];
    // For work on a single family: the names of its cases.
    let chosen = std::env::var("CODRIVER_TEST_DECODERS").unwrap_or_default();
    arguments.extend(chosen.split_whitespace());
    let cases = run("decoders.py", &arguments);
    let cases = cases.as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        // Packed on the processor, as tensors of 32-bit floats, and on the GPU's own kernels.
        let mut ways = vec![OpenOptions::default(), OpenOptions { as_tensors: true, ..OpenOptions::default() }];
        if on_gpu(name) {
            ways.push(OpenOptions { device: DeviceChoice::Wgpu, ..OpenOptions::default() });
        }
        for options in ways {
            let model = LocalModel::open_with(Path::new(case["folder"].as_str().unwrap()), &options)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            println!("{name} on {}", options.device);
            let engine = match options.device {
                _ if options.as_tensors => Engine::Tensors,
                DeviceChoice::Cpu => Engine::Processor,
                _ => Engine::Gpu,
            };
            assert_eq!(model.engine(), engine, "{name}");
            check_logits(name, &model, case);
            check_continuation(name, &model, case);
        }
    }
    if chosen.is_empty() {
        assert_eq!(cases.len(), 33);
        let sharded = cases.iter().filter(|case| case["shards"].as_u64().unwrap() > 1).count();
        assert_eq!(sharded, 4, "four of the checkpoints are to be in shards");
    }
}

/// Whether a case is computed on the GPU, too: a software device takes seconds to compile the kernels of
/// each. CODRIVER_TEST_GPU=1 is all of them.
fn on_gpu(name: &str) -> bool {
    let chosen = std::env::var("CODRIVER_TEST_GPU").unwrap_or_else(|_| "qwen3 gemma2".to_owned());
    let is_chosen = chosen == "1" || chosen.split_whitespace().any(|chosen| chosen == name);
    is_chosen && resolve(DeviceChoice::Wgpu).is_ok()
}

/// Within 1e-3 of the reference, relative to the position's largest score.
fn check_logits(name: &str, model: &LocalModel, case: &Value) {
    let ours = model.logits(&tokens(&case["short"])).unwrap();
    let theirs: Vec<Vec<f32>> = case["logits"].as_array().unwrap().iter().map(floats).collect();
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let mut worst = 0.0_f32;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let scale = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let difference =
            ours.iter().zip(theirs).fold(0.0_f32, |largest, (ours, theirs)| largest.max((ours - theirs).abs()));
        worst = worst.max(difference / scale);
    }
    eprintln!("{name}: logits differ by {worst:.1e}");
    assert!(worst < 1e-3, "{name}: logits differ by {worst}");
}

/// The same greedy tokens after a long prompt: read whole, on what is already read, and on the
/// beginning that it shares with another sequence.
fn check_continuation(name: &str, model: &LocalModel, case: &Value) {
    let prompt = tokens(&case["tokens"]);
    assert_eq!(model.tokens(case["prompt"].as_str().unwrap()).unwrap(), prompt, "{name}");
    let expected = tokens(&case["continuation"]);
    assert_eq!(complete(model, &prompt, 40), expected, "{name}, a new prompt");
    assert_eq!(complete(model, &prompt, 40), expected, "{name}, the same prompt again");
    let other = [&prompt[..prompt.len() / 2], &[7, 8, 9]].concat();
    complete(model, &other, 3);
    assert_eq!(complete(model, &prompt, 40), expected, "{name}, a prompt that begins like another");
}

fn complete(model: &LocalModel, prompt: &[u32], max_tokens: usize) -> Vec<u32> {
    let sampling = SamplingParameters { max_tokens, ..SamplingParameters::default() };
    let mut continuation = Vec::new();
    let mut keep = |token| {
        continuation.push(token);
        Ok(Flow::Continue)
    };
    model.complete(prompt, &sampling, &Cancellation::new(), &mut keep).unwrap();
    continuation
}

fn tokens(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect()
}

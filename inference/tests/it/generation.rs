//! Sampling, and what a model with random weights makes of it.

use std::collections::HashMap;
use std::path::Path;

use codriver_inference::sampling::Sampler;
use codriver_inference::{
    CacheFormat, Cancellation, DeviceChoice, LocalModel, ModelError, OpenOptions, SamplingParameters, WeightFormat,
};

use crate::fixture::{TEMPLATE, write_random_chat_model, write_random_model};

#[test]
fn the_seed_decides() {
    let (_folder, model) = random_model();
    let generate = |seed, temperature| {
        let sampling = SamplingParameters { temperature, seed, max_tokens: 60, ..SamplingParameters::default() };
        let mut pieces = String::new();
        let text = model.generate("A prompt", &sampling, &Cancellation::new(), &mut |text| pieces.push_str(text));
        let text = text.unwrap();
        assert_eq!(text, pieces, "what was streamed is what is returned");
        text
    };
    assert_eq!(generate(7, 1.0), generate(7, 1.0));
    assert_ne!(generate(7, 1.0), generate(8, 1.0));
    assert_eq!(generate(7, 0.0), generate(8, 0.0));
}

/// Weights in fewer bits say nearly the same, and less nearly the fewer they are.
#[test]
fn rounded_weights_are_close() {
    let folder = tempfile::tempdir().unwrap();
    let seed = crate::reference::fresh_seed();
    write_random_model(folder.path(), seed);
    let scores = |quantization| {
        let options = OpenOptions { quantization, ..OpenOptions::default() };
        let model = LocalModel::open_with(folder.path(), &options).unwrap();
        model.logits(&model.tokens("What the weights say").unwrap()).unwrap().concat()
    };
    let exact = scores(None);
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
    let error = |format: &str| {
        let rounded = scores(Some(format.parse().unwrap()));
        length(&mut exact.iter().zip(&rounded).map(|(exact, rounded)| exact - rounded))
            / length(&mut exact.iter().copied())
    };
    let (half, eight, four) = (error("bf16"), error("Q8_0"), error("q4_0"));
    assert!(half > 0.0 && half < 0.02, "seed {seed}: {half}");
    assert!(eight > 0.0 && eight < 0.03, "seed {seed}: {eight}");
    assert!(four > eight && four < 0.3, "seed {seed}: {four}");
    assert!("q3_z".parse::<WeightFormat>().unwrap_err().to_string().contains("q4_k"));
}

/// So do keys and values.
#[test]
fn rounded_keys_and_values_are_close() {
    let folder = tempfile::tempdir().unwrap();
    let seed = crate::reference::fresh_seed();
    write_random_model(folder.path(), seed);
    let scores = |cache_format| {
        let options = OpenOptions { cache_format, ..OpenOptions::default() };
        let model = LocalModel::open_with(folder.path(), &options).unwrap();
        model.logits(&model.tokens(&"What keys and values say. ".repeat(8)).unwrap()).unwrap().concat()
    };
    let exact = scores(CacheFormat::F32);
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
    let error = |format| {
        let rounded = scores(format);
        length(&mut exact.iter().zip(&rounded).map(|(exact, rounded)| exact - rounded))
            / length(&mut exact.iter().copied())
    };
    let (half, eight) = (error(CacheFormat::F16), error(CacheFormat::Q8));
    assert!(half > 0.0 && half < 0.002, "seed {seed}: {half}");
    assert!(eight > half && eight < 0.02, "seed {seed}: {eight}");
    let options = OpenOptions { cache_format: CacheFormat::Q8, as_tensors: true, ..OpenOptions::default() };
    let refused = LocalModel::open_with(folder.path(), &options).err().unwrap().to_string();
    assert!(refused.contains("tensors hold keys and values as f32 only"), "{refused}");
}

/// Weights of megabytes are packed while the model is open already.
#[test]
fn large_weights_are_the_same_before_they_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let seed = crate::reference::fresh_seed();
    write_random_chat_model(folder.path(), seed, TEMPLATE, 20_000);
    let open = |as_tensors| {
        let options = OpenOptions { as_tensors, ..OpenOptions::default() };
        LocalModel::open_with(folder.path(), &options).unwrap()
    };
    let reference = open(true);
    let tokens = reference.tokens("Asked at once.").unwrap();
    let expected = reference.logits(&tokens).unwrap().concat();
    let model = open(false);
    let scores = model.logits(&tokens).unwrap().concat();
    let difference = expected.iter().zip(&scores).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(scores.len() == expected.len() && difference < 1e-3, "seed {seed}: {difference}");
    // Nobody reads the files of a model that is dropped: cut short, they would end this process.
    drop((model, open(false), reference));
    std::fs::write(folder.path().join("model.safetensors"), "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
}

#[test]
fn tokens_come_as_often_as_their_scores_say() {
    let logits = [2.0, 1.0, 0.0, -1.0, f32::NEG_INFINITY];
    let weights: Vec<f64> = logits.iter().map(|logit: &f32| f64::from(*logit / 1.5).exp()).collect();
    let total: f64 = weights.iter().sum();
    let counts = draw(&SamplingParameters { temperature: 1.5, seed: 3, ..SamplingParameters::default() }, &logits);
    for (token, weight) in weights.iter().enumerate() {
        let share = f64::from(counts.get(&(token as u32)).copied().unwrap_or(0)) / f64::from(DRAWS);
        assert!((share - weight / total).abs() < 0.015, "token {token}: {share} for {}", weight / total);
    }
}

#[test]
fn each_bound_leaves_the_tokens_it_should() {
    let logits = [0.7_f32, 0.1, 0.15, 0.05].map(f32::ln);
    let base = SamplingParameters { temperature: 1.0, ..SamplingParameters::default() };
    let kept = |parameters: SamplingParameters| {
        let mut tokens: Vec<u32> = draw(&parameters, &logits).into_keys().collect();
        tokens.sort_unstable();
        tokens
    };
    assert_eq!(kept(base.clone()), [0, 1, 2, 3]);
    assert_eq!(kept(SamplingParameters { top_k: 2, ..base.clone() }), [0, 2]);
    assert_eq!(kept(SamplingParameters { top_p: 0.8, ..base.clone() }), [0, 2]);
    assert_eq!(kept(SamplingParameters { top_p: 0.0, ..base.clone() }), [0]);
    assert_eq!(kept(SamplingParameters { min_p: 0.2, ..base.clone() }), [0, 2]);
    assert_eq!(kept(SamplingParameters { min_p: 1.0, ..base.clone() }), [0]);
    assert_eq!(kept(SamplingParameters { temperature: 0.0, ..base }), [0]);
}

#[test]
fn repetition_is_penalized_in_the_prompt_and_in_the_answer() {
    let parameters = SamplingParameters { repetition_penalty: 2.0, ..SamplingParameters::default() };
    let mut sampler = Sampler::new(&parameters, &[0, 3]).unwrap();
    // Token 0 falls to 1.0 and 3 to -2.0; then 1 was chosen and falls to 0.75.
    let logits = [2.0, 1.5, 0.9, -1.0];
    let chosen: Vec<u32> = (0..3).map(|_| sampler.choose(&mut logits.clone()).unwrap()).collect();
    assert_eq!(chosen, [1, 0, 0]);
}

#[test]
fn scores_that_are_no_numbers_are_errors() {
    let parameters = SamplingParameters::default();
    for logits in [vec![1.0, f32::NAN], vec![f32::INFINITY, 0.0], vec![f32::NEG_INFINITY; 2], vec![]] {
        let result = Sampler::new(&parameters, &[]).unwrap().choose(&mut logits.clone());
        assert!(matches!(result, Err(ModelError::Numeric(_))), "{logits:?}: {result:?}");
    }
}

#[test]
fn parameters_out_of_range_are_errors() {
    let default = SamplingParameters::default;
    for parameters in [
        SamplingParameters { temperature: -1.0, ..default() },
        SamplingParameters { temperature: f32::NAN, ..default() },
        SamplingParameters { top_p: 1.5, ..default() },
        SamplingParameters { min_p: -0.1, ..default() },
        SamplingParameters { repetition_penalty: 0.0, ..default() },
    ] {
        assert!(matches!(Sampler::new(&parameters, &[]), Err(ModelError::Numeric(_))), "{parameters:?}");
    }
}

#[test]
fn a_prompt_of_many_pieces_is_read_as_a_whole() {
    // More than one prefill step, and each prompt the beginning of the next.
    let (_folder, model) = random_model();
    let text = "abcdefghij".repeat(25);
    for length in [3, 120, 250] {
        let tokens = model.tokens(&text[..length]).unwrap();
        let expected = model.logits(&tokens).unwrap().pop().unwrap();
        let best = expected.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32;
        let sampling = SamplingParameters { max_tokens: 1, ..SamplingParameters::default() };
        let mut chosen = None;
        model
            .complete(&tokens, &sampling, &Cancellation::new(), &mut |token| {
                chosen = Some(token);
                Ok(codriver_inference::Flow::Continue)
            })
            .unwrap();
        // The token that ends an answer is not passed on.
        let expected = Some(best).filter(|token| *token != END_TOKEN);
        assert_eq!(chosen, expected, "a prompt of {length} tokens");
    }
}

#[test]
fn nothing_comes_of_no_tokens() {
    let (_folder, model) = random_model();
    let none = SamplingParameters { max_tokens: 0, ..SamplingParameters::default() };
    assert_eq!(model.generate("x", &none, &Cancellation::new(), &mut |_| {}).unwrap(), "");
    assert!(model.generate("", &none, &Cancellation::new(), &mut |_| {}).is_err());
    assert!(model.logits(&[]).is_err());
    assert!(model.logits(&[99_999]).is_err());
}

/// The fixture's `<|end|>`.
const END_TOKEN: u32 = 257;

const DRAWS: u32 = 20_000;

fn draw(parameters: &SamplingParameters, logits: &[f32]) -> HashMap<u32, u32> {
    let mut sampler = Sampler::new(parameters, &[]).unwrap();
    let mut counts = HashMap::new();
    for _ in 0..DRAWS {
        *counts.entry(sampler.choose(&mut logits.to_vec()).unwrap()).or_default() += 1;
    }
    counts
}

fn random_model() -> (tempfile::TempDir, LocalModel) {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 11);
    let model = open(folder.path());
    (folder, model)
}

fn open(folder: &Path) -> LocalModel {
    LocalModel::open(folder, DeviceChoice::Cpu).unwrap()
}

//! GGUF files as models: what transformers computes with the folders they were made of, and llama.cpp
//! with the files.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use codriver_formats::convert::{FileType, convert_to_gguf};
use codriver_inference::{Cancellation, Constraint, DeviceChoice, Flow, LocalModel, SamplingParameters};
use serde_json::Value;
use tempfile::TempDir;

use crate::reference::{self, floats, fresh_seed};

/// Shared with the tests of `formats`.
const PROGRAM: &str = "../../formats/tests/reference/conversion.py";
const TEXT: &str = "Hello, world! It's 1234567 o'clock — naïve größer 数据 🙂\n\n  fn main() { x_1 }";

#[test]
fn gguf_files_compute_what_transformers_and_llama_cpp_compute() {
    let folder = tempfile::tempdir().unwrap();
    let seed = fresh_seed().to_string();
    let cases = reference::run(PROGRAM, &["make", folder.path().to_str().unwrap(), &seed]);
    for case in cases.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let tokens: Vec<u32> = serde_json::from_value(case["tokens"].clone()).unwrap();
        let whole = converted(&folder, case, FileType::F32);
        let model = LocalModel::open(&whole, DeviceChoice::Cpu).unwrap();
        let difference = difference(&model.logits(&tokens).unwrap(), &case["logits"]);
        eprintln!("{name}: {difference:e} from transformers");
        assert!(difference < 1e-4, "{name}: {difference:e}");
        let text_tokens: Vec<u32> = serde_json::from_value(case["text_tokens"].clone()).unwrap();
        assert_eq!(model.tokens(TEXT).unwrap(), text_tokens, "{name}");
    }
    for (case, file_type) in cases.as_array().unwrap().iter().zip([FileType::Q8_0, FileType::Q6_K, FileType::Q4_K_M]) {
        let file = converted(&folder, case, file_type);
        let path = file.to_str().unwrap();
        let expected = reference::run(PROGRAM, &["run", path, &case["tokens"].to_string()]);
        let tokens: Vec<u32> = serde_json::from_value(case["tokens"].clone()).unwrap();
        let model = LocalModel::open(&file, DeviceChoice::Cpu).unwrap();
        let difference = difference(&model.logits(&tokens).unwrap(), &expected["logits"]);
        eprintln!("{file_type}: {difference:e} from llama.cpp");
        // llama.cpp rounds what the weights are multiplied with to eight bits too.
        assert!(difference < 0.05, "{file_type}: {difference:e}");
        let sampling = SamplingParameters { max_tokens: 8, temperature: 0.0, ..SamplingParameters::default() };
        model.generate("Hello", &sampling, &Cancellation::new(), &mut |_| {}).unwrap();
    }
}

/// Tokens that are written after the prompts of 40: with them, llama.cpp's window of 128 is all but full.
const CONTINUED: usize = 80;

#[test]
fn long_greedy_answers_are_those_of_llama_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let seed = fresh_seed().to_string();
    let cases = reference::run(PROGRAM, &["make", folder.path().to_str().unwrap(), &seed]);
    // Logits may differ by so much of their deviation: llama.cpp rounds what F16 and quantized weights
    // are multiplied with to 16 and to 8 bits.
    let types = [(FileType::F32, 1e-3), (FileType::F16, 1e-2), (FileType::Q8_0, 0.05), (FileType::Q4_K_M, 0.1)];
    let mut files = Vec::new();
    for (position, case) in cases.as_array().unwrap().iter().enumerate() {
        // Of each family two of the types.
        for (file_type, tolerance) in [types[position % 2], types[2 + position / 2 % 2]] {
            files.push((converted(&folder, case, file_type), case["tokens"].to_string(), tolerance));
        }
    }
    let count = CONTINUED.to_string();
    let mut arguments = vec!["continue", &count];
    arguments.extend(files.iter().flat_map(|(path, tokens, _)| [path.to_str().unwrap(), tokens.as_str()]));
    let expected = reference::run(PROGRAM, &arguments);
    let (mut chosen, mut ties) = (0, 0);
    for ((path, tokens, tolerance), expected) in files.iter().zip(expected.as_array().unwrap()) {
        let name = path.file_stem().unwrap().to_string_lossy();
        let prompt: Vec<u32> = serde_json::from_str(tokens).unwrap();
        let written: Vec<u32> = serde_json::from_value(expected["tokens"].clone()).unwrap();
        let model = LocalModel::open(path, DeviceChoice::Cpu).unwrap();
        // The scores on llama.cpp's own way, so that one tie does not hide what follows it.
        let whole = [&prompt[..], &written[..CONTINUED - 1]].concat();
        let ours = model.logits(&whole).unwrap().split_off(prompt.len() - 1);
        let theirs: Vec<Vec<f32>> = expected["logits"].as_array().unwrap().iter().map(floats).collect();
        let difference = relative(&ours.concat(), &theirs.concat());
        let mut first_tie = CONTINUED;
        for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            chosen += 1;
            if best(ours) != written[step] as usize {
                let between = theirs[best(theirs)] - theirs[best(ours)];
                let apart = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
                assert!(
                    between <= 2.0 * apart,
                    "{name}, token {step}: {between} between the two, logits {apart} apart"
                );
                first_tie = first_tie.min(step);
                ties += 1;
            }
        }
        eprintln!("{name}: {difference:e} from llama.cpp, the same tokens up to {first_tie}");
        if name.contains("moe") || name.contains("mixtral") {
            check_mixture(path, &whole, &ours, &theirs, prompt.len() - 1, *tolerance);
        } else {
            assert!(difference < *tolerance, "{name}: {difference:e}");
        }
        let answer = complete(&model, &prompt, SamplingParameters { max_tokens: CONTINUED, ..Default::default() });
        let same = answer.iter().zip(&written).take_while(|(ours, theirs)| ours == theirs).count();
        // The token that ends answers here is one of many to llama.cpp when it is asked like this.
        assert!(same >= first_tie.min(answer.len()), "{name}: other tokens from {same} on, a tie at {first_tie}");
    }
    eprintln!("{ties} of {chosen} choices are ties");
    assert!(ties * 20 < chosen, "{ties} of {chosen} choices differ");
}

/// At a few positions rounding has a router choose another expert, whose answer is another one: llama.cpp's
/// own answers leave those without rounding there. At most positions a mixture is as close as other models,
/// and on the whole no further from the exact answers than llama.cpp is.
fn check_mixture(path: &Path, tokens: &[u32], ours: &[Vec<f32>], theirs: &[Vec<f32>], skipped: usize, tolerance: f32) {
    let name = path.file_stem().unwrap().to_string_lossy();
    let text = serde_json::to_string(tokens).unwrap();
    let exact = reference::run(PROGRAM, &["exact", path.to_str().unwrap(), &text]);
    let exact: Vec<Vec<f32>> = exact["logits"].as_array().unwrap().iter().skip(skipped).map(floats).collect();
    let median = |ours: &[Vec<f32>], theirs: &[Vec<f32>]| {
        let mut apart: Vec<f32> = ours.iter().zip(theirs).map(|(ours, theirs)| relative(ours, theirs)).collect();
        apart.sort_by(f32::total_cmp);
        apart[apart.len() / 2]
    };
    let others = |scores: &[Vec<f32>]| {
        let far = scores.iter().zip(&exact).filter(|(scores, exact)| relative(scores, exact) > 3.0 * tolerance);
        far.count()
    };
    let between = median(ours, theirs);
    let (we, they) = (median(ours, &exact), median(theirs, &exact));
    let (our_others, their_others) = (others(ours), others(theirs));
    eprintln!(
        "{name}: at most positions {between:e} from llama.cpp, {we:e} from exact (llama.cpp {they:e}); \
         {our_others} of {} are others' answers (llama.cpp {their_others})",
        exact.len()
    );
    // Where experts were changed early on, all that follows is further from exact under either.
    assert!(between < tolerance.max(1.5 * they), "{name}: {between:e} from llama.cpp, which is {they:e} from exact");
    assert!(we < 1.25 * they + 1e-4, "{name}: {we:e} from exact, llama.cpp {they:e}");
    assert!(our_others <= 2 * their_others + 4, "{name}: {our_others} positions, llama.cpp {their_others}");
}

#[test]
fn trained_weights_lose_no_more_than_under_llama_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, assets) = (folder.path(), Path::new("assets"));
    std::fs::create_dir(folder.join("model")).unwrap();
    let (starter, requests) = (assets.join("starter"), assets.join("starter-eval/requests.jsonl"));
    let paths = [folder, &starter, &requests].map(|path| path.to_str().unwrap());
    let made = reference::run("trained.py", &[&["make"][..], &paths[..]].concat());
    let requests: Vec<Vec<u32>> = serde_json::from_value(made["tokens"].clone()).unwrap();
    let model = Path::new(made["model"].as_str().unwrap());
    let scores = |path: &Path| {
        let model = LocalModel::open(path, DeviceChoice::Cpu).unwrap();
        let size = model.logits(&requests[0]).unwrap()[0].len();
        (requests.iter().flat_map(|tokens| model.logits(tokens).unwrap().concat()).collect::<Vec<f32>>(), size)
    };
    let exact = read_floats(Path::new(made["scores"].as_str().unwrap()));
    let (safetensors, size) = scores(model);
    let difference = relative(&safetensors, &exact);
    eprintln!("safetensors: {difference:e} from transformers");
    assert!(difference < 1e-4, "{difference:e}");
    for file_type in [FileType::F32, FileType::F16, FileType::Q8_0, FileType::Q6_K, FileType::Q4_K_M, FileType::Q4_0] {
        let path = folder.join(format!("{file_type}.gguf"));
        convert_to_gguf(model, &path, file_type, &mut |_| ControlFlow::Continue(())).unwrap();
        let output = folder.join("llama.f32");
        let tokens = made["tokens"].to_string();
        reference::run("trained.py", &["run", path.to_str().unwrap(), &tokens, output.to_str().unwrap()]);
        let lost = |scores: &[f32]| lost(scores, &exact, size);
        let (ours, theirs) = (lost(&scores(&path).0), lost(&read_floats(&output)));
        eprintln!("{file_type}: {ours:.2e} nats are lost, under llama.cpp {theirs:.2e}");
        // What both lose to the rounded weights, and 32-bit sums in another order.
        assert!(ours < 1.1 * theirs + 1e-6, "{file_type}: {ours:e} nats, under llama.cpp {theirs:e}");
    }
}

#[test]
fn text_that_is_certain_is_written_in_the_tokenizers_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let cases = reference::run(PROGRAM, &["make", folder.path().to_str().unwrap(), "1", "llama"]);
    let file = converted(&folder, &cases[0], FileType::F16);
    let model = LocalModel::open(&file, DeviceChoice::Cpu).unwrap();
    // Random weights would spell it in other tokens at once if they had a choice.
    let text = "Hello, hello world 123 456 main x_1";
    let constraint = Some(Constraint::Choice(vec![text.to_string()]));
    let answer = complete(&model, &[5, 6, 7], SamplingParameters { constraint, ..Default::default() });
    assert_eq!(answer, model.tokens(text).unwrap());
}

#[test]
fn files_that_are_no_model_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let error = || LocalModel::open(&path, DeviceChoice::Cpu).map(drop).unwrap_err().to_string();
    assert!(error().contains("model.gguf"));
    std::fs::write(&path, b"GGUF\x03\0\0\0").unwrap();
    assert!(error().contains("ends within"));
}

fn converted(folder: &TempDir, case: &Value, file_type: FileType) -> PathBuf {
    let output = folder.path().join(format!("{}-{file_type}.gguf", case["name"].as_str().unwrap()));
    convert_to_gguf(
        Path::new(case["folder"].as_str().unwrap()),
        &output,
        file_type,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    output
}

fn complete(model: &LocalModel, prompt: &[u32], sampling: SamplingParameters) -> Vec<u32> {
    let mut tokens = Vec::new();
    let mut keep = |token| {
        tokens.push(token);
        Ok(Flow::Continue)
    };
    model.complete(prompt, &sampling, &Cancellation::new(), &mut keep).unwrap();
    tokens
}

fn best(scores: &[f32]) -> usize {
    let better = |best: usize, (next, score): (usize, &f32)| if *score > scores[best] { next } else { best };
    scores.iter().enumerate().fold(0, better)
}

fn read_floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The mean divergence (Kullback and Leibler's) of scores from exact ones, position by position: how
/// much less likely they hold, in nats, what was likely.
fn lost(scores: &[f32], exact: &[f32], size: usize) -> f64 {
    let divergences = scores.chunks(size).zip(exact.chunks(size)).map(|(scores, exact)| {
        let (scores, exact) = (log_softmax(scores), log_softmax(exact));
        exact.iter().zip(&scores).map(|(exact, score)| exact.exp() * (exact - score)).sum::<f64>()
    });
    divergences.sum::<f64>() / (exact.len() / size) as f64
}

fn log_softmax(scores: &[f32]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|score| f64::from(score - largest).exp()).sum();
    scores.iter().map(|score| f64::from(score - largest) - sum.ln()).collect()
}

/// The root of the mean squared difference, relative to the deviation of the logits.
fn difference(logits: &[Vec<f32>], expected: &Value) -> f32 {
    relative(&logits.concat(), &expected.as_array().unwrap().iter().flat_map(floats).collect::<Vec<f32>>())
}

fn relative(logits: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(logits.len(), expected.len());
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|number| number * number).sum::<f32>();
    let differences = squares(&mut logits.iter().zip(expected).map(|(logit, expected)| logit - expected));
    (differences / squares(&mut expected.iter().copied())).sqrt()
}

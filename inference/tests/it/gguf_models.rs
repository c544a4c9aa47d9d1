//! GGUF files as models: what transformers computes with the folders they were made of, and llama.cpp
//! with the files.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use codriver_formats::convert::convert_to_gguf;
use codriver_formats::gguf::TensorType;
use codriver_inference::{Cancellation, DeviceChoice, LocalModel, SamplingParameters};
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
        let whole = converted(&folder, case, TensorType::F32);
        let model = LocalModel::open(&whole, DeviceChoice::Cpu).unwrap();
        let difference = difference(&model.logits(&tokens).unwrap(), &case["logits"]);
        eprintln!("{name}: {difference:e} from transformers");
        assert!(difference < 1e-4, "{name}: {difference:e}");
        let text_tokens: Vec<u32> = serde_json::from_value(case["text_tokens"].clone()).unwrap();
        assert_eq!(model.tokens(TEXT).unwrap(), text_tokens, "{name}");
    }
    for (case, tensor_type) in
        cases.as_array().unwrap().iter().zip([TensorType::Q8_0, TensorType::Q6_K, TensorType::Q4_K])
    {
        let file = converted(&folder, case, tensor_type);
        let path = file.to_str().unwrap();
        let expected = reference::run(PROGRAM, &["run", path, &case["tokens"].to_string()]);
        let tokens: Vec<u32> = serde_json::from_value(case["tokens"].clone()).unwrap();
        let model = LocalModel::open(&file, DeviceChoice::Cpu).unwrap();
        let difference = difference(&model.logits(&tokens).unwrap(), &expected["logits"]);
        eprintln!("{tensor_type}: {difference:e} from llama.cpp");
        // llama.cpp rounds what the weights are multiplied with to eight bits too.
        assert!(difference < 0.05, "{tensor_type}: {difference:e}");
        let sampling = SamplingParameters { max_tokens: 8, temperature: 0.0, ..SamplingParameters::default() };
        model.generate("Hello", &sampling, &Cancellation::new(), &mut |_| {}).unwrap();
    }
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

fn converted(folder: &TempDir, case: &Value, tensor_type: TensorType) -> PathBuf {
    let output = folder.path().join(format!("{}-{tensor_type}.gguf", case["name"].as_str().unwrap()));
    convert_to_gguf(Path::new(case["folder"].as_str().unwrap()), &output, tensor_type, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    output
}

/// The root of the mean squared difference, relative to the deviation of the logits.
fn difference(logits: &[Vec<f32>], expected: &Value) -> f32 {
    let expected: Vec<f32> = expected.as_array().unwrap().iter().flat_map(floats).collect();
    let logits: Vec<f32> = logits.concat();
    assert_eq!(logits.len(), expected.len());
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|number| number * number).sum::<f32>();
    let differences = squares(&mut logits.iter().zip(&expected).map(|(logit, expected)| logit - expected));
    (differences / squares(&mut expected.iter().copied())).sqrt()
}

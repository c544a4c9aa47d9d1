//! Models converted here, as llama.cpp runs them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use codriver_formats::convert::convert_to_gguf;
use codriver_formats::gguf::{GgufFile, TensorType};
use serde_json::Value;

use crate::reference::{self, floats};

#[test]
fn llama_cpp_computes_what_transformers_computes() {
    let models = Models::make();
    for case in &models.cases {
        let file = models.converted(case, TensorType::F32);
        let run = run(&file, case);
        let name = case["name"].as_str().unwrap();
        let difference = difference(&run["logits"], &case["logits"]);
        eprintln!("{name}: relative difference {difference:e}");
        // The most is Gemma's, whose activation llama.cpp looks up in a table of 16-bit floats.
        assert!(difference < 1e-3, "{name}: {difference:e}");
        assert_eq!(run["text_tokens"], case["text_tokens"], "{name}");
    }
}

#[test]
fn quantized_files_are_loaded_by_llama_cpp_and_stay_close() {
    let models = Models::make();
    for (position, (tensor_type, tolerance)) in [
        (TensorType::Q8_0, 0.2),
        (TensorType::Q6_K, 0.3),
        (TensorType::Q5_K, 0.4),
        (TensorType::Q4_K, 0.6),
        (TensorType::F16, 0.1),
        (TensorType::BF16, 0.1),
    ]
    .into_iter()
    .enumerate()
    {
        // Not every family with every type: each file is a start of llama.cpp.
        for case in models.cases.iter().skip(position % 3).step_by(3) {
            let direct = models.converted(case, tensor_type);
            let name = case["name"].as_str().unwrap();
            let difference = difference(&run(&direct, case)["logits"], &case["logits"]);
            eprintln!("{name} as {tensor_type}: relative difference {difference:e}");
            // Rounding may have a router choose another expert, whose answer is another one.
            let tolerance = if name.contains("moe") || name.contains("mixtral") { 2.0 * tolerance } else { tolerance };
            assert!(difference < tolerance, "{name} as {tensor_type}: {difference}");
            // By way of a GGUF file of 32-bit floats, the same file comes out.
            let whole = models.converted(case, TensorType::F32);
            let again = models.folder.path().join("again.gguf");
            convert_to_gguf(&whole, &again, tensor_type, &mut |_| ControlFlow::Continue(())).unwrap();
            same_files(&direct, &again);
        }
    }
}

#[test]
fn progress_reaches_the_end_and_what_is_wrong_is_named() {
    let models = Models::make();
    let case = &models.cases[0];
    let folder = PathBuf::from(case["folder"].as_str().unwrap());
    let output = models.folder.path().join("out.gguf");
    let mut seen = Vec::new();
    let converted = convert_to_gguf(&folder, &output, TensorType::Q8_0, &mut |progress| {
        seen.push((progress.done, progress.total));
        ControlFlow::Continue(())
    });
    let converted = converted.unwrap();
    assert_eq!(seen.len(), converted.tensors + 1);
    assert!(seen.is_sorted() && seen.last() == Some(&(converted.parameters, converted.parameters)));
    std::fs::remove_file(&output).unwrap();
    let stopped = convert_to_gguf(&folder, &output, TensorType::Q8_0, &mut |progress| match progress.done {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    });
    assert!(stopped.unwrap_err().to_string().contains("stopped"));
    let left = std::fs::read_dir(models.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("out.gguf")), "a part of a file is left");

    let fails = |name: &str, change: &dyn Fn(&mut Value), expected: &str| {
        let path = folder.join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut json: Value = serde_json::from_slice(&whole).unwrap();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let error = convert_to_gguf(&folder, &output, TensorType::Q8_0, &mut |_| ControlFlow::Continue(()))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!output.exists());
        std::fs::write(path, whole).unwrap();
    };
    fails("config.json", &|config| config["model_type"] = "mamba".into(), "`mamba`");
    fails("config.json", &|config| config["hidden_act"] = "relu".into(), "activation");
    fails("config.json", &|config| config["num_attention_heads"] = 7.into(), "7 heads");
    fails("config.json", &|config| config["hidden_size"] = Value::Null, "`hidden_size`");
    fails("tokenizer.json", &|tokenizer| tokenizer["model"]["type"] = "WordPiece".into(), "tokenizer");
    let error = convert_to_gguf(&folder, &output, TensorType::IQ1_S, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("Q4_K"));
}

struct Models {
    folder: tempfile::TempDir,
    cases: Vec<Value>,
}

impl Models {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seed = reference::fresh_seed().to_string();
        let cases = reference::run("conversion.py", &["make", folder.path().to_str().unwrap(), &seed]);
        Self { folder, cases: cases.as_array().unwrap().clone() }
    }

    fn converted(&self, case: &Value, tensor_type: TensorType) -> PathBuf {
        let output = self.folder.path().join(format!("{}-{tensor_type}.gguf", case["name"].as_str().unwrap()));
        convert_to_gguf(Path::new(case["folder"].as_str().unwrap()), &output, tensor_type, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        output
    }
}

fn run(file: &Path, case: &Value) -> Value {
    reference::run("conversion.py", &["run", file.to_str().unwrap(), &case["tokens"].to_string()])
}

/// The root of the mean squared difference, relative to the deviation of the logits.
fn difference(logits: &Value, expected: &Value) -> f32 {
    let flat = |rows: &Value| rows.as_array().unwrap().iter().flat_map(floats).collect::<Vec<f32>>();
    let (logits, expected) = (flat(logits), flat(expected));
    assert_eq!(logits.len(), expected.len());
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|number| number * number).sum::<f32>();
    let differences = squares(&mut logits.iter().zip(&expected).map(|(logit, expected)| logit - expected));
    (differences / squares(&mut expected.iter().copied())).sqrt()
}

fn same_files(first: &Path, second: &Path) {
    let (first, second) = (GgufFile::open(first).unwrap(), GgufFile::open(second).unwrap());
    assert!(first.metadata().iter().eq(second.metadata().iter()));
    assert_eq!(first.tensors().len(), second.tensors().len());
    for tensor in first.tensors() {
        let (first, second) = (first.tensor(&tensor.name).unwrap(), second.tensor(&tensor.name).unwrap());
        assert_eq!(first.tensor_type, second.tensor_type);
        assert!(first.bytes == second.bytes, "{}", tensor.name);
    }
}

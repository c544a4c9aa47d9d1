//! Models converted here, as llama.cpp runs them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use codriver_formats::convert::{FileType, convert_to_gguf};
use codriver_formats::gguf::GgufFile;
use serde_json::Value;

use crate::reference::{self, floats};

#[test]
fn llama_cpp_computes_what_transformers_computes() {
    let models = Models::make();
    for case in &models.cases {
        let file = models.converted(case, FileType::F32);
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
    for (position, (file_type, tolerance)) in [
        (FileType::Q8_0, 0.2),
        (FileType::Q6_K, 0.3),
        (FileType::Q5_K_M, 0.4),
        (FileType::Q4_K_M, 0.6),
        (FileType::F16, 0.1),
        (FileType::BF16, 0.1),
    ]
    .into_iter()
    .enumerate()
    {
        // Not every family with every type: each file is a start of llama.cpp.
        for case in models.cases.iter().skip(position % 3).step_by(3) {
            let direct = models.converted(case, file_type);
            let name = case["name"].as_str().unwrap();
            let difference = difference(&run(&direct, case)["logits"], &case["logits"]);
            eprintln!("{name} as {file_type}: relative difference {difference:e}");
            // Rounding may have a router choose another expert, whose answer is another one.
            let tolerance = if name.contains("moe") || name.contains("mixtral") { 2.0 * tolerance } else { tolerance };
            assert!(difference < tolerance, "{name} as {file_type}: {difference}");
            // By way of a GGUF file of 32-bit floats, the same file comes out.
            let whole = models.converted(case, FileType::F32);
            let again = models.folder.path().join("again.gguf");
            convert_to_gguf(&whole, &again, file_type, &mut |_| ControlFlow::Continue(())).unwrap();
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
    let converted = convert_to_gguf(&folder, &output, FileType::Q8_0, &mut |progress| {
        seen.push((progress.done, progress.total));
        ControlFlow::Continue(())
    });
    let converted = converted.unwrap();
    assert_eq!(seen.len(), converted.tensors + 1);
    assert!(seen.is_sorted() && seen.last() == Some(&(converted.parameters, converted.parameters)));
    std::fs::remove_file(&output).unwrap();
    let stopped = convert_to_gguf(&folder, &output, FileType::Q8_0, &mut |progress| match progress.done {
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
        let error = convert_to_gguf(&folder, &output, FileType::Q8_0, &mut |_| ControlFlow::Continue(()))
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

    fn converted(&self, case: &Value, file_type: FileType) -> PathBuf {
        let output = self.folder.path().join(format!("{}-{file_type}.gguf", case["name"].as_str().unwrap()));
        convert_to_gguf(Path::new(case["folder"].as_str().unwrap()), &output, file_type, &mut |_| {
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

//! Runs the Python programs in `tests/reference`, which say what other implementations compute.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Runs a program with its arguments and reads the JSON it prints.
pub fn run(program: &str, arguments: &[&str]) -> Value {
    let python = python();
    assert!(
        python.exists(),
        "{} is missing: run `cargo xtask setup`, or name an interpreter that has torch and transformers \
         in CODRIVER_PYTHON",
        python.display()
    );
    let path = Path::new("tests/reference").join(program);
    let mut command = Command::new(&python);
    command.arg(&path).args(arguments).env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false");
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{} failed; if a package is missing, run `cargo xtask setup`:\n{}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("CODRIVER_PYTHON") {
        return python.into();
    }
    let environment = std::env::var_os("CODRIVER_PYTHON_ENV").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("HOME is set");
        Path::new(&home).join(".cache/codriver/python")
    });
    environment.join("bin/python")
}

/// Numbers that differ from run to run, and are printed so that a failure can be repeated:
/// set CODRIVER_TEST_SEED.
pub fn fresh_seed() -> u64 {
    let seed = match std::env::var("CODRIVER_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()),
    };
    eprintln!("CODRIVER_TEST_SEED={seed}");
    seed
}

pub fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

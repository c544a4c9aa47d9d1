//! What the memory crate measures of itself, with real databases and vectors of usual size.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{at_most, row};
use crate::{build, process};

pub fn measure() -> Result<String> {
    // The features of the tests' build: those of one package alone would compile half of the dependencies anew.
    let build = ["test", "--release", "--workspace", "--bins", "--tests"];
    let tests = ["--", "--ignored", "--nocapture", "--test-threads", "1", "figures_of"];
    let output = process::capture(&mut build::cargo_with_duckdb(&[&build[..], &tests].concat())?)?;
    let mut text = String::new();
    for line in output.lines().filter_map(|line| line.split_once("figure: ")).map(|(_, figure)| figure) {
        let figure: Value = serde_json::from_str(line).context("a figure of the memory crate")?;
        let number = |name: &str| figure.get(name).and_then(Value::as_f64);
        let name = figure.get("name").and_then(Value::as_str).unwrap_or_default();
        let milliseconds = number("milliseconds").unwrap_or(f64::NAN);
        let verdict = number("goal").map_or(String::new(), |goal| at_most(milliseconds, goal, "ms"));
        text.push_str(&row(name, &format!("{milliseconds:.2} ms"), "", &verdict));
    }
    Ok(text)
}

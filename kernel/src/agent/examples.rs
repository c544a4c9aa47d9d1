//! Answers worth imitating: those that are most like the request go before the model.

use std::path::PathBuf;

use codriver_memory::Memory;
use serde::{Deserialize, Serialize};

use super::definitions::configuration_folder;
use crate::languages::CellError;

/// Examples in a prompt.
const MOST: usize = 3;
/// Less alike than this is no example.
const LEAST_SIMILARITY: f32 = 0.35;

/// A request and an answer that was good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub request: String,
    pub answer: String,
    /// How much its request is like the one at hand, 0 to 1.
    #[serde(skip)]
    pub score: f32,
}

impl Example {
    pub fn text(&self) -> String {
        format!("Request: {}\nAnswer: {}", self.request, self.answer)
    }
}

/// All examples of this user, in the order in which they were added. A line that can't be read is
/// skipped: people edit this file.
pub fn all() -> Vec<Example> {
    let text = path().and_then(|path| fs_err::read_to_string(path).ok()).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Those whose requests are most like this one, the best first.
pub fn like(request: &str, memory: &Memory) -> Vec<Example> {
    let mut examples = all();
    if examples.is_empty() {
        return examples;
    }
    let requests: Vec<&str> = examples.iter().map(|example| example.request.as_str()).collect();
    let scores = memory.similarity(request, &requests);
    for (example, score) in examples.iter_mut().zip(scores) {
        example.score = score;
    }
    examples.retain(|example| example.score >= LEAST_SIMILARITY);
    examples.sort_by(|one, other| other.score.total_cmp(&one.score));
    examples.truncate(MOST);
    examples
}

pub fn save(examples: &[Example]) -> Result<(), CellError> {
    let failed = |reason: String| CellError::new("PromptError", reason);
    let path = path().ok_or_else(|| failed("there is no configuration folder; set CODRIVER_CONFIG_DIR".to_owned()))?;
    let mut text = String::new();
    for example in examples {
        let line = serde_json::to_string(example).map_err(|error| failed(error.to_string()))?;
        text.push_str(&line);
        text.push('\n');
    }
    super::prompts::write_whole(&path, &text).map_err(|error| failed(error.to_string()))
}

/// `examples.jsonl` beside the prompts: a request and an answer a line.
fn path() -> Option<PathBuf> {
    configuration_folder().map(|folder| folder.join("prompts").join("examples.jsonl"))
}

//! What the tests share.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use codriver_memory::{ConversationId, Embedder, MasterKey, Memory, MemoryOptions, NewMessage, NewTurn, Project};
use serde_json::json;
use tempfile::TempDir;

/// A folder that is gone afterwards, and the database in a folder that is not there yet.
pub fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("codriver/memory.duckdb");
    (folder, path)
}

pub fn turn(conversation: &ConversationId, request: &str, answer: &str) -> NewTurn {
    let message = |role: &str, content: &str| NewMessage {
        role: role.to_owned(),
        content: content.to_owned(),
        json: Some(json!({"role": role, "content": content})),
    };
    NewTurn {
        conversation: conversation.clone(),
        request: request.to_owned(),
        answer: answer.to_owned(),
        model: "starter".to_owned(),
        messages: vec![message("user", request), message("tool", "42 rows"), message("assistant", answer)],
        context: Vec::new(),
        prompt_tokens: 120,
        completion_tokens: 9,
        milliseconds: 34,
        prompt: format!("<|user|>{request}"),
    }
}

/// Memory of the project that lies in a folder of this name beside the database's folder.
pub fn of_project(path: &std::path::Path, project: &str) -> Memory {
    let folder = path.parent().and_then(std::path::Path::parent).unwrap().join(project);
    std::fs::create_dir_all(&folder).unwrap();
    Memory::open_with(MemoryOptions { project: Some(Project::of(&folder)), ..MemoryOptions::new(path) }).unwrap()
}

/// Memory with a key.
pub fn with_key(path: &std::path::Path, key: &MasterKey) -> MemoryOptions {
    MemoryOptions { key: Some(key.clone()), ..MemoryOptions::new(path) }
}

/// Every file in the folder of a database, whose bytes contain `text`.
pub fn files_with(path: &std::path::Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![path.parent().unwrap().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.is_dir() {
                folders.push(file);
            } else if std::fs::read(&file).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(file.display().to_string());
            }
        }
    }
    found
}

/// Runs `test` of this binary in a process of its own, which `CODRIVER_TEST_PATH` tells that
/// it is the helper.
pub fn helper(test: &str, path: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("CODRIVER_TEST_PATH", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// The path, if this process is a helper.
pub fn helper_path() -> Option<PathBuf> {
    std::env::var_os("CODRIVER_TEST_PATH").map(PathBuf::from)
}

/// One dimension a topic; a text about none of them is a zero vector.
#[derive(Default)]
pub struct Topics {
    pub asked: Mutex<Vec<String>>,
}

const TOPICS: [&[&str]; 4] = [
    &["revenue", "sales", "turnover", "income"],
    &["dog", "puppy", "cat", "kitten"],
    &["rain", "snow", "weather", "storm"],
    &["undefined"],
];

impl Embedder for Topics {
    fn name(&self) -> &str {
        "topics"
    }

    fn dimensions(&self) -> usize {
        3
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        self.asked.lock().unwrap().extend(texts.iter().map(|text| (*text).to_owned()));
        let count = |text: &str, topic: &[&str]| {
            topic.iter().map(|word| text.to_lowercase().matches(word).count() as f32).sum::<f32>()
        };
        let embed = |text: &&str| {
            let mut vector: Vec<f32> = TOPICS[..3].iter().map(|topic| count(text, topic)).collect();
            if count(text, TOPICS[3]) > 0.0 {
                vector[0] = f32::NAN;
            }
            vector
        };
        Ok(texts.iter().map(embed).collect())
    }
}

/// An embedder that does not work.
pub struct Broken;

impl Embedder for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn dimensions(&self) -> usize {
        3
    }

    fn embed(&self, _: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        Err("no weights".to_owned())
    }
}

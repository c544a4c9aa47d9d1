//! hnswlib and usearch, in a Python of their own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::paths;
use crate::process::{self, say};

/// What the Python process answers to, a line at a time.
pub struct Peers {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// How one engine did over all queries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Searched {
    pub recall: f64,
    pub per_second: f64,
    pub p99: f64,
}

impl Peers {
    pub fn start() -> Result<Self> {
        let folder = paths::cache()?.join("bench-memory/python");
        let python = folder.join("bin/python");
        if !python.exists() {
            say("a Python with hnswlib and usearch");
            let base = paths::find_program(&["python3"]).context("python3 is needed")?;
            process::run(Command::new(base).args(["-m", "venv"]).arg(&folder))?;
            process::run(Command::new(&python).args(["-m", "pip", "install", "-q", "numpy", "hnswlib", "usearch"]))?;
        }
        let mut child = Command::new(python)
            .arg(paths::root().join("tests/python/bench_memory.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take().context("the peers' input")?;
        let answers = BufReader::new(child.stdout.take().context("the peers' output")?);
        Ok(Self { child, commands, answers })
    }

    /// Vectors, true neighbours and the peers' indexes; what is missing is made, which takes its time.
    pub fn prepare(&mut self, folder: &Path, count: usize) -> Result<Value> {
        self.ask(&json!({ "prepare": folder, "count": count }))
    }

    pub fn open(&mut self, engine: &str) -> Result<Value> {
        self.ask(&json!({ "open": engine }))
    }

    pub fn search(&mut self, engine: &str, wide: usize) -> Result<Searched> {
        let answer = self.ask(&json!({ "search": engine, "wide": wide }))?;
        let figure = |name: &str| answer.get(name).and_then(Value::as_f64).unwrap_or_default();
        Ok(Searched { recall: figure("recall"), per_second: figure("per_second"), p99: figure("p99") })
    }

    fn ask(&mut self, command: &Value) -> Result<Value> {
        writeln!(self.commands, "{command}")?;
        self.commands.flush()?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            bail!("the peers' Python ended ({})", self.child.wait()?);
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

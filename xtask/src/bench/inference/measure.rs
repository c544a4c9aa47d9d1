//! One measurement: an engine, a test, a model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::Options;
use super::peers::{Peer, Peers, last_line};
use crate::setup::embedding;
use crate::{paths, process};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Test {
    /// Reading a prompt, writing an answer, loading, memory
    Generation,
    /// Several requests at once against one
    Concurrency,
    /// The time to the second turn's first token against the first turn's
    Conversation,
    /// Texts as vectors
    Embeddings,
}

impl Test {
    pub const ALL: [Self; 4] = [Self::Generation, Self::Concurrency, Self::Conversation, Self::Embeddings];

    fn name(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Concurrency => "concurrency",
            Self::Conversation => "conversation",
            Self::Embeddings => "embeddings",
        }
    }
}

/// A test on a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub shape: String,
    pub format: String,
    pub test: Test,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.shape, self.format, self.test.name())
    }
}

impl Case {
    /// Ours, and the peers that can take part.
    pub fn engines(&self, peers: &Peers) -> Vec<Engine> {
        let others = peers.ready().filter(|peer| peer.takes(self.test, &self.format)).map(Engine::Peer);
        std::iter::once(Engine::Codriver).chain(others).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    Codriver,
    Peer(Peer),
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codriver => formatter.write_str("codriver"),
            Self::Peer(peer) => peer.fmt(formatter),
        }
    }
}

/// What a run gave, by name: `prompt`, `answer` (tokens a second), `load`, `ready` (seconds until the model
/// is loaded, and until it has answered a first time), `memory` (bytes),
/// `one`, `many` (tokens a second in all), `cold`, `second` (seconds), `texts` (a second), `latency`
/// (seconds), `cosine` (the least of a peer's vectors to ours).
pub type Measured = BTreeMap<String, f64>;
pub type Figures = BTreeMap<(Case, Engine), Vec<Measured>>;

/// What the engines are measured on.
pub struct Models {
    checkpoints: BTreeMap<(String, String), Checkpoint>,
    /// The embedding model and a file of texts.
    embedding: Option<(PathBuf, PathBuf)>,
    folder: PathBuf,
}

/// A model of a shape with random weights.
pub struct Checkpoint {
    pub path: PathBuf,
    pub bytes: f64,
    /// Numbers that a position adds to the cache of keys and values.
    pub cached: f64,
}

/// The embedding model that is measured.
const EMBEDDING: &str = "all-MiniLM-L6-v2";
/// The format that the fewest bytes are read in without loss of meaning: what requests at once and
/// conversations are measured on.
const FORMATS_OF_SESSIONS: [&str; 2] = ["q8_0", "q4_k"];

impl Models {
    /// Writes what is not there yet.
    pub fn prepare(peers: &Peers, options: &Options) -> Result<Self> {
        let folder = paths::cache()?.join("bench-models");
        let mut models = Self { checkpoints: BTreeMap::new(), embedding: None, folder };
        if options.tests.iter().any(|test| *test != Test::Embeddings) {
            for shape in &options.shapes {
                for format in &options.formats {
                    let mut command = peers.script("checkpoint");
                    command.arg(&models.folder).args([shape, format]);
                    let answer = last_line(&process::capture(&mut command)?)?;
                    let number =
                        |key: &str| answer[key].as_f64().with_context(|| format!("no {key} of the checkpoint"));
                    let checkpoint = Checkpoint {
                        path: answer["path"].as_str().unwrap_or_default().into(),
                        bytes: number("bytes")?,
                        cached: 2.0 * number("layers")? * number("key_value_heads")? * number("head")?,
                    };
                    models.checkpoints.insert((shape.clone(), format.clone()), checkpoint);
                }
            }
        }
        if options.tests.contains(&Test::Embeddings) {
            let texts = models.folder.join(format!("texts-{}.json", options.texts));
            let mut command = peers.script("texts");
            process::capture(command.arg(&texts).arg(options.texts.to_string()))?;
            models.embedding = Some((embedding::model()?, texts));
        }
        Ok(models)
    }

    /// What is to be measured, in order.
    pub fn cases(&self, options: &Options) -> Vec<Case> {
        let case = |shape: &str, format: &str, test| Case { shape: shape.to_owned(), format: format.to_owned(), test };
        let mut cases = Vec::new();
        for (shape, format) in self.checkpoints.keys() {
            let sessions = FORMATS_OF_SESSIONS.contains(&format.as_str());
            let tests = options.tests.iter().copied().filter(|test| match test {
                Test::Generation => true,
                Test::Concurrency | Test::Conversation => sessions,
                Test::Embeddings => false,
            });
            cases.extend(tests.map(|test| case(shape, format, test)));
        }
        if self.embedding.is_some() {
            cases.push(case(EMBEDDING, "f32", Test::Embeddings));
        }
        cases
    }

    pub fn checkpoint(&self, case: &Case) -> Option<&Checkpoint> {
        self.checkpoints.get(&(case.shape.clone(), case.format.clone()))
    }

    /// Runs an engine once.
    pub fn measure(&self, peers: &Peers, case: &Case, engine: Engine, options: &Options) -> Result<Measured> {
        let path = match (case.test, &self.embedding, self.checkpoint(case)) {
            (Test::Embeddings, Some((model, _)), _) => model,
            (_, _, Some(checkpoint)) => &checkpoint.path,
            _ => return Err(anyhow!("no model")),
        };
        // Else the first of a round would pay for the disk.
        read_once(path).with_context(|| format!("{}", path.display()))?;
        match engine {
            Engine::Codriver => self.codriver(case.test, path, options),
            Engine::Peer(Peer::Candle) => {
                let mut command = Command::new(peers.candle());
                command.arg(path);
                numbers(&last_line(&process::capture(sizes(&mut command, options))?)?)
            }
            Engine::Peer(peer) => {
                let mut command = peers.script("measure");
                command.args([&peer.to_string(), case.test.name(), "--path"]).arg(path);
                command.arg("--folder").arg(&self.folder);
                command.args(["--concurrency", &options.concurrency.to_string()]);
                if let Some((_, texts)) = &self.embedding {
                    command.arg("--texts").arg(texts);
                    command.arg("--vectors").arg(self.vectors(engine));
                }
                let mut measured = numbers(&last_line(&process::capture(sizes(&mut command, options))?)?)?;
                if case.test == Test::Embeddings {
                    // Ours were written just before: Codriver is the first of a round.
                    let mut command = peers.script("cosine");
                    command.arg(self.vectors(Engine::Codriver)).arg(self.vectors(engine));
                    measured.extend(numbers(&last_line(&process::capture(&mut command)?)?)?);
                }
                Ok(measured)
            }
        }
    }

    fn codriver(&self, test: Test, path: &Path, options: &Options) -> Result<Measured> {
        let mut command = Command::new(paths::codriver());
        command.args(["model", "bench"]).arg(path).args(["--json", "--repeats", "1"]);
        let (prompt, generate) = (options.prompt.to_string(), options.generate.to_string());
        match test {
            Test::Generation => command.args(["--prompt", &prompt, "-n", &generate]),
            Test::Concurrency => {
                command.args(["--prompt", "0", "-n", &generate, "--concurrency", &options.concurrency.to_string()])
            }
            Test::Conversation => command.args(["--prompt", &prompt, "-n", "0"]),
            Test::Embeddings => {
                let Some((_, texts)) = &self.embedding else { return Err(anyhow!("no texts")) };
                command.arg("--texts").arg(texts).arg("--vectors").arg(self.vectors(Engine::Codriver))
            }
        };
        let report: Value =
            serde_json::from_str(process::capture(&mut command)?.trim()).context("codriver's report")?;
        if test == Test::Embeddings {
            let number = |name: &str| report[name].as_f64().with_context(|| format!("no {name} in the report"));
            return Ok(Measured::from([
                ("texts".to_owned(), number("texts_per_second")?),
                ("latency".to_owned(), number("latency_seconds")?),
                ("load".to_owned(), number("load_seconds")?),
            ]));
        }
        let tests = report["tests"].as_array().cloned().unwrap_or_default();
        let speed = |name: &str| {
            let found = tests.iter().find(|test| test["test"] == name);
            found
                .and_then(|test| test["tokens_per_second"].as_f64())
                .with_context(|| format!("no {name} in the report"))
        };
        let field = |name: &str| {
            let found = report.pointer(name).and_then(Value::as_f64);
            found.with_context(|| format!("no {name} in the report"))
        };
        let measured = match test {
            Test::Generation => vec![
                ("prompt", speed(&format!("pp{prompt}"))?),
                ("answer", speed(&format!("tg{generate}"))?),
                ("load", field("/load_seconds")?),
                ("ready", field("/ready_seconds")?),
                ("memory", field("/memory_bytes")?),
            ],
            Test::Concurrency => {
                vec![("one", field("/concurrent/alone")?), ("many", field("/concurrent/tokens_per_second")?)]
            }
            Test::Conversation => {
                vec![("cold", field("/second_turn/cold")?), ("second", field("/second_turn/second")?)]
            }
            Test::Embeddings => Vec::new(),
        };
        Ok(measured.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Where an engine's vectors go.
    fn vectors(&self, engine: Engine) -> PathBuf {
        let ending = if engine == Engine::Codriver { "jsonl" } else { "npy" };
        self.folder.join(format!("vectors-{engine}.{ending}"))
    }
}

/// Reads a model's file, or the files of its folder, so that the system keeps them in memory.
fn read_once(path: &Path) -> Result<()> {
    if !path.is_dir() {
        std::io::copy(&mut fs_err::File::open(path)?, &mut std::io::sink())?;
        return Ok(());
    }
    fs_err::read_dir(path)?.try_for_each(|entry| read_once(&entry?.path()))
}

/// The sizes that every peer's program takes.
fn sizes<'a>(command: &'a mut Command, options: &Options) -> &'a mut Command {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    command
        .args(["--prompt", &options.prompt.to_string()])
        .args(["--generate", &options.generate.to_string()])
        .args(["--threads", &threads.to_string()])
}

/// The numbers of a JSON object.
fn numbers(report: &Value) -> Result<Measured> {
    let fields = report.as_object().with_context(|| format!("not figures: {report}"))?;
    Ok(fields.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect())
}

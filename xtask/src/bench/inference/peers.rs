//! The engines beside ours: installed, built for this processor, described.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::measure::Test;
use crate::paths;
use crate::process::{self, say};
use crate::setup::python;

/// An engine that ours is measured beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Peer {
    #[value(name = "llama.cpp")]
    LlamaCpp,
    Candle,
    Transformers,
    SentenceTransformers,
    Onnxruntime,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Candle => "candle",
            Self::Transformers => "transformers",
            Self::SentenceTransformers => "sentence-transformers",
            Self::Onnxruntime => "onnxruntime",
        })
    }
}

impl Peer {
    pub const ALL: [Self; 5] =
        [Self::LlamaCpp, Self::Candle, Self::Transformers, Self::SentenceTransformers, Self::Onnxruntime];

    /// Whether it can take part in a test on weights of a format.
    pub fn takes(self, test: Test, format: &str) -> bool {
        match (self, test) {
            (Self::LlamaCpp, Test::Embeddings) => false,
            (Self::LlamaCpp, _) => format != "bf16",
            (Self::Candle, Test::Generation) => format != "bf16",
            (Self::Transformers, Test::Generation) => format == "bf16",
            (Self::SentenceTransformers | Self::Onnxruntime, Test::Embeddings) => true,
            _ => false,
        }
    }
}

/// What is there to measure with.
pub struct Peers {
    /// An interpreter that has what Python's peers need.
    pub python: PathBuf,
    candle: PathBuf,
    /// What each one was built with, or why it is not there.
    described: BTreeMap<Peer, Result<String, String>>,
}

impl Peers {
    /// Installs and builds what is wanted and missing; what can't be had is noted.
    pub fn prepare(wanted: &[Peer]) -> Result<Self> {
        let environment = environment()?;
        let candle = paths::cache()?.join("bench-candle");
        let mut peers = Self { python: environment.join("bin/python"), candle, described: BTreeMap::new() };
        for peer in wanted {
            let described = peers.install(*peer, &environment).map_err(|error| format!("{error:#}"));
            peers.described.insert(*peer, described);
        }
        Ok(peers)
    }

    /// Those that are there.
    pub fn ready(&self) -> impl Iterator<Item = Peer> {
        self.described.iter().filter(|(_, described)| described.is_ok()).map(|(peer, _)| *peer)
    }

    /// What each one was built with.
    pub fn descriptions(&self) -> impl Iterator<Item = (Peer, &str)> {
        self.described.iter().filter_map(|(peer, described)| Some((*peer, described.as_deref().ok()?)))
    }

    /// Why some are not there.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.described.iter().filter_map(|(peer, described)| Some((peer, described.as_ref().err()?)));
        missing.map(|(peer, reason)| format!("{peer} is not there: {reason}")).collect()
    }

    /// The program that measures candle.
    pub fn candle(&self) -> PathBuf {
        self.candle.join("release").join(format!("candle-peer{}", std::env::consts::EXE_SUFFIX))
    }

    /// `tests/python/bench_inference.py` with a command; prints JSON in its last line.
    pub fn script(&self, command: &str) -> Command {
        let mut script = Command::new(&self.python);
        script
            .arg(paths::root().join("tests/python/bench_inference.py"))
            .arg(command)
            .env("HF_HUB_OFFLINE", "1")
            .env("TOKENIZERS_PARALLELISM", "true");
        script
    }

    fn install(&self, peer: Peer, environment: &Path) -> Result<String> {
        match peer {
            Peer::Candle => return self.build_candle(),
            Peer::LlamaCpp => {
                let flags = llama_flags();
                once(
                    environment,
                    "llama.cpp",
                    &format!("{LLAMA} {flags}"),
                    "building llama.cpp for this processor (once, some minutes)",
                    || {
                        process::capture(
                            python::pip(&self.python)
                                .args([
                                    "install",
                                    "--quiet",
                                    "--no-deps",
                                    "--ignore-installed",
                                    "--no-cache-dir",
                                    LLAMA,
                                ])
                                .env("CMAKE_ARGS", &flags)
                                .env("CMAKE_BUILD_PARALLEL_LEVEL", cores().to_string()),
                        )
                    },
                )?;
            }
            // In the tests' environment already, whose packages this one sees.
            Peer::Transformers => {}
            Peer::SentenceTransformers | Peer::Onnxruntime => {
                let packages = fs_err::read_to_string(requirements())?;
                once(
                    environment,
                    "packages",
                    &packages,
                    "installing sentence-transformers and onnxruntime (once)",
                    || {
                        process::capture(
                            python::pip(&self.python).args(["install", "--quiet", "-r"]).arg(requirements()),
                        )
                    },
                )?;
            }
        }
        let answer = last_line(&process::capture(self.script("describe").arg(peer.to_string()))?)?;
        Ok(answer["peer"].as_str().unwrap_or_default().trim().to_owned())
    }

    fn build_candle(&self) -> Result<String> {
        say("building candle for this processor (once, some minutes)");
        let manifest = paths::root().join("xtask/peers/candle/Cargo.toml");
        // Named in full: a crate among its dependencies carries a rust-toolchain file, which rustup
        // would follow.
        let sysroot = process::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
        process::capture(
            process::cargo()
                .args(["build", "--release", "--locked", "--manifest-path"])
                .arg(manifest)
                .env("CARGO_TARGET_DIR", &self.candle)
                .env("RUSTC", Path::new(sysroot.trim()).join("bin/rustc"))
                // Its quantized products are chosen when it is compiled.
                .env("RUSTFLAGS", "-C target-cpu=native"),
        )?;
        Ok(process::capture(Command::new(self.candle()).arg("--describe"))?.trim().to_owned())
    }
}

const LLAMA: &str = "llama-cpp-python==0.3.36";

fn requirements() -> PathBuf {
    paths::root().join("xtask/peers/requirements.txt")
}

/// An environment of the benchmark's own, which sees the packages of the tests' below its own.
fn environment() -> Result<PathBuf> {
    let tests = python::environment()?;
    let folder = paths::cache()?.join("bench-python");
    let own = folder.join("bin/python");
    let packages = |python: &Path| -> Result<String> {
        let script = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
        Ok(process::capture(Command::new(python).args(["-c", script]))?.trim().to_owned())
    };
    if !process::succeeds(python::pip(&own).arg("--version")) {
        say(&format!("making a Python environment: {}", folder.display()));
        process::capture(Command::new(&tests).args(["-m", "venv", "--clear"]).arg(&folder))?;
    }
    fs_err::write(Path::new(&packages(&own)?).join("codriver-tests.pth"), packages(&tests)?)?;
    Ok(folder)
}

/// Does what is to be done once for each `wanted`.
fn once(folder: &Path, name: &str, wanted: &str, message: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
    let stamp = folder.join(format!("codriver-{name}"));
    if fs_err::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    say(message);
    work()?;
    Ok(fs_err::write(stamp, wanted)?)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What llama.cpp is built with: the instructions that this processor has, but not AMX, which
/// machines that show it do not always let programs use.
fn llama_flags() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("GGML_AVX512", is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")),
            ("GGML_AVX512_VBMI", is_x86_feature_detected!("avx512vbmi")),
            ("GGML_AVX512_VNNI", is_x86_feature_detected!("avx512vnni")),
            ("GGML_AVX512_BF16", is_x86_feature_detected!("avx512bf16")),
            ("GGML_AVX_VNNI", is_x86_feature_detected!("avxvnni")),
        ];
        let flags = found.iter().filter(|(_, found)| *found).map(|(name, _)| format!(" -D{name}=ON"));
        format!("-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF{}", flags.collect::<String>())
    }
    #[cfg(not(target_arch = "x86_64"))]
    "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF".to_owned()
}

/// What a program printed last, as JSON.
pub fn last_line(output: &str) -> Result<Value> {
    let line = output.trim_end().lines().next_back().ok_or_else(|| anyhow!("it printed nothing"))?;
    serde_json::from_str(line).with_context(|| format!("it printed: {line}"))
}

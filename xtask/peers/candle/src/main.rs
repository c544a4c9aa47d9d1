//! Measures candle on a GGUF file of the Llama or Qwen3 family; prints one JSON object.
//!
//! `cargo xtask bench inference` builds this for the machine's processor and runs it.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen3};
use clap::Parser;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    #[arg(required_unless_present = "describe")]
    path: Option<PathBuf>,
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    #[arg(long, default_value_t = 64)]
    generate: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Say what this was built with
    #[arg(long)]
    describe: bool,
}

enum Model {
    Llama(quantized_llama::ModelWeights),
    Qwen3(quantized_qwen3::ModelWeights),
}

impl Model {
    fn open(path: &PathBuf) -> Result<(Self, usize)> {
        let mut file = std::fs::File::open(path)?;
        let content = Content::read(&mut file)?;
        let architecture = content.metadata.get("general.architecture").context("no architecture")?.to_string()?.clone();
        let table = content.tensor_infos.get("token_embd.weight").context("no embeddings")?;
        let vocabulary = table.shape.dims()[0];
        let model = match architecture.as_str() {
            "llama" => Self::Llama(quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?),
            "qwen3" => Self::Qwen3(quantized_qwen3::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?),
            other => bail!("this program does not measure `{other}`"),
        };
        Ok((model, vocabulary))
    }

    /// Reads tokens from a position on; position 0 begins anew.
    fn read(&mut self, tokens: &[u32], position: usize) -> Result<()> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let scores = match self {
            Self::Llama(model) => model.forward(&input, position)?,
            Self::Qwen3(model) => {
                if position == 0 {
                    model.clear_kv_cache();
                }
                model.forward(&input, position)?
            }
        };
        // Read, so that it was computed.
        scores.flatten_all()?.to_vec1::<f32>()?;
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.describe {
        let with = [
            ("AVX2", cfg!(target_feature = "avx2")),
            ("AVX-512", cfg!(target_feature = "avx512f")),
            ("VNNI", cfg!(target_feature = "avx512vnni")),
            ("NEON", cfg!(target_feature = "neon")),
        ];
        let with: Vec<&str> = with.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        println!("candle 0.11, compiled for this processor: {}", with.join(", "));
        return Ok(());
    }
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", arguments.threads.to_string()) };
    let path = arguments.path.context("no file")?;
    let (before, started) = (resident(), Instant::now());
    let (mut model, vocabulary) = Model::open(&path)?;
    let load = started.elapsed().as_secs_f64();
    let mut random = StdRng::seed_from_u64(1);
    let count = arguments.prompt.max(arguments.generate) + 1;
    let tokens: Vec<u32> = (0..count).map(|_| random.random_range(0..vocabulary as u32 - 1)).collect();
    model.read(&tokens[..16], 0)?;
    let ready = started.elapsed().as_secs_f64();
    let started = Instant::now();
    model.read(&tokens[..arguments.prompt], 0)?;
    let reading = started.elapsed().as_secs_f64();
    model.read(&tokens[..1], 0)?;
    let started = Instant::now();
    for (index, token) in tokens[1..].iter().enumerate().take(arguments.generate) {
        model.read(&[*token], index + 1)?;
    }
    let writing = started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "prompt": arguments.prompt as f64 / reading,
            "answer": arguments.generate as f64 / writing,
            "load": load,
            "ready": ready,
            "memory": resident().saturating_sub(before),
        })
    );
    Ok(())
}

/// What the system counts as this process's memory, in bytes; 0 where it does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

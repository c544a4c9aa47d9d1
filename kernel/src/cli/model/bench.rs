//! `codriver model bench`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, value_parser};
use codriver_inference::bench::{BenchOptions, BenchReport, MOST_REQUESTS, Unfinished, measure};
use codriver_inference::{CacheFormat, DeviceChoice, ModelError, WeightFormat, device};
use indicatif::ProgressBar;
use serde_json::json;

use super::embedding::bench_embedder;
use crate::agent::store::{bench_table, find_generator};
use crate::cli::signals::interrupt_on_ctrl_c;
use crate::session::Interrupt;

/// More than any window holds: a test is cut to the model's.
const MOST_TOKENS: u64 = u32::MAX as u64;

#[derive(Debug, Args)]
pub struct BenchArguments {
    /// A name of `codriver model list`, a folder or a GGUF file
    #[arg(value_name = "MODEL")]
    model: String,
    /// cpu, wgpu or cuda
    #[arg(short, long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    /// Lengths of the prompts to read, in tokens
    #[arg(short, long, value_name = "N,N", value_delimiter = ',', default_value = "128,512",
          value_parser = value_parser!(u64).range(..=MOST_TOKENS))]
    prompt: Vec<u64>,
    /// Tokens to write; 0 measures reading only
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128,
          value_parser = value_parser!(u64).range(..=MOST_TOKENS))]
    generate: u64,
    /// Runs of each test; the median counts
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u16).range(1..))]
    repeats: u16,
    /// Requests to answer at once, beside one alone
    #[arg(short, long, value_name = "N", default_value_t = 0,
          value_parser = value_parser!(u64).range(..=MOST_REQUESTS as u64))]
    concurrency: u64,
    /// An embedding model is measured on these: a file with a JSON list of texts
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Where the texts' vectors go, a line of JSON each
    #[arg(long, value_name = "FILE", requires = "texts")]
    vectors: Option<PathBuf>,
    /// Round the weights as they are loaded: q4_0, q4_k, q6_k, q8_0, f16 or bf16
    #[arg(long, value_name = "FORMAT", conflicts_with = "texts")]
    quant: Option<WeightFormat>,
    /// How keys and values are held: f32, f16 or q8_0
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    kv: CacheFormat,
    /// Compute with tensors of 32-bit floats, to compare the model's own kernels with
    #[arg(long)]
    tensors: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn bench(arguments: &BenchArguments) -> anyhow::Result<ExitCode> {
    device::resolve(arguments.device)?;
    let interrupt = Interrupt::new();
    interrupt_on_ctrl_c(interrupt.clone())?;
    let (cancellation, _guard) = interrupt.cancellation();
    if let Some(texts) = &arguments.texts {
        let vectors = arguments.vectors.as_deref();
        return bench_embedder(&arguments.model, arguments.device, texts, vectors, arguments.json, &cancellation);
    }
    let model = find_generator(&arguments.model, &super::workspace()).map_err(|reason| anyhow!(reason))?;
    let options = BenchOptions {
        device: arguments.device,
        prompts: arguments.prompt.iter().map(|length| *length as usize).collect(),
        generated: arguments.generate as usize,
        repeats: usize::from(arguments.repeats),
        concurrency: arguments.concurrency as usize,
        turns: true,
        quantization: arguments.quant,
        cache_format: arguments.kv,
        as_tensors: arguments.tensors,
    };
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    let measured =
        measure(&model.name, &model.path, &options, &cancellation, &mut |test| bar.set_message(test.to_owned()));
    bar.finish_and_clear();
    let (report, outcome) = match measured {
        Ok(report) => (Some(report), Ok(ExitCode::SUCCESS)),
        Err(Unfinished { reason, report }) => (report.map(|report| *report), Err(reason)),
    };
    if let Some(report) = &report {
        show(report, arguments.json)?;
    }
    let what = if report.is_some() { "the tests above were finished" } else { "no test was finished" };
    match outcome {
        Err(ModelError::Cancelled) => {
            eprintln!("codriver: interrupted; {what}");
            Ok(ExitCode::from(130))
        }
        outcome => Ok(outcome?),
    }
}

fn show(report: &BenchReport, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json { super::print_json(&json!(report)) } else { super::print(bench_table(report).text()) }
}

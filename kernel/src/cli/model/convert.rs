//! `codriver model convert` and `quantize`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use codriver_inference::formats::convert::{Converted, convert_to_gguf};
use codriver_inference::formats::gguf::TensorType;
use codriver_inference::store::{count_text, size_text};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::signals::interrupt_on_ctrl_c;
use crate::session::Interrupt;

pub const TYPES: &str = "Types, and bits a weight:
  f32 32    f16, bf16 16    q8_0 8.5    q6_k 6.6    q5_k 5.5    q5_1 6    q5_0 5.5
  q4_k 4.5  q4_1 5  q4_0 4.5  iq4_nl 4.5  q3_k 3.4  q2_k 2.6
Norms stay in 32 bits, and the output layer in six at least. The file appears when it is whole.";

#[derive(Debug, Args)]
pub struct ConvertArguments {
    /// What the weights are written as
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "f16", value_parser = weight_type)]
    kind: TensorType,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
pub struct QuantizeArguments {
    /// What the weights are written as
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = weight_type)]
    kind: TensorType,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
struct Files {
    /// A name of `codriver model list`, a folder or a GGUF file
    #[arg(value_name = "MODEL")]
    model: String,
    /// The file to write [default: MODEL-TYPE.gguf in the current folder]
    #[arg(short, long, value_name = "FILE.gguf")]
    output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

pub fn convert(arguments: &ConvertArguments) -> anyhow::Result<ExitCode> {
    write(&arguments.files, arguments.kind)
}

pub fn quantize(arguments: &QuantizeArguments) -> anyhow::Result<ExitCode> {
    write(&arguments.files, arguments.kind)
}

/// Writes the file and prints its path.
fn write(files: &Files, kind: TensorType) -> anyhow::Result<ExitCode> {
    let model = super::find(&files.model)?;
    let output = files.output.clone().unwrap_or_else(|| PathBuf::from(default_name(&model.path, kind)));
    if output.exists() && !files.force {
        bail!("{} is there already; --force replaces it, --output names another file", output.display());
    }
    let interrupt = Interrupt::new();
    interrupt_on_ctrl_c(interrupt.clone())?;
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {percent:>3} %  {eta} left  {wide_msg}") {
        bar.set_style(style);
    }
    let written = convert_to_gguf(&model.path, &output, kind, &mut |progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.tensor.to_owned());
        if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    if interrupt.is_set() && written.is_err() {
        eprintln!("codriver: interrupted; nothing was written");
        return Ok(ExitCode::from(130));
    }
    let Converted { tensors, parameters, bytes } = written?;
    eprintln!("{tensors} tensors, {} parameters, {}", count_text(parameters as u64), size_text(bytes as u64));
    super::print(&format!("{}\n", output.display()))
}

/// `Qwen3-0.6B-Q8_0.gguf` for that folder, or for another file of that model.
fn default_name(model: &Path, kind: TensorType) -> String {
    let name = model.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = match name.strip_suffix(".gguf") {
        Some(stem) => {
            let type_at_end = stem.rsplit_once(['-', '.']).filter(|(_, last)| last.parse::<TensorType>().is_ok());
            type_at_end.map_or(stem, |(stem, _)| stem)
        }
        None => &name,
    };
    format!("{stem}-{}.gguf", kind.name())
}

/// A type that can be written.
fn weight_type(text: &str) -> Result<TensorType, String> {
    let mixture = ["_s", "_m", "_l"].iter().find_map(|size| text.to_lowercase().strip_suffix(size).map(str::to_owned));
    match (text.parse::<TensorType>(), mixture) {
        (Ok(kind), _) if codriver_inference::formats::quant::is_written(kind) => Ok(kind),
        (Ok(kind), _) => Err(format!("{} is read but not written; --help lists the types", kind.name())),
        (Err(_), Some(plain)) if plain.parse::<TensorType>().is_ok() => {
            Err(format!("mixtures of types are not written; {plain} is"))
        }
        (Err(reason), _) => Err(reason),
    }
}

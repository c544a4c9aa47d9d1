//! `convert` and `quantize`: a model as a GGUF file.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use codriver_inference::formats::convert::{Converted, FileType, convert_to_gguf};
use codriver_inference::formats::gguf::TensorType;
use codriver_inference::store::{count_text, size_text};

use super::find_model;
use super::inputs::Inputs;
use crate::session::Interrupt;

pub const TYPES: &str = "Types, and the bits a weight takes in a model of 8 billion:
  f32 32   f16, bf16 16   q8_0 8.5   q6_k 6.6
  q5_k_m 5.7   q5_k_s 5.6   q5_1 6.1   q5_0 5.6
  q4_k_m 4.9   q4_k_s 4.7   q4_1 5.1   q4_0 4.7   iq4_nl 4.7   iq4_xs 4.5
  q3_k_l 4.3   q3_k_m 4.0   q3_k_s 3.6   q2_k 3.2
q4_k_m is the usual choice. A mixture gives more bits to tensors on which more depends, as llama.cpp
does under the same name; q5_k, q4_k and q3_k mean their _m. Norms stay in 32 bits. The file appears
when it is whole.";

#[derive(Debug, Args)]
pub struct ConvertArguments {
    /// What the weights are written as
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "f16")]
    kind: FileType,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
pub struct QuantizeArguments {
    /// What the weights are written as
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    kind: FileType,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
struct Files {
    /// A name of the model list, a folder or a GGUF file
    #[arg(value_name = "MODEL")]
    model: String,
    /// The file to write [default: MODEL-TYPE.gguf in the current folder]
    #[arg(short, long, value_name = "FILE.gguf")]
    output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// What was written.
pub struct Written {
    /// As it was named: from the workspace, if relative.
    pub path: PathBuf,
    converted: Converted,
}

/// Why nothing was written.
pub enum NotWritten {
    Interrupted,
    Failed(String),
}

impl ConvertArguments {
    /// Writes the file; `on_progress` is told the bytes done and in all, and the tensor.
    pub fn run(
        &self,
        inputs: &Inputs<'_>,
        interrupt: &Interrupt,
        on_progress: &mut dyn FnMut(usize, usize, &str),
    ) -> Result<Written, NotWritten> {
        self.files.write(self.kind, inputs, interrupt, on_progress)
    }
}

impl QuantizeArguments {
    /// As [`ConvertArguments::run`].
    pub fn run(
        &self,
        inputs: &Inputs<'_>,
        interrupt: &Interrupt,
        on_progress: &mut dyn FnMut(usize, usize, &str),
    ) -> Result<Written, NotWritten> {
        self.files.write(self.kind, inputs, interrupt, on_progress)
    }
}

impl Written {
    pub fn text(&self) -> String {
        let Converted { tensors, parameters, bytes } = self.converted;
        format!("{tensors} tensors, {} parameters, {}", count_text(parameters as u64), size_text(bytes as u64))
    }
}

impl Files {
    fn write(
        &self,
        kind: FileType,
        inputs: &Inputs<'_>,
        interrupt: &Interrupt,
        on_progress: &mut dyn FnMut(usize, usize, &str),
    ) -> Result<Written, NotWritten> {
        let model = find_model(&self.model, inputs.workspace).map_err(NotWritten::Failed)?;
        let name = self.output.clone().unwrap_or_else(|| PathBuf::from(default_name(&model.path, kind)));
        let path = inputs.path(&name);
        if path.exists() && !self.force {
            let name = name.display();
            return Err(NotWritten::Failed(format!(
                "{name} is there already; --force replaces it, --output names another file"
            )));
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            return Err(NotWritten::Failed(format!("{} is not a folder; make it first", folder.display())));
        }
        let written = convert_to_gguf(&model.path, &path, kind, &mut |progress| {
            on_progress(progress.done, progress.total, progress.tensor);
            if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match written {
            Ok(converted) => Ok(Written { path: name, converted }),
            Err(_) if interrupt.is_set() => Err(NotWritten::Interrupted),
            Err(error) => Err(NotWritten::Failed(error.to_string())),
        }
    }
}

/// `Qwen3-0.6B-Q8_0.gguf` for that folder, or for another file of that model.
fn default_name(model: &Path, kind: FileType) -> String {
    let name = model.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = match name.strip_suffix(".gguf") {
        Some(stem) => {
            let is_type = |name: &str| name.parse::<FileType>().is_ok() || name.parse::<TensorType>().is_ok();
            let type_at_end = stem.rsplit_once(['-', '.']).filter(|(_, last)| is_type(last));
            type_at_end.map_or(stem, |(stem, _)| stem)
        }
        None => &name,
    };
    format!("{stem}-{}.gguf", kind.name())
}

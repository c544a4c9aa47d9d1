//! Models as GGUF files of another type: from a Hugging Face folder, or from a GGUF file.
//!
//! What is written is what llama.cpp's own converter and quantizer write, so that llama.cpp loads
//! it: the names, the order of rows, norms in 32 bits, which tensors have more bits than others.

mod config;
mod folder;
mod mixture;
mod tokenizer;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::Path;

pub use self::mixture::FileType;
use self::mixture::Mixture;
use crate::FormatError;
use crate::gguf::{GgufFile, GgufWriter, TensorType, Value};
use crate::quant;

/// How far a conversion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The tensor that is next.
    pub tensor: &'a str,
    /// Numbers converted, of all there are.
    pub done: usize,
    pub total: usize,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    pub tensors: usize,
    /// All numbers, and the bytes that hold them now.
    pub parameters: usize,
    pub bytes: usize,
}

/// Writes a model, a folder or a GGUF file, as a GGUF file of `file_type`.
///
/// Matrices whose rows the type's blocks don't divide get its nearest relative in blocks of 32. Of a
/// GGUF file, tensors that have their type already are copied. The file appears when it is whole; `progress` is
/// asked before each tensor, and within large ones, whether to go on.
///
/// # Errors
/// The model can't be read, is of an architecture or with a tokenizer that GGUF files don't have, the
/// output can't be written, or `progress` said to stop.
pub fn convert_to_gguf(
    model: &Path,
    output: &Path,
    file_type: FileType,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Converted, FormatError> {
    let mut writer = GgufWriter::new(output);
    if model.is_dir() {
        let folder = folder::Folder::open(model)?;
        folder.describe(&mut writer)?;
        let bytes = |tensor: &Tensor<folder::Source>, tensor_type: TensorType, go_on: GoOn<'_>| {
            quantized(tensor, tensor_type, &folder.values(tensor)?, output, go_on)
        };
        write(writer, &folder.tensors()?, file_type, &bytes, progress)
    } else {
        let file = GgufFile::open(model)?;
        for (key, value) in file.metadata().iter().filter(|(key, _)| !key.starts_with("split.")) {
            writer.set(key, value.clone());
        }
        let tensors = file.tensors().iter();
        let tensors = tensors.map(|info| Tensor { held: info.tensor_type, ..Tensor::new(&info.name, &info.shape, ()) });
        let bytes = |tensor: &Tensor<()>, tensor_type: TensorType, go_on: GoOn<'_>| {
            let view = file.tensor(&tensor.name)?;
            if tensor_type == tensor.held {
                return Ok(Cow::Borrowed(view.bytes));
            }
            let values = view.dequantize().map_err(|error| tensor.error(model, error))?;
            quantized(tensor, tensor_type, &values, output, go_on)
        };
        write(writer, &tensors.collect::<Vec<_>>(), file_type, &bytes, progress)
    }
}

/// A tensor to write, by its name in GGUF files, and where its numbers come from.
struct Tensor<Source> {
    name: String,
    shape: Vec<usize>,
    /// What it is written as where it stays as it is.
    held: TensorType,
    source: Source,
}

impl<Source> Tensor<Source> {
    fn new(name: &str, shape: &[usize], source: Source) -> Self {
        Self { name: name.to_string(), shape: shape.to_vec(), held: TensorType::F32, source }
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn error(&self, path: &Path, reason: impl ToString) -> FormatError {
        FormatError::new(path, format!("tensor {}: {}", self.name, reason.to_string()))
    }
}

/// Told how many of a tensor's numbers are converted; an error where that is to stop.
type GoOn<'a> = &'a mut dyn FnMut(usize) -> Result<(), FormatError>;

/// Numbers that are quantized before it is asked whether to go on: whole blocks, a fraction of a second.
const STEP: usize = 1 << 21;

fn quantized<Source>(
    tensor: &Tensor<Source>,
    tensor_type: TensorType,
    values: &[f32],
    output: &Path,
    go_on: GoOn<'_>,
) -> Result<Cow<'static, [u8]>, FormatError> {
    let mut bytes = Vec::new();
    for (step, values) in values.chunks(STEP).enumerate() {
        let done = step * STEP;
        if done > 0 {
            go_on(done)?;
        }
        let written = quant::quantize(tensor_type, values).map_err(|error| tensor.error(output, error.after(done)))?;
        bytes.extend(written);
    }
    Ok(Cow::Owned(bytes))
}

fn write<'s, Source>(
    mut writer: GgufWriter,
    tensors: &[Tensor<Source>],
    file_type: FileType,
    bytes: &dyn Fn(&Tensor<Source>, TensorType, GoOn<'_>) -> Result<Cow<'s, [u8]>, FormatError>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Converted, FormatError> {
    writer.set("general.file_type", Value::U32(file_type.number()));
    if file_type.tensor_type().block_size() > 1 {
        writer.set("general.quantization_version", Value::U32(2));
    }
    let mixture = Mixture::new(file_type, &writer, tensors);
    let chosen = |tensor: &Tensor<Source>| mixture.type_of(&tensor.name, &tensor.shape).unwrap_or(tensor.held);
    let types: Vec<TensorType> = tensors.iter().map(chosen).collect();
    let mut converted = Converted { tensors: tensors.len(), parameters: 0, bytes: 0 };
    for (tensor, tensor_type) in tensors.iter().zip(&types) {
        writer.announce(&tensor.name, &tensor.shape, *tensor_type)?;
    }
    let total = tensors.iter().map(Tensor::len).sum();
    let path = writer.path().to_path_buf();
    let mut go_on = |tensor: &str, done| match progress(Progress { tensor, done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(FormatError::new(&path, "was not written: the conversion was stopped")),
    };
    let mut file = writer.create()?;
    for (tensor, tensor_type) in tensors.iter().zip(types) {
        go_on(&tensor.name, converted.parameters)?;
        let done = converted.parameters;
        let bytes = bytes(tensor, tensor_type, &mut |within| go_on(&tensor.name, done + within))?;
        file.write(&tensor.name, &bytes)?;
        converted.parameters += tensor.len();
        converted.bytes += bytes.len();
    }
    go_on("", total)?;
    file.finish()?;
    Ok(converted)
}

//! Models as GGUF files of another type: from a Hugging Face folder, or from a GGUF file.
//!
//! What is written is what llama.cpp's own converter and quantizer write, so that llama.cpp loads
//! it: the names, the order of rows, norms in 32 bits, the output layer in six bits at least.

mod config;
mod folder;
mod tokenizer;

use std::ops::ControlFlow;
use std::path::Path;

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

/// Writes a model, a folder or a GGUF file, as a GGUF file whose matrices are of `tensor_type`.
///
/// Matrices whose rows the type's blocks don't divide get its nearest relative in blocks of 32.
/// The file appears when it is whole; `progress` is asked before each tensor whether to go on.
///
/// # Errors
/// The model can't be read, is of an architecture or with a tokenizer that GGUF files don't have, the
/// output can't be written, or `progress` said to stop.
pub fn convert_to_gguf(
    model: &Path,
    output: &Path,
    tensor_type: TensorType,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Converted, FormatError> {
    if !quant::is_written(tensor_type) {
        return Err(FormatError::new(output, quant::QuantError::NotWritten(tensor_type)));
    }
    let mut writer = GgufWriter::new(output);
    if model.is_dir() {
        let folder = folder::Folder::open(model)?;
        folder.describe(&mut writer)?;
        write(writer, &folder.tensors()?, tensor_type, &|tensor| folder.values(tensor), progress)
    } else {
        let file = GgufFile::open(model)?;
        for (key, value) in file.metadata().iter().filter(|(key, _)| !key.starts_with("split.")) {
            writer.set(key, value.clone());
        }
        let tensors: Vec<_> = file.tensors().iter().map(|info| Tensor::new(&info.name, &info.shape, ())).collect();
        let values = |tensor: &Tensor<()>| {
            let view = file.tensor(&tensor.name)?;
            view.dequantize().map_err(|error| FormatError::new(model, format!("tensor {}: {error}", tensor.name)))
        };
        write(writer, &tensors, tensor_type, &values, progress)
    }
}

/// A tensor to write, by its name in GGUF files, and where its numbers come from.
struct Tensor<Source> {
    name: String,
    shape: Vec<usize>,
    source: Source,
}

impl<Source> Tensor<Source> {
    fn new(name: &str, shape: &[usize], source: Source) -> Self {
        Self { name: name.to_string(), shape: shape.to_vec(), source }
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

fn write<Source>(
    mut writer: GgufWriter,
    tensors: &[Tensor<Source>],
    tensor_type: TensorType,
    values: &dyn Fn(&Tensor<Source>) -> Result<Vec<f32>, FormatError>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Converted, FormatError> {
    writer.set("general.file_type", Value::U32(file_type(tensor_type)));
    if tensor_type.block_size() > 1 {
        writer.set("general.quantization_version", Value::U32(2));
    }
    let tied = !tensors.iter().any(|tensor| tensor.name == "output.weight");
    let types: Vec<_> = tensors.iter().map(|tensor| type_of(tensor, tensor_type, tied)).collect();
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
        let quantized = quant::quantize(tensor_type, &values(tensor)?);
        let explain = |error| FormatError::new(&path, format!("tensor {}: {error}", tensor.name));
        let bytes = quantized.map_err(explain)?;
        file.write(&tensor.name, &bytes)?;
        converted.parameters += tensor.len();
        converted.bytes += bytes.len();
    }
    go_on("", total)?;
    file.finish()?;
    Ok(converted)
}

/// The type of one tensor in a file of `tensor_type`.
fn type_of<Source>(tensor: &Tensor<Source>, tensor_type: TensorType, tied: bool) -> TensorType {
    use TensorType::{F16, F32, IQ4_NL, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
    // Norms, biases and routers are small, and much depends on them.
    let is_matrix = tensor.shape.len() > 1 && tensor.name.ends_with(".weight") && !tensor.name.contains("ffn_gate_inp");
    if !is_matrix {
        return F32;
    }
    let is_output = tensor.name == "output.weight" || tied && tensor.name == "token_embd.weight";
    let coarse = matches!(tensor_type, Q2_K | Q3_K | Q4_0 | Q4_1 | Q4_K | Q5_0 | Q5_1 | Q5_K | IQ4_NL | IQ4_XS);
    let wanted = if is_output && coarse { Q6_K } else { tensor_type };
    let row = tensor.shape.last().copied().unwrap_or(1);
    let fits = |tensor_type: TensorType| row.is_multiple_of(tensor_type.block_size());
    let smaller = match wanted {
        Q2_K | Q3_K => Q4_0,
        IQ4_XS => IQ4_NL,
        Q4_K => Q5_0,
        Q5_K => Q5_1,
        Q6_K => Q8_0,
        other => other,
    };
    [wanted, smaller].into_iter().find(|tensor_type| fits(*tensor_type)).unwrap_or(F16)
}

/// `general.file_type`: llama.cpp's number for files that are mostly of a type (`llama_ftype`).
fn file_type(tensor_type: TensorType) -> u32 {
    match tensor_type {
        TensorType::F32 => 0,
        TensorType::F16 => 1,
        TensorType::Q4_0 => 2,
        TensorType::Q4_1 => 3,
        TensorType::Q8_0 => 7,
        TensorType::Q5_0 => 8,
        TensorType::Q5_1 => 9,
        TensorType::Q2_K => 10,
        TensorType::Q3_K => 11,
        TensorType::Q4_K => 14,
        TensorType::Q5_K => 16,
        TensorType::Q6_K => 18,
        TensorType::IQ4_NL => 25,
        TensorType::IQ4_XS => 30,
        TensorType::BF16 => 32,
        // "Guessed", for types that no file is mostly of.
        _ => 1024,
    }
}

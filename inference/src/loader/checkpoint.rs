//! Weights in safetensors or GGUF files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use burn::module::Param;
use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use codriver_formats::gguf::TensorType;
use codriver_formats::safetensors::{self, SafetensorsFile};
use codriver_formats::{FileBytes, FormatError};

use super::gguf::{GgufWeights, format_error};
use super::lora::{self, Adaptation, Adapter};
use super::{ModelFiles, file_error};
use crate::ModelError;

/// The weights of a model, by name, on their way to a device.
pub(crate) struct Checkpoint {
    files: Vec<Box<dyn WeightFile>>,
    /// The file that holds each tensor.
    holder: HashMap<String, usize>,
    device: Device,
    /// What changes in the weights while they are read.
    adaptations: Vec<Adaptation>,
    fault: Fault,
}

/// A file that holds weights under Hugging Face's names.
pub(crate) trait WeightFile: Send + Sync {
    fn path(&self) -> &Path;
    fn names(&self) -> Vec<String>;
    fn shape(&self, name: &str) -> Option<&[usize]>;
    /// Some of a tensor's numbers, in row-major order, in 32 bits. The range lies in the shape.
    fn values(&self, name: &str, elements: Range<usize>) -> Result<Vec<f32>, ModelError>;
    /// The bits of some rows of `columns` numbers, and what they are; `None` where the file's bits
    /// are not the weights'.
    fn row_bytes(&self, name: &str, rows: Range<usize>, columns: usize) -> Option<(TensorType, Cow<'_, [u8]>)>;
    /// The same bytes, to be read when they are needed; `None` where they are in no file either.
    fn rows_later(&self, name: &str, rows: Range<usize>, columns: usize) -> Option<LaterRows>;
}

/// Rows of a tensor, to be read when they are needed.
pub(crate) struct LaterRows {
    pub(crate) tensor_type: TensorType,
    /// How many bytes they are.
    pub(crate) length: usize,
    /// Some of them, counted from the first.
    pub(crate) read: Box<dyn Fn(Range<usize>) -> Result<Vec<u8>, FormatError> + Send + Sync>,
}

impl LaterRows {
    /// Rows that lie in the file one after the other, as they are.
    pub(crate) fn plain(tensor_type: TensorType, rows: usize, row: usize, bytes: FileBytes) -> Self {
        let read = move |rows: Range<usize>| bytes.read(rows.start * row..rows.end * row);
        Self { tensor_type, length: rows * row, read: Box::new(read) }
    }
}

/// Why weights that were to be read later could not be: whoever computes with them looks here.
#[derive(Clone, Default)]
pub(crate) struct Fault(Arc<OnceLock<FormatError>>);

impl Fault {
    fn note(&self, error: FormatError) {
        tracing::error!(%error, "weights were not read");
        self.0.get_or_init(|| error);
    }

    /// # Errors
    /// Some weights could not be read.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        match self.0.get() {
            Some(error) => Err(format_error(error.clone())),
            None => Ok(()),
        }
    }
}

impl Checkpoint {
    /// The weights of a model: a GGUF file's, or those of a folder.
    pub(crate) fn of(files: &ModelFiles, device: &Device) -> Result<Self, ModelError> {
        match files {
            ModelFiles::Folder(folder) => Self::open(folder, device),
            ModelFiles::Gguf(file) => {
                let mut checkpoint = Self::empty(device);
                checkpoint.add(GgufWeights::new(Arc::clone(file))?);
                Ok(checkpoint)
            }
        }
    }

    /// Opens `model.safetensors` of a folder, or the shards that `model.safetensors.index.json` names.
    pub(crate) fn open(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let mut checkpoint = Self::empty(device);
        for path in safetensors::paths(folder).map_err(format_error)? {
            checkpoint.add(SafetensorsFile::open(&path).map_err(format_error)?);
        }
        Ok(checkpoint)
    }

    /// A safetensors file of any name: weights that come beside a model's own.
    pub(crate) fn file(path: PathBuf, device: &Device) -> Result<Self, ModelError> {
        let mut checkpoint = Self::empty(device);
        checkpoint.add(SafetensorsFile::open(&path).map_err(format_error)?);
        Ok(checkpoint)
    }

    /// A checkpoint that is part of the program; `name` is for its errors.
    pub(crate) fn embedded(name: &str, bytes: &'static [u8], device: &Device) -> Result<Self, ModelError> {
        let mut checkpoint = Self::empty(device);
        checkpoint.add(SafetensorsFile::read(Path::new(name), bytes).map_err(format_error)?);
        Ok(checkpoint)
    }

    fn empty(device: &Device) -> Self {
        Self {
            files: Vec::new(),
            holder: HashMap::new(),
            device: device.clone(),
            adaptations: Vec::new(),
            fault: Fault::default(),
        }
    }

    /// The weights with adapters merged into them.
    pub(crate) fn adapted(mut self, adapters: &[Adapter]) -> Result<Self, ModelError> {
        let opened = adapters.iter().map(|adapter| Adaptation::open(adapter, &self));
        self.adaptations = opened.collect::<Result<_, _>>()?;
        Ok(self)
    }

    fn add(&mut self, file: impl WeightFile + 'static) {
        let position = self.files.len();
        self.holder.extend(file.names().into_iter().map(|name| (name, position)));
        self.files.push(Box::new(file));
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.holder.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.holder.keys().map(String::as_str)
    }

    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.find(name).ok().map(|(_, shape)| shape.to_vec())
    }

    /// A linear layer from `NAME.weight` (and `NAME.bias`), which checkpoints hold as
    /// `[output, input]`. The transposed weights stay a view: the CPU's matrix-vector product
    /// is fastest along rows.
    pub(crate) fn linear(&self, name: &str, input: usize, output: usize, bias: bool) -> Result<Linear, ModelError> {
        let weight = self.tensor::<2>(&format!("{name}.weight"), [output, input])?.transpose();
        let bias = bias.then(|| self.parameter(&format!("{name}.bias"), [output])).transpose()?;
        Ok(Linear { weight: Param::from_tensor(weight), bias })
    }

    pub(crate) fn embedding(&self, name: &str, rows: usize, size: usize) -> Result<Embedding, ModelError> {
        Ok(Embedding { weight: self.parameter(&format!("{name}.weight"), [rows, size])? })
    }

    pub(crate) fn parameter<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<D>>, ModelError> {
        self.tensor(name, shape).map(Param::from_tensor)
    }

    /// Some rows of a tensor of `shape`, counted through what it stacks, as 32-bit floats. Of a
    /// vector the rows are its numbers.
    pub(crate) fn row_values(&self, name: &str, shape: &[usize], rows: Range<usize>) -> Result<Vec<f32>, ModelError> {
        self.check_shape(name, shape)?;
        let columns = if shape.len() > 1 { shape.last().copied().unwrap_or_default() } else { 1 };
        let elements = rows.start * columns..rows.end * columns;
        if self.changes(name) {
            let whole = lora::adapted(&self.adaptations, name, shape, self.values(name)?)?;
            return Ok(whole.get(elements).unwrap_or_default().to_vec());
        }
        self.find(name)?.0.values(name, elements)
    }

    /// The bits of some rows of `columns` numbers; `None` where they are not the weights' bits.
    pub(crate) fn row_bytes(
        &self,
        name: &str,
        rows: Range<usize>,
        columns: usize,
    ) -> Result<Option<(TensorType, Cow<'_, [u8]>)>, ModelError> {
        Ok(self.find(name)?.0.row_bytes(name, rows, columns))
    }

    /// The bytes of [`Checkpoint::row_bytes`], to be read when they are needed; `None` where that can't be.
    /// Where they can't be read then, [`Checkpoint::fault`] says so, and there are none.
    pub(crate) fn rows_later(&self, name: &str, rows: Range<usize>, columns: usize) -> Option<LaterRows> {
        let LaterRows { tensor_type, length, read } = self.find(name).ok()?.0.rows_later(name, rows, columns)?;
        let fault = self.fault.clone();
        let noted = move |rows: Range<usize>| read(rows).inspect_err(|error| fault.note(error.clone()));
        Some(LaterRows { tensor_type, length, read: Box::new(noted) })
    }

    pub(crate) fn fault(&self) -> Fault {
        self.fault.clone()
    }

    /// Whether an adapter changes a tensor.
    pub(crate) fn changes(&self, name: &str) -> bool {
        lora::changes(&self.adaptations, name)
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The file that holds a tensor, or one of the model's.
    pub(crate) fn path_of(&self, name: &str) -> &Path {
        let file = self.holder.get(name).and_then(|position| self.files.get(*position)).or(self.files.first());
        file.map_or(Path::new("model.safetensors"), |file| file.path())
    }

    /// A tensor as 32-bit floats, which it must have the given shape.
    fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, ModelError> {
        self.check_shape(name, &shape)?;
        let values = lora::adapted(&self.adaptations, name, &shape, self.values(name)?)?;
        Ok(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    pub(crate) fn check_shape(&self, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        let (file, found) = self.find(name)?;
        if found == shape {
            return Ok(());
        }
        let reason = format!("tensor {name} has shape {found:?}, but config.json says {shape:?}");
        Err(file_error(file.path(), reason))
    }

    /// A tensor's numbers as the file has them, in 32 bits.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let (file, shape) = self.find(name)?;
        file.values(name, 0..shape.iter().product())
    }

    fn find(&self, name: &str) -> Result<(&dyn WeightFile, &[usize]), ModelError> {
        let file = self.holder.get(name).and_then(|position| self.files.get(*position));
        let found = file.and_then(|file| Some((file.as_ref(), file.shape(name)?)));
        found.ok_or_else(|| {
            file_error(self.path_of(name), format!("tensor {name} is missing; the download may be incomplete"))
        })
    }
}

impl WeightFile for SafetensorsFile {
    fn path(&self) -> &Path {
        self.path()
    }

    fn names(&self) -> Vec<String> {
        self.names()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shape(name)
    }

    fn values(&self, name: &str, elements: Range<usize>) -> Result<Vec<f32>, ModelError> {
        self.values(name, elements).map_err(format_error)
    }

    fn row_bytes(&self, name: &str, rows: Range<usize>, columns: usize) -> Option<(TensorType, Cow<'_, [u8]>)> {
        let (tensor_type, bytes) = self.bits(name)?;
        let row = tensor_type.bytes_of(columns)?;
        Some((tensor_type, Cow::Borrowed(bytes.get(rows.start * row..rows.end * row)?)))
    }

    fn rows_later(&self, name: &str, rows: Range<usize>, columns: usize) -> Option<LaterRows> {
        let tensor_type = self.bits(name)?.0;
        let row = tensor_type.bytes_of(columns)?;
        let bytes = self.bytes_later(name, rows.start * row..rows.end * row)?;
        Some(LaterRows::plain(tensor_type, rows.len(), row, bytes))
    }
}

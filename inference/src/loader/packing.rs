//! Weights in the form in which a decoder computes with them.

use std::borrow::Cow;
use std::ops::Range;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};
use codriver_formats::gguf::TensorType;
use codriver_formats::quant::{self, QuantError};
use codriver_gpu::{Gpu, Matrix};
use codriver_kernels::{Format, PackError, PackedMatrix};

use super::checkpoint::{Checkpoint, LaterRows};
use super::file_error;
use crate::ModelError;
use crate::device::unloadable;
use crate::models::projection::{Projection, Table};

/// What becomes of a decoder's matrices.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Packing<'a> {
    /// Tensors of 32-bit floats on the checkpoint's device.
    Tensors,
    /// Packed for the processor, in the bits that the file has or in fewer.
    Packed { quantization: Option<Format> },
    /// On a GPU, in the bits that the file has or in fewer.
    Resident { quantization: Option<Format>, gpu: &'a Gpu },
}

impl Packing<'_> {
    /// Refuses to round weights to what the device has no products for.
    pub(crate) fn check(self) -> Result<(), ModelError> {
        match self {
            Self::Resident { quantization: Some(format), .. } if !Matrix::holds(format) => {
                Err(ModelError::Unsupported(format!(
                    "weights can't be held as {format} on a GPU; they can as q4_0, q4_k, q6_k, q8_0, f16, bf16 and f32, \
                     or take --device cpu"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The format of rows of so many columns that a file holds as `held`; `None` is its own numbers.
    fn format(self, columns: usize, held: Option<TensorType>) -> Format {
        let fits = |format: &Format| match self {
            Self::Resident { .. } => format.fits(columns) && Matrix::holds(*format),
            _ => format.fits(columns),
        };
        let wanted = match self {
            Self::Tensors => None,
            Self::Packed { quantization } | Self::Resident { quantization, .. } => quantization,
        };
        // Bits that there are no products for are held as numbers of 16 bits.
        wanted
            .filter(fits)
            .unwrap_or_else(|| held.map_or(Format::F32, |held| Format::of(held).filter(fits).unwrap_or(Format::F16)))
    }

    /// What becomes of the first and the last layer's matrices.
    fn of_vocabulary(self) -> Self {
        match self {
            Self::Packed { quantization } => Self::Packed { quantization: quantization.map(of_vocabulary) },
            Self::Resident { quantization, gpu } => {
                Self::Resident { quantization: quantization.map(of_vocabulary), gpu }
            }
            Self::Tensors => self,
        }
    }

    /// Bytes that a matrix takes packed; `None` for anything else, which is held in 32 bits.
    pub(crate) fn size(self, checkpoint: &Checkpoint, name: &str, shape: &[usize]) -> Option<u64> {
        if matches!(self, Self::Tensors) {
            return None;
        }
        let [rest @ .., columns] = shape else { return None };
        let rows = rest.iter().try_fold(1_usize, |rows, dimension| rows.checked_mul(*dimension))?;
        if rest.is_empty() {
            return None;
        }
        let held = checkpoint.row_bytes(name, 0..0, *columns).ok().flatten().map(|(tensor_type, _)| tensor_type);
        let is_vocabulary = ["embed_tokens.weight", "lm_head.weight"].iter().any(|ending| name.ends_with(ending));
        let packing = if is_vocabulary { self.of_vocabulary() } else { self };
        let format = packing.format(*columns, held);
        match self {
            Self::Resident { .. } => Matrix::size(format, rows, *columns),
            _ => Some(format.tensor_type().bytes_of(rows.checked_mul(*columns)?)? as u64),
        }
    }
}

impl Checkpoint {
    /// A linear layer from `NAME.weight`, `[output, input]`, and `NAME.bias`.
    pub(crate) fn projection(
        &self,
        packing: Packing<'_>,
        name: &str,
        input: usize,
        output: usize,
        bias: bool,
    ) -> Result<Projection, ModelError> {
        let quantization = match packing {
            Packing::Tensors => return self.linear(name, input, output, bias).map(Projection::Dense),
            Packing::Packed { quantization } => quantization,
            Packing::Resident { gpu, .. } => {
                let weight = self.uploaded(packing, gpu, &format!("{name}.weight"), &[output, input], 0..output)?;
                let bias = bias.then(|| self.vector(&format!("{name}.bias"), output)).transpose()?;
                return Ok(Projection::resident(gpu, weight, bias));
            }
        };
        let weight = self.packed(&format!("{name}.weight"), &[output, input], 0..output, quantization)?;
        let bias = bias.then(|| self.vector(&format!("{name}.bias"), output)).transpose()?;
        Ok(Projection::packed(weight, bias))
    }

    /// A linear layer without bias whose weight is some of the `rows` of a tensor that stacks
    /// several, as `[output, input]` or as `[stacked, output, input]`. `shape` is the whole
    /// tensor's, `name` its full name; rows are counted through the stack.
    pub(crate) fn projection_rows(
        &self,
        packing: Packing<'_>,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
    ) -> Result<Projection, ModelError> {
        if let Packing::Packed { quantization } = packing {
            return Ok(Projection::packed(self.packed(name, shape, rows, quantization)?, None));
        }
        if let Packing::Resident { gpu, .. } = packing {
            return Ok(Projection::resident(gpu, self.uploaded(packing, gpu, name, shape, rows)?, None));
        }
        let input = shape.last().copied().unwrap_or_default();
        let values = self.row_values(name, shape, rows.clone())?;
        let weight = Tensor::<2>::from_data(TensorData::new(values, [rows.len(), input]), self.device());
        Ok(Projection::Dense(Linear { weight: Param::from_tensor(weight.transpose()), bias: None }))
    }

    /// The vectors of the vocabulary, `[rows, size]`.
    pub(crate) fn table(
        &self,
        packing: Packing<'_>,
        name: &str,
        rows: usize,
        size: usize,
    ) -> Result<Table, ModelError> {
        match packing {
            Packing::Tensors => self.embedding(name, rows, size).map(Table::Dense),
            Packing::Resident { gpu, .. } => {
                let rows =
                    self.uploaded(packing.of_vocabulary(), gpu, &format!("{name}.weight"), &[rows, size], 0..rows)?;
                Ok(Table::resident(gpu, rows))
            }
            Packing::Packed { quantization } => {
                let name = format!("{name}.weight");
                Ok(Table::packed(self.packed(&name, &[rows, size], 0..rows, quantization.map(of_vocabulary))?))
            }
        }
    }

    /// The layer that scores the vocabulary, where it is one of its own.
    pub(crate) fn head(
        &self,
        packing: Packing<'_>,
        name: &str,
        input: usize,
        output: usize,
    ) -> Result<Projection, ModelError> {
        self.projection(packing.of_vocabulary(), name, input, output, false)
    }

    fn packed(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
        quantization: Option<Format>,
    ) -> Result<PackedMatrix, ModelError> {
        self.check_shape(name, shape)?;
        let columns = shape.last().copied().unwrap_or_default();
        let count = rows.len();
        let broken = |error: PackError| self.broken(name, &error.to_string());
        let wanted = quantization.filter(|format| format.fits(columns));
        let as_held = |held| Format::of(held).filter(|format| wanted.is_none_or(|wanted| wanted == *format));
        let changes = self.changes(name);
        if let Some(LaterRows { tensor_type, length, read }) =
            self.rows_later(name, rows.clone(), columns).filter(|_| !changes)
            && let Some(format) = as_held(tensor_type)
        {
            let read = move |rows| read(rows).map(Cow::Owned);
            return PackedMatrix::pack_later(format, count, columns, length, read).map_err(broken);
        }
        let held = if changes { None } else { self.row_bytes(name, rows.clone(), columns)? };
        if let Some((tensor_type, bytes)) = &held
            && let Some(format) = as_held(*tensor_type)
        {
            return PackedMatrix::pack(format, count, columns, bytes).map_err(broken);
        }
        // Bits that there are no products for are held as numbers of 16 bits.
        let format = wanted.unwrap_or(if held.is_some() { Format::F16 } else { Format::F32 });
        let quantized = |part: Range<usize>| -> Result<Cow<'static, [u8]>, ModelError> {
            let part = rows.start + part.start..rows.start + part.end;
            let values = self.row_values(name, shape, part.clone())?;
            let bytes = quant::quantize(format.tensor_type(), &values).map_err(|error| match error {
                QuantError::Range { tensor_type, position, value } => {
                    QuantError::Range { tensor_type, position: part.start * columns + position, value }
                }
                other => other,
            });
            Ok(Cow::Owned(bytes.map_err(|error| self.broken(name, &error.to_string()))?))
        };
        if matches!(held, Some((_, Cow::Borrowed(_)))) {
            return PackedMatrix::pack_with(format, count, columns, quantized).map_err(broken)?;
        }
        // Weights that are changed while they are read are read at once.
        PackedMatrix::pack(format, count, columns, &quantized(0..count)?).map_err(broken)
    }

    /// Some rows on a GPU.
    fn uploaded(
        &self,
        packing: Packing<'_>,
        gpu: &Gpu,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
    ) -> Result<Matrix, ModelError> {
        self.check_shape(name, shape)?;
        let columns = shape.last().copied().unwrap_or_default();
        let count = rows.len();
        let held = if self.changes(name) { None } else { self.row_bytes(name, rows.clone(), columns)? };
        let format = packing.format(columns, held.as_ref().map(|(tensor_type, _)| *tensor_type));
        let bytes = match held {
            Some((tensor_type, bytes)) if Format::of(tensor_type) == Some(format) => bytes,
            _ => {
                let bytes = quant::quantize(format.tensor_type(), &self.row_values(name, shape, rows)?);
                Cow::Owned(bytes.map_err(|error| self.broken(name, &error.to_string()))?)
            }
        };
        Matrix::upload(gpu, format, count, columns, &bytes).map_err(unloadable)
    }

    fn vector(&self, name: &str, size: usize) -> Result<Vec<f32>, ModelError> {
        self.row_values(name, &[size], 0..size)
    }

    fn broken(&self, name: &str, reason: &str) -> ModelError {
        file_error(self.path_of(name), format!("tensor {name}: {reason}"))
    }
}

/// What the first and the last layer are held as, where the others have fewer bits: errors there
/// are not averaged out, and they are a small part of a large model.
fn of_vocabulary(quantization: Format) -> Format {
    match quantization {
        Format::F32 | Format::F16 | Format::BF16 => quantization,
        _ => Format::Q8_0,
    }
}

//! Weights in the form in which a decoder computes with them.

use std::borrow::Cow;
use std::ops::Range;

use burn::nn::Linear;
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use codriver_formats::quant::{self, QuantError};
use codriver_kernels::{Format, PackError, PackedMatrix};

use super::checkpoint::Checkpoint;
use super::file_error;
use crate::ModelError;
use crate::models::projection::{Projection, Table};

/// What becomes of a decoder's matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Tensors of 32-bit floats on the checkpoint's device.
    Tensors,
    /// Packed for the processor, in the bits that the file has or in fewer.
    Packed { quantization: Option<Format> },
}

impl Packing {
    /// Bytes that a matrix takes packed; `None` for anything else, which is held in 32 bits.
    pub(crate) fn size(self, checkpoint: &Checkpoint, name: &str, shape: &[usize]) -> Option<u64> {
        let Self::Packed { quantization } = self else { return None };
        let [rest @ .., columns] = shape else { return None };
        let rows = rest.iter().try_fold(1_usize, |rows, dimension| rows.checked_mul(*dimension))?;
        if rest.is_empty() {
            return None;
        }
        let held = checkpoint.row_bytes(name, 0..0, *columns).ok().flatten().map(|(tensor_type, _)| tensor_type);
        let wanted = quantization.filter(|format| format.fits(*columns));
        let format = match (wanted, held) {
            (Some(wanted), _) => wanted,
            (None, Some(held)) => Format::of(held).unwrap_or(Format::F16),
            (None, None) => Format::F32,
        };
        Some(format.tensor_type().bytes_of(rows.checked_mul(*columns)?)? as u64)
    }
}

impl Checkpoint {
    /// A linear layer from `NAME.weight`, `[output, input]`, and `NAME.bias`.
    pub(crate) fn projection(
        &self,
        packing: Packing,
        name: &str,
        input: usize,
        output: usize,
        bias: bool,
    ) -> Result<Projection, ModelError> {
        let Packing::Packed { quantization } = packing else {
            return self.linear(name, input, output, bias).map(Projection::Dense);
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
        packing: Packing,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
    ) -> Result<Projection, ModelError> {
        if let Packing::Packed { quantization } = packing {
            return Ok(Projection::packed(self.packed(name, shape, rows, quantization)?, None));
        }
        let input = shape.last().copied().unwrap_or_default();
        let values = self.row_values(name, shape, rows.clone())?;
        let weight = Tensor::<2>::from_data(TensorData::new(values, [rows.len(), input]), self.device());
        Ok(Projection::Dense(Linear { weight: Param::from_tensor(weight.transpose()), bias: None }))
    }

    /// The vectors of the vocabulary, `[rows, size]`.
    pub(crate) fn table(&self, packing: Packing, name: &str, rows: usize, size: usize) -> Result<Table, ModelError> {
        match packing {
            Packing::Tensors => self.embedding(name, rows, size).map(Table::Dense),
            Packing::Packed { quantization } => {
                let name = format!("{name}.weight");
                Ok(Table::packed(self.packed(&name, &[rows, size], 0..rows, quantization.map(of_vocabulary))?))
            }
        }
    }

    /// The layer that scores the vocabulary, where it is one of its own.
    pub(crate) fn head(&self, packing: Packing, name: &str, input: usize, output: usize) -> Result<Projection, ModelError> {
        let packing = match packing {
            Packing::Packed { quantization } => Packing::Packed { quantization: quantization.map(of_vocabulary) },
            Packing::Tensors => packing,
        };
        self.projection(packing, name, input, output, false)
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
        let held = if self.changes(name) { None } else { self.row_bytes(name, rows.clone(), columns)? };
        let broken = |error: PackError| self.broken(name, &error.to_string());
        let as_held = held.as_ref().and_then(|(tensor_type, _)| Format::of(*tensor_type));
        let wanted = quantization.filter(|format| format.fits(columns));
        if let (Some((_, bytes)), Some(format)) = (&held, as_held)
            && wanted.is_none_or(|wanted| wanted == format)
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

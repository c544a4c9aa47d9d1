//! GGUF files as the loader of Hugging Face folders expects a model: their metadata as a
//! `config.json`, their tensors under Hugging Face's names, and the numbers as these are there.
//!
//! llama.cpp's converter changes some weights on the way into a file (`conversion/*.py` in its
//! repository); here these changes are undone, so that one network serves both.

mod config;
mod names;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use codriver_formats::gguf::architecture::{ARCHITECTURES, Architecture};
use codriver_formats::gguf::{GgufFile, TensorType, TensorView};
use codriver_formats::{FormatError, quant};
use serde_json::Value;

use self::names::{Change, Piece};
use super::checkpoint::{LaterRows, WeightFile};
use super::file_error;
use crate::ModelError;

/// The weights of a GGUF file.
pub(crate) struct GgufWeights {
    file: Arc<GgufFile>,
    /// What each of Hugging Face's tensors is in the file.
    pieces: HashMap<String, Piece>,
}

/// Whether a path is meant as a GGUF file.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// What the model's `config.json` would say.
pub(crate) fn config(file: &GgufFile) -> Result<Value, ModelError> {
    config::config(file, architecture(file)?)
}

impl GgufWeights {
    pub(crate) fn new(file: Arc<GgufFile>) -> Result<Self, ModelError> {
        let pieces = names::pieces(&file, architecture(&file)?)?;
        Ok(Self { file, pieces })
    }

    fn tensor(&self, piece: &Piece) -> Result<TensorView<'_>, ModelError> {
        self.file.tensor(&piece.tensor).map_err(format_error)
    }
}

impl WeightFile for GgufWeights {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn names(&self) -> Vec<String> {
        self.pieces.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.pieces.get(name).map(|piece| piece.shape.as_slice())
    }

    fn values(&self, name: &str, elements: Range<usize>) -> Result<Vec<f32>, ModelError> {
        let missing = || file_error(self.path(), format!("tensor {name} is missing"));
        let piece = self.pieces.get(name).ok_or_else(missing)?;
        let tensor = self.tensor(piece)?;
        match piece.change {
            Change::None => {
                let range = piece.start + elements.start..piece.start + elements.end;
                dequantized(&tensor, range).map_err(|reason| file_error(self.path(), reason))
            }
            Change::MinusOne => {
                let mut values = self.whole(&tensor)?;
                values.iter_mut().for_each(|value| *value -= 1.0);
                part(values, elements).ok_or_else(missing)
            }
            Change::Unpermute { heads } => {
                let values = unpermuted(&self.whole(&tensor)?, heads, &piece.shape);
                let reason = || file_error(self.path(), format!("tensor {name} does not divide into {heads} heads"));
                part(values.ok_or_else(reason)?, elements).ok_or_else(missing)
            }
        }
    }

    fn row_bytes(&self, name: &str, rows: Range<usize>, columns: usize) -> Option<(TensorType, Cow<'_, [u8]>)> {
        let piece = self.pieces.get(name)?;
        let tensor = self.tensor(piece).ok()?;
        let row = tensor.tensor_type.bytes_of(columns)?;
        let first = piece.start.checked_div(columns).filter(|_| piece.start.is_multiple_of(columns))?;
        let part = |all: &'_ [u8], first: usize| -> Option<Range<usize>> {
            let range = (first + rows.start) * row..(first + rows.end) * row;
            (range.end <= all.len()).then_some(range)
        };
        let bytes = match piece.change {
            Change::None => Cow::Borrowed(tensor.bytes.get(part(tensor.bytes, first)?)?),
            Change::Unpermute { .. } if rows.is_empty() => Cow::Borrowed(&[][..]),
            Change::Unpermute { heads } => {
                // A row is a number of whole blocks: rows of bytes move as rows of numbers do.
                let ordered = unpermuted(tensor.bytes, heads, &[*piece.shape.first()?, row])?;
                Cow::Owned(ordered.get(part(&ordered, 0)?)?.to_vec())
            }
            Change::MinusOne => return None,
        };
        Some((tensor.tensor_type, bytes))
    }

    fn rows_later(&self, name: &str, rows: Range<usize>, columns: usize) -> Option<LaterRows> {
        let piece = self.pieces.get(name)?;
        let tensor = self.tensor(piece).ok()?;
        let tensor_type = tensor.tensor_type;
        let row = tensor_type.bytes_of(columns)?;
        match piece.change {
            Change::None => {
                let first = piece.start.checked_div(columns).filter(|_| piece.start.is_multiple_of(columns))?;
                let range = (first + rows.start) * row..(first + rows.end) * row;
                let bytes = self.file.bytes_later(&piece.tensor, range)?;
                Some(LaterRows::plain(tensor_type, rows.len(), row, bytes))
            }
            Change::Unpermute { heads } => {
                let whole = *piece.shape.first()?;
                let size = head_size(heads, whole)?;
                let bytes = self.file.bytes_later(&piece.tensor, 0..whole * row).filter(|_| rows.end <= whole)?;
                let length = rows.len() * row;
                let read = move |some: Range<usize>| {
                    // Rows change places within their head.
                    let (start, end) = (rows.start + some.start, rows.start + some.end);
                    let held = start / size * size..end.next_multiple_of(size);
                    let held_bytes = bytes.read(held.start * row..held.end * row)?;
                    let ordered = unpermuted(&held_bytes, held.len() / size, &[held.len(), row]);
                    let part =
                        ordered.and_then(|bytes| part(bytes, (start - held.start) * row..(end - held.start) * row));
                    Ok(part.unwrap_or_default())
                };
                Some(LaterRows { tensor_type, length, read: Box::new(read) })
            }
            Change::MinusOne => None,
        }
    }
}

impl GgufWeights {
    fn whole(&self, tensor: &TensorView) -> Result<Vec<f32>, ModelError> {
        let explain = |error| file_error(self.path(), format!("tensor {}: {error}", tensor.name));
        tensor.dequantize().map_err(explain)
    }
}

fn part<T: Copy>(mut values: Vec<T>, elements: Range<usize>) -> Option<Vec<T>> {
    if elements == (0..values.len()) {
        return Some(values);
    }
    values.truncate(elements.end);
    (elements.end >= elements.start && values.len() == elements.end).then(|| values.split_off(elements.start))
}

/// Some elements of a tensor: only the blocks that hold them are read.
fn dequantized(tensor: &TensorView, elements: Range<usize>) -> Result<Vec<f32>, String> {
    let (block, bytes) = (tensor.tensor_type.block_size(), tensor.tensor_type.block_bytes());
    let blocks = elements.start / block..elements.end.div_ceil(block);
    let outside = || format!("tensor {} is smaller than the model says", tensor.name);
    let held = tensor.bytes.get(blocks.start * bytes..blocks.end * bytes).ok_or_else(outside)?;
    let mut values = vec![0.0; blocks.len() * block];
    quant::dequantize(tensor.tensor_type, held, &mut values)
        .map_err(|error| format!("tensor {}: {error}", tensor.name))?;
    let first = blocks.start * block;
    part(values, elements.start - first..elements.end - first).ok_or_else(outside)
}

/// Rows of query and key heads in Hugging Face's order. llama.cpp rotates neighbours, Hugging Face
/// the first half of a head with the second: row `2 i + half` there is row `half * size / 2 + i`.
fn unpermuted<T: Copy>(values: &[T], heads: usize, shape: &[usize]) -> Option<Vec<T>> {
    let rows = *shape.first()?;
    let width = shape.iter().skip(1).product::<usize>();
    let size = head_size(heads, rows)?;
    let mut ordered = Vec::with_capacity(values.len());
    for head in values.chunks(size * width) {
        for half in 0..2 {
            for row in head.chunks(width).skip(half).step_by(2) {
                ordered.extend_from_slice(row);
            }
        }
    }
    Some(ordered)
}

/// Rows of a head that has two halves.
fn head_size(heads: usize, rows: usize) -> Option<usize> {
    rows.checked_div(heads).filter(|size| size * heads == rows && size.is_multiple_of(2) && *size > 0)
}

fn architecture(file: &GgufFile) -> Result<Architecture, ModelError> {
    let name = file.metadata().require::<&str>("general.architecture").map_err(format_error)?;
    Architecture::named(name).ok_or_else(|| {
        let known = ARCHITECTURES.map(|architecture| architecture.name).join(", ");
        ModelError::Unsupported(format!(
            "{}: architecture `{name}`; those of GGUF files that run here are {known}. \
             Others can be served by llama.cpp and attached with %model http://HOST:PORT/v1#NAME",
            file.path().display()
        ))
    })
}

pub(crate) fn format_error(error: FormatError) -> ModelError {
    file_error(&error.path, error.reason)
}

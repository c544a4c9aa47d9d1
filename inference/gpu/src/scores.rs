//! The scores of the next token, on the device until they are asked for.

use std::ops::Range;

use crate::GpuError;
use crate::device::{Buffer, Gpu};
use crate::kernels::highest::{self, Highest};

/// A row of the vocabulary's scores for each token they were wanted of, in the order of the step's
/// segments. A clone is the same memory, which no later step writes.
#[derive(Debug, Clone)]
pub struct Scores {
    pub(crate) buffer: Buffer,
    pub(crate) rows: usize,
    pub(crate) vocabulary: usize,
}

impl Scores {
    /// Scores that were computed elsewhere, `[rows, vocabulary]`.
    pub fn upload(gpu: &Gpu, scores: &[f32], vocabulary: usize) -> Result<Self, GpuError> {
        let rows = scores.len() / vocabulary.max(1);
        let buffer = gpu.floats(scores)?;
        gpu.ensure(&[&buffer])?;
        Ok(Self { buffer, rows, vocabulary })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads the scores, `[rows, vocabulary]`.
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, GpuError> {
        self.read_rows(gpu, 0..self.rows)
    }

    /// Reads the scores of some rows.
    pub fn read_rows(&self, gpu: &Gpu, rows: Range<usize>) -> Result<Vec<f32>, GpuError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if rows.end > self.rows {
            return Err(GpuError::Step(format!("row {} of {}", rows.end, self.rows)));
        }
        let part = self.buffer.part(rows.start * self.vocabulary, rows.len() * self.vocabulary);
        gpu.read(&part)
    }

    /// The highest scores of some rows, with their temperatures; `None` of a row that holds what is no
    /// score, or too many that are alike: then the row has to be [read](Self::read_rows). A few hundred
    /// words a row are read back.
    pub fn highest(&self, gpu: &Gpu, rows: &[(usize, f32)]) -> Result<Vec<Option<Highest>>, GpuError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if let Some((row, _)) = rows.iter().find(|(row, _)| *row >= self.rows) {
            return Err(GpuError::Step(format!("row {row} of {}", self.rows)));
        }
        highest::of_rows(gpu, &self.buffer, self.vocabulary, rows)
    }
}

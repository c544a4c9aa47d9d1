//! The scores of the next token, on the device until they are asked for.

use crate::device::{Buffer, Gpu};
use crate::kernels::best;
use crate::GpuError;

/// A row of the vocabulary's scores for each token they were wanted of, in the order of the step's
/// segments.
#[derive(Debug)]
pub struct Scores {
    pub(crate) buffer: Buffer,
    pub(crate) rows: usize,
    pub(crate) vocabulary: usize,
}

impl Scores {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads the scores, `[rows, vocabulary]`.
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, GpuError> {
        if self.rows == 0 {
            return Ok(Vec::new());
        }
        let mut scores = gpu.read(&self.buffer)?;
        scores.truncate(self.rows * self.vocabulary);
        Ok(scores)
    }

    /// The token of each row's highest score, of equals the first; `None` where a score is no finite
    /// number. A word a row is all that is read back.
    pub fn best(&self, gpu: &Gpu) -> Result<Vec<Option<u32>>, GpuError> {
        if self.rows == 0 {
            return Ok(Vec::new());
        }
        best::of_rows(gpu, &self.buffer, self.rows, self.vocabulary)
    }
}

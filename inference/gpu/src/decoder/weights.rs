//! A decoder's weights, as the loader hands them over and as layers use them.

use crate::device::{Buffer, Gpu};
use crate::kernels::product::Finish;
use crate::{GpuError, Matrix};

/// All of a decoder's weights. Norms are on the host until then.
#[derive(Debug)]
pub struct Weights {
    /// `[vocabulary, hidden_size]`.
    pub table: Matrix,
    pub layers: Vec<Layer>,
    pub norm: Vec<f32>,
    /// `None` where the embeddings are tied.
    pub head: Option<Matrix>,
}

/// A layer.
#[derive(Debug)]
pub struct Layer {
    /// How many positions attention sees, the own one among them; `None`: all before it.
    pub window: Option<usize>,
    /// Which of the model's rotations queries and keys have; `None`: none.
    pub rotation: Option<usize>,
    pub input_norm: Vec<f32>,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    /// Of queries and of keys, by head.
    pub head_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub output: Linear,
    /// Of what goes into the feed-forward block; with `output_norms`, of what comes out of attention.
    pub post_attention_norm: Vec<f32>,
    pub output_norms: Option<OutputNorms>,
    pub feed_forward: FeedForward,
}

/// The norms around the feed-forward block, in layers that also normalize their blocks' outputs.
#[derive(Debug)]
pub struct OutputNorms {
    pub before: Vec<f32>,
    pub after: Vec<f32>,
}

/// What follows attention.
#[derive(Debug)]
pub enum FeedForward {
    Dense(Gated),
    Sparse(Experts),
}

/// Two projections up, one of which gates the other, and one down.
#[derive(Debug)]
pub struct Gated {
    pub gate: Linear,
    pub up: Linear,
    pub down: Linear,
}

/// A mixture of experts.
#[derive(Debug)]
pub struct Experts {
    pub router: Matrix,
    pub experts: Vec<Gated>,
    /// How many of them a token goes through.
    pub used: usize,
    /// Whether the shares of a token's experts are scaled to add up to one.
    pub normalized: bool,
}

/// A linear layer.
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Matrix,
    pub bias: Option<Vec<f32>>,
}

/// Linear layers of one input, as few matrices as their formats allow: their outputs lie side by side.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) parts: Vec<Part>,
    pub(super) rows: usize,
}

/// A matrix of a [`Stack`].
#[derive(Debug)]
pub(super) struct Part {
    pub(super) weight: Matrix,
    pub(super) bias: Option<Buffer>,
    /// Where its outputs begin.
    pub(super) start: usize,
}

impl Stack {
    pub(super) fn new(gpu: &Gpu, layers: &[&Linear]) -> Result<Self, GpuError> {
        let rows = layers.iter().map(|layer| layer.weight.rows).sum();
        let matrices: Vec<&Matrix> = layers.iter().map(|layer| &layer.weight).collect();
        // What has no bias beside layers that have some has one of zeros.
        let bias = |layers: &[&Linear]| -> Result<Option<Buffer>, GpuError> {
            if layers.iter().all(|layer| layer.bias.is_none()) {
                return Ok(None);
            }
            let of_layer = |layer: &&Linear| layer.bias.clone().unwrap_or_else(|| vec![0.0; layer.weight.rows]);
            gpu.floats(&layers.iter().flat_map(of_layer).collect::<Vec<_>>()).map(Some)
        };
        let whole = if matrices.len() > 1 { Matrix::stacked(gpu, &matrices) } else { Ok(None) };
        // Together they may be more than one buffer can hold.
        if let Ok(Some(weight)) = whole {
            return Ok(Self { parts: vec![Part { weight, bias: bias(layers)?, start: 0 }], rows });
        }
        let mut start = 0;
        let parts = layers.iter().map(|layer| {
            let part = Part { weight: layer.weight.clone(), bias: bias(&[*layer])?, start };
            start += layer.weight.rows;
            Ok(part)
        });
        Ok(Self { parts: parts.collect::<Result<_, GpuError>>()?, rows })
    }

    /// The one matrix of all, where there is one.
    pub(super) fn whole(&self) -> Option<&Part> {
        match self.parts.as_slice() {
            [whole] => Some(whole),
            _ => None,
        }
    }
}

impl Part {
    pub(super) fn finish(&self) -> Finish<'_> {
        Finish { bias: self.bias.as_ref(), ..Finish::plain() }
    }
}

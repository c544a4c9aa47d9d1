//! Encoders: networks that read a whole text at once and give a vector for each of its tokens.
//! Embedding models pool these into one vector for the text.

pub mod bert;
pub mod modern;

use std::ops::Range;

use burn::tensor::activation::{gelu, gelu_approximate, relu, sigmoid, silu, softmax, tanh};
use burn::tensor::{Device, Int, Tensor, TensorData};
use codriver_kernels::ActivationFunction;

pub use bert::BertEncoder;
pub use modern::ModernEncoder;

/// An encoder of any of the families that run here.
#[derive(Debug)]
pub enum Encoder {
    /// BERT and its kin: RoBERTa, XLM-R, MPNet, DistilBERT.
    Bert(BertEncoder),
    Modern(ModernEncoder),
}

impl Encoder {
    /// The last hidden states of some texts, each given as its tokens: `[texts, longest,
    /// hidden_size]`. What stands behind the end of a shorter text means nothing. `types` says of
    /// which part of a pair each token is; nothing for texts that are no pairs, and of no matter to
    /// encoders that do not tell parts.
    pub fn forward(&self, texts: &[&[u32]], types: &[&[u32]], device: &Device) -> Tensor<3> {
        match self {
            Self::Bert(encoder) => encoder.forward(texts, types, device),
            Self::Modern(encoder) => encoder.forward(texts, device),
        }
    }
}

/// An activation function's values, as tensors.
pub(crate) fn activate<const D: usize>(function: ActivationFunction, input: Tensor<D>) -> Tensor<D> {
    match function {
        ActivationFunction::Gelu => gelu(input),
        ActivationFunction::GeluTanh => gelu_approximate(input),
        ActivationFunction::Relu => relu(input),
        ActivationFunction::Silu => silu(input),
        ActivationFunction::Sigmoid => sigmoid(input),
        ActivationFunction::Tanh => tanh(input),
    }
}

/// Something for each token of some texts, as a rectangle; 0 behind the end of a shorter text.
fn rectangle(texts: &[&[u32]], value: impl Fn(usize, u32) -> i32, device: &Device) -> Tensor<2, Int> {
    let longest = longest(texts);
    let rows = texts.iter().flat_map(|text| {
        let values = text.iter().enumerate().map(|(column, token)| value(column, *token));
        values.chain(std::iter::repeat(0)).take(longest)
    });
    Tensor::from_data(TensorData::new(rows.collect::<Vec<_>>(), [texts.len(), longest]), device)
}

fn longest(texts: &[&[u32]]) -> usize {
    texts.iter().map(|text| text.len()).max().unwrap_or(0)
}

/// What attention sees of the other tokens of its text.
struct Sight {
    /// Added to the scores, `[texts, 1, 1, longest]`: nothing at tokens, a penalty at padding.
    padding: Tensor<4>,
    blocks: Vec<Block>,
}

/// Queries that are computed together, and the keys that one of them at least sees. It bounds the
/// scores held at once, and leaves out most of them where attention is local.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
    /// Added to the scores, `[1, 1, queries, keys]`: a penalty at what is too far away.
    distance: Option<Tensor<4>>,
}

/// So much that softmax gives 0.
const PENALTY: f32 = 1e9;

/// Scores held at once, about: 64 MiB of them.
pub(crate) const SCORES: usize = 1 << 24;

impl Sight {
    /// `heads` is for the size of the blocks; `reach` is how far attention sees to each side,
    /// `None` the whole text.
    fn new(texts: &[&[u32]], heads: usize, reach: Option<usize>, device: &Device) -> Self {
        let longest = longest(texts);
        let penalties = texts.iter().flat_map(|text| {
            let padding = longest - text.len();
            std::iter::repeat_n(0.0, text.len()).chain(std::iter::repeat_n(-PENALTY, padding))
        });
        let penalties = TensorData::new(penalties.collect::<Vec<f32>>(), [texts.len(), 1, 1, longest]);
        let seen = reach.map_or(longest, |reach| (2 * reach.min(longest) + 1).min(longest));
        let size = (SCORES / (texts.len() * heads * seen).max(1)).clamp(1, longest.max(1));
        // Local attention: blocks much larger than the reach would see much in vain.
        let size = reach.map_or(size, |reach| size.min(reach.max(64)));
        let blocks = (0..longest)
            .step_by(size)
            .map(|start| Block::new(start..longest.min(start + size), longest, reach, device));
        Self { padding: Tensor::from_data(penalties, device), blocks: blocks.collect() }
    }

    /// Scaled dot-product attention; queries, keys and values are `[texts, heads, longest,
    /// head_dim]`, `relative` is added to the scores, `[1, heads, longest, longest]`. The heads
    /// come back side by side: `[texts, longest, heads * head_dim]`.
    fn attend(
        &self,
        queries: Tensor<4>,
        keys: Tensor<4>,
        values: Tensor<4>,
        relative: Option<&Tensor<4>>,
    ) -> Tensor<3> {
        let [texts, heads, longest, head_dim] = queries.dims();
        let queries = queries * (head_dim as f64).powf(-0.5);
        let part = |block: &Block| {
            let narrow = |tensor: &Tensor<4>, range: &Range<usize>| tensor.clone().narrow(2, range.start, range.len());
            let queries = narrow(&queries, &block.queries);
            let mut scores = queries.matmul(narrow(&keys, &block.keys).swap_dims(2, 3))
                + self.padding.clone().narrow(3, block.keys.start, block.keys.len());
            if let Some(relative) = relative {
                scores = scores + narrow(relative, &block.queries).narrow(3, block.keys.start, block.keys.len());
            }
            if let Some(distance) = &block.distance {
                scores = scores + distance.clone();
            }
            softmax(scores, 3).matmul(narrow(&values, &block.keys))
        };
        let mixed = match self.blocks.as_slice() {
            [block] => part(block),
            blocks => Tensor::cat(blocks.iter().map(part).collect(), 2),
        };
        mixed.swap_dims(1, 2).reshape([texts, longest, heads * head_dim])
    }
}

impl Block {
    fn new(queries: Range<usize>, longest: usize, reach: Option<usize>, device: &Device) -> Self {
        let Some(reach) = reach.filter(|reach| *reach + 1 < longest) else {
            return Self { queries, keys: 0..longest, distance: None };
        };
        let keys = queries.start.saturating_sub(reach)..longest.min(queries.end + reach);
        let penalties = queries.clone().flat_map(|query| {
            let near = move |key: usize| if query.abs_diff(key) <= reach { 0.0 } else { -PENALTY };
            keys.clone().map(near)
        });
        let shape = [1, 1, queries.len(), keys.len()];
        let distance = TensorData::new(penalties.collect::<Vec<f32>>(), shape);
        Self { queries, keys, distance: Some(Tensor::from_data(distance, device)) }
    }
}

/// `[texts, longest, heads * head_dim]` as `[texts, heads, longest, head_dim]`.
fn split_heads(projected: Tensor<3>, heads: usize) -> Tensor<4> {
    let [texts, longest, size] = projected.dims();
    projected.reshape([texts, longest, heads, size / heads]).swap_dims(1, 2)
}

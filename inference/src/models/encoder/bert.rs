//! BERT (Devlin et al. 2018, arXiv 1810.04805) and what is built like it: RoBERTa and XLM-R, which
//! number positions otherwise, MPNet, which adds a bias by distance to the attention scores, and
//! DistilBERT, which has no token types.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor, TensorData};
use codriver_kernels::ActivationFunction;

use super::super::project;
use super::{Sight, activate, longest, rectangle, split_heads};

/// A BERT-like encoder without its pooler.
#[derive(Module, Debug)]
pub struct BertEncoder {
    pub word_embeddings: Embedding,
    pub position_embeddings: Embedding,
    /// Of which a text that is no pair has type 0 only.
    pub token_type_embeddings: Option<Embedding>,
    pub embeddings_norm: LayerNorm,
    /// MPNet's biases, [`DISTANCE_BUCKETS`] by heads.
    pub relative_attention_bias: Option<Embedding>,
    pub layers: Vec<BertLayer>,
    #[module(skip)]
    pub heads: usize,
    /// RoBERTa's numbering: positions count from behind this token's id, and tokens equal to it
    /// are not counted. `None`: positions count from 0.
    #[module(skip)]
    pub padding_token: Option<u32>,
    /// Of the layer normalizations.
    #[module(skip)]
    pub epsilon: f64,
}

impl BertEncoder {
    pub(super) fn forward(&self, texts: &[&[u32]], types: &[&[u32]], device: &Device) -> Tensor<3> {
        let tokens = rectangle(texts, |_, token| token as i32, device);
        let mut embedded =
            self.word_embeddings.forward(tokens) + self.position_embeddings.forward(self.positions(texts, device));
        if let Some(embeddings) = &self.token_type_embeddings {
            let types = match longest(types) {
                0 => Tensor::<2, Int>::zeros([1, 1], device),
                _ => rectangle(types, |_, part| part as i32, device),
            };
            embedded = embedded + embeddings.forward(types);
        }
        let sight = Sight::new(texts, self.heads, None, device);
        let relative = self.relative_attention_bias.as_ref().map(|bias| relative_biases(bias, longest(texts), device));
        let hidden = self.embeddings_norm.forward(embedded);
        self.layers.iter().fold(hidden, |hidden, layer| layer.forward(hidden, self.heads, &sight, relative.as_ref()))
    }

    fn positions(&self, texts: &[&[u32]], device: &Device) -> Tensor<2, Int> {
        let Some(padding) = self.padding_token else {
            return rectangle(texts, |column, _| column as i32, device);
        };
        // The numbers stand for tokens here, so that the rectangle is made in one way.
        let numbered = texts.iter().map(|text| {
            let number = |counted: &mut u32, token: &u32| {
                *counted += u32::from(*token != padding);
                Some(if *token == padding { padding } else { padding + *counted })
            };
            text.iter().scan(0, number).collect::<Vec<u32>>()
        });
        let numbered: Vec<Vec<u32>> = numbered.collect();
        let rows: Vec<&[u32]> = numbered.iter().map(Vec::as_slice).collect();
        rectangle(&rows, |_, position| position as i32, device)
    }
}

/// One layer: attention and a feed-forward block, each added and normalized after.
#[derive(Module, Debug)]
pub struct BertLayer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention_output: Linear,
    pub attention_norm: LayerNorm,
    pub intermediate: Linear,
    pub output: Linear,
    pub output_norm: LayerNorm,
    #[module(skip)]
    pub activation: ActivationFunction,
}

impl BertLayer {
    fn forward(&self, hidden: Tensor<3>, heads: usize, sight: &Sight, relative: Option<&Tensor<4>>) -> Tensor<3> {
        let split = |projection: &Linear| split_heads(project(projection, hidden.clone()), heads);
        let attended = sight.attend(split(&self.query), split(&self.key), split(&self.value), relative);
        let hidden = self.attention_norm.forward(hidden + project(&self.attention_output, attended));
        let wide = activate(self.activation, project(&self.intermediate, hidden.clone()));
        self.output_norm.forward(hidden + project(&self.output, wide))
    }
}

/// The distances MPNet tells apart (T5's buckets: half of them for each direction, the near ones
/// exact, the far ones by logarithm up to 128 tokens).
pub const DISTANCE_BUCKETS: usize = 32;

/// The biases of all pairs of positions, `[1, heads, length, length]`.
fn relative_biases(biases: &Embedding, length: usize, device: &Device) -> Tensor<4> {
    let buckets = (0..length).flat_map(|query| (0..length).map(move |key| bucket(query, key) as i32));
    let buckets = TensorData::new(buckets.collect::<Vec<_>>(), [length, length]);
    biases.forward(Tensor::<2, Int>::from_data(buckets, device)).permute([2, 0, 1]).unsqueeze()
}

/// The bucket of a key's distance from a query.
pub(crate) fn bucket(query: usize, key: usize) -> usize {
    const EACH_WAY: usize = DISTANCE_BUCKETS / 2;
    const EXACT: usize = EACH_WAY / 2;
    const FARTHEST: f32 = 128.0;
    let direction = if key > query { EACH_WAY } else { 0 };
    let distance = query.abs_diff(key);
    let size = if distance < EXACT {
        distance
    } else {
        let share = (distance as f32 / EXACT as f32).ln() / (FARTHEST / EXACT as f32).ln();
        (EXACT + (share * (EACH_WAY - EXACT) as f32) as usize).min(EACH_WAY - 1)
    };
    direction + size
}

//! The BERT encoder, as sentence embedding models (MiniLM and its kin) use it.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::activation::{gelu, relu, softmax};
use burn::tensor::{Int, Tensor};

use super::project;

/// BERT without its pooler: tokens in, a vector a token out.
#[derive(Module, Debug)]
pub struct Encoder {
    pub word_embeddings: Embedding,
    pub position_embeddings: Embedding,
    pub token_type_embeddings: Embedding,
    pub embeddings_norm: LayerNorm,
    pub layers: Vec<EncoderLayer>,
}

impl Encoder {
    /// The last hidden states, `[batch, positions, hidden_size]`. `mask` is 1 at real tokens
    /// and 0 at padding; every token is of type 0 (one text, not a pair).
    pub fn forward(&self, tokens: Tensor<2, Int>, mask: Tensor<2>) -> Tensor<3> {
        let [batch, length] = tokens.dims();
        let device = tokens.device();
        let positions = Tensor::<1, Int>::arange(0..length as i64, &device).unsqueeze();
        let types = Tensor::<2, Int>::zeros([1, 1], &device);
        let embedded = self.word_embeddings.forward(tokens)
            + self.position_embeddings.forward(positions)
            + self.token_type_embeddings.forward(types);
        // Added to the scores: nothing at real tokens, so much at padding that softmax gives 0.
        let bias = ((mask - 1.0) * PADDING_PENALTY).reshape([batch, 1, 1, length]);
        let hidden = self.embeddings_norm.forward(embedded);
        self.layers
            .iter()
            .fold(hidden, |hidden, layer| layer.forward(hidden, &bias))
    }
}

const PADDING_PENALTY: f32 = 1e9;

#[derive(Module, Debug)]
pub struct EncoderLayer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention_output: Linear,
    pub attention_norm: LayerNorm,
    pub intermediate: Linear,
    pub output: Linear,
    pub output_norm: LayerNorm,
    #[module(skip)]
    pub heads: usize,
    #[module(skip)]
    pub activation: Activation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Gelu,
    Relu,
}

impl EncoderLayer {
    fn forward(&self, hidden: Tensor<3>, bias: &Tensor<4>) -> Tensor<3> {
        let attended = project(&self.attention_output, self.attend(hidden.clone(), bias));
        let hidden = self.attention_norm.forward(hidden + attended);
        let wide = project(&self.intermediate, hidden.clone());
        let wide = match self.activation {
            Activation::Gelu => gelu(wide),
            Activation::Relu => relu(wide),
        };
        self.output_norm
            .forward(hidden + project(&self.output, wide))
    }

    fn attend(&self, hidden: Tensor<3>, bias: &Tensor<4>) -> Tensor<3> {
        let [batch, length, size] = hidden.dims();
        let head_dim = size / self.heads;
        let split = |projected: Tensor<3>| {
            projected
                .reshape([batch, length, self.heads, head_dim])
                .swap_dims(1, 2)
        };
        let queries = split(project(&self.query, hidden.clone()));
        let keys = split(project(&self.key, hidden.clone()));
        let values = split(project(&self.value, hidden));
        let scores = queries.matmul(keys.swap_dims(2, 3)) * (head_dim as f64).powf(-0.5);
        let weights = softmax(scores + bias.clone(), 3);
        weights
            .matmul(values)
            .swap_dims(1, 2)
            .reshape([batch, length, size])
    }
}

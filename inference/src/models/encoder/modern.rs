//! ModernBERT (Warner et al. 2024, arXiv 2412.13663): rotary positions, gated feed-forward blocks,
//! normalization before each block, and attention that is local in most layers.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use codriver_kernels::ActivationFunction;

use super::super::project;
use super::super::rotary::{Regime, RotaryConfig, Rotation};
use super::{Sight, activate, longest, rectangle, split_heads};

#[derive(Module, Debug)]
pub struct ModernEncoder {
    pub embeddings: Embedding,
    pub embeddings_norm: LayerNorm,
    pub layers: Vec<ModernLayer>,
    pub final_norm: LayerNorm,
    #[module(skip)]
    pub settings: ModernSettings,
}

/// What of a ModernBERT is no weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModernSettings {
    pub heads: usize,
    pub head_dim: usize,
    /// How many tokens local attention sees to each side.
    pub reach: usize,
    /// The base of the rotary frequencies where attention sees the whole text.
    pub global_theta: f32,
    /// And where it is local.
    pub local_theta: f32,
    pub activation: ActivationFunction,
    /// Of the layer normalizations.
    pub epsilon: f64,
}

impl ModernEncoder {
    pub(super) fn forward(&self, texts: &[&[u32]], device: &Device) -> Tensor<3> {
        let settings = &self.settings;
        let view = |reach: Option<usize>, theta: f32| {
            let rotary = RotaryConfig { theta: f64::from(theta), ..RotaryConfig::default() };
            let rotation = rotary.rotation(settings.head_dim, Regime::Usual, 0..longest(texts), device);
            (Sight::new(texts, settings.heads, reach, device), rotation)
        };
        let global = view(None, settings.global_theta);
        let local = view(Some(settings.reach), settings.local_theta);
        let embedded = self.embeddings.forward(rectangle(texts, |_, token| token as i32, device));
        let mut hidden = self.embeddings_norm.forward(embedded);
        for layer in &self.layers {
            let (sight, rotation) = if layer.local { &local } else { &global };
            hidden = layer.forward(hidden, settings, sight, rotation);
        }
        self.final_norm.forward(hidden)
    }
}

#[derive(Module, Debug)]
pub struct ModernLayer {
    /// `None` in the first layer: the embeddings are normalized already.
    pub attention_norm: Option<LayerNorm>,
    /// Queries, keys and values, one after the other.
    pub query_key_value: Linear,
    pub attention_output: Linear,
    pub feed_forward_norm: LayerNorm,
    /// What goes through the activation, then what it is multiplied with.
    pub wide: Linear,
    pub output: Linear,
    #[module(skip)]
    pub local: bool,
}

impl ModernLayer {
    fn forward(&self, hidden: Tensor<3>, settings: &ModernSettings, sight: &Sight, rotation: &Rotation) -> Tensor<3> {
        let normed = match &self.attention_norm {
            Some(norm) => norm.forward(hidden.clone()),
            None => hidden.clone(),
        };
        let parts = project(&self.query_key_value, normed);
        let size = settings.heads * settings.head_dim;
        let part = |index: usize| split_heads(parts.clone().narrow(2, index * size, size), settings.heads);
        let attended = sight.attend(rotation.apply(part(0)), rotation.apply(part(1)), part(2), None);
        let hidden = hidden + project(&self.attention_output, attended);

        let wide = project(&self.wide, self.feed_forward_norm.forward(hidden.clone()));
        let half = wide.dims()[2] / 2;
        let gated = activate(settings.activation, wide.clone().narrow(2, 0, half)) * wide.narrow(2, half, half);
        hidden + project(&self.output, gated)
    }
}

//! The layers of a packed encoder.

use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use codriver_kernels::{ActivationFunction, Panels, Then, layer_norm};

use crate::models::encoder::bert::BertLayer;
use crate::models::encoder::modern::{ModernLayer, ModernSettings};

/// Attention and a feed-forward block, each added to what it was given.
pub(super) struct Layer {
    /// Queries, keys and values, one after the other.
    pub(super) query_key_value: Panels,
    pub(super) attention_output: Panels,
    pub(super) attention_norm: Place,
    /// How far attention sees to each side; `None`: the whole text.
    pub(super) reach: Option<usize>,
    pub(super) wide: Panels,
    narrow: Panels,
    activation: ActivationFunction,
    /// Whether the second half of `wide`'s output is multiplied with the first.
    gated: bool,
    pub(super) feed_forward_norm: Place,
}

/// Where a block is normalized.
pub(super) enum Place {
    Before(Norm),
    After(Norm),
    Nowhere,
}

/// A layer normalization.
pub(in crate::embedder) struct Norm {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    epsilon: f32,
}

impl Layer {
    pub(super) fn of_bert(layer: BertLayer, epsilon: f64) -> Option<Self> {
        let parts = [&layer.query, &layer.key, &layer.value];
        let [inputs, outputs] = layer.query.weight.val().dims();
        let weights: Vec<f32> = parts.iter().flat_map(|part| rows(part)).collect();
        let bias: Vec<f32> = parts.iter().filter_map(|part| bias(part)).flatten().collect();
        Some(Self {
            query_key_value: Panels::pack([inputs, 3 * outputs], [1, inputs], &weights, Some(&bias))?,
            attention_output: panels(&layer.attention_output)?,
            attention_norm: Place::After(Norm::of(&layer.attention_norm, epsilon)),
            reach: None,
            wide: panels(&layer.intermediate)?,
            narrow: panels(&layer.output)?,
            activation: layer.activation,
            gated: false,
            feed_forward_norm: Place::After(Norm::of(&layer.output_norm, epsilon)),
        })
    }

    pub(super) fn of_modern(layer: ModernLayer, settings: &ModernSettings) -> Option<Self> {
        let before = layer.attention_norm.as_ref().map(|norm| Norm::of(norm, settings.epsilon));
        Some(Self {
            query_key_value: panels(&layer.query_key_value)?,
            attention_output: panels(&layer.attention_output)?,
            attention_norm: before.map_or(Place::Nowhere, Place::Before),
            reach: layer.local.then_some(settings.reach),
            wide: panels(&layer.wide)?,
            narrow: panels(&layer.output)?,
            activation: settings.activation,
            gated: true,
            feed_forward_norm: Place::Before(Norm::of(&layer.feed_forward_norm, settings.epsilon)),
        })
    }

    /// Adds the feed-forward block's output for `input` to `hidden`.
    pub(super) fn feed_forward(&self, input: &[f32], hidden: &mut [f32], spread: bool) {
        let width = self.wide.outputs();
        let mut wide = vec![0.0; input.len() / self.wide.inputs() * width];
        if !self.gated {
            self.wide.multiply(input, &mut wide, Then::Apply(self.activation), spread);
            self.narrow.multiply(&wide, hidden, Then::Add, spread);
            return;
        }
        self.wide.multiply(input, &mut wide, Then::Replace, spread);
        let half = width / 2;
        let mut gated = Vec::with_capacity(wide.len() / 2);
        for row in wide.chunks_exact_mut(width) {
            let (gates, values) = row.split_at_mut(half);
            self.activation.apply(gates);
            gated.extend(gates.iter().zip(values).map(|(gate, value)| *gate * *value));
        }
        self.narrow.multiply(&gated, hidden, Then::Add, spread);
    }
}

impl Place {
    /// The block's input; `room` is for it.
    pub(super) fn before<'a>(&self, hidden: &'a [f32], room: &'a mut Vec<f32>) -> &'a [f32] {
        let Self::Before(norm) = self else { return hidden };
        room.clear();
        room.extend_from_slice(hidden);
        norm.apply(room);
        room
    }

    pub(super) fn after(&self, hidden: &mut [f32]) {
        if let Self::After(norm) = self {
            norm.apply(hidden);
        }
    }
}

impl Norm {
    pub(in crate::embedder) fn of(norm: &LayerNorm, epsilon: f64) -> Self {
        Self {
            weight: numbers(norm.gamma.val()),
            bias: norm.beta.as_ref().map(|beta| numbers(beta.val())),
            epsilon: epsilon as f32,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.weight.len()
    }

    pub(in crate::embedder) fn apply(&self, values: &mut [f32]) {
        layer_norm(values, &self.weight, self.bias.as_deref(), self.epsilon);
    }
}

/// A linear layer's weights and bias.
pub(in crate::embedder) fn panels(linear: &Linear) -> Option<Panels> {
    let [inputs, outputs] = linear.weight.val().dims();
    Panels::pack([inputs, outputs], [1, inputs], &rows(linear), bias(linear).as_deref())
}

/// The weights, `[outputs, inputs]`: as checkpoints hold them, of which the layer's are a view.
fn rows(linear: &Linear) -> Vec<f32> {
    numbers(linear.weight.val().transpose())
}

fn bias(linear: &Linear) -> Option<Vec<f32>> {
    linear.bias.as_ref().map(|bias| numbers(bias.val()))
}

/// A tensor's numbers; none where it can't be read, which [`Panels::pack`] notices.
pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap_or_default()
}

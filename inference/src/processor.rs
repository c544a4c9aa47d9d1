//! A packed decoder on this machine's processor.
//!
//! The same network as [`Decoder::hidden`], without a tensor in between: products on packed
//! weights, attention over pages, and everything else in place. `Decoder` says what is computed
//! and is what this is tested against.

mod cache;
mod feed_forward;

use burn::nn::RmsNorm;
use burn::tensor::Tensor;
use codriver_kernels::{
    Activations, Attention, add_scaled, multiply, rms_norm, rms_norm_in_place, rotate, soft_cap,
};

pub(crate) use self::cache::PagedCache;
use crate::ModelError;
use crate::models::decoder::{Decoder, DecoderConfig, DecoderLayer, LayerConfig};
use crate::models::projection::PackedLinear;
use crate::models::rotary::{Regime, RotaryConfig};

/// A decoder whose weights are packed, and its norms' weights at hand.
pub(crate) struct Processor {
    decoder: Decoder,
    layers: Vec<Norms>,
    norm: Vec<f32>,
}

/// The weights of a layer's norms.
struct Norms {
    input: Vec<f32>,
    post_attention: Vec<f32>,
    /// Before and after the feed-forward block, where outputs are normalized.
    output: Option<(Vec<f32>, Vec<f32>)>,
    query: Option<Vec<f32>>,
    key: Option<Vec<f32>>,
}

impl Processor {
    pub(crate) fn new(decoder: Decoder) -> Self {
        let layers = decoder.layers.iter().map(Norms::of).collect();
        let norm = weight(&decoder.norm);
        Self { decoder, layers, norm }
    }

    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.decoder.config
    }

    /// The scores after each of `tokens`, or after the last one, `[positions, vocab_size]`; keys and
    /// values are added to the cache.
    pub(crate) fn scores(
        &self,
        tokens: &[u32],
        only_last: bool,
        regime: Regime,
        cache: &mut PagedCache,
    ) -> Result<Vec<f32>, ModelError> {
        let size = self.config().hidden_size;
        let hidden = self.hidden(tokens, regime, cache)?;
        let from = if only_last { hidden.len().saturating_sub(size) } else { 0 };
        let normed = rms_norm(hidden.get(from..).unwrap_or_default(), &self.norm, self.epsilon());
        let input = Activations::new(normed, size);
        let mut scores = match &self.decoder.lm_head {
            Some(head) => packed(head.as_packed())?.multiply(&input),
            None => multiply(self.decoder.embed_tokens.as_packed().ok_or_else(not_packed)?, &input),
        };
        let divisor = self.config().logit_divisor as f32;
        if divisor != 1.0 {
            scores.iter_mut().for_each(|score| *score /= divisor);
        }
        if let Some(cap) = self.config().logit_soft_cap {
            soft_cap(&mut scores, cap as f32);
        }
        Ok(scores)
    }

    /// The hidden states of `tokens` before the final norm, `[positions, hidden_size]`.
    fn hidden(&self, tokens: &[u32], regime: Regime, cache: &mut PagedCache) -> Result<Vec<f32>, ModelError> {
        let config = self.config();
        let table = self.decoder.embed_tokens.as_packed().ok_or_else(not_packed)?;
        let mut hidden = Vec::with_capacity(tokens.len() * config.hidden_size);
        for token in tokens {
            let row = table.row(*token as usize);
            let unknown = || ModelError::Tokenizer(format!("token {token} is not in the model's vocabulary"));
            hidden.extend(row.ok_or_else(unknown)?);
        }
        let multiplier = config.embedding_multiplier as f32;
        if multiplier != 1.0 {
            hidden.iter_mut().for_each(|value| *value *= multiplier);
        }
        let past = cache.len();
        cache.grow(tokens.len());
        let turn = |rotary: &RotaryConfig| Turn::new(rotary, config.head_dim, regime, past, tokens.len());
        let (turn, sliding_turn) = (turn(&config.rotary), config.sliding_rotary.as_ref().map(turn));
        for (index, (layer, norms)) in self.decoder.layers.iter().zip(&self.layers).enumerate() {
            let of_layer = config.layer(index);
            let own = sliding_turn.as_ref().filter(|_| of_layer.sliding_window.is_some()).unwrap_or(&turn);
            let place = Place { index, layer: of_layer, past, turn: (!of_layer.unrotated).then_some(own) };
            self.layer(layer, norms, &place, &mut hidden, cache)?;
        }
        cache.advance(tokens.len());
        Ok(hidden)
    }

    fn layer(
        &self,
        layer: &DecoderLayer,
        norms: &Norms,
        place: &Place<'_>,
        hidden: &mut [f32],
        cache: &mut PagedCache,
    ) -> Result<(), ModelError> {
        let config = self.config();
        let (size, epsilon) = (config.hidden_size, self.epsilon());
        let multiplier = config.residual_multiplier as f32;
        let normed = Activations::new(rms_norm(hidden, &norms.input, epsilon), size);
        let mut attended = self.attend(layer, norms, place, &normed, cache)?;
        if let Some((before, after)) = &norms.output {
            rms_norm_in_place(&mut attended, &norms.post_attention, epsilon);
            add_scaled(hidden, &attended, multiplier);
            let mut output = feed_forward::forward(&layer.mlp, rms_norm(hidden, before, epsilon), size, config)?;
            rms_norm_in_place(&mut output, after, epsilon);
            add_scaled(hidden, &output, multiplier);
        } else {
            add_scaled(hidden, &attended, multiplier);
            let normed = rms_norm(hidden, &norms.post_attention, epsilon);
            let output = feed_forward::forward(&layer.mlp, normed, size, config)?;
            add_scaled(hidden, &output, multiplier);
        }
        Ok(())
    }

    fn attend(
        &self,
        layer: &DecoderLayer,
        norms: &Norms,
        place: &Place<'_>,
        input: &Activations,
        cache: &mut PagedCache,
    ) -> Result<Vec<f32>, ModelError> {
        let config = self.config();
        let head_dim = config.head_dim;
        let (heads, key_value_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let attention = &layer.self_attn;
        let layers = [&attention.q_proj, &attention.k_proj, &attention.v_proj].map(|layer| packed(layer.as_packed()));
        let [q_proj, k_proj, v_proj] = layers;
        let [mut queries, mut keys, values] = PackedLinear::multiply_all([q_proj?, k_proj?, v_proj?], input);
        for (rows, norm, heads) in [(&mut queries, &norms.query, heads), (&mut keys, &norms.key, key_value_heads)] {
            if let Some(norm) = norm {
                rms_norm_in_place(rows, norm, self.epsilon());
            }
            if let Some(turn) = place.turn {
                turn.apply(rows, heads, head_dim);
            }
        }
        cache.write(place.index, place.past, &keys, &values);
        let scale = config.attention_scale.unwrap_or_else(|| (head_dim as f64).powf(-0.5));
        let attended = Attention {
            shape: cache.shape(),
            heads,
            key_value_heads,
            scale: scale as f32,
            soft_cap: config.attention_soft_cap.map(|cap| cap as f32),
            window: place.layer.sliding_window,
            past: place.past,
            queries: &queries,
            page: |head, page| cache.head_page(place.index, head, page),
        }
        .attend();
        Ok(packed(attention.o_proj.as_packed())?.multiply(&Activations::new(attended, heads * head_dim)))
    }

    fn epsilon(&self) -> f32 {
        self.config().rms_norm_eps as f32
    }
}

/// Where in the network and in the sequence something is computed.
struct Place<'a> {
    index: usize,
    layer: LayerConfig,
    /// Positions before the first one computed.
    past: usize,
    turn: Option<&'a Turn>,
}

/// The rotations of a run of positions.
struct Turn {
    cosine: Vec<f32>,
    sine: Vec<f32>,
    pairs: usize,
}

impl Turn {
    fn new(rotary: &RotaryConfig, head_dim: usize, regime: Regime, past: usize, length: usize) -> Self {
        let (cosine, sine) = rotary.angles(head_dim, regime, past, length);
        Self { cosine, sine, pairs: rotary.pairs(head_dim) }
    }

    /// Rotates rows of `heads`, a row for each position.
    fn apply(&self, rows: &mut [f32], heads: usize, head_dim: usize) {
        let angles = self.cosine.chunks_exact(self.pairs.max(1)).zip(self.sine.chunks_exact(self.pairs.max(1)));
        for (row, (cosine, sine)) in rows.chunks_exact_mut(heads * head_dim).zip(angles) {
            row.chunks_exact_mut(head_dim).for_each(|head| rotate(head, cosine, sine));
        }
    }
}

impl Norms {
    fn of(layer: &DecoderLayer) -> Self {
        let output = layer.output_norms.as_ref();
        Self {
            input: weight(&layer.input_layernorm),
            post_attention: weight(&layer.post_attention_layernorm),
            output: output.map(|norms| (weight(&norms.pre_feedforward_layernorm), weight(&norms.post_feedforward_layernorm))),
            query: layer.self_attn.q_norm.as_ref().map(weight),
            key: layer.self_attn.k_norm.as_ref().map(weight),
        }
    }
}

fn weight(norm: &RmsNorm) -> Vec<f32> {
    let gamma: Tensor<1> = norm.gamma.val();
    gamma.into_data().iter::<f32>().collect()
}

fn packed(linear: Option<&PackedLinear>) -> Result<&PackedLinear, ModelError> {
    linear.ok_or_else(not_packed)
}

fn not_packed() -> ModelError {
    ModelError::Unsupported("the processor's engine needs packed weights".to_owned())
}

//! A packed decoder on this machine's processor.
//!
//! The same network as [`Decoder::hidden`], without a tensor in between: products on packed
//! weights, attention over pages, and everything else in place. `Decoder` says what is computed
//! and is what this is tested against.
//!
//! A step's tokens go through each product together, whatever sequences they are of: the weights
//! are read once for all of them.

mod cache;
mod feed_forward;

use burn::nn::RmsNorm;
use burn::tensor::Tensor;
use codriver_kernels::{
    Activations, Attention, PageFormat, add_scaled, attend_all, multiply, rms_norm, rms_norm_in_place, rotate, soft_cap,
};

use self::cache::Blocks;
use crate::ModelError;
use crate::loader::checkpoint::Fault;
use crate::models::decoder::{Decoder, DecoderConfig, DecoderLayer, LayerConfig};
use crate::models::projection::PackedLinear;
use crate::models::rotary::{Regime, RotaryConfig};
use crate::network::{Block, Limits, Network, PREFILL_TOKENS, Rows, Segment};

/// A decoder whose weights are packed, and its norms' weights at hand.
pub(crate) struct Processor {
    decoder: Decoder,
    layers: Vec<Norms>,
    norm: Vec<f32>,
    blocks: Blocks,
    /// Of weights that were read when they were needed.
    fault: Fault,
}

/// Sequences in a step: with more, attention costs more than weights that are read once save.
pub(crate) const SEQUENCES: usize = 16;

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
    /// A packed decoder whose keys and values are held as `format`.
    pub(crate) fn new(decoder: Decoder, format: PageFormat, fault: Fault) -> Self {
        let layers = decoder.layers.iter().map(Norms::of).collect();
        let norm = weight(&decoder.norm);
        let blocks = Blocks::new(&decoder.config, format);
        Self { decoder, layers, norm, blocks, fault }
    }

    /// The scores that the segments want, from the hidden states of all their tokens.
    fn scores(&self, segments: &[Segment<'_>], hidden: &[f32]) -> Result<Vec<f32>, ModelError> {
        let size = self.config().hidden_size;
        let mut wanted = Vec::new();
        let mut end = 0;
        for segment in segments {
            end += segment.unread().len();
            wanted.extend_from_slice(
                hidden.get(end.saturating_sub(segment.wanted) * size..end * size).unwrap_or_default(),
            );
        }
        if wanted.is_empty() {
            return Ok(wanted);
        }
        rms_norm_in_place(&mut wanted, &self.norm, self.epsilon());
        let input = Activations::new(wanted, size);
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

    /// The hidden states of the segments' tokens before the final norm, `[tokens, hidden_size]`.
    fn hidden(
        &mut self,
        segments: &[Segment<'_>],
        interrupted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<f32>, ModelError> {
        let mut hidden = self.embed(segments)?;
        let config = &self.decoder.config;
        let parts: Vec<Part<'_>> = segments.iter().map(|segment| Part::new(segment, config)).collect();
        for index in 0..self.decoder.layers.len() {
            if interrupted() {
                return Err(ModelError::Cancelled);
            }
            self.layer(index, &parts, &mut hidden)?;
        }
        Ok(hidden)
    }

    fn embed(&self, segments: &[Segment<'_>]) -> Result<Vec<f32>, ModelError> {
        let config = self.config();
        let table = self.decoder.embed_tokens.as_packed().ok_or_else(not_packed)?;
        let count: usize = segments.iter().map(|segment| segment.unread().len()).sum();
        let mut hidden = Vec::with_capacity(count * config.hidden_size);
        for token in segments.iter().flat_map(Segment::unread) {
            let row = table.row(token.id as usize);
            let unknown = || ModelError::Tokenizer(format!("token {} is not in the model's vocabulary", token.id));
            hidden.extend(row.ok_or_else(unknown)?);
        }
        let multiplier = config.embedding_multiplier as f32;
        if multiplier != 1.0 {
            hidden.iter_mut().for_each(|value| *value *= multiplier);
        }
        Ok(hidden)
    }

    fn layer(&mut self, index: usize, parts: &[Part<'_>], hidden: &mut [f32]) -> Result<(), ModelError> {
        let (size, epsilon) = (self.config().hidden_size, self.epsilon());
        let multiplier = self.config().residual_multiplier as f32;
        let (Some(layer), Some(norms)) = (self.decoder.layers.get(index), self.layers.get(index)) else {
            return Err(not_packed());
        };
        let normed = Activations::new(rms_norm(hidden, &norms.input, epsilon), size);
        let mut attended =
            Attending { layer, norms, index, config: &self.decoder.config, parts }.attend(&normed, &mut self.blocks)?;
        let config = &self.decoder.config;
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

    fn epsilon(&self) -> f32 {
        self.config().rms_norm_eps as f32
    }
}

impl Network for Processor {
    fn config(&self) -> &DecoderConfig {
        &self.decoder.config
    }

    fn limits(&self) -> Limits {
        Limits { sequences: SEQUENCES, tokens: PREFILL_TOKENS }
    }

    fn block_size(&self) -> usize {
        self.blocks.block_size()
    }

    fn provide(&mut self, block: Block) -> Result<(), ModelError> {
        self.blocks.provide(block)
    }

    fn discard(&mut self, block: Block) {
        self.blocks.discard(block);
    }

    fn copy(&mut self, from: Block, to: Block, positions: usize) {
        self.blocks.copy(from, to, positions);
    }

    fn step(&mut self, segments: &[Segment<'_>], interrupted: &(dyn Fn() -> bool + Sync)) -> Result<Rows, ModelError> {
        let hidden = self.hidden(segments, interrupted)?;
        let scores = self.scores(segments, &hidden)?;
        // Computed with zeros, if so.
        self.fault.check()?;
        Ok(Rows::Whole(scores))
    }
}

/// A segment on its way through the layers.
struct Part<'a> {
    segment: &'a Segment<'a>,
    turn: Turn,
    /// Of layers with a sliding window, where they differ.
    sliding_turn: Option<Turn>,
}

impl<'a> Part<'a> {
    fn new(segment: &'a Segment<'a>, config: &DecoderConfig) -> Self {
        let (past, length) = (segment.past, segment.unread().len());
        let turn = |rotary: &RotaryConfig| Turn::new(rotary, config.head_dim, segment.regime(), past, length);
        Self { segment, turn: turn(&config.rotary), sliding_turn: config.sliding_rotary.as_ref().map(turn) }
    }

    /// The rotation of a layer, if it has one.
    fn turn(&self, layer: LayerConfig) -> Option<&Turn> {
        let sliding = self.sliding_turn.as_ref().filter(|_| layer.sliding_window.is_some());
        (!layer.unrotated).then_some(sliding.unwrap_or(&self.turn))
    }
}

/// A layer's attention: products with all tokens together, the rest for each segment.
struct Attending<'a> {
    layer: &'a DecoderLayer,
    norms: &'a Norms,
    index: usize,
    config: &'a DecoderConfig,
    parts: &'a [Part<'a>],
}

impl Attending<'_> {
    fn attend(&self, input: &Activations, blocks: &mut Blocks) -> Result<Vec<f32>, ModelError> {
        let config = self.config;
        let (heads, key_value_heads, head_dim) =
            (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let of_layer = config.layer(self.index);
        let attention = &self.layer.self_attn;
        let layers = [&attention.q_proj, &attention.k_proj, &attention.v_proj].map(|layer| packed(layer.as_packed()));
        let [q_proj, k_proj, v_proj] = layers;
        let [mut queries, mut keys, values] = PackedLinear::multiply_all([q_proj?, k_proj?, v_proj?], input);
        for (rows, norm) in [(&mut queries, &self.norms.query), (&mut keys, &self.norms.key)] {
            if let Some(norm) = norm {
                rms_norm_in_place(rows, norm, config.rms_norm_eps as f32);
            }
        }
        let mut rest = (queries.as_mut_slice(), keys.as_mut_slice(), values.as_slice());
        let mut parts = Vec::new();
        for part in self.parts {
            let length = part.segment.unread().len();
            let queries = rest.0.split_off_mut(..length * heads * head_dim).ok_or_else(not_packed)?;
            let keys = rest.1.split_off_mut(..length * key_value_heads * head_dim).ok_or_else(not_packed)?;
            let values = rest.2.split_off(..length * key_value_heads * head_dim).ok_or_else(not_packed)?;
            if let Some(turn) = part.turn(of_layer) {
                turn.apply(queries, heads, head_dim);
                turn.apply(keys, key_value_heads, head_dim);
            }
            blocks.write(part.segment, self.index, keys, values);
            parts.push((part.segment, &*queries));
        }
        let blocks = &*blocks;
        let scale = config.attention_scale.unwrap_or_else(|| (head_dim as f64).powf(-0.5));
        let attentions = parts.into_iter().map(|(segment, queries)| Attention {
            shape: blocks.shape(),
            heads,
            key_value_heads,
            scale: scale as f32,
            soft_cap: config.attention_soft_cap.map(|cap| cap as f32),
            window: of_layer.sliding_window,
            past: segment.past,
            queries,
            page: move |head, page| blocks.head_page(segment, self.index, head, page),
        });
        let attended = attend_all(&attentions.collect::<Vec<_>>()).concat();
        let attended = Activations::new(attended, heads * head_dim);
        Ok(packed(attention.o_proj.as_packed())?.multiply(&attended))
    }
}

/// The rotations of a run of positions.
struct Turn {
    cosine: Vec<f32>,
    sine: Vec<f32>,
    pairs: usize,
}

impl Turn {
    fn new(rotary: &RotaryConfig, head_dim: usize, regime: Regime, past: usize, length: usize) -> Self {
        let (cosine, sine) = rotary.angles(head_dim, regime, past..past + length);
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
            output: output
                .map(|norms| (weight(&norms.pre_feedforward_layernorm), weight(&norms.post_feedforward_layernorm))),
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

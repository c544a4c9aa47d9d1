//! A packed decoder on a GPU.
//!
//! The network is `codriver-gpu`'s; here is what turns a decoder into it, and steps into its steps.

use burn::nn::RmsNorm;
use burn::tensor::Tensor;
use codriver_gpu::{
    Architecture, Experts, Gated, Gpu, GpuError, Highest, Layer, Linear, OutputNorms, Pool, Rotation, Scores, Weights,
};
use codriver_kernels::PageFormat;

use super::{BLOCK, Block, Limits, Network, Row, Rows, Segment, Unread};
use crate::ModelError;
use crate::device::{caught, failure, unloadable};
use crate::models::decoder::{Activation, Decoder, DecoderConfig, DecoderLayer, FeedForward, GatedLinear};
use crate::models::projection::{Projection, Table};
use crate::models::rotary::{Regime, RotaryConfig};
use crate::sampling::Candidates;

/// Computes steps on a GPU, where all sequences' keys and values are.
pub(super) struct Resident {
    decoder: codriver_gpu::Decoder,
    config: DecoderConfig,
    pool: Pool,
}

/// What a step may hold: enough to keep a large GPU busy, and little enough that nobody waits long.
pub(crate) const LIMITS: Limits = Limits { sequences: 64, tokens: 512 };

impl Resident {
    /// The decoder whose matrices are on a GPU already, with keys and values in `format`.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for what the GPU's kernels lack.
    pub(super) fn new(decoder: Decoder, format: PageFormat) -> Result<Self, ModelError> {
        let Decoder { embed_tokens, layers, norm, lm_head, config } = decoder;
        let Table::Resident(table) = embed_tokens else { return Err(elsewhere()) };
        let (gpu, table) = table.into_matrix();
        let layers = layers.into_iter().enumerate().map(|(index, layer)| layer_of(&config, index, layer));
        let layers: Vec<Layer> = layers.collect::<Result<_, _>>()?;
        let head = lm_head.map(|head| linear(head).map(|head| head.weight)).transpose()?;
        let architecture = architecture(&config);
        let pool = Pool::new(&gpu, architecture.page_shape(BLOCK, format), layers.len(), 1).map_err(unloadable)?;
        let weights = Weights { table, layers, norm: weight(&norm), head };
        let decoder = codriver_gpu::Decoder::new(&gpu, architecture, weights).map_err(unloadable)?;
        Ok(Self { decoder, config, pool })
    }

    fn gpu(&self) -> &Gpu {
        self.decoder.gpu()
    }
}

impl Network for Resident {
    fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn block_size(&self) -> usize {
        let size = self.pool.shape().size(self.decoder.layers());
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    /// What is past a sequence's end is never read, so a block needs no numbers.
    fn provide(&mut self, block: Block) -> Result<(), ModelError> {
        let (needed, held) = (block as usize + 1, self.pool.pages());
        if needed <= held {
            return Ok(());
        }
        let gpu = self.gpu().clone();
        let grown = caught(|| self.pool.grow(&gpu, needed.max(2 * held)).or_else(|_| self.pool.grow(&gpu, needed)));
        grown.unwrap_or_else(|panic| Err(GpuError::Device(panic))).map_err(in_use)
    }

    /// The memory stays: blocks are parts of one buffer a layer.
    fn discard(&mut self, _: Block) {}

    fn copy(&mut self, from: Block, to: Block, _: usize) {
        self.pool.copy(self.decoder.gpu(), from, to);
    }

    fn step(&mut self, segments: &[Segment<'_>], interrupted: &(dyn Fn() -> bool + Sync)) -> Result<Rows, ModelError> {
        if interrupted() {
            return Err(ModelError::Cancelled);
        }
        let parts: Vec<Part> = segments.iter().map(|segment| Part::new(segment, &self.config)).collect();
        // Drivers report trouble by panics, too.
        let rows = caught(|| {
            let parts = segments.iter().zip(&parts).map(|(segment, part)| part.of(segment));
            let scores = self.decoder.step(&parts.collect::<Vec<_>>(), &self.pool)?;
            read(self.decoder.gpu(), &scores, segments)
        });
        rows.unwrap_or_else(|panic| Err(GpuError::Device(panic))).map_err(|error| {
            self.decoder.recover(&self.pool);
            in_use(error)
        })
    }
}

/// Reads scores back: of the segments that the highest may be enough for, these.
fn read(gpu: &Gpu, scores: &Scores, segments: &[Segment<'_>]) -> Result<Rows, GpuError> {
    let temperatures = segments.iter().flat_map(|segment| std::iter::repeat_n(segment.temperature, segment.wanted));
    let temperatures: Vec<Option<f32>> = temperatures.collect();
    let wanted = temperatures.iter().enumerate().filter_map(|(row, temperature)| Some((row, (*temperature)?)));
    let wanted: Vec<(usize, f32)> = wanted.collect();
    if wanted.is_empty() {
        return scores.read(gpu).map(Rows::Whole);
    }
    let mut highest = scores.highest(gpu, &wanted)?.into_iter();
    let rows = temperatures.iter().enumerate().map(|(row, temperature)| {
        let Some(highest) = temperature.and_then(|_| highest.next()?) else {
            return scores.read_rows(gpu, row..row + 1).map(Row::Whole);
        };
        let Highest { candidates, is_all, weight } = highest;
        let (gpu, scores) = (gpu.clone(), scores.clone());
        let unread: Unread = Box::new(move || {
            let read = caught(|| scores.read_rows(&gpu, row..row + 1));
            read.unwrap_or_else(|panic| Err(GpuError::Device(panic))).map_err(in_use)
        });
        Ok(Row::Highest(Candidates { ranked: candidates, is_all, weight }, unread))
    });
    rows.collect::<Result<_, _>>().map(Rows::Apart)
}

/// A segment's tokens and how they are rotated, as the GPU's decoder takes them.
struct Part {
    tokens: Vec<u32>,
    rotations: Vec<Rotation>,
}

impl Part {
    fn new(segment: &Segment<'_>, config: &DecoderConfig) -> Self {
        let tokens: Vec<u32> = segment.unread().iter().map(|token| token.id).collect();
        let rotations = rotations(config, segment.regime(), segment.past, tokens.len());
        Self { tokens, rotations }
    }

    fn of<'a>(&'a self, segment: &Segment<'a>) -> codriver_gpu::Segment<'a> {
        codriver_gpu::Segment {
            tokens: &self.tokens,
            past: segment.past,
            pages: segment.blocks,
            rotations: &self.rotations,
            wanted: segment.wanted,
        }
    }
}

fn architecture(config: &DecoderConfig) -> Architecture {
    let head_dim = config.head_dim;
    Architecture {
        vocabulary: config.vocab_size,
        hidden_size: config.hidden_size,
        heads: config.num_attention_heads,
        key_value_heads: config.num_key_value_heads,
        head_dim,
        pairs: rotaries(config).map(|rotary| rotary.pairs(head_dim)).collect(),
        activation: match config.activation {
            Activation::Silu => codriver_gpu::Activation::Silu,
            Activation::Gelu => codriver_gpu::Activation::Gelu,
            Activation::GeluTanh => codriver_gpu::Activation::GeluTanh,
        },
        epsilon: config.rms_norm_eps as f32,
        attention_scale: config.attention_scale.unwrap_or_else(|| (head_dim as f64).powf(-0.5)) as f32,
        attention_soft_cap: config.attention_soft_cap.map(|cap| cap as f32),
        logit_soft_cap: config.logit_soft_cap.map(|cap| cap as f32),
        embedding_multiplier: config.embedding_multiplier as f32,
        residual_multiplier: config.residual_multiplier as f32,
        logit_divisor: config.logit_divisor as f32,
    }
}

/// The model's rotations: of all layers, and of those with a window where these have their own.
fn rotaries(config: &DecoderConfig) -> impl Iterator<Item = &RotaryConfig> {
    std::iter::once(&config.rotary).chain(&config.sliding_rotary)
}

fn rotations(config: &DecoderConfig, regime: Regime, past: usize, length: usize) -> Vec<Rotation> {
    let rotation = |rotary: &RotaryConfig| {
        let (cosines, sines) = rotary.angles(config.head_dim, regime, past..past + length);
        Rotation { cosines, sines }
    };
    rotaries(config).map(rotation).collect()
}

fn layer_of(config: &DecoderConfig, index: usize, layer: DecoderLayer) -> Result<Layer, ModelError> {
    let of_layer = config.layer(index);
    let attention = layer.self_attn;
    let own_rotation = config.sliding_rotary.is_some() && of_layer.sliding_window.is_some();
    let head_norms = attention.q_norm.as_ref().zip(attention.k_norm.as_ref());
    Ok(Layer {
        window: of_layer.sliding_window,
        rotation: (!of_layer.unrotated).then_some(usize::from(own_rotation)),
        input_norm: weight(&layer.input_layernorm),
        head_norms: head_norms.map(|(query, key)| (weight(query), weight(key))),
        query: linear(attention.q_proj)?,
        key: linear(attention.k_proj)?,
        value: linear(attention.v_proj)?,
        output: linear(attention.o_proj)?,
        post_attention_norm: weight(&layer.post_attention_layernorm),
        output_norms: layer.output_norms.as_ref().map(|norms| OutputNorms {
            before: weight(&norms.pre_feedforward_layernorm),
            after: weight(&norms.post_feedforward_layernorm),
        }),
        feed_forward: match layer.mlp {
            FeedForward::Dense(dense) => codriver_gpu::FeedForward::Dense(gated(dense)?),
            FeedForward::Sparse(sparse) => codriver_gpu::FeedForward::Sparse(Experts {
                router: linear(sparse.gate)?.weight,
                experts: sparse.experts.into_iter().map(gated).collect::<Result<_, _>>()?,
                used: sparse.config.num_experts_per_tok,
                normalized: sparse.config.norm_topk_prob,
            }),
        },
    })
}

fn gated(block: GatedLinear) -> Result<Gated, ModelError> {
    Ok(Gated { gate: linear(block.gate_proj)?, up: linear(block.up_proj)?, down: linear(block.down_proj)? })
}

fn linear(projection: Projection) -> Result<Linear, ModelError> {
    match projection {
        Projection::Resident(layer) => Ok(layer.into_linear()),
        Projection::Dense(_) | Projection::Packed(_) => Err(elsewhere()),
    }
}

fn elsewhere() -> ModelError {
    ModelError::Unsupported("the GPU's engine needs weights on the GPU".to_owned())
}

/// What failed once the model was loaded.
fn in_use(error: GpuError) -> ModelError {
    match error {
        GpuError::Device(reason) => failure(&reason),
        GpuError::Memory { .. } | GpuError::Buffer { .. } => ModelError::NoRoom { reason: error.to_string() },
        other => ModelError::Numeric(other.to_string()),
    }
}

fn weight(norm: &RmsNorm) -> Vec<f32> {
    let gamma: Tensor<1> = norm.gamma.val();
    gamma.into_data().iter::<f32>().collect()
}

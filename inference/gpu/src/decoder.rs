//! A decoder, from tokens to scores.

mod feed_forward;
pub(crate) mod weights;
mod workspace;

use self::feed_forward::Block;
use self::weights::{Layer, OutputNorms, Stack, Weights};
use self::workspace::Workspace;
use crate::device::{Buffer, Gpu};
use crate::kernels::activation::Activation;
use crate::kernels::attention::Attention;
use crate::kernels::embedding;
use crate::kernels::norm::{Norm, Target};
use crate::kernels::positions::{Positions, Turn};
use crate::kernels::product::{Finish, multiply};
use crate::kernels::projection::Projection;
use crate::pool::LayerPages;
use crate::step::{Inputs, Tasks};
use crate::{GpuError, Matrix, PageFormat, PageShape, Pool, Scores, Segment};

/// A decoder's shape, and what its family adds to Llama's; layers' own features are in [`Layer`].
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    pub vocabulary: usize,
    pub hidden_size: usize,
    pub heads: usize,
    /// Divides `heads`.
    pub key_value_heads: usize,
    pub head_dim: usize,
    /// Of each of the model's rotations, how many pairs of a head's dimensions turn.
    pub pairs: Vec<usize>,
    pub activation: Activation,
    pub epsilon: f32,
    /// What attention scores are multiplied by.
    pub attention_scale: f32,
    /// Attention scores are bent to stay below this.
    pub attention_soft_cap: Option<f32>,
    /// The same for the scores of the next token.
    pub logit_soft_cap: Option<f32>,
    /// What embeddings are multiplied by.
    pub embedding_multiplier: f32,
    /// What blocks' outputs are multiplied by before they are added.
    pub residual_multiplier: f32,
    /// What the scores of the next token are divided by.
    pub logit_divisor: f32,
}

/// A decoder on a device.
#[derive(Debug)]
pub struct Decoder {
    gpu: Gpu,
    architecture: Architecture,
    table: Matrix,
    layers: Vec<ReadyLayer>,
    norm: Buffer,
    head: Option<Matrix>,
    workspace: Option<Workspace>,
}

/// A [`Layer`] as it is computed.
#[derive(Debug)]
struct ReadyLayer {
    window: Option<usize>,
    rotation: Option<usize>,
    input_norm: Buffer,
    projections: Stack,
    head_norms: Option<(Buffer, Buffer)>,
    output: Stack,
    post_attention_norm: Buffer,
    output_norms: Option<(Buffer, Buffer)>,
    block: Block,
}

impl Decoder {
    /// Puts a decoder together; matrices of one input become one.
    pub fn new(gpu: &Gpu, architecture: Architecture, weights: Weights) -> Result<Self, GpuError> {
        let layers = weights.layers.into_iter().map(|layer| ReadyLayer::new(gpu, layer));
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            table: weights.table,
            norm: gpu.floats(&weights.norm)?,
            head: weights.head,
            workspace: None,
            gpu: gpu.clone(),
            architecture,
        })
    }

    /// The decoder on a device [without tiles](Gpu::without_tiles).
    #[must_use]
    pub fn without_tiles(self) -> Self {
        Self { gpu: self.gpu.without_tiles(), ..self }
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Computes the segments' tokens, all at once: their keys and values are in the pool's pages
    /// afterwards, and the scores that were wanted in what is returned. No two segments may write to
    /// one page.
    ///
    /// # Errors
    /// After one, and after one of reading the scores, [`Decoder::recover`] comes before the next step.
    pub fn step(&mut self, segments: &[Segment<'_>], pool: &Pool) -> Result<Scores, GpuError> {
        if pool.shape().head_dim != self.architecture.head_dim
            || pool.shape().heads != self.architecture.key_value_heads
        {
            return Err(GpuError::Step("pages of another model".to_owned()));
        }
        let inputs = Inputs::new(&self.gpu, &self.architecture, pool, segments)?;
        let room = Workspace::fitting(self.workspace.take(), &self.gpu, &self.needs(), inputs.count)?;
        let scores = self.compute(&inputs, pool, &room);
        self.workspace = Some(room);
        scores
    }

    /// Goes on after a step that failed: the pool's pages hold what they held before, but for those of
    /// the step's own tokens, of which nothing is known.
    pub fn recover(&mut self, pool: &Pool) {
        self.workspace = None;
        pool.vouch(&self.gpu);
    }

    fn compute(&self, inputs: &Inputs, pool: &Pool, room: &Workspace) -> Result<Scores, GpuError> {
        let (gpu, architecture) = (&self.gpu, &self.architecture);
        let (rows, vocabulary) = (inputs.chosen_count, architecture.vocabulary);
        let parts = gpu.room(inputs.split.count * architecture.heads * inputs.splits * (architecture.head_dim + 2))?;
        let buffer = gpu.room(rows * vocabulary)?;
        gpu.ensure(&[&parts, &buffer])?;
        let multiplier = architecture.embedding_multiplier;
        embedding::look_up(gpu, &self.table, &inputs.tokens, room.hidden(), inputs.count, multiplier);
        for (index, layer) in self.layers.iter().enumerate() {
            let pages = pool.layer(index).ok_or_else(|| GpuError::Step("pages of fewer layers".to_owned()))?;
            self.layer(layer, inputs, pages, room, &parts)?;
        }
        if rows > 0 {
            self.norm(&self.norm).apply(gpu, room.hidden(), room.normed(), rows, Target::Chosen(&inputs.chosen));
            let finish = Finish {
                multiplier: 1.0 / architecture.logit_divisor,
                cap: architecture.logit_soft_cap,
                ..Finish::plain()
            };
            let head = self.head.as_ref().unwrap_or(&self.table);
            let output = workspace::rows(&buffer, vocabulary);
            multiply(gpu, head, room.normed(), output, rows, &finish, None);
        }
        Ok(Scores { buffer, rows, vocabulary })
    }

    fn layer(
        &self,
        layer: &ReadyLayer,
        inputs: &Inputs,
        pages: &LayerPages,
        room: &Workspace,
        parts: &Buffer,
    ) -> Result<(), GpuError> {
        let (gpu, architecture) = (&self.gpu, &self.architecture);
        let multiplier = architecture.residual_multiplier;
        self.attend(layer, inputs, pages, room, parts);
        match &layer.output_norms {
            None => {
                room.project(gpu, &layer.output, room.attended(), room.hidden(), inputs.count, Some(multiplier));
                let norm = self.norm(&layer.post_attention_norm);
                let input = norm.on_the_way(gpu, room.hidden(), room.normed(), inputs.count);
                layer.block.apply(gpu, architecture, room, input, room.hidden(), inputs.count, Some(multiplier))
            }
            Some((before, after)) => {
                room.project(gpu, &layer.output, room.attended(), room.output(), inputs.count, None);
                let norm = self.norm(&layer.post_attention_norm);
                norm.apply(gpu, room.output(), room.hidden(), inputs.count, Target::Added(multiplier));
                let input = self.norm(before).on_the_way(gpu, room.hidden(), room.normed(), inputs.count);
                layer.block.apply(gpu, architecture, room, input, room.output(), inputs.count, None)?;
                self.norm(after).apply(gpu, room.output(), room.hidden(), inputs.count, Target::Added(multiplier));
                Ok(())
            }
        }
    }

    /// From hidden states to mixed values.
    fn attend(&self, layer: &ReadyLayer, inputs: &Inputs, pages: &LayerPages, room: &Workspace, parts: &Buffer) {
        let (gpu, architecture) = (&self.gpu, &self.architecture);
        let shape = pages.shape;
        let turn = layer.rotation.and_then(|index| {
            let (cosines, sines) = inputs.rotations.get(index)?;
            Some(Turn { cosines, sines, pairs: *architecture.pairs.get(index)? })
        });
        let positions = Positions {
            heads: architecture.heads,
            shape,
            norms: layer.head_norms.as_ref().map(|(query, key)| (query, key)),
            epsilon: architecture.epsilon,
            turn,
            slots: &inputs.slots,
        };
        let norm = self.norm(&layer.input_norm);
        let whole = layer.projections.whole();
        let at_once =
            whole.map(|whole| Projection { norm, matrix: &whole.weight, bias: whole.bias.as_ref(), positions });
        if let Some(projection) = at_once.filter(|projection| projection.fits(inputs.count)) {
            projection.apply(gpu, room.hidden(), room.projected(), pages, inputs.count);
        } else {
            let input = norm.on_the_way(gpu, room.hidden(), room.normed(), inputs.count);
            room.project(gpu, &layer.projections, input, room.projected(), inputs.count, None);
            positions.apply(gpu, room.projected(), pages, inputs.count);
        }
        let attention = |tasks: &Tasks, splits| {
            if tasks.count == 0 {
                return;
            }
            let attention = Attention {
                heads: architecture.heads,
                shape,
                scale: architecture.attention_scale,
                soft_cap: architecture.attention_soft_cap,
                window: layer.window,
                tasks: &tasks.words,
                task_count: tasks.count,
                task_tokens: tasks.tokens,
                table: &inputs.table,
                splits,
            };
            attention.apply(gpu, room.projected(), pages, room.attended());
        };
        attention(&inputs.whole, None);
        attention(&inputs.split, Some((inputs.splits, parts)));
    }

    fn norm<'a>(&'a self, weight: &'a Buffer) -> Norm<'a> {
        Norm { weight, epsilon: self.architecture.epsilon, size: self.architecture.hidden_size }
    }

    /// What a token takes of the workspace.
    fn needs(&self) -> workspace::Needs {
        let architecture = &self.architecture;
        let blocks = self.layers.iter().map(|layer| layer.block.needs());
        workspace::Needs {
            hidden: architecture.hidden_size,
            projected: (architecture.heads + 2 * architecture.key_value_heads) * architecture.head_dim,
            attended: architecture.heads * architecture.head_dim,
            block: blocks.fold(Default::default(), workspace::BlockNeeds::and),
        }
    }
}

impl Architecture {
    /// The shape of pages of so many positions.
    pub fn page_shape(&self, page: usize, format: PageFormat) -> PageShape {
        PageShape { page, heads: self.key_value_heads, head_dim: self.head_dim, format }
    }
}

impl ReadyLayer {
    fn new(gpu: &Gpu, layer: Layer) -> Result<Self, GpuError> {
        let pair = |(first, second): (Vec<f32>, Vec<f32>)| -> Result<_, GpuError> {
            Ok((gpu.floats(&first)?, gpu.floats(&second)?))
        };
        let output_norms = layer.output_norms.map(|OutputNorms { before, after }| (before, after));
        Ok(Self {
            window: layer.window,
            rotation: layer.rotation,
            input_norm: gpu.floats(&layer.input_norm)?,
            projections: Stack::new(gpu, &[&layer.query, &layer.key, &layer.value])?,
            head_norms: layer.head_norms.map(pair).transpose()?,
            output: Stack::new(gpu, &[&layer.output])?,
            post_attention_norm: gpu.floats(&layer.post_attention_norm)?,
            output_norms: output_norms.map(pair).transpose()?,
            block: Block::new(gpu, layer.feed_forward)?,
        })
    }
}

//! What computes the steps of a model's sequences, and where their keys and values are.

mod resident;
mod tensors;

use burn::tensor::Device;
use codriver_kernels::{PAGE, PageFormat};

pub(crate) use self::resident::LIMITS as RESIDENT_LIMITS;
use self::resident::Resident;
use self::tensors::Tensors;
use crate::loader::decoder::DecoderSource;
use crate::loader::lora::Adapter;
use crate::loader::packing::Packing;
use crate::models::decoder::DecoderConfig;
use crate::models::rotary::Regime;
use crate::processor::Processor;
use crate::sampling::Candidates;
use crate::{Cancellation, ModelError};

/// Positions in a block of the cache.
pub(crate) const BLOCK: usize = PAGE;

/// A block of the cache: the keys and values of all layers and heads at [`BLOCK`] positions. The
/// scheduler gives out numbers from 0 on, and uses those that are free again before new ones.
pub(crate) type Block = u32;

/// A token of a sequence, and how its position is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) regime: Regime,
}

/// What a step reads of one sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    /// The sequence up to the end of what is read.
    pub(crate) sequence: &'a [Token],
    /// How many of them were read before; the others are read now, at least one, all of one regime.
    pub(crate) past: usize,
    /// The blocks of the sequence's positions, in order: position `p` is the `p % BLOCK`th of
    /// `blocks[p / BLOCK]`. Blocks that end before `past` may be shared with other segments.
    pub(crate) blocks: &'a [Block],
    /// After how many of the last tokens read the scores of the next one are wanted.
    pub(crate) wanted: usize,
    /// The temperature that tokens are chosen at where the highest scores may be enough for it.
    pub(crate) temperature: Option<f32>,
}

/// The scores that a step computed, a row after each token they were wanted of.
pub(crate) enum Rows {
    /// `[rows, vocab_size]`.
    Whole(Vec<f32>),
    Apart(Vec<Row>),
}

pub(crate) enum Row {
    Whole(Vec<f32>),
    /// The highest, and how all are read.
    Highest(Candidates, Unread),
}

/// Reads a row from where it was computed.
pub(crate) type Unread = Box<dyn FnOnce() -> Result<Vec<f32>, ModelError> + Send>;

impl Row {
    pub(crate) fn into_whole(self) -> Result<Vec<f32>, ModelError> {
        match self {
            Self::Whole(scores) => Ok(scores),
            Self::Highest(_, unread) => unread(),
        }
    }
}

impl Rows {
    /// All scores, `[rows, vocab_size]`.
    pub(crate) fn into_whole(self) -> Result<Vec<f32>, ModelError> {
        match self {
            Self::Whole(scores) => Ok(scores),
            Self::Apart(rows) => Ok(rows.into_iter().map(Row::into_whole).collect::<Result<Vec<_>, _>>()?.concat()),
        }
    }

    /// How many rows there are, of a vocabulary's scores each; `None` where that is no whole number.
    pub(crate) fn count(&self, vocabulary: usize) -> Option<usize> {
        match self {
            Self::Whole(scores) => scores.len().is_multiple_of(vocabulary).then(|| scores.len() / vocabulary.max(1)),
            Self::Apart(rows) => Some(rows.len()),
        }
    }

    /// The rows of each segment.
    pub(crate) fn split(self, segments: &[Segment<'_>], vocabulary: usize) -> Vec<Self> {
        let counts = segments.iter().map(|segment| segment.wanted);
        match self {
            whole if segments.len() == 1 => vec![whole],
            Self::Whole(scores) => {
                let mut rest = scores.as_slice();
                let mut rows = |count: usize| rest.split_off(..count * vocabulary).unwrap_or_default().to_vec();
                counts.map(|count| Self::Whole(rows(count))).collect()
            }
            Self::Apart(rows) => {
                let mut rest = rows.into_iter();
                counts.map(|count| Self::Apart(rest.by_ref().take(count).collect())).collect()
            }
        }
    }
}

impl<'a> Segment<'a> {
    /// The tokens to read.
    pub(crate) fn unread(&self) -> &'a [Token] {
        self.sequence.get(self.past..).unwrap_or_default()
    }

    /// How the positions of the tokens to read are rotated.
    pub(crate) fn regime(&self) -> Regime {
        self.unread().first().map_or(Regime::Usual, |token| token.regime)
    }
}

/// Tokens of a prompt that are read at once on this machine's processor: it bounds what is held
/// between two products, and how long others wait.
pub(crate) const PREFILL_TOKENS: usize = 256;

/// What a network can do in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Sequences.
    pub(crate) sequences: usize,
    /// Tokens of all sequences together.
    pub(crate) tokens: usize,
}

/// Reads tokens of several sequences at once.
///
/// A token's scores, keys and values depend on its sequence up to it, and on nothing else, to the
/// last bit: not on what else is read in the step, nor in how many steps the sequence is read. So
/// blocks can be shared, drafts checked, and steps done again.
pub(crate) trait Network: Send {
    fn config(&self) -> &DecoderConfig;

    fn limits(&self) -> Limits;

    /// Bytes that a block takes.
    fn block_size(&self) -> usize;

    /// Makes a block that can be written, every number in it finite, whatever it held.
    ///
    /// # Errors
    /// Where there is no memory for it.
    fn provide(&mut self, block: Block) -> Result<(), ModelError>;

    /// Gives back the memory of a block that is not used any more.
    fn discard(&mut self, block: Block);

    /// Copies the first `positions` of a block to another one, which was just provided.
    fn copy(&mut self, from: Block, to: Block, positions: usize);

    /// Reads each segment's tokens, writes their keys and values into its blocks, and returns the
    /// scores that are wanted, one segment's after the other's.
    ///
    /// No two segments are of the same sequence. Nothing is lost by a step that fails or panics: the
    /// scheduler does it again, with each segment on its own, to see which one is at fault.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`] where `interrupted` is true, which is asked every so often.
    fn step(&mut self, segments: &[Segment<'_>], interrupted: &(dyn Fn() -> bool + Sync)) -> Result<Rows, ModelError>;
}

/// How a decoder becomes a network.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) adapters: &'a [Adapter],
    pub(crate) device: &'a Device,
    /// How keys and values are held.
    pub(crate) format: PageFormat,
    /// Ends the loading.
    pub(crate) cancellation: &'a Cancellation,
}

impl Opening<'_> {
    /// Loads a decoder: packed on this machine's processor or on a GPU, or as tensors on any device.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for what a GPU's kernels lack, too.
    pub(crate) fn open(self, source: DecoderSource, packing: Packing<'_>) -> Result<Box<dyn Network>, ModelError> {
        let format = self.format;
        if format != PageFormat::F32 && matches!(packing, Packing::Tensors) {
            return Err(ModelError::Unsupported(format!(
                "tensors hold keys and values as f32 only, not as {format}; leave that out, or take packed weights"
            )));
        }
        let fault = source.checkpoint().fault();
        let decoder = source.load(self.adapters, packing, self.cancellation)?;
        Ok(match packing {
            Packing::Packed { .. } => Box::new(Processor::new(decoder, format, fault)),
            Packing::Resident { .. } => Box::new(Resident::new(decoder, format)?),
            Packing::Tensors => Box::new(Tensors::new(decoder, self.device.clone())),
        })
    }
}

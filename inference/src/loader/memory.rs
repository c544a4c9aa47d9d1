//! What a model takes of the machine's memory, asked before it is loaded: a process that the
//! system kills for want of memory takes the notebook's state with it.

use std::fmt;
use std::path::Path;

use burn::tensor::Device;
use codriver_gpu::Gpu;
use codriver_kernels::{PAGE, PageFormat, PageShape};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::checkpoint::Checkpoint;
use super::decoder::DecoderSource;
use super::packing::Packing;
use super::{ModelFiles, encoder, file_error};
use crate::models::decoder::DecoderConfig;
use crate::network::{PREFILL_TOKENS, RESIDENT_LIMITS};
use crate::processor::SEQUENCES;
use crate::{ModelError, embedder};

/// What running a model takes, in bytes, and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The weights as the engine holds them.
    pub weights: u64,
    /// The keys and values of a full window; 0 for encoders.
    pub cache: u64,
    /// The most that is computed with at once, what the tokenizer takes, and the largest tensor on its way
    /// into the model.
    pub workspace: u64,
    /// The tokens that `cache` and `workspace` are for.
    pub window: usize,
    /// Memory that can be had now, of the machine and of the process' control group; `None` where
    /// the system does not say.
    pub available: Option<u64>,
}

impl MemoryEstimate {
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.cache).saturating_add(self.workspace)
    }
}

/// What the model at a path takes when its window is full.
///
/// # Errors
/// Where the model cannot be loaded for what its configuration or the list of its tensors says.
pub fn memory_estimate(path: &Path) -> Result<MemoryEstimate, ModelError> {
    let device = Device::flex();
    let demand = match encoder::demand(&embedder::encoder_folder(path)?, &device)? {
        Some(demand) => demand,
        None => {
            let source = DecoderSource::open(&ModelFiles::open(path)?, &device)?;
            Demand::of_decoder(&source, Packing::Packed { quantization: None }, PageFormat::default())
        }
    };
    Ok(demand.with_window(demand.window, available()))
}

/// The environment variable that has models loaded whatever they take.
const IGNORE: &str = "CODRIVER_IGNORE_MEMORY";

/// Windows are not cut below this to fit into memory: too little of a conversation would.
const SHORTEST_WINDOW: usize = 4096;

/// Tokens of other requests whose keys and values there is room for at most.
const MORE_ROOM: usize = 16384;

const FLOAT: u64 = size_of::<f32>() as u64;

/// Bytes that a tokenizer takes for each word of its vocabulary, measured.
const WORD: u64 = 400;

/// Bytes that a token of a sequence takes besides its keys and values: where it is listed.
const TOKEN: u64 = 128;

/// Rows of queries that attention takes at once, and positions in one of its stretches.
const ATTENTION_ROWS: u64 = 32;
const ATTENTION_STRETCH: u64 = 512;

/// What a model takes, by the length of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) weights: u64,
    /// Of the workspace, what is the same for any window.
    pub(crate) fixed: u64,
    pub(crate) cache_per_token: u64,
    pub(crate) workspace_per_token: u64,
    /// The model's own window.
    pub(crate) window: usize,
}

impl Demand {
    /// What a decoder takes whose keys and values are held as `format`.
    pub(crate) fn of_decoder(source: &DecoderSource, packing: Packing<'_>, format: PageFormat) -> Self {
        let (config, checkpoint) = (source.config(), source.checkpoint());
        let Sizes { weights, largest, largest_held } = sizes(checkpoint, packing);
        // A config.json may claim any number of layers; those without tensors are an error later.
        let layers = config.num_hidden_layers.min(checkpoint.names().count()) as u64;
        let step = Step::of(config, layers);
        let vocabulary = config.vocab_size as u64;
        // The tokenizer, in the bytes of its words, their numbers and the rules that join them.
        let tokenizer = WORD.saturating_mul(vocabulary);
        let (fixed, cache_per_token, workspace_per_token) = match packing {
            // Nothing is copied on its way but what is read of the file.
            Packing::Packed { .. } => {
                let scores = 2 * SEQUENCES as u64 * vocabulary;
                let floats = step.packed().saturating_mul(PREFILL_TOKENS as u64).saturating_add(scores);
                let fixed = FLOAT.saturating_mul(floats).max(largest_held).saturating_add(tokenizer);
                (fixed, step.pages(format), step.stretches().saturating_add(TOKEN))
            }
            Packing::Resident { .. } => {
                let limits = RESIDENT_LIMITS;
                let scores = limits.sequences as u64 * vocabulary;
                let floats = step.resident().saturating_mul(limits.tokens as u64).saturating_add(scores);
                // Matrices of one input become one. Where pages grow they are copied, and at worst the device's
                // allocator keeps what they were.
                let fixed = FLOAT.saturating_mul(floats).saturating_add(largest_held.saturating_mul(2));
                let grown = step.pages(format);
                (fixed, step.pages(format), grown.saturating_add(step.splits()))
            }
            Packing::Tensors => {
                let piece = step.tensors().saturating_mul(PREFILL_TOKENS as u64);
                let floats = piece.saturating_add(2 * vocabulary);
                let fixed = largest.saturating_add(FLOAT.saturating_mul(floats)).saturating_add(tokenizer);
                // Copies held at once: scores, masked and as weights.
                let scores = FLOAT * 3 * config.num_attention_heads as u64 * PREFILL_TOKENS as u64;
                (fixed, step.keys_and_values(), scores)
            }
        };
        // Keys and values lie in whole blocks, one of which may be a copy's.
        let fixed = fixed.saturating_add(cache_per_token.saturating_mul(2 * PAGE as u64));
        Self { weights, fixed, cache_per_token, workspace_per_token, window: config.max_position_embeddings }
    }

    fn with_window(&self, window: usize, available: Option<u64>) -> MemoryEstimate {
        MemoryEstimate {
            weights: self.weights,
            cache: self.cache_per_token.saturating_mul(window as u64),
            workspace: self.fixed.saturating_add(self.workspace_per_token.saturating_mul(window as u64)),
            window,
            available,
        }
    }

    /// Tokens to have room for keys and values of: a window's, and where memory allows, several
    /// requests' and what is kept of earlier ones.
    pub(crate) fn choose_room(&self, window: usize, available: Option<u64>) -> usize {
        let free = available.map_or(0, |available| available.saturating_sub(self.with_window(window, None).total()));
        let more = usize::try_from(free / 2 / self.cache_per_token.max(1)).unwrap_or(usize::MAX);
        window.saturating_add(more.min(MORE_ROOM))
    }

    /// The window to open a model with: the one asked for; where none is, the model's own, or if
    /// memory does not allow that, the longest that it does allow.
    pub(crate) fn choose_window(
        &self,
        path: &Path,
        asked: Option<usize>,
        available: Option<u64>,
    ) -> Result<usize, ModelError> {
        let window = asked.unwrap_or(self.window).clamp(1, self.window.max(1));
        let estimate = self.with_window(window, available);
        let Some(available) = available.filter(|available| estimate.total() > *available) else {
            return Ok(window);
        };
        let per_token = self.cache_per_token.saturating_add(self.workspace_per_token);
        let room = available.saturating_sub(self.weights).saturating_sub(self.fixed);
        let fits = usize::try_from(room / per_token.max(1)).unwrap_or(usize::MAX).min(window);
        if asked.is_none() && fits >= SHORTEST_WINDOW {
            tracing::warn!("{}: {estimate}; its window is cut to {fits} tokens", path.display());
            return Ok(fits);
        }
        let advice = if fits > 0 {
            format!("a window of {fits} tokens would fit, a smaller model too")
        } else {
            "take a smaller model, or end what else uses memory".to_string()
        };
        Err(file_error(path, format!("{estimate}; {advice}. {IGNORE}=1 loads it anyway")))
    }
}

/// The widths of what is computed with for a token, in numbers.
struct Step {
    layers: u64,
    hidden: u64,
    wide: u64,
    /// Of a mixture, how many a token goes through.
    experts: u64,
    heads: u64,
    key_value_heads: u64,
    head_dim: u64,
}

impl Step {
    fn of(config: &DecoderConfig, layers: u64) -> Self {
        Self {
            layers,
            hidden: config.hidden_size as u64,
            wide: config.intermediate_size.max(config.hidden_size) as u64,
            experts: config.experts.as_ref().map_or(1, |experts| experts.num_experts_per_tok.max(1) as u64),
            heads: config.num_attention_heads as u64,
            key_value_heads: config.num_key_value_heads as u64,
            head_dim: config.head_dim as u64,
        }
    }

    fn queries(&self) -> u64 {
        self.heads.saturating_mul(self.head_dim)
    }

    fn keys(&self) -> u64 {
        self.key_value_heads.saturating_mul(self.head_dim)
    }

    /// What the packed engine holds at once: the hidden states, a layer's input and output, inputs rounded
    /// for the products too; queries, keys, values and what is attended to; gates and what they gate.
    fn packed(&self) -> u64 {
        let attention = 4 * self.queries() + 2 * self.keys();
        (8 * self.hidden).saturating_add(attention).saturating_add(4 * self.wide)
    }

    /// What lies between the kernels of a GPU.
    fn resident(&self) -> u64 {
        let projected = 2 * self.queries() + 2 * self.keys();
        let gated = self.experts.saturating_mul(self.wide + if self.experts > 1 { self.hidden } else { 0 });
        (4 * self.hidden).saturating_add(projected).saturating_add(2 * self.wide).saturating_add(gated)
    }

    /// The parts of a layer as tensors.
    fn tensors(&self) -> u64 {
        8 * self.wide
    }

    /// Bytes of a position's keys and values.
    fn keys_and_values(&self) -> u64 {
        (2 * FLOAT).saturating_mul(self.layers.saturating_mul(self.keys()))
    }

    /// The same in pages of the packed engine.
    fn pages(&self, format: PageFormat) -> u64 {
        let words = PageShape { head_dim: self.head_dim as usize, format }.words() as u64;
        let page = self.layers.saturating_mul(self.key_value_heads).saturating_mul(words).saturating_mul(FLOAT);
        page.div_ceil(PAGE as u64)
    }

    /// Bytes by position of what the packed engine puts together where few tokens attend to many: a row for
    /// each stretch and each of a task's queries.
    fn stretches(&self) -> u64 {
        FLOAT.saturating_mul(self.keys()).saturating_mul(ATTENTION_ROWS) / ATTENTION_STRETCH
    }

    /// The same on a GPU.
    fn splits(&self) -> u64 {
        let parts = self.queries() + 2 * self.heads;
        FLOAT.saturating_mul(parts).saturating_mul(RESIDENT_LIMITS.sequences as u64) / ATTENTION_STRETCH
    }
}

impl fmt::Display for MemoryEstimate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "needs about {} of memory ({} weights", gigabytes(self.total()), gigabytes(self.weights))?;
        if self.cache > 0 {
            write!(formatter, ", {} keys and values of {} tokens", gigabytes(self.cache), self.window)?;
        }
        write!(formatter, ", {} to compute)", gigabytes(self.workspace))?;
        match self.available {
            Some(available) => write!(formatter, ", {} are available", gigabytes(available)),
            None => Ok(()),
        }
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// What a checkpoint's tensors take, in bytes.
pub(crate) struct Sizes {
    /// All of them, as they are held.
    pub(crate) weights: u64,
    /// The largest, in 32 bits.
    pub(crate) largest: u64,
    /// The largest, as it is held.
    pub(crate) largest_held: u64,
}

/// What all of a checkpoint's tensors take, and what the largest takes.
pub(crate) fn sizes(checkpoint: &Checkpoint, packing: Packing<'_>) -> Sizes {
    let mut sizes = Sizes { weights: 0, largest: 0, largest_held: 0 };
    for name in checkpoint.names() {
        let shape = checkpoint.shape(name).unwrap_or_default();
        let whole = shape.iter().fold(FLOAT, |size, dimension| size.saturating_mul(*dimension as u64));
        let held = packing.size(checkpoint, name, &shape).unwrap_or(whole);
        sizes.weights = sizes.weights.saturating_add(held);
        sizes.largest = sizes.largest.max(whole);
        sizes.largest_held = sizes.largest_held.max(held);
    }
    sizes
}

/// What a model may take of the machine's memory or of a GPU's, which do not say what of it is free;
/// `None` where nobody can tell or wants to.
pub(crate) fn available_on(gpu: Option<&Gpu>, ignore: bool) -> Option<u64> {
    let ignore = ignore || std::env::var_os(IGNORE).is_some_and(|value| !value.is_empty() && value != "0");
    match gpu {
        _ if ignore => None,
        Some(gpu) => gpu.memory(),
        None => available(),
    }
}

fn available() -> Option<u64> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    // Zero is how it says that it does not know.
    let machine = Some(system.available_memory()).filter(|bytes| *bytes > 0)?;
    // What the group holds of files can be had again, as the machine's own can.
    let group = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    Some(group.map_or(machine, |group| group.min(machine)))
}

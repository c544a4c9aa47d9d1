//! What a model takes of the machine's memory, asked before it is loaded: a process that the
//! system kills for want of memory takes the notebook's state with it.

use std::fmt;
use std::path::Path;

use burn::tensor::Device;
use codriver_gpu::Gpu;
use codriver_kernels::PageFormat;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::checkpoint::Checkpoint;
use super::decoder::DecoderSource;
use super::packing::Packing;
use super::{ModelFiles, encoder, file_error};
use crate::models::decoder::DecoderConfig;
use crate::network::PREFILL_TOKENS;
use crate::{ModelError, embedder};

/// What running a model takes, in bytes, and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The weights as the engine holds them.
    pub weights: u64,
    /// The keys and values of a full window; 0 for encoders.
    pub cache: u64,
    /// The most that is computed with at once, and the largest tensor on its way into the model.
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
            Demand::of_decoder(&source, Packing::Packed { quantization: None })
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
    /// What a decoder takes.
    pub(crate) fn of_decoder(source: &DecoderSource, packing: Packing<'_>) -> Self {
        let (weights, largest) = sizes(source.checkpoint(), packing);
        Self { weights, ..Self::of_config(source.config(), source.checkpoint(), largest) }
    }

    fn of_config(config: &DecoderConfig, checkpoint: &Checkpoint, largest: u64) -> Self {
        // A config.json may claim any number of layers; those without tensors are an error later.
        let layers = config.num_hidden_layers.min(checkpoint.names().count()) as u64;
        let keys = (config.num_key_value_heads as u64).saturating_mul(config.head_dim as u64);
        let wide = config.intermediate_size.max(config.hidden_size) as u64;
        // Copies held at once: scores, masked and as weights; the parts of a layer.
        let scores = 3 * config.num_attention_heads as u64 * PREFILL_TOKENS as u64;
        let piece = (8 * wide).saturating_mul(PREFILL_TOKENS as u64);
        Self {
            weights: 0,
            fixed: largest.saturating_add(FLOAT.saturating_mul(piece.saturating_add(2 * config.vocab_size as u64))),
            cache_per_token: (2 * FLOAT).saturating_mul(layers.saturating_mul(keys)),
            workspace_per_token: FLOAT.saturating_mul(scores),
            window: config.max_position_embeddings,
        }
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

    /// The same with keys and values in `format`.
    pub(crate) fn with_cache(self, format: PageFormat) -> Self {
        let cache_per_token = match format {
            PageFormat::F32 => self.cache_per_token,
            PageFormat::F16 => self.cache_per_token / 2,
            // A byte a number, and a scale for 32 of them or more.
            PageFormat::Q8 => self.cache_per_token.saturating_mul(9) / 32,
        };
        Self { cache_per_token, ..self }
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

/// What all of a checkpoint's tensors take, and what the largest takes on its way, in 32 bits.
pub(crate) fn sizes(checkpoint: &Checkpoint, packing: Packing<'_>) -> (u64, u64) {
    let size = |name| {
        let shape = checkpoint.shape(name).unwrap_or_default();
        let whole = shape.iter().fold(FLOAT, |size, dimension| size.saturating_mul(*dimension as u64));
        (packing.size(checkpoint, name, &shape).unwrap_or(whole), whole)
    };
    let sizes = checkpoint.names().map(size);
    sizes.fold((0_u64, 0_u64), |(sum, largest), (held, whole)| (sum.saturating_add(held), largest.max(whole)))
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

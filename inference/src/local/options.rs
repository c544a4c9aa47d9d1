//! How models are opened and asked.

use codriver_gpu::Gpu;
use codriver_kernels::{Format, PageFormat};

use crate::device::DeviceChoice;
use crate::loader::lora::Adapter;
use crate::loader::packing::Packing;
use crate::{Cancellation, Priority};

/// How a model is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    pub device: DeviceChoice,
    /// Adapters merged into the weights as they are read.
    pub adapters: Vec<Adapter>,
    /// Tokens, prompt and answer together, that are enough; `None` is all that the model can read
    /// and that memory allows.
    pub window: Option<usize>,
    /// Tokens of all requests together whose keys and values there is room for; `None` is a window's,
    /// and more where memory allows. A request that needs more is refused.
    pub cache_tokens: Option<usize>,
    /// How keys and values are held. In fewer bits, long prompts take less memory and are attended to
    /// faster, and scores differ a little.
    pub cache_format: PageFormat,
    /// What the weights are rounded to; `None` keeps the bits they have.
    pub quantization: Option<Format>,
    /// Computes with tensors of 32-bit floats: what packed weights and their products, the processor's
    /// and the GPU's, are compared with.
    pub as_tensors: bool,
    /// Ends the loading.
    pub cancellation: Cancellation,
    /// Loads the model even if memory seems not to suffice, as CODRIVER_IGNORE_MEMORY=1 does.
    pub ignore_memory: bool,
}

impl OpenOptions {
    /// What becomes of the weights; `gpu` is the device's, where it is one.
    pub(super) fn packing<'a>(&self, gpu: Option<&'a Gpu>) -> Packing<'a> {
        let quantization = self.quantization;
        match (self.device, gpu) {
            (DeviceChoice::Cpu, _) if !self.as_tensors => Packing::Packed { quantization },
            (_, Some(gpu)) if !self.as_tensors => Packing::Resident { quantization, gpu },
            _ => Packing::Tensors,
        }
    }
}

/// What computes a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Packed weights and kernels of the processor.
    Processor,
    /// Packed weights and kernels of a GPU.
    Gpu,
    /// Tensors of 32-bit floats on any device.
    Tensors,
}

impl Engine {
    pub(super) fn of(packing: Packing<'_>) -> Self {
        match packing {
            Packing::Packed { .. } => Self::Processor,
            Packing::Resident { .. } => Self::Gpu,
            Packing::Tensors => Self::Tensors,
        }
    }
}

/// How a prompt is continued, besides how tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletionOptions {
    pub priority: Priority,
    /// Whether tokens that have come before may be guessed, and several checked at once, where that
    /// is faster. The answer is the same.
    pub speculate: bool,
    /// Whether to go on past the tokens that end an answer.
    pub ignore_end: bool,
}

impl Default for CompletionOptions {
    /// A person waits; guesses are made; an answer ends where the model says so.
    fn default() -> Self {
        Self { priority: Priority::default(), speculate: true, ignore_end: false }
    }
}

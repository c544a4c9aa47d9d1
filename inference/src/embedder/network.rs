//! An embedding model's network, on whatever it runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use burn::tensor::Device;

use super::modules::{PackedStep, Step};
use super::packed::PackedEncoder;
use super::pooling::Pooling;
use crate::device::{self, caught};
use crate::models::encoder::Encoder;
use crate::{Cancellation, ModelError};

/// From a text's tokens to its vector.
pub(super) enum Network {
    /// On this machine's processor.
    Packed { encoder: Box<PackedEncoder>, pooling: Pooling, steps: Vec<PackedStep> },
    /// As tensors, on any device.
    Tensors { tensors: Mutex<Tensors>, device: Device },
}

/// A text as a network reads it.
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    /// Of which part of a pair each token is, from 0; empty for a text that is no pair.
    pub(super) types: Vec<u32>,
}

pub(super) struct Tensors {
    pub(super) encoder: Encoder,
    pub(super) pooling: Pooling,
    pub(super) steps: Vec<Step>,
}

/// Texts computed at once as tensors, at most, and tokens of them with padding.
const BATCH_TEXTS: usize = 32;
pub(crate) const BATCH_TOKENS: usize = 8192;

/// Numbers of a batch's widest part between two layers that the second-level cache holds beside
/// the weights in use.
const BATCH_NUMBERS: usize = 384 * 1024;

impl Network {
    /// The network of an encoder that reads texts of `window` tokens at most.
    pub(super) fn new(tensors: Tensors, window: usize, device: Device, as_tensors: bool) -> Result<Self, ModelError> {
        if as_tensors {
            return Ok(Self::Tensors { tensors: Mutex::new(tensors), device });
        }
        let Tensors { encoder, pooling, steps } = tensors;
        let parts_fit = || ModelError::Numeric("the encoder's weights could not be read back from memory".to_owned());
        let encoder = PackedEncoder::new(encoder, window).ok_or_else(parts_fit)?;
        let steps = steps.iter().map(PackedStep::of).collect::<Option<_>>().ok_or_else(parts_fit)?;
        Ok(Self::Packed { encoder: Box::new(encoder), pooling, steps })
    }

    /// A vector for each text, of whose tokens the first `prompt` are a prompt's. `on_done` is told
    /// of texts that are done, from any thread.
    pub(super) fn embed(
        &self,
        texts: &[Tokens],
        prompt: usize,
        cancellation: &Cancellation,
        on_done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        // Texts of like length share a batch; the longest come first, so that the cores end together.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(texts[*index].ids.len()));
        let batches = self.batches(&order, texts);
        let threads = if matches!(self, Self::Packed { .. }) { threads() } else { 1 };
        // Too few batches for all cores: the cores share each one.
        let spread = batches.len() < threads;
        let compute = |batch: usize| {
            if cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            let texts: Vec<&Tokens> = batches[batch].iter().map(|index| &texts[*index]).collect();
            let vectors = caught(|| self.compute(&texts, prompt, spread))
                .and_then(|computed| computed)
                .map_err(|reason| device::failure(&reason))?;
            on_done(texts.len());
            Ok(vectors)
        };
        let computed = in_parallel(batches.len(), if spread { 1 } else { threads }, compute)?;
        let mut vectors = vec![Vec::new(); texts.len()];
        for (batch, computed) in batches.iter().zip(computed) {
            let size = computed.len() / batch.len().max(1);
            for (index, vector) in batch.iter().zip(computed.chunks(size.max(1))) {
                vectors[*index] = vector.to_vec();
            }
        }
        Ok(vectors)
    }

    /// Texts that are computed together.
    fn batches<'a>(&self, order: &'a [usize], texts: &[Tokens]) -> Vec<&'a [usize]> {
        let fits = |batch: &[usize], next: usize| match self {
            Self::Packed { encoder, .. } => {
                let tokens: usize = batch.iter().map(|index| texts[*index].ids.len()).sum();
                (tokens + texts[next].ids.len()) * encoder.width() <= BATCH_NUMBERS
            }
            // The first one is the longest, and so long is each row.
            Self::Tensors { .. } => {
                let longest = batch.first().map_or(0, |first| texts[*first].ids.len());
                batch.len() < BATCH_TEXTS && (batch.len() + 1) * longest <= BATCH_TOKENS
            }
        };
        let mut batches = Vec::new();
        let mut start = 0;
        for index in 0..order.len() {
            if index > start && !fits(&order[start..index], order[index]) {
                batches.push(&order[start..index]);
                start = index;
            }
        }
        if start < order.len() {
            batches.push(&order[start..]);
        }
        batches
    }

    /// The vectors of some texts, `[texts, dimensions]`.
    fn compute(&self, texts: &[&Tokens], prompt: usize, spread: bool) -> Result<Vec<f32>, String> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        match self {
            Self::Packed { encoder, pooling, steps } => {
                let hidden = encoder.forward(texts, spread);
                let pooled = pooling.pool_rows(&hidden, encoder.size(), &lengths, prompt);
                let size = pooled.len() / texts.len().max(1);
                Ok(steps.iter().fold((pooled, size), |(vectors, size), step| step.apply(vectors, size)).0)
            }
            Self::Tensors { tensors, device } => {
                let tensors = tensors.lock().unwrap_or_else(PoisonError::into_inner);
                let ids: Vec<&[u32]> = texts.iter().map(|text| text.ids.as_slice()).collect();
                let types: Vec<&[u32]> = texts.iter().map(|text| text.types.as_slice()).collect();
                let hidden = tensors.encoder.forward(&ids, &types, device);
                let pooled = tensors.pooling.pool(&hidden, &lengths, prompt);
                let finished = tensors.steps.iter().fold(pooled, |vectors, step| step.apply(vectors));
                finished.try_into_vec_as::<f32>().map_err(|error| error.to_string())
            }
        }
    }
}

pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What `work` gives for each number below `count`, on some threads. They live as long as the call:
/// a long one leaves the pool that everyone shares to others, and the cores to the system's sharing.
pub(super) fn in_parallel<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T, ModelError> + Sync,
) -> Result<Vec<T>, ModelError> {
    if threads.min(count) < 2 {
        return (0..count).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(done);
            }
            match work(index) {
                Ok(value) => done.push((index, value)),
                Err(error) => {
                    // Nothing more is begun.
                    next.store(count, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let parts: Vec<Result<Vec<(usize, T)>, ModelError>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(some)).collect();
        let own = some();
        let lost = || Err(ModelError::Numeric("a thread of the embedder ended early".to_owned()));
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(|_| lost()));
        std::iter::once(own).chain(others.collect::<Vec<_>>()).collect()
    });
    let mut all = parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect::<Vec<_>>();
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, value)| value).collect())
}

//! A decoder with its cache, on whatever it runs.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::ModelError;
use crate::device::{self, caught};
use crate::models::decoder::{Decoder, DecoderConfig, KvCache};
use crate::models::rotary::Regime;
use crate::processor::{PagedCache, Processor};

/// One decoder and the keys and values of one sequence.
pub(crate) enum Network {
    /// Packed, on this machine's processor.
    Processor { processor: Box<Processor>, cache: PagedCache },
    /// As tensors, on any device.
    Tensors { decoder: Box<Decoder>, cache: KvCache, device: Device },
}

impl Network {
    /// A packed decoder runs on the processor, any other on its device.
    pub(crate) fn new(decoder: Decoder, device: Device) -> Self {
        if decoder.embed_tokens.as_packed().is_some() {
            let cache = PagedCache::new(&decoder.config);
            Self::Processor { processor: Box::new(Processor::new(decoder)), cache }
        } else {
            let cache = KvCache::new(&decoder.config, 1, &device);
            Self::Tensors { decoder: Box::new(decoder), cache, device }
        }
    }

    pub(crate) fn config(&self) -> &DecoderConfig {
        match self {
            Self::Processor { processor, .. } => processor.config(),
            Self::Tensors { decoder, .. } => &decoder.config,
        }
    }

    /// Goes back to the first `kept` positions, before a sequence of `expected` positions is read
    /// that may reach `capacity`.
    pub(crate) fn rewind(&mut self, kept: usize, expected: usize, capacity: usize) {
        match self {
            Self::Processor { cache, .. } => cache.truncate(kept),
            Self::Tensors { cache, .. } => {
                cache.truncate(kept);
                cache.reserve(capacity);
                cache.expect(expected);
            }
        }
    }

    /// Forgets the sequence: after a failure, what is cached may be broken too.
    pub(crate) fn forget(&mut self) {
        match self {
            Self::Processor { cache, .. } => cache.truncate(0),
            Self::Tensors { decoder, cache, device } => *cache = KvCache::new(&decoder.config, 1, device),
        }
    }

    /// Reads tokens, and returns the scores of the one that follows.
    pub(crate) fn read(&mut self, tokens: &[u32], regime: Regime) -> Result<Vec<f32>, ModelError> {
        self.check(tokens)?;
        match self {
            Self::Processor { processor, cache } => {
                caught(|| processor.scores(tokens, true, regime, cache)).map_err(failed)?
            }
            Self::Tensors { decoder, cache, device } => {
                let input = tensor(tokens, device);
                flatten(caught(|| {
                    let hidden = decoder.hidden(input, Some(cache));
                    let last = hidden.narrow(1, tokens.len() - 1, 1);
                    decoder.logits(last).try_into_vec_as::<f32>()
                }))
            }
        }
    }

    /// The scores after each token of a sequence on its own, one after the other.
    pub(crate) fn scores(&self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.check(tokens)?;
        match self {
            Self::Processor { processor, .. } => {
                let mut cache = PagedCache::new(processor.config());
                let regime = processor.config().regime(tokens.len());
                caught(|| processor.scores(tokens, false, regime, &mut cache)).map_err(failed)?
            }
            Self::Tensors { decoder, device, .. } => {
                let input = tensor(tokens, device);
                flatten(caught(|| decoder.forward(input).try_into_vec_as::<f32>()))
            }
        }
    }

    fn check(&self, tokens: &[u32]) -> Result<(), ModelError> {
        let vocabulary = self.config().vocab_size;
        match tokens.iter().find(|token| **token as usize >= vocabulary) {
            None => Ok(()),
            Some(token) => Err(ModelError::Tokenizer(format!(
                "token {token} is not in the model's vocabulary of {vocabulary}; tokenizer.json is not this model's"
            ))),
        }
    }
}

fn tensor(tokens: &[u32], device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
    let length = ids.len();
    Tensor::from_data(TensorData::new(ids, [1, length]), device)
}

fn flatten<T, E: ToString>(result: Result<Result<T, E>, String>) -> Result<T, ModelError> {
    result.and_then(|computed| computed.map_err(|error| error.to_string())).map_err(failed)
}

fn failed(reason: String) -> ModelError {
    device::failure(&reason)
}

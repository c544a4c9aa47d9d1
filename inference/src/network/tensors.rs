//! A decoder as tensors, on any device.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{BLOCK, Block, Limits, Network, PREFILL_TOKENS, Rows, Segment, Token};
use crate::ModelError;
use crate::device::{self, caught};
use crate::models::decoder::{Decoder, DecoderConfig, KvCache};
use crate::models::rotary::Regime;

/// Reads one sequence at a time, whose keys and values are tensors of their own: blocks mean
/// nothing here. What the cache does not hold of a sequence is read again.
pub(super) struct Tensors {
    decoder: Decoder,
    cache: KvCache,
    /// What the cache holds.
    read: Vec<Token>,
    device: Device,
}

/// Tokens by which the cache grows: each time, it is copied.
const ROOM: usize = 1024;

impl Tensors {
    pub(super) fn new(decoder: Decoder, device: Device) -> Self {
        let cache = KvCache::new(&decoder.config, 1, &device);
        Self { decoder, cache, read: Vec::new(), device }
    }

    fn segment(
        &mut self,
        segment: &Segment<'_>,
        interrupted: &(dyn Fn() -> bool + Sync),
        scores: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let sequence = segment.sequence;
        let same = self.read.iter().zip(sequence).take_while(|(read, token)| read == token).count();
        let held = same.min(segment.past);
        self.read.truncate(held);
        self.cache.truncate(held);
        self.cache.reserve(sequence.len().next_multiple_of(ROOM));
        let wanted_from = sequence.len().saturating_sub(segment.wanted);
        let rest = sequence.get(held..).unwrap_or_default();
        for run in rest.chunk_by(|one, next| one.regime == next.regime) {
            for piece in run.chunks(PREFILL_TOKENS) {
                if interrupted() {
                    return Err(ModelError::Cancelled);
                }
                let unwanted = wanted_from.saturating_sub(self.read.len()).min(piece.len());
                scores.extend(self.read(piece, unwanted)?);
            }
        }
        Ok(())
    }

    /// Reads tokens of one regime, and returns the scores after all but the first `unwanted`.
    fn read(&mut self, tokens: &[Token], unwanted: usize) -> Result<Vec<f32>, ModelError> {
        let expected = match tokens.first().map(|token| token.regime) {
            Some(Regime::Stretched(length)) => length,
            Some(Regime::Long) => usize::MAX,
            Some(Regime::Usual) | None => 0,
        };
        self.cache.expect(expected);
        let ids: Vec<i32> = tokens.iter().map(|token| token.id.cast_signed()).collect();
        let input: Tensor<2, Int> = Tensor::from_data(TensorData::new(ids, [1, tokens.len()]), &self.device);
        let hidden = self.decoder.hidden(input, Some(&mut self.cache));
        self.read.extend_from_slice(tokens);
        if unwanted == tokens.len() {
            return Ok(Vec::new());
        }
        let wanted = hidden.narrow(1, unwanted, tokens.len() - unwanted);
        let scores = self.decoder.logits(wanted).try_into_vec_as::<f32>();
        scores.map_err(|error| device::failure(&error.to_string()))
    }
}

impl Network for Tensors {
    fn config(&self) -> &DecoderConfig {
        &self.decoder.config
    }

    fn limits(&self) -> Limits {
        Limits { sequences: 1, tokens: PREFILL_TOKENS }
    }

    fn block_size(&self) -> usize {
        let config = &self.decoder.config;
        2 * size_of::<f32>() * BLOCK * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    }

    fn provide(&mut self, _: Block) -> Result<(), ModelError> {
        Ok(())
    }

    fn discard(&mut self, _: Block) {}

    fn copy(&mut self, _: Block, _: Block, _: usize) {}

    fn step(&mut self, segments: &[Segment<'_>], interrupted: &(dyn Fn() -> bool + Sync)) -> Result<Rows, ModelError> {
        let mut scores = Vec::new();
        // Drivers report trouble by panics.
        let computed =
            caught(|| segments.iter().try_for_each(|segment| self.segment(segment, interrupted, &mut scores)));
        let computed = computed.unwrap_or_else(|panic| Err(device::failure(&panic)));
        if computed.as_ref().is_err_and(|error| !matches!(error, ModelError::Cancelled)) {
            // What is cached may be broken too.
            self.read.clear();
            self.cache = KvCache::new(&self.decoder.config, 1, &self.device);
        }
        computed.map(|()| Rows::Whole(scores))
    }
}

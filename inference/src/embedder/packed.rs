//! An encoder on this machine's processor, without a tensor.
//!
//! The same network as [`Encoder::forward`], which it is tested against. Texts lie end to end
//! instead of in a rectangle: nothing is padding, and a text's vectors are the same bit for bit
//! whatever is computed beside it.

mod layers;

use codriver_kernels::{SelfAttention, Then, rotate};

use self::layers::{Layer, numbers};
pub(super) use self::layers::{Norm, panels};
use super::network::Tokens;
use crate::models::encoder::bert::{BertEncoder, bucket};
use crate::models::encoder::{Encoder, ModernEncoder};
use crate::models::rotary::{Regime, RotaryConfig};

/// An encoder's weights as products read them.
pub(super) struct PackedEncoder {
    size: usize,
    heads: usize,
    head_dim: usize,
    /// `[vocabulary, size]`.
    words: Vec<f32>,
    positions: Option<Positions>,
    embeddings_norm: Norm,
    layers: Vec<Layer>,
    final_norm: Option<Norm>,
    /// MPNet's biases by distance, `[heads, 2 * longest - 1]`.
    distances: Option<Vec<f32>>,
    /// The rotary positions of layers that see the whole text, and of local ones.
    rotary: Option<[RotaryConfig; 2]>,
}

/// Learned vectors of positions, with that of token type 0 added.
struct Positions {
    /// `[positions, size]`.
    vectors: Vec<f32>,
    /// What the other token types add to that of type 0, `[types - 1, size]`.
    types: Vec<f32>,
    /// RoBERTa's numbering; see [`BertEncoder::padding_token`].
    padding_token: Option<u32>,
}

/// Numbers between the halves of a feed-forward block at a time: they stay in the second-level
/// cache.
const WIDE: usize = 256 * 1024;

impl PackedEncoder {
    /// Packs an encoder, layer by layer. `None` where its parts do not fit each other.
    pub(super) fn new(encoder: Encoder, window: usize) -> Option<Self> {
        match encoder {
            Encoder::Bert(encoder) => Self::of_bert(encoder, window),
            Encoder::Modern(encoder) => Self::of_modern(encoder),
        }
    }

    fn of_bert(encoder: BertEncoder, window: usize) -> Option<Self> {
        let epsilon = encoder.epsilon;
        let embeddings_norm = Norm::of(&encoder.embeddings_norm, epsilon);
        let size = embeddings_norm.size();
        let mut vectors = numbers(encoder.position_embeddings.weight.val());
        let mut types = Vec::new();
        if let Some(embeddings) = &encoder.token_type_embeddings {
            types = numbers(embeddings.weight.val());
            let first: Vec<f32> = types.drain(..size.min(types.len())).collect();
            for vector in vectors.chunks_exact_mut(size) {
                vector.iter_mut().zip(&first).for_each(|(value, of_type)| *value += of_type);
            }
            for vector in types.chunks_exact_mut(size) {
                vector.iter_mut().zip(&first).for_each(|(value, of_type)| *value -= of_type);
            }
        }
        let heads = encoder.heads;
        let distances = encoder.relative_attention_bias.map(|bias| {
            let biases = numbers(bias.weight.val());
            let longest = window.max(1);
            // From the earliest key that the last token sees to the last one that the first sees.
            let of_head = |head: usize| {
                let biases = &biases;
                (0..2 * longest - 1).map(move |offset| {
                    let (query, key) = (longest - 1, offset);
                    biases.get(bucket(query, key) * heads + head).copied().unwrap_or_default()
                })
            };
            (0..heads).flat_map(of_head).collect()
        });
        Some(Self {
            size,
            heads,
            head_dim: size / heads.max(1),
            words: numbers(encoder.word_embeddings.weight.val()),
            positions: Some(Positions { vectors, types, padding_token: encoder.padding_token }),
            embeddings_norm,
            layers: encoder.layers.into_iter().map(|layer| Layer::of_bert(layer, epsilon)).collect::<Option<_>>()?,
            final_norm: None,
            distances,
            rotary: None,
        })
    }

    fn of_modern(encoder: ModernEncoder) -> Option<Self> {
        let settings = encoder.settings;
        let embeddings_norm = Norm::of(&encoder.embeddings_norm, settings.epsilon);
        let rotary = |theta: f32| RotaryConfig { theta: f64::from(theta), ..RotaryConfig::default() };
        let layer = |layer| Layer::of_modern(layer, &settings);
        Some(Self {
            size: embeddings_norm.size(),
            heads: settings.heads,
            head_dim: settings.head_dim,
            words: numbers(encoder.embeddings.weight.val()),
            positions: None,
            embeddings_norm,
            layers: encoder.layers.into_iter().map(layer).collect::<Option<_>>()?,
            final_norm: Some(Norm::of(&encoder.final_norm, settings.epsilon)),
            distances: None,
            rotary: Some([rotary(settings.global_theta), rotary(settings.local_theta)]),
        })
    }

    /// The length of a token's vector.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Numbers that a token takes at its widest between the layers' products.
    pub(super) fn width(&self) -> usize {
        3 * self.heads * self.head_dim
    }

    /// The last hidden states of texts' tokens, one after the other, `[tokens, size]`; on all cores
    /// if `spread`.
    pub(super) fn forward(&self, texts: &[&Tokens], spread: bool) -> Vec<f32> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let tokens = lengths.iter().sum::<usize>();
        let width = self.heads * self.head_dim;
        let mut hidden = self.embed(texts, tokens);
        let mut normed = Vec::new();
        let mut parts = vec![0.0; tokens * 3 * width];
        let mut attended = vec![0.0; tokens * width];
        let turns = self.rotary.as_ref().map(|kinds| {
            let longest = lengths.iter().copied().max().unwrap_or_default();
            kinds.each_ref().map(|rotary| rotary.angles(self.head_dim, Regime::Usual, 0..longest))
        });
        for layer in &self.layers {
            let input = layer.attention_norm.before(&hidden, &mut normed);
            layer.query_key_value.multiply(input, &mut parts, Then::Replace, spread);
            if let Some([global, local]) = &turns {
                let angles = if layer.reach.is_some() { local } else { global };
                self.rotate(&mut parts, &lengths, angles);
            }
            let attention = SelfAttention {
                heads: self.heads,
                head_dim: self.head_dim,
                reach: layer.reach,
                distances: self.distances.as_deref(),
            };
            attention.attend(&parts, &lengths, &mut attended, spread);
            layer.attention_output.multiply(&attended, &mut hidden, Then::Add, spread);
            layer.attention_norm.after(&mut hidden);

            let input = layer.feed_forward_norm.before(&hidden, &mut normed).to_vec();
            let rows = if spread { tokens } else { (WIDE / layer.wide.outputs()).max(1) };
            let inputs = input.chunks(rows.max(1) * self.size);
            for (input, output) in inputs.zip(hidden.chunks_mut(rows.max(1) * self.size)) {
                layer.feed_forward(input, output, spread);
            }
            layer.feed_forward_norm.after(&mut hidden);
        }
        if let Some(norm) = &self.final_norm {
            norm.apply(&mut hidden);
        }
        hidden
    }

    /// The tokens' embeddings, normalized.
    fn embed(&self, texts: &[&Tokens], tokens: usize) -> Vec<f32> {
        let mut hidden = Vec::with_capacity(tokens * self.size);
        let row = |table: &[f32], row: usize| -> std::ops::Range<usize> {
            // Tokens and lengths are checked before; a row that is not there is the last one.
            let row = row.min((table.len() / self.size).saturating_sub(1));
            row * self.size..(row + 1) * self.size
        };
        for text in texts {
            let mut counted = 0;
            for (index, token) in text.ids.iter().enumerate() {
                let start = hidden.len();
                hidden.extend_from_slice(&self.words[row(&self.words, *token as usize)]);
                let Some(Positions { vectors, types, padding_token }) = &self.positions else { continue };
                let position = match padding_token {
                    None => index,
                    Some(padding) if token == padding => *padding as usize,
                    Some(padding) => {
                        counted += 1;
                        *padding as usize + counted
                    }
                };
                for (value, position) in hidden[start..].iter_mut().zip(&vectors[row(vectors, position)]) {
                    *value += position;
                }
                let other = text.types.get(index).and_then(|part| (*part as usize).checked_sub(1));
                if let Some(other) = other.filter(|_| !types.is_empty()) {
                    hidden[start..].iter_mut().zip(&types[row(types, other)]).for_each(|(value, part)| *value += part);
                }
            }
        }
        self.embeddings_norm.apply(&mut hidden);
        hidden
    }

    /// Turns queries and keys by their positions.
    fn rotate(&self, parts: &mut [f32], lengths: &[usize], (cosine, sine): &(Vec<f32>, Vec<f32>)) {
        let pairs = (self.head_dim / 2).max(1);
        let width = self.heads * self.head_dim;
        let positions = lengths.iter().flat_map(|length| 0..*length);
        for (parts, position) in parts.chunks_exact_mut(3 * width).zip(positions) {
            let angles = position * pairs..(position + 1) * pairs;
            for head in parts[..2 * width].chunks_exact_mut(self.head_dim) {
                rotate(head, &cosine[angles.clone()], &sine[angles.clone()]);
            }
        }
    }
}

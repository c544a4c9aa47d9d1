//! What each token of a tokenizer writes, in bytes.

use std::collections::BTreeMap;

use tokenizers::{AddedToken, Decoder, DecoderWrapper, Tokenizer};

/// The bytes of each token, as they read in the middle of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTable {
    /// By id. Empty where nothing is known: such a token is never admitted.
    pub bytes: Vec<Vec<u8>>,
    /// Control tokens by id. They are no text: only a grammar that names one admits it.
    pub special: BTreeMap<u32, String>,
    /// Whether the first token of a text loses a space it begins with (`▁` of SentencePiece).
    pub strips_leading_space: bool,
    /// Tokens that read otherwise at the beginning of a text, apart from such a space.
    pub not_first: Vec<u32>,
}

impl TokenTable {
    /// The tokens of a tokenizer, up to `size` of them, by what its decoder makes of them:
    /// byte-level BPE, SentencePiece with byte fallback, WordPiece and others alike.
    pub fn read(tokenizer: &Tokenizer, size: usize) -> Self {
        let added = tokenizer.get_added_tokens_decoder();
        let speller = Speller::new(tokenizer.get_decoder());
        let mut table = Self::default();
        let known = tokenizer.get_vocab_size(true).max(added.keys().max().map_or(0, |id| *id as usize + 1));
        for id in (0_u32..).take(known.min(size)) {
            let name = tokenizer.id_to_token(id);
            if let (Some(name), Some(token)) = (&name, added.get(&id))
                && is_control(token)
            {
                table.special.insert(id, name.clone());
            }
            let bytes = name.and_then(|name| speller.spell(&name, false)).unwrap_or_default();
            table.bytes.push(bytes);
        }
        table.read_beginnings(tokenizer, &speller);
        table
    }

    /// How tokens read that open a text.
    fn read_beginnings(&mut self, tokenizer: &Tokenizer, speller: &Speller) {
        if matches!(speller, Speller::ByteLevel(_)) {
            return;
        }
        for (id, bytes) in (0_u32..).zip(&self.bytes) {
            let first = tokenizer.id_to_token(id).and_then(|name| speller.spell(&name, true));
            let Some(first) = first.filter(|_| !bytes.is_empty()) else { continue };
            if first == *bytes {
                continue;
            }
            if bytes.strip_prefix(b" ") == Some(&first) {
                self.strips_leading_space = true;
            } else {
                self.not_first.push(id);
            }
        }
    }
}

/// Whether an added token frames text and is none: declared special, or written like a marker.
fn is_control(token: &AddedToken) -> bool {
    let (first, last) = (token.content.chars().next(), token.content.chars().last());
    let bracketed = matches!((first, last), (Some('<'), Some('>')) | (Some('['), Some(']')));
    token.special || (bracketed && token.content.chars().count() > 2)
}

/// Spells tokens as the tokenizer's decoder does.
enum Speller<'a> {
    /// Each character stands for a byte (GPT-2).
    ByteLevel(BTreeMap<char, u8>),
    Decoder {
        decoder: Option<&'a DecoderWrapper>,
        byte_fallback: bool,
        /// What [`NEIGHBOUR`] reads like after another token.
        neighbour: String,
    },
}

/// Stands before and after a token, so that it is decoded as in the middle of a text.
const NEIGHBOUR: &str = "a";

impl<'a> Speller<'a> {
    fn new(decoder: Option<&'a DecoderWrapper>) -> Self {
        if decoder.is_some_and(is_byte_level) {
            return Self::ByteLevel(byte_letters());
        }
        let both = decode(decoder, &[NEIGHBOUR, NEIGHBOUR]).unwrap_or_default();
        Self::Decoder {
            decoder,
            byte_fallback: decoder.is_some_and(has_byte_fallback),
            neighbour: both.strip_prefix(NEIGHBOUR).unwrap_or(NEIGHBOUR).to_string(),
        }
    }

    /// The bytes of a token in the middle of a text, or at its beginning.
    fn spell(&self, name: &str, first: bool) -> Option<Vec<u8>> {
        match self {
            Self::ByteLevel(letters) => {
                let bytes: Option<Vec<u8>> = name.chars().map(|c| letters.get(&c).copied()).collect();
                // As the decoder does with tokens in other letters.
                Some(bytes.unwrap_or_else(|| name.as_bytes().to_vec()))
            }
            Self::Decoder { decoder, byte_fallback, neighbour } => {
                if let Some(byte) = fallback_byte(name).filter(|_| *byte_fallback) {
                    return Some(vec![byte]);
                }
                let text = if first {
                    decode(*decoder, &[name, NEIGHBOUR])?
                } else {
                    let text = decode(*decoder, &[NEIGHBOUR, name, NEIGHBOUR])?;
                    text.strip_prefix(NEIGHBOUR)?.to_string()
                };
                Some(text.strip_suffix(neighbour.as_str())?.as_bytes().to_vec())
            }
        }
    }
}

fn decode(decoder: Option<&DecoderWrapper>, names: &[&str]) -> Option<String> {
    let Some(decoder) = decoder else { return Some(names.join(" ")) };
    let names = names.iter().map(ToString::to_string).collect();
    decoder.decode_chain(names).ok().map(|pieces| pieces.concat())
}

fn is_byte_level(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteLevel(_) => true,
        DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().any(is_byte_level),
        _ => false,
    }
}

fn has_byte_fallback(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteFallback(_) => true,
        DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().any(has_byte_fallback),
        _ => false,
    }
}

/// The byte of a token such as `<0x0A>`.
fn fallback_byte(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The letter of each byte in byte-level vocabularies: itself if it can be seen.
fn byte_letters() -> BTreeMap<char, u8> {
    let visible = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shown = (0..=255).filter(visible).map(|byte| (char::from(byte), byte));
    let hidden = (0..=255).filter(|byte| !visible(byte));
    shown.chain((256..).filter_map(char::from_u32).zip(hidden)).collect()
}

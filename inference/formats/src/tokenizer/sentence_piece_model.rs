//! SentencePiece's own file, `tokenizer.model`: a protocol buffer with the vocabulary and how it
//! is used (<https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>).

use super::rebuilt::{Algorithm, Rebuilt};
use super::sentence_piece::SentencePiece;
use super::special::SpecialTokens;
use super::unigram::{Spaces, Unigram};
use super::vocabulary::{Kind, Spelling, Token, Vocabulary};

/// Numbers of fields, as the file's description gives them.
mod field {
    pub(super) const PIECES: u64 = 1;
    pub(super) const TRAINER: u64 = 2;
    pub(super) const NORMALIZER: u64 = 3;
    pub(super) const PIECE_TEXT: u64 = 1;
    pub(super) const PIECE_SCORE: u64 = 2;
    pub(super) const PIECE_KIND: u64 = 3;
    pub(super) const MODEL_TYPE: u64 = 3;
    pub(super) const UNKNOWN: u64 = 40;
    pub(super) const BEGINNING: u64 = 41;
    pub(super) const END: u64 = 42;
    pub(super) const PADDING: u64 = 43;
    pub(super) const CHARACTER_MAP: u64 = 2;
    pub(super) const PREFIX: u64 = 3;
    pub(super) const MERGED: u64 = 4;
}

const UNIGRAM: u64 = 1;
const BPE: u64 = 2;

/// Rebuilds the tokenizer in a file's bytes.
///
/// # Errors
/// What the file has and should not, in words.
pub(super) fn rebuild(bytes: &[u8]) -> Result<(Rebuilt, SpecialTokens), String> {
    let mut tokens = Vec::new();
    // The defaults of the file's description.
    let mut model_type = UNIGRAM;
    let mut ids =
        [(field::UNKNOWN, Some(0)), (field::BEGINNING, Some(1)), (field::END, Some(2)), (field::PADDING, None)];
    let mut characters: &[u8] = &[];
    let mut spaces = Spaces { prefixed: true, merged: true };
    for entry in fields(bytes) {
        match entry? {
            (field::PIECES, Field::Bytes(piece)) => tokens.push(token(piece)?),
            (field::TRAINER, Field::Bytes(trainer)) => {
                for entry in fields(trainer) {
                    let (number, Field::Number(value)) = entry? else { continue };
                    if number == field::MODEL_TYPE {
                        model_type = value;
                    }
                    if let Some((_, id)) = ids.iter_mut().find(|(field, _)| *field == number) {
                        // -1 is none.
                        *id = u32::try_from(value).ok();
                    }
                }
            }
            (field::NORMALIZER, Field::Bytes(normalizer)) => {
                for entry in fields(normalizer) {
                    match entry? {
                        (field::CHARACTER_MAP, Field::Bytes(map)) => characters = map,
                        (field::PREFIX, Field::Number(flag)) => spaces.prefixed = flag != 0,
                        (field::MERGED, Field::Number(flag)) => spaces.merged = flag != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let vocabulary = Vocabulary::new(tokens, Spelling::EscapedSpaces)?;
    let [unk, bos, eos, pad] = ids.map(|(_, id)| id.filter(|id| vocabulary.get(*id).is_some()));
    let ends = eos.into_iter().collect();
    let special = SpecialTokens { bos, eos, unk, pad, ends, add_space_prefix: spaces.prefixed, ..Default::default() };
    let (algorithm, special) = match model_type {
        BPE => {
            let algorithm = Algorithm::SentencePiece(SentencePiece::new(&vocabulary, unk)?);
            (algorithm, SpecialTokens { add_bos: bos.is_some(), ..special })
        }
        UNIGRAM => {
            let algorithm = Algorithm::Unigram(Unigram::new(&vocabulary, unk, characters, spaces)?);
            (algorithm, SpecialTokens { add_eos: eos.is_some(), ..special })
        }
        _ => return Err("is neither a unigram nor a BPE model; use the model's tokenizer.json".to_string()),
    };
    Ok((Rebuilt::new(vocabulary, algorithm, &special), special))
}

fn token(bytes: &[u8]) -> Result<Token, String> {
    let mut token = Token { text: String::new(), score: 0.0, kind: Kind::NORMAL };
    for entry in fields(bytes) {
        match entry? {
            (field::PIECE_TEXT, Field::Bytes(text)) => {
                let text = std::str::from_utf8(text).map_err(|_| "has a token that is not UTF-8".to_string())?;
                token.text = text.to_string();
            }
            (field::PIECE_SCORE, Field::Float(score)) => token.score = score,
            (field::PIECE_KIND, Field::Number(kind)) => {
                token.kind = Kind::from_number(i64::try_from(kind).unwrap_or_default());
            }
            _ => {}
        }
    }
    Ok(token)
}

/// A protocol buffer's value.
enum Field<'b> {
    Number(u64),
    Float(f32),
    Bytes(&'b [u8]),
}

/// The fields of a protocol buffer's message, numbered.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Field<'_>), String>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = next_field(&mut bytes);
        if field.is_none() {
            bytes = &[];
        }
        Some(field.ok_or_else(|| "is no SentencePiece model, or a damaged one: get it again".to_string()))
    })
}

fn next_field<'b>(bytes: &mut &'b [u8]) -> Option<(u64, Field<'b>)> {
    let tag = variable_length(bytes)?;
    let field = match tag & 7 {
        0 => Field::Number(variable_length(bytes)?),
        1 => Field::Bytes(take(bytes, 8)?),
        2 => {
            let length = usize::try_from(variable_length(bytes)?).ok()?;
            Field::Bytes(take(bytes, length)?)
        }
        5 => Field::Float(f32::from_le_bytes(*take(bytes, 4)?.first_chunk()?)),
        _ => return None,
    };
    Some((tag >> 3, field))
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// A number in groups of seven bits, lowest first.
fn variable_length(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

//! SentencePiece's precompiled character map: normalization (usually NFKC and a little more) as a
//! prefix tree from texts to their replacements.
//!
//! Four bytes say how long the tree is. It is an XOR-compressed double array (Kanda 2018) of
//! 32-bit units: the offset to a node's children in bits 10 to 30 (times 256 where bit 9 is set),
//! whether a key ends there in bit 8, the byte that leads there in bits 0 to 7; a unit with bit 31
//! holds a replacement's position. The replacements follow, each ended by a zero byte.

/// The map; empty where a model has none.
#[derive(Debug, Default)]
pub(super) struct CharacterMap {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

impl CharacterMap {
    /// # Errors
    /// A map that is shorter than it says, or whose replacements are not text.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let damaged = || "has a damaged character map (tokenizer.ggml.precompiled_charsmap)".to_string();
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (tree, replacements) = rest.split_at_checked(length).ok_or_else(damaged)?;
        if replacements.last() != Some(&0) || std::str::from_utf8(replacements).is_err() {
            return Err(damaged());
        }
        let units = tree.chunks_exact(4).filter_map(|unit| unit.first_chunk::<4>());
        let units = units.map(|unit| u32::from_le_bytes(*unit)).collect();
        Ok(Self { units, replacements: replacements.to_vec() })
    }

    /// The replacement of the longest beginning of a text that has one, and that beginning's length.
    pub(super) fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let mut found = None;
        let mut position = children(*self.units.first()?);
        for (index, byte) in text.bytes().enumerate() {
            position ^= u32::from(byte);
            let Some(unit) = self.units.get(position as usize).filter(|unit| leads_to(**unit, byte)) else {
                break;
            };
            position ^= children(*unit);
            if unit >> 8 & 1 == 1 {
                found = Some((*self.units.get(position as usize)?, index + 1));
            }
        }
        let (unit, length) = found?;
        let replacement = self.replacements.get((unit & !(1 << 31)) as usize..)?;
        let end = replacement.iter().position(|byte| *byte == 0)?;
        let replacement = std::str::from_utf8(replacement.get(..end)?).ok()?;
        text.is_char_boundary(length).then_some((replacement, length))
    }
}

/// Where a node's children begin, relative to it.
fn children(unit: u32) -> u32 {
    (unit >> 10) << ((unit & 1 << 9) >> 6)
}

/// Whether a byte leads to the node. No text has zero bytes as far as the tree is concerned: they
/// lead to its values.
fn leads_to(unit: u32, byte: u8) -> bool {
    byte != 0 && unit & (1 << 31 | 0xFF) == u32::from(byte)
}

//! How weights are held.

use std::fmt;
use std::str::FromStr;

use codriver_formats::gguf::TensorType;

use crate::activations::BLOCK;
use crate::packed::ROWS;

/// Columns that a K-quant describes together.
pub(crate) const SUPER_BLOCK: usize = 256;

/// How weights are held. The bits are those of the GGUF type of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    IQ4NL,
    IQ4XS,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// Every format, its GGUF type with the columns and bytes of a block, and what a group of sixteen
/// rows takes of a block: bytes a row for scales and for integers.
const FORMATS: [(Format, TensorType, [usize; 4]); 15] = [
    (Format::F32, TensorType::F32, [1, 4, 0, 4]),
    (Format::F16, TensorType::F16, [1, 2, 0, 2]),
    (Format::BF16, TensorType::BF16, [1, 2, 0, 2]),
    (Format::Q8_0, TensorType::Q8_0, [BLOCK, 34, 2, BLOCK]),
    (Format::Q4_0, TensorType::Q4_0, [BLOCK, 18, 2, BLOCK / 2]),
    // A scale and a minimum.
    (Format::Q4_1, TensorType::Q4_1, [BLOCK, 20, 4, BLOCK / 2]),
    // The fifth bits of all, then the other four.
    (Format::Q5_0, TensorType::Q5_0, [BLOCK, 22, 2, BLOCK / 8 + BLOCK / 2]),
    (Format::Q5_1, TensorType::Q5_1, [BLOCK, 24, 4, BLOCK / 8 + BLOCK / 2]),
    (Format::IQ4NL, TensorType::IQ4_NL, [BLOCK, 18, 2, BLOCK / 2]),
    // A scale, and eight bytes that multiply it.
    (Format::IQ4XS, TensorType::IQ4_XS, [SUPER_BLOCK, 136, 2 + 8, SUPER_BLOCK / 2]),
    // A scale and a minimum, and sixteen bytes that multiply both.
    (Format::Q2K, TensorType::Q2_K, [SUPER_BLOCK, 84, 4 + 16, SUPER_BLOCK / 4]),
    // A scale and sixteen bytes that multiply it; the third bits, then the other two.
    (Format::Q3K, TensorType::Q3_K, [SUPER_BLOCK, 110, 2 + 16, SUPER_BLOCK / 8 + SUPER_BLOCK / 4]),
    // A scale and a minimum, and eight bytes each that multiply them.
    (Format::Q4K, TensorType::Q4_K, [SUPER_BLOCK, 144, 4 + 16, SUPER_BLOCK / 2]),
    // As Q4_K; the fifth bits before the other four.
    (Format::Q5K, TensorType::Q5_K, [SUPER_BLOCK, 176, 4 + 16, SUPER_BLOCK / 8 + SUPER_BLOCK / 2]),
    // A scale and sixteen bytes that multiply it.
    (Format::Q6K, TensorType::Q6_K, [SUPER_BLOCK, 210, 2 + 16, SUPER_BLOCK * 3 / 4]),
];

/// A name that is none of a [`Format`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "weights can't be held as `{0}`; they can as q4_0, q4_k, q5_k, q6_k, q8_0, f16, bf16 and f32, \
     and, at a loss, as q2_k, q3_k, iq4_nl, iq4_xs, q4_1, q5_0 and q5_1"
)]
pub struct UnknownFormat(String);

/// How a format's blocks lie in a file and in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Columns in a block.
    pub(crate) columns: usize,
    /// Bytes of a row's block in a file.
    pub(crate) file: usize,
    /// Bytes of a group's block: of its scales and of its integers.
    pub(crate) scales: usize,
    pub(crate) quants: usize,
}

/// What the integers of a format mean once they are unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Sixteen columns share a scale, not thirty-two.
    pub(crate) halves: bool,
    /// A minimum is added to each number; otherwise 128 is taken from each integer.
    pub(crate) minimums: bool,
    /// Integers less 128 reach from -32 to 31, or there are minimums, and they reach from 0 to 31.
    pub(crate) narrow: bool,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = name.parse::<TensorType>().ok().and_then(Self::of);
        known.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.tensor_type())
    }
}

impl Format {
    /// The format for weights of a GGUF type, where there is one.
    pub fn of(tensor_type: TensorType) -> Option<Self> {
        FORMATS.iter().find(|(_, of, ..)| *of == tensor_type).map(|(format, ..)| *format)
    }

    /// The GGUF type whose bits these are.
    pub fn tensor_type(self) -> TensorType {
        self.entry().1
    }

    /// Whether rows of so many columns can be held.
    pub fn fits(self, columns: usize) -> bool {
        columns > 0 && columns.is_multiple_of(self.layout().columns)
    }

    pub(crate) fn layout(self) -> Layout {
        let [columns, file, scales, quants] = self.entry().2;
        Layout { columns, file, scales: scales * ROWS, quants: quants * ROWS }
    }

    /// `None` for numbers, which are no integers.
    pub(crate) fn meaning(self) -> Option<Meaning> {
        let meaning = |halves, minimums, narrow| Some(Meaning { halves, minimums, narrow });
        match self {
            Self::F32 | Self::F16 | Self::BF16 => None,
            Self::Q8_0 | Self::IQ4NL | Self::IQ4XS => meaning(false, false, false),
            Self::Q4_0 | Self::Q5_0 => meaning(false, false, true),
            Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K => meaning(false, true, true),
            Self::Q2K => meaning(true, true, true),
            Self::Q3K | Self::Q6K => meaning(true, false, true),
        }
    }

    fn entry(self) -> (Self, TensorType, [usize; 4]) {
        // The table is in the enumeration's order.
        FORMATS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_in_order_and_its_blocks_are_those_of_files() {
        for (index, (format, tensor_type, [columns, file, ..])) in super::FORMATS.iter().enumerate() {
            assert_eq!(*format as usize, index);
            assert_eq!((tensor_type.block_size(), tensor_type.block_bytes()), (*columns, *file));
        }
    }
}

use std::fmt;
use std::str::FromStr;

/// How a tensor's numbers are stored: ggml's types, with their names and numbers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the field's names: Q4_K is not Q4K")]
pub enum TensorType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    I8,
    I16,
    I32,
    I64,
    F64,
    IQ1_M,
    BF16,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
}

/// Type, number in files, name, numbers in a block, bytes of a block.
const TYPES: [(TensorType, u32, &str, usize, usize); 33] = {
    use TensorType::*;
    [
        (F32, 0, "F32", 1, 4),
        (F16, 1, "F16", 1, 2),
        (Q4_0, 2, "Q4_0", 32, 18),
        (Q4_1, 3, "Q4_1", 32, 20),
        (Q5_0, 6, "Q5_0", 32, 22),
        (Q5_1, 7, "Q5_1", 32, 24),
        (Q8_0, 8, "Q8_0", 32, 34),
        (Q8_1, 9, "Q8_1", 32, 36),
        (Q2_K, 10, "Q2_K", 256, 84),
        (Q3_K, 11, "Q3_K", 256, 110),
        (Q4_K, 12, "Q4_K", 256, 144),
        (Q5_K, 13, "Q5_K", 256, 176),
        (Q6_K, 14, "Q6_K", 256, 210),
        (Q8_K, 15, "Q8_K", 256, 292),
        (IQ2_XXS, 16, "IQ2_XXS", 256, 66),
        (IQ2_XS, 17, "IQ2_XS", 256, 74),
        (IQ3_XXS, 18, "IQ3_XXS", 256, 98),
        (IQ1_S, 19, "IQ1_S", 256, 50),
        (IQ4_NL, 20, "IQ4_NL", 32, 18),
        (IQ3_S, 21, "IQ3_S", 256, 110),
        (IQ2_S, 22, "IQ2_S", 256, 82),
        (IQ4_XS, 23, "IQ4_XS", 256, 136),
        (I8, 24, "I8", 1, 1),
        (I16, 25, "I16", 1, 2),
        (I32, 26, "I32", 1, 4),
        (I64, 27, "I64", 1, 8),
        (F64, 28, "F64", 1, 8),
        (IQ1_M, 29, "IQ1_M", 256, 56),
        (BF16, 30, "BF16", 1, 2),
        (TQ1_0, 34, "TQ1_0", 256, 54),
        (TQ2_0, 35, "TQ2_0", 256, 66),
        (MXFP4, 39, "MXFP4", 32, 17),
        (NVFP4, 40, "NVFP4", 64, 36),
    ]
};

impl TensorType {
    /// The type with this number in files.
    pub fn from_number(number: u32) -> Option<Self> {
        let found = TYPES.iter().find(|(_, known, ..)| *known == number);
        found.map(|(tensor_type, ..)| *tensor_type)
    }

    /// The type's number in files (`ggml_type`).
    pub fn number(self) -> u32 {
        self.entry().1
    }

    /// The type's name, such as `Q4_K`.
    pub fn name(self) -> &'static str {
        self.entry().2
    }

    /// How many numbers one block holds; rows are whole blocks.
    pub fn block_size(self) -> usize {
        self.entry().3
    }

    /// The bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.entry().4
    }

    /// The bytes of `count` numbers; `None` where they are no whole blocks or too many.
    pub fn bytes_of(self, count: usize) -> Option<usize> {
        let whole = count.is_multiple_of(self.block_size());
        whole.then(|| (count / self.block_size()).checked_mul(self.block_bytes()))?
    }

    fn entry(self) -> &'static (TensorType, u32, &'static str, usize, usize) {
        // The table is in the enum's order (a test sees to it).
        &TYPES[self as usize]
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for TensorType {
    type Err = String;

    /// A type by its name in either case, as people give it: `q8_0`, `Q4_K`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = TYPES.iter().find(|(_, _, name, ..)| name.eq_ignore_ascii_case(text));
        found.map(|(tensor_type, ..)| *tensor_type).ok_or_else(|| {
            format!(
                "there is no tensor type `{text}`; among those there are: F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q4_0"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_types() {
        for (position, (tensor_type, number, ..)) in TYPES.iter().enumerate() {
            assert_eq!(*tensor_type as usize, position);
            assert_eq!(TensorType::from_number(*number), Some(*tensor_type));
        }
    }
}

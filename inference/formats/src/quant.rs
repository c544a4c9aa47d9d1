//! Block-quantized numbers: 32 or 256 neighbours in a row share a scale, and each keeps a few bits.
//!
//! The layouts and the search for scales are those of llama.cpp's reference quantizers
//! (`ggml-quants.c`), whose bytes these are: a file quantized here is the file quantized there.
//! Rows are whole blocks, so a tensor is one run of blocks.

mod decode;
mod encode;
mod scales;
mod small;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::gguf::{TensorType, TensorView};

/// Why numbers can't be quantized or read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantError {
    #[error("numbers of type {0} are not read; get the model as Q4_K_M, Q8_0 or another common type")]
    NotRead(TensorType),
    #[error(
        "nothing is quantized to {0}; types to choose from: F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q3_K, Q2_K, Q5_1, Q5_0, Q4_1, Q4_0, IQ4_NL, IQ4_XS"
    )]
    NotWritten(TensorType),
    #[error("{values} numbers and {bytes} bytes don't go together as {tensor_type}")]
    Size { tensor_type: TensorType, values: usize, bytes: usize },
    #[error("the number at position {position} is {value}, which {tensor_type} can't hold; the weights are damaged")]
    Range { tensor_type: TensorType, position: usize, value: f32 },
}

impl QuantError {
    /// The error in numbers that stand behind `before` others.
    pub(crate) fn after(self, before: usize) -> Self {
        match self {
            Self::Range { tensor_type, position, value } => {
                Self::Range { tensor_type, position: before + position, value }
            }
            other => other,
        }
    }
}

impl TensorView<'_> {
    /// All numbers as 32-bit floats, in row-major order.
    pub fn dequantize(&self) -> Result<Vec<f32>, QuantError> {
        let mut values = vec![0.0; self.shape.iter().product()];
        dequantize(self.tensor_type, self.bytes, &mut values)?;
        Ok(values)
    }
}

/// Whether [`dequantize`] reads the type.
pub fn is_read(tensor_type: TensorType) -> bool {
    dequantize(tensor_type, &[], &mut []).is_ok()
}

/// Whether [`quantize`] writes the type.
pub fn is_written(tensor_type: TensorType) -> bool {
    quantize(tensor_type, &[]).is_ok()
}

/// Writes the numbers in `bytes` to `values`, on all cores where there are many.
///
/// # Errors
/// The type isn't read, or the two don't have the same number of numbers.
pub fn dequantize(tensor_type: TensorType, bytes: &[u8], values: &mut [f32]) -> Result<(), QuantError> {
    if tensor_type.bytes_of(values.len()) != Some(bytes.len()) {
        let (values, bytes) = (values.len(), bytes.len());
        return Err(QuantError::Size { tensor_type, values, bytes });
    }
    match tensor_type {
        TensorType::F32 => decode_all(bytes, values, |number: &[u8; 4], [value]: &mut [f32; 1]| {
            *value = f32::from_le_bytes(*number);
        }),
        TensorType::F64 => decode_all(bytes, values, |number: &[u8; 8], [value]: &mut [f32; 1]| {
            *value = f64::from_le_bytes(*number) as f32;
        }),
        TensorType::BF16 => decode_all(bytes, values, |number: &[u8; 2], [value]: &mut [f32; 1]| {
            *value = f32::from_bits(u32::from(u16::from_le_bytes(*number)) << 16);
        }),
        TensorType::F16 => in_parallel(bytes, values, 2, 1, decode_halves),
        TensorType::Q4_0 => decode_all(bytes, values, small::decode_q4_0),
        TensorType::Q4_1 => decode_all(bytes, values, small::decode_q4_1),
        TensorType::Q5_0 => decode_all(bytes, values, small::decode_q5_0),
        TensorType::Q5_1 => decode_all(bytes, values, small::decode_q5_1),
        TensorType::Q8_0 => decode_all(bytes, values, small::decode_q8_0),
        TensorType::IQ4_NL => decode_all(bytes, values, small::decode_iq4_nl),
        TensorType::IQ4_XS => decode_all(bytes, values, decode::iq4_xs),
        TensorType::Q2_K => decode_all(bytes, values, decode::q2_k),
        TensorType::Q3_K => decode_all(bytes, values, decode::q3_k),
        TensorType::Q4_K => decode_all(bytes, values, decode::q4_k),
        TensorType::Q5_K => decode_all(bytes, values, decode::q5_k),
        TensorType::Q6_K => decode_all(bytes, values, decode::q6_k),
        other => return Err(QuantError::NotRead(other)),
    }
    Ok(())
}

/// The numbers as blocks of the type, quantized on all cores where there are many.
///
/// # Errors
/// The type isn't written, the numbers are no whole blocks, or one is infinite, not a number or
/// beyond what 16-bit scales reach.
pub fn quantize(tensor_type: TensorType, values: &[f32]) -> Result<Vec<u8>, QuantError> {
    let size = tensor_type.bytes_of(values.len());
    let size = size.ok_or(QuantError::Size { tensor_type, values: values.len(), bytes: 0 })?;
    let largest = match tensor_type {
        TensorType::F32 | TensorType::BF16 => f32::MAX,
        _ => f16::MAX.to_f32(),
    };
    // A comparison that is false for NaN too.
    if let Some(position) = values.iter().position(|value| !(value.abs() <= largest)) {
        let value = values.get(position).copied().unwrap_or(f32::NAN);
        return Err(QuantError::Range { tensor_type, position, value });
    }
    let mut bytes = vec![0; size];
    match tensor_type {
        TensorType::F32 => encode_all(values, &mut bytes, |[value]: &[f32; 1], number: &mut [u8; 4]| {
            *number = value.to_le_bytes();
        }),
        TensorType::F16 => encode_all(values, &mut bytes, |[value]: &[f32; 1], number: &mut [u8; 2]| {
            *number = f16::from_f32(*value).to_le_bytes();
        }),
        TensorType::BF16 => encode_all(values, &mut bytes, |[value]: &[f32; 1], number: &mut [u8; 2]| {
            *number = half::bf16::from_f32(*value).to_le_bytes();
        }),
        TensorType::Q4_0 => encode_all(values, &mut bytes, small::encode_q4_0),
        TensorType::Q4_1 => encode_all(values, &mut bytes, small::encode_q4_1),
        TensorType::Q5_0 => encode_all(values, &mut bytes, small::encode_q5_0),
        TensorType::Q5_1 => encode_all(values, &mut bytes, small::encode_q5_1),
        TensorType::Q8_0 => encode_all(values, &mut bytes, small::encode_q8_0),
        TensorType::IQ4_NL => encode_all(values, &mut bytes, small::encode_iq4_nl),
        TensorType::IQ4_XS => encode_all(values, &mut bytes, encode::iq4_xs),
        TensorType::Q2_K => encode_all(values, &mut bytes, encode::q2_k),
        TensorType::Q3_K => encode_all(values, &mut bytes, encode::q3_k),
        TensorType::Q4_K => encode_all(values, &mut bytes, encode::q4_k),
        TensorType::Q5_K => encode_all(values, &mut bytes, encode::q5_k),
        TensorType::Q6_K => encode_all(values, &mut bytes, encode::q6_k),
        other => return Err(QuantError::NotWritten(other)),
    }
    Ok(bytes)
}

fn decode_all<const BYTES: usize, const SIZE: usize>(
    bytes: &[u8],
    values: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; SIZE]) + Sync,
) {
    in_parallel(bytes, values, BYTES, SIZE, |bytes, values| {
        for (block, values) in bytes.as_chunks().0.iter().zip(values.as_chunks_mut().0) {
            decode(block, values);
        }
    });
}

fn encode_all<const SIZE: usize, const BYTES: usize>(
    values: &[f32],
    bytes: &mut [u8],
    encode: impl Fn(&[f32; SIZE], &mut [u8; BYTES]) + Sync,
) {
    in_parallel(values, bytes, SIZE, BYTES, |values, bytes| {
        for (values, block) in values.as_chunks().0.iter().zip(bytes.as_chunks_mut().0) {
            encode(values, block);
        }
    });
}

/// `half` converts slices with the processor's instructions, single numbers much slower.
fn decode_halves(bytes: &[u8], values: &mut [f32]) {
    let mut halves = [f16::ZERO; 1024];
    for (bytes, values) in bytes.as_chunks().0.chunks(halves.len()).zip(values.chunks_mut(halves.len())) {
        for (half, bytes) in halves.iter_mut().zip(bytes) {
            *half = f16::from_le_bytes(*bytes);
        }
        if let Some(halves) = halves.get(..values.len()) {
            halves.convert_to_f32_slice(values);
        }
    }
}

/// Starting a thread costs about as much as converting this many elements of a slice.
const LEAST_PER_THREAD: usize = 1 << 17;

/// Calls `convert` with matching runs of whole blocks, of `from_block` and `to_block` elements.
fn in_parallel<From: Sync, To: Send>(
    from: &[From],
    to: &mut [To],
    from_block: usize,
    to_block: usize,
    convert: impl Fn(&[From], &mut [To]) + Sync,
) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(from.len().max(to.len()) / LEAST_PER_THREAD);
    if threads < 2 {
        return convert(from, to);
    }
    let blocks = (from.len() / from_block).div_ceil(threads);
    let runs = from.chunks(blocks * from_block).zip(to.chunks_mut(blocks * to_block));
    let convert = &convert;
    std::thread::scope(|scope| {
        for (from, to) in runs {
            scope.spawn(move || convert(from, to));
        }
    });
}

/// The 16-bit float at a place in a block.
fn half_at(block: &[u8], position: usize) -> f32 {
    let bytes = block.get(position..).and_then(<[u8]>::first_chunk);
    bytes.map_or(f32::NAN, |bytes| f16::from_le_bytes(*bytes).to_f32())
}

/// Rounds to the nearest integer, ties to even, for magnitudes below 2²². The sum shifts the
/// fraction out of the mantissa; beyond that range the result is some number, as in llama.cpp.
fn nearest(value: f32) -> i32 {
    let shifted = value + 12_582_912.0;
    (shifted.to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

//! Blocks are read as the Python package `gguf` reads them, and written as llama.cpp writes them.

use std::path::Path;

use codriver_formats::gguf::TensorType;
use codriver_formats::quant::{QuantError, dequantize, quantize};
use serde_json::Value;

use crate::reference;

#[test]
fn blocks_are_llama_cpps_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let seed = reference::fresh_seed().to_string();
    let reference = reference::run("quantization.py", &[folder.path().to_str().unwrap(), &seed]);
    let values = floats(&file(&reference["values"]));
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let tensor_type: TensorType = case["type"].as_str().unwrap().parse().unwrap();
        let expected = file(&case["quantized"]);
        let quantized = quantize(tensor_type, &values).unwrap();
        let size = tensor_type.block_bytes();
        let differing = quantized.chunks(size).zip(expected.chunks(size)).filter(|(block, expected)| block != expected);
        let (ours, theirs) = (error(tensor_type, &quantized, &values), error(tensor_type, &expected, &values));
        let blocks = expected.len() / size;
        let differing = differing.count();
        eprintln!("{tensor_type}: {differing} of {blocks} blocks differ; error {ours:e}, llama.cpp's {theirs:e}");
        assert_eq!(differing, 0, "{tensor_type}");
        for (bytes, expected) in [("quantized", "dequantized"), ("blocks", "dequantized_blocks")] {
            let bytes = file(&case[bytes]);
            let expected = floats(&file(&case[expected]));
            let mut numbers = vec![0.0; expected.len()];
            dequantize(tensor_type, &bytes, &mut numbers).unwrap();
            for (position, (number, expected)) in numbers.iter().zip(&expected).enumerate() {
                let same = number.to_bits() == expected.to_bits() || number.is_nan() && expected.is_nan();
                assert!(same, "{tensor_type} at {position}: {number:e}, not {expected:e}");
            }
        }
    }
}

#[test]
fn many_numbers_are_converted_on_several_threads_as_few_are_on_one() {
    let values: Vec<f32> = (0..1 << 20).map(|index| ((index * 37 % 1009) as f32 - 500.0) * 0.001).collect();
    for tensor_type in [TensorType::Q4_K, TensorType::Q8_0, TensorType::F16, TensorType::BF16] {
        let quantized = quantize(tensor_type, &values).unwrap();
        let parts = values.chunks(1 << 14).flat_map(|part| quantize(tensor_type, part).unwrap());
        assert!(parts.eq(quantized.iter().copied()), "{tensor_type}");
        let mut all = vec![0.0; values.len()];
        dequantize(tensor_type, &quantized, &mut all).unwrap();
        for (bytes, expected) in quantized.chunks(tensor_type.bytes_of(1 << 14).unwrap()).zip(all.chunks(1 << 14)) {
            let mut part = vec![0.0; 1 << 14];
            dequantize(tensor_type, bytes, &mut part).unwrap();
            assert_eq!(part, expected);
        }
    }
}

#[test]
fn numbers_that_do_not_fit_are_errors() {
    let mut values = vec![0.5; 256];
    for value in [f32::NAN, f32::INFINITY, -1e6] {
        values[77] = value;
        let error = quantize(TensorType::Q4_K, &values).unwrap_err();
        assert!(matches!(error, QuantError::Range { position: 77, .. }), "{error}");
    }
    assert!(quantize(TensorType::Q4_K, &values[..70]).is_err());
    assert!(matches!(quantize(TensorType::IQ2_XXS, &[0.0; 256]), Err(QuantError::NotWritten(_))));
    assert!(matches!(dequantize(TensorType::Q8_0, &[0; 33], &mut [0.0; 32]), Err(QuantError::Size { .. })));
    assert!(matches!(dequantize(TensorType::IQ1_S, &[0; 50], &mut [0.0; 256]), Err(QuantError::NotRead(_))));
}

/// The mean squared error of quantized numbers.
fn error(tensor_type: TensorType, bytes: &[u8], values: &[f32]) -> f64 {
    let mut numbers = vec![0.0; values.len()];
    dequantize(tensor_type, bytes, &mut numbers).unwrap();
    let squares = numbers.iter().zip(values).map(|(number, value)| f64::from(number - value).powi(2));
    squares.sum::<f64>() / values.len() as f64
}

fn file(path: &Value) -> Vec<u8> {
    std::fs::read(Path::new(path.as_str().unwrap())).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

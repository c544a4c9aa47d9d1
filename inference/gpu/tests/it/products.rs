//! Products and rows of packed weights.

use codriver_formats::quant;
use codriver_gpu::{Format, Matrix};
use rand::Rng;

use crate::device::variants;
use crate::reference::{close, random, values};

const FORMATS: [Format; 7] =
    [Format::F32, Format::F16, Format::BF16, Format::Q8_0, Format::Q4_0, Format::Q4K, Format::Q6K];

/// Columns that fit a format.
fn columns(format: Format, wanted: usize) -> usize {
    (wanted..).find(|columns| format.fits(*columns)).unwrap()
}

#[test]
fn products_are_those_of_the_numbers_that_the_bits_stand_for() {
    let mut random = random();
    for gpu in variants() {
        for format in FORMATS {
            // From one token, as in decoding, to several tiles of either kernel.
            for tokens in [1, 3, 8, 21, 75] {
                let rows = random.random_range(1..150);
                let wanted = random.random_range(1..700);
                let columns = columns(format, wanted);
                // Scales below the smallest normal number of 16 bits, too.
                let size = if random.random_bool(0.3) { 1e-4 } else { 1.0 };
                let weights = values(&mut random, rows * columns, size);
                let bytes = quant::quantize(format.tensor_type(), &weights).unwrap();
                let mut held = vec![0.0; weights.len()];
                quant::dequantize(format.tensor_type(), &bytes, &mut held).unwrap();
                let input = values(&mut random, tokens * columns, 1.0);
                let matrix = Matrix::upload(&gpu, format, rows, columns, &bytes).unwrap();
                let found = matrix.multiply(&gpu, &input).unwrap();
                let product = |token: usize, row: usize| -> f64 {
                    let input = &input[token * columns..(token + 1) * columns];
                    let held = &held[row * columns..(row + 1) * columns];
                    input.iter().zip(held).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
                };
                let expected: Vec<f64> = (0..tokens)
                    .flat_map(|token| (0..rows).map(move |row| (token, row)))
                    .map(|(t, r)| product(t, r))
                    .collect();
                let what = format!("{format:?} {rows} x {columns}, {tokens} tokens, {gpu:?}");
                close(&what, &found, &expected, f64::from(size) * 1e-5 * (columns as f64).sqrt());
            }
        }
    }
}

#[test]
fn products_do_not_depend_on_how_many_tokens_there_are() {
    let mut random = random();
    for gpu in variants() {
        for format in FORMATS {
            let rows = random.random_range(1..150);
            // Parts of one chunk to several runs of chunks, the last of them empty or not whole.
            let wanted = [random.random_range(1..300), random.random_range(300..2200)][random.random_range(0..2)];
            let columns = columns(format, wanted);
            let bytes = quant::quantize(format.tensor_type(), &values(&mut random, rows * columns, 1.0)).unwrap();
            let matrix = Matrix::upload(&gpu, format, rows, columns, &bytes).unwrap();
            let tokens = random.random_range(33..90);
            let input = values(&mut random, tokens * columns, 1.0);
            let together = matrix.multiply(&gpu, &input).unwrap();
            let what = format!("{format:?} {rows} x {columns}, {tokens} tokens, {gpu:?}");
            let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<u32>>();
            let few = random.random_range(25..33);
            for (count, gpu) in [(tokens, gpu.clone().without_tiles()), (few, gpu.clone()), (1, gpu.clone())] {
                let found = matrix.multiply(&gpu, &input[..count * columns]).unwrap();
                assert_eq!(bits(&found), bits(&together[..count * rows]), "{what}, the first {count}");
            }
        }
    }
}

#[test]
fn rows_of_tables_are_exact() {
    let mut random = random();
    for gpu in variants() {
        for format in FORMATS {
            let rows = random.random_range(1..40);
            let wanted = random.random_range(1..600);
            let columns = columns(format, wanted);
            let bytes = quant::quantize(format.tensor_type(), &values(&mut random, rows * columns, 0.01)).unwrap();
            let mut held = vec![0.0; rows * columns];
            quant::dequantize(format.tensor_type(), &bytes, &mut held).unwrap();
            let tokens: Vec<u32> = (0..9).map(|_| random.random_range(0..rows as u32)).collect();
            let matrix = Matrix::upload(&gpu, format, rows, columns, &bytes).unwrap();
            let found = matrix.look_up(&gpu, &tokens).unwrap();
            let expected: Vec<f64> = tokens
                .iter()
                .flat_map(|token| held[*token as usize * columns..(*token as usize + 1) * columns].iter())
                .map(|value| f64::from(*value))
                .collect();
            // A product and a sum may be rounded once or twice.
            close(&format!("{format:?}"), &found, &expected, 1e-8);
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some(gpu) = crate::device::open() else { return };
    let error = Matrix::upload(&gpu, Format::Q8_0, 2, 33, &[0; 68]).unwrap_err().to_string();
    assert!(error.contains("33 columns"), "{error}");
    let error = Matrix::upload(&gpu, Format::Q4_0, 2, 32, &[0; 35]).unwrap_err().to_string();
    assert!(error.contains("need 36 bytes"), "{error}");
}

//! Every set of instructions against plain arithmetic on the same weights.

use codriver_formats::gguf::TensorType;
use codriver_formats::quant;
use codriver_kernels::{Activations, Format, Level, PackError, PackedMatrix, multiply, multiply_at};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TYPES: [TensorType; 7] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q8_0,
    TensorType::Q4_0,
    TensorType::Q4_K,
    TensorType::Q6_K,
];

fn random() -> ChaCha8Rng {
    let seed = rand::rng().random();
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

fn values(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-1.0..1.0f32) * random.random_range(0.0..2.0f32)).collect()
}

#[test]
fn products_are_those_of_the_dequantized_weights() {
    let mut random = random();
    for tensor_type in TYPES {
        let format = Format::of(tensor_type).unwrap();
        for _ in 0..6 {
            let (rows, tokens) = (random.random_range(1..70), random.random_range(1..20));
            let multiple = if matches!(format, Format::Q4K | Format::Q6K) { 256 } else { 32 };
            let columns = multiple * random.random_range(1..5);
            let bytes = quant::quantize(tensor_type, &values(&mut random, rows * columns)).unwrap();
            let mut weights = vec![0.0; rows * columns];
            quant::dequantize(tensor_type, &bytes, &mut weights).unwrap();
            let input = values(&mut random, tokens * columns);

            let matrix = PackedMatrix::pack(format, rows, columns, &bytes).unwrap();
            let activations = Activations::new(input.clone(), columns);
            for (row, weights) in weights.chunks(columns).enumerate() {
                assert_eq!(matrix.row(row).unwrap(), weights, "{tensor_type:?}");
            }
            assert_eq!(matrix.row(rows), None);
            for level in Level::available() {
                let products = multiply_at(level, &matrix, &activations);
                for (token, input) in input.chunks(columns).enumerate() {
                    for (row, weights) in weights.chunks(columns).enumerate() {
                        let exact: f64 = weights.iter().zip(input).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                        let size: f64 =
                            weights.iter().zip(input).map(|(w, x)| (f64::from(*w) * f64::from(*x)).powi(2)).sum();
                        // Input rounded to 8 bits is off by up to 1/254 of a block's largest value.
                        let allowed = if multiple == 32 && matches!(format, Format::F32 | Format::F16 | Format::BF16) {
                            1e-5
                        } else {
                            0.05
                        };
                        let found = f64::from(products[token * rows + row]);
                        assert!(
                            (found - exact).abs() <= allowed * (size.sqrt() + 1e-3),
                            "{tensor_type:?} {level:?} {rows}x{columns} token {token} row {row}: {found}, not {exact}"
                        );
                    }
                }
            }
        }
    }
}

/// Rounding aside, which all share, instructions agree to the last bits.
#[test]
fn levels_agree() {
    let mut random = random();
    for tensor_type in TYPES {
        let (rows, columns, tokens) = (37, 512, 13);
        let bytes = quant::quantize(tensor_type, &values(&mut random, rows * columns)).unwrap();
        let matrix = PackedMatrix::pack(Format::of(tensor_type).unwrap(), rows, columns, &bytes).unwrap();
        let input = Activations::new(values(&mut random, tokens * columns), columns);
        let portable = multiply_at(Level::Portable, &matrix, &input);
        for level in Level::available() {
            for (found, expected) in multiply_at(level, &matrix, &input).iter().zip(&portable) {
                assert!((found - expected).abs() < 2e-4, "{tensor_type:?} {level:?}: {found}, not {expected}");
            }
        }
    }
}

/// Any bits of a file are weights: the extremes of every integer and scale.
#[test]
fn extreme_weights() {
    let mut random = random();
    for tensor_type in [TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_K, TensorType::Q6_K] {
        let (rows, columns) = (17, 256);
        let mut bytes = quant::quantize(tensor_type, &vec![1.0; rows * columns]).unwrap();
        // Everything but the half-precision scales is any byte; those stay ordinary numbers.
        let scale = half::f16::from_f32(0.01).to_le_bytes();
        let (block, scales): (usize, &[usize]) = match tensor_type {
            TensorType::Q8_0 => (34, &[0]),
            TensorType::Q4_0 => (18, &[0]),
            TensorType::Q4_K => (144, &[0, 2]),
            _ => (210, &[208]),
        };
        for block in bytes.chunks_mut(block) {
            random.fill(&mut *block);
            for start in scales {
                block[*start..start + 2].copy_from_slice(&scale);
            }
        }
        let mut weights = vec![0.0; rows * columns];
        quant::dequantize(tensor_type, &bytes, &mut weights).unwrap();
        // Input that is rounded exactly: the products are exact but for the order of additions.
        let input: Vec<f32> = (0..columns).map(|index| if index % 32 == 0 { 127.0 } else { random.random_range(-127..=127) as f32 }).collect();
        let matrix = PackedMatrix::pack(Format::of(tensor_type).unwrap(), rows, columns, &bytes).unwrap();
        let activations = Activations::new(input.clone(), columns);
        for level in Level::available() {
            for (found, weights) in multiply_at(level, &matrix, &activations).iter().zip(weights.chunks(columns)) {
                let exact: f64 = weights.iter().zip(&input).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let size: f64 = weights.iter().zip(&input).map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs()).sum();
                assert!((f64::from(*found) - exact).abs() <= 1e-5 * size, "{tensor_type:?} {level:?}: {found}, not {exact}");
            }
        }
    }
}

#[test]
fn a_fault_in_the_input_is_not_hidden() {
    let bytes = quant::quantize(TensorType::Q8_0, &[1.0; 64]).unwrap();
    let matrix = PackedMatrix::pack(Format::Q8_0, 1, 64, &bytes).unwrap();
    let mut input = vec![1.0; 64];
    input[40] = f32::NAN;
    assert!(multiply(&matrix, &Activations::new(input.clone(), 64))[0].is_nan());
    input[40] = f32::INFINITY;
    assert!(!multiply(&matrix, &Activations::new(input, 64))[0].is_finite());
}

#[test]
fn sizes_that_do_not_fit() {
    let size = PackedMatrix::pack(Format::Q8_0, 2, 32, &[0; 34]).err().unwrap();
    assert!(matches!(size, PackError::Size { expected: 68, found: 34, .. }), "{size}");
    let columns = PackedMatrix::pack(Format::Q4K, 1, 128, &[]).err().unwrap();
    assert!(matches!(columns, PackError::Columns { multiple: 256, .. }), "{columns}");
}

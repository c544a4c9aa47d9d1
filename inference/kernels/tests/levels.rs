//! Every set of instructions against plain arithmetic on the same weights.

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use codriver_formats::gguf::TensorType;
use codriver_formats::quant;
use codriver_kernels::{Activations, Format, Level, PackError, PackedMatrix, multiply, multiply_all, multiply_at};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TYPES: [TensorType; 15] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q8_0,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::IQ4_NL,
    TensorType::IQ4_XS,
    TensorType::Q2_K,
    TensorType::Q3_K,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
];

/// Where the half-precision numbers of a block are.
fn halves(tensor_type: TensorType) -> &'static [usize] {
    match tensor_type {
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4_K | TensorType::Q5_K => &[0, 2],
        TensorType::Q2_K => &[80, 82],
        TensorType::Q3_K => &[108],
        TensorType::Q6_K => &[208],
        _ => &[0],
    }
}

/// Columns that the type takes at a time. Numbers are tried with odd counts, and with those that matrix registers take.
fn multiple(tensor_type: TensorType, random: &mut ChaCha8Rng) -> usize {
    if is_float(tensor_type) && random.random() { 32 } else { tensor_type.block_size() }
}

fn is_float(tensor_type: TensorType) -> bool {
    matches!(tensor_type, TensorType::F32 | TensorType::F16 | TensorType::BF16)
}

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
        for _ in 0..8 {
            let (rows, tokens) = (random.random_range(1..70), random.random_range(1..40));
            // More than what is unpacked together, now and then.
            let most = if random.random_bool(0.2) { 1600 } else { 600 };
            let multiple = multiple(tensor_type, &mut random);
            let columns = multiple * random.random_range(1..most / multiple);
            let bytes = quant::quantize(tensor_type, &values(&mut random, rows * columns)).unwrap();
            // A file's tensor may begin at any byte.
            let unaligned: Vec<u8> = std::iter::once(0).chain(bytes.iter().copied()).collect();
            let mut weights = vec![0.0; rows * columns];
            quant::dequantize(tensor_type, &bytes, &mut weights).unwrap();
            let input = values(&mut random, tokens * columns);

            let matrix = PackedMatrix::pack(format, rows, columns, &unaligned[1..]).unwrap();
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
                        let allowed = match tensor_type {
                            // Input is two bfloat16 numbers in matrix registers, off by up to 2^-17.
                            TensorType::BF16 if level == Level::Amx => 3e-5,
                            TensorType::F32 | TensorType::F16 | TensorType::BF16 => 1e-5,
                            _ => 0.05,
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

/// A token's products are the same to the last bit whoever shares the call, on however many threads,
/// and instructions that add in the same order agree, too.
#[test]
fn products_do_not_depend_on_company() {
    let mut random = random();
    for tensor_type in TYPES {
        let format = Format::of(tensor_type).unwrap();
        let rows = random.random_range(1..300);
        let multiple = multiple(tensor_type, &mut random);
        let columns = multiple * random.random_range(1..1400 / multiple);
        // More than are multiplied at once, now and then.
        let tokens = if random.random_bool(0.1) { random.random_range(513..600) } else { random.random_range(1..60) };
        let bytes = quant::quantize(tensor_type, &values(&mut random, rows * columns)).unwrap();
        let matrix = PackedMatrix::pack(format, rows, columns, &bytes).unwrap();
        let input = values(&mut random, tokens * columns);
        let portable = multiply_at(Level::Portable, &matrix, &Activations::new(input.clone(), columns));
        let mut first: Option<Vec<f32>> = None;
        for level in Level::available() {
            let all = multiply_at(level, &matrix, &Activations::new(input.clone(), columns));
            let context = format!("{tensor_type:?} {level:?} {rows}x{columns}, {tokens} tokens");
            let mut token = 0;
            while token < tokens {
                let some = random.random_range(1..=tokens - token);
                let part = input[token * columns..(token + some) * columns].to_vec();
                let alone = multiply_at(level, &matrix, &Activations::new(part, columns));
                let together = &all[token * rows..(token + some) * rows];
                assert!(bits(&alone) == bits(together), "{context}: {some} of them from {token} on");
                token += some;
            }
            // Threads that find the others taken work alone.
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let again = multiply_at(level, &matrix, &Activations::new(input.clone(), columns));
                        assert!(bits(&again) == bits(&all), "{context}: other threads");
                    });
                }
            });
            for (found, expected) in all.iter().zip(&portable) {
                assert!((found - expected).abs() < 4e-4, "{context}: {found}, not {expected}");
            }
            if level != Level::Portable && !is_float(tensor_type) {
                let first = first.get_or_insert_with(|| all.clone());
                assert!(bits(first) == bits(&all), "{context}: other instructions");
            }
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn several_products_at_once_are_those_of_each() {
    let mut random = random();
    let columns = 512;
    for tokens in [1, 3, 33] {
        let matrices: Vec<PackedMatrix> = TYPES
            .into_iter()
            .map(|tensor_type| {
                let rows = random.random_range(1..200);
                let bytes = quant::quantize(tensor_type, &values(&mut random, rows * columns)).unwrap();
                PackedMatrix::pack(Format::of(tensor_type).unwrap(), rows, columns, &bytes).unwrap()
            })
            .collect();
        let input = Activations::new(values(&mut random, tokens * columns), columns);
        let found = multiply_all(&matrices.iter().collect::<Vec<_>>(), &input);
        let expected: Vec<Vec<f32>> = matrices.iter().map(|matrix| multiply(matrix, &input)).collect();
        assert_eq!(found, expected);
    }
    assert!(multiply_all(&[], &Activations::new(vec![1.0; 32], 32)).is_empty());
    assert!(multiply_all(&[], &Activations::new(vec![], 32)).is_empty());
}

/// Any bits of a file are weights: the extremes of every integer and scale.
#[test]
fn extreme_weights() {
    let mut random = random();
    for tensor_type in TYPES.into_iter().filter(|tensor_type| !is_float(*tensor_type)) {
        let (rows, columns) = (17, 256);
        let mut bytes = quant::quantize(tensor_type, &vec![1.0; rows * columns]).unwrap();
        // Everything but the half-precision scales is any byte; those stay ordinary numbers.
        let scale = half::f16::from_f32(0.01).to_le_bytes();
        for block in bytes.chunks_mut(tensor_type.block_bytes()) {
            random.fill(&mut *block);
            for start in halves(tensor_type) {
                block[*start..start + 2].copy_from_slice(&scale);
            }
        }
        let mut weights = vec![0.0; rows * columns];
        quant::dequantize(tensor_type, &bytes, &mut weights).unwrap();
        // Input that is rounded exactly: the products are exact but for the order of additions.
        let input: Vec<f32> = (0..columns)
            .map(|index| if index % 32 == 0 { 127.0 } else { random.random_range(-127..=127) as f32 })
            .collect();
        let matrix = PackedMatrix::pack(Format::of(tensor_type).unwrap(), rows, columns, &bytes).unwrap();
        // Often the same token: every width of a tile.
        let activations = Activations::new(input.repeat(31), columns);
        for level in Level::available() {
            let products = multiply_at(level, &matrix, &activations);
            for (found, weights) in products.iter().zip(weights.chunks(columns).cycle()) {
                let exact: f64 = weights.iter().zip(&input).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let size: f64 = weights.iter().zip(&input).map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs()).sum();
                assert!(
                    (f64::from(*found) - exact).abs() <= 1e-5 * size,
                    "{tensor_type:?} {level:?}: {found}, not {exact}"
                );
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
fn rows_that_are_made_in_pieces_are_the_same() {
    let mut random = random();
    let (rows, columns) = (random.random_range(1..900), 512);
    let bytes = quant::quantize(TensorType::Q5_K, &values(&mut random, rows * columns)).unwrap();
    let row = bytes.len() / rows;
    let whole = PackedMatrix::pack(Format::Q5K, rows, columns, &bytes).unwrap();
    let made = |part: std::ops::Range<usize>| Ok::<_, String>(bytes[part.start * row..part.end * row].to_vec().into());
    let pieces = PackedMatrix::pack_with(Format::Q5K, rows, columns, made).unwrap().unwrap();
    for index in 0..rows {
        assert_eq!(whole.row(index), pieces.row(index));
    }
    let failing = |part: std::ops::Range<usize>| {
        if part.contains(&(rows / 2)) { Err("no") } else { Ok(vec![0; part.len() * row].into()) }
    };
    assert_eq!(PackedMatrix::pack_with(Format::Q5K, rows, columns, failing).unwrap().err(), Some("no"));
}

/// Bytes, and a word when nobody has them any more.
struct Watched {
    bytes: Vec<u8>,
    is_gone: Arc<AtomicBool>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::SeqCst);
    }
}

#[test]
fn what_is_packed_later_is_the_same() {
    let mut random = random();
    // Below and above what is packed at once.
    for rows in [random.random_range(1..100), random.random_range(1000..3000)] {
        let columns = 1024;
        let mut bytes = vec![0; rows * columns / 32 * 34];
        random.fill(bytes.as_mut_slice());
        // Scales that are numbers.
        bytes.chunks_exact_mut(34).for_each(|block| block[1] = block[1] & 0x83 | 0x20);
        let now = PackedMatrix::pack(Format::Q8_0, rows, columns, &bytes).unwrap();
        let input = Activations::new(values(&mut random, 3 * columns), columns);
        let expected = multiply(&now, &input);
        let later = |bytes: &[u8]| {
            let is_gone = Arc::new(AtomicBool::new(false));
            let watched = Watched { bytes: bytes.to_vec(), is_gone: Arc::clone(&is_gone) };
            let row = columns / 32 * 34;
            let read = move |rows: Range<usize>| {
                Ok::<_, Infallible>(Cow::Owned(watched.bytes[rows.start * row..rows.end * row].to_vec()))
            };
            (PackedMatrix::pack_later(Format::Q8_0, rows, columns, bytes.len(), read), is_gone)
        };
        // Whoever comes first, this thread, another one or the one in the background.
        for pause in [0, 200, 20_000] {
            let (matrix, is_gone) = later(&bytes);
            let matrix = matrix.unwrap();
            std::thread::sleep(Duration::from_micros(pause));
            std::thread::scope(|scope| {
                let product = || assert!(multiply(&matrix, &input) == expected);
                scope.spawn(product);
                scope.spawn(|| assert_eq!(matrix.row(rows - 1), now.row(rows - 1)));
                product();
            });
            assert!(is_gone.load(Ordering::SeqCst));
            assert_eq!(matrix.size(), now.size());
        }
        // Dropped, its bytes are nobody's any more.
        for pause in [0, 50, 500] {
            let (matrix, is_gone) = later(&bytes);
            std::thread::sleep(Duration::from_micros(pause));
            drop(matrix.unwrap());
            assert!(is_gone.load(Ordering::SeqCst));
        }
        let (short, is_gone) = later(&bytes[34..]);
        assert!(matches!(short.err().unwrap(), PackError::Size { .. }));
        assert!(is_gone.load(Ordering::SeqCst));
    }
}

#[test]
fn sizes_that_do_not_fit() {
    let size = PackedMatrix::pack(Format::Q8_0, 2, 32, &[0; 34]).err().unwrap();
    assert!(matches!(size, PackError::Size { expected: 68, found: 34, .. }), "{size}");
    let columns = PackedMatrix::pack(Format::Q4K, 1, 128, &[]).err().unwrap();
    assert!(matches!(columns, PackError::Columns { multiple: 256, .. }), "{columns}");
}

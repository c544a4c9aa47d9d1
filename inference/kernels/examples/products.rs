//! How near the products come to what the machine can do: bytes of weights a second beside plain
//! reading, and multiplications a second.
//!
//!     cargo run --release -p codriver-kernels --example products [FORMAT...]

use std::hint::black_box;
use std::time::Instant;

use codriver_formats::quant;
use codriver_kernels::{Activations, Format, Level, PackedMatrix, multiply_at, pool};

const ROWS: usize = 3072;
const COLUMNS: usize = 1024;
/// Together more than any cache near a core holds.
const MATRICES: usize = 48;

fn main() {
    let mut formats: Vec<Format> = std::env::args().skip(1).filter_map(|name| name.parse().ok()).collect();
    if formats.is_empty() {
        formats = vec![Format::Q8_0, Format::Q4_0, Format::Q4K, Format::Q6K];
    }
    println!("{} threads; plain reading: {:.1} GB/s", pool::threads(), reading());
    println!("{:8} {:>12} {:>8} {:>12} {:>10} {:>8}", "format", "level", "tokens", "us a matrix", "GMAC/s", "GB/s");
    let values: Vec<f32> = (0..ROWS * COLUMNS).map(|index| ((index * 7919) % 2001) as f32 / 1000.0 - 1.0).collect();
    for format in formats {
        let Ok(bytes) = quant::quantize(format.tensor_type(), &values) else { continue };
        let matrices: Vec<PackedMatrix> =
            (0..MATRICES).filter_map(|_| PackedMatrix::pack(format, ROWS, COLUMNS, &bytes).ok()).collect();
        for level in Level::available().into_iter().skip(1) {
            for tokens in [1, 2, 4, 8, 16, 512] {
                let input = Activations::new(values[..tokens * COLUMNS].to_vec(), COLUMNS);
                let rounds = if tokens < 32 { 5 } else { 1 };
                let seconds = (0..rounds)
                    .map(|_| {
                        let begin = Instant::now();
                        for matrix in matrices.iter().take(if tokens < 32 { MATRICES } else { 4 }) {
                            black_box(multiply_at(level, matrix, &input));
                        }
                        begin.elapsed().as_secs_f64() / if tokens < 32 { MATRICES as f64 } else { 4.0 }
                    })
                    .fold(f64::INFINITY, f64::min);
                let size = matrices.first().map_or(0, PackedMatrix::size) as f64;
                println!(
                    "{:8} {:>12} {tokens:>8} {:>12.1} {:>10.0} {:>8.1}",
                    format.to_string(),
                    format!("{level:?}"),
                    seconds * 1e6,
                    (ROWS * COLUMNS * tokens) as f64 / seconds / 1e9,
                    size / seconds / 1e9,
                );
            }
        }
    }
}

/// Bytes a second that all cores read, in GB.
fn reading() -> f64 {
    let words = vec![1_u64; 64 << 20];
    let tasks = 8 * pool::threads();
    let size = words.len().div_ceil(tasks);
    (0..3)
        .map(|_| {
            let begin = Instant::now();
            pool::run(tasks, |task| {
                let part = words.get(task * size..words.len().min((task + 1) * size)).unwrap_or_default();
                black_box(part.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
            });
            (words.len() * 8) as f64 / begin.elapsed().as_secs_f64() / 1e9
        })
        .fold(0.0, f64::max)
}

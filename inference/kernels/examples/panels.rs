//! How near products of 32-bit floats come to the processor's peak, and where there are few rows, to
//! reading the weights.
//!
//!     cargo run --release -p codriver-kernels --example panels

use std::hint::black_box;
use std::time::Instant;

use codriver_kernels::{Panels, Then, pool};

/// The layers of all-MiniLM-L6-v2, whose weights are more than a core's caches hold.
const SHAPES: [[usize; 2]; 4] = [[384, 1152], [384, 384], [384, 1536], [1536, 384]];
const LAYERS: usize = 6;

fn main() {
    println!("{} threads", pool::threads());
    println!("{:>6} {:>12} {:>8} {:>10}", "rows", "us", "GB/s", "GFLOP/s");
    let weights = vec![0.01; 384 * 1536];
    let layer = |[inputs, outputs]: [usize; 2]| Panels::pack([inputs, outputs], [1, inputs], &weights, None);
    let layers: Vec<Panels> = (0..LAYERS).flat_map(|_| SHAPES).filter_map(layer).collect();
    let numbers: usize = layers.iter().map(|layer| layer.inputs() * layer.outputs()).sum();
    for rows in [1, 4, 8, 12, 16, 24, 32, 64, 128, 256] {
        let input = vec![0.5; rows * 1536];
        let mut output = vec![0.0; rows * 1536];
        let seconds = (0..30)
            .map(|_| {
                let begin = Instant::now();
                for layer in &layers {
                    let output = &mut output[..rows * layer.outputs()];
                    layer.multiply(&input[..rows * layer.inputs()], output, Then::Replace, true);
                }
                black_box(&output);
                begin.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min);
        println!(
            "{rows:>6} {:>12.0} {:>8.1} {:>10.0}",
            seconds * 1e6,
            4.0 * numbers as f64 / seconds / 1e9,
            2.0 * (numbers * rows) as f64 / seconds / 1e9,
        );
    }
}

//! What a product costs: bytes a second for one token, operations a second for many.
//!
//! `cargo run --release -p codriver-kernels --example products`

use std::time::Instant;

use codriver_kernels::{Activations, Format, Level, PackedMatrix, multiply_at};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (rows, columns) = (8192, 2048);
    for format in [Format::Q8_0, Format::Q4_0, Format::Q4K, Format::Q6K, Format::BF16, Format::F16, Format::F32] {
        let bytes_a_row = match format {
            Format::Q8_0 => columns / 32 * 34,
            Format::Q4_0 => columns / 32 * 18,
            Format::Q4K => columns / 256 * 144,
            Format::Q6K => columns / 256 * 210,
            Format::F16 | Format::BF16 => columns * 2,
            Format::F32 => columns * 4,
        };
        let mut bytes = vec![0; rows * bytes_a_row];
        random.fill(&mut bytes[..]);
        if let Format::F32 | Format::F16 | Format::BF16 = format {
            // Numbers of an ordinary size: the processor is slow with others.
            bytes.fill(0x3c);
        }
        let packed = Instant::now();
        let matrix = PackedMatrix::pack(format, rows, columns, &bytes).expect("sizes fit");
        let packing = packed.elapsed();
        for level in Level::available() {
            let mut line = format!("{format:?} {level:?} pack {packing:?}");
            for tokens in [1, 8, 256] {
                if level == Level::Portable && tokens > 1 {
                    continue;
                }
                let values = (0..tokens * columns).map(|_| random.random_range(-1.0..1.0f32)).collect();
                let input = Activations::new(values, columns);
                let mut times: Vec<f64> = (0..15)
                    .map(|_| {
                        let start = Instant::now();
                        std::hint::black_box(multiply_at(level, &matrix, &input));
                        start.elapsed().as_secs_f64()
                    })
                    .collect();
                times.sort_by(f64::total_cmp);
                let time = times[0];
                let gigabytes = matrix.size() as f64 / time / 1e9;
                let operations = 2.0 * (rows * columns * tokens) as f64 / time / 1e9;
                line += &format!(" | {tokens}: {gigabytes:.1} GB/s {operations:.0} GFLOP/s");
            }
            println!("{line}");
        }
    }
}

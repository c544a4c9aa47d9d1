//! How near attention over a long context comes to plain reading: one token's queries.
//!
//!     cargo run --release -p codriver-kernels --example attention

use std::hint::black_box;
use std::time::Instant;

use codriver_kernels::{Attention, HeadPage, PAGE, PageFormat, PageShape, pool};

/// Heads of Qwen3-8B.
const HEADS: usize = 32;
const KEY_VALUE_HEADS: usize = 8;
const HEAD_DIM: usize = 128;

fn main() {
    println!("{} threads", pool::threads());
    println!("{:6} {:>8} {:>8} {:>12} {:>8} {:>10}", "pages", "context", "tokens", "us", "GB/s", "GFLOP/s");
    for format in [PageFormat::F32, PageFormat::F16, PageFormat::Q8] {
        let shape = PageShape { head_dim: HEAD_DIM, format };
        for (context, tokens) in [(512, 1), (4096, 1), (32768, 1), (512, 512)] {
            let pages = context / PAGE;
            let mut held = vec![vec![0_u32; shape.words()]; pages * KEY_VALUE_HEADS];
            let vector: Vec<f32> = (0..HEAD_DIM).map(|index| (index % 7) as f32 / 7.0).collect();
            for page in &mut held {
                (0..PAGE).for_each(|position| shape.write(page, position, &vector, &vector));
            }
            let queries: Vec<f32> = (0..tokens * HEADS * HEAD_DIM).map(|index| (index % 11) as f32 / 11.0).collect();
            let attention = Attention {
                shape,
                heads: HEADS,
                key_value_heads: KEY_VALUE_HEADS,
                scale: 0.088,
                soft_cap: None,
                window: None,
                past: context - tokens,
                queries: &queries,
                page: |head: usize, page: usize| {
                    held.get(page * KEY_VALUE_HEADS + head).map(|words| HeadPage { words })
                },
            };
            let seconds = (0..10)
                .map(|_| {
                    let begin = Instant::now();
                    black_box(attention.attend());
                    begin.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            let bytes = (held.len() * shape.words() * 4) as f64;
            let seen = if tokens == 1 { context } else { context / 2 };
            let operations = 4.0 * (seen * tokens * HEADS * HEAD_DIM) as f64;
            println!(
                "{:6} {context:>8} {tokens:>8} {:>12.0} {:>8.1} {:>10.0}",
                format.to_string(),
                seconds * 1e6,
                bytes / seconds / 1e9,
                operations / seconds / 1e9,
            );
        }
    }
}

//! What the memory gives: the ceiling of a model that writes, which reads all its weights for each
//! token.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

/// Much more than any cache holds.
const BYTES_A_THREAD: usize = 512 << 20;
const PASSES: usize = 3;

/// Bytes a second, read by all cores at once (as STREAM reads: McCalpin 1995); the best of three.
pub fn read() -> f64 {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Vec<u64>> = (0..threads).map(|part| vec![part as u64 + 1; BYTES_A_THREAD / 8]).collect();
    let seconds = (0..PASSES).map(|_| {
        let started = Instant::now();
        thread::scope(|scope| {
            for part in &parts {
                scope.spawn(|| black_box(sum(black_box(part))));
            }
        });
        started.elapsed().as_secs_f64()
    });
    let best = seconds.fold(f64::INFINITY, f64::min);
    (threads * BYTES_A_THREAD) as f64 / best
}

/// Thirty-two sums: no addition waits for the one before.
fn sum(values: &[u64]) -> u64 {
    let mut sums = [0_u64; 32];
    for chunk in values.as_chunks::<32>().0 {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*value);
        }
    }
    sums.iter().fold(0, |total, sum| total.wrapping_add(*sum))
}

//! What the kernels' own tests have in common.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Gpu;

pub(super) fn random() -> ChaCha8Rng {
    let seed = std::env::var("CODRIVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("CODRIVER_TEST_SEED={seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// The device there is, with its plane operations where it has some, and without.
pub(super) fn variants() -> Vec<Gpu> {
    let Ok(gpu) = Gpu::cuda().or_else(|_| Gpu::wgpu()) else {
        println!("skipped: there is no GPU");
        return Vec::new();
    };
    let without = gpu.clone().without_planes();
    if gpu.plane.is_some() { vec![gpu, without] } else { vec![without] }
}

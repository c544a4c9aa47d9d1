//! The device that tests run on.

use codriver_gpu::Gpu;

/// CUDA where this build and this machine have it, otherwise what wgpu finds.
pub fn open() -> Option<Gpu> {
    match Gpu::cuda().or_else(|_| Gpu::wgpu()) {
        Ok(gpu) => {
            println!("{gpu:?}");
            Some(gpu)
        }
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// The device with its plane operations, where it has some, and without them.
pub fn variants() -> Vec<Gpu> {
    let Some(gpu) = open() else { return Vec::new() };
    let without = gpu.clone().without_planes();
    if gpu.describe() == without.describe() { vec![without] } else { vec![gpu, without] }
}

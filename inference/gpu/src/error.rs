//! What can go wrong on a device.

use codriver_kernels::Format;

/// Why something could not be put on a device or computed there.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    #[error("weights of {rows} x {columns} need {expected} bytes as {format}, and there are {found}")]
    Size { format: Format, rows: usize, columns: usize, expected: usize, found: usize },
    #[error("{columns} columns can't be held as {format}")]
    Columns { format: Format, columns: usize },
    #[error("{bytes} bytes in one buffer are more than the {largest} that the device takes")]
    Buffer { bytes: u64, largest: u64 },
    #[error("the GPU has no memory for {bytes} bytes more")]
    Memory { bytes: u64 },
    #[error("the kernels have no {0}")]
    Unsupported(String),
    #[error("the step does not fit what the decoder was made for: {0}")]
    Step(String),
    #[error("the device failed: {0}")]
    Device(String),
}

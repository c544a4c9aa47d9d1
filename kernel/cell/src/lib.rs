//! What a Rust cell in Codriver can do besides printing: show rich output and change it
//! while it runs, and read the tables that `%%sql -o name` keeps.
//!
//! ```no_run
//! let progress = cell::display("text/plain", "starting");
//! for step in 0..10 {
//!     progress.update("text/plain", &format!("{step} of 10"));
//! }
//! let sales = cell::frame("sales").unwrap();
//! let total: f64 = sales.column::<f64>("amount").into_iter().flatten().sum();
//! ```
//!
//! Outside a notebook, displays print their plain text and frames are errors.

mod display;
mod frame;

pub use display::{Bundle, Display, display, html, markdown};
pub use frame::{Column, Frame, FrameError, frame};

/// Names the kernel's Unix socket in a cell's environment.
const SOCKET: &str = "CODRIVER_CELL_SOCKET";

//! One notebook's run: what it holds and how a cell is executed in it.

mod interrupt;
mod output;

pub use interrupt::{Interrupt, InterruptGuard};
pub use output::{LiveDisplay, MimeBundle, Output, OutputEvent, OutputSink, RecordingSink};

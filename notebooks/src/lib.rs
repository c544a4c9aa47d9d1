//! Notebook files: read, run and show them.
//!
//! [`Notebook::read`] and [`Notebook::write`] keep everything a file holds, known to us
//! or not. [`run()`] executes the code cells over an [`Executor`] and keeps the outputs as
//! nbclient would. [`to_html`] makes a page that stands alone; [`to_terminal`] is what a
//! terminal can show of an output.

mod error;
mod file;
mod html;
mod notebook;
mod output;
mod run;
mod terminal;

pub use error::NotebookError;
pub use html::{escape, to_html};
pub use notebook::{Cell, CellKind, Notebook};
pub use output::{Bundle, Output, OutputEvent, StreamName};
pub use run::{CellReport, CellStatus, Executor, RunEvent, RunOptions, RunReport, run};
pub use terminal::to_terminal;

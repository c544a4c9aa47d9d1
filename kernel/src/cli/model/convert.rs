//! `codriver model convert` and `quantize`.

use std::process::ExitCode;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};

use crate::agent::store::convert::{NotWritten, Written};
use crate::cli::signals::interrupt_on_ctrl_c;
use crate::session::Interrupt;

type OnProgress<'a> = &'a mut dyn FnMut(usize, usize, &str);

/// Writes the file under a progress bar, and prints its path.
pub fn write(work: impl FnOnce(&Interrupt, OnProgress<'_>) -> Result<Written, NotWritten>) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::new();
    interrupt_on_ctrl_c(interrupt.clone())?;
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {percent:>3} %  {eta} left  {wide_msg}") {
        bar.set_style(style);
    }
    let written = work(&interrupt, &mut |done, total, tensor| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(tensor.to_owned());
    });
    bar.finish_and_clear();
    match written {
        Ok(written) => {
            eprintln!("{}", written.text());
            super::print(&format!("{}\n", written.path.display()))
        }
        Err(NotWritten::Interrupted) => {
            eprintln!("codriver: interrupted; nothing was written");
            Ok(ExitCode::from(130))
        }
        Err(NotWritten::Failed(reason)) => Err(anyhow!(reason)),
    }
}

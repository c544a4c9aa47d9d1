//! Bars on standard error, and Ctrl-C.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::signals::interrupt_on_ctrl_c;
use crate::session::Interrupt;

/// Shows one thing at a time, and knows whether to go on.
pub(super) struct Display {
    quiet: bool,
    interrupt: Interrupt,
}

impl Display {
    pub fn new(quiet: bool) -> anyhow::Result<Self> {
        let interrupt = Interrupt::new();
        interrupt_on_ctrl_c(interrupt.clone())?;
        Ok(Self { quiet, interrupt })
    }

    /// Runs `work` under a bar; what it is given takes how much is done of how much, and says false once the person
    /// has pressed Ctrl-C.
    pub fn under_bar<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&(dyn Fn(usize, usize) -> bool + Sync)) -> T,
    ) -> T {
        let bar = if self.quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        if let Ok(style) = ProgressStyle::with_template(
            "{bar:32} {percent:>3} %  {human_pos} of {human_len}  {per_sec}  {eta} left  {wide_msg}",
        ) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        let done = work(&|done, total| {
            if bar.length() != Some(total as u64) {
                bar.set_length(total as u64);
            }
            bar.set_position(done as u64);
            !self.interrupt.is_set()
        });
        bar.finish_and_clear();
        done
    }

    pub fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}

//! The language engines with the real thing behind them: DuckDB, bash, rustc.

mod rust;
mod shell;
mod sql;
mod sql_guard;

use std::sync::Arc;

use codriver::languages::CellContext;
use codriver::session::{Interrupt, Output, OutputEvent, RecordingSink};

/// A cell's context whose outputs can be looked at.
pub struct Recorded {
    pub context: CellContext,
    sink: Arc<RecordingSink>,
}

impl Recorded {
    pub fn new() -> Self {
        let sink = Arc::new(RecordingSink::default());
        let context =
            CellContext { output: Output::new(sink.clone()), interrupt: Interrupt::new(), execution_count: 1 };
        Self { context, sink }
    }

    pub fn events(&self) -> Vec<OutputEvent> {
        self.sink.events()
    }

    pub fn stdout(&self) -> String {
        let text = |event| {
            if let OutputEvent::Stdout(text) = event { Some(text) } else { None }
        };
        self.events().into_iter().filter_map(text).collect()
    }

    pub fn stderr(&self) -> String {
        let text = |event| {
            if let OutputEvent::Stderr(text) = event { Some(text) } else { None }
        };
        self.events().into_iter().filter_map(text).collect()
    }

    /// Interrupts once `ready` holds for what was written.
    pub fn interrupt_when(&self, ready: impl Fn(&[OutputEvent]) -> bool + Send + 'static) {
        let (sink, interrupt) = (self.sink.clone(), self.context.interrupt.clone());
        std::thread::spawn(move || {
            while !ready(&sink.events()) {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            interrupt.trigger();
        });
    }

    pub fn interrupt_after(&self, milliseconds: u64) {
        let interrupt = self.context.interrupt.clone();
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            interrupt.trigger();
        });
    }
}

pub fn plain(lines: &[String]) -> String {
    strip_ansi_escapes::strip_str(lines.join("\n"))
}

//! Running a notebook's code cells in order, and what becomes of their outputs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::{Bundle, Cell, CellKind, Notebook, Output, OutputEvent};

/// What executes a cell: a session in this process, or a kernel behind a socket.
pub trait Executor {
    /// Runs `code` to its end and hands over each output as it comes. A failure's
    /// [`OutputEvent::Error`] is among them.
    fn execute(&mut self, code: &str, on_output: &mut dyn FnMut(OutputEvent)) -> CellStatus;
}

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellStatus {
    Succeeded,
    Failed,
    /// Stopped by the user: the run ends, whatever errors are allowed.
    Interrupted,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Go on after a cell that failed.
    pub allow_errors: bool,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// A cell starts; `number` of `total` code cells that will run.
    Started { index: usize, number: usize, total: usize, cell: &'a Cell },
    /// An output arrived, before it is merged into the notebook.
    Output { index: usize, event: &'a OutputEvent },
    /// The cell has its outputs.
    Finished { index: usize, report: &'a CellReport, cell: &'a Cell },
}

/// How one executed cell went.
#[derive(Debug, Clone, PartialEq)]
pub struct CellReport {
    /// The cell's place in the notebook.
    pub index: usize,
    pub status: CellStatus,
    /// Failed, but tagged `raises-exception`.
    pub expected: bool,
    pub elapsed: Duration,
    /// `name: value` of the error, if there was one.
    pub error: Option<String>,
}

/// How the run went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunReport {
    pub cells: Vec<CellReport>,
    /// Code cells that were not reached because an earlier one failed.
    pub not_run: usize,
}

impl RunReport {
    /// Cells that failed without being expected to.
    pub fn failures(&self) -> impl Iterator<Item = &CellReport> {
        self.cells.iter().filter(|report| report.status != CellStatus::Succeeded && !report.expected)
    }

    pub fn succeeded(&self) -> bool {
        self.failures().next().is_none()
    }
}

/// Runs the code cells, in order. Old outputs of all of them go first, so that what the
/// notebook holds afterwards is of this run alone. Cells tagged `skip-execution` and
/// empty ones are left out; a failure ends the run unless the cell is tagged
/// `raises-exception` or errors are allowed.
pub fn run(
    notebook: &mut Notebook,
    executor: &mut dyn Executor,
    options: &RunOptions,
    progress: &mut dyn FnMut(RunEvent<'_>),
) -> RunReport {
    let indices: Vec<usize> = (0..notebook.cells.len()).filter(|&index| is_run(&notebook.cells[index])).collect();
    for cell in notebook.cells.iter_mut().filter(|cell| cell.kind() == CellKind::Code) {
        if !cell.has_tag("skip-execution") {
            cell.set_outputs(&[]);
            cell.set_execution_count(None);
        }
    }
    let mut report = RunReport::default();
    let mut outputs = Outputs::default();
    for (done, &index) in indices.iter().enumerate() {
        let number = done + 1;
        let cell = &mut notebook.cells[index];
        cell.set_execution_count(Some(number as u64));
        progress(RunEvent::Started { index, number, total: indices.len(), cell });
        outputs.start(index, number as u64);
        let started = Instant::now();
        let status = executor.execute(&cell.source(), &mut |event| {
            progress(RunEvent::Output { index, event: &event });
            outputs.take(event);
        });
        let elapsed = started.elapsed();
        for (index, list) in outputs.finish() {
            notebook.cells[index].set_outputs(list);
        }
        let cell = &notebook.cells[index];
        let expected = status == CellStatus::Failed && cell.has_tag("raises-exception");
        let cell_report = CellReport { index, status, expected, elapsed, error: error_of(cell) };
        progress(RunEvent::Finished { index, report: &cell_report, cell });
        report.cells.push(cell_report);
        let stop = match status {
            CellStatus::Succeeded => false,
            CellStatus::Failed => !expected && !options.allow_errors,
            CellStatus::Interrupted => true,
        };
        if stop {
            report.not_run = indices.len() - number;
            break;
        }
    }
    report
}

fn is_run(cell: &Cell) -> bool {
    cell.kind() == CellKind::Code && !cell.has_tag("skip-execution") && !cell.source().trim().is_empty()
}

fn error_of(cell: &Cell) -> Option<String> {
    cell.outputs().into_iter().find_map(|output| match output {
        Output::Error { name, value, .. } => Some(format!("{name}: {value}")),
        _ => None,
    })
}

/// The outputs of all cells while a run goes on, and where each display id is shown.
#[derive(Default)]
struct Outputs {
    cell: usize,
    execution_count: u64,
    cells: HashMap<usize, Vec<Output>>,
    shown: HashMap<String, Vec<(usize, usize)>>,
    clear_before_next: bool,
    changed: Vec<usize>,
}

impl Outputs {
    fn start(&mut self, cell: usize, execution_count: u64) {
        self.cell = cell;
        self.execution_count = execution_count;
        self.clear_before_next = false;
        self.changed = vec![cell];
        self.cells.insert(cell, Vec::new());
    }

    /// The cells whose outputs have changed since `start`.
    fn finish(&self) -> impl Iterator<Item = (usize, &[Output])> {
        self.changed.iter().filter_map(|&cell| Some((cell, self.cells.get(&cell)?.as_slice())))
    }

    fn take(&mut self, event: OutputEvent) {
        match event {
            OutputEvent::Clear { wait: true } => self.clear_before_next = true,
            OutputEvent::Clear { wait: false } => self.clear(),
            OutputEvent::UpdateDisplay { bundle, display_id } => self.update(&display_id, &bundle),
            OutputEvent::Stream { name, text } => {
                self.clear_if_due();
                let outputs = self.cells.entry(self.cell).or_default();
                match outputs.last_mut() {
                    Some(Output::Stream { name: last, text: all }) if *last == name => all.push_str(&text),
                    _ => outputs.push(Output::Stream { name, text }),
                }
            }
            OutputEvent::Display { bundle, display_id } => {
                if let Some(id) = &display_id {
                    self.update(id, &bundle);
                }
                let place = self.push(Output::Display { bundle });
                if let Some(id) = display_id {
                    self.shown.entry(id).or_default().push(place);
                }
            }
            OutputEvent::Result { bundle } => {
                self.push(Output::Result { bundle, execution_count: Some(self.execution_count) });
            }
            OutputEvent::Error { name, value, traceback } => {
                self.push(Output::Error { name, value, traceback });
            }
        }
    }

    fn push(&mut self, output: Output) -> (usize, usize) {
        self.clear_if_due();
        let outputs = self.cells.entry(self.cell).or_default();
        outputs.push(output);
        (self.cell, outputs.len() - 1)
    }

    fn update(&mut self, display_id: &str, bundle: &Bundle) {
        for &(cell, place) in self.shown.get(display_id).into_iter().flatten() {
            if let Some(Output::Display { bundle: shown }) =
                self.cells.get_mut(&cell).and_then(|outputs| outputs.get_mut(place))
            {
                shown.clone_from(bundle);
                if !self.changed.contains(&cell) {
                    self.changed.push(cell);
                }
            }
        }
    }

    fn clear_if_due(&mut self) {
        if std::mem::take(&mut self.clear_before_next) {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.clear_before_next = false;
        let cell = self.cell;
        self.cells.insert(cell, Vec::new());
        for places in self.shown.values_mut() {
            places.retain(|&(shown_in, _)| shown_in != cell);
        }
    }
}

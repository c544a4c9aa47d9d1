use std::collections::VecDeque;

use codriver_notebooks::{
    Bundle, Cell, CellStatus, Executor, Notebook, Output, OutputEvent, RunEvent, RunOptions, StreamName, run,
};
use serde_json::json;

/// Plays back what each cell sends, and notes the code it was given.
#[derive(Default)]
struct Script {
    cells: VecDeque<(Vec<OutputEvent>, CellStatus)>,
    seen: Vec<String>,
}

impl Script {
    fn cell(mut self, events: Vec<OutputEvent>, status: CellStatus) -> Self {
        self.cells.push_back((events, status));
        self
    }
}

impl Executor for Script {
    fn execute(&mut self, code: &str, on_output: &mut dyn FnMut(OutputEvent)) -> CellStatus {
        self.seen.push(code.to_owned());
        let (events, status) = self.cells.pop_front().unwrap_or((Vec::new(), CellStatus::Succeeded));
        events.into_iter().for_each(on_output);
        status
    }
}

fn stdout(text: &str) -> OutputEvent {
    OutputEvent::Stream { name: StreamName::Stdout, text: text.to_owned() }
}

fn stderr(text: &str) -> OutputEvent {
    OutputEvent::Stream { name: StreamName::Stderr, text: text.to_owned() }
}

fn bundle(text: &str) -> Bundle {
    let mut bundle = Bundle::default();
    bundle.data.insert("text/plain".to_owned(), json!(text));
    bundle
}

fn display(text: &str, id: Option<&str>) -> OutputEvent {
    OutputEvent::Display { bundle: bundle(text), display_id: id.map(str::to_owned) }
}

fn update(text: &str, id: &str) -> OutputEvent {
    OutputEvent::UpdateDisplay { bundle: bundle(text), display_id: id.to_owned() }
}

fn error() -> OutputEvent {
    OutputEvent::Error {
        name: "Panic".to_owned(),
        value: "at the disco".to_owned(),
        traceback: vec!["line".to_owned()],
    }
}

fn notebook(sources: &[&str]) -> Notebook {
    let mut notebook = Notebook::new();
    notebook.cells = sources.iter().map(|source| Cell::code(source)).collect();
    notebook
}

fn texts(cell: &Cell) -> Vec<String> {
    cell.outputs()
        .iter()
        .map(|output| match output {
            Output::Stream { name, text } => format!("{name:?}:{text}"),
            Output::Display { bundle } => format!("display:{}", bundle.text("text/plain").unwrap()),
            Output::Result { bundle, execution_count } => {
                format!("result {}:{}", execution_count.unwrap(), bundle.text("text/plain").unwrap())
            }
            Output::Error { name, value, .. } => format!("error:{name}:{value}"),
        })
        .collect()
}

#[test]
fn streams_merge_and_results_carry_their_count() {
    let mut book = notebook(&["a", "b"]);
    let mut script = Script::default()
        .cell(vec![stdout("1"), stdout("2\n"), stderr("e"), stdout("3")], CellStatus::Succeeded)
        .cell(vec![OutputEvent::Result { bundle: bundle("42") }], CellStatus::Succeeded);
    let report = run(&mut book, &mut script, &RunOptions::default(), &mut |_| {});
    assert!(report.succeeded());
    assert_eq!(script.seen, ["a", "b"]);
    assert_eq!(texts(&book.cells[0]), ["Stdout:12\n", "Stderr:e", "Stdout:3"]);
    assert_eq!(texts(&book.cells[1]), ["result 2:42"]);
    assert_eq!(book.cells[1].execution_count(), Some(2));
}

#[test]
fn displays_keep_their_last_state_also_when_a_later_cell_updates_them() {
    let mut book = notebook(&["a", "b"]);
    let mut script = Script::default()
        .cell(
            vec![display("0 %", Some("bar")), display("plain", None), update("50 %", "bar"), update("x", "unknown")],
            CellStatus::Succeeded,
        )
        .cell(vec![update("99 %", "bar"), display("100 %", Some("bar"))], CellStatus::Succeeded);
    run(&mut book, &mut script, &RunOptions::default(), &mut |_| {});
    assert_eq!(texts(&book.cells[0]), ["display:100 %", "display:plain"]);
    assert_eq!(texts(&book.cells[1]), ["display:100 %"]);
}

#[test]
fn clearing_is_at_once_or_with_the_next_output() {
    let mut book = notebook(&["now", "wait", "never"]);
    let mut script = Script::default()
        .cell(vec![stdout("old"), OutputEvent::Clear { wait: false }], CellStatus::Succeeded)
        .cell(
            vec![
                display("old", Some("id")),
                OutputEvent::Clear { wait: true },
                display("new", None),
                update("x", "id"),
            ],
            CellStatus::Succeeded,
        )
        .cell(vec![stdout("stays"), OutputEvent::Clear { wait: true }], CellStatus::Succeeded);
    run(&mut book, &mut script, &RunOptions::default(), &mut |_| {});
    assert_eq!(texts(&book.cells[0]), [""; 0]);
    assert_eq!(texts(&book.cells[1]), ["display:new"], "the cleared display is not updated any more");
    assert_eq!(texts(&book.cells[2]), ["Stdout:stays"]);
}

#[test]
fn the_first_error_ends_the_run_and_old_outputs_are_gone() {
    let mut book = notebook(&["a", "b", "c"]);
    book.cells[2].set_outputs(&[Output::Stream { name: StreamName::Stdout, text: "of last week".to_owned() }]);
    book.cells[2].set_execution_count(Some(9));
    let mut script =
        Script::default().cell(vec![], CellStatus::Succeeded).cell(vec![stdout("before"), error()], CellStatus::Failed);
    let report = run(&mut book, &mut script, &RunOptions::default(), &mut |_| {});
    assert!(!report.succeeded());
    assert_eq!(report.not_run, 1);
    let failure = report.failures().next().unwrap();
    assert_eq!((failure.index, failure.error.as_deref()), (1, Some("Panic: at the disco")));
    assert_eq!(texts(&book.cells[1]), ["Stdout:before", "error:Panic:at the disco"]);
    assert_eq!(texts(&book.cells[2]), [""; 0]);
    assert_eq!(book.cells[2].execution_count(), None);
}

#[test]
fn errors_that_are_allowed_or_expected_do_not_end_it_but_an_interrupt_does() {
    let failing = || Script::default().cell(vec![error()], CellStatus::Failed);

    let mut book = notebook(&["a", "b"]);
    let report = run(&mut book, &mut failing(), &RunOptions { allow_errors: true }, &mut |_| {});
    assert_eq!((report.cells.len(), report.succeeded()), (2, false), "allowed, and still reported");

    let mut book = notebook(&["a", "b"]);
    book.cells[0].set_metadata("tags", json!(["raises-exception"]));
    let report = run(&mut book, &mut failing(), &RunOptions::default(), &mut |_| {});
    assert_eq!((report.cells.len(), report.succeeded()), (2, true));

    let mut book = notebook(&["a", "b"]);
    book.cells[0].set_metadata("tags", json!(["raises-exception"]));
    let mut script = Script::default().cell(vec![], CellStatus::Interrupted);
    let report = run(&mut book, &mut script, &RunOptions { allow_errors: true }, &mut |_| {});
    assert_eq!((report.cells.len(), report.not_run, report.succeeded()), (1, 1, false));
}

#[test]
fn skipped_and_empty_cells_are_left_as_they_are() {
    let mut book = notebook(&["run", "skip", "  \n", "run"]);
    book.cells[1].set_metadata("tags", json!(["skip-execution"]));
    book.cells[1].set_outputs(&[Output::Stream { name: StreamName::Stdout, text: "kept".to_owned() }]);
    book.cells.insert(0, Cell::markdown("text"));
    let mut script = Script::default();
    let mut log = Vec::new();
    let report = run(&mut book, &mut script, &RunOptions::default(), &mut |event| match event {
        RunEvent::Started { index, number, total, .. } => log.push(format!("start {index} {number}/{total}")),
        RunEvent::Output { .. } => log.push("output".to_owned()),
        RunEvent::Finished { index, report, .. } => log.push(format!("end {index} {:?}", report.status)),
    });
    assert_eq!(script.seen, ["run", "run"]);
    assert_eq!(log, ["start 1 1/2", "end 1 Succeeded", "start 4 2/2", "end 4 Succeeded"]);
    assert_eq!(texts(&book.cells[2]), ["Stdout:kept"]);
    assert_eq!(book.cells[3].execution_count(), None);
    assert_eq!(report.cells.len(), 2);
}

#[test]
fn text_is_stored_by_lines_and_data_whole() {
    let mut book = notebook(&["a"]);
    let mut shown = bundle("one\ntwo");
    shown.data.insert("image/png".to_owned(), json!("AAAA\n"));
    shown.data.insert("application/json".to_owned(), json!({"b": 1, "a": 2}));
    let mut script =
        Script::default().cell(vec![OutputEvent::Display { bundle: shown, display_id: None }], CellStatus::Succeeded);
    run(&mut book, &mut script, &RunOptions::default(), &mut |_| {});
    let text = book.to_json_text().unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let output = &value["cells"][0]["outputs"][0];
    assert_eq!(output["data"]["text/plain"], json!(["one\n", "two"]));
    assert_eq!(output["data"]["image/png"], json!("AAAA\n"));
    assert_eq!(output["data"]["application/json"], json!({"b": 1, "a": 2}));
    assert!(output.get("transient").is_none());
}

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use codriver::languages::rust::{RustEngine, RustOptions};
use codriver::languages::sql::{SqlEngine, SqlOptions};
use codriver::languages::{CellError, Completeness};
use codriver::session::{MimeBundle, OutputEvent};

use super::{Recorded, plain};

static FRAMES: LazyLock<SqlEngine> = LazyLock::new(|| SqlEngine::open().unwrap());

/// For tests that leave the session as it was, but for names of their own.
static SHARED: LazyLock<RustEngine> = LazyLock::new(start);

fn start() -> RustEngine {
    RustEngine::start_with(RustOptions {
        runtime: Some(PathBuf::from(env!("CARGO_BIN_EXE_codriver"))),
        frames: Some(FRAMES.clone()),
        workspace: None,
    })
}

fn run(code: &str) -> (Result<Option<MimeBundle>, CellError>, Recorded) {
    run_in(&SHARED, code)
}

fn run_in(engine: &RustEngine, code: &str) -> (Result<Option<MimeBundle>, CellError>, Recorded) {
    let recorded = Recorded::new();
    let result = engine.execute(code, &recorded.context).map(|outcome| outcome.result);
    (result, recorded)
}

fn value(code: &str) -> String {
    let (result, _) = run(code);
    result.unwrap().map(|bundle| bundle.text().to_owned()).unwrap_or_default()
}

#[test]
fn values_persist_and_the_last_expression_is_shown() {
    assert_eq!(value("let persisted = vec![1, 2, 3]; let mut text = String::from(\"a\");"), "");
    assert_eq!(value("text.push('b');\n(persisted.iter().sum::<i32>(), &text)"), "(6, \"ab\")");
    assert_eq!(value("println!(\"no value\")"), "");
    assert_eq!(value("fn double(x: i32) -> i32 { x * 2 }\ndouble(21)"), "42");
    assert!(SHARED.variables().contains(&"persisted: Vec<i32>".to_owned()), "{:?}", SHARED.variables());
}

#[test]
fn output_streams_without_newlines() {
    let recorded = Recorded::new();
    let code =
        "print!(\"a\");\nstd::thread::sleep(std::time::Duration::from_millis(400));\neprint!(\"e\");\nprint!(\"b\");";
    SHARED.execute(code, &recorded.context).unwrap();
    assert_eq!((recorded.stdout(), recorded.stderr()), ("ab".to_owned(), "e".to_owned()));
    assert_eq!(recorded.events()[0], OutputEvent::Stdout("a".to_owned()), "{:?}", recorded.events());
    assert_eq!(run("print!(\"before \"); 7").1.stdout(), "before ");
}

#[test]
fn much_output_arrives_whole_and_in_order() {
    let (result, recorded) = run("for i in 0..200_000 { println!(\"{i}\"); }");
    result.unwrap();
    let expected: String = (0..200_000).map(|i| format!("{i}\n")).collect();
    assert!(recorded.stdout() == expected);
}

#[test]
fn rich_output_by_evcxrs_convention() {
    let code = r#"
        struct Matrix(i32);
        impl Matrix {
            pub fn evcxr_display(&self) {
                println!("EVCXR_BEGIN_CONTENT text/html\n<b>{}</b>\nEVCXR_END_CONTENT", self.0);
                println!("EVCXR_BEGIN_CONTENT text/plain\nmatrix {}\nEVCXR_END_CONTENT", self.0);
            }
        }
        Matrix(1).evcxr_display();
        print!("between");
        Matrix(2)
    "#;
    let engine = start();
    let (result, recorded) = run_in(&engine, code);
    let bundle = result.unwrap().unwrap();
    assert_eq!((bundle.text(), bundle.data["text/html"].as_str()), ("matrix 2", Some("<b>2</b>")));
    let events = recorded.events();
    assert!(matches!(&events[0], OutputEvent::Display { bundle, .. } if bundle.text() == "matrix 1"), "{events:?}");
    assert_eq!(events[1], OutputEvent::Stdout("between".to_owned()));
    // What has no display of its own is still shown.
    assert_eq!(run_in(&engine, "1 + 1").0.unwrap().unwrap().text(), "2");
}

#[test]
fn the_cell_crate_updates_displays_and_reads_frames() {
    let keep = SqlOptions { limit: 1, output: Some("shared_frame".to_owned()) };
    FRAMES
        .execute("select range as n, 'it''s' as word, null as nothing from range(3)", &keep, &Recorded::new().context)
        .unwrap();
    let code = "let display = cell::display(\"text/plain\", \"one\");\nprint!(\"x\");\ndisplay.update(\"text/html\", \"<i>two</i>\");\n\
                let frame = cell::frame(\"shared_frame\").unwrap();\n\
                (frame.len(), frame.column::<i64>(\"n\"), frame.columns[1].data_type.clone(), frame.rows[0][2].clone())";
    let (result, recorded) = run(code);
    assert_eq!(result.unwrap().unwrap().text(), "(3, [Some(0), Some(1), Some(2)], \"VARCHAR\", None)");
    let events = recorded.events();
    let [
        OutputEvent::Display { bundle, display_id: Some(shown) },
        OutputEvent::Stdout(_),
        OutputEvent::UpdateDisplay { bundle: updated, display_id },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((bundle.text(), shown), ("one", display_id));
    assert_eq!(updated.data["text/html"], "<i>two</i>");
    assert!(value("cell::frame(\"no_such_frame\").unwrap_err().to_string()").contains("no_such_frame"));
}

#[test]
fn a_panic_is_an_error_at_its_line() {
    let (result, recorded) =
        run("let safe = 1;\nlet items = vec![1];\nlet index = 3;\nprint!(\"partial\");\nitems[index]");
    let error = result.unwrap_err();
    assert_eq!(error.name, "Panic");
    assert!(error.value.contains("index out of bounds"), "{error}");
    let shown = plain(&error.traceback);
    assert!(shown.contains("line 5") && shown.contains("5 | items[index]"), "{shown}");
    assert_eq!(recorded.stdout(), "partial");
    assert_eq!(SHARED.last_error(), Some(error));
    let (result, _) = run("fn explode() {\n    panic!(\"boom {}\", 1);\n}\nexplode();");
    let error = result.unwrap_err();
    assert_eq!(error.value, "boom 1");
    assert!(plain(&error.traceback).contains("line 2, column 5"), "{}", plain(&error.traceback));
    // A panic that the cell catches is not its end.
    assert_eq!(value("std::panic::catch_unwind(|| panic!(\"caught\")).is_err()"), "true");
}

#[test]
fn an_early_return_is_an_error() {
    let (result, _) = run("let parsed: i32 = \"x\".parse()?;\nparsed");
    let error = result.unwrap_err();
    assert_eq!(error.name, "EarlyReturn");
    assert!(error.value.contains("invalid digit"), "{error}");
    assert_eq!(value("let parsed: i32 = \"5\".parse()?;\nparsed"), "5");
}

#[test]
fn compile_errors_show_the_cells_own_lines() {
    let (result, _) = run("// a comment\nlet good = 1;\n  let bad: i32 = \"text\";");
    let error = result.unwrap_err();
    assert_eq!(error.name, "CompileError");
    assert!(error.value.contains("E0308"), "{error}");
    let shown = plain(&error.traceback);
    assert!(shown.contains("3 |   let bad: i32 = \"text\";\n  |") && shown.contains("^^^^^^ expected"), "{shown}");
    assert!(error.traceback.join("").contains("\u{1b}[1;31m"));
    let (result, _) = run("cell::display(\"text/plain\", \"x\");\nundefined_name");
    let shown = plain(&result.unwrap_err().traceback);
    assert!(shown.contains("2 | undefined_name\n  | ^^^^^^^^^^^^^^"), "{shown}");
}

#[test]
fn evcxrs_commands_work_but_quit() {
    value("let for_vars = 5u8;");
    assert!(value(":vars").contains("for_vars"));
    assert!(run(":quit").0.unwrap_err().value.contains("front end"));
    assert!(run(":no_such_command").0.is_err());
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(
        folder.path().join("Cargo.toml"),
        "[package]\nname = \"helper\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("src/lib.rs"), "pub fn answer() -> u8 { 42 }").unwrap();
    let engine = start();
    let code = format!(":dep helper = {{ path = {:?} }}\nhelper::answer()", folder.path());
    assert_eq!(run_in(&engine, &code).0.unwrap().unwrap().text(), "42");
    assert_eq!(run_in(&engine, ":fmt {:#?}\n").0.unwrap().unwrap().text(), "Output format: {:#?}");
    assert_eq!(run_in(&engine, "(1, 2)").0.unwrap().unwrap().text(), "(\n    1,\n    2,\n)");
}

#[test]
fn an_interrupt_while_running_says_what_was_lost() {
    let engine = start();
    run_in(&engine, "let first = 1; let second = String::new();").0.unwrap();
    let recorded = Recorded::new();
    recorded.interrupt_when(|events| events.contains(&OutputEvent::Stdout("running\n".to_owned())));
    let started = Instant::now();
    let error =
        engine.execute("println!(\"running\"); loop { std::hint::spin_loop(); }", &recorded.context).unwrap_err();
    assert_eq!(error.name, "Interrupted");
    assert!(error.value.contains("first") && error.value.contains("second"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60));
    let (result, recorded) = run_in(&engine, "print!(\"next\"); 1 + 1");
    assert_eq!(result.unwrap().unwrap().text(), "2");
    assert_eq!(recorded.stdout(), "next");
}

#[test]
fn an_interrupt_while_compiling_keeps_the_variables() {
    let engine = start();
    run_in(&engine, "let kept = 41;").0.unwrap();
    let recorded = Recorded::new();
    // A constant that takes the compiler long to evaluate.
    let slow = "#[allow(long_running_const_eval)]\nconst SLOW: u64 = { let mut i = 0u64; while i < 20_000_000_000 { i += 1; } i };\nSLOW";
    recorded.interrupt_after(1500);
    let started = Instant::now();
    let error = engine.execute(slow, &recorded.context).unwrap_err();
    assert_eq!(error.name, "Interrupted");
    assert!(error.value.contains("kept"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(run_in(&engine, "kept + 1").0.unwrap().unwrap().text(), "42");
}

#[test]
fn a_crash_is_an_error_and_the_next_cell_works() {
    let engine = start();
    run_in(&engine, "let gone = 1;").0.unwrap();
    let (result, recorded) = run_in(&engine, "println!(\"last words\"); std::process::exit(3);");
    let error = result.unwrap_err();
    assert_eq!(error.name, "Crash");
    assert!(error.value.contains('3') && error.value.contains("gone"), "{error}");
    assert_eq!(recorded.stdout(), "last words\n");
    assert_eq!(run_in(&engine, "2 + 2").0.unwrap().unwrap().text(), "4");
}

#[test]
fn completion_and_inspection_know_the_session() {
    // A busy session does not complete, so this one is nobody else's.
    let engine = start();
    run_in(&engine, "let completable: Vec<u8> = Vec::new();").0.unwrap();
    let code = "complet";
    let completions = engine.complete(code, code.len());
    assert!(completions.matches.iter().any(|completion| completion.text == "completable"), "{completions:?}");
    let code = "completable.is_emp";
    let completions = engine.complete(code, code.len());
    assert!(completions.matches.iter().any(|completion| completion.text.starts_with("is_empty")), "{completions:?}");
    assert_eq!((completions.start, completions.end), (12, 18));
    let inspected = engine.inspect("completable", 3).unwrap();
    assert!(inspected.text().contains("Vec<u8>"), "{}", inspected.text());
    assert_eq!(engine.is_complete("let x = ("), Completeness::Incomplete { indent: "    ".to_owned() });
}

#[test]
fn without_a_toolchain_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // The runtime, started without a PATH.
    let wrapper = folder.path().join("codriver");
    let script =
        format!("#!/bin/sh\nPATH=/nonexistent HOME=/nonexistent exec {} \"$@\"\n", env!("CARGO_BIN_EXE_codriver"));
    std::fs::write(&wrapper, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&wrapper, mode).unwrap();
    let engine = RustEngine::start_with(RustOptions { runtime: Some(wrapper), ..RustOptions::default() });
    let error = engine.execute("1 + 1", &Recorded::new().context).unwrap_err();
    assert_eq!(error.name, "RustUnavailable");
    assert!(error.value.contains("rustup.rs"), "{error}");
}

//! The command line.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kernel::{Kernel, binary};

fn codriver(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .env("CODRIVER_DATA_DIR", folder.join("data"))
        .env("CODRIVER_CONFIG_DIR", folder.join("configuration"))
        .output()
        .unwrap()
}

fn write_notebook(folder: &Path, name: &str, cells: &[&str]) {
    let cell = |(index, source): (usize, &&str)| {
        json!({
            "cell_type": "code", "id": format!("c{index}"), "source": source,
            "metadata": {}, "outputs": [], "execution_count": null,
        })
    };
    let notebook = json!({
        "cells": cells.iter().enumerate().map(cell).collect::<Vec<_>>(),
        "metadata": { "kernelspec": { "name": "codriver", "display_name": "Codriver", "language": "rust" } },
        "nbformat": 4, "nbformat_minor": 5,
    });
    std::fs::write(folder.join(name), notebook.to_string()).unwrap();
}

#[test]
fn a_notebook_runs_and_its_results_lie_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    write_notebook(
        folder.path(),
        "work.ipynb",
        &["# Parameters\nn = 6", "%%sql -o t\nSELECT {{n}} * 7 AS answer", "!echo '{{t}}'; pwd"],
    );
    let before = std::fs::read(folder.path().join("work.ipynb")).unwrap();
    let output = codriver(folder.path(), &["run", "work.ipynb"]);
    assert!(output.status.success(), "{output:?}");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("answer") && stdout.contains("42"), "{stdout}");
    assert!(stderr.contains("[3/3]") && stderr.contains("3 cells run"), "{stderr}");

    let executed: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("work.executed.ipynb")).unwrap()).unwrap();
    assert_eq!(executed["cells"][2]["outputs"][0]["text"][0], "42\n");
    assert_eq!(executed["cells"][1]["execution_count"], 2);
    assert!(std::fs::read_to_string(folder.path().join("work.executed.html")).unwrap().contains("42"));
    assert_eq!(std::fs::read(folder.path().join("work.ipynb")).unwrap(), before, "the notebook itself is left alone");
    assert!(!folder.path().join("data").exists(), "a run leaves nothing with the user's data");
}

#[test]
fn prompts_have_versions_and_examples_are_chosen_by_likeness() {
    let folder = tempfile::tempdir().unwrap();
    let cells = [
        "%%sql\nCREATE TABLE sales AS SELECT 'March' AS month, 7 AS revenue",
        "%%prompt edit chat\nYou answer in rhymes. {% include \"rules.j2\" %}",
        "%%prompt edit chat\nYou answer in verses.\n{% include \"rules.j2\" %}",
        "%prompt diff chat 1",
        "%%prompt edit chat\n{% for %}",
        "%prompt show chat",
        "%prompt use chat 1",
        "%prompt show chat",
        "%prompt use chat 9",
        "%prompt show caht",
        "%prompt list",
        "%prompt use chat built-in",
        "%%agent how many rows has sales?",
        "%prompt example add",
        "%prompt example",
        "%prompt example remove 1",
        "%prompt example",
    ];
    write_notebook(folder.path(), "prompts.ipynb", &cells);
    let output = codriver(folder.path(), &["run", "prompts.ipynb", "--allow-errors"]);
    let executed: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("prompts.executed.ipynb")).unwrap()).unwrap();
    let shown = |cell: usize| executed["cells"][cell]["outputs"].to_string();
    assert!(shown(2).contains("version 2"), "{}", shown(2));
    assert!(shown(3).contains("in rhymes") && shown(3).contains("in verses"), "{}", shown(3));
    assert!(shown(4).contains("PromptError") && shown(4).contains("is not kept"), "{}", shown(4));
    assert!(shown(5).contains("in verses"), "what does not render is not used: {}", shown(5));
    assert!(shown(7).contains("in rhymes") && !shown(7).contains("in verses"), "{}", shown(7));
    assert!(shown(8).contains("no version 9"), "{}", shown(8));
    assert!(shown(9).contains("Did you mean"), "{}", shown(9));
    assert!(shown(10).contains("version 1") && shown(10).contains("1, 2"), "{}", shown(10));
    assert!(shown(14).contains("how many rows has sales?"), "{}", shown(14));
    assert!(shown(16).contains("there are no examples"), "{}", shown(16));
    assert!(!folder.path().join("configuration/prompts/chat.j2").exists(), "{output:?}");
    assert!(folder.path().join("configuration/prompts/versions/chat/2.j2").exists());
}

#[test]
fn a_failing_cell_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    write_notebook(folder.path(), "bad.ipynb", &["%sql SELECT * FROM missing", "!touch reached"]);
    let output = codriver(folder.path(), &["run", "bad.ipynb"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("1 failed") && stderr.contains("1 not reached") && stderr.contains("missing"), "{stderr}");
    assert!(!folder.path().join("reached").exists());

    let output =
        codriver(folder.path(), &["run", "bad.ipynb", "--allow-errors", "-o", "out.ipynb", "--html", "page.html"]);
    assert!(output.status.success());
    for file in ["reached", "out.ipynb", "page.html"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}

#[test]
fn a_cell_that_takes_too_long_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    write_notebook(folder.path(), "slow.ipynb", &["!sleep 100", "!echo next"]);
    let started = Instant::now();
    let output = codriver(folder.path(), &["run", "slow.ipynb", "--timeout", "1"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("longer than 1 s"), "{output:?}");
}

#[test]
fn what_is_not_a_notebook_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.ipynb"), "not json").unwrap();
    for name in ["x.ipynb", "absent.ipynb"] {
        let output = codriver(folder.path(), &["run", name]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(name), "{output:?}");
    }
}

#[test]
fn installs_and_uninstalls_a_kernel_that_starts_this_binary() {
    let folder = tempfile::tempdir().unwrap();
    let output = codriver(folder.path(), &["install", "--prefix", "prefix", "--name", "mine"]);
    assert!(output.status.success(), "{output:?}");
    let installed = folder.path().join("prefix/share/jupyter/kernels/mine");
    let kernel: Value = serde_json::from_slice(&std::fs::read(installed.join("kernel.json")).unwrap()).unwrap();
    assert_eq!(Path::new(kernel["argv"][0].as_str().unwrap()), binary());
    assert!(installed.join("logo-64x64.png").exists());
    assert!(codriver(folder.path(), &["uninstall", "--prefix", "prefix", "--name", "mine"]).status.success());
    assert!(!installed.exists());
    assert!(!codriver(folder.path(), &["uninstall", "--prefix", "prefix", "--name", "mine"]).status.success());
}

#[test]
fn without_a_rust_toolchain_everything_but_rust_works() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = Command::new(binary())
        .arg("doctor")
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder.path())
        .env("CODRIVER_DATA_DIR", folder.path().join("data"))
        .env_remove("CARGO_HOME")
        .env_remove("RUSTUP_HOME")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&doctor.stdout);
    assert!(report.contains("MISSING  rustc") && report.contains("https://rustup.rs"), "{report}");
    assert!(report.contains("ok       libduckdb"), "{report}");
    assert!(!doctor.status.success());

    let home = folder.path().to_owned();
    let mut kernel = Kernel::start_with(folder, |command| {
        command.env("PATH", "/usr/bin:/bin").env("HOME", home).env_remove("CARGO_HOME").env_remove("RUSTUP_HOME");
    });
    let client = &mut kernel.client;
    assert!(client.execute("%sql SELECT 6 * 7 AS n").result().contains("42"));
    assert_eq!(client.execute("!echo shell").stream("stdout"), "shell\n");
    let rust = client.execute("1 + 1");
    assert_eq!(rust.status(), "error");
    assert!(rust.reply["traceback"].to_string().contains("rustup"), "{rust:#?}");
    assert!(client.execute("%sql SELECT 1 AS n").result().contains('1'));
}

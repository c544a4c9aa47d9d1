//! `cargo xtask bench kernel`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::process::{self, say};
use crate::setup::python;
use crate::{build, paths};

#[derive(clap::Args)]
pub struct Options {
    /// Starts of each kernel
    #[arg(long, default_value_t = 10)]
    starts: usize,
    /// Quick cells of each kind
    #[arg(long, default_value_t = 100)]
    cells: usize,
    /// Rust cells of each kernel; each is compiled
    #[arg(long, default_value_t = 15)]
    rust_cells: usize,
    /// Install evcxr_jupyter for the comparison where it is missing (compiles it, some minutes)
    #[arg(long)]
    install_evcxr: bool,
}

/// Measures all kernels in turn and prints medians, ratios and the goals.
pub fn run(options: &Options) -> Result<()> {
    build::binary()?;
    let python = python::environment()?;
    let prefix = paths::cache()?.join("bench-kernels");
    process::capture(Command::new(paths::codriver()).args(["install", "--prefix"]).arg(&prefix))?;
    match evcxr(options.install_evcxr)? {
        Some(program) => write_evcxr_kernel(&prefix, &program)?,
        None => say("evcxr_jupyter is not installed: no comparison of Rust cells (--install-evcxr installs it)"),
    }
    say("measuring (the kernels take turns)");
    let mut command = Command::new(python);
    command
        .arg(paths::root().join("tests/python/bench_kernel.py"))
        .args(["codriver", "python3", "evcxr"])
        .args(["--starts", &options.starts.to_string()])
        .args(["--cells", &options.cells.to_string()])
        .args(["--rust-cells", &options.rust_cells.to_string()])
        .env("JUPYTER_PATH", prefix.join("share/jupyter"))
        .env("CODRIVER_DATA_DIR", prefix.join("data"));
    let report: Value =
        serde_json::from_str(process::capture(&mut command)?.trim()).context("the benchmark's report")?;
    print!("{}", table(&report));
    Ok(())
}

fn table(report: &Value) -> String {
    let figure = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
    let rows = [
        ("start to kernel_info", "/start/codriver", "ipykernel", "/start/python3", 0.5),
        ("trivial cell, SQL", "/cell/codriver SQL", "ipykernel", "/cell/ipykernel Python", 1.0),
        ("trivial cell, shell", "/cell/codriver shell", "ipykernel", "/cell/ipykernel Python", f64::INFINITY),
        ("trivial cell, Rust", "/rust/codriver Rust", "evcxr_jupyter", "/rust/evcxr Rust", 0.7),
    ];
    let mut text = format!("{:24} {:>12} {:>14} {:>12}  {:>6}  goal\n", "median", "codriver", "beside", "", "ratio");
    for (name, ours, peer, theirs, goal) in rows {
        let milliseconds = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2} ms"));
        let (ours, theirs) = (figure(ours), figure(theirs));
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        let verdict = match ratio {
            _ if goal.is_infinite() => String::new(),
            Some(ratio) if ratio <= goal => format!("<= {goal} met"),
            Some(_) => format!("<= {goal} MISSED"),
            None => format!("<= {goal} not measured"),
        };
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        text.push_str(&format!(
            "{name:24} {:>12} {peer:>14} {:>12}  {ratio:>6}  {verdict}\n",
            milliseconds(ours),
            milliseconds(theirs)
        ));
    }
    text
}

/// evcxr_jupyter from the path or our cache.
fn evcxr(install: bool) -> Result<Option<PathBuf>> {
    if let Some(program) = paths::find_program(&["evcxr_jupyter"]) {
        return Ok(Some(program));
    }
    let root = paths::cache()?.join("evcxr");
    let program = root.join("bin/evcxr_jupyter");
    if !program.exists() && install {
        say("cargo install evcxr_jupyter");
        process::run(process::cargo().args(["install", "evcxr_jupyter", "--locked", "--root"]).arg(&root))?;
    }
    Ok(program.exists().then_some(program))
}

fn write_evcxr_kernel(prefix: &Path, program: &Path) -> Result<()> {
    let folder = prefix.join("share/jupyter/kernels/evcxr");
    fs_err::create_dir_all(&folder)?;
    let kernel = json!({
        "argv": [program, "--control_file", "{connection_file}"],
        "display_name": "Rust (evcxr)",
        "language": "rust",
        "interrupt_mode": "message",
    });
    Ok(fs_err::write(folder.join("kernel.json"), kernel.to_string())?)
}

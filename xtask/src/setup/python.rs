//! The Python environment of the tests.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::paths;
use crate::process::{self, say};

/// The interpreter of an environment with everything the tests import. Made once; later
/// calls compare what `tests/python` asks for with what was installed, and return.
pub fn environment() -> Result<PathBuf> {
    let python = bare_environment()?;
    let wanted = wanted()?;
    let stamp = folder()?.join("codriver-requirements");
    if fs_err::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let folder = paths::root().join("tests/python");
    say("installing the Python packages of the tests (once)");
    process::capture(pip(&python).args(["install", "--quiet", "-r"]).arg(folder.join("requirements.txt")))?;
    say("installing torch and transformers for the reference tests (once)");
    process::run(Command::new(&python).arg(folder.join("install_torch.py")))?;
    say("building llama.cpp, which the engine is compared with (once, some minutes)");
    process::capture(
        pip(&python)
            .args(["install", "--quiet", "-r"])
            .arg(folder.join("requirements-llama.txt"))
            // Not for this processor alone: the environment may be cached for another machine.
            .env("CMAKE_ARGS", "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF")
            .env("CMAKE_BUILD_PARALLEL_LEVEL", cores().to_string()),
    )?;
    fs_err::write(stamp, wanted)?;
    Ok(python)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The interpreter of the environment, with pip and whatever is in it by now.
pub fn bare_environment() -> Result<PathBuf> {
    let folder = folder()?;
    let python = folder.join("bin/python");
    if process::succeeds(pip(&python).arg("--version")) {
        return Ok(python);
    }
    say(&format!("making a Python environment: {}", folder.display()));
    let Some(system) = paths::find_program(&["python3", "python"]) else {
        bail!(
            "Python 3 is not installed; install it (Debian: apt-get install python3 python3-venv) and run this again"
        );
    };
    // Clears what is broken, but only where an environment of Python was before.
    let clear: &[&str] = if folder.join("pyvenv.cfg").is_file() { &["--clear"] } else { &[] };
    let make = || process::capture(Command::new(&system).args(["-m", "venv"]).args(clear).arg(&folder));
    if let Err(error) = make() {
        // Debian's Python comes without the module that puts pip into an environment.
        if !crate::setup::browser::apt_install(&["python3-venv"]) {
            bail!("{error:#}\nInstall Python's venv module (Debian: apt-get install python3-venv) and run this again");
        }
        make()?;
    }
    Ok(python)
}

/// `python -m pip`, without questions.
pub fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
    command
}

/// `CODRIVER_PYTHON_ENV`, else in our cache.
fn folder() -> Result<PathBuf> {
    match paths::variable("CODRIVER_PYTHON_ENV") {
        Some(folder) => Ok(folder),
        None => Ok(paths::cache()?.join("python")),
    }
}

/// Everything that decides what is installed, as one text.
fn wanted() -> Result<String> {
    let mut files: Vec<PathBuf> = fs_err::read_dir(paths::root().join("tests/python"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name == "install_torch.py" || (name.starts_with("requirements") && name.ends_with(".txt"))
        })
        .collect();
    files.sort();
    let mut text = String::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        write!(text, "## {name}\n{}", fs_err::read_to_string(&file)?)?;
    }
    Ok(text)
}

//! `codriver doctor`.

use std::process::ExitCode;
use std::time::Duration;

use codriver_inference::DeviceChoice;
use codriver_inference::device;
use codriver_inference::starter::Starter;
use codriver_inference::store::size_text;
use codriver_install::{Check, Location, Status, installed};

use crate::agent;
use crate::languages::sql::SqlEngine;
use crate::session::{Interrupt, folders};

/// Prints a line a check. Fails when something is missing that a part of Codriver needs.
pub fn doctor() -> anyhow::Result<ExitCode> {
    let mut checks = vec![Check::found("codriver", env!("CARGO_PKG_VERSION"))];
    checks.push(duckdb());
    checks.extend(codriver_install::rust());
    checks.push(agent_model());
    checks.push(embedding_model());
    checks.extend(reranking_model());
    checks.push(models());
    checks.push(devices());
    checks.push(codriver_install::landlock());
    checks.push(codriver_install::jupyter());
    checks.push(kernel());
    checks.push(data_folder());

    for check in &checks {
        let mark = match check.status {
            Status::Found => "ok      ",
            Status::Missing => "MISSING ",
            Status::Optional => "absent  ",
        };
        println!("{mark} {:16} {}", check.name, check.detail.replace('\n', "\n                          "));
        if let Some(remedy) = &check.remedy {
            println!("{:25} to get it: {remedy}", "");
        }
    }
    let missing = checks.iter().any(|check| check.status == Status::Missing);
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn duckdb() -> Check {
    let version = std::env::current_dir()
        .map_err(|error| error.to_string())
        .and_then(|folder| SqlEngine::open_in(&folder).map_err(|error| error.to_string()))
        .and_then(|engine| {
            engine.query("SELECT version()", true, 1, &Interrupt::new()).map_err(|error| error.to_string())
        });
    match version {
        Ok(frame) => {
            let version = frame.rows.into_iter().flatten().flatten().next().unwrap_or_default();
            Check::found("libduckdb", format!("DuckDB {version}"))
        }
        Err(reason) => Check::missing("libduckdb", reason, "run `cargo xtask setup` and build again"),
    }
}

fn agent_model() -> Check {
    match Starter::embedded(DeviceChoice::Cpu) {
        Ok(_) => Check::found("agent model", "the starter, built in; `%model` attaches bigger ones"),
        Err(error) => Check::missing(
            "agent model",
            format!("the built-in starter does not load: {error}"),
            "build Codriver again with the files of inference/assets/starter, or attach another with `%model`",
        ),
    }
}

fn embedding_model() -> Check {
    match agent::embedding_model_folder() {
        Some(folder) => Check::found("embedding model", folder.display().to_string()),
        None => Check::optional(
            "embedding model",
            "not found: memory searches by words alone",
            "codriver model pull sentence-transformers/all-MiniLM-L6-v2, or set CODRIVER_EMBEDDING_MODEL to another such model",
        ),
    }
}

/// Where one is wanted.
fn reranking_model() -> Option<Check> {
    let name = agent::reranking_model()?;
    Some(match agent::open_reranker(&name, Duration::MAX) {
        Ok(_) => Check::found("reranking model", name),
        Err(reason) => Check::optional(
            "reranking model",
            reason,
            "codriver model pull cross-encoder/ms-marco-MiniLM-L6-v2, or set CODRIVER_RERANKING_MODEL to another cross-encoder",
        ),
    })
}

fn models() -> Check {
    let store = agent::store::model_store();
    let models = store.list();
    let folder = store.folder().display();
    if models.is_empty() {
        return Check::optional("models", format!("none in {folder} yet"), "codriver model pull owner/name");
    }
    let bytes: u64 = models.iter().map(|model| model.bytes).sum();
    let count = format!("{} in {folder} and the Hugging Face cache", models.len());
    Check::found("models", format!("{count}, {}; `codriver model list`", size_text(bytes)))
}

fn devices() -> Check {
    let devices = device::list();
    Check::found("devices", if devices.is_empty() { "CPU".to_owned() } else { devices.join("\n") })
}

fn kernel() -> Check {
    let places = [Location::User, Location::SysPrefix];
    let found: Vec<_> = places.iter().flat_map(installed).collect();
    let gone = found.iter().find(|(_, program)| !program.exists());
    match (found.first(), gone) {
        (_, Some((folder, program))) => Check::missing(
            "kernelspec",
            format!("{} starts {}, which is not there", folder.display(), program.display()),
            "codriver install",
        ),
        (Some((folder, _)), None) => Check::found("kernelspec", folder.display().to_string()),
        (None, None) => Check::optional("kernelspec", "not installed for this user or environment", "codriver install"),
    }
}

fn data_folder() -> Check {
    let folder = folders::data_folder();
    match fs_err::create_dir_all(&folder).and_then(|()| tempfile::NamedTempFile::new_in(&folder)) {
        Ok(_) => Check::found("data folder", folder.display().to_string()),
        Err(error) => Check::missing(
            "data folder",
            format!("history and memory cannot be kept: {error}"),
            "set CODRIVER_DATA_DIR to a folder you can write to",
        ),
    }
}

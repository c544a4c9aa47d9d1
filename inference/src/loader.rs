//! Model folders as Hugging Face publishes them: `config.json`, `model.safetensors` (or shards
//! and their index), `tokenizer.json` and a chat template; and GGUF files as if they were such folders.
//!
//! Files come from strangers. Whatever is in them, loading ends in a model or in an error that
//! names the file, never in a panic.

pub(crate) mod checkpoint;
pub(crate) mod decoder;
pub(crate) mod encoder;
pub(crate) mod gguf;
pub(crate) mod lora;
pub(crate) mod memory;
pub(crate) mod packing;
pub(crate) mod tokenizer;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use codriver_formats::gguf::GgufFile;
use codriver_formats::read_file;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ModelError;

/// A model's files. A GGUF file holds configuration, tokenizer and weights: it is opened and its
/// header read once, for all who ask.
#[derive(Debug, Clone)]
pub(crate) enum ModelFiles {
    Folder(PathBuf),
    Gguf(Arc<GgufFile>),
}

impl ModelFiles {
    /// The folder or GGUF file at a path. That a folder holds a model is for its readers to find out.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        if gguf::is_gguf(path) && !path.is_dir() {
            let file = GgufFile::open(path).map_err(gguf::format_error)?;
            return Ok(Self::Gguf(Arc::new(file)));
        }
        Ok(Self::Folder(path.to_path_buf()))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) => path,
            Self::Gguf(file) => file.path(),
        }
    }

    /// The `config.json` of a folder, or what a GGUF file says in its place; with the path for errors.
    pub(crate) fn config(&self) -> Result<(PathBuf, Value), ModelError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join("config.json");
                let config = read_json(&path)?;
                Ok((path, config))
            }
            Self::Gguf(file) => Ok((file.path().to_path_buf(), gguf::config(file)?)),
        }
    }
}

/// A [`ModelError::File`]. What a file says of itself may be in the reason, and be of any length: it
/// is cut.
pub(crate) fn file_error(path: &Path, reason: impl ToString) -> ModelError {
    let mut reason = reason.to_string();
    if let Some((end, _)) = reason.char_indices().nth(LONGEST_REASON) {
        reason.truncate(end);
        reason.push('…');
    }
    ModelError::File { path: path.display().to_string(), reason }
}

const LONGEST_REASON: usize = 1000;

/// Reads a JSON file of the model's folder.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = read_file(path).map_err(gguf::format_error)?;
    serde_json::from_slice(&text).map_err(|error| file_error(path, format!("not the JSON expected: {error}")))
}

/// Reads a JSON file that a model need not have.
pub(crate) fn read_optional_json(path: &Path) -> Result<Option<Value>, ModelError> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}

/// A file or folder by its path relative to `folder`; `None` where that leads out of it.
pub(crate) fn inside(folder: &Path, relative: &str) -> Option<PathBuf> {
    let relative = Path::new(relative);
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| folder.join(relative))
}

/// What a person would call the model in a folder: the folder's name; in the Hub's cache
/// (`models--owner--name/snapshots/hash`) the repository's; in a package the package's.
pub(crate) fn model_name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let names: Vec<String> = folder.iter().rev().map(|part| part.to_string_lossy().into_owned()).take(3).collect();
    let cached = names.get(2).and_then(|name| name.strip_prefix("models--"));
    match (cached, names.as_slice()) {
        (Some(repository), [_, snapshots, ..]) if snapshots == "snapshots" => repository.replace("--", "/"),
        (_, [name, parent, ..]) if name == "model" => parent.clone(),
        (_, [name, ..]) => name.strip_suffix(".gguf").unwrap_or(name).to_string(),
        (_, []) => "model".to_string(),
    }
}

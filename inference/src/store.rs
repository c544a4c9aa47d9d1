//! The models on this machine: what they are called, where they lie, how they get here.
//!
//! A model is a folder of safetensors files or a GGUF file. Codriver's own lie in one folder, by
//! the names they have on the hub (`models/Qwen/Qwen3-0.6B`); what other programs left in the
//! Hugging Face cache is listed and used, and never written to. What is being pulled lies in
//! `.pulling` until it is complete and checked, so that half a model is never taken for one.

mod details;
mod download;
mod error;
mod find;
mod hub;
mod list;
mod name;
mod pull;
mod record;
mod remote;
mod remove;
mod selection;
mod settings;
mod staging;
mod text;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use details::{ModelDetails, WeightType};
pub use error::StoreError;
pub use hub::{Hub, Patience};
pub use list::files_of;
pub use name::{GgufChoice, HubName};
pub use pull::{Phase, PullProgress, Pulled};
pub use record::{PulledFile, Record};
pub use remove::Removed;
pub use settings::hugging_face_cache;
pub use text::{count_text, size_text};

/// Where pulls that are under way keep what has come.
const PULLING: &str = ".pulling";

/// The user's models folder and the Hugging Face cache beside it.
#[derive(Debug, Clone)]
pub struct ModelStore {
    folder: PathBuf,
    cache: Option<PathBuf>,
}

/// A model on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredModel {
    /// What `%model` and `codriver model` call it.
    pub name: String,
    /// The folder, or the GGUF file.
    pub path: PathBuf,
    pub format: ModelFormat,
    pub purpose: Purpose,
    pub place: Place,
    /// Size on disk.
    pub bytes: u64,
    /// Files that belong to it and are not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelFormat {
    Safetensors,
    Gguf,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Continues text: what agents think with.
    Generation,
    /// Turns text into vectors: what memory searches with.
    Embedding,
    /// Scores a text beside a question: what orders the best that memory found.
    Reranking,
    /// A LoRA adapter, used on top of the model it was trained for.
    Adapter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Codriver's models folder.
    Store,
    /// The Hugging Face cache, which belongs to other programs.
    Cache,
    /// Anywhere else, named by its path.
    Path,
}

/// A pull that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnfinishedPull {
    pub name: String,
    /// Bytes that have come, and bytes in all.
    pub done: u64,
    pub total: u64,
    #[serde(skip)]
    path: PathBuf,
}

impl ModelStore {
    /// `folder` need not exist; `cache` is the Hugging Face cache (`.../huggingface/hub`).
    pub fn new(folder: impl Into<PathBuf>, cache: Option<PathBuf>) -> Self {
        Self { folder: folder.into(), cache }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    fn pulling(&self) -> PathBuf {
        self.folder.join(PULLING)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Store => "model store",
            Self::Cache => "Hugging Face cache",
            Self::Path => "elsewhere",
        })
    }
}

impl std::fmt::Display for ModelFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
        })
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Generation => "generation",
            Self::Embedding => "embedding",
            Self::Reranking => "reranking",
            Self::Adapter => "adapter",
        })
    }
}

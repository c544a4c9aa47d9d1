//! From what a person writes to a model on this machine.

use std::path::{Path, PathBuf};

use super::list::{models_in, name_of};
use super::selection::quantization;
use super::{GgufChoice, HubName, ModelFormat, ModelStore, Place, StoreError, StoredModel};

impl ModelStore {
    /// The model that `name` means: a folder or a GGUF file (relative paths start at
    /// `workspace`), or a name in the store or in the Hugging Face cache.
    pub fn find(&self, name: &str, workspace: &Path) -> Result<StoredModel, StoreError> {
        let name = name.trim();
        if name.is_empty() {
            return Err(StoreError::Unknown { name: String::new() });
        }
        match self.find_by_name(name) {
            Err(StoreError::Unknown { .. }) => at_path(&expand(name, workspace), name),
            // A path that can't be mistaken for a name comes first.
            found if is_path(name) => at_path(&expand(name, workspace), name).or(found),
            found => found,
        }
    }

    /// All names that [`ModelStore::find`] knows without a path.
    pub fn names(&self) -> Vec<String> {
        self.list().into_iter().map(|model| model.name).collect()
    }

    pub(super) fn find_by_name(&self, name: &str) -> Result<StoredModel, StoreError> {
        let models = self.list();
        let hub_name = name.parse::<HubName>().ok();
        let exact = |wanted: &str| models.iter().find(|model| model.name == wanted).cloned();
        let folder = hub_name.as_ref().filter(|hub| hub.gguf.is_none()).map(HubName::folder);
        let found = exact(name).or_else(|| exact(folder.as_deref()?));
        if let Some(model) = found {
            return complete(model);
        }
        match hub_name.as_ref().and_then(|hub| Some((hub, hub.gguf.as_ref()?))) {
            Some((hub, GgufChoice::Quantization(wanted))) => {
                let prefix = format!("{}/", hub.folder());
                let right = |model: &&StoredModel| {
                    let file = model.name.strip_prefix(&prefix);
                    model.format == ModelFormat::Gguf
                        && file.and_then(quantization).is_some_and(|found| found.eq_ignore_ascii_case(wanted))
                };
                if let Some(model) = models.iter().find(right) {
                    return complete(model.clone());
                }
            }
            Some((hub, GgufChoice::File(file))) => {
                if let Some(model) = exact(&format!("{}/{file}", hub.folder())) {
                    return complete(model);
                }
            }
            None => {}
        }
        // One GGUF file of a repository may be meant by the repository's name; and a model by
        // the last part of its name, as long as there is only one.
        let below = |model: &&StoredModel| model.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        let last = |model: &&StoredModel| {
            model.name.ends_with(name) && model.name[..model.name.len() - name.len()].ends_with('/')
        };
        for fits in [&below as &dyn Fn(&&StoredModel) -> bool, &last] {
            let mut candidates: Vec<&StoredModel> = models.iter().filter(fits).collect();
            // What is in the store and in the cache too is meant once: the store's.
            candidates.sort_by(|one, other| one.name.cmp(&other.name));
            candidates.dedup_by(|one, other| one.name == other.name);
            match candidates.as_slice() {
                [] => {}
                [only] => return complete((*only).clone()),
                several => {
                    let candidates = several.iter().map(|model| model.name.clone()).collect();
                    return Err(StoreError::Ambiguous { name: name.to_owned(), candidates });
                }
            }
        }
        Err(StoreError::Unknown { name: name.to_owned() })
    }
}

/// The model in a folder or GGUF file. `name` is for messages.
fn at_path(path: &Path, name: &str) -> Result<StoredModel, StoreError> {
    // Without the `./` that people write.
    let path: &Path = &path.components().collect::<PathBuf>();
    let called = path.canonicalize().map_or_else(|_| name_of(path), |path| crate::loader::model_name(&path));
    let mut models = models_in(path, &called, Place::Path);
    match models.len() {
        0 if path.is_dir() => Err(StoreError::file(
            path,
            "this folder holds no model: a model is config.json with safetensors, or a .gguf file",
        )),
        0 if path.is_file() => Err(StoreError::file(path, "a model is a folder or a .gguf file")),
        0 => Err(StoreError::Unknown { name: name.to_owned() }),
        1 => complete(models.remove(0)),
        _ => match models.iter().find(|model| model.format == ModelFormat::Safetensors) {
            Some(folder) => complete(folder.clone()),
            None => {
                let candidates = models.iter().map(|model| model.path.display().to_string()).collect();
                Err(StoreError::Ambiguous { name: name.to_owned(), candidates })
            }
        },
    }
}

fn complete(model: StoredModel) -> Result<StoredModel, StoreError> {
    match model.missing.as_slice() {
        [] => Ok(model),
        missing if model.place == Place::Path => {
            let reason = format!("is not complete, it lacks {}; get the rest, or the whole again", missing.join(", "));
            Err(StoreError::file(&model.path, reason))
        }
        _ => Err(StoreError::Incomplete { name: model.name, missing: model.missing }),
    }
}

fn is_path(name: &str) -> bool {
    ["/", "./", "../", "~/"].iter().any(|start| name.starts_with(start))
}

fn expand(name: &str, workspace: &Path) -> PathBuf {
    match (name.strip_prefix("~/"), super::settings::environment("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => workspace.join(name),
    }
}

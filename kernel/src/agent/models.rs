//! Which model thinks: names, loading on first use, keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use codriver_inference::device::DeviceChoice;
use codriver_inference::gateway::OpenAiCompatible;
use codriver_inference::starter::Starter;
use codriver_inference::{ChatModel, LocalModel, ModelError};
use secrecy::SecretString;

use super::secrets::Secrets;
use crate::session::folders::data_folder;

/// The model that ships with Codriver.
pub const STARTER: &str = "starter";

/// Models by name. A model is loaded when it is first asked something and stays loaded.
pub struct ModelManager {
    workspace: PathBuf,
    secrets: Mutex<Arc<Secrets>>,
    state: Mutex<State>,
}

struct State {
    current: String,
    device: DeviceChoice,
    loaded: HashMap<(String, DeviceChoice), Arc<dyn ChatModel>>,
}

/// A model that could be chosen, for `%model list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    pub name: String,
    pub what: String,
    pub loaded: bool,
    pub current: bool,
}

/// What a name stands for.
enum Kind {
    Starter,
    Remote { base: String, model: String },
    Folder(PathBuf),
}

impl ModelManager {
    /// Starts with `CODRIVER_MODEL` on `CODRIVER_DEVICE`, or the starter on the CPU.
    pub fn new(workspace: &Path) -> Self {
        let from_environment = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let device = from_environment("CODRIVER_DEVICE").and_then(|name| name.parse().ok()).unwrap_or_default();
        let current = from_environment("CODRIVER_MODEL").unwrap_or_else(|| STARTER.to_owned());
        Self {
            workspace: workspace.to_owned(),
            secrets: Mutex::new(Arc::new(Secrets::read(workspace))),
            state: Mutex::new(State { current, device, loaded: HashMap::new() }),
        }
    }

    pub fn current(&self) -> String {
        self.state().current.clone()
    }

    pub fn device(&self) -> DeviceChoice {
        self.state().device
    }

    /// The keys known so far.
    pub fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.secrets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The model of that name, or the current one; loaded if need be.
    pub fn get(&self, name: Option<&str>) -> Result<Arc<dyn ChatModel>, ModelError> {
        let (name, device) = {
            let state = self.state();
            (name.unwrap_or(&state.current).trim().to_owned(), state.device)
        };
        let key = (name, device);
        if let Some(model) = self.state().loaded.get(&key) {
            return Ok(Arc::clone(model));
        }
        let model = self.load(&key.0, device)?;
        self.state().loaded.insert(key, Arc::clone(&model));
        Ok(model)
    }

    /// Makes `name` the current model. It is loaded when it is first asked something;
    /// a name that cannot be right is refused here.
    pub fn choose(&self, name: &str, device: Option<DeviceChoice>) -> Result<(), ModelError> {
        self.kind(name)?;
        let mut state = self.state();
        if name.contains("://") {
            // Chosen again, it is asked with the key that is there now.
            state.loaded.retain(|(loaded, _), _| loaded != name.trim());
        }
        name.trim().clone_into(&mut state.current);
        state.device = device.unwrap_or(state.device);
        Ok(())
    }

    /// Moves the local models to another device.
    pub fn choose_device(&self, device: DeviceChoice) {
        self.state().device = device;
    }

    /// The starter, the folders in the data folder, and what has been used by address.
    pub fn list(&self) -> Vec<ModelEntry> {
        let mut names = vec![(STARTER.to_owned(), "ships with Codriver, runs in this process".to_owned())];
        for folder in model_folders() {
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            names.push((name, format!("local, {}", folder.display())));
        }
        let state = self.state();
        let used = state.loaded.keys().map(|(name, _)| name).chain([&state.current]);
        let mut used: Vec<&String> = used.filter(|name| !names.iter().any(|(known, _)| known == *name)).collect();
        used.sort();
        used.dedup();
        let used: Vec<(String, String)> = used
            .into_iter()
            .map(|name| (name.clone(), if name.contains("://") { "remote" } else { "local" }.to_owned()))
            .collect();
        names.extend(used);
        names
            .into_iter()
            .map(|(name, what)| ModelEntry {
                loaded: state.loaded.contains_key(&(name.clone(), state.device)),
                current: name == state.current,
                name,
                what,
            })
            .collect()
    }

    fn load(&self, name: &str, device: DeviceChoice) -> Result<Arc<dyn ChatModel>, ModelError> {
        Ok(match self.kind(name)? {
            Kind::Starter => Arc::new(Starter::embedded(device)?),
            Kind::Folder(folder) => Arc::new(LocalModel::open(&folder, device)?),
            Kind::Remote { base, model } => {
                let remote = OpenAiCompatible::new(&base, &model, self.key())?;
                let window =
                    std::env::var("CODRIVER_CONTEXT_WINDOW").ok().and_then(|tokens| tokens.trim().parse().ok());
                Arc::new(match window {
                    Some(tokens) => remote.with_context_window(tokens),
                    None => remote,
                })
            }
        })
    }

    fn kind(&self, name: &str) -> Result<Kind, ModelError> {
        let name = name.trim();
        if name == STARTER {
            return Ok(Kind::Starter);
        }
        if name.contains("://") {
            let (base, model) = name.split_once('#').filter(|(_, model)| !model.is_empty()).ok_or_else(|| {
                ModelError::Unsupported(format!("{name} names no model; write it behind a #, as in {name}#llama3.2"))
            })?;
            OpenAiCompatible::new(base, model, None)?;
            return Ok(Kind::Remote { base: base.to_owned(), model: model.to_owned() });
        }
        let candidates = [expand(name, &self.workspace), data_folder().join("models").join(name)];
        if let Some(folder) = candidates.iter().find(|folder| folder.join("config.json").is_file()) {
            return Ok(Kind::Folder(folder.clone()));
        }
        let known = self.list();
        let nearest = codriver_tools::nearest(name, known.iter().map(|entry| entry.name.as_str()));
        let hint = nearest.map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
        Err(ModelError::Unsupported(format!(
            "there is no model {name:?}; {hint}A model is `starter`, a folder with config.json and safetensors, or http://host:port/v1#name"
        )))
    }

    /// The key as the environment and `.env` have it now.
    fn key(&self) -> Option<SecretString> {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        *secrets = Arc::new(Secrets::read(&self.workspace).and_also(&secrets));
        secrets.key().cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Folders of chat models in the user's data folder, by name. Embedding models (with a
/// `1_Pooling` folder) cannot chat.
fn model_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(data_folder().join("models")) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|folder| folder.join("config.json").is_file() && !folder.join("1_Pooling").exists())
        .collect();
    folders.sort();
    folders
}

fn expand(name: &str, workspace: &Path) -> PathBuf {
    let home = directories::BaseDirs::new().map(|folders| folders.home_dir().to_owned());
    match (name.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => workspace.join(name),
    }
}

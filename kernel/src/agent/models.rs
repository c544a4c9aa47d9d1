//! Which model thinks: names, loading on first use, letting go, keys.

mod copies;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use codriver_inference::device::DeviceChoice;
use codriver_inference::gateway::OpenAiCompatible;
use codriver_inference::starter::Starter;
use codriver_inference::store::Purpose;
use codriver_inference::{
    Adapter, CacheFormat, Cancellation, ChatModel, LocalModel, ModelError, OpenOptions, WeightFormat,
};
use secrecy::SecretString;

pub use self::copies::LoadedModel;
use self::copies::{Copies, Files, Loaded};
use super::secrets::Secrets;
use super::store::{find_generator, find_model, model_store};

/// The model that ships with Codriver.
pub const STARTER: &str = "starter";

/// Models by name. A model is loaded when it is first asked something. It stays while it is chosen, while
/// an agent's definition names it, or as the last that a cell named for itself; it is let go of when
/// another takes its place.
pub struct ModelManager {
    workspace: PathBuf,
    /// The models that agents' definitions name.
    of_agents: Vec<String>,
    secrets: Mutex<Arc<Secrets>>,
    state: Mutex<State>,
}

struct State {
    current: Choice,
    /// The last model that was asked by name, beside the current one.
    aside: Option<Choice>,
    device: DeviceChoice,
    /// What is wrong with `CODRIVER_DEVICE`, until another device is chosen.
    wrong_device: Option<String>,
    copies: Copies,
}

/// A model's name, the LoRA adapters on it, and what its numbers are rounded to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    name: String,
    adapters: Vec<PathBuf>,
    rounding: Rounding,
}

/// What a local model's numbers are rounded to, where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rounding {
    /// Its weights, as they are loaded.
    pub weights: Option<WeightFormat>,
    /// The keys and values of what it reads.
    pub cache: Option<CacheFormat>,
}

impl Rounding {
    /// What follows a model's name: ` as q4_0` and `, keys and values as f16,`, where that is so.
    pub fn texts(self) -> [String; 2] {
        let weights = self.weights.map(|format| format!(" as {format}"));
        let cache = self.cache.map(|format| format!(", keys and values as {format},"));
        [weights, cache].map(Option::unwrap_or_default)
    }
}

/// A model that could be chosen, for `%model list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    pub name: String,
    pub what: String,
    /// Its copies in memory.
    pub loaded: Vec<LoadedModel>,
    pub current: bool,
}

/// What a name stands for.
enum Kind {
    Starter,
    Remote {
        base: String,
        model: String,
    },
    /// A folder or a GGUF file.
    Local(PathBuf),
}

impl Kind {
    /// The files that it is loaded from with adapters on it, as they are now.
    fn files(&self, adapters: &[PathBuf]) -> Files {
        let model = match self {
            Self::Local(path) => Some(path),
            Self::Starter | Self::Remote { .. } => None,
        };
        Files::of(model.into_iter().chain(adapters).map(PathBuf::as_path))
    }
}

impl ModelManager {
    /// Starts with `CODRIVER_MODEL` on `CODRIVER_DEVICE`, or the starter on the CPU. `of_agents` are the
    /// models that agents' definitions name.
    pub fn new(workspace: &Path, of_agents: Vec<String>) -> Self {
        let from_environment = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let device = from_environment("CODRIVER_DEVICE").map(|name| name.trim().parse::<DeviceChoice>()).transpose();
        let wrong_device = device.as_ref().err().map(|error| format!("CODRIVER_DEVICE: {error}"));
        let device = device.ok().flatten().unwrap_or_default();
        let current = from_environment("CODRIVER_MODEL").unwrap_or_else(|| STARTER.to_owned());
        Self {
            workspace: workspace.to_owned(),
            of_agents,
            secrets: Mutex::new(Arc::new(Secrets::read(workspace))),
            state: Mutex::new(State {
                current: Choice::plain(&current),
                aside: None,
                device,
                wrong_device,
                copies: Copies::default(),
            }),
        }
    }

    pub fn current(&self) -> String {
        self.state().current.name.clone()
    }

    /// The adapters on the current model.
    pub fn adapters(&self) -> Vec<PathBuf> {
        self.state().current.adapters.clone()
    }

    /// Where local models run.
    ///
    /// # Errors
    /// `CODRIVER_DEVICE` names no device, and no other was chosen since.
    pub fn device(&self) -> Result<DeviceChoice, ModelError> {
        let state = self.state();
        state.wrong_device.clone().map_or(Ok(state.device), |reason| Err(ModelError::Device(reason)))
    }

    /// The keys known so far.
    pub fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.secrets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The model of that name, or the current one; loaded if need be, which `cancellation` ends. One that is
    /// named is loaded anew where its files have changed; the current one answers as it was chosen.
    pub fn get(&self, name: Option<&str>, cancellation: &Cancellation) -> Result<Arc<dyn ChatModel>, ModelError> {
        let (choice, device, is_current) = {
            let state = self.state();
            let named = name.map(Choice::plain).filter(|named| named.name != state.current.name);
            let is_current = named.is_none();
            (named.unwrap_or_else(|| state.current.clone()), state.device, is_current)
        };
        if is_current && let Some(model) = self.state().copies.find(&choice, device, None) {
            return Ok(model);
        }
        let files = self.kind(&choice.name)?.files(&choice.adapters);
        let (found, gone) = {
            let mut state = self.state();
            if !is_current && !self.of_agents.contains(&choice.name) {
                state.aside = Some(choice.clone());
            }
            let found = state.copies.find(&choice, device, Some(&files));
            let is_older = |copy: &Loaded| copy.choice == choice && (found.is_none() || !copy.is_of(&files));
            (found.clone(), self.let_go(&mut state, is_older))
        };
        drop(gone);
        if let Some(model) = found {
            return Ok(model);
        }
        let model = self.load(&choice, device, cancellation)?;
        self.state().copies.add(choice, device, files, &model);
        Ok(model)
    }

    /// What the current model's numbers are rounded to.
    pub fn rounding(&self) -> Rounding {
        self.state().current.rounding
    }

    /// Makes `name`, with adapters on it and its numbers rounded, the current model, and lets go of those
    /// that nobody needs any more. It is loaded when it is first asked something, anew where its files have
    /// changed or its engine has stopped; a name that cannot be right is refused here.
    pub fn choose(
        &self,
        name: &str,
        adapters: &[&str],
        rounding: Rounding,
        device: Option<DeviceChoice>,
    ) -> Result<(), ModelError> {
        let kind = self.kind(name)?;
        let local = matches!(kind, Kind::Local(_));
        if !adapters.is_empty() && !local {
            return Err(ModelError::Unsupported(format!("{name} takes no adapters: only local models do")));
        }
        if rounding.weights.is_some() && !local {
            let reason = format!("{name}'s weights can't be rounded: only those of local models can");
            return Err(ModelError::Unsupported(reason));
        }
        if rounding.cache.is_some() && !local {
            let reason = format!("how {name} holds keys and values can't be chosen: only of local models it can");
            return Err(ModelError::Unsupported(reason));
        }
        let adapters = adapters.iter().map(|adapter| self.adapter(adapter)).collect::<Result<_, _>>()?;
        let choice = Choice { adapters, rounding, ..Choice::plain(name) };
        let files = kind.files(&choice.adapters);
        let is_remote = matches!(kind, Kind::Remote { .. });
        let gone = {
            let mut state = self.state();
            state.current = choice.clone();
            state.aside = None;
            if let Some(device) = device {
                (state.device, state.wrong_device) = (device, None);
            }
            // A server that is chosen again is asked with the key that is there now.
            let is_older =
                |copy: &Loaded| copy.choice == choice && (is_remote || !copy.is_of(&files) || copy.has_stopped());
            self.let_go(&mut state, is_older)
        };
        drop(gone);
        Ok(())
    }

    /// Lets go of what nobody needs any more, and of those for which `goes` is true.
    fn let_go(&self, state: &mut State, goes: impl Fn(&Loaded) -> bool) -> Vec<(LoadedModel, Arc<dyn ChatModel>)> {
        let (current, aside, device) = (state.current.clone(), state.aside.clone(), state.device);
        let of_agents = |choice: &Choice| self.of_agents.iter().any(|name| *choice == Choice::plain(name));
        let is_needed = |copy: &Loaded| {
            copy.device == device
                && (copy.choice == current || aside.as_ref() == Some(&copy.choice) || of_agents(&copy.choice))
        };
        state.copies.let_go(|copy| goes(copy) || !is_needed(copy))
    }

    /// The names under which the model at `path` is loaded or current.
    pub fn named(&self, path: &Path) -> Vec<String> {
        let is_it = |name: &String| find_model(name, &self.workspace).is_ok_and(|model| model.path == path);
        self.used().into_iter().filter(is_it).collect()
    }

    /// Lets go of models that are deleted. Where the current one was among them, agents think with the
    /// starter again; whether it was.
    pub fn forget(&self, names: &[String]) -> bool {
        let (was_current, gone) = {
            let mut state = self.state();
            let was_current = names.contains(&state.current.name);
            if was_current {
                state.current = Choice::plain(STARTER);
            }
            (was_current, state.copies.let_go(|copy| names.contains(&copy.choice.name)))
        };
        drop(gone);
        was_current
    }

    /// The names of the current model and of those in memory.
    fn used(&self) -> Vec<String> {
        let state = self.state();
        let loaded = state.copies.list().into_iter().map(|copy| copy.name);
        let mut used: Vec<String> = loaded.chain([state.current.name.clone()]).collect();
        used.sort();
        used.dedup();
        used
    }

    /// Why the current model can't be loaded (again), where its files are gone or changed.
    pub fn missing(&self) -> Option<String> {
        self.kind(&self.current()).err().map(|error| error.to_string())
    }

    /// Moves the local models to another device.
    pub fn choose_device(&self, device: DeviceChoice) {
        let gone = {
            let mut state = self.state();
            (state.device, state.wrong_device) = (device, None);
            self.let_go(&mut state, |_| false)
        };
        drop(gone);
    }

    /// The starter, the store's models that can chat, and what has been used by address or path.
    pub fn list(&self) -> Vec<ModelEntry> {
        let mut names = vec![(STARTER.to_owned(), "ships with Codriver, runs in this process".to_owned())];
        let chat = model_store().list().into_iter().filter(|model| model.purpose == Purpose::Generation);
        names.extend(chat.map(|model| (model.name, format!("local, {}", model.path.display()))));
        let used: Vec<String> =
            self.used().into_iter().filter(|name| !names.iter().any(|(known, _)| known == name)).collect();
        let used: Vec<(String, String)> = used
            .into_iter()
            .map(|name| {
                let what = match name.contains("://") {
                    true => "remote",
                    false if find_model(&name, &self.workspace).is_err() => "its files are not there any more",
                    false => "local",
                };
                (name, what.to_owned())
            })
            .collect();
        names.extend(used);
        let state = self.state();
        let loaded = state.copies.list();
        names
            .into_iter()
            .map(|(name, what)| ModelEntry {
                loaded: loaded.iter().filter(|copy| copy.name == name).cloned().collect(),
                current: name == state.current.name,
                name,
                what,
            })
            .collect()
    }

    fn load(
        &self,
        choice: &Choice,
        device: DeviceChoice,
        cancellation: &Cancellation,
    ) -> Result<Arc<dyn ChatModel>, ModelError> {
        let kind = self.kind(&choice.name)?;
        if !matches!(kind, Kind::Remote { .. }) {
            self.device()?;
        }
        Ok(match kind {
            Kind::Starter => Arc::new(Starter::embedded(device)?),
            Kind::Local(path) => {
                let options = OpenOptions {
                    device,
                    adapters: choice.adapters.iter().map(Adapter::new).collect(),
                    quantization: choice.rounding.weights,
                    cache_format: choice.rounding.cache.unwrap_or_default(),
                    cancellation: cancellation.clone(),
                    ..OpenOptions::default()
                };
                Arc::new(LocalModel::open_with(&path, &options)?)
            }
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
        let model = find_generator(name, &self.workspace).map_err(|reason| self.no_model(name, &reason))?;
        Ok(Kind::Local(model.path))
    }

    /// The folder of a LoRA adapter.
    fn adapter(&self, name: &str) -> Result<PathBuf, ModelError> {
        let model = find_model(name, &self.workspace).map_err(|reason| {
            ModelError::Unsupported(format!(
                "{reason}. An adapter is a folder with adapter_config.json, or a name of %model list"
            ))
        })?;
        if model.purpose != Purpose::Adapter {
            return Err(ModelError::Unsupported(format!("{name} is no adapter: adapter_config.json is missing in it")));
        }
        Ok(model.path)
    }

    fn no_model(&self, name: &str, reason: &str) -> ModelError {
        let starter = codriver_tools::nearest(name, [STARTER]).filter(|_| !reason.contains("did you mean"));
        let hint = starter.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let reason = format!("{reason}{hint}");
        let stop = if reason.ends_with('?') { "" } else { "." };
        ModelError::Unsupported(format!(
            "{reason}{stop} A model is `starter`, a folder with config.json and safetensors, a .gguf file, a name of %model list, or http://host:port/v1#name"
        ))
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

impl Choice {
    fn plain(name: &str) -> Self {
        Self { name: name.trim().to_owned(), adapters: Vec::new(), rounding: Rounding::default() }
    }
}

//! The models that are in memory, each as it was chosen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use codriver_inference::device::DeviceChoice;
use codriver_inference::store::files_of;
use codriver_inference::{ChatModel, ModelError};

use super::{Choice, ModelManager, Rounding};

/// Models in memory. What is let go of is still here while somebody asks it.
#[derive(Default)]
pub(super) struct Copies(Vec<Loaded>);

/// A model in memory.
pub(super) struct Loaded {
    pub(super) choice: Choice,
    pub(super) device: DeviceChoice,
    files: Files,
    /// `None` once it is let go of: whoever asks it then is the last to hold it.
    kept: Option<Arc<dyn ChatModel>>,
    model: Weak<dyn ChatModel>,
}

/// The files that a model is loaded from, with their sizes and when they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files(Vec<(PathBuf, u64, Option<SystemTime>)>);

/// What people are told of a model in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedModel {
    pub name: String,
    pub adapters: Vec<PathBuf>,
    pub rounding: Rounding,
    /// `None` for one that runs elsewhere.
    pub device: Option<DeviceChoice>,
    /// What it takes of the device's memory; `None` for one that runs elsewhere.
    pub bytes: Option<u64>,
    /// Whether it is let go of, and goes once what it is asked is answered.
    pub leaving: bool,
}

impl Copies {
    /// A copy that can answer and is of these files; one that was let go of stays, now.
    pub(super) fn find(
        &mut self,
        choice: &Choice,
        device: DeviceChoice,
        files: Option<&Files>,
    ) -> Option<Arc<dyn ChatModel>> {
        let mut copies = self.0.iter_mut().filter(|copy| copy.choice == *choice && copy.device == device);
        copies.find_map(|copy| {
            let model = copy.model.upgrade().filter(|model| !model.has_stopped())?;
            // What is kept was chosen as it was then.
            let is_it = match files {
                Some(files) => copy.files == *files,
                None => copy.kept.is_some(),
            };
            if is_it {
                copy.kept = Some(Arc::clone(&model));
            }
            is_it.then_some(model)
        })
    }

    pub(super) fn add(&mut self, choice: Choice, device: DeviceChoice, files: Files, model: &Arc<dyn ChatModel>) {
        let (kept, model) = (Some(Arc::clone(model)), Arc::downgrade(model));
        self.0.push(Loaded { choice, device, files, kept, model });
    }

    /// Lets go of those for which `goes` is true. They go when what is returned is dropped, or whoever asks
    /// them now is done: an engine's end is waited for, so it is dropped where nobody waits for a lock.
    #[must_use]
    pub(super) fn let_go(&mut self, goes: impl Fn(&Loaded) -> bool) -> Vec<(LoadedModel, Arc<dyn ChatModel>)> {
        let mut gone = Vec::new();
        for copy in &mut self.0 {
            if copy.kept.is_some()
                && goes(copy)
                && let Some(model) = copy.kept.take()
            {
                // Held by whoever asks it, and here.
                let leaving = Arc::strong_count(&model) > 1;
                gone.extend(copy.shown().map(|shown| (LoadedModel { leaving, ..shown }, model)));
            }
        }
        self.0.retain(|copy| copy.model.strong_count() > 0);
        gone
    }

    /// What is in memory.
    pub(super) fn list(&self) -> Vec<LoadedModel> {
        self.0.iter().filter_map(Loaded::shown).collect()
    }
}

impl Loaded {
    pub(super) fn is_of(&self, files: &Files) -> bool {
        self.files == *files
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.kept.as_ref().is_some_and(|model| model.has_stopped())
    }

    fn shown(&self) -> Option<LoadedModel> {
        let model = self.model.upgrade()?;
        let bytes = model.memory();
        Some(LoadedModel {
            name: self.choice.name.clone(),
            adapters: self.choice.adapters.clone(),
            rounding: self.choice.rounding,
            device: bytes.map(|_| self.device),
            bytes,
            leaving: self.kept.is_none(),
        })
    }
}

impl Files {
    /// The files of a model and of its adapters, as they are now.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let files = paths.into_iter().flat_map(files_of).map(|path| {
            let metadata = fs_err::metadata(&path).ok();
            let written = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
            (path, metadata.map_or(0, |metadata| metadata.len()), written)
        });
        Self(files.collect())
    }
}

impl ModelManager {
    /// Lets go of all models in memory, or of those of a name; what went. Agents load again what they ask.
    ///
    /// # Errors
    /// None of that name is in memory.
    pub fn unload(&self, name: Option<&str>) -> Result<Vec<LoadedModel>, ModelError> {
        // The same file may have been chosen by its path and by its name.
        let names = name.map(|name| {
            let name = name.trim();
            let path = super::find_model(name, &self.workspace).map(|model| model.path);
            let mut names = path.map(|path| self.named(&path)).unwrap_or_default();
            names.push(name.to_owned());
            names
        });
        let gone =
            self.state().copies.let_go(|copy| names.as_ref().is_none_or(|names| names.contains(&copy.choice.name)));
        match name {
            Some(name) if gone.is_empty() => {
                let mut loaded: Vec<String> = self.state().copies.list().into_iter().map(|copy| copy.name).collect();
                loaded.sort();
                loaded.dedup();
                let loaded = if loaded.is_empty() { "nothing is".to_owned() } else { loaded.join(", ") };
                Err(ModelError::Unsupported(format!("{} is not loaded; loaded: {loaded}", name.trim())))
            }
            _ => Ok(gone.into_iter().map(|(shown, _)| shown).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use codriver_inference::{Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, DeviceChoice, ModelError};

    use super::{Choice, Copies, Files};

    /// A model whose engine can stop.
    #[derive(Default)]
    struct Engine(AtomicBool);

    impl ChatModel for Engine {
        fn name(&self) -> &str {
            "engine"
        }

        fn context_window(&self) -> usize {
            1
        }

        fn count_tokens(&self, _: &str) -> usize {
            1
        }

        fn has_stopped(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }

        fn render_prompt(&self, _: &ChatRequest) -> Result<String, ModelError> {
            Err(ModelError::Cancelled)
        }

        fn chat(
            &self,
            _: &ChatRequest,
            _: &Cancellation,
            _: &mut dyn FnMut(ChatEvent),
        ) -> Result<ChatResponse, ModelError> {
            Err(ModelError::Cancelled)
        }
    }

    #[test]
    fn a_copy_whose_engine_has_stopped_is_not_found() {
        let (choice, files, engine) = (Choice::plain("engine"), Files::default(), Arc::new(Engine::default()));
        let model: Arc<dyn ChatModel> = engine.clone();
        let mut copies = Copies::default();
        copies.add(choice.clone(), DeviceChoice::Cpu, files.clone(), &model);
        assert!(copies.find(&choice, DeviceChoice::Cpu, None).is_some());
        engine.0.store(true, Ordering::SeqCst);
        assert!(copies.find(&choice, DeviceChoice::Cpu, None).is_none());
        assert!(copies.find(&choice, DeviceChoice::Cpu, Some(&files)).is_none());
    }
}

//! The cross-encoder that decides the order of what a search finds, where a person chose one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use codriver_inference::{Cancellation, CrossEncoder, DeviceChoice, ModelError};
use codriver_memory::Reranker;

use super::store::find_model;

/// How long a search in a notebook waits for it: an agent's turn, or a person, waits as long.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// After it was too slow, searches go on without it for so long: none of them waits in vain.
const REST: Duration = Duration::from_secs(60);

/// Texts read between two looks at the clock, at least: enough for several cores.
const AT_ONCE: usize = 16;

/// The model that `CODRIVER_RERANKING_MODEL` names: a folder, or a model of the store.
pub fn chosen() -> Option<String> {
    std::env::var("CODRIVER_RERANKING_MODEL").ok().filter(|value| !value.trim().is_empty())
}

/// A cross-encoder by its folder or its name in the model store, or why there is none.
pub fn open_reranker(name: &str, patience: Duration) -> Result<Arc<dyn Reranker>, String> {
    let model = find_model(name, &std::env::current_dir().unwrap_or_default())?;
    if !model.path.is_dir() {
        return Err(format!(
            "{name} is one file; a cross-encoder is a folder with config.json, model.safetensors and tokenizer.json"
        ));
    }
    let model = CrossEncoder::open(&model.path, DeviceChoice::Cpu).map_err(|error| error.to_string())?;
    Ok(Arc::new(Adapter { model, patience, resting: Mutex::default() }))
}

/// Memory knows nothing of inference: this is the bridge.
struct Adapter {
    model: CrossEncoder,
    patience: Duration,
    /// Since it was too slow, and how it was.
    resting: Mutex<Option<(Instant, String)>>,
}

impl Reranker for Adapter {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn score(&self, question: &str, texts: &[&str]) -> Result<Vec<f32>, String> {
        if let Some((since, reason)) = &*self.resting.lock().unwrap_or_else(PoisonError::into_inner)
            && since.elapsed() < REST
        {
            return Err(reason.clone());
        }
        let (begun, cancellation, done) = (Instant::now(), Cancellation::new(), AtomicUsize::new(0));
        let on_done = |count: usize| {
            done.fetch_add(count, Ordering::Relaxed);
            if begun.elapsed() > self.patience {
                cancellation.cancel();
            }
        };
        let some = |texts: &[&str]| self.model.score_watched(question, texts, &cancellation, &on_done);
        match texts.chunks(AT_ONCE).map(some).collect::<Result<Vec<_>, _>>() {
            Ok(scores) => Ok(scores.concat()),
            Err(ModelError::Cancelled) => {
                let reason = format!(
                    "{} is too slow for this machine: it read {} of {} texts in {:.0} s. A smaller cross-encoder is faster, such as \
                     cross-encoder/ms-marco-MiniLM-L6-v2",
                    self.name(),
                    done.into_inner(),
                    texts.len(),
                    begun.elapsed().as_secs_f32()
                );
                *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), reason.clone()));
                Err(reason)
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

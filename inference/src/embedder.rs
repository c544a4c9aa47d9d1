//! Texts as vectors, by embedding models in the folders that sentence-transformers writes.

mod cross_encoder;
mod head;
mod modules;
mod network;
mod packed;
mod pooling;
mod prompts;
mod reader;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;

pub use self::cross_encoder::CrossEncoder;
use self::modules::Modules;
pub(crate) use self::network::BATCH_TOKENS;
use self::network::{Network, Tensors, Tokens};
pub use self::prompts::Prompt;
use self::prompts::Prompts;
use self::reader::Reader;
use crate::device::{self, DeviceChoice};
use crate::loader::encoder::LoadedEncoder;
use crate::loader::{self, file_error, memory, read_optional_json};
use crate::{Cancellation, ModelError};

/// An encoder with its tokenizer, its pooling and what comes after that.
pub struct TextEmbedder {
    reader: Reader,
    dimensions: usize,
    lower_case: bool,
    prompts: Prompts,
    network: Network,
}

/// How an embedding model is opened.
#[derive(Debug, Clone, Default)]
pub struct EmbedderOptions {
    pub device: DeviceChoice,
    /// Computes with tensors on the processor too: what the packed network is compared with.
    pub as_tensors: bool,
}

impl TextEmbedder {
    /// Loads the model in a folder: `config.json`, `model.safetensors`, `tokenizer.json` and, as
    /// sentence-transformers writes them, `modules.json` with what it names,
    /// `sentence_bert_config.json` and `config_sentence_transformers.json`.
    pub fn open(folder: &Path, choice: DeviceChoice) -> Result<Self, ModelError> {
        Self::open_with(folder, &EmbedderOptions { device: choice, as_tensors: false })
    }

    /// [`open`](Self::open), with all that can be chosen.
    pub fn open_with(folder: &Path, options: &EmbedderOptions) -> Result<Self, ModelError> {
        let choice = options.device;
        if !folder.is_dir() {
            return Err(file_error(folder, "no such folder; an embedding model is a folder with config.json in it"));
        }
        let modules = Modules::open(folder)?;
        let (loaded, device, ()) = load_encoder(folder, &modules.encoder, choice, |_| Ok(()))?;
        let settings = settings(&modules.encoder)?;
        let longest = match settings["max_seq_length"].as_u64() {
            Some(longest) => Some(longest as usize),
            None => reader::longest(&modules.encoder)?,
        };
        let longest = longest.map_or(loaded.window, |longest| longest.min(loaded.window));
        let reader = Reader::open(loader::model_name(folder), &modules.encoder, longest, &loaded, false)?;
        let (pooling, steps, dimensions) = modules.load(loaded.hidden_size, &device)?;
        let tensors = Tensors { encoder: loaded.encoder, pooling, steps };
        let as_tensors = options.as_tensors || choice != DeviceChoice::Cpu;
        Ok(Self {
            reader,
            dimensions,
            lower_case: settings["do_lower_case"].as_bool().unwrap_or(false),
            prompts: Prompts::open(folder)?,
            network: Network::new(tensors, longest, device, as_tensors)?,
        })
    }

    pub fn name(&self) -> &str {
        &self.reader.name
    }

    /// The length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The names and texts of the prompts the model knows.
    pub fn prompts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.prompts.all()
    }

    /// A vector for each text, in order, under the model's default prompt. Text beyond the model's
    /// window is not read.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.embed_with(Prompt::Default, texts)
    }

    /// A vector for each text, in order. Text beyond the model's window is not read.
    pub fn embed_with(&self, prompt: Prompt<'_>, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.embed_watched(prompt, texts, &Cancellation::new(), &|_| ())
    }

    /// [`embed_with`](Self::embed_with), which ends between batches, of some hundred tokens, when it
    /// is cancelled. `on_done` is told each time how many more texts are done, from any thread.
    pub fn embed_watched(
        &self,
        prompt: Prompt<'_>,
        texts: &[&str],
        cancellation: &Cancellation,
        on_done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let prompt = self.prompts.text(prompt)?;
        let prompt_length = if prompt.is_empty() { 0 } else { self.prompt_length(prompt)? };
        let tokens = self.reader.read(texts, cancellation, |text| self.tokens(&format!("{prompt}{text}")))?;
        let vectors = self.network.embed(&tokens, prompt_length, cancellation, on_done)?;
        let usable =
            |vector: &Vec<f32>| vector.len() == self.dimensions && vector.iter().all(|value| value.is_finite());
        if vectors.iter().all(usable) {
            return Ok(vectors);
        }
        let reason =
            format!("{} computed a vector that is not finite; get the model again, or take another", self.name());
        Err(ModelError::Numeric(reason))
    }

    /// The parts of a text, in order, that each fill the model's window: one where it reads all of it.
    pub fn windows<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, ModelError> {
        // So few bytes are not more tokens.
        if text.len() + 2 <= self.reader.longest {
            return Ok(vec![text]);
        }
        let encoding = device::caught(|| self.reader.tokenizer.encode(text, true)).map_err(ModelError::Tokenizer)?;
        let encoding = encoding.map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        let mut starts = vec![0];
        for window in encoding.get_overflowing() {
            let tokens = window.get_offsets().iter().zip(window.get_special_tokens_mask());
            let start = tokens.filter(|(_, special)| **special == 0).map(|((start, _), _)| *start).next();
            starts.extend(start.filter(|start| starts.last() < Some(start)));
        }
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let windows: Option<Vec<&str>> = starts.iter().zip(ends).map(|(start, end)| text.get(*start..end)).collect();
        Ok(windows.unwrap_or_else(|| vec![text]))
    }

    fn tokens(&self, text: &str) -> Result<Tokens, ModelError> {
        // What Python's `strip` takes off.
        let text = text
            .trim_matches(|character: char| character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character));
        let encoding = match self.lower_case {
            true => self.reader.encode(text.to_lowercase())?,
            false => self.reader.encode(text)?,
        };
        Ok(Tokens { ids: encoding.get_ids().to_vec(), types: Vec::new() })
    }

    /// The tokens of a prompt and what is before it; the token that ends a text is not among them.
    fn prompt_length(&self, prompt: &str) -> Result<usize, ModelError> {
        let tokens = self.tokens(prompt)?.ids;
        let special = |token: &u32| {
            let added = self.reader.tokenizer.get_added_tokens_decoder();
            added.get(token).is_some_and(|token| token.special)
        };
        Ok(tokens.len() - usize::from(tokens.last().is_some_and(special)))
    }
}

/// The encoder in a folder of a model's on a device, where there is memory for it, and what `first` says before
/// anything large is read.
fn load_encoder<T>(
    model: &Path,
    encoder: &Path,
    choice: DeviceChoice,
    first: impl FnOnce(&Device) -> Result<T, ModelError>,
) -> Result<(LoadedEncoder, Device, T), ModelError> {
    let device = device::resolve(choice)?;
    let first = first(&device)?;
    if let Some(demand) = loader::encoder::demand(encoder, &device)? {
        demand.choose_window(model, Some(demand.window), memory::available_on(device::gpu(choice)?.as_ref(), false))?;
    }
    Ok((loader::encoder::load(encoder, &device)?, device, first))
}

/// The folder of the encoder within an embedding model's.
pub(crate) fn encoder_folder(folder: &Path) -> Result<PathBuf, ModelError> {
    Modules::open(folder).map(|modules| modules.encoder)
}

/// `sentence_bert_config.json`, which older versions named after the architecture.
fn settings(folder: &Path) -> Result<Value, ModelError> {
    for architecture in ["bert", "roberta", "distilbert", "camembert", "xlm-roberta"] {
        let path = folder.join(format!("sentence_{architecture}_config.json"));
        if let Some(settings) = read_optional_json(&path)? {
            return Ok(settings);
        }
    }
    Ok(Value::Null)
}

//! Texts as vectors, by embedding models in the folders that sentence-transformers writes.

mod modules;
mod network;
mod packed;
mod pooling;
mod prompts;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{PostProcessor, Tokenizer};

use self::modules::Modules;
pub(crate) use self::network::BATCH_TOKENS;
use self::network::{Network, Tensors, in_parallel, threads};
pub use self::prompts::Prompt;
use self::prompts::Prompts;
use crate::device::{self, DeviceChoice};
use crate::loader::{self, file_error, memory, read_optional_json};
use crate::{Cancellation, ModelError};

/// An encoder with its tokenizer, its pooling and what comes after that.
pub struct TextEmbedder {
    name: String,
    dimensions: usize,
    tokenizer: Tokenizer,
    lower_case: bool,
    /// Tokens of the longest text.
    longest: usize,
    vocabulary: usize,
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

/// Texts that a thread turns into tokens at a time.
const TOKENIZED: usize = 16;

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
        let device = device::resolve(choice)?;
        let modules = Modules::open(folder)?;
        if let Some(demand) = loader::encoder::demand(&modules.encoder, &device)? {
            demand.choose_window(folder, Some(demand.window), memory::available_on(device::gpu(choice)?.as_ref(), false))?;
        }
        let loaded = loader::encoder::load(&modules.encoder, &device)?;
        let settings = settings(&modules.encoder)?;
        let longest = longest(&modules.encoder, &settings)?.map_or(loaded.window, |longest| longest.min(loaded.window));
        let tokenizer = loader::tokenizer::open(&modules.encoder, Some(longest))?;
        let framing = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if longest <= framing {
            let reason = format!("texts of {longest} tokens leave no room beside the {framing} special tokens");
            return Err(file_error(&modules.encoder, reason));
        }
        let (pooling, steps, dimensions) = modules.load(loaded.hidden_size, &device)?;
        let tensors = Tensors { encoder: loaded.encoder, pooling, steps };
        let as_tensors = options.as_tensors || choice != DeviceChoice::Cpu;
        Ok(Self {
            name: loader::model_name(folder),
            dimensions,
            tokenizer,
            lower_case: settings["do_lower_case"].as_bool().unwrap_or(false),
            longest,
            vocabulary: loaded.vocabulary,
            prompts: Prompts::open(folder)?,
            network: Network::new(tensors, longest, device, as_tensors)?,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
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
        let some: Vec<&[&str]> = texts.chunks(TOKENIZED).collect();
        let tokenized = in_parallel(some.len(), threads(), |index| {
            if cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            let texts = some.get(index).copied().unwrap_or_default();
            texts.iter().map(|text| self.tokens(&format!("{prompt}{text}"))).collect::<Result<Vec<_>, _>>()
        })?;
        let tokens: Vec<Vec<u32>> = tokenized.into_iter().flatten().collect();
        self.check(&tokens)?;
        let vectors = self.network.embed(&tokens, prompt_length, cancellation, on_done)?;
        let usable = |vector: &Vec<f32>| {
            vector.len() == self.dimensions && vector.iter().all(|value| value.is_finite())
        };
        if vectors.iter().all(usable) {
            return Ok(vectors);
        }
        let reason = format!("{} computed a vector that is not finite; its weights may be corrupt", self.name);
        Err(ModelError::Numeric(reason))
    }

    /// The parts of a text, in order, that each fill the model's window: one where it reads all of it.
    pub fn windows<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, ModelError> {
        // So few bytes are not more tokens.
        if text.len() + 2 <= self.longest {
            return Ok(vec![text]);
        }
        let encoding = device::caught(|| self.tokenizer.encode(text, true)).map_err(ModelError::Tokenizer)?;
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

    fn tokens(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        // What Python's `strip` takes off.
        let text = text
            .trim_matches(|character: char| character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character));
        let encode = || match self.lower_case {
            true => self.tokenizer.encode_fast(text.to_lowercase(), true),
            false => self.tokenizer.encode_fast(text, true),
        };
        // A template that names no token of its own makes the tokenizers crate panic.
        let encoding = device::caught(encode)
            .map_err(|reason| ModelError::Tokenizer(format!("tokenizer.json of {} is damaged: {reason}", self.name)))?;
        let encoding = encoding.map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of a prompt and what is before it; the token that ends a text is not among them.
    fn prompt_length(&self, prompt: &str) -> Result<usize, ModelError> {
        let tokens = self.tokens(prompt)?;
        let special = |token: &u32| {
            let added = self.tokenizer.get_added_tokens_decoder();
            added.get(token).is_some_and(|token| token.special)
        };
        Ok(tokens.len() - usize::from(tokens.last().is_some_and(special)))
    }

    fn check(&self, tokens: &[Vec<u32>]) -> Result<(), ModelError> {
        let failed = |reason: String| Err(ModelError::Tokenizer(reason));
        if tokens.iter().any(Vec::is_empty) {
            return failed("a text has no tokens, not even special ones".to_string());
        }
        if let Some(long) = tokens.iter().find(|tokens| tokens.len() > self.longest) {
            return failed(format!("a text was not cut to {} tokens, it has {}", self.longest, long.len()));
        }
        match tokens.iter().flatten().find(|token| **token as usize >= self.vocabulary) {
            Some(token) => failed(format!(
                "token {token} is not in the model's vocabulary of {}; tokenizer.json is not this model's",
                self.vocabulary
            )),
            None => Ok(()),
        }
    }
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

/// The length texts are cut to, where the folder says one.
fn longest(folder: &Path, settings: &Value) -> Result<Option<usize>, ModelError> {
    if let Some(longest) = settings["max_seq_length"].as_u64() {
        return Ok(Some(longest as usize));
    }
    let tokenizer = read_optional_json(&folder.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
    // A number beyond all integers stands for "no limit".
    Ok(tokenizer["model_max_length"].as_u64().map(|longest| longest as usize))
}

//! Texts as vectors, by embedding models in the folders that sentence-transformers writes.

mod modules;
mod pooling;
mod prompts;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use serde_json::Value;
use tokenizers::{PostProcessor, Tokenizer};

use self::modules::{Modules, Step};
use self::pooling::Pooling;
pub use self::prompts::Prompt;
use self::prompts::Prompts;
use crate::ModelError;
use crate::device::{self, DeviceChoice, caught};
use crate::loader::{self, file_error, memory, read_optional_json};
use crate::models::encoder::Encoder;

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
    device: Device,
    network: Mutex<Network>,
}

struct Network {
    encoder: Encoder,
    pooling: Pooling,
    steps: Vec<Step>,
}

/// Texts computed at once, at most, and tokens of them with padding.
const BATCH_TEXTS: usize = 32;
pub(crate) const BATCH_TOKENS: usize = 8192;

impl TextEmbedder {
    /// Loads the model in a folder: `config.json`, `model.safetensors`, `tokenizer.json` and, as
    /// sentence-transformers writes them, `modules.json` with what it names,
    /// `sentence_bert_config.json` and `config_sentence_transformers.json`.
    pub fn open(folder: &Path, choice: DeviceChoice) -> Result<Self, ModelError> {
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
        Ok(Self {
            name: loader::model_name(folder),
            dimensions,
            tokenizer,
            lower_case: settings["do_lower_case"].as_bool().unwrap_or(false),
            longest,
            vocabulary: loaded.vocabulary,
            prompts: Prompts::open(folder)?,
            device,
            network: Mutex::new(Network { encoder: loaded.encoder, pooling, steps }),
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
        let prompt = self.prompts.text(prompt)?;
        let prompt_length = if prompt.is_empty() { 0 } else { self.prompt_length(prompt)? };
        let tokens = texts.iter().map(|text| self.tokens(&format!("{prompt}{text}")));
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        self.check(&tokens)?;
        // Texts of like length share a batch, so that little of it is padding.
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_key(|index| tokens[*index].len());
        let mut vectors = vec![Vec::new(); texts.len()];
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let fits = |count: &usize| *count == 1 || count * tokens[rest[count - 1]].len() <= BATCH_TOKENS;
            let count = (1..=rest.len().min(BATCH_TEXTS)).take_while(fits).last().unwrap_or(1);
            let (batch, after) = rest.split_at(count);
            let rows: Vec<&[u32]> = batch.iter().map(|index| tokens[*index].as_slice()).collect();
            for (index, vector) in batch.iter().zip(self.embed_batch(&rows, prompt_length)?) {
                vectors[*index] = vector;
            }
            rest = after;
        }
        Ok(vectors)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        // What Python's `strip` takes off.
        let text = text
            .trim_matches(|character: char| character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character));
        let encoding = if self.lower_case {
            self.tokenizer.encode_fast(text.to_lowercase(), true)
        } else {
            self.tokenizer.encode_fast(text, true)
        };
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

    fn embed_batch(&self, rows: &[&[u32]], prompt_length: usize) -> Result<Vec<Vec<f32>>, ModelError> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        let computed = caught(|| {
            let hidden = network.encoder.forward(rows, &self.device);
            let pooled = network.pooling.pool(&hidden, &lengths, prompt_length);
            let finished = network.steps.iter().fold(pooled, |vectors, step| step.apply(vectors));
            finished.try_into_vec_as::<f32>()
        });
        drop(network);
        let failed = |reason: String| device::failure(&reason);
        let values = computed.map_err(failed)?.map_err(|error| failed(error.to_string()))?;
        if values.iter().any(|value| !value.is_finite()) {
            let reason = format!("{} computed a vector that is not finite; its weights may be corrupt", self.name);
            return Err(ModelError::Numeric(reason));
        }
        Ok(values.chunks(self.dimensions).map(<[f32]>::to_vec).collect())
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

//! A model that runs in this process, from a folder as Hugging Face publishes it or a GGUF file.

mod conversation;
mod options;
mod timing;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use codriver_chat::template::ChatTemplate;
use codriver_grammar::{GrammarError, Plan, Vocabulary};

pub use self::options::{CompletionOptions, Engine, OpenOptions};
use crate::device::{self, DeviceChoice};
use crate::guidance::{self, Notices, refused};
use crate::loader::decoder::DecoderSource;
use crate::loader::memory::{self, Demand};
use crate::loader::packing::Packing;
use crate::loader::tokenizer::TokenizerFiles;
use crate::loader::{self, ModelFiles, file_error};
use crate::network;
use crate::sampling::Sampler;
use crate::scheduler::{Answer, Completion, Event, Load, Request, Room, Scheduler, Task, Ticket};
use crate::streaming::{Detokenizer, StopStrings};
use crate::{CacheFormat, Cancellation, FinishReason, ModelError, SamplingParameters};

/// A decoder with its tokenizer and chat template. Requests may come from many threads at once: they
/// are computed together.
pub struct LocalModel {
    name: String,
    window: usize,
    /// Bytes of its weights, as they are held.
    weights: u64,
    tokenizer: TokenizerFiles,
    template: Option<ChatTemplate>,
    scheduler: Scheduler,
    /// Tokens that end an answer.
    ends: Arc<HashSet<u32>>,
    engine: Engine,
    /// How many scores the network computes.
    vocabulary_size: usize,
    vocabulary: OnceLock<Result<Arc<Vocabulary>, GrammarError>>,
    notices: Notices,
}

/// Keys and values that nobody uses are kept for conversations that go on, as many bytes as this.
const KEPT_BYTES: u64 = 2 << 30;

/// How an answer is written.
struct Way<'a> {
    plan: Option<Plan>,
    sampling: &'a SamplingParameters,
    options: &'a CompletionOptions,
}

impl LocalModel {
    /// Loads the model in a folder (`config.json`, safetensors, `tokenizer.json`, chat template) or in
    /// a GGUF file.
    pub fn open(folder: &Path, device: DeviceChoice) -> Result<Self, ModelError> {
        let options = OpenOptions { device, ..OpenOptions::default() };
        Self::open_with(folder, &options)
    }

    /// [`LocalModel::open`] with adapters, or a shorter window.
    pub fn open_with(folder: &Path, options: &OpenOptions) -> Result<Self, ModelError> {
        if !(folder.is_dir() || loader::gguf::is_gguf(folder) && folder.is_file()) {
            return Err(file_error(
                folder,
                "no such folder or .gguf file; a local model is a folder with config.json in it, or a GGUF file",
            ));
        }
        let device = device::resolve(options.device)?;
        let files = ModelFiles::open(folder)?;
        let tokenizer = TokenizerFiles::open(&files)?;
        let template = ChatTemplate::open(folder, &tokenizer.settings)?;
        let gpu = device::gpu(options.device)?;
        let packing = options.packing(gpu.as_ref());
        packing.check()?;
        let available = memory::available_on(gpu.as_ref(), options.ignore_memory);
        let source = DecoderSource::open(&files, &device)?;
        let demand = Demand::of_decoder(&source, packing, options.cache_format);
        let window = demand.choose_window(folder, options.window, available)?;
        // A GPU that does not say what it has refuses what it has no room for.
        let refused = gpu.as_ref().map(|_| u64::MAX);
        let tokens = options.cache_tokens.unwrap_or_else(|| demand.choose_room(window, available.or(refused)));
        let vocabulary_size = source.config().vocab_size;
        let mut held = demand.weights;
        let opening = network::Opening {
            adapters: &options.adapters,
            device: &device,
            format: options.cache_format,
            cancellation: &options.cancellation,
        };
        let (network, packing) = match (opening.open(source, packing), packing) {
            // What the GPU's kernels lack, tensors have.
            (Err(ModelError::Unsupported(reason)), Packing::Resident { quantization, .. }) => {
                // There all numbers have 32 bits.
                let cache = Some(options.cache_format).filter(|format| *format != CacheFormat::F32);
                let weights = quantization.map(|format| format!("weights can't be held as {format}"));
                let rounded =
                    weights.or_else(|| cache.map(|format| format!("keys and values can't be held as {format}")));
                if let Some(rounded) = rounded {
                    let reason = format!("{reason}; so its {rounded}: leave that out, or take --device cpu");
                    return Err(ModelError::Unsupported(reason));
                }
                tracing::warn!("{}: computed as tensors, which is slower: {reason}", folder.display());
                let source = DecoderSource::open(&files, &device)?;
                held = Demand::of_decoder(&source, Packing::Tensors, options.cache_format).weights;
                (opening.open(source, Packing::Tensors)?, Packing::Tensors)
            }
            (opened, packing) => (opened?, packing),
        };
        let scheduler = Scheduler::start(network, Room { tokens, kept: KEPT_BYTES })?;
        Ok(Self {
            name: loader::model_name(folder),
            window,
            weights: held,
            ends: Arc::new(tokenizer.end_tokens.iter().copied().collect()),
            tokenizer,
            template,
            scheduler,
            engine: Engine::of(packing),
            vocabulary_size,
            vocabulary: OnceLock::new(),
            notices: Notices::default(),
        })
    }

    /// Continues a prompt, special tokens added as the tokenizer does. Text goes to `on_text`
    /// as it comes, and is returned whole.
    pub fn generate(
        &self,
        prompt: &str,
        sampling: &SamplingParameters,
        cancellation: &Cancellation,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<String, ModelError> {
        let prompt = self.encode(prompt, true)?;
        let mut whole = String::new();
        let plan = guidance::constraint_only(sampling)?;
        let way = Way { plan, sampling, options: &CompletionOptions::default() };
        self.answer(way, &prompt, &HashSet::new(), cancellation, &mut |text| {
            whole.push_str(text);
            on_text(text);
        })?;
        Ok(whole)
    }

    /// The tokens of a text, as [`LocalModel::generate`] reads it.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.encode(text, true)
    }

    /// The scores of the next token after each of `tokens`.
    pub fn logits(&self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.check(tokens, 0)?;
        let mut ticket = self.submit(tokens, Task::Scores, &CompletionOptions::default(), &Cancellation::new())?;
        let mut rows = Vec::with_capacity(tokens.len());
        loop {
            match ticket.next()? {
                Event::Scores(scores) => rows.extend(scores.chunks(self.vocabulary_size.max(1)).map(<[f32]>::to_vec)),
                Event::Token(_) | Event::Warning(_) => {}
                Event::Ended(_) => return Ok(rows),
            }
        }
    }

    /// Continues a prompt, tokens in, tokens out. The token that ends an answer is counted but not
    /// passed on.
    pub fn complete(
        &self,
        prompt: &[u32],
        sampling: &SamplingParameters,
        cancellation: &Cancellation,
        on_token: &mut dyn FnMut(u32) -> Result<Flow, ModelError>,
    ) -> Result<Completion, ModelError> {
        self.complete_with(prompt, sampling, &CompletionOptions::default(), cancellation, on_token)
    }

    /// [`LocalModel::complete`], more or less urgent, or otherwise than usual.
    pub fn complete_with(
        &self,
        prompt: &[u32],
        sampling: &SamplingParameters,
        options: &CompletionOptions,
        cancellation: &Cancellation,
        on_token: &mut dyn FnMut(u32) -> Result<Flow, ModelError>,
    ) -> Result<Completion, ModelError> {
        let plan = guidance::constraint_only(sampling)?;
        self.complete_as(Way { plan, sampling, options }, prompt, cancellation, on_token)
    }

    /// What the model is doing: how many requests run and wait, and how full the cache is.
    pub fn load(&self) -> Load {
        self.scheduler.load()
    }

    /// What computes the model.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// What is under every answer: a request to the scheduler, whose tokens are passed on.
    fn complete_as(
        &self,
        way: Way<'_>,
        prompt: &[u32],
        cancellation: &Cancellation,
        on_token: &mut dyn FnMut(u32) -> Result<Flow, ModelError>,
    ) -> Result<Completion, ModelError> {
        // An answer needs room for one token at least.
        self.check(prompt, 1)?;
        let guide = way.plan.map(|plan| guidance::begin(self.vocabulary()?, plan));
        let answer = Answer {
            sampler: Sampler::new(way.sampling, prompt)?,
            guide: guide.transpose()?,
            limit: way.sampling.max_tokens.min(self.window - prompt.len()),
            ends: if way.options.ignore_end { Arc::default() } else { Arc::clone(&self.ends) },
            speculate: way.options.speculate,
        };
        let mut ticket = self.submit(prompt, Task::Answer(Box::new(answer)), way.options, cancellation)?;
        let mut tokens = 0;
        loop {
            match ticket.next()? {
                Event::Token(token) => {
                    tokens += 1;
                    if matches!(on_token(token)?, Flow::Stop) {
                        return Ok(Completion { reason: FinishReason::Stop, tokens });
                    }
                }
                Event::Warning(warning) => {
                    tracing::warn!(model = self.name, warning, "a tool call is not held to its schema");
                }
                Event::Scores(_) => {}
                Event::Ended(completion) => return Ok(completion),
            }
        }
    }

    fn submit(
        &self,
        prompt: &[u32],
        task: Task,
        options: &CompletionOptions,
        cancellation: &Cancellation,
    ) -> Result<Ticket, ModelError> {
        let cancellation = cancellation.clone();
        self.scheduler.submit(Request { prompt: prompt.to_vec(), task, priority: options.priority, cancellation })
    }

    /// The vocabulary as grammars see it, built when a constraint first needs it.
    fn vocabulary(&self) -> Result<&Arc<Vocabulary>, ModelError> {
        let build = || {
            let ends: Vec<u32> = self.tokenizer.end_tokens.iter().copied().collect();
            guidance::vocabulary(&self.tokenizer.tokenizer, &ends, self.vocabulary_size).map(Arc::new)
        };
        self.vocabulary.get_or_init(build).as_ref().map_err(|error| refused(error.clone()))
    }

    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, ModelError> {
        let tokens = self.tokenizer.tokenizer.encode_prompt(text, add_special_tokens);
        tokens.map_err(|error| ModelError::Tokenizer(error.to_string()))
    }

    /// Whether the model can read the tokens, and write `more`.
    fn check(&self, tokens: &[u32], more: usize) -> Result<(), ModelError> {
        if tokens.is_empty() {
            return Err(ModelError::Tokenizer("the prompt is empty".to_string()));
        }
        let (prompt, window, vocabulary) = (tokens.len() + more, self.window, self.vocabulary_size);
        if prompt > window {
            return Err(ModelError::ContextOverflow { prompt, window });
        }
        match tokens.iter().find(|token| **token as usize >= vocabulary) {
            None => Ok(()),
            Some(token) => Err(ModelError::Tokenizer(format!(
                "token {token} is not in the model's vocabulary of {vocabulary}; tokenizer.json is not this model's"
            ))),
        }
    }

    /// Answers as text: no piece splits a character, nothing of a stop string is shown. Special tokens
    /// are not text, but for `markers`.
    fn answer(
        &self,
        way: Way<'_>,
        prompt: &[u32],
        markers: &HashSet<u32>,
        cancellation: &Cancellation,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Completion, ModelError> {
        let mut show = |text: String| {
            if !text.is_empty() {
                on_text(&text);
            }
        };
        let mut detokenizer = Detokenizer::new(&self.tokenizer.tokenizer);
        let mut stops = StopStrings::new(&way.sampling.stop);
        let mut stopped = false;
        let mut completion = self.complete_as(way, prompt, cancellation, &mut |token| {
            if self.tokenizer.silent_tokens.contains(&token) && !markers.contains(&token) {
                return Ok(Flow::Continue);
            }
            let (text, found) = stops.push(&detokenizer.push(token)?);
            show(text);
            stopped = found;
            Ok(if stopped { Flow::Stop } else { Flow::Continue })
        })?;
        if !stopped {
            let (text, found) = stops.push(&detokenizer.finish()?);
            show(text);
            stopped = found;
        }
        if stopped {
            completion.reason = FinishReason::Stop;
        } else {
            show(stops.finish());
        }
        Ok(completion)
    }
}

/// Whether to go on generating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Stop,
}

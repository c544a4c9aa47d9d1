//! A model that runs in this process, from a folder as Hugging Face publishes it or a GGUF file.

mod timing;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use codriver_chat::answer::AnswerParser;
use codriver_chat::formats::ToolFormat;
use codriver_chat::retelling::tools_as_text;
use codriver_chat::template::ChatTemplate;
use codriver_grammar::{Beside, GrammarError, Next, Plan, Vocabulary};
use codriver_kernels::Format;

use crate::device::{self, DeviceChoice};
use crate::engine::Engine;
use crate::guidance::{self, Notices, refused};
use crate::loader::decoder::DecoderSource;
use crate::loader::lora::Adapter;
use crate::loader::memory::{self, Demand};
use crate::loader::packing::Packing;
use crate::loader::tokenizer::TokenizerFiles;
use crate::loader::{self, ModelFiles, file_error};
use crate::sampling::Sampler;
use crate::streaming::{Detokenizer, StopStrings};
use crate::{
    Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, FinishReason, Message,
    ModelError, SamplingParameters, ToolChoice, ToolDefinition, Usage,
};

/// A decoder with its tokenizer and chat template.
pub struct LocalModel {
    name: String,
    window: usize,
    tokenizer: TokenizerFiles,
    template: Option<ChatTemplate>,
    /// One answer at a time.
    engine: Mutex<Engine>,
    /// How many scores the network computes.
    vocabulary_size: usize,
    vocabulary: OnceLock<Result<Arc<Vocabulary>, GrammarError>>,
    notices: Notices,
}

impl LocalModel {
    /// Loads the model in a folder (`config.json`, safetensors, `tokenizer.json`, chat template) or in
    /// a GGUF file.
    pub fn open(folder: &Path, device: DeviceChoice) -> Result<Self, ModelError> {
        let options = OpenOptions {
            device,
            ..OpenOptions::default()
        };
        Self::open_with(folder, &options)
    }

    /// [`LocalModel::open`] with adapters, or a shorter window.
    pub fn open_with(folder: &Path, options: &OpenOptions) -> Result<Self, ModelError> {
        if !folder.is_dir() && !(loader::gguf::is_gguf(folder) && folder.is_file()) {
            return Err(file_error(
                folder,
                "no such folder or .gguf file; a local model is a folder with config.json in it, or a GGUF file",
            ));
        }
        let device = device::resolve(options.device)?;
        let files = ModelFiles::open(folder)?;
        let tokenizer = TokenizerFiles::open(&files)?;
        let template = ChatTemplate::open(folder, &tokenizer.settings)?;
        let packing = options.packing();
        let available = memory::available_on(options.device, options.ignore_memory);
        let source = DecoderSource::open(&files, &device)?;
        let demand = Demand::of_decoder(&source, packing);
        let window = demand.choose_window(folder, options.window, available)?;
        let decoder = source.load(&options.adapters, packing, &options.cancellation)?;
        Ok(Self {
            name: loader::model_name(folder),
            window,
            tokenizer,
            template,
            vocabulary_size: decoder.config.vocab_size,
            vocabulary: OnceLock::new(),
            notices: Notices::default(),
            engine: Mutex::new(Engine::new(decoder, device)),
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
        self.answer(plan, &prompt, &HashSet::new(), sampling, cancellation, &mut |text| {
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
        self.check_length(tokens.len())?;
        self.engine().logits(tokens)
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
        let plan = guidance::constraint_only(sampling)?;
        self.complete_as(plan, prompt, sampling, cancellation, on_token)
    }

    /// The loop under every answer: a step of the network, a token, until something ends it. While
    /// the network computes, another thread works out which tokens the plan admits.
    fn complete_as(
        &self,
        plan: Option<Plan>,
        prompt: &[u32],
        sampling: &SamplingParameters,
        cancellation: &Cancellation,
        on_token: &mut dyn FnMut(u32) -> Result<Flow, ModelError>,
    ) -> Result<Completion, ModelError> {
        // An answer needs room for one token at least.
        self.check_length(prompt.len() + usize::from(!prompt.is_empty()))?;
        let mut sampler = Sampler::new(sampling, prompt)?;
        let limit = sampling.max_tokens.min(self.window - prompt.len());
        let guide = plan.map(|plan| guidance::begin(self.vocabulary()?, plan));
        let mut guide = guide.transpose()?;
        let mut engine = self.engine();
        let mut tokens = 0;
        let mut unread = prompt.to_vec();
        let mut is_read = false;
        let completion = |reason, tokens| Ok(Completion { reason, tokens });
        loop {
            let ahead = guide.as_mut().map(Beside::ahead).transpose().map_err(refused)?;
            let ahead = ahead.unwrap_or_default();
            if let Some(warning) = ahead.warning {
                tracing::warn!(model = self.name, %warning, "a tool call is not held to its schema");
            }
            let fits = ahead.forced.len() <= limit - tokens;
            for token in ahead.forced.iter().take(limit - tokens) {
                tokens += 1;
                sampler.note(*token);
                unread.push(*token);
                if matches!(on_token(*token)?, Flow::Stop) {
                    return completion(FinishReason::Stop, tokens);
                }
            }
            if ahead.is_whole && fits {
                return completion(FinishReason::Stop, tokens);
            }
            if tokens == limit {
                return completion(FinishReason::Length, tokens);
            }
            let mut logits = if is_read {
                engine.step(&unread, cancellation)?
            } else {
                engine.prefill(&unread, prompt.len() + limit, cancellation)?
            };
            is_read = true;
            if cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            let next = guide.as_mut().map_or(Ok(Next::Any), Beside::next).map_err(refused)?;
            let token = match next {
                Next::Any => sampler.choose(&mut logits)?,
                Next::Of(allowed) => sampler.choose_among(&mut logits, Some(&allowed))?,
                Next::End => return completion(FinishReason::Stop, tokens),
            };
            tokens += 1;
            let ended = self.tokenizer.end_tokens.contains(&token);
            if ended || matches!(on_token(token)?, Flow::Stop) {
                return completion(FinishReason::Stop, tokens);
            }
            if let Some(guide) = &mut guide {
                guide.commit(token).map_err(refused)?;
            }
            unread = vec![token];
        }
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

    fn check_length(&self, length: usize) -> Result<(), ModelError> {
        match length {
            0 => Err(ModelError::Tokenizer("the prompt is empty".to_string())),
            length if length > self.window => Err(ModelError::ContextOverflow {
                prompt: length,
                window: self.window,
            }),
            _ => Ok(()),
        }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        // The engine forgets its cache when a step fails, so a poisoned lock guards nothing broken.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers as text: no piece splits a character, nothing of a stop string is shown. Special tokens
    /// are not text, but for `markers`.
    fn answer(
        &self,
        plan: Option<Plan>,
        prompt: &[u32],
        markers: &HashSet<u32>,
        sampling: &SamplingParameters,
        cancellation: &Cancellation,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Completion, ModelError> {
        let mut show = |text: String| {
            if !text.is_empty() {
                on_text(&text);
            }
        };
        let mut detokenizer = Detokenizer::new(&self.tokenizer.tokenizer);
        let mut stops = StopStrings::new(&sampling.stop);
        let mut stopped = false;
        let mut completion = self.complete_as(plan, prompt, sampling, cancellation, &mut |token| {
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

    fn render(&self, request: &ChatRequest) -> Result<Rendered, ModelError> {
        let template = self.template.as_ref().ok_or_else(|| {
            ModelError::Template(format!(
                "{} has no chat template: it continues text but was not made for conversation; get its instruction-tuned sibling",
                self.name
            ))
        })?;
        let tools = offered_tools(request);
        let names = &self.tokenizer.special_names;
        let (format, prompt) = if template.knows_tools() {
            (
                template.tool_format(),
                template.render(&request.messages, &tools, names)?,
            )
        } else {
            let retold = tools_as_text(&request.messages, &tools);
            (ToolFormat::Hermes, template.render(&retold, &[], names)?)
        };
        let reasoning = format.opens_reasoning(&prompt);
        Ok(Rendered {
            prompt,
            reasoning,
            format,
            tools,
        })
    }
}

/// How a model is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    pub device: DeviceChoice,
    /// Adapters merged into the weights as they are read.
    pub adapters: Vec<Adapter>,
    /// Tokens, prompt and answer together, that are enough; `None` is all that the model can read
    /// and that memory allows.
    pub window: Option<usize>,
    /// What the weights are rounded to, on the processor; `None` keeps the bits they have.
    pub quantization: Option<Format>,
    /// Computes with tensors of 32-bit floats on the processor too: what the packed weights and the
    /// processor's own products are compared with.
    pub as_tensors: bool,
    /// Ends the loading.
    pub cancellation: Cancellation,
    /// Loads the model even if memory seems not to suffice, as CODRIVER_IGNORE_MEMORY=1 does.
    pub ignore_memory: bool,
}

impl OpenOptions {
    fn packing(&self) -> Packing {
        match self.device {
            DeviceChoice::Cpu if !self.as_tensors => Packing::Packed { quantization: self.quantization },
            _ => Packing::Tensors,
        }
    }
}

/// Whether to go on generating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Stop,
}

/// How an answer ended, and after how many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    pub reason: FinishReason,
    pub tokens: usize,
}

/// A request as the model reads it, and how its answer is to be read.
struct Rendered {
    prompt: String,
    /// Whether the prompt opened the model's reasoning.
    reasoning: bool,
    format: ToolFormat,
    tools: Vec<ToolDefinition>,
}

impl Rendered {
    /// How the answer is to be written.
    fn guidance<'a>(&'a self, request: &'a ChatRequest) -> guidance::Request<'a> {
        guidance::Request {
            format: self.format,
            tools: &self.tools,
            choice: &request.tool_choice,
            sampling: &request.sampling,
            prompt: &self.prompt,
        }
    }
}

fn offered_tools(request: &ChatRequest) -> Vec<ToolDefinition> {
    let offered = |tool: &&ToolDefinition| match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::Required => true,
        ToolChoice::None => false,
        ToolChoice::Named(name) => tool.name == *name,
    };
    request.tools.iter().filter(offered).cloned().collect()
}

impl ChatModel for LocalModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_window(&self) -> usize {
        self.window
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.encode(text, false)
            .map_or(text.len().div_ceil(4), |tokens| tokens.len())
    }

    fn render_prompt(&self, request: &ChatRequest) -> Result<String, ModelError> {
        self.render(request).map(|rendered| rendered.prompt)
    }

    fn chat(
        &self,
        request: &ChatRequest,
        cancellation: &Cancellation,
        on_event: &mut dyn FnMut(ChatEvent),
    ) -> Result<ChatResponse, ModelError> {
        let rendered = self.render(request)?;
        // The template wrote the special tokens already.
        let prompt = self.encode(&rendered.prompt, false)?;
        let calls_before = request
            .messages
            .iter()
            .map(|message| message.tool_calls.len())
            .sum();
        let guidance = rendered.guidance(request);
        let plan = if guidance.is_free() {
            None
        } else {
            let plan = guidance.plan(self.vocabulary()?)?;
            self.notices.of(&guidance).into_iter().for_each(|notice| on_event(ChatEvent::Notice(notice)));
            plan
        };
        let mut parser = AnswerParser::new(
            rendered.format,
            &rendered.tools,
            calls_before,
            rendered.reasoning,
        );
        let markers = rendered.format.markers().into_iter();
        let markers = markers.filter_map(|marker| self.tokenizer.tokenizer.token_id(marker)).collect();
        let completion = self.answer(plan, &prompt, &markers, &request.sampling, cancellation, &mut |text| {
            parser.push(text, on_event)
        })?;
        let (content, calls) = parser.finish(on_event);
        let finish_reason = if calls.is_empty() {
            completion.reason
        } else {
            FinishReason::ToolCalls
        };
        Ok(ChatResponse {
            message: Message::assistant(content, calls),
            finish_reason,
            usage: Usage {
                prompt_tokens: prompt.len(),
                completion_tokens: completion.tokens,
            },
        })
    }
}

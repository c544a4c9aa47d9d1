//! The starter as a chat model.

use std::collections::BTreeSet;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::answering::{self, Findings};
use super::call::{self, Call, TOOL_NAMES};
use super::grammar::State;
use super::linking::{Linked, Numbering, Piece, link};
use super::notation::{Keyword, Token, first_piece};
use super::phrases::Phrases;
use super::prior::Prior;
use super::vocabulary::Vocabulary;
use crate::device::{self, DeviceChoice};
use crate::loader;
use crate::loader::packing::Packing;
use crate::models::decoder::{Decoder, KvCache};
use crate::{
    Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, Environment, FinishReason, Message, ModelError,
    Role, ToolCall, ToolChoice, Usage,
};

/// The small model that ships with Codriver.
pub struct Starter {
    decoder: Decoder,
    /// The vectors of the vocabulary, which score it too.
    table: Tensor<2>,
    vocabulary: Vocabulary,
    phrases: Phrases,
    device: Device,
}

/// What the starter says of requests that it has no tool for.
pub const DECLINED: &str = "I can't help with that: I'm the small model that comes with Codriver, and I know the session's tables, files, git history, \
     arithmetic, memory and help. For anything else, attach a bigger model with one line: `%model http://localhost:8080/v1#name` \
     (any OpenAI-compatible server) or `%model /path/to/model` (a local folder).";

/// Tokens of the longest call or answer.
const MAX_TOKENS: usize = 64;

impl Starter {
    /// The model that is part of the program.
    pub fn embedded(choice: DeviceChoice) -> Result<Self, ModelError> {
        let device = device::resolve(choice)?;
        let config = include_str!("../../assets/starter/config.json");
        let decoder = loader::decoder::load_embedded(
            "the embedded starter",
            config,
            include_bytes!("../../assets/starter/model.safetensors"),
            &device,
        )?;
        Self::new(decoder, config, include_bytes!("../../assets/starter/tokenizer.json"), device)
    }

    /// A starter that training wrote.
    pub fn open(folder: &Path, choice: DeviceChoice) -> Result<Self, ModelError> {
        let device = device::resolve(choice)?;
        let decoder = loader::decoder::load(folder, &[], Packing::Tensors, &device)?;
        let read = |name: &str| {
            fs_err::read(folder.join(name)).map_err(|error| ModelError::File {
                path: folder.join(name).display().to_string(),
                reason: error.to_string(),
            })
        };
        let config = String::from_utf8_lossy(&read("config.json")?).into_owned();
        Self::new(decoder, &config, &read("tokenizer.json")?, device)
    }

    fn new(decoder: Decoder, config: &str, tokenizer: &[u8], device: Device) -> Result<Self, ModelError> {
        let config: serde_json::Value = serde_json::from_str(config)
            .map_err(|error| ModelError::Unsupported(format!("config.json of the starter: {error}")))?;
        let sayable = config["sayable_tokens"].as_u64().unwrap_or_default() as usize;
        let vocabulary = Vocabulary::from_json(tokenizer, sayable)?;
        if sayable < first_piece() as usize || vocabulary.size() != decoder.config.vocab_size {
            return Err(ModelError::Unsupported(
                "this checkpoint's notation is not this program's: run `cargo xtask train-starter`".to_owned(),
            ));
        }
        let packed = || ModelError::Unsupported("the starter's weights are not packed".to_owned());
        let table = decoder.embed_tokens.dense().ok_or_else(packed)?;
        Ok(Self { decoder, table, vocabulary, phrases: Phrases::shipped(), device })
    }

    /// The call for a request, without running anything.
    pub fn first_call(&self, request: &str, environment: &Environment) -> Result<Call, ModelError> {
        let linked = link(request, environment, &mut Numbering::in_order());
        let (tokens, _) = self.call_tokens(&linked, None, &Cancellation::new())?;
        Ok(call::read(&tokens, &linked))
    }

    /// A request as the starter reads it, for people who look at what linking found.
    pub fn linked_prompt(&self, request: &str, environment: &Environment) -> Result<String, ModelError> {
        self.words(&link(request, environment, &mut Numbering::in_order()).prompt)
    }

    fn words(&self, pieces: &[Piece]) -> Result<String, ModelError> {
        let words: Vec<String> =
            self.vocabulary.encode(pieces)?.into_iter().map(|token| self.vocabulary.name(token)).collect();
        Ok(words.join(" "))
    }

    fn call_tokens(
        &self,
        linked: &Linked,
        tools: Option<&BTreeSet<Token>>,
        cancellation: &Cancellation,
    ) -> Result<(Vec<Token>, Usage), ModelError> {
        let mut state = State::Start;
        let prior = Prior::of(linked);
        self.decode(&linked.prompt, &|token, said| prior.score(token, said), cancellation, |token| {
            if let Some(token) = token {
                state = state.after(token, &linked.references)?;
            }
            let allowed: Vec<Token> = state.next(&linked.references).into_iter().map(|(token, _)| token).collect();
            match (state, tools) {
                (State::Start, Some(tools)) => Some(
                    allowed
                        .into_iter()
                        .filter(|token| tools.contains(token) || *token == Keyword::Decline.token())
                        .collect(),
                ),
                _ => Some(allowed),
            }
        })
    }

    /// Decodes greedily among the tokens `admit` allows after each token, until [`Keyword::End`].
    /// `prior` adds to the score of a token, given what was said so far.
    fn decode(
        &self,
        prompt: &[Piece],
        prior: &dyn Fn(Token, &[Token]) -> f32,
        cancellation: &Cancellation,
        mut admit: impl FnMut(Option<Token>) -> Option<Vec<Token>>,
    ) -> Result<(Vec<Token>, Usage), ModelError> {
        let prompt = self.vocabulary.encode(prompt)?;
        let window = self.decoder.config.max_position_embeddings;
        if prompt.len() + MAX_TOKENS > window {
            return Err(ModelError::ContextOverflow { prompt: prompt.len(), window });
        }
        let mut cache = KvCache::new(&self.decoder.config, prompt.len() + MAX_TOKENS, &self.device);
        let mut usage = Usage { prompt_tokens: prompt.len(), completion_tokens: 0 };
        let mut input = prompt;
        let mut output = Vec::new();
        let mut last = None;
        while output.len() < MAX_TOKENS {
            if cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            let allowed = admit(last).unwrap_or_default();
            let token = match allowed.as_slice() {
                [] => break,
                [only] => *only,
                several => self.likeliest(&input, several, &|token| prior(token, &output), &mut cache)?,
            };
            // Where there is no choice, nothing is computed until there is one.
            if allowed.len() > 1 {
                input.clear();
            }
            input.push(token);
            last = Some(token);
            usage.completion_tokens += 1;
            output.push(token);
            if token == Keyword::End.token() {
                break;
            }
        }
        Ok((output, usage))
    }

    fn likeliest(
        &self,
        input: &[Token],
        allowed: &[Token],
        prior: &dyn Fn(Token) -> f32,
        cache: &mut KvCache,
    ) -> Result<Token, ModelError> {
        let ids: Vec<i32> = input.iter().map(|token| *token as i32).collect();
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, input.len()]), &self.device);
        let hidden = self.decoder.hidden(tokens, Some(cache));
        let [_, length, width] = hidden.dims();
        let last = hidden.slice([0..1, length - 1..length, 0..width]).reshape([1, width]);
        let choices: Vec<i32> = allowed.iter().map(|token| *token as i32).collect();
        let rows = self
            .table
            .clone()
            .select(0, Tensor::<1, Int>::from_data(TensorData::new(choices, [allowed.len()]), &self.device));
        let scores: Vec<f32> = last
            .matmul(rows.transpose())
            .into_data()
            .try_into_vec()
            .map_err(|error| ModelError::Numeric(format!("{error:?}")))?;
        if scores.iter().any(|score| score.is_nan()) {
            return Err(ModelError::Numeric("the starter's scores are not numbers".to_owned()));
        }
        let scored = scores.iter().zip(allowed).map(|(score, token)| (score + prior(*token), *token));
        let best = scored.max_by(|left, right| left.0.total_cmp(&right.0));
        Ok(best.map_or(Keyword::End.token(), |(_, token)| token))
    }

    /// A sentence about a tool's result.
    fn answer(&self, tool: &str, result: &str, cancellation: &Cancellation) -> Result<(String, Usage), ModelError> {
        let keyword =
            TOOL_NAMES.iter().find(|(_, name)| *name == tool).map_or(Keyword::SearchDocs, |(keyword, _)| *keyword);
        let findings = Findings::read(keyword, result);
        let (prompt, references) = findings.prompt(&mut Numbering::in_order());
        // The model chooses what to say of a result of this shape; what it says of it is the result's.
        let section = findings.section();
        let templates =
            self.phrases.templates(&section).iter().filter_map(|template| answering::pieces(template, &references));
        let sayings: Vec<Vec<Token>> =
            templates.map(|pieces| self.vocabulary.encode(&pieces)).collect::<Result<_, _>>()?;
        let mut said: Vec<Token> = Vec::new();
        let (tokens, usage) = self.decode(&prompt, &|_, _| 0.0, cancellation, |token| {
            said.extend(token);
            Some(
                sayings
                    .iter()
                    .filter(|saying| saying.starts_with(&said))
                    .filter_map(|saying| saying.get(said.len()).copied())
                    .collect::<BTreeSet<Token>>()
                    .into_iter()
                    .collect(),
            )
        })?;
        let mut text = String::new();
        for token in tokens {
            if let Some(cell) = references.iter().position(|reference| *reference == token) {
                word(&mut text, findings.cells.get(cell).map_or("", String::as_str));
            } else if token == Keyword::Rows.token() {
                word(&mut text, &findings.rows.to_string());
            } else if token != Keyword::End.token() {
                word(&mut text, &self.vocabulary.name(token));
            }
        }
        Ok((text, usage))
    }
}

/// Appends a word, with the spaces and capitals of English.
fn word(text: &mut String, next: &str) {
    if let Some(rest) = next.strip_prefix("##") {
        text.push_str(rest);
        return;
    }
    // What it speaks of may end its own sentence.
    if next == "." && text.ends_with(['.', '!', '?']) {
        return;
    }
    let closes = matches!(next, "." | "," | ":" | ")" | "?" | "!");
    if !text.is_empty() && !closes && !text.ends_with('(') {
        text.push(' ');
    }
    let starts = text.is_empty() || text.trim_end().ends_with('.');
    let lower_word = next.chars().all(|c| c.is_ascii_lowercase());
    match next.chars().next() {
        Some(first) if starts && lower_word => {
            text.extend(first.to_uppercase());
            text.push_str(&next[first.len_utf8()..]);
        }
        _ => text.push_str(if next == "i" { "I" } else { next }),
    }
}

impl ChatModel for Starter {
    fn name(&self) -> &str {
        "starter"
    }

    fn context_window(&self) -> usize {
        self.decoder.config.max_position_embeddings
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.vocabulary.encode(&[Piece::Text(text.to_owned())]).map_or(text.len().div_ceil(4), |tokens| tokens.len())
    }

    fn reads_system_prompt(&self) -> bool {
        false
    }

    fn memory(&self) -> Option<u64> {
        Some((self.decoder.num_params() * size_of::<f32>()) as u64)
    }

    fn render_prompt(&self, request: &ChatRequest) -> Result<String, ModelError> {
        let pieces = match turn(&request.messages) {
            Turn::Answer { tool, result } => {
                let keyword = TOOL_NAMES
                    .iter()
                    .find(|(_, name)| *name == tool)
                    .map_or(Keyword::SearchDocs, |(keyword, _)| *keyword);
                Findings::read(keyword, result).prompt(&mut Numbering::in_order()).0
            }
            Turn::Call { request: text } => link(text, &request.environment, &mut Numbering::in_order()).prompt,
        };
        self.words(&pieces)
    }

    fn chat(
        &self,
        request: &ChatRequest,
        cancellation: &Cancellation,
        on_event: &mut dyn FnMut(ChatEvent),
    ) -> Result<ChatResponse, ModelError> {
        if request.sampling.constraint.is_some() {
            return Err(ModelError::Constraint(
                "the starter writes calls and one-line answers only; choose another model with --model".to_owned(),
            ));
        }
        match turn(&request.messages) {
            Turn::Answer { tool, result } => {
                let (text, usage) = self.answer(tool, result, cancellation)?;
                Ok(say(text, usage, on_event))
            }
            Turn::Call { request: text } => {
                let offered: BTreeSet<Token> = TOOL_NAMES
                    .iter()
                    .filter(|(_, name)| {
                        request.tools.iter().any(|tool| tool.name == *name) && request.tool_choice != ToolChoice::None
                    })
                    .map(|(keyword, _)| keyword.token())
                    .collect();
                let linked = link(text, &request.environment, &mut Numbering::in_order());
                let (tokens, usage) = self.call_tokens(&linked, Some(&offered), cancellation)?;
                let call = call::read(&tokens, &linked);
                let Some(tool) = call.tool else { return Ok(say(DECLINED.to_owned(), usage, on_event)) };
                let call = ToolCall {
                    id: format!("call_{}", request.messages.len()),
                    name: tool.to_owned(),
                    arguments: call.arguments,
                };
                on_event(ChatEvent::ToolCall(call.clone()));
                Ok(ChatResponse {
                    message: Message::assistant("", vec![call]),
                    finish_reason: FinishReason::ToolCalls,
                    usage,
                })
            }
        }
    }
}

fn say(text: String, usage: Usage, on_event: &mut dyn FnMut(ChatEvent)) -> ChatResponse {
    for piece in text.split_inclusive(' ') {
        on_event(ChatEvent::Text(piece.to_owned()));
    }
    ChatResponse { message: Message::assistant(text, Vec::new()), finish_reason: FinishReason::Stop, usage }
}

/// What is asked of the starter: a call for the last request, or an answer from the last result.
enum Turn<'a> {
    Call { request: &'a str },
    Answer { tool: &'a str, result: &'a str },
}

fn turn(messages: &[Message]) -> Turn<'_> {
    match messages.last() {
        Some(Message { role: Role::Tool, tool_name, content, .. }) => {
            Turn::Answer { tool: tool_name.as_deref().unwrap_or_default(), result: content }
        }
        _ => Turn::Call {
            request: messages
                .iter()
                .rev()
                .find(|message| message.role == Role::User)
                .map_or("", |message| message.content.as_str()),
        },
    }
}

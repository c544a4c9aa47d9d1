//! What a request asks of the answer's form, as a plan that a grammar enforces.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use codriver_chat::formats::ToolFormat;
use codriver_formats::tokenizer::ModelTokenizer;
use codriver_grammar::{
    AnswerGuide, Beside, Grammar, GrammarError, Guide, Plan, ReasoningMarkers, TokenTable, Vocabulary,
    keywords_left_out,
};
use serde_json::json;

use crate::{ModelError, SamplingParameters, ToolChoice, ToolDefinition};

/// How a chat model's answer is bound.
pub(crate) struct Request<'a> {
    pub(crate) format: ToolFormat,
    pub(crate) tools: &'a [ToolDefinition],
    pub(crate) choice: &'a ToolChoice,
    pub(crate) sampling: &'a SamplingParameters,
    /// What the model reads. Where it opens the model's reasoning, that may end before anything else.
    pub(crate) prompt: &'a str,
}

impl Request<'_> {
    /// Whether nothing is asked, so that no vocabulary is needed either.
    pub(crate) fn is_free(&self) -> bool {
        let must = matches!(self.choice, ToolChoice::Required | ToolChoice::Named(_));
        self.sampling.constraint.is_none() && self.tools.is_empty() && !must
    }

    /// The plan for the answer. Where a call is asked for, the answer is calls; where there is a
    /// constraint, it is that or calls; else it is free, and calls in it are held to their schemas.
    pub(crate) fn plan(&self, vocabulary: &Arc<Vocabulary>) -> Result<Option<Plan>, ModelError> {
        let must = matches!(self.choice, ToolChoice::Required | ToolChoice::Named(_));
        let calls = match (self.choice, must) {
            (ToolChoice::Auto, _) => self.format.call_grammar(&tools(self.tools), &ToolChoice::Required),
            (choice, _) => self.format.call_grammar(&tools(self.tools), choice),
        };
        let constraint = self.sampling.constraint.as_ref().map(Grammar::new).transpose().map_err(refused)?;
        let of_calls = |calls| Grammar::of_calls(calls, vocabulary).map_err(refused);
        let grammar = match (calls, constraint) {
            (None, _) if must => return Err(self.no_such_tool()),
            (None, None) => return Ok(None),
            (None, Some(constraint)) => constraint,
            (Some(calls), _) if must => {
                let grammar = of_calls(&calls)?;
                self.check_tools(vocabulary, &grammar)?;
                grammar
            }
            (Some(calls), Some(constraint)) => constraint.or(of_calls(&calls)?),
            (Some(calls), None) => {
                return Ok(Some(Plan::Calls { calls, reasoning: self.reasoning() }));
            }
        };
        let reasoning = self.reasoning().filter(|reasoning| reasoning.is_open);
        Ok(Some(Plan::Whole(match reasoning {
            Some(reasoning) => grammar.after_reasoning(&reasoning.end, vocabulary),
            None => grammar,
        })))
    }

    /// Of a tool's schema, what its calls are not held to while they are written; `None` where they are
    /// held to all of it.
    fn left_out(&self, tool: &ToolDefinition) -> Option<String> {
        let calls = self.format.call_grammar(&tools(std::slice::from_ref(tool)), &ToolChoice::Required)?;
        let checked = "a call is checked before the tool runs";
        let mut keywords = self.format.keywords_left_out(tool);
        match keywords_left_out(&calls) {
            Ok(others) => keywords.extend(others),
            Err(error) => return Some(format!("calls of {} are written freely: {error}; {checked}", tool.name)),
        }
        keywords.sort();
        keywords.dedup();
        let list = keywords.join(", ");
        (!keywords.is_empty()).then(|| {
            format!("of the schema of {}, {list} cannot be enforced while a call is written; {checked}", tool.name)
        })
    }

    /// What encloses the model's reasoning: what the prompt opened, or what is the family's own.
    fn reasoning(&self) -> Option<ReasoningMarkers> {
        let spans = self.format.reasoning();
        let is_open = |open: &str| self.prompt.trim_end().ends_with(open);
        let opened = spans.iter().find(|(open, _)| is_open(open));
        let (begin, end) = opened.or(spans.last())?;
        Some(ReasoningMarkers { begin: begin.to_string(), end: end.to_string(), is_open: opened.is_some() })
    }

    /// Names the tool whose calls cannot be enforced, if the calls of all together cannot.
    fn check_tools(&self, vocabulary: &Arc<Vocabulary>, all: &Grammar) -> Result<(), ModelError> {
        let Err(error) = Guide::new(vocabulary, all) else { return Ok(()) };
        for tool in self.tools {
            let calls = self.format.call_grammar(&tools(std::slice::from_ref(tool)), &ToolChoice::Required);
            let guide = calls.map(|calls| Guide::new(vocabulary, &Grammar::of_calls(&calls, vocabulary)?));
            if let Some(Err(error)) = guide {
                return Err(ModelError::Constraint(format!("tool {}: {error}", tool.name)));
            }
        }
        Err(refused(error))
    }

    fn no_such_tool(&self) -> ModelError {
        let offered: Vec<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
        let offered = if offered.is_empty() { "none".to_string() } else { offered.join(", ") };
        ModelError::Constraint(match self.choice {
            ToolChoice::Named(name) => {
                format!("the answer must call {name}, which is not on offer (on offer: {offered})")
            }
            _ => "the answer must call a tool, and none is on offer".to_string(),
        })
    }
}

/// What calls are not held to, said once a tool.
#[derive(Default)]
pub(crate) struct Notices {
    said: Mutex<HashSet<(String, String)>>,
}

impl Notices {
    /// What was not said before.
    pub(crate) fn of(&self, request: &Request<'_>) -> Vec<String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let new = request.tools.iter().filter(|tool| said.insert((tool.name.clone(), tool.parameters.to_string())));
        new.filter_map(|tool| request.left_out(tool)).collect()
    }
}

/// The tools with schemas that say that arguments are an object, which not every tool's does.
fn tools(tools: &[ToolDefinition]) -> Vec<ToolDefinition> {
    let with_type = |tool: &ToolDefinition| {
        let mut tool = tool.clone();
        match tool.parameters.as_object_mut() {
            Some(schema) => {
                schema.insert("type".to_string(), json!("object"));
            }
            None => tool.parameters = json!({ "type": "object" }),
        }
        tool
    };
    tools.iter().map(with_type).collect()
}

/// A model's vocabulary as grammars see it. `size` is the number of scores its network computes.
pub(crate) fn vocabulary(
    tokenizer: &Arc<ModelTokenizer>,
    ends: &[u32],
    size: usize,
) -> Result<Vocabulary, GrammarError> {
    if let Some(tokenizer) = tokenizer.as_json() {
        return Vocabulary::from_tokenizer(tokenizer, ends, size);
    }
    let tokens = 0..u32::try_from(tokenizer.vocabulary_size().min(size)).unwrap_or(u32::MAX);
    let bytes: Vec<Vec<u8>> = tokens.clone().map(|token| tokenizer.token_bytes(token).unwrap_or_default()).collect();
    let special = tokens.clone().filter(|token| tokenizer.is_special(*token));
    let special = special.filter_map(|token| Some((token, tokenizer.token_text(token)?))).collect();
    // The first text that begins with a space tells whether decoding swallows it.
    let spaced = tokens.zip(&bytes).find(|(_, bytes)| bytes.starts_with(b" ") && bytes.is_ascii());
    let first = spaced.and_then(|(token, _)| tokenizer.decode(&[token], false).ok());
    let strips_leading_space = first.is_some_and(|text| !text.starts_with(' '));
    let table = TokenTable { bytes, special, strips_leading_space, not_first: Vec::new() };
    let encoder = Arc::clone(tokenizer);
    let encode = move |text: &str| encoder.encode(text, false).ok();
    Vocabulary::new(table, ends, size, Some(Box::new(encode)))
}

/// The plan for text that is no chat: its constraint.
pub(crate) fn constraint_only(sampling: &SamplingParameters) -> Result<Option<Plan>, ModelError> {
    let grammar = sampling.constraint.as_ref().map(Grammar::new).transpose().map_err(refused)?;
    Ok(grammar.map(Plan::Whole))
}

/// Begins an answer that follows a plan: the first mask is being computed.
pub(crate) fn begin(vocabulary: &Arc<Vocabulary>, plan: Plan) -> Result<Beside, ModelError> {
    AnswerGuide::new(vocabulary, plan).and_then(Beside::begin).map_err(refused)
}

pub(crate) fn refused(error: GrammarError) -> ModelError {
    ModelError::Constraint(error.to_string())
}

//! Conversations with a model: the prompt its template renders, and its answer read as text, reasoning
//! and calls.

use codriver_chat::answer::AnswerParser;
use codriver_chat::formats::ToolFormat;
use codriver_chat::retelling::tools_as_text;

use super::{CompletionOptions, LocalModel, Way};
use crate::scheduler::Load;
use crate::{
    Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, FinishReason, Message, ModelError, ToolChoice,
    ToolDefinition, Usage, guidance,
};

impl ChatModel for LocalModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_window(&self) -> usize {
        self.window
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.encode(text, false).map_or(text.len().div_ceil(4), |tokens| tokens.len())
    }

    /// Weights, and the keys and values of what was read.
    fn memory(&self) -> Option<u64> {
        let Load { blocks, block_size, .. } = self.load();
        Some(self.weights.saturating_add(((blocks.held + blocks.kept) * block_size) as u64))
    }

    fn has_stopped(&self) -> bool {
        self.scheduler.has_stopped()
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
        let calls_before = request.messages.iter().map(|message| message.tool_calls.len()).sum();
        let guidance = rendered.guidance(request);
        let plan = if guidance.is_free() {
            None
        } else {
            let plan = guidance.plan(self.vocabulary()?)?;
            self.notices.of(&guidance).into_iter().for_each(|notice| on_event(ChatEvent::Notice(notice)));
            plan
        };
        let mut parser = AnswerParser::new(rendered.format, &rendered.tools, calls_before, rendered.reasoning);
        let markers = rendered.format.markers().into_iter();
        let markers = markers.filter_map(|marker| self.tokenizer.tokenizer.token_id(marker)).collect();
        let options = CompletionOptions { priority: request.priority, ..CompletionOptions::default() };
        let way = Way { plan, sampling: &request.sampling, options: &options };
        let completion = self.answer(way, &prompt, &markers, cancellation, &mut |text| parser.push(text, on_event))?;
        let (content, calls) = parser.finish(on_event);
        let finish_reason = if calls.is_empty() { completion.reason } else { FinishReason::ToolCalls };
        Ok(ChatResponse {
            message: Message::assistant(content, calls),
            finish_reason,
            usage: Usage { prompt_tokens: prompt.len(), completion_tokens: completion.tokens },
        })
    }
}

impl LocalModel {
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
            (template.tool_format(), template.render(&request.messages, &tools, names)?)
        } else {
            let retold = tools_as_text(&request.messages, &tools);
            (ToolFormat::Hermes, template.render(&retold, &[], names)?)
        };
        let reasoning = format.opens_reasoning(&prompt);
        Ok(Rendered { prompt, reasoning, format, tools })
    }
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

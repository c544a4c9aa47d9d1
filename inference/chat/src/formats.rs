//! How each family of models writes its tool calls: how it is recognized, read while it streams, and described to
//! constrained decoding.

mod functionary;
mod gemma;
mod harmony;
mod hermes;
mod lists;
mod literals;
mod llama;
mod mistral;
mod pythonic;
mod reading;
mod schema;
mod sections;

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::grammar::Grammar;
use crate::{ToolChoice, ToolDefinition};
pub(crate) use reading::Reading;
use reading::WrittenCall;
pub(crate) use schema::Schemas;

/// A family's way to write tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolFormat {
    /// `<tool_call>{"name": .., "arguments": ..}</tool_call>` (Hermes, Qwen 2.5 and 3, Granite 4, SmolLM3).
    Hermes,
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>` (Qwen3-Coder, Qwen 3.5).
    QwenXml,
    /// `{"name": .., "parameters": ..}`, also after `<|python_tag|>` (Llama 3).
    Llama,
    /// `[name(key=value)]` (Llama 3.2 and 4), between markers in LFM2.
    Pythonic { marked: bool },
    /// `[TOOL_CALLS][{"name": .., "arguments": ..}]` (Mistral 7B, Nemo, Small up to 3.1).
    MistralList,
    /// `[TOOL_CALLS]name[ARGS]{..}` (Mistral Small 3.2, Magistral, Devstral), with `[CALL_ID]` where `ids`.
    Mistral { ids: bool },
    /// `<function=name>{..}</function>` (Functionary v3.1).
    Functionary,
    /// `>>>name\n{..}` (Functionary v3.2).
    FunctionaryRecipients,
    /// `<｜tool▁calls▁begin｜>..` with `function` and fenced JSON (DeepSeek V3, R1).
    DeepSeek,
    /// The same markers around a name and JSON (DeepSeek V3.1).
    DeepSeekV31,
    /// `<|tool_calls_section_begin|>..` (Kimi K2).
    Kimi,
    /// Channels (gpt-oss).
    Harmony,
    /// `<start_function_call>call:name{key:<escape>text<escape>}<end_function_call>`.
    FunctionGemma,
    /// `<|tool_call>call:name{key:<|"|>text<|"|>}<tool_call|>`.
    Gemma4,
    /// `<|tool_call|>[{..}]` (Granite 3).
    Granite,
    /// `<|tool_call|>[{..}]<|/tool_call|>` (Phi-4-mini).
    Phi,
    /// `<|START_ACTION|>[{"tool_name": .., "parameters": ..}]<|END_ACTION|>` (Command R7B, Command A).
    CommandA,
    /// `Action: ```json [{"tool_name": .., "parameters": ..}] ``` ` (Command R).
    CommandR,
}

/// What follows an opening.
pub(crate) enum Opened {
    Calls(Reading),
    /// The first bytes are a header; reasoning or text follows.
    Reasoning(usize),
    Text(usize),
}

impl ToolFormat {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Hermes,
        Self::QwenXml,
        Self::Llama,
        Self::Pythonic { marked: false },
        Self::Pythonic { marked: true },
        Self::MistralList,
        Self::Mistral { ids: false },
        Self::Mistral { ids: true },
        Self::Functionary,
        Self::FunctionaryRecipients,
        Self::DeepSeek,
        Self::DeepSeekV31,
        Self::Kimi,
        Self::Harmony,
        Self::FunctionGemma,
        Self::Gemma4,
        Self::Granite,
        Self::Phi,
        Self::CommandA,
        Self::CommandR,
    ];

    /// What people call it: the family it is known from.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hermes => "Hermes",
            Self::QwenXml => "Qwen3-Coder",
            Self::Llama => "Llama 3",
            Self::Pythonic { marked: false } => "pythonic",
            Self::Pythonic { marked: true } => "pythonic, between markers (LFM2)",
            Self::MistralList => "Mistral, as a list",
            Self::Mistral { ids: false } => "Mistral",
            Self::Mistral { ids: true } => "Mistral, with ids",
            Self::Functionary => "Functionary v3.1",
            Self::FunctionaryRecipients => "Functionary v3.2",
            Self::DeepSeek => "DeepSeek V3",
            Self::DeepSeekV31 => "DeepSeek V3.1",
            Self::Kimi => "Kimi K2",
            Self::Harmony => "Harmony (gpt-oss)",
            Self::FunctionGemma => "FunctionGemma",
            Self::Gemma4 => "Gemma 4",
            Self::Granite => "Granite 3",
            Self::Phi => "Phi-4-mini",
            Self::CommandA => "Command A",
            Self::CommandR => "Command R",
        }
    }

    /// The format that a chat template shows, from the markers in its text; `None` where it shows no calls.
    pub fn of_template(template: &str) -> Option<Self> {
        let has = |marker: &str| template.contains(marker);
        // The most telling markers first: some templates mention those of others.
        let formats = [
            (has(harmony::MESSAGE) && has("<|channel|>"), Self::Harmony),
            (has(gemma::FUNCTION_GEMMA.open), Self::FunctionGemma),
            (has(gemma::GEMMA_4.open) && has("<tool_call|>"), Self::Gemma4),
            (has(sections::KIMI.section), Self::Kimi),
            (has(sections::DEEPSEEK.section) && has("```json"), Self::DeepSeek),
            (has(sections::DEEPSEEK.section), Self::DeepSeekV31),
            (has(mistral::OPEN) && has(mistral::ARGUMENTS), Self::Mistral { ids: has(mistral::CALL_ID) }),
            (has(mistral::OPEN), Self::MistralList),
            (has("<|START_ACTION|>"), Self::CommandA),
            (has("Action: ```json") || has("Action:\\n```json") || has("Action:```json"), Self::CommandR),
            (has("<|/tool_call|>"), Self::Phi),
            (has("<|tool_call_start|>") || has("<|tool_list_start|>"), Self::Pythonic { marked: true }),
            (has(hermes::OPEN) && has("<parameter="), Self::QwenXml),
            (has(hermes::OPEN), Self::Hermes),
            (has("<|tool_call|>"), Self::Granite),
            (has(functionary::RECIPIENT) && has("recipient"), Self::FunctionaryRecipients),
            (has(functionary::FUNCTION), Self::Functionary),
            (has("<|python_start|>") || has("[func_name1("), Self::Pythonic { marked: false }),
        ];
        let found = formats.into_iter().find(|(shown, _)| *shown).map(|(_, format)| format);
        found.or_else(|| has("tools").then_some(Self::Llama))
    }

    /// Tokens that the parser must see though vocabularies hold them as special: they are text to it.
    pub fn markers(self) -> Vec<&'static str> {
        let mut markers = self.openings();
        markers.extend(self.closings());
        markers.extend(self.reasoning().into_iter().flat_map(|(open, close)| [open, close]));
        markers.extend(self.silent());
        markers.extend(match self {
            Self::Harmony => vec![harmony::MESSAGE, harmony::CONSTRAIN],
            Self::Mistral { .. } => vec![mistral::CALL_ID, mistral::ARGUMENTS],
            Self::DeepSeek | Self::DeepSeekV31 => sections::DEEPSEEK.all().into(),
            Self::Kimi => sections::KIMI.all().into(),
            Self::FunctionGemma => vec!["<escape>"],
            Self::Gemma4 => vec!["<|\"|>"],
            _ => Vec::new(),
        });
        markers
    }

    /// Whether a prompt ends with the marker that opens reasoning, so that the answer begins within it.
    pub fn opens_reasoning(self, prompt: &str) -> bool {
        self.reasoning().into_iter().any(|(open, _)| prompt.trim_end().ends_with(open))
    }

    /// The language of answers that are calls and nothing else, as `choice` asks for: one or more calls of
    /// the tools, or one call of the named tool. `None` where `choice` asks for no call, or no tool is there to call.
    pub fn call_grammar(self, tools: &[ToolDefinition], choice: &ToolChoice) -> Option<Grammar> {
        let (tools, parallel): (Vec<&ToolDefinition>, bool) = match choice {
            ToolChoice::Auto | ToolChoice::None => return None,
            ToolChoice::Required => (tools.iter().collect(), true),
            ToolChoice::Named(name) => (tools.iter().filter(|tool| tool.name == *name).collect(), false),
        };
        if tools.is_empty() {
            return None;
        }
        let each = |grammar: &dyn Fn(&ToolDefinition) -> Grammar, parallel: bool, separator: Option<&str>| {
            let calls = Grammar::Choice(tools.iter().map(|tool| grammar(tool)).collect());
            calls.repeated(parallel, separator.map(Grammar::text))
        };
        let around = |open: &str, close: &str| {
            [open, close].map(|marker| if marker.is_empty() { Grammar::text("") } else { Grammar::token(marker) })
        };
        Some(match self {
            Self::Hermes => each(&hermes::json_grammar, parallel, Some("\n")),
            Self::QwenXml => each(&hermes::xml_grammar, parallel, Some("\n")),
            Self::Llama => each(&llama::grammar, parallel, Some("; ")),
            Self::Pythonic { marked } => pythonic::grammar(&tools, parallel, marked),
            Self::MistralList => mistral::list_grammar(&tools, parallel),
            Self::Mistral { ids } => mistral::grammar(&tools, parallel, ids),
            Self::Functionary => each(&functionary::grammar, parallel, None),
            Self::FunctionaryRecipients => functionary::recipient_grammar(&tools, parallel),
            Self::DeepSeek => sections::grammar(&tools, parallel, &sections::DEEPSEEK, sections::Head::Fenced),
            Self::DeepSeekV31 => sections::grammar(&tools, parallel, &sections::DEEPSEEK, sections::Head::Name),
            Self::Kimi => sections::grammar(&tools, parallel, &sections::KIMI, sections::Head::Numbered),
            // `<|call|>` ends the answer.
            Self::Harmony => each(&harmony::grammar, false, None),
            Self::FunctionGemma => each(&|tool| gemma::grammar(tool, &gemma::FUNCTION_GEMMA), parallel, None),
            Self::Gemma4 => each(&|tool| gemma::grammar(tool, &gemma::GEMMA_4), parallel, None),
            Self::Granite => lists::grammar(&tools, parallel, ["name", "arguments"], around("<|tool_call|>", "")),
            Self::Phi => {
                lists::grammar(&tools, parallel, ["name", "arguments"], around("<|tool_call|>", "<|/tool_call|>"))
            }
            Self::CommandA => lists::grammar(
                &tools,
                parallel,
                ["tool_name", "parameters"],
                around("<|START_ACTION|>", "<|END_ACTION|>"),
            ),
            Self::CommandR => {
                let around = [Grammar::text("Action: ```json\n"), Grammar::text("\n```")];
                lists::grammar(&tools, parallel, ["tool_name", "parameters"], around)
            }
        })
    }

    /// Keywords of a tool's schema to which [`Self::call_grammar`] does not hold arguments, for this
    /// format writes them in a notation of its own. What it writes as JSON is a JSON schema's in the grammar.
    pub fn keywords_left_out(self, tool: &ToolDefinition) -> Vec<String> {
        match self {
            Self::QwenXml | Self::Pythonic { .. } | Self::FunctionGemma | Self::Gemma4 => {
                schema::keywords_left_out(&tool.parameters)
            }
            _ => Vec::new(),
        }
    }

    /// Markers at which calls, or a message's header, begin in text.
    pub(crate) fn openings(self) -> Vec<&'static str> {
        match self {
            // Models leave the first marker out at times.
            Self::Hermes | Self::QwenXml => vec![hermes::OPEN, functionary::FUNCTION],
            Self::Llama => vec![llama::PYTHON_TAG],
            Self::Pythonic { .. } => pythonic::OPENINGS.into(),
            Self::MistralList | Self::Mistral { .. } => vec![mistral::OPEN],
            Self::Functionary => vec![functionary::FUNCTION, llama::PYTHON_TAG],
            Self::FunctionaryRecipients => vec![functionary::RECIPIENT],
            Self::DeepSeek | Self::DeepSeekV31 => vec![sections::DEEPSEEK.section, sections::DEEPSEEK.call],
            Self::Kimi => vec![sections::KIMI.section, sections::KIMI.call],
            Self::Harmony => harmony::OPENINGS.into(),
            Self::FunctionGemma => vec![gemma::FUNCTION_GEMMA.open],
            Self::Gemma4 => vec![gemma::GEMMA_4.open],
            Self::Granite => vec!["<|tool_call|>", hermes::OPEN],
            Self::Phi => vec!["<|tool_call|>"],
            Self::CommandA => vec!["<|START_ACTION|>"],
            Self::CommandR => vec!["Action: ```json", "Action:```json", "Action:\n```json"],
        }
    }

    /// Markers that end calls: where calls are broken, text goes on after them.
    pub(crate) fn closings(self) -> Vec<&'static str> {
        match self {
            Self::Hermes | Self::QwenXml => vec![hermes::CLOSE],
            Self::Pythonic { .. } => pythonic::CLOSINGS.into(),
            Self::Functionary => vec!["</function>"],
            Self::DeepSeek | Self::DeepSeekV31 => vec![sections::DEEPSEEK.section_end],
            Self::Kimi => vec![sections::KIMI.section_end],
            Self::Harmony => harmony::ENDS.into(),
            Self::FunctionGemma => vec![gemma::FUNCTION_GEMMA.close],
            Self::Gemma4 => vec![gemma::GEMMA_4.close],
            Self::Granite => vec!["<|/tool_call|>", hermes::CLOSE],
            Self::Phi => vec!["<|/tool_call|>"],
            Self::CommandA => vec!["<|END_ACTION|>"],
            Self::CommandR => vec!["```"],
            Self::Llama | Self::MistralList | Self::Mistral { .. } | Self::FunctionaryRecipients => Vec::new(),
        }
    }

    /// What reasoning stands between.
    pub fn reasoning(self) -> Vec<(&'static str, &'static str)> {
        let mut spans = vec![("<think>", "</think>")];
        match self {
            Self::MistralList | Self::Mistral { .. } => spans.push(("[THINK]", "[/THINK]")),
            Self::CommandA => spans.push(("<|START_THINKING|>", "<|END_THINKING|>")),
            Self::Granite => spans.push(("Here is my thought process:", "Here is my response:")),
            Self::Gemma4 => spans.push(("<|channel>thought", "<channel|>")),
            _ => {}
        }
        spans
    }

    /// Markers that frame an answer and are no part of it.
    pub(crate) fn silent(self) -> Vec<&'static str> {
        match self {
            Self::Harmony => harmony::ENDS.into(),
            Self::Granite => vec!["<response>", "</response>"],
            Self::CommandA => vec!["<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"],
            _ => Vec::new(),
        }
    }

    /// Whether an answer that begins like this may be calls without an opening.
    pub(crate) fn begins_bare(self, start: &str, schemas: &Schemas) -> bool {
        match self {
            Self::Llama => start.starts_with('{') && !schemas.0.is_empty(),
            Self::Pythonic { .. } => start.starts_with('[') && !schemas.0.is_empty(),
            Self::FunctionaryRecipients => true,
            Self::Harmony => reading::may_begin(start, "to="),
            _ => false,
        }
    }

    /// Reads what follows an opening. `within` says that a call of this section was read already,
    /// `finished` that no more text comes.
    pub(crate) fn read(self, opening: &str, rest: &str, schemas: &Schemas, within: bool, finished: bool) -> Opened {
        Opened::Calls(match self {
            Self::Hermes | Self::QwenXml => hermes::read(opening, rest, schemas, within),
            Self::Llama => llama::read(opening, rest, schemas, within, finished),
            Self::Pythonic { .. } => pythonic::read(opening, rest, schemas, within),
            Self::MistralList | Self::Mistral { .. } => mistral::read(rest, within),
            Self::Functionary => functionary::read(opening, rest, schemas, within, finished),
            Self::FunctionaryRecipients => match functionary::read_recipient(rest, schemas, within, finished) {
                functionary::Told::Everyone(length) => return Opened::Text(length),
                functionary::Told::Call(reading) => reading,
            },
            Self::DeepSeek | Self::DeepSeekV31 => sections::read(opening, rest, &sections::DEEPSEEK, within),
            Self::Kimi => sections::read(opening, rest, &sections::KIMI, within),
            Self::Harmony => match harmony::read(opening, rest, within, finished) {
                harmony::Header::Reasoning(length) => return Opened::Reasoning(length),
                harmony::Header::Text(length) => return Opened::Text(length),
                harmony::Header::Call(reading) => reading,
            },
            Self::FunctionGemma => gemma::read(rest, &gemma::FUNCTION_GEMMA),
            Self::Gemma4 => gemma::read(rest, &gemma::GEMMA_4),
            Self::Granite | Self::Phi | Self::CommandA | Self::CommandR => lists::read(rest, &self.closings()),
        })
    }

    /// A call that never became whole: its name, and what was written as its arguments.
    pub(crate) fn salvage(self, opening: &str, rest: &str, schemas: &Schemas) -> Option<WrittenCall> {
        let call = reading::json_call(rest.trim()).or_else(|| {
            let found = NAMED.as_ref()?.captures(rest.trim())?;
            let (name, raw) = (found.get(1)?.as_str(), found.get(2)?.as_str().trim());
            Some((name.to_string(), Value::String(raw.to_string())))
        })?;
        (!opening.is_empty() || schemas.knows(&call.0)).then_some(call)
    }
}

/// A name, what sets it apart from its arguments in one of the formats, and the rest.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let before = [
        "<function=",
        "call:",
        r"(?:assistant)?(?:<\|channel\|>)?[a-z ]*to=(?:functions\.)?",
        "<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?",
        r"<\|tool_call_begin\|>(?:functions\.)?",
        r"\[",
    ];
    let after = [
        r"\[ARGS\]",
        ">",
        r"\n",
        r"\(",
        "<｜tool▁sep｜>",
        r"<\|tool_call_argument_begin\|>",
        r"\s*\{",
        r"(?: |<\|channel\|>)[ \w]*(?:<\|constrain\|>)?\w*<\|message\|>",
        r"<\|message\|>",
    ];
    let name = r"([\w.-]+?)(?::\d+)?(?:\[CALL_ID\]\w+)?";
    Regex::new(&format!("(?s)^(?:{})?{name}(?:{})(.*)$", before.join("|"), after.join("|"))).ok()
});

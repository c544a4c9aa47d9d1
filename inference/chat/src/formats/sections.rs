//! Sections of calls between special tokens: DeepSeek (V3 and R1 with fenced JSON, V3.1 without) and Kimi K2.

use super::reading::{Reading, Span, arguments, json_span, may_begin, space};
use crate::ToolDefinition;
use crate::grammar::Grammar;

#[derive(Debug)]
pub(super) struct Markers {
    pub(super) section: &'static str,
    pub(super) call: &'static str,
    separator: &'static str,
    call_end: &'static str,
    pub(super) section_end: &'static str,
}

pub(super) const DEEPSEEK: Markers = Markers {
    section: "<｜tool▁calls▁begin｜>",
    call: "<｜tool▁call▁begin｜>",
    separator: "<｜tool▁sep｜>",
    call_end: "<｜tool▁call▁end｜>",
    section_end: "<｜tool▁calls▁end｜>",
};

pub(super) const KIMI: Markers = Markers {
    section: "<|tool_calls_section_begin|>",
    call: "<|tool_call_begin|>",
    separator: "<|tool_call_argument_begin|>",
    call_end: "<|tool_call_end|>",
    section_end: "<|tool_calls_section_end|>",
};

const FENCE: &str = "```";

impl Markers {
    pub(super) fn all(&self) -> [&'static str; 5] {
        [self.section, self.call, self.separator, self.call_end, self.section_end]
    }
}

pub(super) fn read(opening: &str, rest: &str, markers: &Markers, within: bool) -> Reading {
    if opening == markers.call && !within {
        return call(0, rest, markers);
    }
    let begin = space(rest);
    let text = &rest[begin..];
    if text.starts_with(markers.section_end) {
        return Reading::skip(begin + markers.section_end.len(), true);
    }
    for skipped in [markers.call_end, FENCE, markers.section] {
        if text.starts_with(skipped) {
            return Reading::skip(begin + skipped.len(), false);
        }
    }
    if let Some(after) = text.strip_prefix(markers.call) {
        return call(begin + markers.call.len(), after, markers);
    }
    let comes = markers.all().into_iter().chain([FENCE]).any(|marker| may_begin(text, marker));
    if comes { Reading::More } else { Reading::Text { length: 0 } }
}

fn call(begin: usize, text: &str, markers: &Markers) -> Reading {
    let Some(separator) = text.find(markers.separator) else { return Reading::More };
    let head = text[..separator].trim();
    let mut position = separator + markers.separator.len();
    let mut name = head;
    if head == "function" {
        let Some(end) = text[position..].find('\n') else { return Reading::More };
        name = text[position..position + end].trim();
        position += end;
    }
    // `functions.name:0`
    let name = name.strip_prefix("functions.").unwrap_or(name);
    let name = name.rsplit_once(':').filter(|(_, index)| index.parse::<u32>().is_ok()).map_or(name, |(name, _)| name);
    let body = &text[position..];
    // A fence around the JSON is not part of it.
    let Some(brace) = body.find('{') else { return Reading::More };
    let Span::Whole(length) = json_span(&body[brace..]) else { return Reading::More };
    let end = brace + length;
    Reading::call(begin + position + end, (name.to_string(), arguments(&body[brace..end])), false)
}

/// How calls stand within the section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// `function` separator name, and JSON in a fence.
    Fenced,
    /// The name alone.
    Name,
    /// `functions.name:0`
    Numbered,
}

pub(super) fn grammar(tools: &[&ToolDefinition], parallel: bool, markers: &Markers, head: Head) -> Grammar {
    let call = |tool: &&ToolDefinition| {
        let mut parts = vec![Grammar::token(markers.call)];
        parts.extend(match head {
            Head::Fenced => vec![
                Grammar::text("function"),
                Grammar::token(markers.separator),
                Grammar::text(format!("{}\n{FENCE}json\n", tool.name)),
            ],
            Head::Name => vec![Grammar::text(tool.name.clone()), Grammar::token(markers.separator)],
            Head::Numbered => vec![
                Grammar::text(format!("functions.{}:", tool.name)),
                Grammar::Pattern("[0-9]{1,2}".to_string()),
                Grammar::token(markers.separator),
            ],
        });
        parts.push(Grammar::Json(tool.parameters.clone()));
        if head == Head::Fenced {
            parts.push(Grammar::text(format!("\n{FENCE}")));
        }
        parts.push(Grammar::token(markers.call_end));
        Grammar::Sequence(parts)
    };
    let separator = (head == Head::Fenced).then(|| Grammar::text("\n"));
    let calls = Grammar::Choice(tools.iter().map(call).collect()).repeated(parallel, separator);
    Grammar::Sequence(vec![Grammar::token(markers.section), calls, Grammar::token(markers.section_end)])
}

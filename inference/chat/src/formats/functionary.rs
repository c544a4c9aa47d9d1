//! Functionary: `<function=name>{..}</function>` (v3.1), and messages to recipients, `>>>name\n{..}` (v3.2).

use serde_json::json;

use super::llama::PYTHON_TAG;
use super::reading::{Reading, Span, arguments, json_span, may_begin, space};
use super::schema::Schemas;
use super::{llama, reading};
use crate::ToolDefinition;
use crate::grammar::Grammar;

pub(super) const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
pub(super) const RECIPIENT: &str = ">>>";
const EVERYONE: &str = "all";

/// v3.1
pub(super) fn read(opening: &str, rest: &str, schemas: &Schemas, within: bool, finished: bool) -> Reading {
    if opening == PYTHON_TAG {
        return llama::read(opening, rest, schemas, within, finished);
    }
    if within {
        let begin = space(rest);
        let text = &rest[begin..];
        if text.starts_with(FUNCTION_END) {
            return Reading::skip(begin + FUNCTION_END.len(), true);
        }
        return if may_begin(text, FUNCTION_END) { Reading::More } else { Reading::Text { length: 0 } };
    }
    let Some(name_end) = rest.find('>') else { return Reading::More };
    let name = rest[..name_end].trim();
    named(name, name_end + 1, rest)
}

/// JSON after a name.
fn named(name: &str, after: usize, rest: &str) -> Reading {
    let begin = after + space(&rest[after..]);
    let text = &rest[begin..];
    if text.is_empty() {
        return Reading::More;
    }
    if !text.starts_with('{') {
        return Reading::Text { length: 0 };
    }
    let Span::Whole(length) = json_span(text) else { return Reading::More };
    Reading::call(begin + length, (name.to_string(), arguments(&text[..length])), false)
}

/// What a recipient is told.
pub(super) enum Told {
    /// The rest is text for the person.
    Everyone(usize),
    Call(Reading),
}

/// v3.2
pub(super) fn read_recipient(rest: &str, schemas: &Schemas, within: bool, finished: bool) -> Told {
    if within {
        return Told::Call(
            match may_begin(rest.trim_start(), RECIPIENT) && !rest.trim_start().starts_with(RECIPIENT) {
                true => Reading::More,
                false => Reading::Text { length: 0 },
            },
        );
    }
    let Some(name_end) = rest.find('\n') else {
        let may_be = |name: &str| name.starts_with(rest);
        let possible =
            may_be(EVERYONE) || rest == EVERYONE || schemas.0.iter().any(|tool| may_be(&tool.name)) || may_be("python");
        return Told::Call(if possible { Reading::More } else { Reading::Text { length: 0 } });
    };
    let name = &rest[..name_end];
    if name == EVERYONE {
        return Told::Everyone(name_end + 1);
    }
    if !schemas.knows(name) && name != "python" {
        return Told::Call(Reading::Text { length: 0 });
    }
    let body = &rest[name_end + 1..];
    if body.trim_start().starts_with('{') || body.trim_start().is_empty() && !finished {
        return Told::Call(named(name, name_end + 1, rest));
    }
    // Code, to the next recipient or the end.
    let end = body.find(RECIPIENT);
    Told::Call(match end.or(finished.then_some(body.len())) {
        None => reading::Reading::More,
        Some(end) => {
            let call = (name.to_string(), json!({ "code": body[..end].trim() }));
            Reading::call(name_end + 1 + end, call, true)
        }
    })
}

pub(super) fn grammar(tool: &ToolDefinition) -> Grammar {
    Grammar::Sequence(vec![
        Grammar::text(format!("{FUNCTION}{}>", tool.name)),
        Grammar::Json(tool.parameters.clone()),
        Grammar::text(FUNCTION_END),
    ])
}

/// The prompt ends in the first `>>>`.
pub(super) fn recipient_grammar(tools: &[&ToolDefinition], parallel: bool) -> Grammar {
    let call = |tool: &&ToolDefinition| {
        Grammar::Sequence(vec![Grammar::text(format!("{}\n", tool.name)), Grammar::Json(tool.parameters.clone())])
    };
    Grammar::Choice(tools.iter().map(call).collect()).repeated(parallel, Some(Grammar::text(RECIPIENT)))
}

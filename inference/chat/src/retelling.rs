//! The same conversation in words that a narrower chat template accepts.

use serde_json::json;

use super::template::tool_json;
use crate::jinja::{JsonStyle, write_json};
use crate::{Message, Role, ToolCall, ToolDefinition};

/// For templates that know no tools: the system prompt introduces them, calls and results are
/// text, as Hermes and Qwen models write and read them.
pub fn tools_as_text(messages: &[Message], tools: &[ToolDefinition]) -> Vec<Message> {
    let mut retold: Vec<Message> = Vec::new();
    for message in messages {
        let (role, content) = match message.role {
            Role::Assistant => (Role::Assistant, with_calls(message)),
            Role::Tool => (Role::User, format!("<tool_response>\n{}\n</tool_response>", message.content)),
            role => (role, message.content.clone()),
        };
        match retold.last_mut() {
            // Such templates often insist that user and assistant take turns.
            Some(last) if last.role == role && role == Role::User => {
                last.content = format!("{}\n{content}", last.content);
            }
            _ => retold.push(Message { role, ..Message::user(content) }),
        }
    }
    if tools.is_empty() {
        return retold;
    }
    match retold.first_mut() {
        Some(first) if first.role == Role::System => {
            first.content = format!("{}\n\n{}", first.content, introduction(tools));
        }
        _ => retold.insert(0, Message::system(introduction(tools))),
    }
    retold
}

fn with_calls(message: &Message) -> String {
    let calls = message.tool_calls.iter().map(|call| {
        let call = json!({ "name": call.name, "arguments": call.arguments });
        format!("<tool_call>\n{}\n</tool_call>", python_json(&call))
    });
    let said = Some(message.content.clone()).filter(|content| !content.is_empty());
    said.into_iter().chain(calls).collect::<Vec<_>>().join("\n")
}

fn introduction(tools: &[ToolDefinition]) -> String {
    let signatures: Vec<String> = tools.iter().map(|tool| python_json(&tool_json(tool))).collect();
    format!(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n\
         You are provided with function signatures within <tools></tools> XML tags:\n\
         <tools>\n{}\n</tools>\n\n\
         For each function call, return a json object with function name and arguments within \
         <tool_call></tool_call> XML tags:\n\
         <tool_call>\n{{\"name\": <function-name>, \"arguments\": <args-json-object>}}\n</tool_call>",
        signatures.join("\n")
    )
}

/// For templates that accept one call a message: each call, then its result.
pub fn one_call_a_message(messages: &[Message]) -> Vec<Message> {
    let mut retold = Vec::new();
    let mut rest = messages;
    while let [message, following @ ..] = rest {
        rest = following;
        if message.tool_calls.len() < 2 {
            retold.push(message.clone());
            continue;
        }
        let results = following.iter().take_while(|next| next.role == Role::Tool).count();
        let (results, after) = following.split_at(results);
        let answers = |call: &ToolCall| {
            let answers = |result: &&Message| result.tool_call_id.as_ref() == Some(&call.id);
            results.iter().find(answers).cloned()
        };
        for (index, call) in message.tool_calls.iter().enumerate() {
            let said = if index == 0 { message.content.clone() } else { String::new() };
            retold.push(Message::assistant(said, vec![call.clone()]));
            retold.extend(answers(call));
        }
        rest = after;
    }
    retold
}

/// For templates without a system role: what it says opens the first request.
pub fn merge_system(messages: &[Message]) -> Vec<Message> {
    match messages {
        [system, user, rest @ ..] if system.role == Role::System && user.role == Role::User => {
            let opening = Message::user(format!("{}\n\n{}", system.content, user.content));
            std::iter::once(opening).chain(rest.iter().cloned()).collect()
        }
        _ => messages.to_vec(),
    }
}

/// For templates that take only ids of nine letters and digits, as Mistral's do.
pub fn short_ids(messages: &[Message]) -> Vec<Message> {
    let ids = messages.iter().flat_map(|message| &message.tool_calls).map(|call| call.id.as_str());
    let known: Vec<&str> = ids.collect();
    let short = |id: &str| {
        let position = known.iter().position(|other| *other == id).unwrap_or(known.len());
        format!("call{position:05}")
    };
    let retold = messages.iter().cloned().map(|mut message| {
        message.tool_call_id = message.tool_call_id.as_deref().map(short);
        for call in &mut message.tool_calls {
            call.id = short(&call.id);
        }
        message
    });
    retold.collect()
}

/// JSON as templates write it.
fn python_json(json: &serde_json::Value) -> String {
    // What came as JSON can be written as JSON.
    write_json(&json.into(), &JsonStyle::default()).unwrap_or_default()
}

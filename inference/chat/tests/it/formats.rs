//! Every format: what is read of an answer, however it is cut.

use codriver_chat::answer::AnswerParser;
use codriver_chat::formats::ToolFormat;
use codriver_chat::{ChatEvent, ToolDefinition};
use serde_json::{Value, json};

/// What an answer is: reasoning, text, calls.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read {
    pub reasoning: String,
    pub text: String,
    pub calls: Vec<(String, Value)>,
}

pub fn tools() -> Vec<ToolDefinition> {
    let tool = |name: &str, properties: Value, required: Value| ToolDefinition {
        name: name.to_string(),
        description: "Does it.".to_string(),
        parameters: json!({ "type": "object", "properties": properties, "required": required }),
    };
    vec![
        tool("sql", json!({ "query": { "type": "string" }, "limit": { "type": "integer" } }), json!(["query"])),
        tool("git_status", json!({}), json!([])),
    ]
}

pub fn read(format: ToolFormat, pieces: &[&str], reasoning: bool) -> Read {
    let mut parser = AnswerParser::new(format, &tools(), 0, reasoning);
    let mut read = Read::default();
    let mut on_event = |event| match event {
        ChatEvent::Text(text) => read.text.push_str(&text),
        ChatEvent::Reasoning(text) => read.reasoning.push_str(&text),
        ChatEvent::ToolCall(call) => read.calls.push((call.name, call.arguments)),
        ChatEvent::Notice(text) => panic!("{text}"),
    };
    for piece in pieces {
        parser.push(piece, &mut on_event);
    }
    let (content, calls) = parser.finish(&mut on_event);
    assert!(read.text.ends_with(&content), "{content:?} is not the end of {:?}", read.text);
    assert_eq!(calls.into_iter().map(|call| (call.name, call.arguments)).collect::<Vec<_>>(), read.calls);
    read
}

/// Reads an answer whole, cut at every place, and character by character: always the same.
fn check(format: ToolFormat, answer: &str, expected: &Read) {
    assert_eq!(read(format, &[answer], false), *expected, "{format:?}: {answer}");
    for (position, _) in answer.char_indices() {
        let (left, right) = answer.split_at(position);
        assert_eq!(read(format, &[left, right], false), *expected, "{format:?}: {left:?} {right:?}");
    }
    let characters: Vec<String> = answer.chars().map(String::from).collect();
    let characters: Vec<&str> = characters.iter().map(String::as_str).collect();
    assert_eq!(read(format, &characters, false), *expected, "{format:?}: {answer}");
}

fn calls(calls: &[(&str, Value)]) -> Read {
    let calls = calls.iter().map(|(name, arguments)| (name.to_string(), arguments.clone()));
    Read { calls: calls.collect(), ..Read::default() }
}

fn text(text: &str) -> Read {
    Read { text: text.to_string(), ..Read::default() }
}

/// Two calls as each format writes them, with what is hard to read in the first one's arguments.
#[test]
fn calls_are_read_in_every_format() {
    let query = r#"SELECT '{}}' WHERE a = \"x]\" -- </tool_call> 日本 🙂 <|call|>"#;
    let sql = json!({ "query": "SELECT '{}}' WHERE a = \"x]\" -- </tool_call> 日本 🙂 <|call|>", "limit": 3 });
    let json_arguments = format!(r#"{{"query": "{query}", "limit": 3}}"#);
    let object = format!(r#"{{"name": "sql", "arguments": {json_arguments}}}"#);
    let both = calls(&[("sql", sql.clone()), ("git_status", json!({}))]);
    let one = calls(&[("sql", sql.clone())]);
    use ToolFormat as F;
    let raw = "SELECT '{}}' WHERE a = \"x]\" -- </tool_call> 日本 🙂 <|call|>";
    let table = [
        (
            F::Hermes,
            format!(
                "<tool_call>\n{object}\n</tool_call>\n<tool_call>\n{{\"name\": \"git_status\", \"arguments\": {{}}}}\n</tool_call>"
            ),
            &both,
        ),
        (
            F::QwenXml,
            format!(
                "<tool_call>\n<function=sql>\n<parameter=query>\n{raw}\n</parameter>\n<parameter=limit>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=git_status>\n</function>\n</tool_call>"
            ),
            &both,
        ),
        (
            F::QwenXml,
            format!(
                "<function=sql>\n<parameter=query>\n{raw}\n</parameter>\n<parameter=limit>\n3\n</parameter>\n</function>\n</tool_call>"
            ),
            &one,
        ),
        (
            F::Llama,
            format!(
                "{{\"name\": \"sql\", \"parameters\": {json_arguments}}}; {{\"name\": \"git_status\", \"parameters\": {{}}}}"
            ),
            &both,
        ),
        (F::Llama, format!("<|python_tag|>{{\"name\": \"sql\", \"parameters\": {json_arguments}}}"), &one),
        (F::Pythonic { marked: false }, format!("[sql(query=\"{query}\", limit=3), git_status()]"), &both),
        (
            F::Pythonic { marked: true },
            format!("<|tool_call_start|>[sql(query=\"{query}\", limit=3), git_status()]<|tool_call_end|>"),
            &both,
        ),
        (F::MistralList, format!("[TOOL_CALLS] [{object}, {{\"name\": \"git_status\", \"arguments\": {{}}}}]"), &both),
        (
            F::Mistral { ids: false },
            format!("[TOOL_CALLS]sql[ARGS]{json_arguments}[TOOL_CALLS]git_status[ARGS]{{}}"),
            &both,
        ),
        (
            F::Mistral { ids: true },
            format!(
                "[TOOL_CALLS]sql[CALL_ID]abcdefghi[ARGS]{json_arguments}[TOOL_CALLS]git_status[CALL_ID]012345678[ARGS]{{}}"
            ),
            &both,
        ),
        (
            F::Functionary,
            format!("<function=sql>{json_arguments}</function><function=git_status>{{}}</function>"),
            &both,
        ),
        (F::FunctionaryRecipients, format!("sql\n{json_arguments}>>>git_status\n{{}}"), &both),
        (
            F::DeepSeek,
            format!(
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>sql\n```json\n{json_arguments}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>git_status\n```json\n{{}}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
            ),
            &both,
        ),
        (
            F::DeepSeekV31,
            format!(
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>sql<｜tool▁sep｜>{json_arguments}<｜tool▁call▁end｜><｜tool▁call▁begin｜>git_status<｜tool▁sep｜>{{}}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
            ),
            &both,
        ),
        (
            F::Kimi,
            format!(
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.sql:0<|tool_call_argument_begin|>{json_arguments}<|tool_call_end|><|tool_call_begin|>functions.git_status:1<|tool_call_argument_begin|>{{}}<|tool_call_end|><|tool_calls_section_end|>"
            ),
            &both,
        ),
        (
            F::Harmony,
            format!("<|channel|>commentary to=functions.sql <|constrain|>json<|message|>{json_arguments}<|call|>"),
            &one,
        ),
        (
            F::Harmony,
            format!(
                " to=functions.sql<|channel|>commentary json<|message|>{json_arguments}<|call|><|start|>assistant<|channel|>commentary to=functions.git_status <|constrain|>json<|message|>{{}}"
            ),
            &both,
        ),
        (
            F::FunctionGemma,
            format!(
                "<start_function_call>call:sql{{query:<escape>{raw}<escape>,limit:3}}<end_function_call><start_function_call>call:git_status{{}}<end_function_call>"
            ),
            &both,
        ),
        (
            F::Gemma4,
            format!(
                "<|tool_call>call:sql{{query:<|\"|>{raw}<|\"|>,limit:3}}<tool_call|><|tool_call>call:git_status{{}}<tool_call|>"
            ),
            &both,
        ),
        (F::Granite, format!("<|tool_call|>[{object}, {{\"name\": \"git_status\", \"arguments\": {{}}}}]"), &both),
        (
            F::Phi,
            format!("<|tool_call|>[{object}, {{\"name\": \"git_status\", \"arguments\": {{}}}}]<|/tool_call|>"),
            &both,
        ),
        (
            F::CommandA,
            format!(
                "<|START_ACTION|>[\n    {{\"tool_call_id\": \"0\", \"tool_name\": \"sql\", \"parameters\": {json_arguments}}},\n    {{\"tool_call_id\": \"1\", \"tool_name\": \"git_status\", \"parameters\": {{}}}}\n]<|END_ACTION|>"
            ),
            &both,
        ),
        (
            F::CommandR,
            format!(
                "Action: ```json\n[\n    {{\n        \"tool_name\": \"sql\",\n        \"parameters\": {json_arguments}\n    }}\n]```"
            ),
            &one,
        ),
    ];
    for (format, answer, expected) in &table {
        check(*format, answer, expected);
        // Text and reasoning before a call stay what they are.
        let bare = matches!(format, F::Llama if !answer.starts_with('<'))
            || matches!(format, F::Pythonic { marked: false } | F::FunctionaryRecipients | F::Harmony);
        if !bare {
            let introduced = Read {
                text: "Let me < see {x} [y].".to_string(),
                reasoning: "\nHm <t".to_string(),
                ..(*expected).clone()
            };
            check(*format, &format!("<think>\nHm <t</think>\n\nLet me < see {{x}} [y].\n{answer}"), &introduced);
        }
    }
}

#[test]
fn channels_keep_reasoning_and_answer_apart() {
    let answer = "<|channel|>analysis<|message|>User asks.<|end|><|start|>assistant<|channel|>commentary<|message|>I'll look.<|end|><|start|>assistant<|channel|>final<|message|>It is **42**.<|return|>";
    check(
        ToolFormat::Harmony,
        answer,
        &Read { reasoning: "User asks.".into(), text: "I'll look.It is **42**.".into(), calls: Vec::new() },
    );
    check(ToolFormat::FunctionaryRecipients, "all\nHello there", &text("Hello there"));
    check(
        ToolFormat::FunctionaryRecipients,
        "all\nWait.\n>>>git_status\n{}",
        &Read { text: "Wait.".into(), ..calls(&[("git_status", json!({}))]) },
    );
    check(
        ToolFormat::CommandA,
        "<|START_THINKING|>Hm<|END_THINKING|><|START_RESPONSE|>Yes<|END_RESPONSE|>",
        &Read { reasoning: "Hm".into(), text: "Yes".into(), calls: Vec::new() },
    );
    check(
        ToolFormat::Mistral { ids: false },
        "[THINK]Hm[/THINK]Yes",
        &Read { reasoning: "Hm".into(), text: "Yes".into(), calls: Vec::new() },
    );
    check(
        ToolFormat::Granite,
        "Here is my thought process: Hm Here is my response: Yes",
        &Read { reasoning: " Hm ".into(), text: "Yes".into(), calls: Vec::new() },
    );
    let opened = read(ToolFormat::Hermes, &["Hm</th", "ink>Yes"], true);
    assert_eq!(opened, Read { reasoning: "Hm".into(), text: "Yes".into(), calls: Vec::new() });
}

#[test]
fn code_after_the_python_tag_is_a_call_of_the_tool_that_runs_it() {
    check(ToolFormat::Llama, "<|python_tag|>sql.call(query=\"x\")", &calls(&[("sql", json!({ "query": "x" }))]));
    // Without such a tool it is text, with its marker: nothing is lost.
    check(ToolFormat::Llama, "<|python_tag|>print(1)", &text("<|python_tag|>print(1)"));
}

#[test]
fn what_is_no_call_is_text_and_what_is_broken_is_kept() {
    use ToolFormat as F;
    let broken = |name: &str, raw: &str| calls(&[(name, json!(raw))]);
    let table = [
        (
            F::Hermes,
            "<tool_call>{\"name\": \"sql\", \"arguments\": {\"query\": oops}}</tool_call>",
            broken("sql", "{\"query\": oops}}"),
        ),
        (
            F::Hermes,
            "<tool_call>{\"name\": \"sql\", \"arguments\": {\"query\": \"oops}",
            broken("sql", "{\"query\": \"oops}"),
        ),
        (F::Hermes, "<tool_call>not a call</tool_call> so", text("<tool_call>not a call</tool_call> so")),
        (F::Hermes, "a <tool_cal b", text("a <tool_cal b")),
        (F::Hermes, "<tool_call>", text("<tool_call>")),
        (
            F::Hermes,
            "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
            calls(&[("unknown", json!({}))]),
        ),
        (
            F::Hermes,
            "<tool_call>{\"name\": \"sql\", \"arguments\": \"{\\\"query\\\": \\\"x\\\"}\"}</tool_call>",
            calls(&[("sql", json!({ "query": "x" }))]),
        ),
        (F::Llama, "{\"name\": \"unknown\", \"parameters\": {}}", text("{\"name\": \"unknown\", \"parameters\": {}}")),
        (F::Llama, "{\"name\": \"sql\", \"parameters\": {\"query\": \"x", broken("sql", "{\"query\": \"x")),
        (F::Llama, "{\"name\": \"sql\"} and text", Read { text: "and text".into(), ..calls(&[("sql", json!({}))]) }),
        (F::Pythonic { marked: false }, "[1, 2] is a list", text("[1, 2] is a list")),
        (F::Pythonic { marked: false }, "[unknown()]", text("[unknown()]")),
        (F::Pythonic { marked: false }, "[sql(query=", broken("sql", "query=")),
        (F::Mistral { ids: false }, "[TOOL_CALLS]sql[ARGS]{\"query\": ", broken("sql", "{\"query\":")),
        (F::MistralList, "[TOOL_CALLS][{\"name\": \"sql\", \"arguments\": {", broken("sql", "{")),
        (F::Functionary, "<function=sql>{\"query\": \"x", broken("sql", "{\"query\": \"x")),
        (F::DeepSeekV31, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>sql<｜tool▁sep｜>{\"q", broken("sql", "{\"q")),
        (F::Harmony, "<|channel|>commentary to=functions.sql <|constrain|>json<|message|>{\"q", broken("sql", "{\"q")),
        (F::FunctionGemma, "<start_function_call>call:sql{query:<escape>x", broken("sql", "query:<escape>x")),
        (F::Phi, "<|tool_call|>what?", text("<|tool_call|>what?")),
    ];
    for (format, answer, expected) in &table {
        check(*format, answer, expected);
    }
}

#[test]
fn text_is_passed_on_at_once() {
    let mut parser = AnswerParser::new(ToolFormat::Hermes, &tools(), 0, false);
    let mut events = Vec::new();
    for piece in ["Hel", "lo <b", "> <tool_call>{\"name\": \"sql\"}", " </tool_"] {
        parser.push(piece, &mut |event| events.push(event));
    }
    let said = |text: &str| ChatEvent::Text(text.to_string());
    assert_eq!(events[..3], [said("Hel"), said("lo <b"), said(">")]);
    assert!(matches!(&events[3], ChatEvent::ToolCall(call) if call.name == "sql"));
}

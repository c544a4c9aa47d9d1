//! Random calls, written as each format writes them, cut anywhere, read back.

use codriver_chat::formats::ToolFormat;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::formats::read;

type Written = fn(&str, &str, &Value) -> String;

/// Formats with the way they write one call: marker before all, the call, between, after all.
fn formats() -> Vec<(ToolFormat, &'static str, Written, &'static str, &'static str)> {
    use ToolFormat as F;
    let named: Written = |name, arguments, _| format!("{{\"name\": \"{name}\", \"arguments\": {arguments}}}");
    vec![
        (F::Hermes, "<tool_call>", named, "</tool_call>\n<tool_call>", "</tool_call>"),
        (F::Llama, "", |name, arguments, _| format!("{{\"name\": \"{name}\", \"parameters\": {arguments}}}"), "; ", ""),
        (F::MistralList, "[TOOL_CALLS][", named, ", ", "]"),
        (F::Mistral { ids: false }, "", |name, arguments, _| format!("[TOOL_CALLS]{name}[ARGS]{arguments}"), "", ""),
        (F::Functionary, "", |name, arguments, _| format!("<function={name}>{arguments}</function>"), "\n", ""),
        (F::FunctionaryRecipients, "", |name, arguments, _| format!("{name}\n{arguments}"), ">>>", ""),
        (
            F::DeepSeekV31,
            "<｜tool▁calls▁begin｜>",
            |name, arguments, _| format!("<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>"),
            "",
            "<｜tool▁calls▁end｜>",
        ),
        (
            F::DeepSeek,
            "<｜tool▁calls▁begin｜>",
            |name, arguments, _| {
                format!(
                    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"
                )
            },
            "\n",
            "<｜tool▁calls▁end｜>",
        ),
        (
            F::Harmony,
            "",
            |name, arguments, _| {
                format!("<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}<|call|>")
            },
            "<|start|>assistant",
            "",
        ),
        (F::Phi, "<|tool_call|>[", named, ", ", "]<|/tool_call|>"),
        (
            F::Pythonic { marked: false },
            "[",
            |name, _, arguments| format!("{name}({})", keywords(arguments)),
            ", ",
            "]",
        ),
        (
            F::FunctionGemma,
            "",
            |name, _, arguments| {
                format!("<start_function_call>call:{name}{}<end_function_call>", gemma(arguments, "<escape>"))
            },
            "",
            "",
        ),
        (
            F::Gemma4,
            "",
            |name, _, arguments| format!("<|tool_call>call:{name}{}<tool_call|>", gemma(arguments, "<|\"|>")),
            "",
            "",
        ),
    ]
}

fn keywords(arguments: &Value) -> String {
    let pairs = arguments.as_object().unwrap().iter().map(|(key, value)| format!("{key}={}", python(value)));
    pairs.collect::<Vec<_>>().join(", ")
}

fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_string(),
        Value::Bool(true) => "True".to_string(),
        Value::Bool(false) => "False".to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("'{key}': {}", python(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n")),
        number => number.to_string(),
    }
}

fn gemma(value: &Value, quote: &str) -> String {
    match value {
        Value::String(text) => format!("{quote}{text}{quote}"),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| gemma(item, quote)).collect::<Vec<_>>().join(","))
        }
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key}:{}", gemma(value, quote)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z{}\\[\\]()\"'\\\\:,<>/| \\n日🙂]{0,12}",
        Just("</tool_call>".to_string()),
        Just("<|call|>[TOOL_CALLS]".to_string()),
    ];
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!(0.5)),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,4}", inner, 0..3).prop_map(|entries| json!(entries)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_calls_are_read_back(
        calls in prop::collection::vec((prop_oneof![Just("sql"), Just("git_status")], prop::collection::hash_map("[a-z_]{1,6}", value(), 0..4)), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        for (format, before, written, between, after) in formats() {
            let calls: Vec<(String, Value)> = calls.iter().map(|(name, arguments)| (name.to_string(), json!(arguments))).collect();
            let texts: Vec<String> = calls.iter().map(|(name, arguments)| written(name, &arguments.to_string(), arguments)).collect();
            let answer = format!("{before}{}{after}", texts.join(between));
            let places: Vec<usize> = answer.char_indices().map(|(position, _)| position).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| places[cut.index(places.len())]).collect();
            cuts.extend([0, answer.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|window| &answer[window[0]..window[1]]).collect();
            let found = read(format, &pieces, false);
            prop_assert_eq!(&found.calls, &calls, "{:?}: {}", format, answer);
            prop_assert_eq!(found.text, "", "{:?}: {}", format, answer);
        }
    }

    /// Text of no format is text, in every format: nothing is lost or added but white space at the ends.
    #[test]
    fn plain_text_stays_as_it_is(text in "[a-z{}\\[\\]()<>:|/\"'. \\n日🙂]{0,60}") {
        for (format, ..) in formats() {
            let found = read(format, &[&text], false);
            prop_assert_eq!(found.text, text.trim(), "{:?}", format);
            prop_assert!(found.calls.is_empty());
        }
    }
}

//! Answers of local models: text, reasoning and tool calls, through the whole engine.

use codriver_inference::{
    Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, FinishReason, LocalModel, Message, ModelError,
    SamplingParameters, ToolCall, ToolChoice, ToolDefinition,
};
use serde_json::{Value, json};

use crate::fixture::{GO, Script, TEMPLATE};

/// A template that knows tools, and shows calls as Llama 3 does: as JSON.
const JSON: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<|go|>";

/// A template that shows calls as Hermes and Qwen do.
const SPANS: &str = "{# <tool_call> #}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<|go|>";

#[test]
fn reasoning_text_and_a_call_are_told_apart_while_they_stream() {
    let script = Script {
        pieces: &[
            "<think>",
            "\nLet me",
            " see.",
            "\n</",
            "think>",
            "\n\n",
            "Looking",
            " now",
            ".\n",
            "<tool_call>",
            "\n{\"name\": \"sql\", ",
            "\"arguments\": {\"query\": \"SELECT '</x>'\"}}\n",
            "</tool_call>",
        ],
        start: GO,
        template: SPANS,
    };
    let (events, response) = chat(&script, request());
    let call = call("call_1", json!({ "query": "SELECT '</x>'" }));
    assert_eq!(
        events,
        [
            ChatEvent::Reasoning("\nLet me".into()),
            ChatEvent::Reasoning(" see.".into()),
            ChatEvent::Reasoning("\n".into()),
            ChatEvent::Text("Looking".into()),
            ChatEvent::Text(" now".into()),
            ChatEvent::Text(".".into()),
            ChatEvent::ToolCall(call.clone()),
        ]
    );
    assert_eq!(response.message, Message::assistant("Looking now.", vec![call]));
    assert_eq!(response.finish_reason, FinishReason::ToolCalls);
    assert_eq!(response.usage.completion_tokens, 14);
}

#[test]
fn reasoning_that_the_prompt_opened_is_reasoning() {
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}<think>";
    let script = Script { pieces: &["Hm", "</think>", "Yes"], start: "<think>", template };
    let (events, response) = chat(&script, request());
    assert_eq!(events, [ChatEvent::Reasoning("Hm".into()), ChatEvent::Text("Yes".into())]);
    assert_eq!(response.message.content, "Yes");
}

#[test]
fn llama_calls_are_json() {
    let pieces = ["{\"name\": \"sql\",", " \"parameters\": {\"query\": \"x\"}}", "; {\"name\": \"sql\"}"];
    let script = Script { pieces: &pieces, start: GO, template: JSON };
    let (events, response) = chat(&script, request());
    let calls = vec![call("call_1", json!({ "query": "x" })), call("call_2", json!({}))];
    assert_eq!(events, calls.iter().cloned().map(ChatEvent::ToolCall).collect::<Vec<_>>());
    assert_eq!(response.message, Message::assistant("", calls));
    // The same text where no tool is on offer is text.
    let (_, response) = chat(&script, ChatRequest { tools: Vec::new(), ..request() });
    assert_eq!(response.message, Message::assistant(pieces.concat(), Vec::new()));
    assert_eq!(response.finish_reason, FinishReason::Stop);
}

#[test]
fn json_that_is_no_call_is_text() {
    for answer in [r#"{"name": "Ada", "age": 36}"#, r#"{"name":"#, "{ x }"] {
        let script = Script { pieces: &[answer], start: GO, template: JSON };
        let (_, response) = chat(&script, request());
        assert_eq!(response.message, Message::assistant(answer, Vec::new()));
    }
}

#[test]
fn a_call_that_is_cut_off_comes_as_it_was_written() {
    let script = Script {
        pieces: &["<tool_call>", "\n{\"name\": \"sql\", \"arguments\": {", "\"query\": \"oo", "ps"],
        start: GO,
        template: SPANS,
    };
    let mut request = request();
    request.sampling.max_tokens = 4;
    let (_, response) = chat(&script, request);
    assert_eq!(response.message.tool_calls, [call("call_1", json!("{\"query\": \"oops"))]);
}

#[test]
fn ids_go_on_where_the_conversation_is() {
    let script = Script {
        pieces: &["<tool_call>", "\n{\"name\": \"sql\", \"arguments\": {}}\n", "</tool_call>"],
        start: GO,
        template: SPANS,
    };
    let mut request = request();
    let asked = call("call_1", json!({}));
    request.messages.push(Message::assistant("", vec![asked.clone()]));
    request.messages.push(Message::tool_result(&asked, "42"));
    assert_eq!(chat(&script, request).1.message.tool_calls[0].id, "call_2");
}

#[test]
fn a_tool_that_is_not_on_offer_is_not_shown() {
    let script = Script { pieces: &["ok"], start: GO, template: SPANS };
    let (_folder, model) = script.model();
    let none = ChatRequest { tool_choice: ToolChoice::None, ..request() };
    assert!(!model.render_prompt(&none).unwrap().contains("sql"));
    assert!(model.render_prompt(&request()).unwrap().contains("sql"));
}

#[test]
fn a_template_that_knows_no_tools_shows_them_as_text() {
    let pieces = ["<tool_call>", "\n{\"name\": \"sql\", \"arguments\": {}}\n", "</tool_call>"];
    let script = Script { pieces: &pieces, start: GO, template: TEMPLATE };
    let mut request = request();
    let asked = call("call_1", json!({ "query": "q" }));
    request.messages.push(Message::assistant("Hm.", vec![asked.clone()]));
    request.messages.push(Message::tool_result(&asked, "42"));
    request.messages.push(Message::user("And now?"));
    let (_folder, model) = script.model();
    let prompt = model.render_prompt(&request).unwrap();
    let (system, rest) = prompt.split_once("\nuser: ").unwrap();
    assert!(system.starts_with("system: s\n\n# Tools"), "{prompt}");
    let signature =
        "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"sql\", \"description\": \"Runs a query.\"";
    assert!(system.contains(signature), "{prompt}");
    assert_eq!(
        rest,
        "How many orders?\nassistant: Hm.\n<tool_call>\n{\"name\": \"sql\", \"arguments\": {\"query\": \"q\"}}\n\
         </tool_call>\nuser: <tool_response>\n42\n</tool_response>\nAnd now?\n<|go|>"
    );
    request.messages.truncate(2);
    assert_eq!(chat(&script, request).1.message.tool_calls, [call("call_1", json!({}))]);
}

#[test]
fn stop_strings_end_answers_across_tokens() {
    let script = Script { pieces: &["abc", "def", "ghi"], start: GO, template: TEMPLATE };
    for (stop, expected) in [("cde", "ab"), ("fg", "abcde"), ("abcdefghi", ""), ("ix", "abcdefghi"), ("", "abcdefghi")]
    {
        let mut request = request();
        request.sampling.stop = vec![stop.to_string(), "zzz".to_string()];
        let (_, response) = chat(&script, request);
        assert_eq!(response.message.content, expected, "stop {stop:?}");
        assert_eq!(response.finish_reason, FinishReason::Stop);
    }
}

#[test]
fn characters_are_never_split() {
    // Each is two to four tokens, a byte each.
    let script = Script { pieces: &["é", "🙂", "ok", "語"], start: GO, template: TEMPLATE };
    let (events, response) = chat(&script, request());
    let pieces: Vec<ChatEvent> = ["é", "🙂", "ok", "語"].map(|piece| ChatEvent::Text(piece.into())).into();
    assert_eq!(events, pieces);
    assert_eq!(response.message.content, "é🙂ok語");
    // Cut within a character, the answer ends in a replacement character, not in an error.
    let mut request = request();
    request.sampling.max_tokens = 4;
    let (_, response) = chat(&script, request);
    assert_eq!(response.message.content, "é\u{fffd}");
    assert_eq!(response.finish_reason, FinishReason::Length);
}

#[test]
fn an_interrupt_stops_between_tokens_and_the_model_goes_on_working() {
    let script = Script { pieces: &["one", "two", "three"], start: GO, template: TEMPLATE };
    let (_folder, model) = script.model();
    let cancellation = Cancellation::new();
    let mut seen = Vec::new();
    let stopped = model.chat(&request(), &cancellation, &mut |event| {
        seen.push(event);
        cancellation.cancel();
    });
    assert!(matches!(stopped, Err(ModelError::Cancelled)));
    assert_eq!(seen, [ChatEvent::Text("one".into())]);
    let again = model.chat(&request(), &Cancellation::new(), &mut |_| {}).unwrap();
    assert_eq!(again.message.content, "onetwothree");
}

#[test]
fn a_conversation_beyond_the_window_is_an_error() {
    let script = Script { pieces: &["ok"], start: GO, template: TEMPLATE };
    let (_folder, model) = script.model();
    assert_eq!(model.context_window(), 1024);
    assert_eq!(model.count_tokens("12345<|go|>"), 6);
    let long = ChatRequest { messages: vec![Message::user("x".repeat(1100))], ..request() };
    match model.chat(&long, &Cancellation::new(), &mut |_| {}) {
        Err(ModelError::ContextOverflow { prompt, window }) => {
            assert_eq!((prompt > 1100, window), (true, 1024))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_without_a_template_says_so() {
    let script = Script { pieces: &["ok"], start: GO, template: TEMPLATE };
    let (folder, _) = script.model();
    std::fs::remove_file(folder.path().join("tokenizer_config.json")).unwrap();
    let model = LocalModel::open(folder.path(), "cpu".parse().unwrap()).unwrap();
    let error = model.chat(&request(), &Cancellation::new(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("no chat template"), "{error}");
}

fn request() -> ChatRequest {
    ChatRequest {
        messages: vec![Message::system("s"), Message::user("How many orders?")],
        tools: vec![ToolDefinition {
            name: "sql".into(),
            description: "Runs a query.".into(),
            parameters: json!({ "type": "object" }),
        }],
        sampling: SamplingParameters { max_tokens: 50, ..SamplingParameters::default() },
        ..ChatRequest::default()
    }
}

fn call(id: &str, arguments: Value) -> ToolCall {
    ToolCall { id: id.into(), name: "sql".into(), arguments }
}

fn chat(script: &Script, request: ChatRequest) -> (Vec<ChatEvent>, ChatResponse) {
    let (_folder, model) = script.model();
    let mut events = Vec::new();
    let response = model.chat(&request, &Cancellation::new(), &mut |event| events.push(event)).unwrap();
    (events, response)
}

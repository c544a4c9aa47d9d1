//! Chat templates against transformers' rendering.

use std::path::Path;

use codriver_inference::chat::template::ChatTemplate;
use codriver_inference::{Message, Role, ToolCall, ToolDefinition};
use serde_json::{Map, Value, json};

use crate::reference::run;

#[test]
fn templates_of_public_models_render_as_in_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/chat-templates");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    }
    let mut templates = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        templates.push((name, std::fs::read_to_string(path).unwrap()));
    }
    assert!(templates.len() >= 5);
    let rendered = compare(&templates);
    assert!(rendered >= 25, "only {rendered} renderings were compared");
}

#[test]
fn what_templates_use_of_jinja_and_python_renders_as_in_transformers() {
    let templates = [
        (
            "json",
            "{{ tools | tojson }}|{{ messages | tojson(indent=2) }}|{{ messages[0] | tojson(sort_keys=true, ensure_ascii=true, separators=(',', ':')) }}",
        ),
        (
            "python values",
            "{{ true }} {{ none }} {{ 1.0 }} {{ messages[0].content == 'x' }} {{ missing }}",
        ),
        (
            "strings",
            "{{ '  x y '.strip() }}|{{ 'a<b>c</b>'.split('<b>')[-1].rstrip('>') }}|{{ messages[0]['content'].startswith('Be') }}|{{ 'é'.upper() }}|{{ 'abc'.replace('b', '') }}",
        ),
        (
            "slices",
            "{{ messages[1:] | length }} {{ messages[-1].role }} {% for m in messages[::-1] %}{{ m.role }},{% endfor %}",
        ),
        (
            "loops",
            "{% for m in messages %}\n    {% if loop.first %}{% continue %}{% endif %}\n    {{- m.role }}{% if loop.index0 == 1 %}{% break %}{% endif %}\n{% endfor %}\n",
        ),
        (
            "namespace",
            "{%- set ns = namespace(found=false, n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.found = true %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ ns.n }}{{ ns.found }}",
        ),
        (
            "generation",
            "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}\n{% endgeneration %}{% else %}{{ m.role }}{% endif %}{% endfor %}",
        ),
        (
            "white space",
            "  {% if tools %}\n  yes\n  {% endif %}\n{%- if true %}\n\nx\n{% endif %}\n",
        ),
        (
            "tests",
            "{{ tools is defined }} {{ tools is none }} {{ messages is sequence }} {{ messages[0].content is string }} {{ messages[0] is mapping }} {{ 'tool_calls' in messages[0] }}",
        ),
        (
            "macro",
            "{% macro tag(x, y='d') %}<{{ x }}:{{ y }}>{% endmacro %}{{ tag('a') }}{{ tag('b', y='c') }}",
        ),
        (
            "special",
            "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}",
        ),
        (
            "numbers",
            "{{ [1.0, 0.1, 1e16, 1e-5, 12345678901234567890, -0.0, 123456.789] | tojson }}",
        ),
    ];
    let templates = templates.map(|(name, source)| (name.to_string(), source.to_string()));
    assert!(compare(&templates) >= 60);
}

#[test]
fn a_template_that_stops_says_why() {
    let template = ChatTemplate::new("{{ raise_exception('No tools here') }}", None).unwrap();
    let error = template
        .render(&[Message::user("x")], &[], &Map::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("No tools here"), "{error}");
}

#[test]
fn hostile_templates_are_errors() {
    let endless =
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}";
    let recursive = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    for source in [
        endless,
        recursive,
        "{{ strftime_now('%Q%') }}",
        "{{ messages | tojson(indent='x') }}",
    ] {
        let template = ChatTemplate::new(source, None).unwrap();
        assert!(
            template
                .render(&[Message::user("x")], &[], &Map::new())
                .is_err(),
            "{source}"
        );
    }
    assert!(ChatTemplate::new("{% if %}", None).is_err());
}

#[test]
fn a_model_without_a_system_role_reads_it_in_the_request() {
    let source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}[{{ m.role }}: {{ m.content }}]{% endfor %}";
    let template = ChatTemplate::new(source, None).unwrap();
    let rendered = template.render(
        &[Message::system("Be brief."), Message::user("Hi")],
        &[],
        &Map::new(),
    );
    assert_eq!(rendered.unwrap(), "[user: Be brief.\n\nHi]");
}

#[test]
fn a_model_of_one_call_at_a_time_reads_several_one_by_one() {
    let source = "{% for m in messages %}{% if m.tool_calls and m.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}[{{ m.role }}:{{ m.content }}{% for c in m.tool_calls %}{{ c.id }}{% endfor %}]{% endfor %}";
    let call = |id: &str| ToolCall {
        id: id.to_string(),
        name: "sql".to_string(),
        arguments: json!({}),
    };
    let messages = [
        Message::user("u"),
        Message::assistant("Two.", vec![call("a"), call("b")]),
        Message::tool_result(&call("b"), "B"),
        Message::tool_result(&call("a"), "A"),
        Message::user("v"),
    ];
    let rendered = ChatTemplate::new(source, None)
        .unwrap()
        .render(&messages, &[], &Map::new());
    assert_eq!(
        rendered.unwrap(),
        "[user:u][assistant:Two.a][tool:A][assistant:b][tool:B][user:v]"
    );
}

/// Renders every template with every conversation, here and in transformers; returns how many
/// both rendered. What a template refuses is refused here too, unless it can be told otherwise:
/// a system prompt in the first request, several calls one by one.
fn compare(templates: &[(String, String)]) -> usize {
    let special = json!({ "bos_token": "<s>", "eos_token": "</s>" });
    let mut cases = Vec::new();
    for (_, source) in templates {
        for conversation in conversations() {
            cases.push(
                json!({ "template": source, "conversation": conversation, "special": special }),
            );
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&file, &cases).unwrap();
    let answers = run("chat_templates.py", &[file.path().to_str().unwrap()]);
    let names = templates
        .iter()
        .flat_map(|(name, _)| conversations().into_iter().map(move |_| name));
    let mut rendered = 0;
    for ((case, answer), name) in cases.iter().zip(answers.as_array().unwrap()).zip(names) {
        let template = ChatTemplate::new(case["template"].as_str().unwrap(), None).unwrap();
        let (messages, tools) = read(&case["conversation"]);
        let ours = template.render(&messages, &tools, case["special"].as_object().unwrap());
        match answer["rendered"].as_str() {
            Some(theirs) => {
                assert_eq!(ours.unwrap(), theirs, "{name}: {}", case["conversation"]);
                rendered += 1;
            }
            // Python's own complaints (iterating over None) are not all minijinja's.
            None => assert!(
                ours.is_err()
                    || answer["raised"] == false
                    || messages[0].role == Role::System
                    || messages.iter().any(|message| message.tool_calls.len() > 1),
                "{name}: transformers says {}, we rendered {}",
                answer["error"],
                ours.unwrap()
            ),
        }
    }
    rendered
}

/// Conversations in the form the templates know: OpenAI's.
fn conversations() -> Vec<Value> {
    let call = |id: &str, name: &str, arguments: Value| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let system = json!({ "role": "system", "content": "Be brief. Größe <b> & 'quotes'." });
    let user = json!({ "role": "user", "content": "  How many orders?\nAnd \"why\"?  " });
    let tools = json!([
        { "type": "function", "function": {
            "name": "sql", "description": "Runs a query & shows <rows>.",
            "parameters": { "type": "object", "properties": {
                "query": { "type": "string", "description": "What's asked, e.g. é" },
                "limit": { "type": "integer", "description": "Rows", "default": 10, "minimum": 0.5 },
            }, "required": ["query"] } } },
        { "type": "function", "function": {
            "name": "git_status", "description": "What changed.",
            "parameters": { "type": "object", "properties": {} } } },
    ]);
    let asked = json!({ "role": "assistant", "content": "", "tool_calls":
        [call("call_1", "sql", json!({ "query": "SELECT count(*) FROM \"orders\" WHERE a < 'é'", "limit": 3 }))] });
    let answered =
        json!({ "role": "tool", "content": "n\n42", "tool_call_id": "call_1", "name": "sql" });
    let both = json!({ "role": "assistant", "content": "Two things.", "tool_calls":
        [call("call_2", "sql", json!({ "query": "x" })), call("call_3", "git_status", json!({}))] });
    let second = json!({ "role": "tool", "content": "clean", "tool_call_id": "call_3", "name": "git_status" });
    let reply = json!({ "role": "assistant", "content": "42.\n" });
    let none = json!([]);
    [
        (vec![&user], &none),
        (vec![&system, &user], &none),
        (vec![&system, &user, &reply, &user], &none),
        (vec![&user, &reply, &user], &none),
        (vec![&system, &user], &tools),
        (vec![&user, &asked, &answered], &tools),
        (
            vec![
                &system, &user, &asked, &answered, &reply, &user, &both, &answered, &second,
            ],
            &tools,
        ),
    ]
    .into_iter()
    .map(|(messages, tools)| json!({ "messages": messages, "tools": tools }))
    .collect()
}

fn read(conversation: &Value) -> (Vec<Message>, Vec<ToolDefinition>) {
    let text = |value: &Value| value.as_str().map(str::to_string);
    let message = |message: &Value| Message {
        role: serde_json::from_value(message["role"].clone()).unwrap(),
        content: text(&message["content"]).unwrap(),
        tool_calls: message["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(tool_call)
            .collect(),
        tool_call_id: text(&message["tool_call_id"]),
        tool_name: text(&message["name"]),
    };
    let tool =
        |tool: &Value| serde_json::from_value::<ToolDefinition>(tool["function"].clone()).unwrap();
    (
        conversation["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(message)
            .collect(),
        conversation["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(tool)
            .collect(),
    )
}

fn tool_call(call: &Value) -> ToolCall {
    ToolCall {
        id: call["id"].as_str().unwrap().to_string(),
        name: call["function"]["name"].as_str().unwrap().to_string(),
        arguments: call["function"]["arguments"].clone(),
    }
}

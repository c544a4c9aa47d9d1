//! Chat templates: the Jinja programs that models ship, rendered as `transformers` renders them.

use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value, json};

use super::retelling::{merge_system, one_call_a_message, short_ids};
use crate::formats::ToolFormat;
use crate::jinja::Template;
use crate::{Message, ModelError, ToolDefinition};

/// The templates of one model.
pub struct ChatTemplate {
    default: Template,
    /// Where there is one apart for requests with tools.
    for_tools: Option<Template>,
    /// Whether they say anything about tools.
    knows_tools: bool,
    /// How they show tool calls.
    format: Option<ToolFormat>,
}

impl ChatTemplate {
    /// The templates in a model's folder and its `tokenizer_config.json`; `None` where it has none.
    pub fn open(folder: &Path, settings: &Value) -> Result<Option<Self>, ModelError> {
        let file = folder.join("chat_template.jinja");
        if file.exists() {
            let source = read(&file)?;
            let tools = folder.join("additional_chat_templates").join("tool_use.jinja");
            let tools = tools.exists().then(|| read(&tools)).transpose()?;
            return Self::new(&source, tools.as_deref()).map(Some);
        }
        match &settings["chat_template"] {
            Value::String(source) => Self::new(source, None).map(Some),
            Value::Array(named) => {
                let find = |name: &str| {
                    let entry = named.iter().find(|entry| entry["name"] == name)?;
                    entry["template"].as_str()
                };
                find("default").map(|source| Self::new(source, find("tool_use"))).transpose()
            }
            _ => Ok(None),
        }
    }

    /// Compiles a template, and where a model has one, the template for requests with tools.
    pub fn new(source: &str, for_tools: Option<&str>) -> Result<Self, ModelError> {
        let parse = |source: &str| Template::parse(source).map_err(template_error);
        let mentions = |word: &str| source.contains(word) || for_tools.is_some_and(|text| text.contains(word));
        Ok(Self {
            default: parse(source)?,
            for_tools: for_tools.map(parse).transpose()?,
            knows_tools: mentions("tools"),
            format: for_tools.and_then(ToolFormat::of_template).or_else(|| ToolFormat::of_template(source)),
        })
    }

    pub fn knows_tools(&self) -> bool {
        self.knows_tools
    }

    /// How the model writes its tool calls; as Hermes models do where the templates do not say, or know
    /// no tools.
    pub fn tool_format(&self) -> ToolFormat {
        self.format.filter(|_| self.knows_tools).unwrap_or(ToolFormat::Hermes)
    }

    /// The conversation as the model reads it, up to where its answer begins.
    pub fn render(
        &self,
        messages: &[Message],
        tools: &[ToolDefinition],
        special_names: &Map<String, Value>,
    ) -> Result<String, ModelError> {
        let error = match self.render_messages(messages, tools, special_names) {
            Ok(rendered) => return Ok(rendered),
            Err(error) => error,
        };
        // The template refused: the same conversation may pass in narrower terms.
        let apart = one_call_a_message(messages);
        let retold = [
            short_ids(messages),
            merge_system(messages),
            short_ids(&merge_system(messages)),
            merge_system(&apart),
            apart,
        ];
        let mut renderings = retold
            .iter()
            .filter(|retold| *retold != messages)
            .filter_map(|retold| self.render_messages(retold, tools, special_names).ok());
        renderings.next().ok_or(error)
    }

    fn render_messages(
        &self,
        messages: &[Message],
        tools: &[ToolDefinition],
        special_names: &Map<String, Value>,
    ) -> Result<String, ModelError> {
        let messages = messages.iter().map(message_json).collect();
        let tools: Value = tools.iter().map(tool_json).collect();
        self.render_raw(&messages, &tools, special_names)
    }

    /// Renders messages and tools in whatever form the template knows, as `apply_chat_template` does:
    /// `messages` is a list of objects with any keys, `tools` a list of JSON schemas or null.
    /// `variables` are `bos_token`, `eos_token` and whatever else the template reads
    /// (`enable_thinking`, `documents`); `add_generation_prompt` is true unless it is among them.
    pub fn render_raw(
        &self,
        messages: &Value,
        tools: &Value,
        variables: &Map<String, Value>,
    ) -> Result<String, ModelError> {
        let messages = messages.as_array().ok_or_else(|| {
            ModelError::Template("the messages are no list of objects with role and content".to_string())
        })?;
        let messages = messages.iter().map(with_reasoning_names).collect::<Result<Value, _>>()?;
        let tools = Some(tools).filter(|tools| tools.as_array().is_some_and(|tools| !tools.is_empty()));
        let mut context = Map::new();
        context.insert("messages".to_string(), messages);
        context.insert("tools".to_string(), tools.cloned().unwrap_or_default());
        context.insert("documents".to_string(), Value::Null);
        context.insert("add_generation_prompt".to_string(), Value::Bool(true));
        context.extend(variables.clone());
        let template = self.for_tools.as_ref().filter(|_| tools.is_some()).unwrap_or(&self.default);
        template.render(&context).map_err(template_error)
    }
}

/// The names under which templates look for a message's reasoning, the usual one first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// As `transformers` does: reasoning under one name is there under the others that templates read.
fn with_reasoning_names(message: &Value) -> Result<Value, ModelError> {
    let Value::Object(message) = message else {
        return Err(ModelError::Template(format!("a message is not an object with role and content: {message}")));
    };
    let reasoning = REASONING.iter().find_map(|name| message.get(*name).filter(|value| !value.is_null()));
    let Some(reasoning) = reasoning else { return Ok(Value::Object(message.clone())) };
    let mut named = Map::new();
    named.insert("thinking".to_string(), reasoning.clone());
    named.extend(message.clone());
    named.insert("reasoning_content".to_string(), reasoning.clone());
    Ok(Value::Object(named))
}

/// Reads JSON with the numbers as Python reads them: floats to the nearest, which templates then print again.
pub fn read_json(text: &str) -> Result<Value, serde_json::Error> {
    let raw: &RawValue = serde_json::from_str(text)?;
    exact(raw)
}

fn exact(raw: &RawValue) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            Value::Array(items.into_iter().map(exact).collect::<Result<_, _>>()?)
        }
        Some(b'{') => Value::Object(serde_json::from_str::<Entries>(text)?.0),
        Some(b'-' | b'0'..=b'9') if text.contains(['.', 'e', 'E']) => {
            let float = text.parse::<f64>().ok().and_then(Number::from_f64);
            float.map_or_else(|| serde_json::from_str(text), |float| Ok(Value::Number(float)))?
        }
        _ => serde_json::from_str(text)?,
    })
}

/// An object's entries, in their order.
struct Entries(Map<String, Value>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Entries, A::Error> {
        let mut entries = Map::new();
        while let Some((key, raw)) = access.next_entry::<String, &RawValue>()? {
            entries.insert(key, exact(raw).map_err(serde::de::Error::custom)?);
        }
        Ok(Entries(entries))
    }
}

fn message_json(message: &Message) -> Value {
    let mut entry = Map::new();
    entry.insert("role".to_string(), json!(message.role));
    entry.insert("content".to_string(), json!(message.content));
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            json!({
                "id": call.id,
                "type": "function",
                "function": { "name": call.name, "arguments": call.arguments },
            })
        });
        entry.insert("tool_calls".to_string(), calls.collect());
    }
    if let Some(id) = &message.tool_call_id {
        entry.insert("tool_call_id".to_string(), json!(id));
    }
    if let Some(name) = &message.tool_name {
        entry.insert("name".to_string(), json!(name));
    }
    Value::Object(entry)
}

/// A tool as templates know it: OpenAI's form.
pub fn tool_json(tool: &ToolDefinition) -> Value {
    json!({
        "type": "function",
        "function": { "name": tool.name, "description": tool.description, "parameters": tool.parameters },
    })
}

fn read(path: &Path) -> Result<String, ModelError> {
    // A pipe would be waited for until somebody writes to it.
    if path.is_file() {
        return fs_err::read_to_string(path).map_err(|error| ModelError::Template(error.to_string()));
    }
    Err(ModelError::File { path: path.display().to_string(), reason: "is no regular file".to_owned() })
}

fn template_error(error: crate::jinja::Error) -> ModelError {
    ModelError::Template(error.to_string())
}

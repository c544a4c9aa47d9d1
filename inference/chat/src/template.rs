//! Chat templates: the Jinja programs that models ship, rendered as `transformers` renders them.

use std::fmt::Write;
use std::path::Path;

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value as JinjaValue};
use regex::Regex;
use serde_json::{Map, Value, json};

use super::python_json::{Style, python_json};
use super::retelling::{merge_system, one_call_a_message};
use crate::{Message, ModelError, ToolDefinition};

/// The templates of one model.
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Whether there is one apart for requests with tools.
    for_tools: bool,
    /// Whether they say anything about tools.
    knows_tools: bool,
    /// Whether they show tool calls as `<tool_call>` spans, as Hermes and Qwen do.
    tool_call_spans: bool,
}

const DEFAULT: &str = "default";
const FOR_TOOLS: &str = "tool_use";

/// Instructions a template may run: a conversation takes thousands, an endless loop all of them.
const FUEL: u64 = 50_000_000;

impl ChatTemplate {
    /// The templates in a model's folder and its `tokenizer_config.json`; `None` where it has none.
    pub fn open(folder: &Path, settings: &Value) -> Result<Option<Self>, ModelError> {
        let file = folder.join("chat_template.jinja");
        if file.exists() {
            let source = fs_err::read_to_string(&file).map_err(|error| ModelError::Template(error.to_string()))?;
            let tools = folder.join("additional_chat_templates").join("tool_use.jinja");
            let tools = tools.exists().then(|| fs_err::read_to_string(&tools)).transpose();
            let tools = tools.map_err(|error| ModelError::Template(error.to_string()))?;
            return Self::new(&source, tools.as_deref()).map(Some);
        }
        match &settings["chat_template"] {
            Value::String(source) => Self::new(source, None).map(Some),
            Value::Array(named) => {
                let find = |name: &str| {
                    let entry = named.iter().find(|entry| entry["name"] == name)?;
                    entry["template"].as_str()
                };
                find(DEFAULT).map(|source| Self::new(source, find(FOR_TOOLS))).transpose()
            }
            _ => Ok(None),
        }
    }

    /// Compiles a template, and where a model has one, the template for requests with tools.
    pub fn new(source: &str, for_tools: Option<&str>) -> Result<Self, ModelError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(print_as_python);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        for (name, source) in [(DEFAULT, Some(source)), (FOR_TOOLS, for_tools)] {
            let Some(source) = source else { continue };
            environment.add_template_owned(name, without_generation_blocks(source)?).map_err(template_error)?;
        }
        let mentions = |word: &str| source.contains(word) || for_tools.is_some_and(|text| text.contains(word));
        let (knows_tools, tool_call_spans) = (mentions("tools"), mentions("<tool_call>"));
        Ok(Self { environment, for_tools: for_tools.is_some(), knows_tools, tool_call_spans })
    }

    pub fn knows_tools(&self) -> bool {
        self.knows_tools
    }

    pub fn uses_tool_call_spans(&self) -> bool {
        self.tool_call_spans
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
        let retold = [merge_system(messages), merge_system(&apart), apart];
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
        let has_tools = tools.as_array().is_some_and(|tools| !tools.is_empty());
        let mut context = Map::new();
        context.insert("messages".to_string(), messages.clone());
        context.insert("tools".to_string(), if has_tools { tools.clone() } else { Value::Null });
        context.insert("documents".to_string(), Value::Null);
        context.insert("add_generation_prompt".to_string(), Value::Bool(true));
        context.extend(variables.clone());
        let name = if self.for_tools && has_tools { FOR_TOOLS } else { DEFAULT };
        let template = self.environment.get_template(name).map_err(template_error)?;
        template.render(JinjaValue::from_serialize(&context)).map_err(template_error)
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

/// `{% generation %}` marks the model's own words for training; it renders as what it encloses.
fn without_generation_blocks(source: &str) -> Result<String, ModelError> {
    let block = |name: &str| {
        let pattern = format!(r"\{{%([-+]?)\s*{name}\s*([-+]?)%\}}");
        Regex::new(&pattern).map_err(|error| ModelError::Template(error.to_string()))
    };
    let opened = block("generation")?.replace_all(source, "{%$1 if true $2%}");
    Ok(block("endgeneration")?.replace_all(&opened, "{%$1 endif $2%}").into_owned())
}

fn print_as_python(output: &mut Output, state: &State, value: &JinjaValue) -> Result<(), Error> {
    let printed = match (value.is_none(), bool::try_from(value.clone())) {
        (true, _) => "None",
        (_, Ok(true)) if value.kind() == minijinja::value::ValueKind::Bool => "True",
        (_, Ok(false)) if value.kind() == minijinja::value::ValueKind::Bool => "False",
        _ => return minijinja::escape_formatter(output, state, value),
    };
    output.write_str(printed).map_err(Error::from)
}

fn tojson(value: &JinjaValue, options: Kwargs) -> Result<JinjaValue, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "tojson of an undefined value"));
    }
    let value = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "cannot be written as JSON").with_source(error))?;
    let mut style = Style {
        indent: options.get::<Option<usize>>("indent")?,
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ..Style::default()
    };
    if style.indent.is_some() {
        style.item_separator = ",".to_string();
    }
    if let Some(separators) = options.get::<Option<Vec<String>>>("separators")?
        && let [item, key] = separators.as_slice()
    {
        (style.item_separator, style.key_separator) = (item.clone(), key.clone());
    }
    options.assert_all_used()?;
    Ok(JinjaValue::from_safe_string(python_json(&value, &style)))
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> Result<String, Error> {
    let mut text = String::new();
    let written = write!(text, "{}", chrono::Local::now().format(&format));
    written.map_err(|_| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: bad format {format:?}")))?;
    Ok(text)
}

fn template_error(error: Error) -> ModelError {
    let place = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    ModelError::Template(format!("{}{place}", error.detail().map_or_else(|| error.to_string(), str::to_string)))
}

//! `codriver model template`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use codriver_inference::chat::template::ChatTemplate;
use serde_json::{Map, Value};

use super::inputs;

pub const EXAMPLES: &str = "The prompt is printed as it is, without a line break behind it. MESSAGES holds what the
OpenAI API takes: an array of messages, or an object with `messages` (and `tools`). `-` is standard input.

Examples:
  codriver model template --template chat_template.jinja --messages messages.json --bos '<s>'
  codriver model template --template chat_template.jinja --messages - --set enable_thinking=false";

#[derive(Debug, Args)]
pub struct TemplateArguments {
    /// The chat template; or a model's folder, for the template in it
    #[arg(long, value_name = "FILE.jinja")]
    template: PathBuf,
    /// The conversation
    #[arg(long, value_name = "FILE.json")]
    messages: PathBuf,
    /// Tools, an array of definitions
    #[arg(long, value_name = "FILE.json")]
    tools: Option<PathBuf>,
    /// The template's `bos_token`
    #[arg(long, value_name = "TOKEN")]
    bos: Option<String>,
    /// The template's `eos_token`
    #[arg(long, value_name = "TOKEN")]
    eos: Option<String>,
    /// End after the last message, without the opening of an answer
    #[arg(long)]
    no_generation_prompt: bool,
    /// Another variable of the template; may be given several times
    #[arg(long = "set", value_name = "NAME=JSON", value_parser = assignment)]
    variables: Vec<(String, Value)>,
}

pub fn template(arguments: &TemplateArguments) -> anyhow::Result<ExitCode> {
    let from_stdin = [Some(&arguments.template), Some(&arguments.messages), arguments.tools.as_ref()];
    if from_stdin.into_iter().flatten().filter(|path| path.as_os_str() == "-").count() > 1 {
        bail!("only one of --template, --messages and --tools can be standard input");
    }
    let template = open(arguments)?;
    let (messages, own_tools) = match inputs::json(&arguments.messages)? {
        Value::Array(messages) => (Value::Array(messages), Value::Null),
        Value::Object(mut request) if request.get("messages").is_some_and(Value::is_array) => {
            (request.remove("messages").unwrap_or_default(), request.remove("tools").unwrap_or_default())
        }
        _ => bail!(
            "{}: an array of messages was expected, or an object with `messages`",
            inputs::name(&arguments.messages)
        ),
    };
    let tools = match &arguments.tools {
        Some(path) => match inputs::json(path)? {
            Value::Object(mut request) if request.get("tools").is_some_and(Value::is_array) => {
                request.remove("tools").unwrap_or_default()
            }
            tools @ (Value::Array(_) | Value::Null) => tools,
            _ => bail!("{}: an array of tools was expected", inputs::name(path)),
        },
        None => own_tools,
    };
    let mut variables = Map::new();
    let tokens = [("bos_token", &arguments.bos), ("eos_token", &arguments.eos)];
    variables
        .extend(tokens.into_iter().filter_map(|(name, token)| Some((name.to_owned(), Value::from(token.clone()?)))));
    variables.insert("add_generation_prompt".to_owned(), Value::from(!arguments.no_generation_prompt));
    variables.extend(arguments.variables.iter().cloned());
    let prompt = template.render_raw(&messages, &tools, &variables)?;
    super::print(&prompt)
}

fn open(arguments: &TemplateArguments) -> anyhow::Result<ChatTemplate> {
    let path = &arguments.template;
    if path.is_dir() {
        let settings = path.join("tokenizer_config.json");
        let settings = if settings.is_file() { inputs::json(&settings)? } else { Value::Null };
        let found = ChatTemplate::open(path, &settings)?;
        return found.with_context(|| format!("{} has no chat template", path.display()));
    }
    Ok(ChatTemplate::new(&inputs::text(path)?, None)?)
}

/// `name=json`.
fn assignment(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=json")?;
    if name.trim().is_empty() {
        return Err("the name is missing before the =".to_owned());
    }
    let value = serde_json::from_str(value)
        .map_err(|error| format!("{value} is not JSON ({error}); quote text twice: --set 'name=\"text\"'"))?;
    Ok((name.trim().to_owned(), value))
}

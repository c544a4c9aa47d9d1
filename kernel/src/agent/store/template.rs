//! `template`: the prompt that a chat template makes of messages.

use std::path::PathBuf;

use clap::Args;
use codriver_inference::chat::template::ChatTemplate;
use serde_json::{Map, Value};

use super::inputs::{self, Inputs};

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

impl TemplateArguments {
    /// The prompt, as it is.
    pub fn run(&self, inputs: &Inputs<'_>) -> Result<String, String> {
        let from_stdin = [Some(&self.template), Some(&self.messages), self.tools.as_ref()];
        if from_stdin.into_iter().flatten().filter(|path| path.as_os_str() == "-").count() > 1 {
            return Err("only one of --template, --messages and --tools can be standard input".to_owned());
        }
        let template = self.open(inputs)?;
        let (messages, own_tools) = match inputs.json(&self.messages)? {
            Value::Array(messages) => (Value::Array(messages), Value::Null),
            Value::Object(mut request) if request.get("messages").is_some_and(Value::is_array) => {
                (request.remove("messages").unwrap_or_default(), request.remove("tools").unwrap_or_default())
            }
            _ => {
                let name = inputs::name(&self.messages);
                return Err(format!("{name}: an array of messages was expected, or an object with `messages`"));
            }
        };
        let tools = match &self.tools {
            Some(path) => match inputs.json(path)? {
                Value::Object(mut request) if request.get("tools").is_some_and(Value::is_array) => {
                    request.remove("tools").unwrap_or_default()
                }
                tools @ (Value::Array(_) | Value::Null) => tools,
                _ => return Err(format!("{}: an array of tools was expected", inputs::name(path))),
            },
            None => own_tools,
        };
        template.render_raw(&messages, &tools, &self.variables()).map_err(|error| error.to_string())
    }

    fn variables(&self) -> Map<String, Value> {
        let tokens = [("bos_token", &self.bos), ("eos_token", &self.eos)];
        let tokens =
            tokens.into_iter().filter_map(|(name, token)| Some((name.to_owned(), Value::from(token.clone()?))));
        let opening = ("add_generation_prompt".to_owned(), Value::from(!self.no_generation_prompt));
        tokens.chain([opening]).chain(self.variables.iter().cloned()).collect()
    }

    fn open(&self, inputs: &Inputs<'_>) -> Result<ChatTemplate, String> {
        let path = inputs.path(&self.template);
        if !path.is_dir() {
            return ChatTemplate::new(&inputs.text(&self.template)?, None).map_err(|error| error.to_string());
        }
        let settings = path.join("tokenizer_config.json");
        let settings = if settings.is_file() { inputs.json(&settings)? } else { Value::Null };
        let found = ChatTemplate::open(&path, &settings).map_err(|error| error.to_string())?;
        found.ok_or_else(|| format!("{} has no chat template", path.display()))
    }
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

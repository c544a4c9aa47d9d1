//! `%model`: which model thinks, and where; the models on this machine.

mod files;
mod store;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use codriver_inference::device::{self, DeviceChoice};
use codriver_inference::{CacheFormat, WeightFormat};

use super::said;
use crate::agent::models::Rounding;
use crate::agent::store::model_store;
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellResult, Completion};
use crate::session::Session;

pub(super) struct Model;

const COMMANDS: [&str; 10] =
    ["list", "unload", "pull", "info", "rm", "bench", "convert", "quantize", "tokenize", "template"];

/// What weights are rounded to, and how keys and values are held.
const WEIGHTS: [&str; 6] = ["q4_0", "q4_k", "q6_k", "q8_0", "f16", "bf16"];
const CACHES: [&str; 3] = ["f32", "f16", "q8_0"];

impl Magic for Model {
    fn name(&self) -> &'static str {
        "model"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        let device = Arg::new("device")
            .long("device")
            .short('d')
            .value_name("DEVICE")
            .help("cpu, wgpu or cuda, for local models");
        let adapter = Arg::new("adapter")
            .long("adapter")
            .value_name("FOLDER")
            .action(ArgAction::Append)
            .help("A LoRA adapter on top of a local model; may be given several times");
        let quantization = Arg::new("quant")
            .long("quant")
            .value_name("TYPE")
            .value_parser(value_parser!(WeightFormat))
            .help(format!("Rounds a local model's weights as they are loaded: {}", WEIGHTS.join(", ")));
        let cache = Arg::new("kv")
            .long("kv")
            .value_name("TYPE")
            .value_parser(value_parser!(CacheFormat))
            .help("How a local model holds the keys and values of what it reads: f32 (as without it), f16, q8_0");
        Command::new("model")
            .about("Shows or chooses the model that agents think with; lists and gets models")
            .after_help(
                "%model                            the current model\n\
                 %model starter                    the one that ships with Codriver\n\
                 %model Qwen/Qwen3-0.6B            one of %model list\n\
                 %model ~/models/mine              a folder with config.json, safetensors and tokenizer.json\n\
                 %model ~/models/mine.Q4_K_M.gguf  a GGUF file\n\
                 %model mine --adapter ~/my-lora   with a LoRA adapter\n\
                 %model mine --quant q8_0          with its weights in 8 bits\n\
                 %model mine --kv q8_0             with long prompts in a quarter of the memory\n\
                 %model unload                     gives back the memory; it is loaded again when it is asked\n\
                 %model http://host:port/v1#name   any OpenAI-compatible server; the key comes from\n\
                 \u{20}                                 CODRIVER_API_KEY or OPENAI_API_KEY (environment or .env)",
            )
            .arg(Arg::new("name").value_name("MODEL").help("The model to use from now on"))
            .arg(device.clone())
            .arg(adapter)
            .arg(quantization)
            .arg(cache)
            .args_conflicts_with_subcommands(true)
            .subcommands(store::commands(device))
            .subcommands(files::commands())
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, context: &CellContext) -> CellResult {
        let matches = &invocation.matches;
        if let Some((command, matches)) = matches.subcommand() {
            return match files::run(command, matches, session, context) {
                Some(result) => result,
                None => store::run(command, matches, session, context),
            };
        }
        let device = chosen_device(matches)?;
        let models = &session.agents.models;
        match matches.get_one::<String>("name") {
            Some(name) => {
                let adapters = matches.get_many::<String>("adapter").unwrap_or_default().map(String::as_str);
                let adapters: Vec<&str> = adapters.collect();
                let rounding =
                    Rounding { weights: matches.get_one("quant").copied(), cache: matches.get_one("kv").copied() };
                models.choose(name, &adapters, rounding, device).map_err(|error| {
                    let meant = codriver_tools::nearest(name, COMMANDS);
                    let hint = meant.map(|command| format!(" (did you mean %model {command}?)")).unwrap_or_default();
                    model_error(&format!("{error}{hint}"))
                })?;
            }
            None if ["adapter", "quant", "kv"].iter().any(|option| matches.contains_id(option)) => {
                return Err(CellError::usage(
                    "--adapter, --quant and --kv belong to a model: %model MODEL --adapter FOLDER --quant TYPE --kv TYPE",
                ));
            }
            None => {
                if let Some(device) = device {
                    models.choose_device(device);
                }
            }
        }
        if let Some(reason) = models.missing() {
            let current = models.current();
            return said(format!("{current} was chosen, but is not there any more: {reason}"));
        }
        let adapters: Vec<String> =
            models.adapters().iter().map(|folder| format!(" with {}", folder.display())).collect();
        let [weights, cache] = models.rounding().texts();
        said(format!("{}{}{weights}{cache} on {}", models.current(), adapters.join(""), place(session)?))
    }

    fn complete(&self, argument_prefix: &str, session: &Session) -> Vec<Completion> {
        let before = argument_prefix.rfind(char::is_whitespace).map_or("", |end| &argument_prefix[..end]);
        match before.split_whitespace().next_back() {
            Some("--quant") => return super::completions(WEIGHTS, "type"),
            Some("--kv") => return super::completions(CACHES, "type"),
            Some("--device" | "-d") => return super::completions(["cpu", "wgpu", "cuda"], "device"),
            _ => {}
        }
        match argument_prefix.split_whitespace().next() {
            Some("list") if argument_prefix.contains(char::is_whitespace) => Vec::new(),
            Some("unload") if argument_prefix.contains(char::is_whitespace) => {
                let models = session.agents.models.list();
                let loaded = models.iter().filter(|model| !model.loaded.is_empty());
                super::completions(loaded.map(|model| model.name.as_str()), "model")
            }
            // Names of models that only the store knows: embedding models, adapters.
            Some("info" | "rm" | "convert" | "quantize") if argument_prefix.contains(char::is_whitespace) => {
                let names = model_store().names();
                super::completions(names.iter().map(String::as_str), "model")
            }
            _ => completions(session),
        }
    }
}

pub(super) fn completions(session: &Session) -> Vec<Completion> {
    let models = session.agents.models.list();
    super::completions(models.iter().map(|model| model.name.as_str()), "model")
}

/// The device of `--device`, checked to work.
fn chosen_device(matches: &ArgMatches) -> Result<Option<DeviceChoice>, CellError> {
    let Some(name) = matches.get_one::<String>("device") else { return Ok(None) };
    let device = name.parse::<DeviceChoice>().map_err(|error| model_error(&error))?;
    device::resolve(device).map_err(|error| model_error(&error))?;
    Ok(Some(device))
}

fn place(session: &Session) -> Result<String, CellError> {
    let models = &session.agents.models;
    if models.current().contains("://") {
        return Ok("its server".to_owned());
    }
    models.device().map(|device| device.to_string()).map_err(|error| model_error(&error))
}

fn model_error(error: &impl ToString) -> CellError {
    CellError::new("ModelError", error.to_string())
}

//! `codriver model`: the models on this machine, and what they are made of.

mod bench;
mod convert;
mod embedding;
mod pull;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use codriver_inference::store::{StoredModel, size_text};
use serde_json::json;

use crate::agent::store::convert::{self as conversion, ConvertArguments, QuantizeArguments};
use crate::agent::store::inputs::Inputs;
use crate::agent::store::template::{self, TemplateArguments};
use crate::agent::store::tokenize::{self, TokenizeArguments};
use crate::agent::store::{explain, find_model, info_table, list_table, memory_needed, model_store, with_details};
use crate::cli::print;

#[derive(Debug, Args)]
pub struct ModelArguments {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// List the models on this machine
    List(ListArguments),
    /// Get a model from the hub; stopped, it goes on where it was
    #[command(after_help = pull::EXAMPLES)]
    Pull(pull::PullArguments),
    /// Say what a model is, without reading its weights
    Info(InfoArguments),
    /// Delete a model from the store
    Rm(RemoveArguments),
    /// Measure how fast a model reads and writes
    Bench(bench::BenchArguments),
    /// Write a model as a GGUF file
    #[command(after_help = conversion::TYPES)]
    Convert(ConvertArguments),
    /// Write a model as a GGUF file with smaller weights
    #[command(after_help = conversion::TYPES)]
    Quantize(QuantizeArguments),
    /// Print the token ids of a text
    #[command(after_help = tokenize::OUTPUT)]
    Tokenize(TokenizeArguments),
    /// Print the prompt that a chat template makes of messages
    #[command(after_help = template::EXAMPLES)]
    Template(TemplateArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct InfoArguments {
    /// A name of `codriver model list`, a folder or a GGUF file
    #[arg(value_name = "MODEL")]
    model: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RemoveArguments {
    /// A name of `codriver model list`
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Does what `codriver model` was asked for.
pub fn model(arguments: &ModelArguments) -> anyhow::Result<ExitCode> {
    let workspace = workspace();
    let inputs = Inputs { workspace: &workspace, standard_input: true };
    match &arguments.command {
        ModelCommand::List(arguments) => list(arguments),
        ModelCommand::Pull(arguments) => pull::pull(arguments),
        ModelCommand::Info(arguments) => info(arguments),
        ModelCommand::Rm(arguments) => remove(arguments),
        ModelCommand::Bench(arguments) => bench::bench(arguments),
        ModelCommand::Convert(arguments) => {
            convert::write(|interrupt, on_progress| arguments.run(&inputs, interrupt, on_progress))
        }
        ModelCommand::Quantize(arguments) => {
            convert::write(|interrupt, on_progress| arguments.run(&inputs, interrupt, on_progress))
        }
        ModelCommand::Tokenize(arguments) => print(&arguments.run(&inputs).map_err(|reason| anyhow!(reason))?),
        ModelCommand::Template(arguments) => print(&arguments.run(&inputs).map_err(|reason| anyhow!(reason))?),
    }
}

fn list(arguments: &ListArguments) -> anyhow::Result<ExitCode> {
    let store = model_store();
    let (models, unfinished) = (with_details(&store), store.unfinished());
    if arguments.json {
        let models: Vec<_> = models
            .iter()
            .map(|(model, details)| match details {
                Some(details) if model.missing.is_empty() => json!(details),
                _ => json!(model),
            })
            .collect();
        return print_json(&json!({ "folder": store.folder(), "models": models, "unfinished": unfinished }));
    }
    if models.is_empty() && unfinished.is_empty() {
        eprintln!(
            "no models in {} yet; `codriver model pull owner/name` gets one from the hub",
            store.folder().display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    print(list_table(&models, &unfinished).text())
}

fn info(arguments: &InfoArguments) -> anyhow::Result<ExitCode> {
    let details = model_store().details(&find(&arguments.model)?)?;
    if arguments.json {
        let mut described = json!(details);
        described["memory_bytes"] = json!(memory_needed(&details).map(|memory| memory.total()));
        return print_json(&described);
    }
    print(info_table(&details).text())
}

fn remove(arguments: &RemoveArguments) -> anyhow::Result<ExitCode> {
    let store = model_store();
    let removable = |name: &String| store.removable(name).map_err(|error| anyhow!(explain(&error, &store)));
    let removable = arguments.models.iter().map(removable).collect::<anyhow::Result<Vec<_>>>()?;
    if !arguments.yes {
        let names: Vec<String> =
            removable.iter().map(|model| format!("{} ({})", model.name, size_text(model.bytes))).collect();
        if !std::io::stdin().is_terminal() {
            bail!("nobody can be asked whether {} may go; --yes deletes without asking", names.join(", "));
        }
        eprint!("Delete {}? [y/N] ", names.join(", "));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            eprintln!("nothing is deleted");
            return Ok(ExitCode::FAILURE);
        }
    }
    for model in removable {
        let removed = store.remove(&model.name).map_err(|error| anyhow!(explain(&error, &store)))?;
        eprintln!("{} is deleted, {} are free", removed.name, size_text(removed.bytes));
    }
    Ok(ExitCode::SUCCESS)
}

fn find(name: &str) -> anyhow::Result<StoredModel> {
    find_model(name, &workspace()).map_err(|reason| anyhow!(reason))
}

fn workspace() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}

fn print_json(value: &serde_json::Value) -> anyhow::Result<ExitCode> {
    print(&format!("{value:#}\n"))
}

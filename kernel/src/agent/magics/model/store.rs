//! `%model list | unload | pull | info | rm | bench`; `convert`, `quantize`, `tokenize` and `template` are in [`super::files`].

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use codriver_inference::ModelError;
use codriver_inference::bench::{self, BenchOptions, Unfinished};
use codriver_inference::store::{HubName, StoreError, size_text};

use super::{chosen_device, model_error};
use crate::agent::magics::{said, shown};
use crate::agent::store::{
    PullDisplay, bench_table, explain, find_generator, find_model, info_table, list_table, model_hub, model_store,
    pulled_text, with_details,
};
use crate::agent::{LoadedModel, STARTER};
use crate::languages::{CellContext, CellError, CellOutcome, CellResult};
use crate::render::cards;
use crate::session::{MimeBundle, Session};

pub(super) fn commands(device: Arg) -> Vec<Command> {
    let name = |help: &'static str| Arg::new("model").value_name("MODEL").required(true).help(help);
    vec![
        Command::new("list").about("The models on this machine, and those that were used"),
        Command::new("unload")
            .about("Lets go of models in memory; whoever asks one has it loaded again")
            .arg(Arg::new("model").value_name("MODEL").help("A name of %model list [default: all that are loaded]")),
        Command::new("pull")
            .about("Gets a model from the hub; an interrupt keeps what has come")
            .after_help(
                "%model pull Qwen/Qwen3-0.6B                   safetensors\n\
                 %model pull Qwen/Qwen3-0.6B-GGUF:Q8_0         one GGUF file, by its quantization\n\
                 %model pull owner/name@revision               a branch, a tag or a commit\n\n\
                 HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured.",
            )
            .arg(name("owner/name[@revision], with :Q4_K_M or /file.gguf behind it"))
            .arg(
                Arg::new("offline")
                    .long("offline")
                    .action(ArgAction::SetTrue)
                    .help("Asks nobody: says whether the model is there"),
            ),
        Command::new("info")
            .about("What a model is: size, types, window, licence")
            .arg(name("A name, a folder or a GGUF file")),
        Command::new("rm")
            .about("Deletes a model from the store, after asking")
            .arg(name("A name of %model list"))
            .arg(Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Without asking")),
        Command::new("bench")
            .about("How fast a model reads and writes here")
            .arg(
                Arg::new("model")
                    .value_name("MODEL")
                    .help("A name, a folder or a GGUF file [default: the current one]"),
            )
            .arg(device)
            .arg(
                Arg::new("repeats")
                    .long("repeats")
                    .short('r')
                    .value_name("N")
                    .value_parser(value_parser!(u64).range(1..=100))
                    .default_value("3")
                    .help("Runs of each test; the median counts"),
            ),
    ]
}

pub(super) fn run(command: &str, matches: &ArgMatches, session: &mut Session, context: &CellContext) -> CellResult {
    let name = || matches.get_one::<String>("model").map(String::as_str);
    match command {
        "list" => list(session),
        "unload" => unload(name(), session),
        "pull" => pull(name().unwrap_or_default(), matches.get_flag("offline"), session, context),
        "info" => info(name().unwrap_or_default(), session),
        "rm" => remove(name().unwrap_or_default(), matches.get_flag("yes"), session, context),
        _ => bench(name(), matches, session, context),
    }
}

/// What agents can think with, then everything in the store and the cache.
fn list(session: &Session) -> CellResult {
    let store = model_store();
    let entries = session.agents.models.list();
    let models = with_details(&store);
    let known = |name: &str| models.iter().any(|(model, _)| model.name == name);
    let rows: Vec<Vec<String>> = entries
        .into_iter()
        .filter(|entry| entry.current || !entry.loaded.is_empty() || !known(&entry.name))
        .flat_map(|entry| {
            let mut states: Vec<String> = entry.loaded.iter().map(loaded_text).collect();
            if states.is_empty() {
                states.push(String::new());
            }
            let mark = if entry.current { "●" } else { "" };
            states.into_iter().map(move |state| vec![mark.to_owned(), entry.name.clone(), entry.what.clone(), state])
        })
        .collect();
    let used = cards::table(&["", "agents", "where", ""], &rows);
    let unfinished = store.unfinished();
    if models.is_empty() && unfinished.is_empty() {
        return shown(used);
    }
    shown(below(&used, &list_table(&models, &unfinished)))
}

/// `loaded as q4_0, keys and values as f16, on cpu: 623 MB`
fn loaded_text(model: &LoadedModel) -> String {
    let (Some(device), Some(bytes)) = (model.device, model.bytes) else { return "in use".to_owned() };
    let [weights, cache] = model.rounding.texts();
    let adapters: String = model.adapters.iter().map(|folder| format!(" with {}", folder.display())).collect();
    let leaving = if model.leaving { ", goes once it has answered" } else { "" };
    format!("loaded{weights}{adapters}{cache} on {device}: {}{leaving}", size_text(bytes))
}

fn unload(name: Option<&str>, session: &Session) -> CellResult {
    let gone = session.agents.models.unload(name).map_err(|error| model_error(&error))?;
    let lines = gone.iter().map(|model| format!("{}, {}", model.name, loaded_text(model)));
    let lines: Vec<String> = lines.collect();
    said(match lines.as_slice() {
        [] => "no model is loaded".to_owned(),
        lines => format!("let go of:\n{}\nWhat is asked again is loaded again.", lines.join("\n")),
    })
}

fn pull(name: &str, offline: bool, session: &Session, context: &CellContext) -> CellResult {
    let store = model_store();
    let hub_name: HubName = name.parse().map_err(|error: StoreError| model_error(&error))?;
    let hub = model_hub(&session.workspace, offline).map_err(|error| model_error(&error))?;
    let mut display = PullDisplay::new(hub_name.to_string());
    let mut live = None;
    let (cancellation, _guard) = context.interrupt.cancellation();
    let started = std::time::Instant::now();
    let pulled = store.pull(&hub, &hub_name, &cancellation, &mut |progress| {
        let Some(bundle) = display.update(progress) else { return };
        match &live {
            None => live = Some(context.output.live_display(bundle)),
            Some(live) => live.update(bundle),
        }
    });
    let pulled = match pulled {
        Ok(pulled) => pulled,
        Err(StoreError::Cancelled) => return Err(CellError::interrupted(&StoreError::Cancelled.to_string())),
        Err(error) => return Err(model_error(&explain(&error, &store))),
    };
    let end = format!("{}; %model {} uses it", pulled_text(&pulled, started.elapsed()), pulled.model.name);
    match live {
        Some(live) => {
            live.update(MimeBundle::plain(end));
            Ok(CellOutcome::default())
        }
        None => said(end),
    }
}

fn info(name: &str, session: &Session) -> CellResult {
    if name == STARTER {
        return said("starter: the model inside Codriver, 14 MB; it turns requests into tool calls");
    }
    let model = find_model(name, &session.workspace).map_err(|reason| model_error(&reason))?;
    let details = model_store().details(&model).map_err(|error| model_error(&error))?;
    shown(info_table(&details))
}

fn remove(name: &str, without_asking: bool, session: &Session, context: &CellContext) -> CellResult {
    let store = model_store();
    let removable = store.removable(name).map_err(|error| model_error(&explain(&error, &store)))?;
    if !without_asking {
        if !context.output.can_ask() {
            return Err(model_error(&format!(
                "nobody can be asked here; %model rm --yes {} deletes it",
                removable.name
            )));
        }
        let question = format!("Delete {} ({})? [y/N] ", removable.name, size_text(removable.bytes));
        let answer = context.output.ask(&question, false).unwrap_or_default();
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            return said(format!("{} stays", removable.name));
        }
    }
    let path = find_model(&removable.name, &session.workspace).map(|model| model.path);
    let models = &session.agents.models;
    let names = path.map(|path| models.named(&path)).unwrap_or_default();
    let removed = store.remove(&removable.name).map_err(|error| model_error(&explain(&error, &store)))?;
    let was_current = models.forget(&names);
    let advice = if was_current { "; agents thought with it, and think with the starter now" } else { "" };
    said(format!("{} is deleted, {} are free{advice}", removed.name, size_text(removed.bytes)))
}

fn bench(name: Option<&str>, matches: &ArgMatches, session: &Session, context: &CellContext) -> CellResult {
    let models = &session.agents.models;
    let name = name.map_or_else(|| models.current(), str::to_owned);
    if name == STARTER || name.contains("://") {
        return Err(model_error(&format!(
            "{name} cannot be measured: only local models can, by name, folder or GGUF file"
        )));
    }
    let model = find_generator(&name, &session.workspace).map_err(|reason| model_error(&reason))?;
    let device = chosen_device(matches)?.map_or_else(|| models.device(), Ok).map_err(|error| model_error(&error))?;
    let repeats = matches.get_one::<u64>("repeats").map_or(3, |repeats| *repeats as usize);
    let options = BenchOptions { repeats, ..BenchOptions::new(device) };
    let live = context.output.live_display(MimeBundle::plain(format!("loading {}", model.name)));
    let (cancellation, _guard) = context.interrupt.cancellation();
    let measured = bench::measure(&model.name, &model.path, &options, &cancellation, &mut |test| {
        live.update(MimeBundle::plain(format!("{}: {test}", model.name)));
    });
    let report = measured.map_err(|Unfinished { reason, report }| {
        let finished = report.map(|report| bench_table(&report));
        live.update(finished.unwrap_or_else(|| MimeBundle::plain(format!("{} was not measured", model.name))));
        match reason {
            ModelError::Cancelled => CellError::interrupted("the measurement was stopped"),
            reason => model_error(&reason),
        }
    })?;
    live.update(bench_table(&report));
    Ok(CellOutcome::default())
}

/// Two tables, one under the other.
fn below(one: &MimeBundle, other: &MimeBundle) -> MimeBundle {
    let html = |bundle: &MimeBundle| {
        bundle.data.get("text/html").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    MimeBundle::html(html(one) + &html(other), format!("{}\n{}", one.text(), other.text()))
}

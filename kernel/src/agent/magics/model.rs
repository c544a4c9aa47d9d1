//! `%model`: which model thinks, and where.

use clap::{Arg, Command};
use codriver_inference::device::{self, DeviceChoice};

use super::{said, shown};
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellResult, Completion};
use crate::render::cards;
use crate::session::Session;

pub(super) struct Model;

impl Magic for Model {
    fn name(&self) -> &'static str {
        "model"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        Command::new("model")
            .about("Shows or chooses the model that agents think with")
            .after_help(
                "%model                        the current model\n\
                 %model list                   all that are known\n\
                 %model starter                the one that ships with Codriver\n\
                 %model ~/models/Qwen3-0.6B    a folder with config.json, safetensors and tokenizer.json\n\
                 %model http://host:port/v1#name   any OpenAI-compatible server; the key comes from\n\
                 \u{20}                             CODRIVER_API_KEY or OPENAI_API_KEY (environment or .env)",
            )
            .arg(Arg::new("name").value_name("MODEL").help("`list`, or the model to use from now on"))
            .arg(
                Arg::new("device")
                    .long("device")
                    .short('d')
                    .value_name("DEVICE")
                    .help("cpu, wgpu or cuda, for local models"),
            )
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, _context: &CellContext) -> CellResult {
        let models = &session.agents.models;
        let device = invocation
            .matches
            .get_one::<String>("device")
            .map(|name| name.parse::<DeviceChoice>().map_err(|error| CellError::new("ModelError", error.to_string())))
            .transpose()?;
        if let Some(device) = device {
            device::resolve(device).map_err(|error| CellError::new("ModelError", error.to_string()))?;
        }
        match invocation.matches.get_one::<String>("name").map(String::as_str) {
            Some("list") => return list(session),
            Some(name) => {
                models.choose(name, device).map_err(|error| CellError::new("ModelError", error.to_string()))?
            }
            None => {
                if let Some(device) = device {
                    models.choose_device(device);
                }
            }
        }
        said(format!("{} on {}", models.current(), place(session)))
    }

    fn complete(&self, _argument_prefix: &str, session: &Session) -> Vec<Completion> {
        let mut matches = completions(session);
        matches.push(Completion { text: "list".to_owned(), kind: "keyword".to_owned() });
        matches
    }
}

pub(super) fn completions(session: &Session) -> Vec<Completion> {
    let models = session.agents.models.list();
    super::completions(models.iter().map(|model| model.name.as_str()), "model")
}

fn list(session: &Session) -> CellResult {
    let rows: Vec<Vec<String>> = session
        .agents
        .models
        .list()
        .into_iter()
        .map(|model| {
            let state = if model.loaded { "loaded" } else { "" };
            vec![if model.current { "●" } else { "" }.to_owned(), model.name, model.what, state.to_owned()]
        })
        .collect();
    shown(cards::table(&["", "model", "where", ""], &rows))
}

fn place(session: &Session) -> String {
    let models = &session.agents.models;
    if models.current().contains("://") { "its server".to_owned() } else { models.device().to_string() }
}

//! `%usage`: what was asked, what it cost, how long it took, how often memory helped.

use chrono::{Duration, Utc};
use clap::{Arg, Command, value_parser};
use codriver_memory::{Price, Usage, UsageBy};
use serde::Deserialize;

use super::{completions, shown};
use crate::agent::{configuration_folder, memory_error};
use crate::cells::{Invocation, Magic, MagicKind};
use crate::languages::{CellContext, CellError, CellResult, Completion};
use crate::render::usage;
use crate::session::Session;

const GROUPS: [(&str, UsageBy); 4] =
    [("day", UsageBy::Day), ("model", UsageBy::Model), ("notebook", UsageBy::Notebook), ("agent", UsageBy::Agent)];

pub(super) struct UsageMagic;

impl Magic for UsageMagic {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn kind(&self) -> MagicKind {
        MagicKind::Line
    }

    fn command(&self) -> Command {
        let groups = GROUPS.map(|(name, _)| name);
        Command::new("usage")
            .about("Shows tokens, cost, latency and how often memory helped, over all turns")
            .after_help(
                "%usage                 by day, the last 30 days\n\
                 %usage model           by model; also: notebook, agent\n\n\
                 Cost is known for models with a price in prices.json of the configuration folder:\n\
                 [{\"model\": \"large\", \"prompt\": 2.5, \"completion\": 10}], per million tokens; `model` is\n\
                 a part of the model's name, the first that matches counts.",
            )
            .arg(Arg::new("by").value_parser(groups).default_value("day").help("What the figures are grouped by"))
            .arg(
                Arg::new("days")
                    .long("days")
                    .short('d')
                    .value_name("N")
                    .value_parser(value_parser!(u16))
                    .default_value("30")
                    .help("How far back; 0 is everything"),
            )
    }

    fn run(&self, invocation: &Invocation, session: &mut Session, _context: &CellContext) -> CellResult {
        let wanted = invocation.matches.get_one::<String>("by").map_or("day", String::as_str);
        let by = GROUPS.iter().find(|(name, _)| *name == wanted).map_or(UsageBy::Day, |(_, by)| *by);
        let days = invocation.matches.get_one::<u16>("days").copied().unwrap_or(30);
        let since = (days > 0).then(|| Utc::now() - Duration::days(i64::from(days)));
        let prices = prices()?;
        let price = |model: &str| {
            let found = prices.iter().find(|entry| model.contains(&entry.model));
            found.map(|entry| Price { prompt: entry.prompt, completion: entry.completion })
        };
        let figures: Vec<Usage> = session.memory.usage(by, since, &price).map_err(|error| memory_error(&error))?;
        shown(usage::figures(wanted, &figures, days))
    }

    fn complete(&self, _argument_prefix: &str, _session: &Session) -> Vec<Completion> {
        completions(GROUPS.iter().map(|(name, _)| *name), "keyword")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    model: String,
    prompt: f64,
    completion: f64,
}

/// A person's own list: prices change, and nobody is asked for them.
fn prices() -> Result<Vec<PriceEntry>, CellError> {
    let Some(path) = configuration_folder().map(|folder| folder.join("prices.json")) else { return Ok(Vec::new()) };
    let text = match fs_err::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CellError::usage(error.to_string())),
    };
    serde_json::from_str(&text).map_err(|error| {
        let form = "[{\"model\": \"large\", \"prompt\": 2.5, \"completion\": 10}]";
        CellError::usage(format!("{} can't be read: {error}; it looks like {form}", path.display()))
    })
}

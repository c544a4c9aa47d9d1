//! `codriver ask`: the agent from a terminal, from a script, or over a file of requests.

mod batch;
mod terminal;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use codriver_inference::{CacheFormat, DeviceChoice, WeightFormat, device};
use serde_json::{Value, json};

use crate::agent::facts::Learning;
use crate::agent::{ModelManager, Rounding, TurnOptions, TurnReport, limits, run_turn};
use crate::languages::sql::SqlOptions;
use crate::languages::{CellContext, CellError};
use crate::session::{Interrupt, Output, OutputSink, Session, SessionOptions};
use terminal::{Silent, Terminal};

#[derive(Debug, Args)]
pub struct AskArguments {
    /// What to ask; `-` or nothing reads it from standard input
    #[arg(value_name = "REQUEST")]
    request: Vec<String>,
    /// SQL to run first: the session's tables
    #[arg(long, value_name = "FILE.sql")]
    setup: Option<PathBuf>,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
    /// Stop at the first tool call and print it as JSON, without running it
    #[arg(long)]
    dry_run: bool,
    /// Answer every {"id", "request"} line of a file (`-`: standard input), a JSON line each
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "request")]
    batch: Option<PathBuf>,
    /// The model: starter, one of `codriver model list`, a folder, a GGUF file, or http://host:port/v1#name
    #[arg(short, long, value_name = "MODEL")]
    model: Option<String>,
    /// Where a local model runs: cpu, wgpu or cuda
    #[arg(short, long, value_name = "DEVICE")]
    device: Option<DeviceChoice>,
    /// Round a local model's weights as they are loaded: q4_0, q4_k, q6_k, q8_0, f16 or bf16
    #[arg(long, value_name = "FORMAT")]
    quant: Option<WeightFormat>,
    /// How a local model holds the keys and values of what it reads: f32, f16 or q8_0
    #[arg(long, value_name = "FORMAT")]
    kv: Option<CacheFormat>,
    /// The agent that answers
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,
    /// Offer only these tools; `none` offers none
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    tools: Option<Vec<String>>,
    /// Model calls before giving up
    #[arg(long, value_name = "N", value_parser = limits::limit)]
    max_turns: Option<usize>,
    /// Tokens of one answer
    #[arg(long, value_name = "N", value_parser = limits::limit)]
    max_tokens: Option<usize>,
    /// 0 gives the same answer each time
    #[arg(long, value_name = "T", value_parser = limits::temperature, allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Makes sampling repeatable
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Tell the model nothing remembered
    #[arg(long)]
    no_memory: bool,
}

/// Asks, and says by the exit code whether there was an answer.
pub fn ask(arguments: &AskArguments) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::new();
    super::signals::interrupt_on_ctrl_c(interrupt.clone())?;
    let mut asker = Asker::start(arguments, interrupt)?;
    if let Some(file) = &arguments.batch {
        return batch::answer(&mut asker, file);
    }
    let (request, from_stdin) = request(arguments)?;
    if arguments.dry_run || arguments.json {
        let line = asker.answer_as_json(&Value::Null, &request);
        println!("{line}");
        return Ok(exit_code(line.get("error").is_none(), &asker));
    }
    let sink = Arc::new(Terminal::new(!from_stdin && std::io::stdin().is_terminal()));
    match asker.turn(&request, sink.clone()) {
        Ok(_) => {
            sink.end();
            asker.session.agents.learner.settle(&asker.interrupt);
            Ok(exit_code(true, &asker))
        }
        Err(error) => {
            sink.end();
            eprintln!("codriver: {error}");
            Ok(exit_code(false, &asker))
        }
    }
}

/// A session that is asked one thing after another, each as if it were the first.
struct Asker {
    session: Session,
    options: TurnOptions,
    interrupt: Interrupt,
}

impl Asker {
    fn start(arguments: &AskArguments, interrupt: Interrupt) -> anyhow::Result<Self> {
        let options = SessionOptions::of_this_process().context("the current folder cannot be read")?;
        let mut session = Session::without_rust(&options)?;
        if let Some(problem) = session.agents.problem.take() {
            eprintln!("codriver: your agents are left out: {problem}");
        }
        let model = choose_model(arguments, &session.agents.models)?;
        // The process ends with the answer: nobody waits for a model to read the turn, unless that is asked for.
        if Learning::from_environment().is_none() {
            session.agents.learner.set(Learning::Rules);
        }
        let mut asker = Self {
            session,
            options: TurnOptions {
                agent: arguments.agent.clone(),
                model,
                tools: arguments.tools.clone(),
                max_turns: arguments.max_turns,
                max_tokens: arguments.max_tokens,
                temperature: arguments.temperature,
                seed: arguments.seed,
                no_memory: arguments.no_memory,
                fresh: true,
                dry_run: arguments.dry_run,
            },
            interrupt,
        };
        if let Some(setup) = &arguments.setup {
            asker.set_up(setup)?;
        }
        Ok(asker)
    }

    fn set_up(&mut self, file: &PathBuf) -> anyhow::Result<()> {
        let sql = fs_err::read_to_string(file)?;
        let context = self.context(Arc::new(Silent));
        self.session
            .sql
            .execute(&sql, &SqlOptions::default(), &context)
            .map(drop)
            .map_err(|error| anyhow::anyhow!("{}: {}", file.display(), error.value))
    }

    fn turn(&mut self, request: &str, sink: Arc<dyn OutputSink>) -> Result<TurnReport, CellError> {
        let context = self.context(sink);
        run_turn(&mut self.session, &self.options, request, &context)
    }

    /// What `--json`, `--dry-run` and `--batch` print.
    fn answer_as_json(&mut self, id: &Value, request: &str) -> Value {
        match self.turn(request, Arc::new(Silent)) {
            Err(error) => json!({ "id": id, "error": error.to_string() }),
            Ok(TurnReport { first_call: Some(call), .. }) => {
                json!({ "id": id, "tool": call.name, "arguments": call.arguments })
            }
            Ok(report) if self.options.dry_run => {
                json!({ "id": id, "tool": null, "arguments": null, "answer": report.answer })
            }
            Ok(report) => full(id, &report),
        }
    }

    fn context(&self, sink: Arc<dyn OutputSink>) -> CellContext {
        CellContext { output: Output::new(sink), interrupt: self.interrupt.clone(), execution_count: 1 }
    }
}

/// The model that is named, chosen as `%model` does where `--device`, `--quant` or `--kv` says how it is loaded.
fn choose_model(arguments: &AskArguments, models: &ModelManager) -> anyhow::Result<Option<String>> {
    if let Some(choice) = arguments.device {
        device::resolve(choice)?;
        models.choose_device(choice);
    }
    let rounding = Rounding { weights: arguments.quant, cache: arguments.kv };
    if rounding == Rounding::default() {
        return Ok(arguments.model.clone());
    }
    let name = arguments.model.clone().unwrap_or_else(|| models.current());
    models.choose(&name, &[], rounding, None)?;
    Ok(Some(name))
}

fn full(id: &Value, report: &TurnReport) -> Value {
    let runs: Vec<Value> = report
        .tool_runs
        .iter()
        .map(|run| json!({ "tool": run.tool, "arguments": run.arguments, "status": run.status, "result": run.result }))
        .collect();
    json!({
        "id": id,
        "answer": report.answer,
        "tool_calls": runs,
        "agent": report.agent,
        "model": report.model,
        "prompt_tokens": report.usage.prompt_tokens,
        "completion_tokens": report.usage.completion_tokens,
        "milliseconds": report.milliseconds,
    })
}

/// The request, and whether it took up standard input.
fn request(arguments: &AskArguments) -> anyhow::Result<(String, bool)> {
    let words = arguments.request.join(" ");
    if !words.is_empty() && words != "-" {
        return Ok((words, false));
    }
    if words.is_empty() && std::io::stdin().is_terminal() {
        bail!("what to ask is missing: codriver ask \"how many rows has sales?\"");
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("the request on standard input cannot be read")?;
    Ok((text, true))
}

fn exit_code(succeeded: bool, asker: &Asker) -> ExitCode {
    match (succeeded, asker.interrupt.is_set()) {
        (_, true) => ExitCode::from(130),
        (true, false) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}

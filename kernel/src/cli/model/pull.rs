//! `codriver model pull`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use codriver_inference::store::{HubName, Phase, PullProgress, StoreError};
use indicatif::{ProgressBar, ProgressStyle};

use crate::agent::store::{explain, model_hub, model_store, pulled_text};
use crate::cli::signals::interrupt_on_ctrl_c;
use crate::session::Interrupt;

pub const EXAMPLES: &str = "Examples:
  codriver model pull Qwen/Qwen3-0.6B                        safetensors
  codriver model pull Qwen/Qwen3-0.6B-GGUF:Q8_0              a GGUF file, by its quantization
  codriver model pull owner/name/file.gguf                   a GGUF file, by its name
  codriver model pull owner/name@revision                    a branch, a tag or a commit

Environment:
  HF_ENDPOINT        another hub than https://huggingface.co
  HF_TOKEN           for gated and private models (also in .env, or as `hf auth login` left it)
  HF_HUB_OFFLINE     1: ask nobody, as --offline
  CODRIVER_DATA_DIR  models lie in its `models` folder";

#[derive(Debug, Args)]
pub struct PullArguments {
    /// owner/name[@revision], with :Q4_K_M or /file.gguf behind it for one GGUF file
    #[arg(value_name = "MODEL")]
    model: String,
    /// Ask nobody: say whether the model is there, and what is missing
    #[arg(long)]
    offline: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Pulls, and prints the model's path.
pub fn pull(arguments: &PullArguments) -> anyhow::Result<ExitCode> {
    let name: HubName = arguments.model.parse()?;
    let store = model_store();
    let hub = model_hub(&super::workspace(), arguments.offline)?;
    let interrupt = Interrupt::new();
    interrupt_on_ctrl_c(interrupt.clone())?;
    let (cancellation, _guard) = interrupt.cancellation();
    let started = Instant::now();
    let mut bar = Bar::new(arguments.quiet);
    let pulled = store.pull(&hub, &name, &cancellation, &mut |progress| bar.show(progress));
    bar.end();
    match pulled {
        Ok(pulled) => {
            if !arguments.quiet {
                eprintln!("{}", pulled_text(&pulled, started.elapsed()));
            }
            super::print(&format!("{}\n", pulled.model.path.display()))
        }
        Err(StoreError::Cancelled) => {
            eprintln!("codriver: {}", StoreError::Cancelled);
            Ok(ExitCode::from(130))
        }
        Err(error) => Err(anyhow!(explain(&error, &store))),
    }
}

/// Progress on standard error.
struct Bar {
    bar: ProgressBar,
    total: u64,
}

impl Bar {
    fn new(hidden: bool) -> Self {
        let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, total: 0 }
    }

    fn show(&mut self, progress: &PullProgress) {
        if progress.total != self.total {
            self.total = progress.total;
            self.bar.set_length(progress.total);
            let style = ProgressStyle::with_template(
                "{bar:32} {percent:>3} %  {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left  {wide_msg}",
            );
            if let Ok(style) = style {
                self.bar.set_style(style);
            }
        }
        self.bar.set_position(progress.done);
        let message = match &progress.phase {
            Phase::Asking => "asking the hub".to_owned(),
            Phase::Waiting => "another process pulls this model; waiting for it".to_owned(),
            Phase::Checking => {
                // What was there already did not come now: it says nothing about the speed.
                self.bar.reset_eta();
                format!("checking {}", progress.file)
            }
            Phase::Loading => progress.file.clone(),
            Phase::Retrying(reason) => format!("trying again: {reason}"),
        };
        self.bar.set_message(message);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

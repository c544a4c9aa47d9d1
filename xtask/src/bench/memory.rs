//! `cargo xtask bench memory`.

mod hybrid;
mod peers;
mod vectors;

use anyhow::Result;

use crate::paths;
use crate::process::say;

#[derive(clap::Args)]
pub struct Options {
    /// A hundred thousand vectors in place of a million
    #[arg(long)]
    quick: bool,
    /// Turns of each engine
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Leave out the vectors
    #[arg(long)]
    no_vectors: bool,
    /// Leave out chunks, turns and messages
    #[arg(long)]
    no_memory: bool,
}

/// Measures and prints figures, ratios and the goals.
pub fn run(options: &Options) -> Result<()> {
    if !options.no_vectors {
        let count = if options.quick { 100_000 } else { 1_000_000 };
        let folder = paths::cache()?.join("bench-memory").join(count.to_string());
        say(&format!("{count} vectors of 384 dimensions, clustered (what is built is kept in {})", folder.display()));
        print!("{}", vectors::measure(&folder, count, options.rounds)?);
    }
    if !options.no_memory {
        say("chunks, turns and messages");
        print!("{}", hybrid::measure()?);
    }
    Ok(())
}

/// A line of the table, and whether a goal is met.
fn row(name: &str, figure: &str, beside: &str, verdict: &str) -> String {
    format!("{name:44} {figure:>14}  {beside:34} {verdict}\n")
}

fn at_most(figure: f64, goal: f64, unit: &str) -> String {
    format!("<= {goal} {unit} {}", if figure <= goal { "met" } else { "MISSED" })
}

fn at_least(figure: f64, goal: f64) -> String {
    format!(">= {goal} {}", if figure >= goal { "met" } else { "MISSED" })
}

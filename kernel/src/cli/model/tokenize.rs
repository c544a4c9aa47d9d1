//! `codriver model tokenize`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use codriver_inference::formats::tokenizer::open_tokenizer;

use super::inputs;

pub const OUTPUT: &str =
    "The ids are printed on one line with spaces between them; with --json as an array. Tokens that a
model wants at the beginning or the end of a text are added with --special only. The text is taken
as it is, a line break at its end included.";

#[derive(Debug, Args)]
pub struct TokenizeArguments {
    /// A folder, a tokenizer.json, a GGUF file (one with nothing but a vocabulary too), or a name
    /// of `codriver model list`
    #[arg(short, long, value_name = "MODEL")]
    model: String,
    /// The text
    #[arg(
        short,
        long,
        value_name = "TEXT",
        required_unless_present = "file",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    text: Option<String>,
    /// A file with the text; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Add the special tokens that the model wants around a text
    #[arg(long)]
    special: bool,
    /// Read special tokens that are spelled out in the text as tokens (a tokenizer.json always does)
    #[arg(long)]
    parse_special: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

pub fn tokenize(arguments: &TokenizeArguments) -> anyhow::Result<ExitCode> {
    let tokenizer = open_tokenizer(&path(&arguments.model)?)?;
    let text = match (&arguments.text, &arguments.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => inputs::text(file)?,
        (None, None) => String::new(),
    };
    let ids = if arguments.parse_special {
        tokenizer.encode_prompt(&text, arguments.special)?
    } else {
        tokenizer.encode(&text, arguments.special)?
    };
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    super::print(&if arguments.json { format!("[{}]\n", ids.join(",")) } else { format!("{}\n", ids.join(" ")) })
}

/// Anything on the disk may hold a tokenizer; what is not there is a model's name.
fn path(model: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(model);
    if path.exists() { Ok(path.to_owned()) } else { Ok(super::find(model)?.path) }
}

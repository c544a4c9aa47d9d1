//! `tokenize`: the tokens of a text.

use std::path::{Path, PathBuf};

use clap::Args;
use codriver_inference::formats::tokenizer::open_tokenizer;

use super::find_model;
use super::inputs::Inputs;

pub const OUTPUT: &str =
    "The ids are printed on one line with spaces between them; with --json as an array. Tokens that a
model wants at the beginning or the end of a text are added with --special only. The text is taken
as it is, a line break at its end included.";

#[derive(Debug, Args)]
pub struct TokenizeArguments {
    /// A folder, a tokenizer.json, a GGUF file (one with nothing but a vocabulary too), or a name
    /// of the model list
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

impl TokenizeArguments {
    /// What is to be printed: a line of ids.
    pub fn run(&self, inputs: &Inputs<'_>) -> Result<String, String> {
        let path = self.tokenizer(inputs)?;
        let tokenizer = open_tokenizer(&path).map_err(|error| error.to_string())?;
        let text = match (&self.text, &self.file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => inputs.text(file)?,
            (None, None) => String::new(),
        };
        let ids = match self.parse_special {
            true => tokenizer.encode_prompt(&text, self.special),
            false => tokenizer.encode(&text, self.special),
        };
        let ids: Vec<String> = ids.map_err(|error| error.to_string())?.iter().map(u32::to_string).collect();
        Ok(if self.json { format!("[{}]\n", ids.join(",")) } else { format!("{}\n", ids.join(" ")) })
    }

    /// Anything on the disk may hold a tokenizer; what is not there is a model's name.
    fn tokenizer(&self, inputs: &Inputs<'_>) -> Result<PathBuf, String> {
        let path = inputs.path(Path::new(&self.model));
        if path.exists() { Ok(path) } else { Ok(find_model(&self.model, inputs.workspace)?.path) }
    }
}

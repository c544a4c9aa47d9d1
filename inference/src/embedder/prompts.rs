//! The prompts that some embedding models want before texts, from `config_sentence_transformers.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::ModelError;
use crate::loader::read_json;

/// What goes before texts. Many models have none; some tell questions from the texts that answer them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prompt<'a> {
    /// What the model says goes before texts that are for nothing special: most often nothing.
    #[default]
    Default,
    /// For what is searched with.
    Query,
    /// For what is searched.
    Document,
    /// One of [`TextEmbedder::prompts`](crate::TextEmbedder::prompts), by name.
    Named(&'a str),
    /// A text of the caller's.
    Text(&'a str),
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Prompts {
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    #[serde(default)]
    default_prompt_name: Option<String>,
}

impl Prompts {
    pub(super) fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("config_sentence_transformers.json");
        if path.exists() { read_json(&path) } else { Ok(Self::default()) }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.prompts.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_deref()?)))
    }

    /// The text that goes before.
    pub(super) fn text<'a>(&'a self, prompt: Prompt<'a>) -> Result<&'a str, ModelError> {
        let named = |name: &str| self.prompts.get(name).and_then(Option::as_deref);
        let default = || self.default_prompt_name.as_deref().and_then(named).unwrap_or_default();
        match prompt {
            Prompt::Text(text) => Ok(text),
            Prompt::Default => Ok(default()),
            Prompt::Query => Ok(named("query").unwrap_or_else(default)),
            Prompt::Document => {
                let names = ["document", "passage", "corpus"];
                Ok(names.into_iter().find_map(named).unwrap_or_else(default))
            }
            Prompt::Named(name) => named(name).ok_or_else(|| {
                let names: Vec<&str> = self.all().map(|(name, _)| name).collect();
                let known =
                    if names.is_empty() { "it has none".to_string() } else { format!("it has {}", names.join(", ")) };
                ModelError::Unsupported(format!("the embedding model has no prompt `{name}`; {known}"))
            }),
        }
    }
}

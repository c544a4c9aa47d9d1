//! Keys: where they come from, and that they never come out.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Looked for in this order, in the environment and then in the workspace's `.env`.
const NAMES: [&str; 2] = ["CODRIVER_API_KEY", "OPENAI_API_KEY"];

/// The token for model hubs: never sent to a model's endpoint, and hidden like the keys.
const HUB_TOKEN: &str = "HF_TOKEN";

/// What stands in a key's place wherever it would have been shown.
const MASK: &str = "[key]";

/// Shorter values are not worth hiding: they would blank out ordinary words.
const SHORTEST: usize = 8;

/// The keys this process knows.
#[derive(Default)]
pub struct Secrets {
    /// The one that is sent.
    key: Option<SecretString>,
    /// All that must not be shown.
    keys: Vec<SecretString>,
}

impl Secrets {
    /// Reads the environment and `.env`, without putting anything into the environment:
    /// a shell cell must not inherit a key from there.
    pub fn read(workspace: &Path) -> Self {
        let file = env_file(workspace);
        let mut keys = secrets(&NAMES, &file);
        let key = keys.first().cloned();
        keys.extend(secrets(&[HUB_TOKEN], &file));
        Self { key, keys }
    }

    /// The token for model hubs, from the environment or `.env`.
    pub fn hub_token(workspace: &Path) -> Option<SecretString> {
        secrets(&[HUB_TOKEN], &env_file(workspace)).into_iter().next()
    }

    /// With the keys known before: they are still not to be shown.
    #[must_use]
    pub fn and_also(mut self, earlier: &Self) -> Self {
        let new = |key: &&SecretString| !self.keys.iter().any(|known| known.expose_secret() == key.expose_secret());
        let earlier: Vec<SecretString> = earlier.keys.iter().filter(new).cloned().collect();
        self.keys.extend(earlier);
        self
    }

    /// The key for remote models.
    pub fn key(&self) -> Option<&SecretString> {
        self.key.as_ref()
    }

    /// `text` with every key blanked out.
    pub fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for key in self.worth_hiding() {
            if clean.contains(key) {
                clean = clean.replace(key, MASK);
            }
        }
        clean
    }

    /// [`Secrets::redact`] for every text in a JSON value.
    pub fn redact_json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.redact_json(item)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (self.redact(&name), self.redact_json(value))).collect()
            }
            other => other,
        }
    }

    /// [`Secrets::redact`] for a text that goes on: the beginning of a key at its end is
    /// held back as well.
    pub fn redact_unfinished(&self, text: &str) -> String {
        let mut clean = self.redact(text);
        for key in self.worth_hiding() {
            let partial = key.char_indices().rev().map(|(end, _)| &key[..end]);
            let held = partial.take_while(|part| part.len() >= SHORTEST / 2).find(|part| clean.ends_with(part));
            if let Some(part) = held {
                clean.truncate(clean.len() - part.len());
            }
        }
        clean
    }

    fn worth_hiding(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(ExposeSecret::expose_secret).filter(|key| key.len() >= SHORTEST)
    }
}

fn env_file(workspace: &Path) -> Vec<(String, String)> {
    let lines = dotenvy::from_path_iter(workspace.join(".env"));
    lines.map(|lines| lines.filter_map(Result::ok).collect()).unwrap_or_default()
}

/// What stands under these names, the environment first.
fn secrets(names: &[&str], file: &[(String, String)]) -> Vec<SecretString> {
    let from_environment = names.iter().filter_map(|name| std::env::var(name).ok());
    let from_file =
        names.iter().filter_map(|name| file.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()));
    from_environment
        .chain(from_file)
        .map(|key| key.trim().to_owned())
        .filter(|key| !key.is_empty())
        .map(SecretString::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    fn a_key_in_env_file_is_found_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "# mine\nCODRIVER_API_KEY=\"sk-abcdef0123456789\"\nHF_TOKEN=hf_abcdef0123456789\n";
        fs_err::write(folder.path().join(".env"), lines).unwrap();
        let secrets = Secrets::read(folder.path());
        assert!(secrets.key().is_some());
        assert_eq!(secrets.redact("the key is sk-abcdef0123456789."), "the key is [key].");
        assert_eq!(secrets.redact_unfinished("the key is sk-abcdef01"), "the key is ");
        assert_eq!(secrets.redact_unfinished("ask"), "ask");
        assert_eq!(secrets.redact("hf_abcdef0123456789"), "[key]");
    }
}

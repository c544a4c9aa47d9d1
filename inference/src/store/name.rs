//! Names of models on a hub.

use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use super::StoreError;

/// The branch that is meant when none is named.
const MAIN: &str = "main";

/// `owner/name[@revision]`, with `:Q4_K_M` or `/file.gguf` behind it for one of its GGUF files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `owner/name`; a few old models have no owner.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    pub gguf: Option<GgufChoice>,
}

/// Which GGUF file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GgufChoice {
    /// By its quantization: `Q4_K_M`.
    Quantization(String),
    /// By its path in the repository.
    File(String),
}

impl HubName {
    /// Where the store keeps this repository and revision, relative to its folder. It is also
    /// what the model is called there.
    pub fn folder(&self) -> String {
        if self.revision == MAIN {
            self.repository.clone()
        } else {
            format!("{}@{}", self.repository, self.revision.replace('/', "--"))
        }
    }

    /// The repository as hf-hub knows it, for its addresses and folder names.
    pub(super) fn repo(&self) -> hf_hub::Repo {
        hf_hub::Repo::with_revision(self.repository.clone(), hf_hub::RepoType::Model, self.revision.clone())
    }
}

impl FromStr for HubName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let error = |reason: &str| StoreError::Name { name: text.to_owned(), reason: reason.to_owned() };
        let name = without_address(text.trim());
        let (name, file) = match name.to_ascii_lowercase().ends_with(".gguf") {
            true => {
                let mut parts = name.splitn(3, '/');
                match (parts.next(), parts.next(), parts.next()) {
                    (Some(owner), Some(repository), Some(file)) => (format!("{owner}/{repository}"), Some(file)),
                    _ => return Err(error("there is no such file, and on a hub the file stands behind owner/name/")),
                }
            }
            false => (name.to_owned(), None),
        };
        let (name, quantization) = match name.split_once(':') {
            Some((_, "")) => return Err(error("nothing stands behind the colon")),
            Some((name, quantization)) => (name.to_owned(), Some(quantization.to_owned())),
            None => (name, None),
        };
        let (repository, revision) = match name.split_once('@') {
            Some((_, "")) => return Err(error("nothing stands behind the @")),
            Some((repository, revision)) => (repository, revision),
            None => (name.as_str(), MAIN),
        };
        check_repository(repository).map_err(error)?;
        if !is_inside(revision) || revision.chars().any(|character| character.is_control()) {
            return Err(error("that is no revision"));
        }
        let plain = |text: &String| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !quantization.as_ref().is_none_or(plain) {
            return Err(error("behind the colon stands a quantization such as Q4_K_M"));
        }
        let gguf = match (file, quantization) {
            (Some(file), _) if !is_inside(file) => return Err(error("the file's path leads out of the repository")),
            (Some(file), _) => Some(GgufChoice::File(file.to_owned())),
            (None, Some(quantization)) => Some(GgufChoice::Quantization(quantization)),
            (None, None) => None,
        };
        Ok(Self { repository: repository.to_owned(), revision: revision.to_owned(), gguf })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        if self.revision != MAIN {
            write!(formatter, "@{}", self.revision)?;
        }
        match &self.gguf {
            Some(GgufChoice::Quantization(quantization)) => write!(formatter, ":{quantization}"),
            Some(GgufChoice::File(file)) => write!(formatter, "/{file}"),
            None => Ok(()),
        }
    }
}

/// Whether a path of a repository stays where it belongs.
pub(super) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\0', '\\'])
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// What people paste: the address of the model's page.
fn without_address(name: &str) -> &str {
    let prefixes = ["https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/", "hf://"];
    let name = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    name.trim_end_matches('/')
}

/// The hub's own rules for names.
fn check_repository(repository: &str) -> Result<(), &'static str> {
    const LONGEST: usize = 200;
    let allowed = |part: &str| {
        part.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
            && !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && !part.contains("..")
    };
    if repository.len() > LONGEST {
        return Err("it is too long");
    }
    if repository.split('/').count() > 2 {
        return Err("it has too many parts");
    }
    if !repository.split('/').all(allowed) {
        return Err("letters, digits, `-`, `_` and `.` make a name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{GgufChoice, HubName};

    #[test]
    fn names_are_read_and_written() {
        let read = |text: &str| text.parse::<HubName>().unwrap();
        assert_eq!(read("Qwen/Qwen3-0.6B").folder(), "Qwen/Qwen3-0.6B");
        assert_eq!(read("a/b@refs/pr/1").folder(), "a/b@refs--pr--1");
        assert_eq!(read("https://huggingface.co/a/b/").repository, "a/b");
        assert_eq!(read("a/b@v1:Q4_K_M").gguf, Some(GgufChoice::Quantization("Q4_K_M".to_owned())));
        assert_eq!(read("a/b/x/c.Q8_0.gguf").gguf, Some(GgufChoice::File("x/c.Q8_0.gguf".to_owned())));
        for text in ["gpt2", "a/b@v1", "a/b:Q4_K_M", "a/b/x/c.gguf", "a/b@v1:IQ4_NL"] {
            assert_eq!(read(text).to_string(), text);
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_name() {
        let hostile = [
            "",
            "/",
            "a/",
            "../b",
            "a/../b",
            "a/b/../../c.gguf",
            "a/b//c.gguf",
            "a/b@",
            "a/b:",
            "a/b@../../x",
            "a/b\n",
            "a b/c",
            "/etc/passwd",
            "a/b/c",
            "-a/b",
            "a/b@x\0y",
            "c.gguf",
        ];
        for text in hostile {
            let name = text.parse::<HubName>();
            // A trailing slash or line break is a slip of the hand.
            assert!(name.is_err() || ["a/", "a/b\n"].contains(&text), "{text:?} became {name:?}");
        }
    }
}

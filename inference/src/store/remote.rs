//! What a hub says about a repository and its files.

use serde::Deserialize;
use serde_json::Value;

/// A repository at one commit.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub commit: String,
    pub licence: Option<String>,
    pub files: Vec<RemoteFile>,
}

/// A file of a repository, and what the hub says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub name: String,
    pub bytes: Option<u64>,
    pub checksum: Checksum,
}

/// How a file's contents can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Of large files (git LFS).
    Sha256(String),
    /// The id of a git blob: SHA-1 over a header with the size, and the contents.
    Git(String),
    Unknown,
}

impl Repository {
    /// Reads the answer to `GET /api/models/{repository}/revision/{revision}?blobs=true`.
    pub(super) fn read(answer: &[u8]) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let commit = answer.sha.filter(|sha| sha.len() >= 7 && sha.bytes().all(|byte| byte.is_ascii_hexdigit()));
        Ok(Self {
            commit: commit.ok_or("the commit is missing")?,
            licence: licence(&answer.card, &answer.tags),
            files: answer.siblings.into_iter().map(RemoteFile::from).collect(),
        })
    }
}

impl Checksum {
    /// The hub's ETags are SHA-256 for LFS files and blob ids for the others.
    pub(super) fn from_etag(etag: &str) -> Self {
        let text = etag.trim().trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text.len() {
            64 if hexadecimal => Self::Sha256(text),
            40 if hexadecimal => Self::Git(text),
            _ => Self::Unknown,
        }
    }

    /// From how it is written in a record.
    pub(super) fn from_text(text: &str) -> Self {
        Self::from_etag(text.rsplit(':').next().unwrap_or_default())
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sha256(sum) => write!(formatter, "sha256:{sum}"),
            Self::Git(sum) => write!(formatter, "git:{sum}"),
            Self::Unknown => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Value,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl From<Sibling> for RemoteFile {
    fn from(sibling: Sibling) -> Self {
        // The blob id of an LFS file is that of its pointer.
        let (size, sum) = match sibling.lfs {
            Some(lfs) => (lfs.size.or(sibling.size), lfs.sha256),
            None => (sibling.size, sibling.blob_id),
        };
        let checksum = sum.as_deref().map_or(Checksum::Unknown, Checksum::from_etag);
        Self { name: sibling.rfilename, bytes: size, checksum }
    }
}

/// The licence on the model's card, or among its tags.
fn licence(card: &Value, tags: &[String]) -> Option<String> {
    let named = |key: &str| card.get(key).and_then(Value::as_str).map(str::to_owned);
    let on_card = named("license").map(|licence| match licence.as_str() {
        "other" => named("license_name").unwrap_or(licence),
        _ => licence,
    });
    on_card.or_else(|| tags.iter().find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned))
}

//! What can go wrong with models on disk and on the hub, and what to do then.

use super::text::size_text;

/// Why a model could not be found, pulled or removed. No message carries a token.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("interrupted; what has come is kept, and the same pull goes on from there")]
    Cancelled,
    #[error(
        "{name:?} is not a model's name: {reason}; write owner/name, owner/name@revision, owner/name:Q4_K_M or owner/name/file.gguf"
    )]
    Name { name: String, reason: String },
    #[error("there is no model {name:?} on this machine")]
    Unknown { name: String },
    #[error("{name:?} could be {}; write one of them", candidates.join(" or "))]
    Ambiguous { name: String, candidates: Vec<String> },
    #[error("{name} is not complete, it lacks {}; `codriver model pull {name}` gets the rest", few(missing))]
    Incomplete { name: String, missing: Vec<String> },
    #[error("{repository} holds several GGUF files; choose one, as in {repository}:{example}\n{}", listing(files))]
    ChooseFile { repository: String, example: String, files: Vec<(String, u64)> },
    #[error("{repository} has no GGUF file {wanted:?}{}", if files.is_empty() { String::new() } else { format!("; it has\n{}", listing(files)) })]
    NoSuchFile { repository: String, wanted: String, files: Vec<(String, u64)> },
    #[error(
        "{repository} has nothing that Codriver loads (safetensors with config.json, or GGUF); it has {}",
        few(files)
    )]
    NothingToLoad { repository: String, files: Vec<String> },
    #[error("{repository} is gated: {}", if *signed_in {
        format!("the account of your token has no access yet; ask for it at {page}")
    } else {
        format!("accept its licence at {page}, then set HF_TOKEN to a token of your account")
    })]
    Gated { repository: String, page: String, signed_in: bool },
    #[error("{endpoint} knows no model {repository}, or it is private; check the name{}", if *signed_in {
        ", and that your token may read it"
    } else {
        ", or set HF_TOKEN to a token that may read it"
    })]
    NoSuchRepository { repository: String, endpoint: String, signed_in: bool },
    #[error("{repository} has no revision {revision:?}; a revision is a branch, a tag or a commit")]
    NoSuchRevision { repository: String, revision: String },
    #[error("{endpoint} did not accept your token; check HF_TOKEN, or make a new token in your account's settings")]
    BadToken { endpoint: String },
    #[error("{name} is not on this machine, and this is offline mode{}; unset HF_HUB_OFFLINE or leave --offline out to pull it", if missing.is_empty() {
        String::new()
    } else {
        format!(" (a pull that was begun still lacks {})", few(missing))
    })]
    Offline { name: String, missing: Vec<String> },
    #[error("not enough disk space in {folder}: {} are needed and {} are free; make room, or set CODRIVER_DATA_DIR to a folder on another disk", size_text(*needed), size_text(*free))]
    DiskFull { folder: String, needed: u64, free: u64 },
    #[error(
        "the model store {folder} cannot be written to ({reason}); make it writable, or set CODRIVER_DATA_DIR to another folder"
    )]
    Unwritable { folder: String, reason: String },
    #[error(
        "{name} is in the Hugging Face cache ({path}), which belongs to other programs too; remove it with `hf cache rm` or by deleting that folder"
    )]
    Foreign { name: String, path: String },
    #[error("{name} is not in the model store; delete {path} yourself if it is to go")]
    Outside { name: String, path: String },
    #[error(
        "{file} came with wrong contents (its checksum is {found}, the hub says {expected}); it was thrown away: pull again, and if it stays so, the server or a proxy alters files"
    )]
    Checksum { file: String, expected: String, found: String },
    #[error("{file} broke off ({reason}); {} of {} are kept, and the same pull goes on from there", size_text(*kept), size_text(*total))]
    BrokenOff { file: String, reason: String, kept: u64, total: u64 },
    #[error("cannot reach {endpoint}: {reason}; check the network and HF_ENDPOINT, or use --offline")]
    Unreachable { endpoint: String, reason: String },
    #[error("{endpoint} answered {status}: {message}")]
    Refused { endpoint: String, status: u16, message: String },
    #[error("{endpoint} does not answer like a model hub ({reason}); check HF_ENDPOINT")]
    Protocol { endpoint: String, reason: String },
    #[error("{variable}: {reason}")]
    Setting { variable: String, reason: String },
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    /// From `fs_err`, whose messages name the path.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl StoreError {
    pub(super) fn file(path: &std::path::Path, reason: impl ToString) -> Self {
        Self::File { path: path.display().to_string(), reason: reason.to_string() }
    }
}

/// The first names, and how many more.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 6;
    match names {
        [] => "no files".to_owned(),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}

fn listing(files: &[(String, u64)]) -> String {
    let widest = files.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: Vec<String> =
        files.iter().map(|(name, bytes)| format!("  {name:widest$}  {:>9}", size_text(*bytes))).collect();
    lines.join("\n")
}

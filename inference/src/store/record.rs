//! What was pulled, beside what was pulled.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::StoreError;

/// The record's name in a model's folder.
pub(super) const FILE: &str = ".codriver.json";

/// Where a pulled model's files came from and what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub repository: String,
    pub revision: String,
    /// The commit that the revision stood for.
    pub commit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    pub files: BTreeMap<String, PulledFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledFile {
    pub bytes: u64,
    /// `sha256:...`, or `git:...` for the id of a git blob; empty where the hub gave none.
    #[serde(default)]
    pub checksum: String,
}

impl Record {
    /// The record in a folder, if there is one that can be read: it is only a convenience.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs_err::read(folder.join(FILE)).ok()?).ok()
    }

    /// Whether a folder holds all of this, pulled and checked.
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        let Some(there) = Self::read(folder) else { return false };
        self.files.iter().all(|(name, file)| {
            let same_length = || fs_err::metadata(folder.join(name)).is_ok_and(|found| found.len() == file.bytes);
            there.files.get(name) == Some(file) && same_length()
        })
    }

    /// Writes the record; whoever reads meanwhile sees the old one or the new one.
    pub(super) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let path = folder.join(FILE);
        let temporary = folder.join(format!("{FILE}.part"));
        let text = serde_json::to_vec_pretty(self).map_err(|error| StoreError::file(&path, error))?;
        fs_err::write(&temporary, text)?;
        Ok(fs_err::rename(&temporary, &path)?)
    }
}

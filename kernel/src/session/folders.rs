//! Where a user's files live.

use std::path::PathBuf;

use directories::ProjectDirs;

/// History, memory and models of this user: `CODRIVER_DATA_DIR`, or the platform's data folder.
pub fn data_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("CODRIVER_DATA_DIR").filter(|value| !value.is_empty()) {
        return PathBuf::from(folder);
    }
    ProjectDirs::from("", "", "codriver")
        .map_or_else(|| std::env::temp_dir().join("codriver"), |folders| folders.data_dir().to_owned())
}

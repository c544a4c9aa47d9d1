//! Where a user's files live.

use std::path::{Path, PathBuf};

use directories::{BaseDirs, ProjectDirs};

/// History, memory and models of this user: `CODRIVER_DATA_DIR`, or the platform's data folder.
pub fn data_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("CODRIVER_DATA_DIR").filter(|value| !value.is_empty()) {
        return PathBuf::from(folder);
    }
    ProjectDirs::from("", "", "codriver")
        .map_or_else(|| std::env::temp_dir().join("codriver"), |folders| folders.data_dir().to_owned())
}

/// `~` and what is below it, as a shell means them.
pub fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), BaseDirs::new()) {
        (Ok(rest), Some(folders)) => folders.home_dir().join(rest),
        _ => path.to_owned(),
    }
}

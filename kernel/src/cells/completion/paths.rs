//! Paths below the workspace.

use std::path::Path;

use crate::languages::Completion;

/// Enough to choose from.
const MOST: usize = 200;

/// Files and folders whose path starts with `prefix`; folders end in `/`.
pub fn complete(workspace: &Path, prefix: &str) -> Vec<Completion> {
    let (folder, name) = prefix.rsplit_once('/').map_or(("", prefix), |(folder, name)| (folder, name));
    let shown_folder = &prefix[..prefix.len() - name.len()];
    let searched = if shown_folder == "/" { Path::new("/").to_owned() } else { workspace.join(folder) };
    let Ok(entries) = fs_err::read_dir(searched) else { return Vec::new() };
    let mut found: Vec<Completion> = entries
        .flatten()
        .filter_map(|entry| {
            let file_name = entry.file_name().into_string().ok()?;
            let hidden = file_name.starts_with('.') && !name.starts_with('.');
            if hidden || !file_name.starts_with(name) {
                return None;
            }
            let slash = if entry.path().is_dir() { "/" } else { "" };
            Some(Completion { text: format!("{shown_folder}{file_name}{slash}"), kind: "path".to_owned() })
        })
        .collect();
    found.sort_by(|left, right| left.text.cmp(&right.text));
    found.truncate(MOST);
    found
}

//! Walking the workspace without following links.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType};

use super::ignored::IgnoreRules;
use super::open::{Opened, child, classify};
use super::{FileError, Workspace};

/// Folders below this depth are not entered; nobody's project is that deep.
const DEEPEST: usize = 64;
const LARGEST_GITIGNORE: u64 = 1 << 20;

/// One thing a walk came upon.
pub(super) struct Found<'a> {
    /// Relative to the workspace.
    pub(super) path: &'a Path,
    pub(super) kind: FileType,
    folder: BorrowedFd<'a>,
}

impl Found<'_> {
    pub(super) fn size(&self) -> u64 {
        let name = self.path.file_name().unwrap_or_default();
        rustix::fs::statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .ok()
            .and_then(|status| u64::try_from(status.st_size).ok())
            .unwrap_or(0)
    }

    /// The file, if it is still one.
    pub(super) fn open(&self) -> Option<(File, u64)> {
        let descriptor = child(self.folder, self.path.file_name()?).ok()?;
        match classify(descriptor, self.path).ok()? {
            Opened::File { file, size } => Some((file, size)),
            Opened::Folder(_) => None,
        }
    }
}

impl Workspace {
    /// Visits everything beneath `folder` that is not ignored, folders before what they
    /// hold, in the order of names. The visitor may stop the walk.
    pub(super) fn walk(
        &self,
        folder: &OwnedFd,
        relative: &Path,
        interrupted: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(&Found<'_>) -> ControlFlow<()>,
    ) -> Result<(), FileError> {
        let mut rules = IgnoreRules::around(&self.path);
        // The .gitignore files between the workspace and the folder count as well.
        let mut on_the_way = PathBuf::new();
        if !relative.as_os_str().is_empty() {
            for component in std::iter::once(OsStr::new("")).chain(relative.iter()) {
                on_the_way.push(component);
                if on_the_way != relative
                    && let Ok(Opened::Folder(above)) = self.open_at(&on_the_way)
                {
                    rules = self.extended(&rules, above.as_fd(), &on_the_way);
                }
            }
        }
        let mut walker = Walker { workspace: self, interrupted, visit };
        walker.enter(folder.as_fd(), relative, &rules, 0).map(|_| ())
    }

    fn extended(&self, rules: &IgnoreRules, folder: BorrowedFd<'_>, relative: &Path) -> IgnoreRules {
        match gitignore(folder) {
            Some(text) => rules.with(&self.path.join(relative), &text),
            None => rules.clone(),
        }
    }
}

struct Walker<'a> {
    workspace: &'a Workspace,
    interrupted: &'a dyn Fn() -> bool,
    visit: &'a mut dyn FnMut(&Found<'_>) -> ControlFlow<()>,
}

impl Walker<'_> {
    fn enter(
        &mut self,
        folder: BorrowedFd<'_>,
        relative: &Path,
        rules: &IgnoreRules,
        depth: usize,
    ) -> Result<ControlFlow<()>, FileError> {
        if (self.interrupted)() {
            return Err(FileError::Interrupted);
        }
        let rules = self.workspace.extended(rules, folder, relative);
        for (name, kind) in entries(folder).map_err(|error| FileError::io(relative, error))? {
            let path = relative.join(&name);
            let is_folder = kind == FileType::Directory;
            if name.eq_ignore_ascii_case(".git") || rules.leave_out(&self.workspace.path.join(&path), is_folder) {
                continue;
            }
            if (self.visit)(&Found { path: &path, kind, folder }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            // A folder that vanished or may not be read is passed over.
            if is_folder
                && depth < DEEPEST
                && let Ok(inner) = child(folder, &name)
                && let Ok(Opened::Folder(inner)) = classify(inner, &path)
            {
                match self.enter(inner.as_fd(), &path, &rules, depth + 1) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => return Ok(ControlFlow::Break(())),
                    Err(FileError::Interrupted) => return Err(FileError::Interrupted),
                    Err(error) => tracing::debug!(%error, "skipping a folder"),
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn entries(folder: BorrowedFd<'_>) -> Result<Vec<(OsString, FileType)>, rustix::io::Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |status| FileType::from_raw_mode(status.st_mode)),
            kind => kind,
        };
        entries.push((name, kind));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

fn gitignore(folder: BorrowedFd<'_>) -> Option<String> {
    let descriptor = child(folder, OsStr::new(".gitignore")).ok()?;
    let Ok(Opened::File { file, .. }) = classify(descriptor, Path::new(".gitignore")) else {
        return None;
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_GITIGNORE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

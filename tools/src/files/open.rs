//! Opening what lies beneath the workspace, and nothing else.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{FileError, Workspace, looks_secret, shown};

/// `NONBLOCK` keeps a named pipe from hanging the open; it means nothing for files.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Something in the workspace, open for reading.
pub(super) enum Opened {
    File { file: File, size: u64 },
    Folder(OwnedFd),
}

impl Workspace {
    /// Opens a path that [`Workspace::relative`] made.
    pub(super) fn open_at(&self, relative: &Path) -> Result<Opened, FileError> {
        let target = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let descriptor = beneath(self.root.as_fd(), target).map_err(|error| self.explain(relative, error))?;
        self.refuse_secrets(relative, &descriptor)?;
        classify(descriptor, relative)
    }

    /// The name a link leads to counts as much as the link's own.
    fn refuse_secrets(&self, relative: &Path, descriptor: &OwnedFd) -> Result<(), FileError> {
        let secret = looks_secret(relative)
            || real_path(descriptor)
                .and_then(|real| real.strip_prefix(&self.path).map(Path::to_path_buf).ok())
                .is_some_and(|real| looks_secret(&real) || in_git_folder(&real));
        if secret { Err(FileError::Secret(shown(relative))) } else { Ok(()) }
    }

    fn explain(&self, relative: &Path, error: Errno) -> FileError {
        match error {
            Errno::XDEV => FileError::Outside(shown(relative)),
            Errno::LOOP => FileError::Io {
                path: shown(relative),
                reason: "a symbolic link on the way cannot be followed".to_owned(),
            },
            Errno::NXIO => FileError::Special(shown(relative)),
            Errno::NOENT => FileError::NotFound { path: shown(relative), suggestion: self.suggestion(relative) },
            other => FileError::io(relative, other),
        }
    }

    /// The nearest name in the folder where `relative` was looked for.
    fn suggestion(&self, relative: &Path) -> Option<String> {
        let name = relative.file_name()?.to_str()?;
        let parent = relative.parent()?;
        let folder =
            beneath(self.root.as_fd(), if parent.as_os_str().is_empty() { Path::new(".") } else { parent }).ok()?;
        let names: Vec<String> = rustix::fs::Dir::read_from(&folder)
            .ok()?
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != ".." && name != ".git")
            .take(2000)
            .collect();
        let near = crate::nearest(name, names.iter().map(String::as_str))?;
        Some(shown(&parent.join(near)))
    }
}

pub(super) fn root(path: &Path) -> Result<OwnedFd, FileError> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY, Mode::empty())
        .map_err(|error| FileError::Workspace(format!("{}: {}", path.display(), std::io::Error::from(error))))
}

/// Opens one name of an open folder; a symbolic link is an error.
pub(super) fn child(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, name, READ | OFlags::NOFOLLOW, Mode::empty())
}

pub(super) fn classify(descriptor: OwnedFd, path: &Path) -> Result<Opened, FileError> {
    let status = rustix::fs::fstat(&descriptor).map_err(|error| FileError::io(path, error))?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => {
            Ok(Opened::File { file: File::from(descriptor), size: u64::try_from(status.st_size).unwrap_or(0) })
        }
        FileType::Directory => Ok(Opened::Folder(descriptor)),
        _ => Err(FileError::Special(shown(path))),
    }
}

#[cfg(target_os = "linux")]
fn beneath(root: BorrowedFd<'_>, relative: &Path) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    /// The kernel answers EAGAIN when a rename somewhere raced with resolving `..`.
    const ATTEMPTS: usize = 16;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..ATTEMPTS {
        result = rustix::fs::openat2(root, relative, READ, Mode::empty(), resolve);
        match result {
            Err(Errno::AGAIN) => {}
            // Kernels before 5.6 lack openat2, and some container filters deny it.
            Err(Errno::NOSYS | Errno::PERM) => return component_wise(root, relative),
            _ => break,
        }
    }
    result
}

#[cfg(not(target_os = "linux"))]
fn beneath(root: BorrowedFd<'_>, relative: &Path) -> Result<OwnedFd, Errno> {
    component_wise(root, relative)
}

/// Opens each folder on the way without following links. `relative` has no `..`.
fn component_wise(root: BorrowedFd<'_>, relative: &Path) -> Result<OwnedFd, Errno> {
    let mut current = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
    for component in relative.components() {
        current = child(current.as_fd(), component.as_os_str())?;
    }
    Ok(current)
}

/// Where a descriptor really points, on systems that tell.
fn real_path(descriptor: &OwnedFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let target = rustix::fs::readlink(link, Vec::new()).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
}

fn in_git_folder(path: &Path) -> bool {
    path.components().any(|component| component.as_os_str().eq_ignore_ascii_case(".git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openat2` hides this path on every kernel we test on, so it is tried directly.
    #[test]
    fn component_wise_refuses_links_and_opens_files() -> Result<(), Box<dyn std::error::Error>> {
        let outside = tempfile::tempdir()?;
        fs_err::write(outside.path().join("secret.txt"), "x")?;
        let inside = tempfile::tempdir()?;
        fs_err::create_dir(inside.path().join("folder"))?;
        fs_err::write(inside.path().join("folder/file.txt"), "x")?;
        fs_err::os::unix::fs::symlink(outside.path(), inside.path().join("link"))?;
        let root = root(inside.path())?;
        assert!(component_wise(root.as_fd(), Path::new("folder/file.txt")).is_ok());
        assert!(component_wise(root.as_fd(), Path::new("link/secret.txt")).is_err());
        assert!(component_wise(root.as_fd(), Path::new("link")).is_err());
        Ok(())
    }
}

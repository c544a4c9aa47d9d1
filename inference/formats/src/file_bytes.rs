//! Parts of files that are read when they are needed, if the file is still what it was.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fs_err::File;
use memmap2::Mmap;

use crate::FormatError;
use crate::files::open;

/// A file as it was when it was opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    file: File,
    /// Its length and when it was written last.
    state: (u64, Option<SystemTime>),
}

/// Some bytes of a file, which stays open as long as they are held.
#[derive(Debug, Clone)]
pub struct FileBytes {
    file: Arc<OpenFile>,
    range: Range<usize>,
}

impl OpenFile {
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, FormatError> {
        let file = open(path)?;
        let state = state(&file).map_err(|error| FormatError::new(path, error.kind()))?;
        Ok(Arc::new(Self { path: path.to_path_buf(), file, state }))
    }

    /// All of it in memory.
    pub(crate) fn map(&self) -> Result<Mmap, FormatError> {
        // SAFETY: the map is read-only and everything in it is checked as untrusted bytes. Were the
        // file truncated by another process meanwhile, the process would get SIGBUS, as with every
        // reader of mapped weights: so what is read later than at once is read by `FileBytes`.
        unsafe { Mmap::map(self.file.file()) }
            .map_err(|error| FormatError::new(&self.path, format!("can't be mapped into memory: {error}")))
    }

    pub(crate) fn read(&self, range: Range<usize>) -> Result<Vec<u8>, FormatError> {
        let mut bytes = vec![0; range.len()];
        let read = self.file.file().read_exact_at(&mut bytes, range.start as u64);
        let is_same = state(&self.file).is_ok_and(|state| state == self.state);
        match read {
            _ if !is_same => {
                let reason = "was changed while the model was read from it; load the model again";
                Err(FormatError::new(&self.path, reason))
            }
            Err(error) => Err(FormatError::new(&self.path, format!("can't be read: {error}"))),
            Ok(()) => Ok(bytes),
        }
    }
}

impl FileBytes {
    pub(crate) fn new(file: &Arc<OpenFile>, range: Range<usize>) -> Self {
        Self { file: Arc::clone(file), range }
    }

    /// Reads a part of them, counted from their first one.
    ///
    /// # Errors
    /// The file can't be read, or it was changed since it was opened.
    pub fn read(&self, part: Range<usize>) -> Result<Vec<u8>, FormatError> {
        let end = self.range.start.saturating_add(part.end);
        if part.start > part.end || end > self.range.end {
            return Err(FormatError::new(&self.file.path, "has fewer bytes of a tensor than the model needs"));
        }
        self.file.read(self.range.start + part.start..end)
    }
}

fn state(file: &File) -> std::io::Result<(u64, Option<SystemTime>)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::{FileBytes, OpenFile};

    #[test]
    fn bytes_are_read_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, (0..=255_u8).collect::<Vec<_>>()).unwrap();
        let file = OpenFile::open(&path).unwrap();
        let bytes = FileBytes::new(&file, 16..32);
        assert_eq!(bytes.read(2..5).unwrap(), [18, 19, 20]);
        for beyond in [0..17, 17..18, 0..usize::MAX] {
            assert!(bytes.read(beyond).unwrap_err().reason.contains("fewer bytes"));
        }
        // Another file in its place is not this one.
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        std::fs::write(&path, [0; 256]).unwrap();
        assert_eq!(bytes.read(2..5).unwrap(), [18, 19, 20]);
        for change in [255, 20, 0] {
            let moved = std::fs::File::options().write(true).open(folder.path().join("moved")).unwrap();
            moved.set_len(change).unwrap();
            let error = bytes.read(2..5).unwrap_err();
            assert!(error.reason.contains("changed") && error.path == path, "{error}");
        }
    }
}

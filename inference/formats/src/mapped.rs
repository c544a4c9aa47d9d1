//! Parts of files that are mapped into memory.

use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;

/// Some bytes of a mapped file, which stays mapped as long as they are held.
pub struct MappedBytes {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl MappedBytes {
    /// `None` where the range is not the map's.
    pub(crate) fn new(map: &Arc<Mmap>, range: Range<usize>) -> Option<Self> {
        map.get(range.clone())?;
        Some(Self { map: Arc::clone(map), range })
    }
}

impl AsRef<[u8]> for MappedBytes {
    fn as_ref(&self) -> &[u8] {
        self.map.get(self.range.clone()).unwrap_or_default()
    }
}

impl Drop for MappedBytes {
    /// What was read of the file is not this process' memory any more; the system keeps it as long as
    /// it keeps files.
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            let (start, length) = (self.range.start, self.range.len());
            // SAFETY: the map is of a file and read-only: whoever reads these pages again gets the same
            // bytes from the file.
            let given_back =
                unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, length) };
            // Advice that is not taken costs memory for a while.
            given_back.unwrap_or_default();
        }
    }
}

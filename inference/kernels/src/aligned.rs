//! Bytes that start at a cache line.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// A cache line, which is also the widest vector there is.
const LINE: usize = 64;
/// A large page: what one is allocated for begins with one.
const LARGE_PAGE: usize = 2 << 20;

/// Bytes whose address is a multiple of 64.
pub(crate) struct AlignedBytes {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the bytes are owned, and change only through a unique borrow.
unsafe impl Send for AlignedBytes {}
// SAFETY: as above.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// Bytes that nothing was written to.
    fn allocated(length: usize) -> Self {
        let Some(layout) = Self::layout(length) else { return Self { start: NonNull::dangling(), length: 0 } };
        // SAFETY: the layout is not empty.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        if length >= LARGE_PAGE {
            // Reading a gigabyte a token through small pages costs a walk through page tables each.
            // The last part of a large page stays small, so that no memory is taken that isn't used.
            // SAFETY: the pages lie within what was just allocated, and the advice changes no contents.
            unsafe { libc::madvise(start.as_ptr().cast(), length / LARGE_PAGE * LARGE_PAGE, libc::MADV_HUGEPAGE) };
        }
        Self { start, length }
    }

    pub(crate) fn zeroed(length: usize) -> Self {
        let bytes = Self::allocated(length);
        // SAFETY: so many bytes were allocated.
        unsafe { bytes.start.write_bytes(0, bytes.length) };
        bytes
    }

    /// `chunks` times `first` and `second` bytes, filled on all cores: the operating system makes
    /// memory where it is first written.
    pub(crate) fn filled(chunks: usize, first: usize, second: usize, fill: impl Fn(usize, &mut [u8], &mut [u8]) + Sync) -> [Self; 2] {
        let all = [Self::allocated(chunks * first), Self::allocated(chunks * second)];
        crate::pool::run(chunks, |chunk| {
            let part = |of: &Self, size: usize| -> &mut [u8] {
                // SAFETY: `chunks` times `size` bytes were allocated, each chunk is one task's, and
                // bytes are initialized before there is a slice of them.
                unsafe {
                    let start = of.start.add(chunk * size);
                    start.write_bytes(0, size);
                    std::slice::from_raw_parts_mut(start.as_ptr(), size)
                }
            };
            fill(chunk, part(&all[0], first), part(&all[1], second));
        });
        all
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: so many bytes were allocated and initialized.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    fn layout(length: usize) -> Option<Layout> {
        let alignment = if length >= LARGE_PAGE { LARGE_PAGE } else { LINE };
        Layout::from_size_align(length, alignment).ok().filter(|_| length > 0)
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.length) {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

//! Bytes that start at a cache line.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A cache line, which is also the widest vector there is.
const LINE: usize = 64;
/// What matrices smaller than half of it share. The operating system makes memory in its large
/// pages of 2 MiB there: one interruption instead of five hundred, and a product that reads a
/// gigabyte doesn't look up each 4 KiB.
const SLAB: usize = 32 << 20;

/// Bytes whose address is a multiple of 64, zeros at first.
pub(crate) struct AlignedBytes {
    start: NonNull<u8>,
    length: usize,
    /// Who frees them.
    _memory: Arc<Memory>,
}

// SAFETY: the bytes are owned, and change only through a unique borrow.
unsafe impl Send for AlignedBytes {}
// SAFETY: as above.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// Bytes of their own.
    pub(crate) fn zeroed(length: usize) -> Self {
        let memory = Arc::new(Memory::zeroed(length));
        Self { start: memory.start, length, _memory: memory }
    }

    /// Bytes that stay as long as a model does.
    fn lasting(length: usize) -> Self {
        static SHARED: Mutex<(Weak<Memory>, usize)> = Mutex::new((Weak::new(), 0));
        if length > SLAB / 2 {
            return Self::zeroed(length);
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = match shared.0.upgrade().filter(|memory| shared.1 + length <= memory.length) {
            Some(memory) => memory,
            None => {
                let memory = Arc::new(Memory::zeroed(SLAB));
                *shared = (Arc::downgrade(&memory), 0);
                memory
            }
        };
        // SAFETY: so many bytes more lie within the memory, and are no one else's.
        let start = unsafe { memory.start.add(shared.1) };
        shared.1 += length.next_multiple_of(LINE);
        Self { start, length, _memory: memory }
    }

    /// `chunks` times `first` and `second` bytes, filled on all cores, some `together`: the operating
    /// system makes memory where it is first written.
    pub(crate) fn filled(
        chunks: usize,
        first: usize,
        second: usize,
        together: usize,
        fill: impl Fn(usize, &mut [u8], &mut [u8]) + Sync,
    ) -> [Self; 2] {
        let mut all = [Self::lasting(chunks * first), Self::lasting(chunks * second)];
        let [firsts, seconds] = &mut all;
        let mut firsts = firsts.as_mut_slice().chunks_mut((first * together).max(1));
        let seconds = seconds.as_mut_slice().chunks_mut((second * together).max(1));
        let tasks =
            seconds.enumerate().map(|(index, second)| (index * together, firsts.next().unwrap_or_default(), second));
        crate::pool::for_each(tasks, |(chunk, first, second)| fill(chunk, first, second));
        all
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: so many bytes are this one's, and initialized.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

/// Memory from the system.
struct Memory {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: nothing but an owned address.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn zeroed(length: usize) -> Self {
        if length == 0 {
            return Self { start: NonNull::<[u64; 8]>::dangling().cast(), length };
        }
        #[cfg(target_os = "linux")]
        if Self::is_mapped(length) {
            // SAFETY: new memory, without a file.
            let start = unsafe {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
            };
            let Some(start) = NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED) else {
                handle_alloc_error(Self::layout(length));
            };
            // SAFETY: the pages are those just mapped, and the advice changes no contents.
            unsafe { libc::madvise(start.as_ptr().cast(), length, libc::MADV_HUGEPAGE) };
            return Self { start, length };
        }
        // SAFETY: the layout is not empty.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(Self::layout(length)) }) else {
            handle_alloc_error(Self::layout(length));
        };
        Self { start, length }
    }

    /// Whether the memory is the operating system's, not the allocator's, which would write zeros.
    fn is_mapped(length: usize) -> bool {
        cfg!(target_os = "linux") && length >= SLAB / 2
    }

    fn layout(length: usize) -> Layout {
        match Layout::from_size_align(length, LINE) {
            Ok(layout) => layout,
            Err(_) => handle_alloc_error(Layout::new::<u8>()),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.length == 0 {
            return;
        }
        #[cfg(target_os = "linux")]
        if Self::is_mapped(self.length) {
            // SAFETY: mapped with this length, and no one has an address in it any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
            return;
        }
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.length)) };
    }
}

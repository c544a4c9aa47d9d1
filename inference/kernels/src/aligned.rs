//! Bytes that start at a cache line.

/// A cache line, which is also the widest vector there is.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

const LINE: usize = 64;

/// Bytes whose address is a multiple of 64.
pub(crate) struct AlignedBytes {
    lines: Vec<Line>,
    length: usize,
}

impl AlignedBytes {
    pub(crate) fn zeroed(length: usize) -> Self {
        Self { lines: vec![Line([0; LINE]); length.div_ceil(LINE)], length }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: lines are plain bytes without padding, `length` of which were asked for and exist.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

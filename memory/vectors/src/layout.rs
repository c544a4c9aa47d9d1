//! Where things lie in the file of a generation.
//!
//! A page of header, then sections that begin at pages, then a checksum for each block of what is between. Numbers
//! are in the byte order of the machine: a file from another kind of machine is not read but built again.

use std::ops::Range;

use crate::graph::{NEIGHBOURS, NEIGHBOURS_BELOW};
use crate::quantized::lines;

pub(crate) const MAGIC: [u8; 8] = *b"CODRVEC1";
pub(crate) const PAGE: usize = 4096;

/// Bytes that one checksum covers.
pub(crate) const BLOCK: usize = 4 << 20;

/// The beginning of the file.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    pub magic: [u8; 8],
    pub dimensions: u64,
    pub nodes: u64,
    /// Lists of neighbours above the bottom.
    pub lists: u64,
    /// One more than the node where walks begin; 0 in an empty graph.
    pub entry: u64,
    pub top: u64,
    /// What the caller knows the generation by.
    pub label: u64,
    /// Of the checksums of all blocks.
    pub blocks: u32,
    /// Of all the above.
    pub header: u32,
}

impl Header {
    pub fn checksum(&self) -> u32 {
        let bytes = bytemuck::bytes_of(self);
        crc32fast::hash(&bytes[..bytes.len() - size_of::<u32>()])
    }
}

/// The byte ranges of the sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub rows: Range<usize>,
    pub scales: Range<usize>,
    pub keys: Range<usize>,
    pub below: Range<usize>,
    pub starts: Range<usize>,
    pub above: Range<usize>,
    pub vectors: Range<usize>,
    /// The checksums of the blocks from the end of the header to here.
    pub blocks: Range<usize>,
}

impl Layout {
    /// `None` where the numbers cannot be true.
    pub fn new(dimensions: u64, nodes: u64, lists: u64) -> Option<Self> {
        let (dimensions, nodes) = (usize::try_from(dimensions).ok()?, usize::try_from(nodes).ok()?);
        let lists = usize::try_from(lists).ok()?;
        if dimensions == 0 || dimensions > 1 << 16 || nodes >= u32::MAX as usize || lists >= u32::MAX as usize {
            return None;
        }
        let mut end = PAGE;
        let mut section = |count: usize, size: usize| {
            let start = end;
            let finish = start.checked_add(count.checked_mul(size)?)?;
            end = finish.checked_next_multiple_of(PAGE)?;
            Some(start..finish)
        };
        let rows = section(nodes, 64 * lines(dimensions))?;
        let scales = section(nodes, 4)?;
        let keys = section(nodes, 8)?;
        let below = section(nodes, 4 * NEIGHBOURS_BELOW)?;
        let starts = section(nodes + 1, 4)?;
        let above = section(lists, 4 * NEIGHBOURS)?;
        let vectors = section(nodes, 4 * dimensions)?;
        let blocks = end..end.checked_add((end - PAGE).div_ceil(BLOCK) * 4)?;
        Some(Self { rows, scales, keys, below, starts, above, vectors, blocks })
    }
}

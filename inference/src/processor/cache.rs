//! Keys and values in pages.

use codriver_kernels::{HeadPage, PAGE, PageFormat, PageShape};

use crate::models::decoder::DecoderConfig;

/// Keys and values of the positions read so far, 64 positions a page: a sequence grows without
/// moving what it has.
pub(crate) struct PagedCache {
    shape: PageShape,
    heads: usize,
    layers: usize,
    /// All layers' and heads' keys and values of 64 positions.
    pages: Vec<Vec<u32>>,
    length: usize,
}

impl PagedCache {
    pub(crate) fn new(config: &DecoderConfig) -> Self {
        Self {
            shape: PageShape { head_dim: config.head_dim, format: PageFormat::F32 },
            heads: config.num_key_value_heads,
            layers: config.num_hidden_layers,
            pages: Vec::new(),
            length: 0,
        }
    }

    /// Positions held.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Forgets all but the first `length` positions.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        self.pages.truncate(self.length.div_ceil(PAGE));
    }

    /// Makes room for `length` more positions.
    pub(super) fn grow(&mut self, length: usize) {
        let words = self.layers * self.heads * self.shape.words();
        let page = || vec![0; words];
        let needed = (self.length + length).div_ceil(PAGE);
        let missing = needed.saturating_sub(self.pages.len());
        self.pages.extend(std::iter::repeat_with(page).take(missing));
    }

    /// Counts positions that every layer has written.
    pub(super) fn advance(&mut self, length: usize) {
        self.length += length;
    }

    pub(super) fn shape(&self) -> PageShape {
        self.shape
    }

    /// Writes a layer's keys and values, `[positions, heads, head_dim]`, from position `past` on.
    pub(super) fn write(&mut self, layer: usize, past: usize, keys: &[f32], values: &[f32]) {
        let (shape, heads) = (self.shape, self.heads);
        let row = heads * shape.head_dim;
        for (position, (keys, values)) in (past..).zip(keys.chunks_exact(row).zip(values.chunks_exact(row))) {
            let Some(page) = self.pages.get_mut(position / PAGE) else { return };
            let pages = page.chunks_exact_mut(shape.words()).skip(layer * heads);
            let heads = keys.chunks_exact(shape.head_dim).zip(values.chunks_exact(shape.head_dim));
            for (page, (key, value)) in pages.zip(heads) {
                shape.write(page, position % PAGE, key, value);
            }
        }
    }

    pub(super) fn head_page(&self, layer: usize, head: usize, page: usize) -> Option<HeadPage<'_>> {
        let page = self.pages.get(page)?;
        let block = layer * self.heads + head;
        Some(HeadPage { words: page.chunks_exact(self.shape.words()).nth(block)? })
    }
}

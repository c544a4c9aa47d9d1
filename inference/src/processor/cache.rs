//! Keys and values in blocks.

use codriver_kernels::{HeadPage, PageFormat, PageShape};

use crate::ModelError;
use crate::models::decoder::DecoderConfig;
use crate::network::{BLOCK, Block, Segment};

/// The memory of the blocks that are in use.
pub(super) struct Blocks {
    shape: PageShape,
    heads: usize,
    layers: usize,
    /// All layers' and heads' keys and values of a block's positions: a page each.
    blocks: Vec<Option<Vec<u32>>>,
}

impl Blocks {
    pub(super) fn new(config: &DecoderConfig, format: PageFormat) -> Self {
        Self {
            shape: PageShape { head_dim: config.head_dim, format },
            heads: config.num_key_value_heads,
            layers: config.num_hidden_layers,
            blocks: Vec::new(),
        }
    }

    /// Bytes of a block.
    pub(super) fn block_size(&self) -> usize {
        self.pages() * self.shape.words() * size_of::<u32>()
    }

    /// Makes a block of zeros: what lies past a sequence's end is multiplied by nothing, which only
    /// a number makes nothing.
    pub(super) fn provide(&mut self, block: Block) -> Result<(), ModelError> {
        let index = block as usize;
        if index >= self.blocks.len() {
            self.blocks.resize_with(index + 1, || None);
        }
        let words = self.pages() * self.shape.words();
        let Some(room) = self.blocks.get_mut(index) else { return Ok(()) };
        if let Some(pages) = room {
            pages.fill(0);
        } else {
            *room = Some(zeros(words)?);
        }
        Ok(())
    }

    pub(super) fn discard(&mut self, block: Block) {
        if let Some(room) = self.blocks.get_mut(block as usize) {
            *room = None;
        }
    }

    /// Copies the first `positions` of a block to one that was just provided.
    pub(super) fn copy(&mut self, from: Block, to: Block, positions: usize) {
        let Ok([from, to]) = self.blocks.get_disjoint_mut([from as usize, to as usize]) else { return };
        let (Some(from), Some(to)) = (from, to) else { return };
        let words = self.shape.words();
        for (from, to) in from.chunks_exact(words).zip(to.chunks_exact_mut(words)) {
            self.shape.copy(from, to, positions);
        }
    }

    pub(super) fn shape(&self) -> PageShape {
        self.shape
    }

    /// Writes a layer's keys and values, `[positions, heads, head_dim]`, of what a segment reads.
    pub(super) fn write(&mut self, segment: &Segment<'_>, layer: usize, keys: &[f32], values: &[f32]) {
        let (shape, heads) = (self.shape, self.heads);
        let row = heads * shape.head_dim;
        for (position, (keys, values)) in (segment.past..).zip(keys.chunks_exact(row).zip(values.chunks_exact(row))) {
            let Some(block) = segment.blocks.get(position / BLOCK) else { return };
            let Some(Some(pages)) = self.blocks.get_mut(*block as usize) else { return };
            let pages = pages.chunks_exact_mut(shape.words()).skip(layer * heads);
            let heads = keys.chunks_exact(shape.head_dim).zip(values.chunks_exact(shape.head_dim));
            for (page, (key, value)) in pages.zip(heads) {
                shape.write(page, position % BLOCK, key, value);
            }
        }
    }

    /// The page of a segment's sequence for a layer's head.
    pub(super) fn head_page(
        &self,
        segment: &Segment<'_>,
        layer: usize,
        head: usize,
        page: usize,
    ) -> Option<HeadPage<'_>> {
        let pages = self.blocks.get(*segment.blocks.get(page)? as usize)?.as_ref()?;
        let index = layer * self.heads + head;
        Some(HeadPage { words: pages.chunks_exact(self.shape.words()).nth(index)? })
    }

    /// Pages of a block.
    fn pages(&self) -> usize {
        self.layers * self.heads
    }
}

fn zeros(count: usize) -> Result<Vec<u32>, ModelError> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(count).map_err(|_| ModelError::NoRoom {
        reason: format!(
            "the system has no {} MB for its keys and values",
            (count * size_of::<u32>()).div_ceil(1 << 20)
        ),
    })?;
    zeros.resize(count, 0);
    Ok(zeros)
}

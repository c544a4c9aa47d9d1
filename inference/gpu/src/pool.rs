//! Keys and values of all sequences, in pages.

use crate::device::{Buffer, Gpu};
use crate::kernels::copy;
use crate::GpuError;

/// What a page holds for each layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageShape {
    /// Positions in a page.
    pub page: usize,
    /// Heads of keys and values.
    pub heads: usize,
    pub head_dim: usize,
}

/// Pages of keys and values on a device. Which sequence has which page is not known here: a step is
/// told the pages of each of its [segments](crate::Segment).
#[derive(Debug)]
pub struct Pool {
    shape: PageShape,
    pages: usize,
    layers: Vec<LayerPages>,
}

/// A layer's part of all pages.
#[derive(Debug)]
pub(crate) struct LayerPages {
    /// `[pages, heads, head_dim padded to fours, positions]`.
    pub(crate) keys: Buffer,
    /// `[pages, heads, positions, head_dim]`.
    pub(crate) values: Buffer,
    /// Positions in a page.
    pub(crate) page: usize,
}

impl PageShape {
    fn keys(self) -> usize {
        self.heads * self.page * self.head_dim.next_multiple_of(4)
    }

    fn values(self) -> usize {
        self.heads * self.page * self.head_dim
    }

    /// Bytes of a page in all of so many layers.
    pub fn size(self, layers: usize) -> u64 {
        4 * (layers as u64).saturating_mul((self.keys() + self.values()) as u64)
    }
}

impl Pool {
    /// Room for `pages` pages of `layers` layers.
    pub fn new(gpu: &Gpu, shape: PageShape, layers: usize, pages: usize) -> Result<Self, GpuError> {
        let of_layer = |_| -> Result<LayerPages, GpuError> {
            Ok(LayerPages { keys: gpu.room(pages * shape.keys())?, values: gpu.room(pages * shape.values())?, page: shape.page })
        };
        Ok(Self { shape, pages, layers: (0..layers).map(of_layer).collect::<Result<_, _>>()? })
    }

    /// Makes room for `pages` pages in all; those there are keep what they hold.
    pub fn grow(&mut self, gpu: &Gpu, pages: usize) -> Result<(), GpuError> {
        let Some(more) = pages.checked_sub(self.pages).filter(|more| *more > 0) else { return Ok(()) };
        for layer in &mut self.layers {
            for (buffer, size) in [(&mut layer.keys, self.shape.keys()), (&mut layer.values, self.shape.values())] {
                *buffer = copy::joined_with_room(gpu, &[buffer], more * size)?;
            }
        }
        self.pages = pages;
        Ok(())
    }

    /// Copies what a page holds to another one.
    pub fn copy(&self, gpu: &Gpu, from: u32, to: u32) {
        let inside = |page: u32| (page as usize) < self.pages;
        if !(inside(from) && inside(to)) {
            return;
        }
        for layer in &self.layers {
            copy::within(gpu, &layer.keys, from as usize, to as usize, self.shape.keys());
            copy::within(gpu, &layer.values, from as usize, to as usize, self.shape.values());
        }
    }

    pub fn shape(&self) -> PageShape {
        self.shape
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.pages
    }

    pub(crate) fn layer(&self, index: usize) -> Option<&LayerPages> {
        self.layers.get(index)
    }
}

//! Keys and values of all sequences, in pages.

use codriver_kernels::PageFormat;

use crate::GpuError;
use crate::device::{Buffer, Gpu};
use crate::kernels::copy;

/// What a page holds for each layer.
///
/// A word of 32 bits has one, two or four neighbouring dimensions of a position, by the format: no two positions share
/// one, so that they can be written at once. With [`PageFormat::Q8`] a position's key and its value have a scale each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageShape {
    /// Positions in a page.
    pub page: usize,
    /// Heads of keys and values.
    pub heads: usize,
    pub head_dim: usize,
    pub format: PageFormat,
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
    /// `[pages, heads, words of a key, positions]`; scales are the last of a key's words.
    pub(crate) keys: Buffer,
    /// `[pages, heads]` times `[positions, words of a value]`, and after these `[positions]` scales.
    pub(crate) values: Buffer,
    pub(crate) shape: PageShape,
}

impl PageShape {
    /// Numbers in a word.
    pub(crate) fn dense(self) -> usize {
        match self.format {
            PageFormat::F32 => 1,
            PageFormat::F16 => 2,
            PageFormat::Q8 => 4,
        }
    }

    /// Words of a key's numbers, which are padded to fours.
    pub(crate) fn key_words(self) -> usize {
        self.head_dim.next_multiple_of(4) / self.dense()
    }

    /// Words of a value's numbers.
    pub(crate) fn value_words(self) -> usize {
        self.head_dim.div_ceil(self.dense())
    }

    /// Words of a head's keys in a page.
    pub(crate) fn head_keys(self) -> usize {
        self.page * (self.key_words() + self.scales())
    }

    /// Words of a head's values in a page.
    pub(crate) fn head_values(self) -> usize {
        self.page * (self.value_words() + self.scales())
    }

    /// Scales of a position's key, and of its value.
    fn scales(self) -> usize {
        usize::from(self.format == PageFormat::Q8)
    }

    fn keys(self) -> usize {
        self.heads * self.head_keys()
    }

    fn values(self) -> usize {
        self.heads * self.head_values()
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
            Ok(LayerPages { keys: gpu.room(pages * shape.keys())?, values: gpu.room(pages * shape.values())?, shape })
        };
        let pool = Self { shape, pages, layers: (0..layers).map(of_layer).collect::<Result<_, _>>()? };
        gpu.ensure(&pool.buffers())?;
        Ok(pool)
    }

    /// Makes room for `pages` pages in all; those there are keep what they hold.
    pub fn grow(&mut self, gpu: &Gpu, pages: usize) -> Result<(), GpuError> {
        if pages <= self.pages {
            return Ok(());
        }
        for layer in &mut self.layers {
            for (buffer, size) in [(&mut layer.keys, self.shape.keys()), (&mut layer.values, self.shape.values())] {
                // A layer may have grown before another one could not.
                let more = (pages * size).saturating_sub(buffer.length);
                if more > 0 {
                    *buffer = copy::joined_with_room(gpu, &[buffer], more)?;
                }
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

    /// Says that pages hold numbers, whatever was left out that was to write them.
    pub(crate) fn vouch(&self, gpu: &Gpu) {
        self.buffers().into_iter().for_each(|buffer| copy::vouch(gpu, buffer));
    }

    fn buffers(&self) -> Vec<&Buffer> {
        self.layers.iter().flat_map(|layer| [&layer.keys, &layer.values]).collect()
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

#[cfg(test)]
mod tests {
    use super::{PageFormat, PageShape, Pool};
    use crate::Gpu;
    use crate::device::Buffer;
    use crate::kernels::copy;

    #[test]
    fn pages_outlive_what_was_left_out_for_want_of_memory() {
        let Ok(gpu) = Gpu::wgpu() else { return println!("skipped: there is no GPU") };
        let mut pool =
            Pool::new(&gpu, PageShape { page: 16, heads: 2, head_dim: 8, format: PageFormat::F32 }, 1, 3).unwrap();
        let numbers: Vec<f32> = (0..pool.layers[0].keys.length).map(|number| number as f32).collect();
        pool.layers[0].keys = gpu.floats(&numbers).unwrap();
        // More than any device has: what is copied from there is never written.
        let nowhere = Buffer { handle: gpu.client.empty(1 << 50), length: 64 };
        assert!(gpu.ensure(&[&nowhere]).is_err());
        copy::into(&gpu, &nowhere, &pool.layers[0].keys, 0);
        assert!(gpu.read(&pool.layers[0].keys).is_err());
        pool.vouch(&gpu);
        assert_eq!(gpu.read(&pool.layers[0].keys).unwrap(), numbers);
        pool.copy(&gpu, 0, 2);
        let copied = gpu.read(&pool.layers[0].keys).unwrap();
        let size = numbers.len() / 3;
        assert_eq!(copied[2 * size..], numbers[..size]);
    }
}

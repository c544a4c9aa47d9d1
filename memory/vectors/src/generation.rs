//! One immutable file of vectors and their graph.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytemuck::Pod;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use memmap2::Mmap;

use crate::distance::Line;
use crate::graph::{Builder, FinishedGraph, NEIGHBOURS_BELOW, NONE, list_above};
use crate::layout::{BLOCK, Header, Layout, MAGIC, PAGE};
use crate::quantized::{lines, quantize};
use crate::search::{Found, Graph, Scratch};

/// Why a generation cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// Noticed before anything of it was used.
    #[error("{path} is damaged ({reason}); it has to be built again")]
    Damaged { path: PathBuf, reason: &'static str },
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("building the vectors' graph was stopped")]
    Stopped,
    #[error("{0} vectors are more than one generation can hold")]
    TooMany(usize),
}

/// Told how many vectors are in the graph; stops the building with false.
pub type Progress<'a> = &'a (dyn Fn(usize) -> bool + Sync);

/// Vectors of one length, each with a key, and the graph that finds the nearest of them.
pub struct Generation {
    bytes: Bytes,
    header: Header,
    layout: Layout,
    scratch: Mutex<Vec<Scratch>>,
}

enum Bytes {
    Mapped(Mmap),
    /// For what was sealed in its file. In lines, so that it is aligned.
    Held(Vec<Line>),
}

impl Generation {
    /// Maps the file and checks all of it against its checksums.
    pub fn open(path: &Path) -> Result<Self, GenerationError> {
        let file = fs_err::File::open(path)?;
        // SAFETY: the file is written under another name, renamed, and never changed after; who changes it all the
        // same can make searches wrong, but every number read from it is checked against the bounds of what it is for.
        let mapped = unsafe { Mmap::map(file.file())? };
        Self::check(Bytes::Mapped(mapped), path)
    }

    /// From the bytes of a file, as [`Built::bytes`] gave them. `path` is for errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, GenerationError> {
        let mut lines = vec![Line([0; 64]); bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut(&mut lines)[..bytes.len()].copy_from_slice(bytes);
        Self::check(Bytes::Held(lines), path)
    }

    fn check(bytes: Bytes, path: &Path) -> Result<Self, GenerationError> {
        let damaged = |reason| GenerationError::Damaged { path: path.to_owned(), reason };
        let header: Header = match bytes.all().get(..size_of::<Header>()) {
            Some(header) => bytemuck::pod_read_unaligned(header),
            None => return Err(damaged("it ends in its header")),
        };
        if header.magic != MAGIC || header.header != header.checksum() {
            return Err(damaged("its header is not one"));
        }
        let layout =
            Layout::new(header.dimensions, header.nodes, header.lists).ok_or(damaged("its header is not one"))?;
        let length = match &bytes {
            Bytes::Mapped(mapped) => mapped.len(),
            Bytes::Held(lines) => (lines.len() * 64).min(layout.blocks.end),
        };
        if length != layout.blocks.end {
            return Err(damaged("its length is not what its header says"));
        }
        let sums = bytes.all().get(layout.blocks.clone()).unwrap_or_default();
        if crc32fast::hash(sums) != header.blocks || !whole(&bytes.all()[PAGE..layout.blocks.start], sums) {
            return Err(damaged("its checksums do not match its content"));
        }
        Ok(Self { bytes, header, layout, scratch: Mutex::default() })
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.header.nodes as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn dimensions(&self) -> usize {
        self.header.dimensions as usize
    }

    /// What the one who built it gave it to be known by.
    pub fn label(&self) -> u64 {
        self.header.label
    }

    pub fn keys(&self) -> &[u64] {
        self.section(&self.layout.keys)
    }

    /// The vector at a position, at length one.
    pub fn vector(&self, position: usize) -> Option<&[f32]> {
        let dimensions = self.dimensions();
        self.section::<f32>(&self.layout.vectors).get(position * dimensions..(position + 1) * dimensions)
    }

    /// Positions and approximate cosines of the nearest to a unit vector, best first, from a walk that keeps `wide`
    /// candidates; only of positions that `admit` lets through.
    pub(crate) fn nearest(&self, vector: &[f32], wide: usize, admit: Option<&dyn Fn(u32) -> bool>) -> Vec<Found> {
        let mut scratch = self.scratch().pop().unwrap_or_default();
        scratch.query.set_vector(vector);
        let found = scratch.nearest(self, wide, admit);
        self.scratch().push(scratch);
        found
    }

    fn scratch(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn section<T: Pod>(&self, range: &std::ops::Range<usize>) -> &[T] {
        self.bytes.all().get(range.clone()).and_then(|bytes| bytemuck::try_cast_slice(bytes).ok()).unwrap_or_default()
    }
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Self::Mapped(mapped) => mapped,
            Self::Held(lines) => bytemuck::cast_slice(lines),
        }
    }
}

/// Compares every block with its checksum, on all processors.
fn whole(content: &[u8], sums: &[u8]) -> bool {
    let blocks: Vec<(&[u8], u32)> = content
        .chunks(BLOCK)
        .zip(sums.chunks_exact(4))
        .map(|(block, sum)| (block, bytemuck::pod_read_unaligned(sum)))
        .collect();
    let (next, damaged) = (AtomicUsize::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(blocks.len()) {
            scope.spawn(|| {
                while let Some((block, sum)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if damaged.load(Ordering::Relaxed) || crc32fast::hash(block) != *sum {
                        return damaged.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    !damaged.into_inner()
}

impl Graph for Generation {
    fn rows(&self) -> (&[Line], &[f32]) {
        (self.section(&self.layout.rows), self.section(&self.layout.scales))
    }

    fn entry(&self) -> Option<(u32, usize)> {
        let node = u32::try_from(self.header.entry.checked_sub(1)?).ok()?;
        (u64::from(node) < self.header.nodes).then_some((node, self.header.top as usize))
    }

    fn neighbours(&self, node: u32, level: usize, neighbours: &mut Vec<u32>) {
        let node = node as usize;
        let list: &[u32] = if level == 0 {
            self.section(&self.layout.below)
                .get(node * NEIGHBOURS_BELOW..(node + 1) * NEIGHBOURS_BELOW)
                .unwrap_or_default()
        } else {
            list_above(self.section(&self.layout.starts), self.section(&self.layout.above), node, level)
        };
        neighbours.clear();
        neighbours.extend(list.iter().take_while(|neighbour| **neighbour != NONE));
    }
}

impl FinishedGraph for Generation {
    fn entry(&self) -> Option<(u32, usize)> {
        Graph::entry(self)
    }

    fn below(&self) -> &[u32] {
        self.section(&self.layout.below)
    }

    fn starts(&self) -> &[u32] {
        self.section(&self.layout.starts)
    }

    fn above(&self) -> &[u32] {
        self.section(&self.layout.above)
    }
}

/// A generation that is not in a file yet.
pub struct Built<'a> {
    dimensions: usize,
    keys: &'a [u64],
    vector: Source<'a>,
    builder: Builder,
    label: u64,
}

/// The unit vector at a position.
pub type Source<'a> = &'a (dyn Fn(usize) -> &'a [f32] + Sync);

impl<'a> Built<'a> {
    /// Builds the graph over unit vectors of `dimensions` numbers, each with its key. What is in `before` already (the
    /// first of the vectors, in its order) keeps its place in the graph. On so many threads; 0: on all processors.
    pub fn build(
        dimensions: usize,
        keys: &'a [u64],
        vector: Source<'a>,
        before: Option<&Generation>,
        label: u64,
        threads: usize,
        progress: Progress<'_>,
    ) -> Result<Self, GenerationError> {
        if keys.len() >= u32::MAX as usize {
            return Err(GenerationError::TooMany(keys.len()));
        }
        let width = lines(dimensions);
        let before = before.filter(|before| before.dimensions() == dimensions && before.len() <= keys.len());
        let (mut rows, mut scales) = before.map_or_else(Default::default, |before| {
            let (rows, scales) = before.rows();
            (rows.to_vec(), scales.to_vec())
        });
        let first = scales.len();
        rows.reserve_exact((keys.len() - first) * width);
        scales.extend((first..keys.len()).map(|position| quantize(vector(position), &mut rows)));
        let builder = Builder::new(width, rows, scales, before.map(|before| before as &dyn FinishedGraph));
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { all() } else { threads };
        if !builder.insert_from(first, threads, progress) {
            return Err(GenerationError::Stopped);
        }
        Ok(Self { dimensions, keys, vector, builder, label })
    }

    /// Writes the file beside its place, and moves it there when it is whole and on the disk.
    pub fn write(&self, path: &Path) -> Result<(), GenerationError> {
        let part = path.with_extension("part");
        let private = fs_err::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        let mut file = BufWriter::with_capacity(1 << 20, private);
        let header = self.content(&mut file)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        write_header(&file, &header)?;
        file.sync_all()?;
        fs_err::rename(&part, path)?;
        if let Some(folder) = path.parent() {
            fs_err::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// What [`Built::write`] writes, for who seals it.
    pub fn bytes(&self) -> Result<Vec<u8>, GenerationError> {
        let mut bytes = Vec::new();
        let header = self.content(&mut bytes)?;
        bytes[..size_of::<Header>()].copy_from_slice(bytemuck::bytes_of(&header));
        Ok(bytes)
    }

    /// Writes all but the header, for which it leaves a page.
    fn content(&self, writer: &mut dyn Write) -> Result<Header, GenerationError> {
        let (nodes, lists) = (self.keys.len() as u64, (self.builder.above.len() / crate::graph::NEIGHBOURS) as u64);
        let layout =
            Layout::new(self.dimensions as u64, nodes, lists).ok_or(GenerationError::TooMany(self.keys.len()))?;
        writer.write_all(&[0; PAGE])?;
        let mut output = Checksummed { writer, written: 0, block: crc32fast::Hasher::new(), sums: Vec::new() };
        output.section(&layout.rows, bytemuck::cast_slice(&self.builder.rows))?;
        output.section(&layout.scales, bytemuck::cast_slice(&self.builder.scales))?;
        output.section(&layout.keys, bytemuck::cast_slice(self.keys))?;
        output.links(&layout.below, &self.builder.below)?;
        output.section(&layout.starts, bytemuck::cast_slice(&self.builder.starts))?;
        output.links(&layout.above, &self.builder.above)?;
        for position in 0..self.keys.len() {
            output.write(bytemuck::cast_slice((self.vector)(position)))?;
        }
        output.pad(layout.blocks.start)?;
        let sums = output.finish();
        writer.write_all(bytemuck::cast_slice(&sums))?;
        writer.flush()?;
        let (entry, top) = self.builder.entry().map_or((0, 0), |(node, top)| (u64::from(node) + 1, top as u64));
        let blocks = crc32fast::hash(bytemuck::cast_slice(&sums));
        let (magic, dimensions, label) = (MAGIC, self.dimensions as u64, self.label);
        let mut header = Header { magic, dimensions, nodes, lists, entry, top, label, blocks, header: 0 };
        header.header = header.checksum();
        Ok(header)
    }
}

fn write_header(mut file: &fs_err::File, header: &Header) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(0))?;
    file.write_all(bytemuck::bytes_of(header))
}

/// Writes what comes after the header, with a checksum a block.
struct Checksummed<'w> {
    writer: &'w mut dyn Write,
    written: usize,
    block: crc32fast::Hasher,
    sums: Vec<u32>,
}

impl Checksummed<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = BLOCK - self.written % BLOCK;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.writer.write_all(now)?;
            self.block.update(now);
            self.written += now.len();
            if self.written.is_multiple_of(BLOCK) {
                self.sums.push(std::mem::take(&mut self.block).finalize());
            }
            bytes = later;
        }
        Ok(())
    }

    /// Up to a place in the file, with zeros.
    fn pad(&mut self, place: usize) -> io::Result<()> {
        let missing = (place - PAGE).saturating_sub(self.written);
        self.write(&vec![0; missing])
    }

    fn section(&mut self, range: &std::ops::Range<usize>, bytes: &[u8]) -> io::Result<()> {
        self.pad(range.start)?;
        self.write(bytes)?;
        self.pad(range.end.next_multiple_of(PAGE))
    }

    fn links(&mut self, range: &std::ops::Range<usize>, links: &[std::sync::atomic::AtomicU32]) -> io::Result<()> {
        self.pad(range.start)?;
        for links in links.chunks(1 << 14) {
            let links: Vec<u32> = links.iter().map(|link| link.load(Ordering::Relaxed)).collect();
            self.write(bytemuck::cast_slice(&links))?;
        }
        self.pad(range.end.next_multiple_of(PAGE))
    }

    fn finish(mut self) -> Vec<u32> {
        if !self.written.is_multiple_of(BLOCK) {
            self.sums.push(self.block.finalize());
        }
        self.sums
    }
}

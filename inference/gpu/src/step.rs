//! What a step computes, as data on the device.

use crate::device::{Buffer, Gpu};
use crate::kernels::attention::{MOST_ROWS, SPLIT, TASK};
use crate::{Architecture, GpuError, Pool};

/// Tokens that follow what a sequence's pages hold.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// At least one.
    pub tokens: &'a [u32],
    /// Positions before the first of them, whose keys and values are in the pages.
    pub past: usize,
    /// The sequence's pages, in the order of its positions: enough for the past and the tokens.
    pub pages: &'a [u32],
    /// The rotations of the tokens, one for each of [`Architecture::pairs`].
    pub rotations: &'a [Rotation],
    /// Of how many of the last tokens the scores are wanted.
    pub wanted: usize,
}

/// Cosines and sines of the angles of a run of positions, `[positions, pairs]` each.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotation {
    pub cosines: Vec<f32>,
    pub sines: Vec<f32>,
}

/// A step's data on the device.
pub(crate) struct Inputs {
    pub(crate) tokens: Buffer,
    pub(crate) slots: Buffer,
    /// What attention computes without splitting positions, and with.
    pub(crate) whole: Tasks,
    pub(crate) split: Tasks,
    pub(crate) table: Buffer,
    /// Rows whose scores are wanted.
    pub(crate) chosen: Buffer,
    /// Cosines and sines.
    pub(crate) rotations: Vec<(Buffer, Buffer)>,
    pub(crate) count: usize,
    pub(crate) chosen_count: usize,
    /// Splits of the longest of the split tasks.
    pub(crate) splits: usize,
}

/// Runs of tokens of one sequence each.
pub(crate) struct Tasks {
    pub(crate) words: Buffer,
    pub(crate) count: usize,
    /// Tokens of the largest.
    pub(crate) tokens: usize,
}

impl Inputs {
    pub(crate) fn new(
        gpu: &Gpu,
        architecture: &Architecture,
        pool: &Pool,
        segments: &[Segment<'_>],
    ) -> Result<Self, GpuError> {
        let page = pool.shape().page;
        let group = architecture.heads / pool.shape().heads.max(1);
        let decodes = segments.iter().all(|segment| segment.tokens.len() == 1);
        let task_tokens = if decodes { 1 } else { (MOST_ROWS / group.max(1)).max(1) };
        let (mut tokens, mut slots, mut whole, mut split) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut table, mut chosen) = (Vec::new(), Vec::new());
        let mut rotations = vec![(Vec::new(), Vec::new()); architecture.pairs.len()];
        let mut longest = 0;
        for segment in segments {
            check(architecture, pool, segment)?;
            let first = tokens.len();
            let length = segment.tokens.len();
            // A single token with much before it would keep few cubes busy.
            let is_split = length == 1 && segment.past >= SPLIT;
            let tasks = if is_split { &mut split } else { &mut whole };
            if is_split {
                longest = longest.max(segment.past + 1);
            }
            tokens.extend_from_slice(segment.tokens);
            for position in segment.past..segment.past + length {
                let number = segment.pages.get(position / page).copied().unwrap_or_default();
                slots.push(number * page as u32 + (position % page) as u32);
            }
            for start in (0..length).step_by(task_tokens) {
                let count = task_tokens.min(length - start);
                tasks.extend([first + start, count, table.len(), segment.past + start].map(|word| word as u32));
            }
            table.extend(segment.pages.iter().take((segment.past + length).div_ceil(page)));
            chosen.extend((first + length.saturating_sub(segment.wanted)..first + length).map(|row| row as u32));
            for ((cosines, sines), rotation) in rotations.iter_mut().zip(segment.rotations) {
                cosines.extend_from_slice(&rotation.cosines);
                sines.extend_from_slice(&rotation.sines);
            }
        }
        let mut upload = Upload::new(gpu);
        let parts = [&tokens, &slots, &whole, &split, &table, &chosen].map(|words| upload.add(words));
        let angles: Vec<_> =
            rotations.iter().map(|(cosines, sines)| (upload.floats(cosines), upload.floats(sines))).collect();
        let uploaded = upload.send(gpu)?;
        gpu.ensure(&[&uploaded.0])?;
        let [of_tokens, of_slots, of_whole, of_split, of_table, of_chosen] = parts.map(|part| uploaded.part(part));
        Ok(Self {
            tokens: of_tokens,
            slots: of_slots,
            whole: Tasks { words: of_whole, count: whole.len() / TASK, tokens: task_tokens },
            split: Tasks { words: of_split, count: split.len() / TASK, tokens: 1 },
            table: of_table,
            chosen: of_chosen,
            rotations: angles
                .into_iter()
                .map(|(cosines, sines)| (uploaded.part(cosines), uploaded.part(sines)))
                .collect(),
            count: tokens.len(),
            chosen_count: chosen.len(),
            splits: longest.div_ceil(SPLIT),
        })
    }
}

/// Whether a segment's tokens and pages are of this model and of this pool: kernels do not ask.
fn check(architecture: &Architecture, pool: &Pool, segment: &Segment<'_>) -> Result<(), GpuError> {
    let length = segment.tokens.len();
    let wrong = |reason: String| Err(GpuError::Step(reason));
    if length == 0 {
        return wrong("a segment without tokens".to_owned());
    }
    if let Some(token) = segment.tokens.iter().find(|token| **token as usize >= architecture.vocabulary) {
        return wrong(format!("token {token} of a vocabulary of {}", architecture.vocabulary));
    }
    let needed = segment.past.saturating_add(length).div_ceil(pool.shape().page);
    if segment.pages.len() < needed {
        return wrong(format!("{} pages where {needed} are needed", segment.pages.len()));
    }
    if let Some(number) = segment.pages.iter().find(|number| **number as usize >= pool.pages()) {
        return wrong(format!("page {number} of {}", pool.pages()));
    }
    let fits = |(rotation, pairs): (&Rotation, &usize)| {
        rotation.cosines.len() == length * pairs && rotation.sines.len() == length * pairs
    };
    if segment.rotations.len() != architecture.pairs.len()
        || !segment.rotations.iter().zip(&architecture.pairs).all(fits)
    {
        return wrong("rotations of other positions".to_owned());
    }
    Ok(())
}

/// Several runs of words in one transfer.
struct Upload {
    words: Vec<u32>,
    /// Words between places where a run may begin.
    alignment: usize,
}

/// A run in an [`Upload`].
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    length: usize,
}

/// What was uploaded.
struct Uploaded(Buffer);

impl Upload {
    fn new(gpu: &Gpu) -> Self {
        let alignment = gpu.client.properties().memory.alignment as usize / 4;
        Self { words: Vec::new(), alignment: alignment.max(4) }
    }

    fn add(&mut self, words: &[u32]) -> Part {
        let start = self.words.len();
        self.words.extend_from_slice(words);
        // A run of no words has a place, too.
        let end = self.words.len().max(start + 1).next_multiple_of(self.alignment);
        self.words.resize(end, 0);
        Part { start, length: words.len().max(1) }
    }

    fn floats(&mut self, values: &[f32]) -> Part {
        let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        self.add(&words)
    }

    fn send(self, gpu: &Gpu) -> Result<Uploaded, GpuError> {
        gpu.words(&self.words).map(Uploaded)
    }
}

impl Uploaded {
    fn part(&self, part: Part) -> Buffer {
        self.0.part(part.start, part.length)
    }
}

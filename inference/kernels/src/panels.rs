//! Products of 32-bit floats near the processor's peak.
//!
//! Encoders read a text at once, so their products are bound by arithmetic, not by memory: weights
//! stay 32-bit floats, in panels of 32 columns of which a tile of input rows keeps all its sums in
//! registers (Goto and van de Geijn 2008). A row's sums are added up in one order however many
//! rows are multiplied with it: results do not depend on what shares a batch.

use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Arch, Simd, WithSimd};

use crate::aligned::AlignedBytes;
use crate::elementwise::ActivationFunction;
use crate::level::Level;
use crate::pool;

/// Columns of a panel: two of the widest vectors.
pub(crate) const PANEL: usize = 32;

/// The weights of a linear layer, `[inputs, outputs]`, and its bias.
pub struct Panels {
    inputs: usize,
    outputs: usize,
    /// Panel after panel of `[inputs, 32]` numbers; zeros behind the last column.
    weights: AlignedBytes,
    /// A panel's biases after the other's.
    bias: Vec<[f32; PANEL]>,
}

/// Tasks of a product for each thread: a thread that comes late leaves its part to the others.
const TASKS_A_THREAD: usize = 4;

/// What becomes of a product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Then {
    /// It takes the output's place.
    Replace,
    /// It is added to the output.
    Add,
    /// It takes the output's place, after a function.
    Apply(ActivationFunction),
}

impl Panels {
    /// Packs weights; element `(input, output)` is `weights[input * input_stride + output *
    /// output_stride]`, so that either order will do. `None` where numbers are missing.
    pub fn pack(
        [inputs, outputs]: [usize; 2],
        [input_stride, output_stride]: [usize; 2],
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Option<Self> {
        let last = inputs.checked_sub(1)? * input_stride + outputs.checked_sub(1)? * output_stride;
        if last >= weights.len() || bias.is_some_and(|bias| bias.len() != outputs) {
            return None;
        }
        let panels = outputs.div_ceil(PANEL);
        let size = inputs * size_of::<[f32; PANEL]>();
        let [_, packed] = AlignedBytes::filled(panels, 0, size, 1, |panel, _, bytes| {
            let columns = PANEL.min(outputs - panel * PANEL);
            let lines: &mut [[f32; PANEL]] = cast_slice_mut(bytes);
            for (input, line) in lines.iter_mut().enumerate() {
                for (column, value) in line.iter_mut().take(columns).enumerate() {
                    *value = weights[input * input_stride + (panel * PANEL + column) * output_stride];
                }
            }
        });
        let mut biases = vec![[0.0; PANEL]; panels];
        for (panel, bias) in biases.iter_mut().zip(bias.unwrap_or_default().chunks(PANEL)) {
            panel[..bias.len()].copy_from_slice(bias);
        }
        Some(Self { inputs, outputs, weights: packed, bias: biases })
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The product of `input`, `[rows, inputs]`, into `output`, `[rows, outputs]`; on all cores if
    /// `spread`. Rows that are not whole are left alone.
    pub fn multiply(&self, input: &[f32], output: &mut [f32], then: Then, spread: bool) {
        self.multiply_with(Arch::new(), input, output, then, spread);
    }

    /// [`multiply`](Self::multiply) with chosen instructions, or with the portable ones where the
    /// processor lacks them.
    pub fn multiply_at(&self, level: Level, input: &[f32], output: &mut [f32], then: Then, spread: bool) {
        self.multiply_with(arch(level), input, output, then, spread);
    }

    fn multiply_with(&self, arch: Arch, input: &[f32], output: &mut [f32], then: Then, spread: bool) {
        let rows = (input.len() / self.inputs).min(output.len() / self.outputs);
        let target = Target(output.as_mut_ptr());
        let multiply = |first: usize, count: usize| {
            arch.dispatch(Task { panels: self, first, count, input, rows, then, output: target.get() });
        };
        let panels = self.bias.len();
        if spread && panels > 1 {
            let tasks = (TASKS_A_THREAD * pool::threads()).min(panels);
            pool::run(tasks, |task| {
                let first = task * panels / tasks;
                multiply(first, (task + 1) * panels / tasks - first);
            });
        } else {
            multiply(0, panels);
        }
    }
}

/// An output that tasks write disjoint columns of.
struct Target(*mut f32);

// SAFETY: tasks have panels of their own, and write those columns only.
unsafe impl Sync for Target {}

impl Target {
    fn get(&self) -> *mut f32 {
        self.0
    }
}

/// The vectors of a level, or the portable ones where the processor lacks it.
pub(crate) fn arch(level: Level) -> Arch {
    #[cfg(target_arch = "x86_64")]
    match level {
        Level::Portable => {}
        Level::Avx2 => return pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        _ => return pulp::x86::V4::try_new().map_or(Arch::Scalar, Arch::V4),
    }
    let _ = level;
    Arch::Scalar
}

/// The product with some panels.
struct Task<'a> {
    panels: &'a Panels,
    first: usize,
    count: usize,
    input: &'a [f32],
    rows: usize,
    then: Then,
    output: *mut f32,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Panels { inputs, outputs, weights, bias } = self.panels;
        let weights: &[[f32; PANEL]] = cast_slice(weights.as_slice());
        for panel in self.first..self.first + self.count {
            let columns = PANEL.min(outputs - panel * PANEL);
            // SAFETY: the panel is one of the weights', the input has `rows` rows of `inputs`, and
            // the output has `rows` rows of `outputs`, of which no one else touches this panel's.
            unsafe {
                let block = Block {
                    rows: self.rows,
                    depth: *inputs,
                    columns,
                    input: self.input.as_ptr(),
                    input_stride: *inputs,
                    weights: weights[panel * inputs..(panel + 1) * inputs].as_ptr(),
                    bias: Some(&bias[panel]),
                    add: self.then == Then::Add,
                    output: self.output.add(panel * PANEL),
                    output_stride: *outputs,
                };
                block.multiply(simd, |line| {
                    if let Then::Apply(activation) = self.then {
                        activation.apply_inline(line);
                    }
                });
            }
        }
    }
}

/// Lines of a panel between the one at hand and the one asked for: weights come from far away, and farther
/// ahead than the processor looks by itself.
const AHEAD: usize = 24;

/// Asks for the line that is needed soon.
#[inline(always)]
fn ask(line: *const f32) {
    #[cfg(target_arch = "x86_64")]
    for half in 0..2 {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(AHEAD * PANEL + half * PANEL / 2).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Rows of input times one panel.
pub(crate) struct Block<'a> {
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// Columns of the panel that are written.
    pub(crate) columns: usize,
    pub(crate) input: *const f32,
    pub(crate) input_stride: usize,
    /// `depth` lines of a panel.
    pub(crate) weights: *const [f32; PANEL],
    pub(crate) bias: Option<&'a [f32; PANEL]>,
    /// To what the output holds.
    pub(crate) add: bool,
    pub(crate) output: *mut f32,
    pub(crate) output_stride: usize,
}

impl Block<'_> {
    /// Multiplies, and calls `finish` with each row's columns.
    ///
    /// # Safety
    /// The pointers lead to `rows` rows of `depth` and of `columns` numbers, at their strides, and
    /// to `depth` lines; nothing else uses the output meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn multiply<S: Simd>(&self, simd: S, finish: impl Fn(&mut [f32])) {
        // As many rows as leave registers for two vectors of weights.
        let most = match S::F32_LANES {
            16 => 14,
            8 => 6,
            _ => 4,
        };
        let mut scratch = [[0.0f32; PANEL]; 14];
        let tiles = self.rows.div_ceil(most).max(1);
        for tile in 0..tiles {
            let first = tile * self.rows / tiles;
            let count = (tile + 1) * self.rows / tiles - first;
            // SAFETY: these rows are among those promised.
            unsafe {
                let input = self.input.add(first * self.input_stride);
                let output = self.output.add(first * self.output_stride);
                let whole = self.columns == PANEL;
                let (target, stride) =
                    if whole { (output, self.output_stride) } else { (scratch.as_mut_ptr().cast::<f32>(), PANEL) };
                if !whole && self.add {
                    for (row, line) in scratch.iter_mut().enumerate().take(count) {
                        std::ptr::copy_nonoverlapping(
                            output.add(row * self.output_stride),
                            line.as_mut_ptr(),
                            self.columns,
                        );
                    }
                }
                macro_rules! rows {
                    ($($rows:literal)+) => {
                        match count {
                            $($rows => self.tile::<S, $rows>(simd, input, target, stride),)+
                            _ => {}
                        }
                    };
                }
                match S::F32_LANES {
                    16 => rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                    8 => rows!(1 2 3 4 5 6),
                    _ => rows!(1 2 3 4),
                }
                for row in 0..count {
                    let line = std::slice::from_raw_parts_mut(target.add(row * stride), self.columns);
                    finish(line);
                    if !whole {
                        std::ptr::copy_nonoverlapping(
                            line.as_ptr(),
                            output.add(row * self.output_stride),
                            self.columns,
                        );
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const ROWS: usize>(&self, simd: S, input: *const f32, output: *mut f32, stride: usize) {
        let lanes = S::F32_LANES;
        let mut column = 0;
        while column < PANEL {
            // SAFETY: as promised to `multiply`; two vectors from `column` on lie within a line.
            unsafe {
                let vector = |start: *const f32| start.cast::<S::f32s>().read_unaligned();
                let bias = self.bias.map_or([simd.splat_f32s(0.0); 2], |bias| {
                    let bias = bias.as_ptr().add(column);
                    [vector(bias), vector(bias.add(lanes))]
                });
                let mut sums = [bias; ROWS];
                let mut weights = self.weights.cast::<f32>().add(column);
                let mut position = input;
                for _ in 0..self.depth {
                    ask(weights);
                    let (first, second) = (vector(weights), vector(weights.add(lanes)));
                    for row in 0..ROWS {
                        let value = simd.splat_f32s(*position.add(row * self.input_stride));
                        sums[row][0] = simd.mul_add_e_f32s(value, first, sums[row][0]);
                        sums[row][1] = simd.mul_add_e_f32s(value, second, sums[row][1]);
                    }
                    position = position.add(1);
                    weights = weights.add(PANEL);
                }
                for row in 0..ROWS {
                    for half in 0..2 {
                        let target = output.add(row * stride + column + half * lanes);
                        let mut sum = sums[row][half];
                        if self.add {
                            sum = simd.add_f32s(sum, vector(target));
                        }
                        target.cast::<S::f32s>().write_unaligned(sum);
                    }
                }
            }
            column += 2 * lanes;
        }
    }
}

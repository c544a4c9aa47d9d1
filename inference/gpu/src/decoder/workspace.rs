//! What lies between the kernels of a step.

use super::weights::Stack;
use crate::GpuError;
use crate::device::{Buffer, Gpu};
use crate::kernels::experts::Groups;
use crate::kernels::product::{Finish, Input, Rows, multiply};
use crate::matrix::CHUNK;

/// Values that a token takes, by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) hidden: usize,
    /// Queries, keys and values.
    pub(super) projected: usize,
    pub(super) attended: usize,
    pub(super) block: BlockNeeds,
}

/// What the feed-forward block takes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BlockNeeds {
    /// Gates and what they gate.
    pub(super) wide: usize,
    /// The gated.
    pub(super) gated: usize,
    /// Experts in all, and those that a token goes through.
    pub(super) experts: usize,
    pub(super) used: usize,
}

impl BlockNeeds {
    /// Enough for both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            wide: self.wide.max(other.wide),
            gated: self.gated.max(other.gated),
            experts: self.experts.max(other.experts),
            used: self.used.max(other.used),
        }
    }
}

/// Room for a step of so many tokens, kept from step to step.
#[derive(Debug)]
pub(super) struct Workspace {
    tokens: usize,
    hidden: Plane,
    normed: Plane,
    projected: Plane,
    attended: Plane,
    output: Plane,
    wide: Plane,
    gated: Plane,
    router: Plane,
    mixed: Plane,
    pub(super) chosen: Buffer,
    pub(super) shares: Buffer,
    /// The choices by their experts, and tiles of them.
    pub(super) order: Buffer,
    pub(super) table: Buffer,
}

/// A row a token.
#[derive(Debug)]
struct Plane {
    buffer: Buffer,
    stride: usize,
}

/// Rows one after the other.
pub(super) fn rows(buffer: &Buffer, stride: usize) -> Rows<'_> {
    Rows { buffer, stride, start: 0 }
}

impl Plane {
    /// Rows of `width` values, padded with zeros to what products read at once.
    fn new(gpu: &Gpu, tokens: usize, width: usize) -> Result<Self, GpuError> {
        let stride = width.next_multiple_of(CHUNK);
        let length = tokens * stride;
        let buffer = if stride == width { gpu.room(length)? } else { gpu.floats(&vec![0.0; length])? };
        Ok(Self { buffer, stride })
    }

    fn rows(&self) -> Rows<'_> {
        rows(&self.buffer, self.stride)
    }
}

impl Workspace {
    /// The room there is, where it suffices; otherwise a larger one.
    pub(super) fn fitting(held: Option<Self>, gpu: &Gpu, needs: &Needs, tokens: usize) -> Result<Self, GpuError> {
        if let Some(held) = held.filter(|held| held.tokens >= tokens) {
            return Ok(held);
        }
        let tokens = tokens.next_power_of_two();
        let plane = |width| Plane::new(gpu, tokens, width);
        let block = needs.block;
        // Experts compute a row for each of a token's choices.
        let routed = |width: usize| Plane::new(gpu, tokens * block.used.max(1), width);
        let room = Self {
            tokens,
            hidden: plane(needs.hidden)?,
            normed: plane(needs.hidden)?,
            projected: plane(needs.projected)?,
            attended: plane(needs.attended)?,
            output: plane(needs.hidden)?,
            wide: plane(block.wide)?,
            gated: routed(block.gated)?,
            router: plane(block.experts)?,
            mixed: routed(if block.used > 0 { needs.hidden } else { 0 })?,
            chosen: gpu.room(tokens * block.used)?,
            shares: gpu.room(tokens * block.used)?,
            order: gpu.room(tokens * block.used)?,
            table: gpu.room(Groups::room(tokens * block.used, block.experts))?,
        };
        let planes = [
            &room.hidden,
            &room.normed,
            &room.projected,
            &room.attended,
            &room.output,
            &room.wide,
            &room.gated,
            &room.router,
            &room.mixed,
        ];
        let buffers =
            planes.into_iter().map(|plane| &plane.buffer).chain([&room.chosen, &room.shares, &room.order, &room.table]);
        gpu.ensure(&buffers.collect::<Vec<_>>())?;
        Ok(room)
    }

    pub(super) fn hidden(&self) -> Rows<'_> {
        self.hidden.rows()
    }

    pub(super) fn normed(&self) -> Rows<'_> {
        self.normed.rows()
    }

    pub(super) fn projected(&self) -> Rows<'_> {
        self.projected.rows()
    }

    pub(super) fn attended(&self) -> Rows<'_> {
        self.attended.rows()
    }

    /// A block's output, before it is normalized.
    pub(super) fn output(&self) -> Rows<'_> {
        self.output.rows()
    }

    pub(super) fn wide(&self) -> Rows<'_> {
        self.wide.rows()
    }

    pub(super) fn gated(&self) -> Rows<'_> {
        self.gated.rows()
    }

    pub(super) fn router(&self) -> Rows<'_> {
        self.router.rows()
    }

    pub(super) fn mixed(&self) -> Rows<'_> {
        self.mixed.rows()
    }

    /// The stack's outputs; with a multiplier, added to what the output holds.
    pub(super) fn project<'a>(
        &self,
        gpu: &Gpu,
        stack: &Stack,
        input: impl Into<Input<'a>>,
        output: Rows<'_>,
        tokens: usize,
        added: Option<f32>,
    ) {
        let input = input.into();
        for part in &stack.parts {
            let finish = Finish { adds: added.is_some(), multiplier: added.unwrap_or(1.0), ..part.finish() };
            multiply(gpu, &part.weight, input, Rows { start: part.start, ..output }, tokens, &finish, None);
        }
    }
}

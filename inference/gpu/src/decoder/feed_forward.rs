//! Gated feed-forward blocks and mixtures of them.

use super::Architecture;
use super::weights::{Experts, FeedForward, Gated, Stack};
use super::workspace::{BlockNeeds, Workspace};
use crate::device::Gpu;
use crate::kernels::activation::gate;
use crate::kernels::experts::{Groups, MOST_EXPERTS, choose, mix};
use crate::kernels::product::{Choice, Finish, Input, Rows, multiply};
use crate::{GpuError, Matrix};

/// What follows attention, ready to be computed.
#[derive(Debug)]
pub(super) enum Block {
    Dense {
        /// Gates, and below them what they gate.
        up: Stack,
        down: Stack,
    },
    Sparse(Mixture),
}

/// Experts below each other.
#[derive(Debug)]
pub(super) struct Mixture {
    router: Matrix,
    /// Gates and what they gate, of one expert after the other.
    up: Matrix,
    down: Matrix,
    experts: usize,
    used: usize,
    normalized: bool,
}

impl Block {
    pub(super) fn new(gpu: &Gpu, weights: FeedForward) -> Result<Self, GpuError> {
        match weights {
            FeedForward::Dense(Gated { gate, up, down }) => {
                Ok(Self::Dense { up: Stack::new(gpu, &[&gate, &up])?, down: Stack::new(gpu, &[&down])? })
            }
            FeedForward::Sparse(experts) => Mixture::new(gpu, experts).map(Self::Sparse),
        }
    }

    /// What the block takes of the workspace.
    pub(super) fn needs(&self) -> BlockNeeds {
        match self {
            Self::Dense { up, .. } => BlockNeeds { wide: up.rows, gated: up.rows / 2, ..BlockNeeds::default() },
            Self::Sparse(mixture) => BlockNeeds {
                wide: 0,
                gated: mixture.up.rows / mixture.experts / 2,
                experts: mixture.experts,
                used: mixture.used,
            },
        }
    }

    /// The block's output for the hidden states; with a multiplier, added to what the
    /// output holds.
    pub(super) fn apply(
        &self,
        gpu: &Gpu,
        architecture: &Architecture,
        room: &Workspace,
        input: Input<'_>,
        output: Rows<'_>,
        tokens: usize,
        added: Option<f32>,
    ) -> Result<(), GpuError> {
        match self {
            Self::Dense { up, down } => {
                match up.whole() {
                    Some(whole) => {
                        let finish = Finish { gate: Some(architecture.activation), ..whole.finish() };
                        multiply(gpu, &whole.weight, input, room.gated(), tokens, &finish, None);
                    }
                    None => {
                        room.project(gpu, up, input, room.wide(), tokens, None);
                        gate(gpu, room.wide(), room.gated(), up.rows / 2, tokens, architecture.activation);
                    }
                }
                room.project(gpu, down, room.gated(), output, tokens, added);
            }
            Self::Sparse(mixture) => mixture.apply(gpu, architecture, room, input, output, tokens, added),
        }
        Ok(())
    }
}

impl Mixture {
    fn new(gpu: &Gpu, weights: Experts) -> Result<Self, GpuError> {
        let count = weights.experts.len();
        if count == 0 || count > MOST_EXPERTS || weights.used > count {
            return Err(GpuError::Unsupported(format!("mixture of {count} experts")));
        }
        if weights
            .experts
            .iter()
            .any(|expert| [&expert.gate, &expert.up, &expert.down].iter().any(|layer| layer.bias.is_some()))
        {
            return Err(GpuError::Unsupported("experts with biases".to_owned()));
        }
        let stacked = |parts: Vec<&Matrix>| {
            Matrix::stacked(gpu, &parts)?.ok_or_else(|| GpuError::Unsupported("experts of several formats".to_owned()))
        };
        let ups = weights.experts.iter().flat_map(|expert| [&expert.gate.weight, &expert.up.weight]);
        let downs = weights.experts.iter().map(|expert| &expert.down.weight);
        Ok(Self {
            up: stacked(ups.collect())?,
            down: stacked(downs.collect())?,
            router: weights.router,
            experts: count,
            used: weights.used,
            normalized: weights.normalized,
        })
    }

    fn apply(
        &self,
        gpu: &Gpu,
        architecture: &Architecture,
        room: &Workspace,
        input: Input<'_>,
        output: Rows<'_>,
        tokens: usize,
        added: Option<f32>,
    ) {
        let (experts, used) = (self.experts, self.used);
        multiply(gpu, &self.router, input, room.router(), tokens, &Finish::plain(), None);
        choose(gpu, room.router(), &room.chosen, &room.shares, tokens, experts, used, self.normalized);
        let routed = tokens * used;
        let grouped = input.norm.is_none();
        let groups = grouped.then(|| Groups::new(gpu, &room.chosen, &room.order, &room.table, routed, experts));
        let groups = groups.flatten();
        let choice =
            |matrix: &Matrix, share| Choice { chosen: &room.chosen, rows: matrix.rows / experts, share, groups };
        let finish = Finish { gate: Some(architecture.activation), ..Finish::plain() };
        multiply(gpu, &self.up, input, room.gated(), routed, &finish, Some(choice(&self.up, used)));
        multiply(gpu, &self.down, room.gated(), room.mixed(), routed, &Finish::plain(), Some(choice(&self.down, 1)));
        mix(gpu, room.mixed(), &room.shares, output, architecture.hidden_size, tokens, used, added);
    }
}

//! Mixtures of experts, in the layouts that checkpoints hold them in.

use super::Weights;
use crate::ModelError;
use crate::models::decoder::{ExpertsConfig, GatedLinear, MixtureOfExperts};
use crate::models::projection::Projection;

/// What a layer's router and experts are called.
struct Layout {
    router: &'static str,
    experts: Experts,
}

enum Experts {
    /// A tensor for each projection of each expert: in `folder`, under its number.
    Single { folder: &'static str, gate: &'static str, up: &'static str, down: &'static str },
    /// Two tensors for all experts: `[experts, gate and up, hidden]` and `[experts, hidden, wide]`.
    Stacked { gate_up: &'static str, down: &'static str },
}

const LAYOUTS: [Layout; 6] = [
    // Qwen's.
    Layout {
        router: "mlp.gate",
        experts: Experts::Single { folder: "mlp.experts", gate: "gate_proj", up: "up_proj", down: "down_proj" },
    },
    // Mixtral's.
    Layout {
        router: "block_sparse_moe.gate",
        experts: Experts::Single { folder: "block_sparse_moe.experts", gate: "w1", up: "w3", down: "w2" },
    },
    // Granite's.
    Layout {
        router: "block_sparse_moe.router.layer",
        experts: Experts::Stacked {
            gate_up: "block_sparse_moe.input_linear.weight",
            down: "block_sparse_moe.output_linear.weight",
        },
    },
    // As transformers 5 holds them, and can save them.
    Layout {
        router: "mlp.gate",
        experts: Experts::Stacked { gate_up: "mlp.experts.gate_up_proj", down: "mlp.experts.down_proj" },
    },
    Layout {
        router: "block_sparse_moe.gate",
        experts: Experts::Stacked {
            gate_up: "block_sparse_moe.experts.gate_up_proj",
            down: "block_sparse_moe.experts.down_proj",
        },
    },
    Layout {
        router: "block_sparse_moe.router",
        experts: Experts::Stacked {
            gate_up: "block_sparse_moe.experts.gate_up_proj",
            down: "block_sparse_moe.experts.down_proj",
        },
    },
];

impl Weights<'_> {
    pub(super) fn mixture(&self, experts: ExpertsConfig) -> Result<MixtureOfExperts, ModelError> {
        let present = |layout: &&Layout| {
            let part = match layout.experts {
                Experts::Single { folder, down, .. } => format!("{folder}.0.{down}.weight"),
                Experts::Stacked { down, .. } => down.to_owned(),
            };
            self.holds(layout.router) && self.checkpoint.contains(&self.name(&part))
        };
        let [first, ..] = &LAYOUTS;
        // Where nothing is known, the error names the tensors of the most usual layout.
        let layout = LAYOUTS.iter().find(present).unwrap_or(first);
        Ok(MixtureOfExperts {
            gate: self.linear(layout.router, self.config().hidden_size, experts.num_experts, false)?,
            experts: (0..experts.num_experts)
                .map(|index| self.expert(&layout.experts, experts, index))
                .collect::<Result<_, _>>()?,
            config: experts,
        })
    }

    fn expert(&self, layout: &Experts, experts: ExpertsConfig, index: usize) -> Result<GatedLinear, ModelError> {
        let (hidden, wide) = (self.config().hidden_size, experts.intermediate_size);
        match layout {
            Experts::Single { folder, gate, up, down } => {
                let linear =
                    |part: &str, input, output| self.linear(&format!("{folder}.{index}.{part}"), input, output, false);
                Ok(GatedLinear {
                    gate_proj: linear(gate, hidden, wide)?,
                    up_proj: linear(up, hidden, wide)?,
                    down_proj: linear(down, wide, hidden)?,
                })
            }
            Experts::Stacked { gate_up, down } => {
                let rows =
                    |name: &str, rows: usize, input: usize, start: usize, count: usize| -> Result<Projection, _> {
                        let start = index * rows + start;
                        let shape = [experts.num_experts, rows, input];
                        self.checkpoint.projection_rows(self.packing, &self.name(name), &shape, start..start + count)
                    };
                Ok(GatedLinear {
                    gate_proj: rows(gate_up, 2 * wide, hidden, 0, wide)?,
                    up_proj: rows(gate_up, 2 * wide, hidden, wide, wide)?,
                    down_proj: rows(down, hidden, wide, 0, hidden)?,
                })
            }
        }
    }
}

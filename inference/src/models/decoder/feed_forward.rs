//! Gated feed-forward blocks, dense or as a mixture of experts.

use burn::module::Module;
use burn::tensor::activation::{gelu, gelu_approximate, silu, softmax};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use super::super::projection::Projection;
use super::{Activation, ExpertsConfig};

/// What follows attention in a layer.
#[derive(Module, Debug)]
pub enum FeedForward {
    Dense(GatedLinear),
    Sparse(MixtureOfExperts),
}

impl FeedForward {
    pub(super) fn forward(&self, hidden: Tensor<3>, activation: Activation) -> Tensor<3> {
        match self {
            Self::Dense(dense) => dense.forward(hidden, activation),
            Self::Sparse(sparse) => sparse.forward(hidden, activation),
        }
    }
}

/// Two projections up, one of which gates the other, and one down.
#[derive(Module, Debug)]
pub struct GatedLinear {
    pub gate_proj: Projection,
    pub up_proj: Projection,
    pub down_proj: Projection,
}

impl GatedLinear {
    fn forward(&self, hidden: Tensor<3>, activation: Activation) -> Tensor<3> {
        let gate = activation.apply(self.gate_proj.forward(hidden.clone()));
        self.down_proj.forward(gate * self.up_proj.forward(hidden))
    }
}

impl Activation {
    fn apply(self, input: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Silu => silu(input),
            Self::Gelu => gelu(input),
            Self::GeluTanh => gelu_approximate(input),
        }
    }
}

/// Feed-forward blocks of which each token goes through a few, chosen by a router (Shazeer et al. 2017).
#[derive(Module, Debug)]
pub struct MixtureOfExperts {
    /// The router, to a score for each expert.
    pub gate: Projection,
    pub experts: Vec<GatedLinear>,
    #[module(skip)]
    pub config: ExpertsConfig,
}

impl MixtureOfExperts {
    /// Only the experts that some token chose are computed, each on its tokens.
    fn forward(&self, hidden: Tensor<3>, activation: Activation) -> Tensor<3> {
        let [batch, length, size] = hidden.dims();
        let tokens = batch * length;
        let shares = softmax(self.gate.forward(hidden.clone()), 2).reshape([tokens, self.experts.len()]);
        let chosen = self.choose(&shares);
        let shares = if self.config.norm_topk_prob { normalize(shares, &chosen) } else { shares };
        let hidden = hidden.reshape([1, tokens, size]);
        let device = hidden.device();
        let mut output = Tensor::<3>::zeros([1, tokens, size], &device);
        for (index, expert) in self.experts.iter().enumerate() {
            let rows: Vec<i32> =
                (0..).zip(&chosen).filter(|(_, experts)| experts.contains(&index)).map(|(row, _)| row).collect();
            let share = shares.clone().narrow(1, index, 1).unsqueeze();
            if rows.len() == tokens {
                output = output + expert.forward(hidden.clone(), activation) * share;
            } else if !rows.is_empty() {
                let count = rows.len();
                let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
                let computed = expert.forward(hidden.clone().select(1, rows.clone()), activation);
                let shared = computed * share.select(1, rows.clone());
                output = output.select_assign(1, rows, shared, IndexingUpdateOp::Add);
            }
        }
        output.reshape([batch, length, size])
    }

    /// The experts of each token, by `shares` of `[tokens, experts]`. Of equals the first.
    fn choose(&self, shares: &Tensor<2>) -> Vec<Vec<usize>> {
        // Which experts are computed is decided on the host, so their shares are read back.
        let values: Vec<f32> = shares.clone().detach().into_data().iter::<f32>().collect();
        self.choose_by(&values)
    }

    /// [`MixtureOfExperts::choose`] by shares on the host.
    pub(crate) fn choose_by(&self, shares: &[f32]) -> Vec<Vec<usize>> {
        let best = |row: &[f32]| {
            let mut experts: Vec<(usize, f32)> = row.iter().copied().enumerate().collect();
            experts.sort_by(|a, b| b.1.total_cmp(&a.1));
            experts.iter().take(self.config.num_experts_per_tok).map(|(expert, _)| *expert).collect()
        };
        shares.chunks(self.experts.len().max(1)).map(best).collect()
    }
}

/// Scales the shares so that those of a token's chosen experts add up to one.
fn normalize(shares: Tensor<2>, chosen: &[Vec<usize>]) -> Tensor<2> {
    let [tokens, experts] = shares.dims();
    let mut mask = vec![0.0_f32; tokens * experts];
    for (row, chosen) in mask.chunks_mut(experts.max(1)).zip(chosen) {
        for expert in chosen {
            if let Some(value) = row.get_mut(*expert) {
                *value = 1.0;
            }
        }
    }
    let mask = Tensor::<2>::from_data(TensorData::new(mask, [tokens, experts]), &shares.device());
    let total = (shares.clone() * mask).sum_dim(1);
    shares / total
}

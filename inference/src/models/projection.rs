//! Linear layers and tables: as tensors on a device, packed for the processor, or packed on a GPU.

use std::fmt;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::{Int, Tensor, TensorData};
use codriver_gpu::{Gpu, Matrix};
use codriver_kernels::{Activations, PackedMatrix, add_bias, multiply, multiply_all};

use super::{project, project_weight};

/// A linear layer.
#[derive(Module, Debug)]
pub enum Projection {
    /// On any device, and to be trained.
    Dense(Linear),
    /// On the processor, in the bits that its file has.
    Packed(PackedLinear),
    /// On a GPU, in the bits that its file has.
    Resident(ResidentLinear),
}

/// Weights `[output, input]` in few bits, and a bias.
#[derive(Module, Debug)]
pub struct PackedLinear {
    #[module(skip)]
    weight: Packed,
    #[module(skip)]
    bias: Option<Vec<f32>>,
}

/// [`PackedLinear`] on a GPU.
#[derive(Module, Debug)]
pub struct ResidentLinear {
    #[module(skip)]
    gpu: Gpu,
    #[module(skip)]
    weight: Matrix,
    #[module(skip)]
    bias: Option<Vec<f32>>,
}

/// The vectors of the vocabulary.
#[derive(Module, Debug)]
pub enum Table {
    Dense(Embedding),
    Packed(PackedTable),
    Resident(ResidentTable),
}

/// A vector a row, in few bits.
#[derive(Module, Debug)]
pub struct PackedTable {
    #[module(skip)]
    rows: Packed,
}

/// [`PackedTable`] on a GPU.
#[derive(Module, Debug)]
pub struct ResidentTable {
    #[module(skip)]
    gpu: Gpu,
    #[module(skip)]
    rows: Matrix,
}

/// A packed matrix that modules can share.
#[derive(Clone)]
struct Packed(Arc<PackedMatrix>);

impl Projection {
    pub(crate) fn packed(weight: PackedMatrix, bias: Option<Vec<f32>>) -> Self {
        Self::Packed(PackedLinear { weight: Packed(Arc::new(weight)), bias })
    }

    pub(crate) fn resident(gpu: &Gpu, weight: Matrix, bias: Option<Vec<f32>>) -> Self {
        Self::Resident(ResidentLinear { gpu: gpu.clone(), weight, bias })
    }

    /// The layer as tensors; `None` where it is packed.
    pub fn dense(&self) -> Option<&Linear> {
        match self {
            Self::Dense(linear) => Some(linear),
            Self::Packed(_) | Self::Resident(_) => None,
        }
    }

    /// [`Projection::dense`], to be changed.
    pub fn dense_mut(&mut self) -> Option<&mut Linear> {
        match self {
            Self::Dense(linear) => Some(linear),
            Self::Packed(_) | Self::Resident(_) => None,
        }
    }

    pub(crate) fn as_packed(&self) -> Option<&PackedLinear> {
        match self {
            Self::Dense(_) | Self::Resident(_) => None,
            Self::Packed(linear) => Some(linear),
        }
    }

    /// The layer's output, `[batch, positions, output]`.
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Dense(linear) => project(linear, input),
            Self::Packed(linear) => multiplied(&linear.weight.0, linear.bias.as_deref(), input),
            Self::Resident(linear) => on_gpu(&linear.gpu, &linear.weight, linear.bias.as_deref(), input),
        }
    }
}

impl PackedLinear {
    /// The layer's output for rows of input, a row each.
    pub(crate) fn multiply(&self, input: &Activations) -> Vec<f32> {
        let [output] = Self::multiply_all([self], input);
        output
    }

    /// The outputs of several layers for the same input: the cores share all of them at once.
    pub(crate) fn multiply_all<const COUNT: usize>(layers: [&Self; COUNT], input: &Activations) -> [Vec<f32>; COUNT] {
        let mut outputs = multiply_all(&layers.map(|layer| &*layer.weight.0), input).into_iter();
        layers.map(|layer| {
            let mut output = outputs.next().unwrap_or_default();
            if let Some(bias) = &layer.bias {
                add_bias(&mut output, bias);
            }
            output
        })
    }
}

impl Table {
    pub(crate) fn resident(gpu: &Gpu, rows: Matrix) -> Self {
        Self::Resident(ResidentTable { gpu: gpu.clone(), rows })
    }

    pub(crate) fn packed(rows: PackedMatrix) -> Self {
        Self::Packed(PackedTable { rows: Packed(Arc::new(rows)) })
    }

    /// The table as a tensor, to look into and to train.
    pub fn dense(&self) -> Option<Tensor<2>> {
        match self {
            Self::Dense(embedding) => Some(embedding.weight.val()),
            Self::Packed(_) | Self::Resident(_) => None,
        }
    }

    pub(crate) fn as_packed(&self) -> Option<&PackedMatrix> {
        match self {
            Self::Dense(_) | Self::Resident(_) => None,
            Self::Packed(table) => Some(&table.rows.0),
        }
    }

    /// The vectors of tokens, `[batch, positions, size]`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        match self {
            Self::Dense(embedding) => embedding.forward(tokens),
            Self::Packed(table) => {
                let device = tokens.device();
                let [batch, length] = tokens.dims();
                let tokens = tokens.into_data();
                let rows = tokens.iter::<i64>().map(|token| usize::try_from(token).unwrap_or(usize::MAX));
                let missing = || vec![f32::NAN; table.rows.0.columns()];
                let values: Vec<f32> = rows.flat_map(|row| table.rows.0.row(row).unwrap_or_else(missing)).collect();
                Tensor::from_data(TensorData::new(values, [batch, length, table.rows.0.columns()]), &device)
            }
            Self::Resident(table) => {
                let (device, [batch, length]) = (tokens.device(), tokens.dims());
                let tokens = tokens.into_data();
                let tokens: Vec<u32> =
                    tokens.iter::<i64>().map(|token| u32::try_from(token).unwrap_or(u32::MAX)).collect();
                let columns = table.rows.columns();
                let values =
                    table.rows.look_up(&table.gpu, &tokens).unwrap_or_else(|_| missing(tokens.len() * columns));
                Tensor::from_data(TensorData::new(values, [batch, length, columns]), &device)
            }
        }
    }

    /// Hidden states as scores of the vocabulary: the table as the last layer.
    pub fn scores(&self, hidden: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Dense(embedding) => project_weight(embedding.weight.val().transpose(), hidden),
            Self::Packed(table) => multiplied(&table.rows.0, None, hidden),
            Self::Resident(table) => on_gpu(&table.gpu, &table.rows, None, hidden),
        }
    }
}

impl ResidentLinear {
    /// The layer as a decoder on the GPU takes it.
    pub(crate) fn into_linear(self) -> codriver_gpu::Linear {
        codriver_gpu::Linear { weight: self.weight, bias: self.bias }
    }
}

impl ResidentTable {
    /// The GPU, and the table as a decoder on it takes it.
    pub(crate) fn into_matrix(self) -> (Gpu, Matrix) {
        (self.gpu, self.rows)
    }
}

fn on_gpu(gpu: &Gpu, weight: &Matrix, bias: Option<&[f32]>, input: Tensor<3>) -> Tensor<3> {
    let device = input.device();
    let [batch, length, _] = input.dims();
    let values: Vec<f32> = input.into_data().iter::<f32>().collect();
    let mut output = weight.multiply(gpu, &values).unwrap_or_else(|_| missing(batch * length * weight.rows()));
    if let Some(bias) = bias {
        add_bias(&mut output, bias);
    }
    Tensor::from_data(TensorData::new(output, [batch, length, weight.rows()]), &device)
}

/// What a GPU that fails has computed: no numbers.
fn missing(count: usize) -> Vec<f32> {
    vec![f32::NAN; count]
}

fn multiplied(weight: &PackedMatrix, bias: Option<&[f32]>, input: Tensor<3>) -> Tensor<3> {
    let device = input.device();
    let [batch, length, size] = input.dims();
    let values: Vec<f32> = input.into_data().iter::<f32>().collect();
    let mut output = multiply(weight, &Activations::new(values, size));
    if let Some(bias) = bias {
        add_bias(&mut output, bias);
    }
    Tensor::from_data(TensorData::new(output, [batch, length, weight.rows()]), &device)
}

impl fmt::Debug for Packed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} [{}, {}]", self.0.format(), self.0.rows(), self.0.columns())
    }
}

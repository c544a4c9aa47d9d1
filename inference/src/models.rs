//! The networks, as Burn modules.

pub mod decoder;
pub mod encoder;
pub mod projection;
pub mod rotary;

use burn::nn::Linear;
use burn::tensor::Tensor;

/// A linear layer over the last dimension, always as one matrix product: Burn's own may
/// broadcast the weights over the batch instead, which copies weights that lie transposed.
fn project(layer: &Linear, input: Tensor<3>) -> Tensor<3> {
    let product = project_weight(layer.weight.val(), input);
    match &layer.bias {
        Some(bias) => product + bias.val().unsqueeze(),
        None => product,
    }
}

/// `input` times a weight of `[input, output]`.
fn project_weight(weight: Tensor<2>, input: Tensor<3>) -> Tensor<3> {
    let [batch, length, input_size] = input.dims();
    let [_, output_size] = weight.dims();
    input.reshape([batch * length, input_size]).matmul(weight).reshape([batch, length, output_size])
}

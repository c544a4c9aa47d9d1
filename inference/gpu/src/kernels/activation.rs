//! The functions of gates.

use cubecl::prelude::*;

use super::product::Rows;
use crate::device::Gpu;

/// The function of the feed-forward blocks' gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    Silu,
    Gelu,
    /// GELU by its approximation with a hyperbolic tangent.
    GeluTanh,
}

/// The function's value; the input itself where there is no function.
#[cube]
pub(crate) fn activated(value: f32, #[comptime] function: Option<Activation>) -> f32 {
    match function {
        Option::Some(Activation::Silu) => value / (1.0f32 + (0.0f32 - value).exp()),
        Option::Some(Activation::Gelu) => 0.5f32 * value * (1.0f32 + Erf::erf(value * std::f32::consts::FRAC_1_SQRT_2)),
        Option::Some(Activation::GeluTanh) => {
            let inner = 0.797_884_6f32 * (value + 0.044_715f32 * value * value * value);
            0.5f32 * value * (1.0f32 + inner.tanh())
        }
        Option::None => value,
    }
}

/// Units in a cube.
const UNITS: u32 = 256;

/// Gates times what they gate: of each row of `2 * wide` values the first half, activated, times the
/// second.
pub(crate) fn gate(gpu: &Gpu, input: Rows<'_>, output: Rows<'_>, wide: usize, tokens: usize, function: Activation) {
    // SAFETY: units past a row's end do nothing, and there is a row of cubes a token.
    unsafe {
        gate_kernel::launch_unchecked(
            &gpu.client,
            CubeCount::Static(wide.div_ceil(UNITS as usize) as u32, tokens as u32, 1),
            CubeDim::new_1d(UNITS),
            input.buffer.arg(),
            output.buffer.arg(),
            wide as u32,
            input.stride as u32,
            output.stride as u32,
            function,
        );
    }
}

#[cube(launch_unchecked)]
fn gate_kernel(
    input: &[f32],
    output: &mut [f32],
    wide: u32,
    input_stride: u32,
    output_stride: u32,
    #[comptime] function: Activation,
) {
    let column = CUBE_POS_X * UNITS + UNIT_POS_X;
    if column < wide {
        let at = (CUBE_POS_Y * input_stride + column) as usize;
        let value = activated(input[at], comptime!(Some(function))) * input[at + wide as usize];
        output[(CUBE_POS_Y * output_stride + column) as usize] = value;
    }
}

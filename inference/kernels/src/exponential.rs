//! The exponential function and what is made of it, without branches: loops over them become
//! vector instructions wherever they are compiled for such.

/// e to the power of `x`, to about two units in the last place; a NaN stays one.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Comparisons, unlike `clamp`, let a NaN through on every processor.
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    // Adding 1.5 * 2^23 rounds to whole numbers, and leaves them in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let whole = shifted - SHIFT;
    // ln 2 in two parts, the first of few bits: the product is exact (Cody and Waite 1980).
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    // The polynomial of Cephes' expf.
    let mut polynomial = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        polynomial = polynomial * rest + coefficient;
    }
    let power = polynomial * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127);
    power * f32::from_bits(exponent << 23)
}

#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // Near zero the quotient would lose all digits: there the odd series is exact enough.
    let square = x * x;
    let series = x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 - square * (17.0 / 315.0))));
    let quotient = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if square < 0.01 { series } else { quotient }
}

/// The error function, to 1.5e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let mut polynomial = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        polynomial = polynomial * t + coefficient;
    }
    (1.0 - polynomial * t * exp(-size * size)).copysign(x)
}

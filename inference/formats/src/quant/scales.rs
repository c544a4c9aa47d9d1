//! The searches for the scale of a group of numbers, by weighted least squares over a few
//! candidates. Sums run in the order of llama.cpp's loops, so that the results are the same bits.

use super::nearest;

/// Groups whose numbers are all smaller count as zeros.
pub(super) const SMALLEST: f32 = 1e-15;

/// Numbers are `scale * level - minimum`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Affine {
    pub(super) scale: f32,
    pub(super) minimum: f32,
}

/// How [`affine`] searches.
pub(super) struct Search {
    /// Levels are 0 to this.
    pub(super) levels: i32,
    /// The range is tried divided by `levels + first`, and by steps of 0.1 more.
    pub(super) first: f32,
    pub(super) steps: u8,
    /// Absolute errors instead of squares.
    pub(super) absolute: bool,
}

/// The scale and minimum of a group with the least weighted error (`make_qkx2_quants`), and the
/// levels of its numbers.
pub(super) fn affine<const SIZE: usize>(
    search: &Search,
    values: &[f32; SIZE],
    weights: &[f32; SIZE],
    levels: &mut [u8; SIZE],
) -> Affine {
    let (mut least, mut most) = (values[0], values[0]);
    let (mut sum_w, mut sum_x) = (weights[0], weights[0] * values[0]);
    for (value, weight) in values.iter().zip(weights).skip(1) {
        least = if *value < least { *value } else { least };
        most = if *value > most { *value } else { most };
        sum_w += weight;
        sum_x += weight * value;
    }
    least = least.min(0.0);
    if most == least {
        levels.fill(0);
        return Affine { scale: 0.0, minimum: -least };
    }
    let quantized = |inverse: f32, minimum: f32| {
        values.map(|value| nearest(inverse * (value - minimum)).clamp(0, search.levels) as u8)
    };
    let error = |levels: &[u8; SIZE], scale: f32, minimum: f32| {
        let mut error = 0.0;
        for ((value, weight), level) in values.iter().zip(weights).zip(levels) {
            let difference = scale * f32::from(*level) + minimum - value;
            error += weight * if search.absolute { difference.abs() } else { difference * difference };
        }
        error
    };
    let inverse = search.levels as f32 / (most - least);
    let (mut scale, mut minimum) = (1.0 / inverse, least);
    *levels = quantized(inverse, minimum);
    let mut best_error = error(levels, scale, minimum);
    for step in 0..=search.steps {
        // From the best minimum so far, as there.
        let divisions = search.first + 0.1 * f32::from(step) + search.levels as f32;
        let candidate = quantized(divisions / (most - minimum), minimum);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        for ((value, weight), level) in values.iter().zip(weights).zip(&candidate) {
            let level = f32::from(*level);
            sum_l += weight * level;
            sum_l2 += weight * level * level;
            sum_xl += weight * level * value;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant > 0.0 {
            let mut this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            let mut this_minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
            if this_minimum > 0.0 {
                this_minimum = 0.0;
                this_scale = sum_xl / sum_l2;
            }
            let this_error = error(&candidate, this_scale, this_minimum);
            if this_error < best_error {
                *levels = candidate;
                (best_error, scale, minimum) = (this_error, this_scale, this_minimum);
            }
        }
    }
    Affine { scale, minimum: -minimum }
}

/// The scale of a group whose levels lie around zero, `-half..half`, with the least error weighted
/// by the squares (`make_qx_quants`), and the levels counted from `-half`.
pub(super) fn linear(half: i32, values: &[f32; 16], levels: &mut [u8; 16]) -> f32 {
    let furthest = furthest(values);
    if furthest.abs() < SMALLEST {
        levels.fill(0);
        return 0.0;
    }
    let quantized = |inverse: f32| values.map(|value| nearest(inverse * value).clamp(-half, half - 1));
    let first = quantized(-half as f32 / furthest);
    let (sum_lx, sum_l2) = products(values, &first);
    let mut scale = if sum_l2 != 0.0 { sum_lx / sum_l2 } else { 0.0 };
    let mut best = scale * sum_lx;
    let mut best_levels = first;
    for step in (-9_i8..=9).filter(|step| *step != 0) {
        let candidate = quantized(-(half as f32 + 0.1 * f32::from(step)) / furthest);
        let (sum_lx, sum_l2) = products(values, &candidate);
        if sum_l2 > 0.0 && sum_lx * sum_lx > best * sum_l2 {
            scale = sum_lx / sum_l2;
            best = scale * sum_lx;
            best_levels = candidate;
        }
    }
    *levels = best_levels.map(|level| (level + half) as u8);
    scale
}

/// The scale of a group of three-bit levels, which are improved one by one (`make_q3_quants`), and
/// the levels counted from -4.
pub(super) fn three_bits(values: &[f32; 16], levels: &mut [u8; 16]) -> f32 {
    const HALF: i32 = 4;
    let furthest = furthest(values);
    if furthest.abs() < SMALLEST {
        levels.fill(0);
        return 0.0;
    }
    let inverse = -HALF as f32 / furthest;
    let mut current = values.map(|value| nearest(inverse * value).clamp(-HALF, HALF - 1));
    let (mut sum_lx, mut sum_l2) = products(values, &current);
    for _ in 0..5 {
        let mut changed = false;
        for (value, level) in values.iter().zip(&mut current) {
            let weight = value * value;
            let old = *level as f32;
            let mut without_lx = sum_lx - weight * value * old;
            if without_lx <= 0.0 {
                continue;
            }
            let mut without_l2 = sum_l2 - weight * old * old;
            let new_level = nearest(value * without_l2 / without_lx).clamp(-HALF, HALF - 1);
            if new_level == *level {
                continue;
            }
            let new = new_level as f32;
            without_lx += weight * value * new;
            without_l2 += weight * new * new;
            if without_l2 > 0.0 && without_lx * without_lx * sum_l2 > sum_lx * sum_lx * without_l2 {
                *level = new_level;
                (sum_lx, sum_l2) = (without_lx, without_l2);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    *levels = current.map(|level| (level + HALF) as u8);
    if sum_l2 > 0.0 { sum_lx / sum_l2 } else { 0.0 }
}

/// The sums of value times level and of squared levels, weighted by the squares of the values.
fn products(values: &[f32; 16], levels: &[i32; 16]) -> (f32, f32) {
    let (mut sum_lx, mut sum_l2) = (0.0, 0.0);
    for (value, level) in values.iter().zip(levels) {
        let (weight, level) = (value * value, *level as f32);
        sum_lx += weight * value * level;
        sum_l2 += weight * level * level;
    }
    (sum_lx, sum_l2)
}

/// The number with the largest magnitude, with its sign; the first of equals.
pub(super) fn furthest(values: &[f32]) -> f32 {
    values.iter().fold(0.0_f32, |furthest, value| if value.abs() > furthest.abs() { *value } else { furthest })
}

/// The levels of IQ4_NL and IQ4_XS, denser around zero as weights are.
pub(super) const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The scale of 32 numbers on the levels of [`IQ4_VALUES`] (`quantize_row_iq4_nl_impl`).
pub(super) fn iq4_scale(values: &[f32; 32]) -> f32 {
    let furthest = furthest(values);
    if furthest.abs() < SMALLEST {
        return 0.0;
    }
    let products = |inverse: f32| {
        let (mut sum_qx, mut sum_q2) = (0.0, 0.0);
        for (value, index) in values.iter().zip(iq4_indices(values, inverse)) {
            let (weight, level) = (value * value, f32::from(IQ4_VALUES[usize::from(index)]));
            sum_qx += weight * level * value;
            sum_q2 += weight * level * level;
        }
        (sum_qx, sum_q2)
    };
    let lowest = f32::from(IQ4_VALUES[0]);
    let (sum_qx, sum_q2) = products(1.0 / (-furthest / lowest));
    let mut scale = if sum_q2 > 0.0 { sum_qx / sum_q2 } else { 0.0 };
    let mut best = scale * sum_qx;
    for step in -7_i8..=7 {
        let (sum_qx, sum_q2) = products((f32::from(step) + lowest) / furthest);
        if sum_q2 > 0.0 && sum_qx * sum_qx > best * sum_q2 {
            scale = sum_qx / sum_q2;
            best = scale * sum_qx;
        }
    }
    scale
}

/// The nearest levels of [`IQ4_VALUES`] to the numbers times `inverse`.
pub(super) fn iq4_indices(values: &[f32; 32], inverse: f32) -> [u8; 32] {
    values.map(|value| {
        let value = inverse * value;
        let above = IQ4_VALUES.partition_point(|level| f32::from(*level) <= value).clamp(1, 15);
        let (below, next) = (f32::from(IQ4_VALUES[above - 1]), f32::from(IQ4_VALUES[above]));
        (if value - below < next - value { above - 1 } else { above }) as u8
    })
}

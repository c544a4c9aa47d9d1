//! What encoders compute with, against plain arithmetic in 64 bits, with every set of instructions.

use codriver_kernels::{ActivationFunction, Level, Panels, SelfAttention, Then, layer_norm};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random() -> ChaCha8Rng {
    let seed = rand::rng().random();
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

fn values(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-1.0..1.0f32) * random.random_range(0.0..2.0f32)).collect()
}

fn exact(function: ActivationFunction, x: f64) -> f64 {
    match function {
        ActivationFunction::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
        ActivationFunction::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        ActivationFunction::Relu => x.max(0.0),
        ActivationFunction::Silu => x / (1.0 + (-x).exp()),
        ActivationFunction::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        ActivationFunction::Tanh => x.tanh(),
    }
}

/// The error function by its series, which needs many terms and has no constants to get wrong.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

const FUNCTIONS: [ActivationFunction; 6] = [
    ActivationFunction::Gelu,
    ActivationFunction::GeluTanh,
    ActivationFunction::Relu,
    ActivationFunction::Silu,
    ActivationFunction::Sigmoid,
    ActivationFunction::Tanh,
];

#[test]
fn activations_are_exact() {
    let mut random = random();
    for function in FUNCTIONS {
        let arguments: Vec<f32> = (0..3000).map(|_| random.random_range(-9.0..9.0)).collect();
        let mut computed = arguments.clone();
        function.apply(&mut computed);
        for (x, y) in arguments.iter().zip(&computed) {
            let expected = exact(function, f64::from(*x));
            assert!(
                (f64::from(*y) - expected).abs() < 2e-6 * (1.0 + x.abs() as f64),
                "{function:?}({x}) = {y}, not {expected}"
            );
        }
        let mut nan = [f32::NAN; 40];
        function.apply(&mut nan);
        assert!(function == ActivationFunction::Relu || nan.iter().all(|value| value.is_nan()), "{function:?}");
    }
}

#[test]
fn products_are_those_of_64_bits_in_any_layout() {
    let mut random = random();
    for round in 0..40 {
        let (rows, inputs, outputs) =
            (random.random_range(1..60), random.random_range(1..200), random.random_range(1..140));
        let weights = values(&mut random, inputs * outputs);
        let bias = values(&mut random, outputs);
        let bias = (round % 3 > 0).then_some(bias.as_slice());
        let input = values(&mut random, rows * inputs);
        let before = values(&mut random, rows * outputs);
        let by_output = round % 2 == 0;
        let strides = if by_output { [1, inputs] } else { [outputs, 1] };
        let panels = Panels::pack([inputs, outputs], strides, &weights, bias).unwrap();
        assert_eq!((panels.inputs(), panels.outputs()), (inputs, outputs));
        for then in [Then::Replace, Then::Add, Then::Apply(FUNCTIONS[round % FUNCTIONS.len()])] {
            let mut at_once = before.clone();
            panels.multiply(&input, &mut at_once, then, false);
            for level in Level::available() {
                for spread in [false, true] {
                    let mut output = before.clone();
                    panels.multiply_at(level, &input, &mut output, then, spread);
                    for row in 0..rows {
                        for column in 0..outputs {
                            let weight = |index: usize| {
                                weights[if by_output { column * inputs + index } else { index * outputs + column }]
                            };
                            let sum: f64 = (0..inputs)
                                .map(|index| f64::from(weight(index)) * f64::from(input[row * inputs + index]))
                                .sum::<f64>()
                                + bias.map_or(0.0, |bias| f64::from(bias[column]));
                            let expected = match then {
                                Then::Replace => sum,
                                Then::Add => sum + f64::from(before[row * outputs + column]),
                                Then::Apply(function) => exact(function, sum),
                            };
                            let computed = f64::from(output[row * outputs + column]);
                            assert!(
                                (computed - expected).abs() < 1e-5 * (1.0 + sum.abs()) * (inputs as f64).sqrt(),
                                "{level:?} {then:?} {rows}x{inputs}x{outputs} at {row},{column}: {computed}, not {expected}"
                            );
                        }
                    }
                }
            }
            // A row's product is the same bits whatever is beside it.
            let row = random.random_range(0..rows);
            let mut alone = before[row * outputs..][..outputs].to_vec();
            panels.multiply(&input[row * inputs..][..inputs], &mut alone, then, false);
            assert_eq!(alone, at_once[row * outputs..][..outputs]);
        }
    }
    assert!(Panels::pack([4, 4], [1, 4], &[0.0; 15], None).is_none());
    assert!(Panels::pack([4, 4], [1, 4], &[0.0; 16], Some(&[0.0; 3])).is_none());
}

#[test]
fn texts_attend_to_themselves() {
    let mut random = random();
    for round in 0..30 {
        let (heads, head_dim) = (random.random_range(1..5), random.random_range(1..80));
        let lengths: Vec<usize> = (0..random.random_range(1..4)).map(|_| random.random_range(1..150)).collect();
        let width = heads * head_dim;
        let tokens: usize = lengths.iter().sum();
        let parts = values(&mut random, tokens * 3 * width);
        let reach = (round % 2 == 1).then(|| random.random_range(0..70));
        let longest = lengths.iter().copied().max().unwrap();
        let distances = values(&mut random, heads * (2 * longest - 1));
        let distances = (round % 3 == 1).then_some(distances.as_slice());
        let attention = SelfAttention { heads, head_dim, reach, distances };
        for level in Level::available() {
            let mut output = vec![0.0; tokens * width];
            attention.attend_at(level, &parts, &lengths, &mut output, round % 4 > 1);
            let mut first = 0;
            for length in &lengths {
                for head in 0..heads {
                    for query in 0..*length {
                        let part = |token: usize, part: usize| {
                            &parts[((first + token) * 3 + part) * width + head * head_dim..][..head_dim]
                        };
                        let score = |key: usize| {
                            let dot: f64 = part(query, 0)
                                .iter()
                                .zip(part(key, 1))
                                .map(|(q, k)| f64::from(*q) * f64::from(*k))
                                .sum();
                            let bias = distances.map_or(0.0, |distances| {
                                f64::from(distances[head * (2 * longest - 1) + longest - 1 + key - query])
                            });
                            dot / (head_dim as f64).sqrt() + bias
                        };
                        let seen = (0..*length).filter(|key| reach.is_none_or(|reach| key.abs_diff(query) <= reach));
                        let shares: Vec<(usize, f64)> = seen.map(|key| (key, score(key).exp())).collect();
                        let total: f64 = shares.iter().map(|(_, share)| share).sum();
                        for dimension in 0..head_dim {
                            let expected: f64 = shares
                                .iter()
                                .map(|(key, share)| share / total * f64::from(part(*key, 2)[dimension]))
                                .sum();
                            let computed = f64::from(output[(first + query) * width + head * head_dim + dimension]);
                            assert!(
                                (computed - expected).abs() < 1e-5,
                                "{level:?} {attention:?} {lengths:?}: {computed}, not {expected}"
                            );
                        }
                    }
                }
                first += length;
            }
            // A text's mixture is the same bits whatever is beside it.
            let mut alone = vec![0.0; lengths[0] * width];
            attention.attend_at(level, &parts[..lengths[0] * 3 * width], &lengths[..1], &mut alone, false);
            assert_eq!(alone, output[..alone.len()]);
        }
    }
}

#[test]
fn normalized_rows_have_the_weights_spread() {
    let mut random = random();
    for size in [1, 7, 32, 48, 384, 1000] {
        let (weight, bias) = (values(&mut random, size), values(&mut random, size));
        let rows = values(&mut random, 5 * size);
        for bias in [None, Some(bias.as_slice())] {
            let mut computed = rows.clone();
            layer_norm(&mut computed, &weight, bias, 1e-5);
            for (row, computed) in rows.chunks(size).zip(computed.chunks(size)) {
                let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / size as f64;
                let variance = row.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / size as f64;
                for (index, value) in row.iter().enumerate() {
                    let normed = (f64::from(*value) - mean) / (variance + 1e-5).sqrt();
                    let expected = normed * f64::from(weight[index]) + bias.map_or(0.0, |bias| f64::from(bias[index]));
                    assert!(
                        (f64::from(computed[index]) - expected).abs() < 1e-4,
                        "{size}: {} not {expected}",
                        computed[index]
                    );
                }
            }
        }
    }
}

//! Attention and what lies between products, against the formulas in 64 bits.

use codriver_kernels::{
    Attention, Gate, HeadPage, PAGE, PageShape, gate, rms_norm, rotate, soft_cap, softmax,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random() -> ChaCha8Rng {
    let seed = rand::rng().random();
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

fn values(random: &mut ChaCha8Rng, count: usize, size: f32) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-size..size)).collect()
}

#[track_caller]
fn close(found: &[f32], expected: &[f64], allowed: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference <= allowed * (1.0 + expected.abs()), "at {index}: {found}, not {expected}");
    }
}

#[test]
fn attention_is_softmax_of_what_each_query_sees() {
    let mut random = random();
    for _ in 0..40 {
        let group = random.random_range(1..6);
        let key_value_heads = random.random_range(1..4);
        let heads = group * key_value_heads;
        let head_dim = random.random_range(1..130);
        let past = random.random_range(0..200);
        let tokens = random.random_range(1..70);
        let window = random.random_bool(0.4).then(|| random.random_range(1..100));
        let cap = random.random_bool(0.3).then_some(5.0f32);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let total = past + tokens;

        let shape = PageShape { head_dim };
        let keys = values(&mut random, key_value_heads * total * head_dim, 3.0);
        let contents = values(&mut random, key_value_heads * total * head_dim, 1.0);
        let queries = values(&mut random, tokens * heads * head_dim, 3.0);
        // What is left of other sequences in a page is never seen.
        let pages = total.div_ceil(PAGE);
        let mut held = vec![(vec![f32::NAN; shape.keys()], vec![0.0; shape.values()]); key_value_heads * pages];
        for head in 0..key_value_heads {
            for position in 0..total {
                let (page_keys, page_values) = &mut held[head * pages + position / PAGE];
                let start = (head * total + position) * head_dim;
                shape.write(
                    page_keys,
                    page_values,
                    position % PAGE,
                    &keys[start..start + head_dim],
                    &contents[start..start + head_dim],
                );
            }
        }
        let found = Attention {
            shape,
            heads,
            key_value_heads,
            scale,
            soft_cap: cap,
            window,
            past,
            queries: &queries,
            page: |head: usize, page: usize| {
                let (keys, values) = held.get(head * pages + page)?;
                Some(HeadPage { keys, values })
            },
        }
        .attend();

        let mut expected = Vec::new();
        for token in 0..tokens {
            for head in 0..heads {
                let query = &queries[(token * heads + head) * head_dim..][..head_dim];
                let end = past + token + 1;
                let start = window.map_or(0, |window| end.saturating_sub(window));
                let at = |all: &[f32], position: usize| -> Vec<f64> {
                    let start = (head / group * total + position) * head_dim;
                    all[start..start + head_dim].iter().map(|value| f64::from(*value)).collect()
                };
                let scores: Vec<f64> = (start..end)
                    .map(|position| {
                        let dot: f64 = at(&keys, position).iter().zip(query).map(|(k, q)| k * f64::from(*q)).sum();
                        let score = dot * f64::from(scale);
                        cap.map_or(score, |cap| (score / f64::from(cap)).tanh() * f64::from(cap))
                    })
                    .collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let shares: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let sum: f64 = shares.iter().sum();
                let mut mixed = vec![0.0; head_dim];
                for (position, share) in (start..end).zip(shares) {
                    for (mixed, value) in mixed.iter_mut().zip(at(&contents, position)) {
                        *mixed += share / sum * value;
                    }
                }
                expected.extend(mixed);
            }
        }
        close(&found, &expected, 2e-5);
    }
}

#[test]
fn a_query_of_nan_stays_one() {
    let shape = PageShape { head_dim: 4 };
    let (mut keys, mut values) = (vec![0.0; shape.keys()], vec![0.0; shape.values()]);
    shape.write(&mut keys, &mut values, 0, &[1.0; 4], &[1.0; 4]);
    let page = HeadPage { keys: &keys, values: &values };
    let attention = Attention {
        shape,
        heads: 1,
        key_value_heads: 1,
        scale: 1.0,
        soft_cap: None,
        window: None,
        past: 0,
        queries: &[f32::NAN; 4],
        page: |_: usize, number: usize| (number == 0).then_some(page),
    };
    assert!(attention.attend().iter().all(|value| value.is_nan()));
}

#[test]
fn functions_are_close_to_exact() {
    let mut random = random();
    let input: Vec<f32> =
        (0..100_000).map(|_| random.random_range(-1.0..1.0f32) * 10f32.powi(random.random_range(-6..2))).collect();
    let up = vec![1.0; input.len()];
    let exact = |function: &dyn Fn(f64) -> f64| input.iter().map(|x| function(f64::from(*x))).collect::<Vec<f64>>();
    let tanh_gelu = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
    // The error function by its series, and beyond 3, where that cancels, by the asymptotic one.
    let erf = |x: f64| -> f64 {
        if x.abs() > 3.0 {
            let y = 1.0 / (2.0 * x * x);
            let rest = (-x * x).exp() / (x.abs() * std::f64::consts::PI.sqrt());
            return x.signum() * (1.0 - rest * (1.0 - y + 3.0 * y * y - 15.0 * y.powi(3)));
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    };
    let gelu = |x: f64| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
    for (function, expected) in [
        (Gate::Silu, exact(&|x| x / (1.0 + (-x).exp()))),
        (Gate::GeluTanh, exact(&tanh_gelu)),
        (Gate::Gelu, exact(&gelu)),
    ] {
        let mut found = input.clone();
        gate(function, &mut found, &up);
        close(&found, &expected, 1e-6);
    }
    let mut found = input.clone();
    soft_cap(&mut found, 3.0);
    close(&found, &exact(&|x| (x / 3.0).tanh() * 3.0), 1e-6);
}

#[test]
fn norms_shares_and_rotations() {
    let mut random = random();
    for size in [1, 7, 64, 1000] {
        let input = values(&mut random, 70 * size, 2.0);
        let weight = values(&mut random, size, 2.0);
        let expected: Vec<f64> = input
            .chunks(size)
            .flat_map(|row| {
                let mean: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / size as f64;
                let weight = &weight;
                row.iter().zip(weight).map(move |(x, w)| f64::from(*x) / (mean + 1e-6).sqrt() * f64::from(*w))
            })
            .collect();
        close(&rms_norm(&input, &weight, 1e-6), &expected, 1e-5);

        let mut shares = input.clone();
        softmax(&mut shares, size);
        let expected: Vec<f64> = input
            .chunks(size)
            .flat_map(|row| {
                let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
                row.iter().map(move |x| f64::from(*x).exp() / sum)
            })
            .collect();
        close(&shares, &expected, 1e-5);
    }
    let mut head: Vec<f32> = vec![1.0, 2.0, 3.0, 4.0, 5.0];
    rotate(&mut head, &[0.0, 1.0], &[1.0, 0.0]);
    assert_eq!(head, [-3.0, 2.0, 1.0, 4.0, 5.0]);
}

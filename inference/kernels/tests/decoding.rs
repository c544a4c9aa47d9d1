//! Attention and what lies between products, against the formulas in 64 bits.

use codriver_kernels::{
    Attention, Gate, HeadPage, Level, PAGE, PageFormat, PageShape, attend_all, gate, rms_norm, rotate, soft_cap,
    softmax,
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

/// Pages of every head of a sequence.
struct Held {
    shape: PageShape,
    pages: Vec<Vec<u32>>,
    each: usize,
}

impl Held {
    fn new(shape: PageShape, key_value_heads: usize, positions: usize) -> Self {
        let each = positions.div_ceil(PAGE);
        Self { shape, pages: vec![vec![0; shape.words()]; key_value_heads * each], each }
    }

    /// Writes `[heads, positions, head_dim]`.
    fn write(&mut self, positions: std::ops::Range<usize>, total: usize, keys: &[f32], values: &[f32]) {
        let head_dim = self.shape.head_dim;
        for head in 0..self.pages.len() / self.each {
            for position in positions.clone() {
                let row = (head * total + position) * head_dim..(head * total + position + 1) * head_dim;
                let page = &mut self.pages[head * self.each + position / PAGE];
                self.shape.write(page, position % PAGE, &keys[row.clone()], &values[row]);
            }
        }
    }

    fn page(&self, head: usize, page: usize) -> Option<HeadPage<'_>> {
        if page >= self.each {
            return None;
        }
        self.pages.get(head * self.each + page).map(|words| HeadPage { words })
    }
}

const PAGE_FORMATS: [PageFormat; 3] = [PageFormat::F32, PageFormat::F16, PageFormat::Q8];

#[test]
fn attention_is_softmax_of_what_each_query_sees() {
    let mut random = random();
    for round in 0..60 {
        let group = random.random_range(1..6);
        let key_value_heads = random.random_range(1..4);
        let heads = group * key_value_heads;
        let head_dim = random.random_range(1..130);
        let past = random.random_range(0..if round % 4 == 0 { 1500 } else { 200 });
        let tokens = random.random_range(1..if round % 3 == 0 { 4 } else { 70 });
        let window = random.random_bool(0.4).then(|| random.random_range(1..700));
        let cap = random.random_bool(0.3).then_some(5.0f32);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let total = past + tokens;

        let shape = PageShape { head_dim, format: PAGE_FORMATS[round % 3] };
        let keys = values(&mut random, key_value_heads * total * head_dim, 3.0);
        let contents = values(&mut random, key_value_heads * total * head_dim, 1.0);
        let queries = values(&mut random, tokens * heads * head_dim, 3.0);
        let mut held = Held::new(shape, key_value_heads, total);
        held.write(0..total, total, &keys, &contents);
        let attention = Attention {
            shape,
            heads,
            key_value_heads,
            scale,
            soft_cap: cap,
            window,
            past,
            queries: &queries,
            page: |head: usize, page: usize| held.page(head, page),
        };

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
        let allowed = match shape.format {
            PageFormat::F32 => 3e-5,
            PageFormat::F16 => 1e-2,
            PageFormat::Q8 => 0.15,
        };
        for level in Level::available() {
            close(&attention.attend_at(level), &expected, allowed);
        }
    }
}

/// Cut into steps of any length, alone or beside other sequences: to the last bit.
#[test]
fn attention_does_not_depend_on_company() {
    let mut random = random();
    for round in 0..18 {
        let (group, key_value_heads) = (random.random_range(1..6), random.random_range(1..4));
        let heads = group * key_value_heads;
        let head_dim = random.random_range(1..100);
        let total = random.random_range(1..if round % 3 == 0 { 1200 } else { 150 });
        let window = random.random_bool(0.3).then(|| random.random_range(1..200));
        let shape = PageShape { head_dim, format: PAGE_FORMATS[round % 3] };
        let keys = values(&mut random, key_value_heads * total * head_dim, 3.0);
        let contents = values(&mut random, key_value_heads * total * head_dim, 1.0);
        let queries = values(&mut random, total * heads * head_dim, 3.0);
        // What another sequence left in the pages is never seen.
        let mut held = Held::new(shape, key_value_heads, total);
        let other = values(&mut random, key_value_heads * held.each * PAGE * head_dim, 100.0);
        held.write(0..held.each * PAGE, held.each * PAGE, &other, &other);
        for level in Level::available() {
            let attend = |held: &Held, tokens: std::ops::Range<usize>| {
                let attention = Attention {
                    shape,
                    heads,
                    key_value_heads,
                    scale: 0.2,
                    soft_cap: None,
                    window,
                    past: tokens.start,
                    queries: &queries[tokens.start * heads * head_dim..tokens.end * heads * head_dim],
                    page: |head: usize, page: usize| held.page(head, page),
                };
                (attention.attend_at(level), attend_all(&[attention]).remove(0))
            };
            let mut position = 0;
            let (mut cut, mut best) = (Vec::new(), Vec::new());
            while position < total {
                let next = total.min(position + if random.random_bool(0.6) { 1 } else { random.random_range(1..200) });
                held.write(position..next, total, &keys, &contents);
                let (of_level, of_best) = attend(&held, position..next);
                cut.extend(of_level);
                best.extend(of_best);
                position = next;
            }
            let whole = attend(&held, 0..total);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(bits(&cut) == bits(&whole.0), "{level:?} {shape:?} {total} {window:?}");
            assert!(bits(&best) == bits(&whole.1), "{shape:?} {total} {window:?}");
        }
    }
}

#[test]
fn copied_positions_are_the_same_and_nothing_else_is_copied() {
    let mut random = random();
    for format in PAGE_FORMATS {
        let shape = PageShape { head_dim: random.random_range(1..70), format };
        let (mut from, mut to, mut expected) = (vec![0; shape.words()], vec![0; shape.words()], vec![0; shape.words()]);
        let positions = random.random_range(0..=PAGE);
        for position in 0..PAGE {
            let key = values(&mut random, shape.head_dim, 1.0);
            let value = values(&mut random, shape.head_dim, 1.0);
            shape.write(&mut from, position, &key, &value);
            if position < positions {
                shape.write(&mut expected, position, &key, &value);
            }
        }
        shape.copy(&from, &mut to, positions);
        assert_eq!(to, expected, "{format} {positions}");
    }
}

#[test]
fn a_query_or_key_of_nan_stays_one() {
    for format in PAGE_FORMATS {
        let shape = PageShape { head_dim: 4, format };
        for (query, key) in [(f32::NAN, 1.0), (1.0, f32::NAN)] {
            let mut page = vec![0; shape.words()];
            shape.write(&mut page, 0, &[key; 4], &[1.0; 4]);
            let attention = Attention {
                shape,
                heads: 1,
                key_value_heads: 1,
                scale: 1.0,
                soft_cap: None,
                window: None,
                past: 0,
                queries: &[query; 4],
                page: |_: usize, number: usize| (number == 0).then_some(HeadPage { words: &page }),
            };
            assert!(attention.attend().iter().all(|value| value.is_nan()), "{format} {query} {key}");
        }
    }
}

#[test]
fn functions_are_close_to_exact() {
    let mut random = random();
    let input: Vec<f32> =
        (0..100_000).map(|_| random.random_range(-1.0..1.0f32) * 10f32.powi(random.random_range(-6..2))).collect();
    let up = vec![1.0; input.len()];
    let exact = |function: &dyn Fn(f64) -> f64| input.iter().map(|x| function(f64::from(*x))).collect::<Vec<f64>>();
    let tanh_gelu =
        |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
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

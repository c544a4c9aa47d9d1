//! Candidates against whole rows.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Candidates, Sampler};
use crate::SamplingParameters;

/// The best `most` of a row, and the sum of all weights as badly as it may be known.
fn candidates(random: &mut StdRng, row: &[f32], most: usize, temperature: f32) -> Candidates {
    let scored = (0u32..).zip(row.iter().copied()).filter(|(_, score)| *score > f32::NEG_INFINITY);
    let mut ranked: Vec<(u32, f32)> = scored.collect();
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    let weigh = |score: f32| f64::from((score - ranked[0].1) / temperature).exp();
    let weight: f64 = ranked.iter().map(|(_, score)| weigh(*score)).sum();
    let is_all = ranked.len() < most;
    ranked.truncate(most);
    Candidates { ranked, is_all, weight: weight * (1.0 + random.random_range(-9e-4..9e-4)) }
}

fn row(random: &mut StdRng) -> Vec<f32> {
    let size = [3, 40, 256, 257, 3000][random.random_range(0..5)];
    let spread = [0.0, 0.1, 3.0, 30.0][random.random_range(0..4)];
    let grain = [0.0, 0.5][random.random_range(0..2)];
    let masked = [0.0, 0.0, 0.5, 0.95][random.random_range(0..4)];
    let mut row: Vec<f32> = (0..size)
        .map(|_| {
            let score: f32 = (0..4).map(|_| random.random_range(-1.0..1.0)).sum::<f32>() * spread;
            let score = if grain > 0.0 { (score / grain).round() * grain } else { score };
            if random.random_bool(masked) { f32::NEG_INFINITY } else { score }
        })
        .collect();
    // Zeros of both signs at the top.
    if random.random_bool(0.1) {
        row.iter_mut().filter(|score| **score > 0.0).for_each(|score| *score *= 0.0);
    }
    row[0] = row[0].max(-1.0);
    row
}

#[test]
fn candidates_give_the_tokens_of_whole_rows_or_none() {
    let seed: u64 =
        std::env::var("CODRIVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CODRIVER_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut told, mut untold) = (0, 0);
    for _ in 0..300 {
        let parameters = SamplingParameters {
            temperature: [0.0, 0.1, 0.7, 1.0, 2.0][random.random_range(0..5)],
            top_k: [0, 0, 1, 40, 255, 256, 257][random.random_range(0..7)],
            top_p: [1.0, 1.0, 0.95, 0.5, 0.0][random.random_range(0..5)],
            min_p: [0.0, 0.0, 0.05, 0.5][random.random_range(0..4)],
            seed: random.random(),
            ..SamplingParameters::default()
        };
        let mut whole = Sampler::new(&parameters, &[]).unwrap();
        let mut narrow = Sampler::new(&parameters, &[]).unwrap();
        let temperature = narrow.candidates_temperature().unwrap();
        for _ in 0..20 {
            let row = row(&mut random);
            let expected = whole.choose(&mut row.clone()).unwrap();
            let candidates = candidates(&mut random, &row, 256, temperature);
            match narrow.choose_of(&candidates, None) {
                Some(token) => {
                    assert_eq!(token, expected, "{parameters:?}, {} tokens, {candidates:?}", row.len());
                    told += 1;
                }
                // What could not be told has changed nothing.
                None => {
                    assert_eq!(narrow.choose(&mut row.clone()).unwrap(), expected, "{parameters:?}");
                    untold += 1;
                }
            }
        }
    }
    assert!(told > 4 * untold && untold > 0, "{told} and {untold}");
}

#[test]
fn what_needs_the_whole_row_is_not_told() {
    let penalized = SamplingParameters { repetition_penalty: 1.1, ..SamplingParameters::default() };
    let mut sampler = Sampler::new(&penalized, &[]).unwrap();
    assert_eq!(sampler.candidates_temperature(), None);
    let candidates = Candidates { ranked: vec![(1, 2.0), (0, 1.0)], is_all: true, weight: 1.4 };
    assert_eq!(sampler.choose_of(&candidates, None), None);
}

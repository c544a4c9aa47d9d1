//! The highest scores of rows.

use codriver_gpu::Scores;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::reference::random;

/// Rows of all kinds: of numbers, of few distinct ones, with and without such as are no scores.
fn row(random: &mut ChaCha8Rng, size: usize) -> (&'static str, Vec<f32>) {
    let mut row: Vec<f32> = (0..size).map(|_| random.random_range(-20.0..20.0)).collect();
    let place = random.random_range(0..size);
    let what =
        ["numbers", "ties", "alike", "masked", "hardly any", "zeros", "NaN", "-NaN", "infinite", "tiny", "large"];
    let what = what[random.random_range(0..what.len())];
    match what {
        "ties" => row.iter_mut().for_each(|score| *score = (*score * 40.0).round()),
        "alike" => row.fill(1.5),
        "masked" => row.iter_mut().filter(|score| **score < 5.0).for_each(|score| *score = f32::NEG_INFINITY),
        "hardly any" => {
            let few = size.div_ceil(100).min(200);
            row.iter_mut().skip(few).for_each(|score| *score = f32::NEG_INFINITY);
        }
        "zeros" => row.iter_mut().for_each(|score| *score = if *score > 19.0 { 0.0 } else { -0.0 }),
        "NaN" => row[place] = f32::NAN,
        "-NaN" => row[place] = -f32::NAN,
        "infinite" => row[place] = f32::INFINITY,
        "tiny" => row.iter_mut().for_each(|score| *score *= 1e-41),
        "large" => row.iter_mut().for_each(|score| *score *= 1e37),
        _ => {}
    }
    (what, row)
}

#[test]
fn the_highest_scores_are_those_of_the_sorted_row() {
    let mut random = random();
    let Some(gpu) = crate::device::open() else { return };
    let mut answered = 0;
    for _ in 0..60 {
        let size = [1, 23, 700, 5000, 40_000][random.random_range(0..5)];
        let rows: Vec<(&str, Vec<f32>)> = (0..random.random_range(1..5)).map(|_| row(&mut random, size)).collect();
        let scores: Vec<f32> = rows.iter().flat_map(|(_, row)| row).copied().collect();
        let scores = Scores::upload(&gpu, &scores, size).unwrap();
        let wanted: Vec<(usize, f32)> =
            (0..rows.len()).rev().map(|row| (row, [0.3, 1.0, 2.0][random.random_range(0..3)])).collect();
        let found = scores.highest(&gpu, &wanted).unwrap();
        assert_eq!(found.len(), rows.len());
        for ((number, temperature), found) in wanted.into_iter().zip(found) {
            let (what, row) = &rows[number];
            let what = format!("{what}, {size}");
            assert_eq!(
                scores
                    .read_rows(&gpu, number..number + 1)
                    .unwrap()
                    .iter()
                    .map(|score| score.to_bits())
                    .collect::<Vec<_>>(),
                row.iter().map(|score| score.to_bits()).collect::<Vec<_>>(),
                "{what}"
            );
            let mut sorted: Vec<(u32, f32)> =
                (0..).zip(row.iter().copied()).filter(|(_, score)| *score > f32::NEG_INFINITY).collect();
            sorted.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
            let Some(found) = found else {
                let broken = row.iter().any(|score| score.is_nan() || *score == f32::INFINITY);
                let alike = sorted.iter().filter(|(_, score)| *score >= sorted[sorted.len().min(256) - 1].1).count();
                assert!(broken || sorted.is_empty() || alike > 256, "{what}");
                continue;
            };
            answered += 1;
            let bits = |(token, score): &(u32, f32)| (*token, score.to_bits());
            let expected: Vec<_> = sorted.iter().take(256).map(bits).collect();
            assert_eq!(found.candidates.iter().map(bits).collect::<Vec<_>>(), expected, "{what}");
            // That all are there is not always known, but never said without being so.
            assert!(!found.is_all || sorted.len() < 256, "{what}");
            assert!(found.is_all || sorted.len() >= 256, "{what}");
            let best = sorted[0].1;
            let weigh = |score: f32| f64::from((score - best) / temperature).exp();
            let weight: f64 = sorted.iter().map(|(_, score)| weigh(*score)).sum();
            assert!((found.weight - weight).abs() < 1e-4 * weight, "{what}: {} and {weight}", found.weight);
        }
    }
    assert!(answered > 40, "{answered}");
}

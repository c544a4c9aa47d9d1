//! Choices in groups: all of them, and the same numbers as one by one.

use codriver_formats::quant;
use codriver_kernels::Format;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Groups, TILE_WORDS};
use crate::device::Buffer;
use crate::kernels::activation::Activation;
use crate::kernels::product::{Choice, Finish, Rows, multiply};
use crate::kernels::tests::{random, variants};
use crate::{Gpu, Matrix};

#[test]
fn every_choice_is_in_one_tile_of_its_expert() {
    let mut random = random();
    for gpu in variants() {
        for _ in 0..20 {
            let experts = random.random_range(1..257);
            let count = experts * random.random_range(16..40) + random.random_range(0..experts);
            let chosen = choices(&mut random, count, experts);
            let (order, table) = rooms(&gpu, count, experts);
            let groups = Groups::new(&gpu, &gpu.words(&chosen).unwrap(), &order, &table, count, experts);
            let Some(Groups { tiles, tokens, .. }) = groups else {
                return println!("skipped: there is no memory for tiles");
            };
            let (order, table) = (gpu.read_words(&order).unwrap(), gpu.read_words(&table).unwrap());
            let mut seen = Vec::new();
            for tile in table.chunks(TILE_WORDS).take(tiles) {
                let [expert, from, to] = tile else { panic!("{TILE_WORDS} words a tile") };
                assert!(to - from <= tokens as u32, "{tile:?}");
                for place in *from..*to {
                    let choice = order[place as usize];
                    assert_eq!(chosen[choice as usize], *expert, "choice {choice} of {count} among {experts}");
                    seen.push(choice);
                }
            }
            // In the order of experts, and in each in that of tokens.
            let mut expected: Vec<u32> = (0..count as u32).collect();
            expected.sort_by_key(|choice| chosen[*choice as usize]);
            assert_eq!(seen, expected, "{count} among {experts}");
        }
    }
}

#[test]
fn experts_compute_the_same_for_a_token_alone_and_in_a_group() {
    let mut random = random();
    for gpu in variants() {
        if !gpu.tiles {
            return println!("skipped: there is no memory for tiles");
        }
        for format in [Format::F32, Format::BF16, Format::Q8_0, Format::Q4K] {
            let experts = random.random_range(1..12);
            let used = random.random_range(1..4);
            // Tiles of either size.
            let mean: usize = random.random_range(16..50);
            let tokens = (mean * experts).div_ceil(used);
            let wanted = random.random_range(1..600);
            let columns = (wanted..).find(|columns| format.fits(*columns)).unwrap();
            let gate = random.random_bool(0.5).then_some(Activation::Silu);
            let rows = 2 * random.random_range(1..80);
            let weights: Vec<f32> = numbers(&mut random, experts * rows * columns);
            let bytes = quant::quantize(format.tensor_type(), &weights).unwrap();
            let matrix = Matrix::upload(&gpu, format, experts * rows, columns, &bytes).unwrap();
            let stride = columns.next_multiple_of(8);
            let input = gpu.floats(&numbers(&mut random, tokens * stride)).unwrap();
            let chosen = choices(&mut random, tokens * used, experts);
            let words = gpu.words(&chosen).unwrap();
            let (order, table) = rooms(&gpu, chosen.len(), experts);
            let groups = Groups::new(&gpu, &words, &order, &table, chosen.len(), experts);
            let width = if gate.is_some() { rows / 2 } else { rows };
            let product = |groups| {
                let output = gpu.floats(&vec![f32::NAN; chosen.len() * width]).unwrap();
                let choice = Choice { chosen: &words, rows, share: used, groups };
                let finish = Finish { gate, ..Finish::plain() };
                let input = Rows { buffer: &input, stride, start: 0 };
                let output = Rows { buffer: &output, stride: width, start: 0 };
                multiply(&gpu, &matrix, input, output, chosen.len(), &finish, Some(choice));
                gpu.read_words(output.buffer).unwrap()
            };
            assert!(groups.is_some());
            let (alone, together) = (product(None), product(groups));
            assert!(alone.iter().all(|word| f32::from_bits(*word).is_finite()));
            assert!(
                together == alone,
                "{format:?}, {rows} x {columns}, {used} of {experts} experts, {tokens} tokens, {gate:?}, {gpu:?}"
            );
        }
    }
}

/// Choices of which one expert has most, and some may have none.
fn choices(random: &mut ChaCha8Rng, count: usize, experts: usize) -> Vec<u32> {
    let favourite = random.random_range(0..experts as u32);
    let share = random.random_range(0.0..1.0);
    let choice = |_| if random.random_bool(share) { favourite } else { random.random_range(0..experts as u32) };
    (0..count).map(choice).collect()
}

fn rooms(gpu: &Gpu, choices: usize, experts: usize) -> (Buffer, Buffer) {
    (gpu.room(choices).unwrap(), gpu.room(Groups::room(choices, experts)).unwrap())
}

fn numbers(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

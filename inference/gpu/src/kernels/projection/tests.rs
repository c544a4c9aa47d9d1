//! One launch computes what three do, to the last bit.

use codriver_kernels::{Format, PageFormat};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Projection;
use crate::Matrix;
use crate::kernels::norm::{Norm, Target};
use crate::kernels::positions::{Positions, Turn};
use crate::kernels::product::{Finish, Rows, multiply};
use crate::kernels::tests::{random, variants};
use crate::pool::{PageShape, Pool};

#[test]
fn one_launch_writes_what_three_write() {
    let mut random = random();
    for gpu in variants() {
        for format in [PageFormat::F32, PageFormat::F16, PageFormat::Q8] {
            let head_dim = 4 * random.random_range(1..20);
            let shape = PageShape { page: 16, heads: random.random_range(1..4), head_dim, format };
            let heads = shape.heads * random.random_range(1..5);
            let mut pairs = random.random_bool(0.8).then(|| random.random_range(1..head_dim / 2 + 1));
            if random.random_bool(0.8) {
                pairs = pairs.map(|pairs| pairs.next_multiple_of(2));
            }
            let tokens = random.random_range(1..9);
            let size = 8 * random.random_range(1..60);
            let rows = (heads + 2 * shape.heads) * head_dim;
            let bytes: Vec<u8> =
                numbers(&mut random, rows * size).iter().flat_map(|weight| weight.to_le_bytes()).collect();
            let matrix = Matrix::upload(&gpu, Format::F32, rows, size, &bytes).unwrap();
            let bias = random.random_bool(0.5).then(|| gpu.floats(&numbers(&mut random, rows)).unwrap());
            let hidden = gpu.floats(&numbers(&mut random, tokens * size)).unwrap();
            let hidden = Rows { buffer: &hidden, stride: size, start: 0 };
            let weight = gpu.floats(&numbers(&mut random, size)).unwrap();
            let norm = Norm { weight: &weight, epsilon: 1e-5, size };
            let cosines = gpu.floats(&numbers(&mut random, tokens * head_dim)).unwrap();
            let sines = gpu.floats(&numbers(&mut random, tokens * head_dim)).unwrap();
            let turn = pairs.map(|pairs| Turn { cosines: &cosines, sines: &sines, pairs });
            // One position of each of so many pages.
            let slots: Vec<u32> = (0..tokens as u32).map(|token| 16 * token + random.random_range(0..16)).collect();
            let slots = gpu.words(&slots).unwrap();
            let positions = Positions { heads, shape, norms: None, epsilon: 1e-5, turn, slots: &slots };
            let projection = Projection { norm, matrix: &matrix, bias: bias.as_ref(), positions };
            let words = |at_once: bool| {
                let pool = Pool::new(&gpu, shape, 1, tokens).unwrap();
                let layer = pool.layer(0).unwrap();
                // What is written over is the same.
                for buffer in [&layer.keys, &layer.values] {
                    crate::kernels::copy::into(&gpu, &gpu.words(&vec![0; buffer.length]).unwrap(), buffer, 0);
                }
                let projected = gpu.floats(&vec![0.0; tokens * rows]).unwrap();
                let projected = Rows { buffer: &projected, stride: rows, start: 0 };
                if at_once {
                    projection.apply(&gpu, hidden, projected, layer, tokens);
                } else {
                    let normed = gpu.room(tokens * size).unwrap();
                    let input = Rows { buffer: &normed, ..hidden };
                    norm.apply(&gpu, hidden, input, tokens, Target::Written);
                    let finish = Finish { bias: bias.as_ref(), ..Finish::plain() };
                    multiply(&gpu, &matrix, input, projected, tokens, &finish, None);
                    positions.apply(&gpu, projected, layer, tokens);
                }
                let queries = gpu.read_words(projected.buffer).unwrap();
                let queries =
                    queries.chunks(rows).flat_map(|row| row[..heads * head_dim].to_vec()).collect::<Vec<u32>>();
                [queries, gpu.read_words(&layer.keys).unwrap(), gpu.read_words(&layer.values).unwrap()]
            };
            let odd = pairs.is_some_and(|pairs| pairs % 2 == 1);
            let fits = format == PageFormat::F32 || format == PageFormat::F16 && !odd;
            assert_eq!(projection.fits(tokens), fits, "{shape:?}, {pairs:?}");
            if fits {
                let [queries, keys, values] = words(true);
                let expected = words(false);
                let what = format!("{heads} heads, {pairs:?} pairs, {tokens} tokens, {size}; {shape:?}, {gpu:?}");
                assert!(queries == expected[0], "queries, {what}");
                assert!(keys == expected[1] && keys.iter().any(|word| *word != 0), "keys, {what}");
                assert!(values == expected[2] && values.iter().any(|word| *word != 0), "values, {what}");
            }
        }
    }
}

fn numbers(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

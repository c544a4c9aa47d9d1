//! What a token gets does not depend on the tokens beside it, nor on how a sequence is cut into
//! steps: to the last bit, for the scheduler shares blocks, checks guesses and reads again by that.

use codriver_formats::quant::quantize;
use codriver_kernels::{
    Activations, Attention, Format, Gate, HeadPage, Level, PAGE, PackedMatrix, PageFormat, PageShape, gate, multiply,
    multiply_at, rms_norm, softmax,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const FORMATS: [Format; 7] =
    [Format::F32, Format::F16, Format::BF16, Format::Q8_0, Format::Q4_0, Format::Q4K, Format::Q6K];

fn seeded() -> (u64, ChaCha8Rng) {
    let seed = std::env::var("CODRIVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    (seed, ChaCha8Rng::seed_from_u64(seed))
}

fn values(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-2.0..2.0)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn products_of_a_token_are_the_same_in_any_company() {
    let (seed, mut random) = seeded();
    for format in FORMATS {
        for _ in 0..4 {
            let rows = random.random_range(1..100);
            let columns =
                if matches!(format, Format::Q4K | Format::Q6K) { 256 } else { 32 } * random.random_range(1..6);
            let tokens = random.random_range(1..70);
            let bytes = quantize(format.tensor_type(), &values(&mut random, rows * columns)).unwrap();
            let matrix = PackedMatrix::pack(format, rows, columns, &bytes).unwrap();
            let input = values(&mut random, tokens * columns);
            for level in Level::available() {
                let together = multiply_at(level, &matrix, &Activations::new(input.clone(), columns));
                let mut rest = input.as_slice();
                let mut apart = Vec::new();
                while !rest.is_empty() {
                    let count = random.random_range(1..20) * columns;
                    let (some, more) = rest.split_at(count.min(rest.len()));
                    apart.extend(multiply_at(level, &matrix, &Activations::new(some.to_vec(), columns)));
                    rest = more;
                }
                assert_eq!(
                    bits(&together),
                    bits(&apart),
                    "seed {seed}: {format} {rows} x {columns}, {tokens}, {level:?}"
                );
            }
            let together = multiply(&matrix, &Activations::new(input.clone(), columns));
            let alone: Vec<f32> = input
                .chunks(columns)
                .flat_map(|row| multiply(&matrix, &Activations::new(row.to_vec(), columns)))
                .collect();
            assert_eq!(bits(&together), bits(&alone), "seed {seed}: {format} {rows} x {columns}, {tokens}");
        }
    }
}

#[test]
fn attention_of_a_position_is_the_same_however_the_sequence_is_cut() {
    let (seed, mut random) = seeded();
    for _ in 0..12 {
        let shape = PageShape { head_dim: random.random_range(1..40) * 4, format: PageFormat::F32 };
        let key_value_heads = random.random_range(1..4);
        let heads = key_value_heads * random.random_range(1..5);
        let length = random.random_range(2..300);
        let window = random.random_bool(0.3).then(|| random.random_range(1..200));
        let soft_cap = random.random_bool(0.3).then_some(20.0);
        let keys = values(&mut random, length * key_value_heads * shape.head_dim);
        let others = values(&mut random, length * key_value_heads * shape.head_dim);
        let queries = values(&mut random, length * heads * shape.head_dim);
        let attend = |cuts: &[usize]| {
            let pages = length.div_ceil(PAGE);
            let mut held: Vec<Vec<u32>> = vec![vec![0; shape.words()]; pages * key_value_heads];
            let mut output = Vec::new();
            for cut in cuts.windows(2) {
                for position in cut[0]..cut[1] {
                    for head in 0..key_value_heads {
                        let row = (position * key_value_heads + head) * shape.head_dim;
                        let page = position / PAGE * key_value_heads + head;
                        shape.write(
                            &mut held[page],
                            position % PAGE,
                            &keys[row..row + shape.head_dim],
                            &others[row..row + shape.head_dim],
                        );
                    }
                }
                let attention = Attention {
                    shape,
                    heads,
                    key_value_heads,
                    scale: 0.3,
                    soft_cap,
                    window,
                    past: cut[0],
                    queries: &queries[cut[0] * heads * shape.head_dim..cut[1] * heads * shape.head_dim],
                    page: |head: usize, page: usize| {
                        let page = page * key_value_heads + head;
                        held.get(page).map(|words| HeadPage { words })
                    },
                };
                output.extend(attention.attend());
            }
            output
        };
        let mut cuts = vec![0];
        while *cuts.last().unwrap() < length {
            let next = cuts.last().unwrap() + random.random_range(1..90);
            cuts.push(next.min(length));
        }
        let whole = bits(&attend(&[0, length]));
        let one_by_one: Vec<usize> = (0..=length).collect();
        assert_eq!(whole, bits(&attend(&cuts)), "seed {seed}: {cuts:?}, {shape:?}, {heads}/{key_value_heads}");
        assert_eq!(whole, bits(&attend(&one_by_one)), "seed {seed}: {length}, {shape:?}, {heads}/{key_value_heads}");
    }
}

#[test]
fn what_lies_between_is_the_same_row_by_row() {
    let (seed, mut random) = seeded();
    for _ in 0..6 {
        let size = random.random_range(1..1500);
        let rows = random.random_range(1..80);
        let input = values(&mut random, rows * size);
        let other = values(&mut random, rows * size);
        let weight = values(&mut random, size);
        let normed: Vec<f32> = input.chunks(size).flat_map(|row| rms_norm(row, &weight, 1e-6)).collect();
        assert_eq!(bits(&rms_norm(&input, &weight, 1e-6)), bits(&normed), "seed {seed}");
        for function in [Gate::Silu, Gate::Gelu, Gate::GeluTanh] {
            let mut whole = input.clone();
            gate(function, &mut whole, &other);
            let mut apart = input.clone();
            apart.chunks_mut(size).zip(other.chunks(size)).for_each(|(row, other)| gate(function, row, other));
            assert_eq!(bits(&whole), bits(&apart), "seed {seed}: {function:?}");
        }
        let mut whole = input.clone();
        softmax(&mut whole, size);
        let mut apart = input;
        apart.chunks_mut(size).for_each(|row| softmax(row, size));
        assert_eq!(bits(&whole), bits(&apart), "seed {seed}");
    }
}

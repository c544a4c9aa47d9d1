//! Whole decoders of random shapes and features, in steps over several sequences.

use codriver_gpu::{Decoder, Gpu, PageFormat, Pool, Segment};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::device::variants;
use crate::reference::{PlainDecoder, random};

/// How keys and values are held, and how far scores may be from those in 64 bits, relative to the largest: a key that
/// is nearly halfway between two numbers may be rounded to the other one.
const FORMATS: [(PageFormat, f64); 3] = [(PageFormat::F32, 2e-4), (PageFormat::F16, 4e-3), (PageFormat::Q8, 5e-2)];

#[test]
fn steps_over_several_sequences_compute_what_plain_code_computes() {
    let mut random = random();
    let variants = variants();
    for _ in 0..cases() {
        let plain = PlainDecoder::random(&mut random);
        for gpu in &variants {
            let (format, allowed) = FORMATS[random.random_range(0..FORMATS.len())];
            check(&mut random, &plain, gpu, format, allowed);
        }
    }
}

/// How many decoders: kernels are compiled for each, which takes a software device seconds.
fn cases() -> usize {
    std::env::var("CODRIVER_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2)
}

/// A sequence as it is read.
struct Sequence {
    tokens: Vec<u32>,
    expected: Vec<Vec<f64>>,
    pages: Vec<u32>,
    read: usize,
}

fn check(random: &mut ChaCha8Rng, plain: &PlainDecoder, gpu: &Gpu, format: PageFormat, allowed: f64) {
    let architecture = plain.architecture.clone();
    let page = [1, 7, 16, 64][random.random_range(0..4)];
    let mut sequences: Vec<Sequence> = (0..random.random_range(1..4))
        .map(|_| {
            let length =
                if random.random_bool(0.3) { random.random_range(514..530) } else { random.random_range(1..150) };
            let tokens: Vec<u32> =
                (0..length).map(|_| random.random_range(0..architecture.vocabulary as u32)).collect();
            let expected = plain.scores(&tokens, format);
            Sequence { tokens, expected, pages: Vec::new(), read: 0 }
        })
        .collect();
    // Pages in any order, as they are after many sequences came and went.
    let total: usize = sequences.iter().map(|sequence| sequence.tokens.len().div_ceil(page)).sum();
    let mut free: Vec<u32> = (0..total as u32 + 2).collect();
    free.shuffle(random);
    for sequence in &mut sequences {
        sequence.pages = free.split_off(free.len() - sequence.tokens.len().div_ceil(page));
    }
    let weights = plain.weights(gpu);
    let mut decoder = Decoder::new(gpu, architecture.clone(), weights).unwrap();
    let mut pool = Pool::new(gpu, architecture.page_shape(page, format), decoder.layers(), total + 2).unwrap();
    while sequences.iter().any(|sequence| sequence.read < sequence.tokens.len()) {
        let decodes = random.random_bool(0.4);
        let pieces: Vec<(usize, usize, usize)> = sequences
            .iter()
            .enumerate()
            .filter(|(_, sequence)| sequence.read < sequence.tokens.len())
            .map(|(index, sequence)| {
                let rest = sequence.tokens.len() - sequence.read;
                let length = if decodes { 1 } else { random.random_range(1..rest + 1) };
                (index, length, [0, 1, length][random.random_range(0..3)])
            })
            .collect();
        let rotations: Vec<_> =
            pieces.iter().map(|(index, length, _)| plain.rotations(sequences[*index].read, *length)).collect();
        let segments: Vec<Segment<'_>> = pieces
            .iter()
            .zip(&rotations)
            .map(|((index, length, wanted), rotations)| {
                let sequence = &sequences[*index];
                Segment {
                    tokens: &sequence.tokens[sequence.read..sequence.read + length],
                    past: sequence.read,
                    pages: &sequence.pages,
                    rotations,
                    wanted: *wanted,
                }
            })
            .collect();
        let scores = decoder.step(&segments, &pool).unwrap();
        let all: Vec<(usize, f32)> = (0..scores.rows()).map(|row| (row, 1.0)).collect();
        let best = scores.highest(gpu, &all).unwrap();
        let found = scores.read(gpu).unwrap();
        let mut rows = found.chunks(architecture.vocabulary).zip(best);
        for (index, length, wanted) in pieces {
            let sequence = &mut sequences[index];
            let end = sequence.read + length;
            for position in end - wanted..end {
                let (found, best) = rows.next().unwrap();
                let expected = &sequence.expected[position];
                let scale = expected.iter().fold(0.0_f64, |largest, score| largest.max(score.abs()));
                for (found, expected) in found.iter().zip(expected) {
                    let difference = (f64::from(*found) - expected).abs();
                    assert!(
                        difference <= allowed * scale,
                        "{found}, not {expected}, at {position} of sequence {index}, pages of {page} {format}; {gpu:?}, {}",
                        plain.describe()
                    );
                }
                let highest = found.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let first = found.iter().position(|score| *score == highest).unwrap();
                assert_eq!(best.unwrap().candidates[0], (first as u32, highest));
            }
            sequence.read = end;
        }
        assert!(rows.next().is_none());
        // Pools grow, and pages are copied, without harm to what they hold.
        if random.random_bool(0.2) {
            pool.grow(gpu, pool.pages() + 1).unwrap();
            free.push(pool.pages() as u32 - 1);
        }
        let moved = random.random_range(0..sequences.len());
        let pages = &mut sequences[moved].pages;
        let place = random.random_range(0..pages.len());
        let spare = free.remove(0);
        pool.copy(gpu, pages[place], spare);
        free.push(std::mem::replace(&mut pages[place], spare));
    }
}

#[test]
fn a_tokens_scores_do_not_depend_on_its_company_or_on_pieces() {
    let mut random = random();
    let variants = variants();
    for gpu in &variants {
        let (format, _) = FORMATS[random.random_range(0..FORMATS.len())];
        let plain = PlainDecoder::random(&mut random);
        let vocabulary = plain.architecture.vocabulary;
        // Long enough that a single token's positions are split among cubes.
        let tokens: Vec<u32> = (0..600).map(|_| random.random_range(0..vocabulary as u32)).collect();
        let other: Vec<u32> = (0..20).map(|_| random.random_range(0..vocabulary as u32)).collect();
        let mut decoder = Decoder::new(gpu, plain.architecture.clone(), plain.weights(gpu)).unwrap();
        let pages: Vec<u32> = (0..12).collect();
        let mut read = |pieces: &[usize], beside: bool| -> Vec<Vec<f32>> {
            let pool = Pool::new(gpu, plain.architecture.page_shape(64, format), decoder.layers(), 12).unwrap();
            let mut past = 0;
            let mut rows = Vec::new();
            for length in pieces {
                let rotations = plain.rotations(past, *length);
                let first = plain.rotations(0, other.len());
                let mut segments = vec![Segment {
                    tokens: &tokens[past..past + length],
                    past,
                    pages: &pages[..10],
                    rotations: &rotations,
                    wanted: 1,
                }];
                if beside {
                    segments.push(Segment {
                        tokens: &other,
                        past: 0,
                        pages: &pages[10..],
                        rotations: &first,
                        wanted: 0,
                    });
                }
                rows.push(decoder.step(&segments, &pool).unwrap().read(gpu).unwrap());
                past += length;
            }
            rows
        };
        let alone = read(&[599, 1], false);
        for (pieces, beside) in [(&[599, 1][..], true), (&[64, 128, 405, 2, 1], false)] {
            let found = read(pieces, beside);
            assert_eq!(found.last(), alone.last(), "{pieces:?}, {beside}, {format}, {gpu:?}, {}", plain.describe());
        }
    }
}

#[test]
fn a_segment_that_does_not_fit_is_an_error() {
    let mut random = random();
    let Some(gpu) = crate::device::open() else { return };
    let plain = PlainDecoder::random(&mut random);
    let architecture = plain.architecture.clone();
    let mut decoder = Decoder::new(&gpu, architecture.clone(), plain.weights(&gpu)).unwrap();
    let pool = Pool::new(&gpu, architecture.page_shape(16, PageFormat::F32), decoder.layers(), 2).unwrap();
    let rotations = plain.rotations(0, 1);
    let fitting = Segment { tokens: &[0], past: 0, pages: &[0], rotations: &rotations, wanted: 1 };
    assert_eq!(decoder.step(&[fitting], &pool).unwrap().rows(), 1);
    let unknown = architecture.vocabulary as u32;
    for (segment, reason) in [
        (Segment { tokens: &[], ..fitting }, "without tokens"),
        (Segment { tokens: &[unknown], ..fitting }, "of a vocabulary of"),
        (Segment { pages: &[], ..fitting }, "0 pages where 1 are needed"),
        (Segment { past: 16, ..fitting }, "1 pages where 2 are needed"),
        (Segment { pages: &[2], ..fitting }, "page 2 of 2"),
        (Segment { rotations: &[], ..fitting }, "rotations of other positions"),
    ] {
        let error = decoder.step(&[segment], &pool).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

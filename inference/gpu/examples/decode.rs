//! How fast a decoder of random weights writes, beside what the device's memory allows: a line of
//! JSON. `decode SHAPE FORMAT TOKENS PROMPT CACHE`, with a shape of `8b` (Llama 3), `30b-a3b` (Qwen3-MoE),
//! `tiny` or `tiny-moe`, the tokens
//! to write and to read before, and how keys and values are held.
//!
//! Run by `cargo xtask bench inference --device cuda`.

use std::error::Error;
use std::time::Instant;

use codriver_formats::quant;
use codriver_gpu::{
    Activation, Architecture, Decoder, Experts, FeedForward, Format, Gated, Gpu, GpuError, Layer, Linear, Matrix,
    PageFormat, Pool, Rotation, Segment, Weights,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Positions in a page.
const PAGE: usize = 64;

struct Shape {
    hidden: usize,
    layers: usize,
    heads: usize,
    key_value_heads: usize,
    wide: usize,
    /// Experts of that width in each layer, and how many of them a token goes through.
    experts: Option<(usize, usize)>,
    vocabulary: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let shape = match next("8b").as_str() {
        "8b" => Shape {
            hidden: 4096,
            layers: 32,
            heads: 32,
            key_value_heads: 8,
            wide: 14336,
            experts: None,
            vocabulary: 128_256,
        },
        "30b-a3b" => Shape {
            hidden: 2048,
            layers: 48,
            heads: 32,
            key_value_heads: 4,
            wide: 768,
            experts: Some((128, 8)),
            vocabulary: 151_936,
        },
        "tiny" => {
            Shape { hidden: 512, layers: 4, heads: 8, key_value_heads: 2, wide: 1024, experts: None, vocabulary: 4096 }
        }
        // Little but experts.
        "tiny-moe" => Shape {
            hidden: 512,
            layers: 2,
            heads: 1,
            key_value_heads: 1,
            wide: 512,
            experts: Some((16, 4)),
            vocabulary: 512,
        },
        other => return Err(format!("shape {other}; there are 8b, 30b-a3b, tiny and tiny-moe").into()),
    };
    let format: Format = next("bf16").parse()?;
    let tokens: usize = next("64").parse()?;
    let read: usize = next("128").parse()?;
    let cache: PageFormat = next("f32").parse()?;
    let gpu = Gpu::cuda().or_else(|_| Gpu::wgpu())?;
    let bandwidth = gpu.bandwidth(1 << 30).or_else(|_| gpu.bandwidth(1 << 26))?;
    let (mut decoder, bytes) = decoder(&gpu, &shape, format)?;
    let (prompt, answer) = measure(&gpu, &mut decoder, &shape, cache, read, tokens)?;
    let (by_rows, _) = measure(&gpu, &mut decoder.without_tiles(), &shape, cache, read, 1)?;
    println!(
        "{{\"device\": \"{}\", \"format\": \"{format}\", \"cache\": \"{cache}\", \"bandwidth\": {bandwidth}, \"bytes_per_token\": {bytes}, \
         \"prompt\": {prompt}, \"prompt_without_tiles\": {by_rows}, \"answer\": {answer}}}",
        gpu.describe(),
    );
    Ok(())
}

/// Tokens a second of a prompt of so many, and of the answer to it.
fn measure(
    gpu: &Gpu,
    decoder: &mut Decoder,
    shape: &Shape,
    cache: PageFormat,
    read: usize,
    tokens: usize,
) -> Result<(f64, f64), GpuError> {
    let pages: Vec<u32> = (0..(read + tokens).div_ceil(PAGE) as u32).collect();
    let pool = Pool::new(gpu, decoder.architecture().page_shape(PAGE, cache), shape.layers, pages.len())?;
    let mut step = |tokens: &[u32], past: usize| -> Result<u32, GpuError> {
        let rotations = [rotation(past, tokens.len())];
        let segment = Segment { tokens, past, pages: &pages, rotations: &rotations, wanted: 1 };
        let highest = decoder.step(&[segment], &pool)?.highest(gpu, &[(0, 1.0)])?;
        let best = highest.into_iter().flatten().next().and_then(|highest| highest.candidates.first().copied());
        Ok(best.map(|(token, _)| token).unwrap_or_default())
    };
    let prompt: Vec<u32> = (0..read as u32).collect();
    // Kernels are compiled when they are first launched.
    step(&prompt, 0)?;
    step(&[0], read)?;
    let started = Instant::now();
    let mut token = step(&prompt, 0)?;
    let reading = started.elapsed().as_secs_f64();
    let started = Instant::now();
    for past in read..read + tokens {
        token = step(&[token], past)?;
    }
    Ok((read as f64 / reading, tokens as f64 / started.elapsed().as_secs_f64()))
}

/// Rotations of a head of 64 pairs.
fn rotation(past: usize, length: usize) -> Rotation {
    let angles = || {
        (past..past + length)
            .flat_map(|position| (0..64).map(move |pair| position as f32 * 500_000.0_f32.powf(-pair as f32 / 64.0)))
    };
    Rotation { cosines: angles().map(f32::cos).collect(), sines: angles().map(f32::sin).collect() }
}

/// A decoder of random weights, and the bytes of them that a token needs.
fn decoder(gpu: &Gpu, shape: &Shape, format: Format) -> Result<(Decoder, u64), Box<dyn Error>> {
    let head_dim = 128;
    let (query, key) = (shape.heads * head_dim, shape.key_value_heads * head_dim);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let sample: Vec<f32> = (0..1 << 16).map(|_| random.random_range(-0.02..0.02)).collect();
    let sample = quant::quantize(format.tensor_type(), &sample)?;
    let (experts, used) = shape.experts.unwrap_or((1, 1));
    let mut bytes = 0;
    let mut share = |rows: usize, columns: usize, used: usize, experts: usize| -> Result<Linear, GpuError> {
        // The same numbers again and again: the time is not theirs.
        let needed = format.tensor_type().bytes_of(rows * columns).unwrap_or_default() as usize;
        let numbers: Vec<u8> = sample.iter().copied().cycle().take(needed).collect();
        bytes += Matrix::size(format, rows, columns).unwrap_or_default() * used as u64 / experts as u64;
        Ok(Linear { weight: Matrix::upload(gpu, format, rows, columns, &numbers)?, bias: None })
    };
    let mut layers = Vec::new();
    for _ in 0..shape.layers {
        let mut gated = || -> Result<Gated, GpuError> {
            Ok(Gated {
                gate: share(shape.wide, shape.hidden, used, experts)?,
                up: share(shape.wide, shape.hidden, used, experts)?,
                down: share(shape.hidden, shape.wide, used, experts)?,
            })
        };
        let feed_forward = if shape.experts.is_none() {
            FeedForward::Dense(gated()?)
        } else {
            let experts = (0..experts).map(|_| gated()).collect::<Result<Vec<_>, _>>()?;
            let numbers = (0..experts.len() * shape.hidden).map(|_| random.random_range(-0.1_f32..0.1));
            let numbers: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
            let router = Matrix::upload(gpu, Format::F32, experts.len(), shape.hidden, &numbers)?;
            FeedForward::Sparse(Experts { router, experts, used, normalized: true })
        };
        let mut matrix = |rows, columns| share(rows, columns, 1, 1);
        layers.push(Layer {
            window: None,
            rotation: Some(0),
            input_norm: vec![1.0; shape.hidden],
            query: matrix(query, shape.hidden)?,
            key: matrix(key, shape.hidden)?,
            value: matrix(key, shape.hidden)?,
            head_norms: None,
            output: matrix(shape.hidden, query)?,
            post_attention_norm: vec![1.0; shape.hidden],
            output_norms: None,
            feed_forward,
        });
    }
    let head = share(shape.vocabulary, shape.hidden, 1, 1)?.weight;
    let table = head.clone();
    let architecture = Architecture {
        vocabulary: shape.vocabulary,
        hidden_size: shape.hidden,
        heads: shape.heads,
        key_value_heads: shape.key_value_heads,
        head_dim,
        pairs: vec![head_dim / 2],
        activation: Activation::Silu,
        epsilon: 1e-5,
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        attention_soft_cap: None,
        logit_soft_cap: None,
        embedding_multiplier: 1.0,
        residual_multiplier: 1.0,
        logit_divisor: 1.0,
    };
    let weights = Weights { table, layers, norm: vec![1.0; shape.hidden], head: Some(head) };
    Ok((Decoder::new(gpu, architecture, weights)?, bytes))
}

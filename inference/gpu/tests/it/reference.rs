//! A decoder in plain code and 64 bits, and random numbers for it.

use codriver_formats::quant;
use codriver_gpu::{
    Activation, Architecture, Experts, FeedForward, Format, Gated, Gpu, Layer, Linear, Matrix, OutputNorms, PageFormat,
    Rotation, Weights,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::formulas::{activated, capped, held, rotate, softmax};

pub fn random() -> ChaCha8Rng {
    let seed = std::env::var("CODRIVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("CODRIVER_TEST_SEED={seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

pub fn values(random: &mut ChaCha8Rng, count: usize, size: f32) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-size..size)).collect()
}

#[track_caller]
pub fn close(what: &str, found: &[f32], expected: &[f64], allowed: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference <= allowed * (1.0 + expected.abs()), "{what}, at {index}: {found}, not {expected}");
    }
}

/// A matrix as plain numbers, and the bits that stand for them.
pub struct Plain {
    format: Format,
    rows: usize,
    columns: usize,
    bytes: Vec<u8>,
    numbers: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Plain {
    fn new(random: &mut ChaCha8Rng, format: Format, rows: usize, columns: usize, bias: bool) -> Self {
        let size = 1.5 / (columns as f32).sqrt();
        let weights = values(random, rows * columns, size);
        let bytes = quant::quantize(format.tensor_type(), &weights).unwrap();
        let mut numbers = vec![0.0; weights.len()];
        quant::dequantize(format.tensor_type(), &bytes, &mut numbers).unwrap();
        Self { format, rows, columns, bytes, numbers, bias: bias.then(|| values(random, rows, 0.3)) }
    }

    fn multiply(&self, input: &[f64]) -> Vec<f64> {
        let row = |row: usize| -> f64 {
            let weights = &self.numbers[row * self.columns..(row + 1) * self.columns];
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[row]));
            weights.iter().zip(input).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + bias
        };
        (0..self.rows).map(row).collect()
    }

    pub fn upload(&self, gpu: &Gpu) -> Matrix {
        Matrix::upload(gpu, self.format, self.rows, self.columns, &self.bytes).unwrap()
    }

    fn linear(&self, gpu: &Gpu) -> Linear {
        Linear { weight: self.upload(gpu), bias: self.bias.clone() }
    }
}

pub struct PlainLayer {
    window: Option<usize>,
    rotation: Option<usize>,
    input_norm: Vec<f32>,
    query: Plain,
    key: Plain,
    value: Plain,
    head_norms: Option<(Vec<f32>, Vec<f32>)>,
    output: Plain,
    post_attention_norm: Vec<f32>,
    output_norms: Option<(Vec<f32>, Vec<f32>)>,
    block: PlainBlock,
}

enum PlainBlock {
    Dense([Plain; 3]),
    Sparse { router: Plain, experts: Vec<[Plain; 3]>, used: usize, normalized: bool },
}

pub struct PlainDecoder {
    pub architecture: Architecture,
    /// Frequencies of each rotation's pairs.
    frequencies: Vec<Vec<f32>>,
    table: Plain,
    layers: Vec<PlainLayer>,
    norm: Vec<f32>,
    head: Option<Plain>,
}

impl PlainDecoder {
    /// A decoder of random shape with random features.
    pub fn random(random: &mut ChaCha8Rng) -> Self {
        let format = [Format::F32, Format::BF16, Format::F16, Format::Q8_0, Format::Q4_0, Format::Q4K]
            [random.random_range(0..6)];
        // Sizes that the format can hold, and odd ones where it can hold any.
        let least = if format == Format::Q4K { 256 } else { 1 };
        let any = |random: &mut ChaCha8Rng, limit: usize| {
            let wanted = random.random_range(1..limit).max(least);
            (wanted..).find(|size| format.fits(*size)).unwrap()
        };
        let key_value_heads = random.random_range(1..4);
        let group = [1, 2, 3, 5, 8, 11][random.random_range(0..6)];
        let heads = group * key_value_heads;
        let head_dim = (1..200)
            .map(|_| 2 * random.random_range(2..70))
            .find(|head_dim| format.fits(heads * head_dim))
            .unwrap_or(256);
        let hidden_size = any(random, 150);
        let vocabulary = random.random_range(20..90);
        let rotations = random.random_range(1..3);
        let pairs: Vec<usize> = (0..rotations).map(|_| random.random_range(1..head_dim / 2 + 1)).collect();
        let frequencies =
            pairs.iter().map(|pairs| (0..*pairs).map(|_| random.random_range(0.001..1.0f32)).collect()).collect();
        let one = |random: &mut ChaCha8Rng| if random.random_bool(0.3) { random.random_range(0.3..2.0) } else { 1.0 };
        let cap = |random: &mut ChaCha8Rng| random.random_bool(0.3).then(|| random.random_range(1.0..10.0f32));
        let architecture = Architecture {
            vocabulary,
            hidden_size,
            heads,
            key_value_heads,
            head_dim,
            pairs,
            activation: [Activation::Silu, Activation::Gelu, Activation::GeluTanh][random.random_range(0..3)],
            epsilon: 1e-5,
            attention_scale: 1.0 / (head_dim as f32).sqrt(),
            attention_soft_cap: cap(random),
            logit_soft_cap: cap(random),
            embedding_multiplier: one(random),
            residual_multiplier: one(random),
            logit_divisor: one(random),
        };
        let output_normed = random.random_bool(0.3);
        let head_normed = random.random_bool(0.4);
        let (bias, output_bias, wide_bias) =
            (random.random_bool(0.3), random.random_bool(0.2), random.random_bool(0.2));
        let mixed_formats = random.random_bool(0.2);
        let layers = (0..random.random_range(1..4))
            .map(|_| {
                let norm = |random: &mut ChaCha8Rng, size: usize| -> Vec<f32> {
                    (0..size).map(|_| random.random_range(0.5..1.5)).collect()
                };
                // What mixes of formats in GGUF files hold values in.
                let of_value = if mixed_formats { Format::F32 } else { format };
                let wide = any(random, 200);
                let gated = |random: &mut ChaCha8Rng, bias: bool| {
                    [
                        Plain::new(random, format, wide, hidden_size, bias),
                        Plain::new(random, of_value, wide, hidden_size, bias),
                        Plain::new(random, format, hidden_size, wide, bias),
                    ]
                };
                let block = if random.random_bool(0.3) && !mixed_formats {
                    let experts = random.random_range(2..9);
                    PlainBlock::Sparse {
                        router: Plain::new(random, Format::F32, experts, hidden_size, false),
                        experts: (0..experts).map(|_| gated(random, false)).collect(),
                        used: random.random_range(1..experts + 1),
                        normalized: random.random_bool(0.5),
                    }
                } else {
                    PlainBlock::Dense(gated(random, wide_bias))
                };
                let key_size = key_value_heads * head_dim;
                PlainLayer {
                    window: random.random_bool(0.3).then(|| random.random_range(1..60)),
                    rotation: random.random_bool(0.8).then(|| random.random_range(0..rotations)),
                    input_norm: norm(random, hidden_size),
                    query: Plain::new(random, format, heads * head_dim, hidden_size, bias),
                    key: Plain::new(random, format, key_size, hidden_size, bias),
                    value: Plain::new(random, of_value, key_size, hidden_size, bias),
                    head_norms: head_normed.then(|| (norm(random, head_dim), norm(random, head_dim))),
                    output: Plain::new(random, format, hidden_size, heads * head_dim, output_bias),
                    post_attention_norm: norm(random, hidden_size),
                    output_norms: output_normed.then(|| (norm(random, hidden_size), norm(random, hidden_size))),
                    block,
                }
            })
            .collect();
        let table = Plain::new(random, format, vocabulary, hidden_size, false);
        let head = random.random_bool(0.5).then(|| Plain::new(random, format, vocabulary, hidden_size, false));
        Self { architecture, frequencies, table, layers, norm: vec![1.0; hidden_size], head }
    }

    /// What makes a failure understood.
    pub fn describe(&self) -> String {
        let layers: Vec<String> = self
            .layers
            .iter()
            .map(|layer| {
                let block = match &layer.block {
                    PlainBlock::Dense(_) => "dense".to_owned(),
                    PlainBlock::Sparse { experts, used, .. } => format!("{used} of {} experts", experts.len()),
                };
                format!("window {:?}, rotation {:?}, {block}", layer.window, layer.rotation)
            })
            .collect();
        format!("{:?}, {:?}, {layers:?}", self.table.format, self.architecture)
    }

    pub fn weights(&self, gpu: &Gpu) -> Weights {
        let gated = |[gate, up, down]: &[Plain; 3]| Gated {
            gate: gate.linear(gpu),
            up: up.linear(gpu),
            down: down.linear(gpu),
        };
        let layer = |layer: &PlainLayer| Layer {
            window: layer.window,
            rotation: layer.rotation,
            input_norm: layer.input_norm.clone(),
            query: layer.query.linear(gpu),
            key: layer.key.linear(gpu),
            value: layer.value.linear(gpu),
            head_norms: layer.head_norms.clone(),
            output: layer.output.linear(gpu),
            post_attention_norm: layer.post_attention_norm.clone(),
            output_norms: layer.output_norms.clone().map(|(before, after)| OutputNorms { before, after }),
            feed_forward: match &layer.block {
                PlainBlock::Dense(block) => FeedForward::Dense(gated(block)),
                PlainBlock::Sparse { router, experts, used, normalized } => FeedForward::Sparse(Experts {
                    router: router.upload(gpu),
                    experts: experts.iter().map(gated).collect(),
                    used: *used,
                    normalized: *normalized,
                }),
            },
        };
        Weights {
            table: self.table.upload(gpu),
            layers: self.layers.iter().map(layer).collect(),
            norm: self.norm.clone(),
            head: self.head.as_ref().map(|head| head.upload(gpu)),
        }
    }

    /// The rotations of `length` positions after `past`.
    pub fn rotations(&self, past: usize, length: usize) -> Vec<Rotation> {
        let rotation = |frequencies: &Vec<f32>| {
            let angles =
                || (past..past + length).flat_map(|position| frequencies.iter().map(move |f| position as f32 * f));
            Rotation { cosines: angles().map(f32::cos).collect(), sines: angles().map(f32::sin).collect() }
        };
        self.frequencies.iter().map(rotation).collect()
    }

    /// The scores after each token of a sequence whose keys and values are held in `format`.
    pub fn scores(&self, tokens: &[u32], format: PageFormat) -> Vec<Vec<f64>> {
        let architecture = &self.architecture;
        let size = architecture.hidden_size;
        let mut hidden: Vec<Vec<f64>> = tokens
            .iter()
            .map(|token| {
                let row = &self.table.numbers[*token as usize * size..(*token as usize + 1) * size];
                row.iter().map(|value| f64::from(*value) * f64::from(architecture.embedding_multiplier)).collect()
            })
            .collect();
        for layer in &self.layers {
            let attended = self.attend(layer, &hidden, format);
            for (hidden, attended) in hidden.iter_mut().zip(attended) {
                let attended = layer.output.multiply(&attended);
                match &layer.output_norms {
                    None => {
                        self.add(hidden, &attended);
                        let output = self.block(layer, &self.normed(hidden, &layer.post_attention_norm));
                        self.add(hidden, &output);
                    }
                    Some((before, after)) => {
                        self.add(hidden, &self.normed(&attended, &layer.post_attention_norm));
                        let output = self.block(layer, &self.normed(hidden, before));
                        self.add(hidden, &self.normed(&output, after));
                    }
                }
            }
        }
        let head = self.head.as_ref().unwrap_or(&self.table);
        let of_token = |hidden: &Vec<f64>| -> Vec<f64> {
            let scores = head.multiply(&self.normed(hidden, &self.norm));
            scores
                .into_iter()
                .map(|score| capped(score / f64::from(architecture.logit_divisor), architecture.logit_soft_cap))
                .collect()
        };
        hidden.iter().map(of_token).collect()
    }

    fn attend(&self, layer: &PlainLayer, hidden: &[Vec<f64>], format: PageFormat) -> Vec<Vec<f64>> {
        let architecture = &self.architecture;
        let (head_dim, heads) = (architecture.head_dim, architecture.heads);
        let project = |part: &Plain, norm: Option<&Vec<f32>>, turns: bool| -> Vec<Vec<f64>> {
            let of_position = |(position, hidden): (usize, &Vec<f64>)| {
                let mut row = part.multiply(&self.normed(hidden, &layer.input_norm));
                for head in row.chunks_mut(head_dim) {
                    if let Some(norm) = norm {
                        head.copy_from_slice(&self.normed(head, norm));
                    }
                    if let Some(index) = layer.rotation.filter(|_| turns) {
                        rotate(head, &self.frequencies[index], position);
                    }
                }
                row
            };
            hidden.iter().enumerate().map(of_position).collect()
        };
        let norms = layer.head_norms.as_ref();
        let queries = project(&layer.query, norms.map(|(query, _)| query), true);
        let mut keys = project(&layer.key, norms.map(|(_, key)| key), true);
        let mut values = project(&layer.value, None, false);
        for row in keys.iter_mut().chain(&mut values) {
            row.chunks_mut(head_dim).for_each(|head| held(head, format));
        }
        let group = heads / architecture.key_value_heads;
        let of_position = |position: usize| -> Vec<f64> {
            let start = layer.window.map_or(0, |window| (position + 1).saturating_sub(window));
            let of_head = |head: usize| -> Vec<f64> {
                let part = |rows: &[Vec<f64>], position: usize, head: usize| {
                    rows[position][head * head_dim..(head + 1) * head_dim].to_vec()
                };
                let query = part(&queries, position, head);
                let scores: Vec<f64> = (start..=position)
                    .map(|other| {
                        let key = part(&keys, other, head / group);
                        let dot: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                        capped(dot * f64::from(architecture.attention_scale), architecture.attention_soft_cap)
                    })
                    .collect();
                let shares = softmax(&scores);
                let mut mixed = vec![0.0; head_dim];
                for (other, share) in (start..=position).zip(shares) {
                    for (mixed, value) in mixed.iter_mut().zip(part(&values, other, head / group)) {
                        *mixed += share * value;
                    }
                }
                mixed
            };
            (0..heads).flat_map(of_head).collect()
        };
        (0..hidden.len()).map(of_position).collect()
    }

    fn block(&self, layer: &PlainLayer, input: &[f64]) -> Vec<f64> {
        let gated = |[gate, up, down]: &[Plain; 3]| {
            let gates = gate.multiply(input).into_iter().map(|gate| activated(self.architecture.activation, gate));
            let gated: Vec<f64> = gates.zip(up.multiply(input)).map(|(gate, up)| gate * up).collect();
            down.multiply(&gated)
        };
        match &layer.block {
            PlainBlock::Dense(block) => gated(block),
            PlainBlock::Sparse { router, experts, used, normalized } => {
                let shares = softmax(&router.multiply(input));
                let mut order: Vec<usize> = (0..experts.len()).collect();
                order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
                order.truncate(*used);
                let total = if *normalized { order.iter().map(|expert| shares[*expert]).sum() } else { 1.0 };
                let mut output = vec![0.0; input.len()];
                for expert in order {
                    for (output, value) in output.iter_mut().zip(gated(&experts[expert])) {
                        *output += shares[expert] / total * value;
                    }
                }
                output
            }
        }
    }

    fn normed(&self, values: &[f64], weight: &[f32]) -> Vec<f64> {
        let mean = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
        let factor = 1.0 / (mean + f64::from(self.architecture.epsilon)).sqrt();
        values.iter().zip(weight).map(|(value, weight)| value * factor * f64::from(*weight)).collect()
    }

    fn add(&self, hidden: &mut [f64], output: &[f64]) {
        for (hidden, output) in hidden.iter_mut().zip(output) {
            *hidden += f64::from(self.architecture.residual_multiplier) * output;
        }
    }
}

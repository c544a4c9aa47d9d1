//! Trains the starter: seeded examples without end, AdamW, cross entropy on what follows the prompt.
//!
//! Word pieces start from a public sentence encoder's input embeddings, reduced by principal
//! components, and stay as they are: a word that training never showed then still lies beside
//! the words it resembles. The notation's tokens and the layers are learned.

mod components;
mod initial;

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::grad_clipping::GradientClippingConfig;
use burn::module::{Module, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

use super::generator::{Example, Generator};
use super::linking::Piece;
use super::phrases::Phrases;
use super::vocabulary::Vocabulary;
use super::{checkpoint, notation::first_piece};
use crate::loader::packing::Packing;
use crate::models::decoder::{Decoder, DecoderConfig};
use crate::{ModelError, loader};

/// How the starter is trained.
#[derive(Debug, Clone)]
pub struct TrainingOptions {
    pub steps: usize,
    pub batch: usize,
    pub learning_rate: f64,
    pub seed: u64,
    /// Stops early, as if the last step had come, after this many seconds. 0: never.
    pub seconds: u64,
    /// A folder that training wrote, to go on from.
    pub resume: Option<PathBuf>,
}

/// Longer examples are drawn again.
const MAX_LENGTH: usize = 200;
const WARM_UP: usize = 100;
/// The root mean square of the embeddings of word pieces.
const EMBEDDING_SCALE: f32 = 0.08;
/// The deviation of the noise on words in training, as a share of their embeddings' size.
const WORD_NOISE: f64 = 0.2;

/// The shape of the starter, but for its vocabulary.
pub fn shape(vocab_size: usize) -> DecoderConfig {
    DecoderConfig {
        vocab_size,
        hidden_size: 192,
        intermediate_size: 512,
        num_hidden_layers: 4,
        num_attention_heads: 6,
        num_key_value_heads: 6,
        head_dim: 32,
        rms_norm_eps: 1e-6,
        tie_word_embeddings: true,
        qk_norm: false,
        max_position_embeddings: 1024,
        ..DecoderConfig::default()
    }
}

/// The layers and the embeddings that are learned; the others are constants beside it.
#[derive(Module, Debug)]
struct Student {
    decoder: Decoder,
    sayable: Param<Tensor<2>>,
}

/// Trains and writes the checkpoint to `folder`. `encoder` is a folder with the sentence
/// encoder's `vocab.txt` and `model.safetensors`.
pub fn train(
    encoder: &Path,
    folder: &Path,
    device: Device,
    options: &TrainingOptions,
    progress: &mut dyn FnMut(usize, f32, f64),
) -> Result<(), ModelError> {
    device.seed(options.seed);
    let (vocabulary, pieces) = vocabulary(encoder)?;
    let config = shape(vocabulary.size());
    let fixed = components::word_embeddings(
        &read(&encoder.join("model.safetensors"))?,
        &pieces,
        config.hidden_size,
        EMBEDDING_SCALE,
    )?;
    let plain = device.clone();
    let device = device.autodiff();
    let (mut student, mut fixed) = start(&config, &vocabulary, &pieces, &fixed, &device);
    if let Some(folder) = &options.resume {
        (student, fixed) = resume(folder, &vocabulary, (student, fixed), &plain)?;
    }
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(0.02)
        .with_beta_2(0.98)
        .with_epsilon(1e-9)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();

    let mut examples = Batches::new(options, &vocabulary);
    let started = Instant::now();
    let mut average = 0.0_f32;
    for step in 0..options.steps {
        let elapsed = started.elapsed().as_secs_f64();
        let by_time = if options.seconds > 0 { elapsed / options.seconds as f64 } else { 0.0 };
        let done = (step as f64 / options.steps as f64).max(by_time);
        if done >= 1.0 {
            break;
        }
        let rate = options.learning_rate
            * (((step + 1) as f64 / WARM_UP as f64).min(1.0))
            * (0.03 + 0.97 * (1.0 + (done * std::f64::consts::PI).cos()) / 2.0);
        let batch = examples.next()?;
        let loss = student.loss(&fixed, &batch, &device);
        let value: f32 = loss.clone().into_scalar();
        if !value.is_finite() {
            return Err(ModelError::Numeric(format!("the loss is {value} at step {step}; lower the learning rate")));
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &student);
        student = optimizer.step(rate, student, gradients);
        average = if step == 0 { value } else { 0.98 * average + 0.02 * value };
        progress(step, average, elapsed);
        if step % 500 == 499 {
            save(&student, &fixed, &vocabulary, &config, folder)?;
        }
    }
    save(&student, &fixed, &vocabulary, &config, folder)
}

/// A student that knows nothing, and the words it will know by their neighbours.
fn start(
    config: &DecoderConfig,
    vocabulary: &Vocabulary,
    pieces: &[(String, usize)],
    words: &[f32],
    device: &Device,
) -> (Student, Tensor<2>) {
    // The module's own table is a placeholder of one row: lookups go through `embed`.
    let mut decoder = DecoderConfig { vocab_size: 1, ..config.clone() }.init(device);
    initial::mimetic(&mut decoder, device);
    let specials = first_piece() as usize;
    let random = Tensor::<2>::random(
        [specials, config.hidden_size],
        Distribution::Normal(0.0, f64::from(EMBEDDING_SCALE)),
        device,
    );
    let table = order(vocabulary, pieces, words, config.hidden_size, specials);
    let rows = vocabulary.size() - specials;
    let words = Tensor::<2>::from_data(TensorData::new(table, [rows, config.hidden_size]), device);
    let known = vocabulary.sayable - specials;
    let sayable = Tensor::cat(vec![random, words.clone().slice([0..known])], 0);
    (Student { decoder, sayable: Param::from_tensor(sayable) }, words.slice([known..rows]).detach())
}

/// A student as an earlier run left it. Tokens are matched by name, so that a notation that has
/// grown since goes on from the smaller one; what is new starts as in `fresh`.
fn resume(
    folder: &Path,
    vocabulary: &Vocabulary,
    fresh: (Student, Tensor<2>),
    device: &Device,
) -> Result<(Student, Tensor<2>), ModelError> {
    let known = Vocabulary::from_json(&read(&folder.join("tokenizer.json"))?, 0)?;
    let decoder = loader::decoder::load(folder, &[], Packing::Tensors, device)?;
    let packed = || ModelError::Unsupported("packed weights cannot be trained".to_owned());
    let rows = |tensor: Tensor<2>| -> Result<Vec<f32>, ModelError> {
        tensor
            .inner()
            .into_data()
            .convert::<f32>()
            .try_into_vec()
            .map_err(|error| ModelError::Numeric(format!("{error:?}")))
    };
    let width = decoder.config.hidden_size;
    let learned: Vec<f32> = decoder
        .embed_tokens
        .dense()
        .ok_or_else(packed)?
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .map_err(|error| ModelError::Numeric(format!("{error:?}")))?;
    let mut table = rows(fresh.0.sayable.val())?;
    table.extend(rows(fresh.1)?);
    for (token, row) in table.chunks_exact_mut(width).enumerate() {
        let old = known.token(&vocabulary.name(token as u32)).map(|old| old as usize * width);
        if let Some(old) = old.and_then(|old| learned.get(old..old + width)) {
            row.copy_from_slice(old);
        }
    }
    let size = table.len() / width;
    let table = Tensor::<2>::from_data(TensorData::new(table, [size, width]), device);
    let fixed = table.clone().slice([vocabulary.sayable..size]).autodiff();
    let student = Student { decoder, sayable: Param::from_tensor(table.slice([0..vocabulary.sayable])) };
    Ok((student.train(), fixed))
}

fn save(
    student: &Student,
    fixed: &Tensor<2>,
    vocabulary: &Vocabulary,
    config: &DecoderConfig,
    folder: &Path,
) -> Result<(), ModelError> {
    let table = Tensor::cat(vec![student.sayable.val().inner(), fixed.clone().inner()], 0);
    checkpoint::save(&student.decoder, table, vocabulary, config, folder)
}

/// A padded batch: tokens, and for each position that predicts something, what.
struct Batch {
    tokens: Vec<i32>,
    rows: usize,
    length: usize,
    /// Flat positions whose next token is a target.
    positions: Vec<i32>,
    targets: Vec<i32>,
}

impl Student {
    fn embed(&self, fixed: &Tensor<2>, batch: &Batch, device: &Device) -> Tensor<3> {
        let sayable = self.sayable.val();
        let [known, width] = sayable.dims();
        let index = |choose: &dyn Fn(i32) -> i32| {
            Tensor::<1, Int>::from_data(
                TensorData::new(
                    batch.tokens.iter().map(|token| choose(*token)).collect::<Vec<i32>>(),
                    [batch.tokens.len()],
                ),
                device,
            )
        };
        let known = known as i32;
        let is_known: Vec<f32> = batch.tokens.iter().map(|token| f32::from(u8::from(*token < known))).collect();
        let is_known = Tensor::<2>::from_data(TensorData::new(is_known, [batch.tokens.len(), 1]), device);
        let learned = sayable.select(0, index(&|token| token.min(known - 1))) * is_known.clone();
        // Noise on words: one that training never shows should do as well as its neighbours.
        let noise = Tensor::<2>::random(
            [batch.tokens.len(), width],
            Distribution::Normal(0.0, f64::from(EMBEDDING_SCALE) * WORD_NOISE),
            device,
        );
        let constant =
            (fixed.clone().select(0, index(&|token| (token - known).max(0))) + noise) * (is_known.neg() + 1.0);
        (learned + constant).reshape([batch.rows, batch.length, width])
    }

    fn loss(&self, fixed: &Tensor<2>, batch: &Batch, device: &Device) -> Tensor<1> {
        let embedded = self.embed(fixed, batch, device);
        let hidden = self.decoder.hidden_from(embedded, None);
        let [rows, length, width] = hidden.dims();
        let positions =
            Tensor::<1, Int>::from_data(TensorData::new(batch.positions.clone(), [batch.positions.len()]), device);
        let chosen = hidden.reshape([rows * length, width]).select(0, positions);
        let scores = log_softmax(chosen.matmul(self.sayable.val().transpose()), 1);
        let targets =
            Tensor::<2, Int>::from_data(TensorData::new(batch.targets.clone(), [batch.targets.len(), 1]), device);
        scores.gather(1, targets).mean().neg()
    }
}

/// Batches of examples of like length.
struct Batches<'a> {
    generator: Generator,
    vocabulary: &'a Vocabulary,
    size: usize,
    waiting: Vec<Vec<Vec<(u32, bool)>>>,
    turn: u64,
}

impl<'a> Batches<'a> {
    fn new(options: &TrainingOptions, vocabulary: &'a Vocabulary) -> Self {
        Self {
            generator: Generator::new(options.seed),
            vocabulary,
            size: options.batch,
            waiting: Vec::new(),
            turn: options.seed,
        }
    }

    fn next(&mut self) -> Result<Batch, ModelError> {
        if self.waiting.is_empty() {
            let mut examples = Vec::new();
            while examples.len() < self.size * 8 {
                let example = tokens(&self.generator.next_example(), self.vocabulary)?;
                if example.len() <= MAX_LENGTH {
                    examples.push(example);
                }
            }
            examples.sort_by_key(Vec::len);
            self.waiting = examples.chunks(self.size).map(<[_]>::to_vec).collect();
        }
        // A fixed walk through the lengths; the generator itself is the source of chance.
        self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let index = (self.turn >> 33) as usize % self.waiting.len();
        Ok(batch(&self.waiting.swap_remove(index)))
    }
}

/// An example's tokens, each with whether it is a target.
fn tokens(example: &Example, vocabulary: &Vocabulary) -> Result<Vec<(u32, bool)>, ModelError> {
    let prompt = vocabulary.encode(&example.prompt)?;
    let target = vocabulary.encode(&example.target)?;
    Ok(prompt.into_iter().map(|token| (token, false)).chain(target.into_iter().map(|token| (token, true))).collect())
}

fn batch(examples: &[Vec<(u32, bool)>]) -> Batch {
    let length = examples.iter().map(Vec::len).max().unwrap_or(1);
    let mut batch = Batch {
        tokens: vec![0; examples.len() * length],
        rows: examples.len(),
        length,
        positions: Vec::new(),
        targets: Vec::new(),
    };
    for (row, example) in examples.iter().enumerate() {
        for (position, (token, is_target)) in example.iter().enumerate() {
            batch.tokens[row * length + position] = *token as i32;
            if *is_target && position > 0 {
                batch.positions.push((row * length + position - 1) as i32);
                batch.targets.push(*token as i32);
            }
        }
    }
    batch
}

/// The word pieces kept from the encoder's vocabulary, with their rows there, and the vocabulary.
fn vocabulary(encoder: &Path) -> Result<(Vocabulary, Vec<(String, usize)>), ModelError> {
    let path = encoder.join("vocab.txt");
    let text = String::from_utf8(read(&path)?)
        .map_err(|error| ModelError::Tokenizer(format!("{}: {error}", path.display())))?;
    let english = |piece: &str| {
        let body = piece.trim_start_matches('#');
        !piece.starts_with('[')
            && (body.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                || (piece.len() == 1 && piece.is_ascii()))
    };
    let pieces: Vec<(String, usize)> = text
        .lines()
        .enumerate()
        .filter(|(_, piece)| english(piece))
        .map(|(row, piece)| (piece.to_owned(), row))
        .collect();
    let names: Vec<String> = pieces.iter().map(|(piece, _)| piece.clone()).collect();
    // Answers are made of pieces of their words.
    let every = Vocabulary::build(&names, &[])?;
    let words: Vec<Piece> = answer_words().into_iter().map(Piece::Text).collect();
    let sayable: Vec<String> = every.encode(&words)?.into_iter().map(|token| every.name(token)).collect();
    Ok((Vocabulary::build(&names, &sayable)?, pieces))
}

/// Every word that answers use.
fn answer_words() -> Vec<String> {
    let phrases = Phrases::shipped();
    let mut words: Vec<String> = phrases.words("answer.").into_iter().map(|word| word.to_lowercase()).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// The encoder's rows in the order of the vocabulary.
fn order(
    vocabulary: &Vocabulary,
    pieces: &[(String, usize)],
    reduced: &[f32],
    width: usize,
    specials: usize,
) -> Vec<f32> {
    let mut table = vec![0.0; (vocabulary.size() - specials) * width];
    for (index, (piece, _)) in pieces.iter().enumerate() {
        if let Some(token) = vocabulary.token(piece) {
            let row = token as usize - specials;
            table[row * width..(row + 1) * width].copy_from_slice(&reduced[index * width..(index + 1) * width]);
        }
    }
    table
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs_err::read(path).map_err(|error| ModelError::File { path: path.display().to_string(), reason: error.to_string() })
}

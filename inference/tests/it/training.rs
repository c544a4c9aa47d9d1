//! The decoder as a module that learns, and that reads the same in batches, alone and piecewise.

use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use codriver_inference::models::decoder::{Activation, Decoder, DecoderConfig, ExpertsConfig, KvCache, LayerConfig};
use codriver_inference::models::rotary::RotaryConfig;

fn config() -> DecoderConfig {
    DecoderConfig {
        vocab_size: 20,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        tie_word_embeddings: true,
        qk_norm: true,
        attention_bias: true,
        max_position_embeddings: 64,
        ..DecoderConfig::default()
    }
}

/// A decoder with every feature that is off in the plain one.
fn rich_config() -> DecoderConfig {
    DecoderConfig {
        activation: Activation::GeluTanh,
        rotary: RotaryConfig { dimensions: Some(4), ..RotaryConfig::default() },
        sliding_rotary: Some(RotaryConfig { theta: 100.0, ..RotaryConfig::default() }),
        num_hidden_layers: 3,
        layers: vec![
            LayerConfig { sliding_window: Some(3), ..LayerConfig::default() },
            LayerConfig { unrotated: true, ..LayerConfig::default() },
            LayerConfig { sliding_window: Some(1), sparse: true, ..LayerConfig::default() },
        ],
        experts: Some(ExpertsConfig {
            num_experts: 3,
            num_experts_per_tok: 2,
            intermediate_size: 12,
            norm_topk_prob: true,
        }),
        output_norms: true,
        attention_scale: Some(0.3),
        attention_soft_cap: Some(5.0),
        logit_soft_cap: Some(20.0),
        embedding_multiplier: 4.0,
        residual_multiplier: 0.8,
        logit_divisor: 0.5,
        ..config()
    }
}

#[test]
fn decoders_learn_a_sequence() {
    learns_a_sequence(config());
    learns_a_sequence(rich_config());
}

fn learns_a_sequence(config: DecoderConfig) {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut decoder = config.init(&device);
    let mut optimizer = AdamConfig::new().init();
    let sequence = tokens(&[&[3, 1, 4, 1, 5, 9, 2, 6, 5, 3], &[2, 7, 1, 8, 2, 8, 1, 8, 2, 8]], &device);
    let mut losses = Vec::new();
    for _ in 0..60 {
        let loss = loss(&decoder, &sequence);
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
        decoder = optimizer.step(0.02, decoder, gradients);
    }
    assert!((losses[0] - 20.0_f32.ln()).abs() < 0.3, "an untrained decoder guesses: {}", losses[0]);
    let last = losses[losses.len() - 1];
    assert!(last < 0.4, "the loss fell to {last} only");
}

#[test]
fn padding_on_the_right_changes_nothing() {
    let device = Device::flex();
    device.seed(2);
    let decoder = rich_config().init(&device);
    let alone = decoder.forward(tokens(&[&[5, 6, 7]], &device));
    let batch = decoder.forward(tokens(&[&[5, 6, 7, 0, 0], &[1, 2, 3, 4, 5]], &device));
    assert_close(alone, batch.slice([0..1, 0..3, 0..20]));
}

#[test]
fn a_cache_changes_nothing() {
    cache_changes_nothing(config());
    cache_changes_nothing(rich_config());
}

fn cache_changes_nothing(config: DecoderConfig) {
    let device = Device::flex();
    device.seed(3);
    let decoder = config.init(&device);
    let sequence = [9, 8, 7, 6, 5, 4, 3, 2, 1];
    let whole = decoder.forward(tokens(&[&sequence], &device));
    // Too small on purpose: it grows.
    let mut cache = KvCache::new(&decoder.config, 2, &device);
    let mut pieces = Vec::new();
    for piece in [&sequence[..4], &sequence[4..5], &sequence[5..6], &sequence[6..]] {
        let hidden = decoder.hidden(tokens(&[piece], &device), Some(&mut cache));
        pieces.push(decoder.logits(hidden));
    }
    assert_eq!(cache.len(), 9);
    assert_close(whole.clone(), Tensor::cat(pieces, 1));
    // What was read after the fifth token is forgotten, and can be read again.
    cache.truncate(5);
    let hidden = decoder.hidden(tokens(&[&sequence[5..]], &device), Some(&mut cache));
    assert_close(whole.slice([0..1, 5..9, 0..20]), decoder.logits(hidden));
}

fn loss(decoder: &Decoder, sequence: &Tensor<2, Int>) -> Tensor<1> {
    let [batch, length] = sequence.dims();
    let logits = decoder.forward(sequence.clone().narrow(1, 0, length - 1));
    let targets = sequence.clone().narrow(1, 1, length - 1).reshape([batch * (length - 1)]);
    let logits = logits.reshape([batch * (length - 1), 20]);
    burn::nn::loss::CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, targets)
}

fn tokens(rows: &[&[i32]], device: &Device) -> Tensor<2, Int> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), device)
}

fn assert_close(a: Tensor<3>, b: Tensor<3>) {
    assert_eq!(a.dims(), b.dims());
    let difference = (a - b).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-5, "differs by {difference}");
}

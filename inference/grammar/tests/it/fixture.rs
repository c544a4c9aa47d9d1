//! Tokenizers made by the tests, and walks under the mask.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use codriver_grammar::{GrammarError, Guide, Vocabulary};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokenizers::models::bpe::BpeTrainerBuilder;
use tokenizers::{AddedToken, Model, Tokenizer};

/// The token that ends an answer in every tokenizer here.
pub const END: &str = "<|end|>";

/// A marker that is one control token where a test adds it.
pub const CALL: &str = "<|tool_call|>";

/// The tokenizers that grammars must work with.
pub fn tokenizers(seed: u64) -> Vec<(&'static str, Tokenizer)> {
    vec![
        ("bytes", byte_level(seed, 0)),
        ("byte-level BPE", byte_level(seed, 1500)),
        ("SentencePiece", sentence_piece(seed, 1200)),
        ("WordPiece", word_piece()),
    ]
}

/// A vocabulary without forcing: its masks admit every spelling.
pub fn free_vocabulary(tokenizer: &Tokenizer) -> Arc<Vocabulary> {
    let size = tokenizer.get_vocab_size(true);
    let table = codriver_grammar::TokenTable::read(tokenizer, size);
    let end = tokenizer.token_to_id(END).unwrap();
    Arc::new(Vocabulary::new(table, &[end], size, None).unwrap())
}

pub fn vocabulary(tokenizer: &Tokenizer) -> Arc<Vocabulary> {
    let end = tokenizer.token_to_id(END).unwrap();
    Arc::new(Vocabulary::from_tokenizer(tokenizer, &[end], tokenizer.get_vocab_size(true)).unwrap())
}

/// Byte-level BPE as in GPT-2, trained on random text; without merges, the 256 bytes.
pub fn byte_level(seed: u64, merges: usize) -> Tokenizer {
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let mut tokenizer =
        bpe(json!({ "normalizer": null, "pre_tokenizer": byte_level, "decoder": byte_level }), json!({}));
    let alphabet: std::collections::HashSet<char> =
        tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    train(&mut tokenizer, seed, 256 + merges, alphabet.into_iter().collect());
    add_control_tokens(&mut tokenizer);
    tokenizer
}

/// BPE over `▁` with tokens for single bytes, as Llama 2 has it.
pub fn sentence_piece(seed: u64, merges: usize) -> Tokenizer {
    let parts = json!({
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" } ] },
        "pre_tokenizer": null,
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" }, { "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 1, "stop": 0 } ] },
    });
    let mut trained = bpe(parts.clone(), json!({}));
    // Training without a pre-tokenizer takes whole lines for words.
    let metaspace: tokenizers::pre_tokenizers::PreTokenizerWrapper = serde_json::from_value(
        json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true }),
    )
    .unwrap();
    trained.with_pre_tokenizer(Some(metaspace));
    train(&mut trained, seed, 100 + merges, Vec::new());
    let trained: Value = serde_json::from_str(&trained.to_string(false).unwrap()).unwrap();
    let mut vocabulary = serde_json::Map::new();
    for name in ["<unk>".to_string()].into_iter().chain((0..=255).map(|byte| format!("<0x{byte:02X}>"))) {
        vocabulary.insert(name, json!(vocabulary.len()));
    }
    let mut learned: Vec<(&String, u64)> =
        trained["model"]["vocab"].as_object().unwrap().iter().map(|(name, id)| (name, id.as_u64().unwrap())).collect();
    learned.sort_by_key(|(_, id)| *id);
    for (name, _) in learned {
        if !vocabulary.contains_key(name) {
            vocabulary.insert(name.clone(), json!(vocabulary.len()));
        }
    }
    let model = json!({ "vocab": vocabulary, "merges": trained["model"]["merges"], "byte_fallback": true, "unk_token": "<unk>", "fuse_unk": true });
    let mut tokenizer = bpe(parts, model);
    add_control_tokens(&mut tokenizer);
    tokenizer
}

/// The tokenizer of all-MiniLM-L6-v2.
pub fn word_piece() -> Tokenizer {
    let folder =
        std::env::var("CODRIVER_EMBEDDING_MODEL").expect("CODRIVER_EMBEDDING_MODEL: the folder of all-MiniLM-L6-v2");
    let mut tokenizer = Tokenizer::from_file(Path::new(&folder).join("tokenizer.json")).unwrap();
    tokenizer.with_truncation(None).unwrap();
    tokenizer.with_padding(None);
    add_control_tokens(&mut tokenizer);
    tokenizer
}

fn add_control_tokens(tokenizer: &mut Tokenizer) {
    tokenizer.add_special_tokens(&[AddedToken::from(END, true), AddedToken::from(CALL, true)]);
}

fn bpe(parts: Value, model: Value) -> Tokenizer {
    let mut all = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "post_processor": null,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": {}, "merges": [] },
    });
    for (key, value) in parts.as_object().unwrap() {
        all[key] = value.clone();
    }
    for (key, value) in model.as_object().unwrap() {
        all["model"][key] = value.clone();
    }
    all.to_string().parse().unwrap()
}

fn train(tokenizer: &mut Tokenizer, seed: u64, size: usize, alphabet: Vec<char>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let lines: Vec<String> = (0..3000).map(|_| line(&mut random)).collect();
    let trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(size)
        .initial_alphabet(alphabet.into_iter().collect())
        .build();
    let mut trainer = tokenizers::models::TrainerWrapper::from(trainer);
    tokenizer.train(&mut trainer, lines.into_iter()).unwrap();
}

/// A line of words, JSON and other scripts.
fn line(random: &mut ChaCha8Rng) -> String {
    let syllables = ["ba", "or", "der", "cust", "na", "me", "ti", "on", "al", "pha", "é", "ü", "日本", "🙂", "_id"];
    let word = |random: &mut ChaCha8Rng| -> String {
        (0..random.random_range(1..4)).map(|_| *syllables.choose(random).unwrap()).collect()
    };
    let mut line = String::new();
    for _ in 0..random.random_range(3..10) {
        match random.random_range(0..4) {
            0 => line.push_str(
                &json!({ word(random): word(random), word(random): random.random_range(-99..99_999) }).to_string(),
            ),
            1 => line.push_str(&format!(
                "{{\"{}\": [{}, true, null], \"{}\": \"\"}}\n",
                word(random),
                random.random_range(0..300),
                word(random)
            )),
            _ => line.push_str(&format!(" {}", word(random))),
        }
    }
    line
}

/// A random text that a guide admits: its tokens, which are chosen evenly among the allowed ones,
/// some of them forced. `None` where it is longer, or where the vocabulary, that of WordPiece, has
/// come to where it can write nothing the grammar asks for.
pub fn walk(guide: &mut Guide, end: u32, random: &mut ChaCha8Rng, longest: usize) -> Option<Vec<u32>> {
    let mut tokens = Vec::new();
    while tokens.len() < longest {
        if random.random_bool(0.5) {
            tokens.extend(guide.forced());
        }
        if guide.is_stopped() {
            return Some(tokens);
        }
        let mask = match guide.mask() {
            Err(GrammarError::DeadEnd) => return None,
            mask => mask.unwrap(),
        };
        let allowed = mask.tokens();
        assert_eq!(mask.allows(end), guide.is_accepting(), "an answer ends where it is whole");
        let token = *allowed.choose(random).unwrap();
        if token == end {
            return Some(tokens);
        }
        guide.commit(token).unwrap();
        tokens.push(token);
    }
    None
}

/// Asserts that each token of a text is admitted, and the text's end after them.
pub fn assert_admitted(guide: &mut Guide, tokenizer: &Tokenizer, text: &str, what: &str) {
    let encoding = tokenizer.encode(text, false).unwrap();
    let end = tokenizer.token_to_id(END).unwrap();
    for (index, token) in encoding.get_ids().iter().enumerate() {
        assert!(!guide.is_stopped(), "{what}: stopped before token {index} of {:?}", encoding.get_tokens());
        let mask = guide.mask().unwrap();
        assert!(mask.allows(*token), "{what}: token {index} of {:?} is not admitted in {text}", encoding.get_tokens());
        guide.commit(*token).unwrap();
    }
    assert!(guide.is_accepting(), "{what}: {text} is not whole");
    if !guide.is_stopped() {
        let admitted: BTreeSet<u32> = guide.mask().unwrap().tokens().into_iter().collect();
        assert!(admitted.contains(&end), "{what}: no end after {text}");
    }
}

pub fn decode(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    tokenizer.decode(tokens, false).unwrap()
}

/// The model part is private in `Tokenizer`: only its size is of interest.
pub fn size(tokenizer: &Tokenizer) -> usize {
    tokenizer.get_model().get_vocab_size()
}

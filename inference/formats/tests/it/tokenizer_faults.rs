//! Tokenizer metadata that is missing, contradicts itself or was changed at random: an error that
//! names what is wrong, or a tokenizer that works; never a panic.

use codriver_formats::gguf::{Array, GgufFile, GgufWriter, Value};
use codriver_formats::tokenizer::{ModelTokenizer, open_tokenizer};
use proptest::prelude::*;

type Metadata = Vec<(String, Value)>;

const TEXTS: [&str; 6] = ["", " hello  world", "<s>é\u{301}\u{1F680}\r\n", "abab 123456", "\u{0}\u{FFFD}", "ﬁ한국"];

fn metadata(kind: &str) -> Metadata {
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let special = ["<unk>", "<s>", "</s>"].map(String::from);
    let words = ["a", "b", "ab", "▁", "▁a", "abab", "é", "1", "▁hel", "lo"].map(String::from);
    let tokens: Vec<String> = special.into_iter().chain(bytes).chain(words).collect();
    let kinds: Vec<i32> = [2, 3, 3].into_iter().chain([6; 256]).chain([1; 10]).collect();
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
    let merges = ["a b", "ab ab", "▁ a"].map(String::from).to_vec();
    let entries: [(&str, Value); 12] = [
        ("general.architecture", "llama".into()),
        ("tokenizer.ggml.model", kind.into()),
        ("tokenizer.ggml.pre", "llama-bpe".into()),
        ("tokenizer.ggml.tokens", tokens.into()),
        ("tokenizer.ggml.scores", scores.into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.merges", merges.into()),
        ("tokenizer.ggml.bos_token_id", 1_u32.into()),
        ("tokenizer.ggml.eos_token_id", 2_u32.into()),
        ("tokenizer.ggml.seperator_token_id", 2_u32.into()),
        ("tokenizer.ggml.unknown_token_id", 0_u32.into()),
        ("tokenizer.ggml.precompiled_charsmap", character_map().into()),
    ];
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// Maps the byte `A` to `a`: a root whose children lie at 256 ^ byte, the child, its value.
fn character_map() -> Vec<u8> {
    let mut units = vec![0_u32; 1024];
    units[0] = 256 << 10;
    units[256 ^ 0x41] = 512 << 10 | 1 << 8 | 0x41;
    units[256 ^ 0x41 ^ 512] = 1 << 31;
    let tree = units.iter().flat_map(|unit| unit.to_le_bytes());
    (units.len() as u32 * 4).to_le_bytes().into_iter().chain(tree).chain(*b"a\0").collect()
}

fn open(metadata: &Metadata) -> Result<ModelTokenizer, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = GgufWriter::new(&path);
    for (key, value) in metadata {
        writer.set(key, value.clone());
    }
    writer.create().unwrap().finish().unwrap();
    let file = GgufFile::open(&path).map_err(|error| error.to_string())?;
    ModelTokenizer::from_gguf(&file).map_err(|error| error.to_string())
}

fn with(kind: &str, key: &str, value: impl Into<Value>) -> Result<ModelTokenizer, String> {
    let mut metadata = metadata(kind);
    metadata.retain(|(present, _)| present != key);
    metadata.push((key.to_string(), value.into()));
    open(&metadata)
}

#[test]
fn each_kind_opens_before_anything_is_changed() {
    for kind in ["gpt2", "llama", "bert", "t5", "gemma4"] {
        let tokenizer = open(&metadata(kind)).unwrap();
        assert!(!tokenizer.encode("abab", false).unwrap().is_empty(), "{kind}");
    }
    assert_eq!(open(&metadata("t5")).unwrap().encode("Ab", false).unwrap(), [261]);
}

#[test]
fn what_is_wrong_is_named() {
    let short: Vec<f32> = vec![0.0; 3];
    let cases = [
        (with("rwkv", "x", 1_u32), "`rwkv`, which isn't supported"),
        (with("llama", "tokenizer.ggml.tokens", Vec::<String>::new()), "has no tokens"),
        (with("llama", "tokenizer.ggml.tokens", 1_u32), "`tokenizer.ggml.tokens` should be a list of texts"),
        (with("llama", "tokenizer.ggml.tokens", vec!["twice".to_string(); 269]), "the token \"twice\" twice"),
        (with("llama", "tokenizer.ggml.scores", short), "`tokenizer.ggml.scores` has 3 entries"),
        (with("llama", "tokenizer.ggml.token_type", vec![1_i32; 5]), "`tokenizer.ggml.token_type` has 5 entries"),
        (with("llama", "tokenizer.ggml.scores", vec![f32::NAN; 269]), "a score that is no number"),
        (with("llama", "tokenizer.ggml.bos_token_id", 269_u32), "is 269, but the vocabulary has 269 tokens"),
        (with("gpt2", "tokenizer.ggml.merges", vec!["ab".to_string()]), "the merge \"ab\", which is no pair"),
        (with("gpt2", "tokenizer.ggml.merges", vec!["a zz".to_string()]), "merges \"zz\", which is no token"),
        (with("t5", "tokenizer.ggml.precompiled_charsmap", vec![255_u8; 9]), "damaged character map"),
    ];
    for (opened, expected) in cases {
        let error = opened.map(|_| ()).expect_err(expected);
        assert!(error.contains(expected) && error.contains("model.gguf"), "{error}");
    }
    let mut without = metadata("gpt2");
    without.retain(|(key, _)| key != "tokenizer.ggml.merges");
    assert!(open(&without).unwrap_err().contains("`tokenizer.ggml.merges` (a list of texts) is missing"));
}

#[test]
fn what_is_guessed_is_said() {
    let tokenizer = with("gpt2", "tokenizer.ggml.pre", "from-next-year").unwrap();
    assert!(tokenizer.warnings().concat().contains("`from-next-year`"), "{:?}", tokenizer.warnings());
    assert!(open(&metadata("gpt2")).unwrap().warnings().is_empty());
}

#[test]
fn a_folder_says_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let error = |folder: &tempfile::TempDir| open_tokenizer(folder.path()).unwrap_err().to_string();
    assert!(error(&folder).contains("neither tokenizer.json nor tokenizer.model nor a GGUF file"));
    std::fs::write(folder.path().join("vocab.json"), "{}").unwrap();
    assert!(error(&folder).contains("has a vocabulary but no tokenizer.json"));
    std::fs::write(folder.path().join("tokenizer.model"), b"\x0a\xff\xff\xff\xff\x7fxyz").unwrap();
    assert!(error(&folder).contains("tokenizer.model: is no SentencePiece model"));
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(error(&folder).contains("tokenizer.json: not a tokenizer"));
}

#[derive(Debug, Clone)]
enum Change {
    Remove,
    Replace(u32),
    Text(String),
    /// Cuts a list short.
    Cut(usize),
    /// Changes a list's element.
    Element(usize, u32, String),
}

fn change() -> impl Strategy<Value = Change> {
    let number = prop_oneof![any::<u32>(), 0..300_u32];
    prop_oneof![
        Just(Change::Remove),
        number.clone().prop_map(Change::Replace),
        prop_oneof!["\\PC{0,8}", "gpt2|llama|bert|t5", "qwen2|gpt-4o|superbpe|tekken"].prop_map(Change::Text),
        (0..300_usize).prop_map(Change::Cut),
        (0..5000_usize, number, "\\PC{0,6}|[ab▁] ?[ab▁]")
            .prop_map(|(index, number, text)| Change::Element(index, number, text)),
    ]
}

fn apply(change: &Change, value: &mut Value) {
    match (change, value) {
        (Change::Replace(number), value) => *value = (*number).into(),
        (Change::Text(text), value) => *value = text.as_str().into(),
        (Change::Cut(length), Value::Array(Array::String(list))) => list.truncate(*length),
        (Change::Cut(length), Value::Array(Array::F32(list))) => list.truncate(*length),
        (Change::Cut(length), Value::Array(Array::I32(list))) => list.truncate(*length),
        (Change::Cut(length), Value::Array(Array::U8(list))) => list.truncate(*length),
        (Change::Element(index, number, text), Value::Array(array)) => match array {
            Array::String(list) => list.get_mut(*index).into_iter().for_each(|element| *element = text.clone()),
            Array::F32(list) => list.get_mut(*index).into_iter().for_each(|element| *element = f32::from_bits(*number)),
            Array::I32(list) => list.get_mut(*index).into_iter().for_each(|element| *element = *number as i32),
            Array::U8(list) => list.get_mut(*index).into_iter().for_each(|element| *element = *number as u8),
            _ => {}
        },
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_metadata_is_an_error_or_a_tokenizer_that_works(
        kind in prop_oneof![Just("gpt2"), Just("llama"), Just("bert"), Just("t5"), Just("gemma4")],
        changes in prop::collection::vec((0..12_usize, change()), 1..5),
        text in "\\PC{0,30}",
    ) {
        let mut metadata = metadata(kind);
        for (index, change) in &changes {
            let index = index % metadata.len();
            match change {
                Change::Remove => { metadata.remove(index); }
                change => apply(change, &mut metadata[index].1),
            }
        }
        if let Ok(tokenizer) = open(&metadata) {
            for text in TEXTS.into_iter().chain([text.as_str()]) {
                let tokens = tokenizer.encode_prompt(text, true).unwrap();
                prop_assert!(tokens.iter().all(|token| (*token as usize) < tokenizer.vocabulary_size()));
                tokenizer.decode(&tokens, false).unwrap();
                tokens.iter().for_each(|token| { tokenizer.token_bytes(*token).unwrap(); });
            }
        }
    }

    #[test]
    fn any_bytes_are_no_sentence_piece_model_or_one(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.model");
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(tokenizer) = open_tokenizer(&path) {
            tokenizer.encode("text", true).unwrap();
        }
    }
}

//! The tokenizer of a GGUF file, rebuilt from its metadata as llama.cpp does.

use super::bpe::Bpe;
use super::pretokenizer::Recipe;
use super::rebuilt::{Algorithm, Rebuilt};
use super::sentence_piece::SentencePiece;
use super::special::SpecialTokens;
use super::unigram::{Spaces, Unigram};
use super::vocabulary::{Kind, Spelling, Token, Vocabulary};
use super::word_piece::WordPiece;
use crate::FormatError;
use crate::gguf::{Array, Metadata};

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// What is in a GGUF file's metadata.
pub(super) struct Parts {
    pub(super) rebuilt: Rebuilt,
    pub(super) special: SpecialTokens,
    pub(super) warnings: Vec<String>,
}

/// Rebuilds the tokenizer that metadata describes.
///
/// # Errors
/// Keys that are missing or contradict each other, and kinds of tokenizers that aren't known.
pub(super) fn rebuild(metadata: &Metadata) -> Result<Parts, FormatError> {
    let mut warnings = Vec::new();
    let model: &str = metadata.require("tokenizer.ggml.model")?;
    let recipe = match model {
        "gpt2" => recipe(metadata, &mut warnings)?,
        "gemma4" => Recipe::named("gemma4").unwrap_or(Recipe::DEFAULT),
        _ => Recipe::DEFAULT,
    };
    let bytes = model == "gpt2" && !recipe.escapes_spaces;
    let spelling = if bytes { Spelling::Bytes } else { Spelling::EscapedSpaces };
    let mut vocabulary = vocabulary(metadata, spelling)?;
    let mut special = defaults(model, recipe).read(metadata, &vocabulary, &mut warnings)?;
    // Gemma's files say otherwise, wrongly.
    special.add_bos |= recipe.whole_line_breaks && special.bos.is_some();
    let wrong = |reason: String| metadata.error(reason);
    let algorithm = match model {
        "gpt2" | "gemma4" => {
            let merges: &[String] = metadata.require(MERGES)?;
            Algorithm::Bpe(Bpe::new(&vocabulary, merges, recipe).map_err(wrong)?)
        }
        "llama" => Algorithm::SentencePiece(SentencePiece::new(&vocabulary, special.unk).map_err(wrong)?),
        "bert" => {
            let lowercase = metadata.get("tokenizer.ggml.normalizer.lowercase")?.unwrap_or(true);
            let strip_accents = metadata.get("tokenizer.ggml.normalizer.strip_accents")?.unwrap_or(lowercase);
            Algorithm::WordPiece(WordPiece::new(special.unk, lowercase, strip_accents).map_err(wrong)?)
        }
        "t5" => {
            let merged = metadata.get("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false);
            let spaces = Spaces { prefixed: special.add_space_prefix, merged };
            let characters = character_map(metadata)?;
            Algorithm::Unigram(Unigram::new(&vocabulary, special.unk, &characters, spaces).map_err(wrong)?)
        }
        "no_vocab" | "none" => {
            return Err(metadata.error("holds no tokenizer; open the model's tokenizer.json instead"));
        }
        other => {
            return Err(metadata.error(format!(
                "has a tokenizer of the kind `{other}`, which isn't supported (gpt2, llama, bert, t5 and gemma4 are); \
                 use the model's tokenizer.json, or a model of another family"
            )));
        }
    };
    special.find_by_name(metadata, &mut vocabulary, &mut warnings)?;
    set_stripping(metadata, &mut vocabulary)?;
    let rebuilt = Rebuilt::new(vocabulary, algorithm, &special);
    Ok(Parts { rebuilt, special, warnings })
}

/// How words are cut, by `tokenizer.ggml.pre`.
fn recipe(metadata: &Metadata, warnings: &mut Vec<String>) -> Result<Recipe, FormatError> {
    let name: Option<&str> = metadata.get("tokenizer.ggml.pre")?;
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        warnings.push(
            "the file names no pre-tokenizer (tokenizer.ggml.pre): the default is used, and the model may read \
             texts worse than it could; a newer conversion of it would say"
                .to_string(),
        );
        return Ok(Recipe::DEFAULT);
    };
    Ok(Recipe::named(name).unwrap_or_else(|| {
        warnings.push(format!(
            "the pre-tokenizer `{name}` (tokenizer.ggml.pre) isn't known: the default is used, and the model may read \
             texts worse than it could; its tokenizer.json, beside its safetensors, would be exact"
        ));
        Recipe::DEFAULT
    }))
}

/// What llama.cpp assumes where a file does not say.
fn defaults(model: &str, recipe: Recipe) -> SpecialTokens {
    let none = SpecialTokens::default();
    match model {
        "llama" => {
            let ids = SpecialTokens { bos: Some(1), eos: Some(2), unk: Some(0), ..none };
            SpecialTokens { add_bos: true, add_space_prefix: true, ..ids }
        }
        "bert" => {
            let ids = SpecialTokens { bos: Some(101), unk: Some(100), sep: Some(102), pad: Some(0), ..none };
            SpecialTokens { mask: Some(103), add_bos: true, ..ids }
        }
        "t5" => SpecialTokens { eos: Some(1), unk: Some(2), pad: Some(0), add_eos: true, ..none },
        "gpt2" => {
            let bos = recipe.has_bos.then_some(11);
            SpecialTokens { bos, eos: Some(11), add_bos: recipe.adds_bos, ..none }
        }
        _ => SpecialTokens { add_bos: recipe.adds_bos, ..none },
    }
}

fn vocabulary(metadata: &Metadata, spelling: Spelling) -> Result<Vocabulary, FormatError> {
    let texts: &[String] = metadata.require(TOKENS)?;
    if texts.is_empty() {
        return Err(metadata.error(format!("has no tokens in `{TOKENS}`; convert or download the model again")));
    }
    let scores: Option<Vec<f32>> = match metadata.get::<&Array>(SCORES)? {
        None => None,
        Some(Array::F32(scores)) => Some(scores.clone()),
        Some(Array::I32(scores)) => Some(scores.iter().map(|score| *score as f32).collect()),
        Some(_) => return Err(metadata.error(format!("the key `{SCORES}` should be a list of 32-bit floats"))),
    };
    let kinds: Option<Vec<i64>> = metadata.get(KINDS)?;
    let lengths = [(SCORES, scores.as_ref().map(Vec::len)), (KINDS, kinds.as_ref().map(Vec::len))];
    for (key, length) in lengths {
        if let Some(length) = length.filter(|length| *length < texts.len()) {
            let reason = format!("lists {} tokens, but `{key}` has {length} entries; the file is damaged", texts.len());
            return Err(metadata.error(reason));
        }
    }
    let tokens = texts.iter().enumerate().map(|(id, text)| Token {
        text: if text.is_empty() { format!("[EMPTY_{id}]") } else { text.clone() },
        score: scores.as_ref().and_then(|scores| scores.get(id)).copied().unwrap_or(0.0),
        kind: kinds.as_ref().and_then(|kinds| kinds.get(id)).map_or(Kind::NORMAL, |kind| Kind::from_number(*kind)),
    });
    Vocabulary::new(tokens.collect(), spelling).map_err(|reason| metadata.error(reason))
}

fn character_map(metadata: &Metadata) -> Result<Vec<u8>, FormatError> {
    const KEY: &str = "tokenizer.ggml.precompiled_charsmap";
    match metadata.get::<&Array>(KEY)? {
        None => Ok(Vec::new()),
        Some(Array::U8(bytes)) => Ok(bytes.clone()),
        Some(Array::I8(bytes)) => Ok(bytes.iter().map(|byte| byte.cast_unsigned()).collect()),
        Some(_) => Err(metadata.error(format!("the key `{KEY}` should be a list of bytes"))),
    }
}

/// Which special tokens take the white space beside them. GGUF files don't say; llama.cpp knows it
/// of some models.
fn set_stripping(metadata: &Metadata, vocabulary: &mut Vocabulary) -> Result<(), FormatError> {
    let name = metadata.get::<&str>("general.name")?.unwrap_or_default().to_lowercase();
    let architecture = metadata.get::<&str>("general.architecture")?.unwrap_or_default();
    let pre = metadata.get::<&str>("tokenizer.ggml.pre")?.unwrap_or_default();
    let any = |text: &str, parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let strips_before = |vocabulary: &mut Vocabulary, text: &str| {
        if let Some(token) = vocabulary.id(text).and_then(|id| vocabulary.get_mut(id)) {
            token.kind = token.kind.or(Kind::STRIPS_BEFORE);
        }
    };
    if any(pre, &["jina-v2-de", "jina-v2-es", "jina-v2-code"]) || any(architecture, &["nomic-bert-moe", "jina-bert-v3"])
    {
        strips_before(vocabulary, "<mask>");
    } else if any(&name, &["phi-3", "phi3"]) {
        let special = Kind::CONTROL.or(Kind::USER_DEFINED).or(Kind::UNKNOWN);
        for token in vocabulary.iter_mut() {
            let keeps = ["<unk>", "<s>", "<|endoftext|>"].contains(&token.text.as_str());
            if (token.kind.is_any_of(special) && !keeps) || token.text == "</s>" {
                token.kind = token.kind.or(Kind::STRIPS_AFTER);
            }
        }
    } else if name.contains("modern-bert") {
        strips_before(vocabulary, "[MASK]");
    }
    Ok(())
}

/// What `tokenizer_config.json` would say: chat templates by name.
pub(super) fn chat_templates(metadata: &Metadata) -> Result<serde_json::Value, FormatError> {
    const KEY: &str = "tokenizer.chat_template";
    let default = metadata.get::<&str>(KEY)?;
    let mut named: Vec<(&str, &str)> = default.map(|template| ("default", template)).into_iter().collect();
    for (key, _) in metadata.iter() {
        if let Some(name) = key.strip_prefix(KEY).and_then(|rest| rest.strip_prefix('.')) {
            named.push((name, metadata.require(key)?));
        }
    }
    Ok(match (named.as_slice(), default) {
        ([], _) => serde_json::Value::Null,
        ([_], Some(template)) => template.into(),
        (named, _) => {
            let entry = |(name, template): &(&str, &str)| serde_json::json!({"name": name, "template": template});
            named.iter().map(entry).collect()
        }
    })
}

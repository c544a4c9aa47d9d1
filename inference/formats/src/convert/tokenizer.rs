//! The tokenizer and chat template of a Hugging Face folder as metadata.
//!
//! A GGUF file names the rules by which a text is cut instead of saying them. So that the name is
//! right, each known one is tried, and the one that is written makes the same tokens of a text in
//! which the rules differ.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value as Json;

use crate::gguf::{GgufWriter, Metadata, Value};
use crate::tokenizer::{ModelTokenizer, open_tokenizer, rebuilt_from};
use crate::{FormatError, read_file};

/// Rules by the names of models that have them, the most usual first.
const RULES: [&str; 20] = [
    "llama-bpe",
    "qwen2",
    "gpt-2",
    "smollm",
    "tekken",
    "gpt-4o",
    "deepseek-v3",
    "dbrx",
    "qwen35",
    "falcon",
    "bloom",
    "viking",
    "deepseek-llm",
    "deepseek-coder",
    "seed-coder",
    "superbpe",
    "minicpm5",
    "kimi-k2",
    "exaone-moe",
    "default",
];

/// Words, numbers, white space, punctuation and scripts that the rules cut differently.
const PROBE: &str = "Hello, world!  It's 12345 o'clock; WE'LL see — naïve ÜBER-größe e\u{301}tude.\n\n  \t x_1 = [3.14e-10, 007]; // done\r\n\
    日本語のテキスト、数据库 한국어 русский текст עברית العربية हिन्दी ไทย 🙂🙂 🇩🇪 \u{200d} ΑΒΓδ ½²٣٤٥ 1000000 <tag/> don't DON'T    \n   end  ";

/// Token types of llama.cpp.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Sets the keys that describe the tokenizer of `folder`, for a network with `size` tokens.
pub(super) fn describe(folder: &Path, size: usize, writer: &mut GgufWriter) -> Result<(), FormatError> {
    let path = folder.join("tokenizer.json");
    let tokenizer = open_tokenizer(&path)?;
    let file = read_json(&path)?;
    let error = |reason: &str| FormatError::new(&path, reason);
    if file["model"]["type"] != "BPE" {
        let kind = file["model"]["type"].as_str().unwrap_or("none");
        return Err(error(&format!("a tokenizer of type {kind}; of decoders, those of type BPE are converted")));
    }
    // Bytes as a last resort, and spaces escaped: SentencePiece's, which llama.cpp calls "llama".
    let pieces = file["model"]["byte_fallback"].as_bool().unwrap_or(false);
    let tokens = Tokens { tokenizer: &tokenizer, file: &file, pieces };
    let mut metadata = Metadata::new(&path);
    for (key, value) in tokens.entries(size).map_err(|reason| error(&reason))? {
        metadata.insert(format!("tokenizer.ggml.{key}"), value);
    }
    let expected = tokenizer.encode(PROBE, true)?;
    let same = |metadata: &Metadata| {
        rebuilt_from(metadata).and_then(|rebuilt| rebuilt.encode(PROBE, true)).is_ok_and(|tokens| tokens == expected)
    };
    let rules: &[&str] = if pieces { &["default"] } else { &RULES };
    let fitting = rules.iter().map(|name| {
        let mut metadata = metadata.clone();
        metadata.insert("tokenizer.ggml.pre".to_string(), Value::from(*name));
        metadata
    });
    let metadata = fitting.into_iter().find(same).ok_or_else(|| {
        error("none of the rules that llama.cpp knows cuts text as this tokenizer does; the model can't be a GGUF file")
    })?;
    for (key, value) in metadata.iter() {
        writer.set(key, value.clone());
    }
    describe_template(folder, writer)
}

struct Tokens<'a> {
    tokenizer: &'a ModelTokenizer,
    file: &'a Json,
    pieces: bool,
}

impl Tokens<'_> {
    /// Keys after `tokenizer.ggml.`, with their values.
    fn entries(&self, size: usize) -> Result<Vec<(&'static str, Value)>, String> {
        let merges = self.merges()?;
        let count = u32::try_from(size).map_err(|_| "more tokens than ids")?;
        let texts: Vec<Option<String>> = (0..count).map(|id| self.tokenizer.token_text(id)).collect();
        if let Some(outside) = (count..).take(1000).find(|id| self.tokenizer.token_text(*id).is_some()) {
            return Err(format!("token {outside} is beyond the network's {size} tokens"));
        }
        let kinds = texts.iter().zip(0..).map(|(text, id)| text.as_ref().map_or(UNUSED, |text| self.kind(id, text)));
        let kinds: Vec<i32> = kinds.collect();
        let scores = self.pieces.then(|| self.scores(&merges, &texts));
        let padded =
            texts.into_iter().zip(0..).map(|(text, id): (_, usize)| text.unwrap_or_else(|| format!("[PAD{id}]")));
        let model = if self.pieces { "llama" } else { "gpt2" };
        let mut entries = vec![
            ("model", Value::from(model)),
            ("tokens", padded.collect::<Vec<String>>().into()),
            ("token_type", kinds.into()),
        ];
        match scores {
            Some(scores) => entries.push(("scores", scores.into())),
            None => {
                let merges = merges.iter().map(|(left, right)| format!("{left} {right}"));
                entries.push(("merges", merges.collect::<Vec<String>>().into()));
            }
        }
        let special = self.tokenizer.special();
        for (key, id) in [
            ("bos_token_id", special.bos),
            ("eos_token_id", special.eos.or(special.ends.first().copied())),
            ("unknown_token_id", special.unk),
            ("padding_token_id", special.pad),
        ] {
            entries.extend(id.map(|id| (key, Value::U32(id))));
        }
        entries.push(("add_bos_token", special.add_bos.into()));
        entries.push(("add_eos_token", special.add_eos.into()));
        if self.pieces {
            entries.push(("add_space_prefix", self.prefixes_space().into()));
        }
        Ok(entries)
    }

    fn kind(&self, id: u32, text: &str) -> i32 {
        let added = self.file["added_tokens"].as_array();
        let is_added = added.is_some_and(|added| added.iter().any(|token| token["id"] == id));
        let is_byte = text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
        match () {
            () if self.pieces && self.tokenizer.special().unk == Some(id) => UNKNOWN,
            () if self.tokenizer.is_special(id) => CONTROL,
            () if is_added => USER_DEFINED,
            () if self.pieces && is_byte => BYTE,
            () => NORMAL,
        }
    }

    /// Pairs to merge, the first first: texts of both, or both in one text.
    fn merges(&self) -> Result<Vec<(String, String)>, String> {
        let merges = self.file["model"]["merges"].as_array().ok_or("has no merges")?;
        let pair = |merge: &Json| match merge {
            Json::String(both) => both.split_once(' ').map(|(left, right)| (left.to_string(), right.to_string())),
            both => Some((both[0].as_str()?.to_string(), both[1].as_str()?.to_string())),
        };
        let pairs: Option<Vec<_>> = merges.iter().map(pair).collect();
        pairs.ok_or_else(|| "has a merge that is no pair".to_string())
    }

    /// SentencePiece merges what makes the token with the highest score: here the merge's rank.
    fn scores(&self, merges: &[(String, String)], texts: &[Option<String>]) -> Vec<f32> {
        let mut ranks = HashMap::with_capacity(merges.len());
        for (rank, (left, right)) in merges.iter().enumerate() {
            ranks.entry(format!("{left}{right}")).or_insert(rank);
        }
        let rank = |text: &Option<String>| text.as_ref().and_then(|text| ranks.get(text)).copied();
        // What no merge makes is never the better choice.
        texts.iter().map(|text| -(rank(text).unwrap_or(merges.len()) as f32)).collect()
    }

    fn prefixes_space(&self) -> bool {
        let prepends =
            |step: &Json| step["type"] == "Prepend" || step["type"] == "Metaspace" && step["prepend_scheme"] != "never";
        ["normalizer", "pre_tokenizer"].into_iter().any(|part| {
            let part = &self.file[part];
            let steps = ["normalizers", "pretokenizers"].into_iter().find_map(|steps| part[steps].as_array());
            steps.map_or_else(|| prepends(part), |steps| steps.iter().any(prepends))
        })
    }
}

fn describe_template(folder: &Path, writer: &mut GgufWriter) -> Result<(), FormatError> {
    let own = folder.join("chat_template.jinja");
    if own.exists() {
        let text = String::from_utf8(read_file(&own)?).map_err(|error| FormatError::new(&own, error))?;
        writer.set("tokenizer.chat_template", text);
        return Ok(());
    }
    let settings = folder.join("tokenizer_config.json");
    let templates = if settings.exists() { read_json(&settings)?["chat_template"].take() } else { Json::Null };
    if let Json::String(template) = &templates {
        writer.set("tokenizer.chat_template", template.as_str());
    }
    let mut names = Vec::new();
    for entry in templates.as_array().into_iter().flatten() {
        if let (Some(name), Some(template)) = (entry["name"].as_str(), entry["template"].as_str()) {
            if name == "default" {
                writer.set("tokenizer.chat_template", template);
            } else {
                writer.set(&format!("tokenizer.chat_template.{name}"), template);
                names.push(name.to_string());
            }
        }
    }
    if !names.is_empty() {
        writer.set("tokenizer.chat_templates", names);
    }
    Ok(())
}

pub(super) fn read_json(path: &Path) -> Result<Json, FormatError> {
    let text = read_file(path)?;
    serde_json::from_slice(&text).map_err(|error| FormatError::new(path, format!("not the JSON expected: {error}")))
}

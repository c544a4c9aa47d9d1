//! Finding the tokenizer at a path, and what the files beside a `tokenizer.json` say of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::Tokenizer;

use super::json::JsonTokenizer;
use super::{ModelTokenizer, Origin, SpecialTokens, sentence_piece_model};
use crate::gguf::GgufFile;
use crate::{FormatError, read_file};

const JSON: &str = "tokenizer.json";
const SENTENCE_PIECE: &str = "tokenizer.model";

/// Opens the tokenizer at a path.
pub(super) fn open(path: &Path) -> Result<ModelTokenizer, FormatError> {
    if path.is_dir() {
        return open_folder(path);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "json" => open_json(path, folder),
        "model" => open_sentence_piece(path),
        _ => ModelTokenizer::from_gguf(&GgufFile::open(path)?),
    }
}

fn open_folder(folder: &Path) -> Result<ModelTokenizer, FormatError> {
    let json = folder.join(JSON);
    let sentence_piece = folder.join(SENTENCE_PIECE);
    if json.exists() {
        return open_json(&json, folder);
    }
    if sentence_piece.exists() {
        return open_sentence_piece(&sentence_piece);
    }
    let mut found = gguf_files(folder)?;
    match (found.pop(), found.is_empty()) {
        (Some(file), true) => ModelTokenizer::from_gguf(&GgufFile::open(&file)?),
        (Some(file), false) => {
            let reason = format!("has several GGUF files: name one of them, such as {}", file.display());
            Err(FormatError::new(folder, reason))
        }
        (None, _) => {
            let reason = if folder.join("vocab.json").exists() || folder.join("vocab.txt").exists() {
                "has a vocabulary but no tokenizer.json: get that too, or write it with transformers \
                 (AutoTokenizer.from_pretrained(folder).save_pretrained(folder))"
            } else {
                "has no tokenizer: neither tokenizer.json nor tokenizer.model nor a GGUF file is there"
            };
            Err(FormatError::new(folder, reason))
        }
    }
}

/// The models in a folder that are one GGUF file, and the first parts of those that are split.
fn gguf_files(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let wrong = |error: std::io::Error| FormatError::new(folder, error.kind());
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_later_part = name.contains("-of-") && !name.contains("-00001-of-");
        if name.ends_with(".gguf") && !is_later_part {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn open_sentence_piece(path: &Path) -> Result<ModelTokenizer, FormatError> {
    let wrong = |reason: String| FormatError::new(path, reason);
    let (rebuilt, special) = sentence_piece_model::rebuild(&read_file(path)?).map_err(wrong)?;
    Ok(ModelTokenizer::rebuilt(path, rebuilt, special))
}

fn open_json(path: &Path, folder: &Path) -> Result<ModelTokenizer, FormatError> {
    let wrong = |error: &dyn std::fmt::Display| FormatError::new(path, format!("not a tokenizer: {error}"));
    let tokenizer = Tokenizer::from_bytes(read_file(path)?).map_err(|error| wrong(&error))?;
    let json = JsonTokenizer::new(tokenizer).map_err(|error| wrong(&error))?;
    let names = special_names(folder)?;
    let special = special_tokens(&json, &names, folder)?;
    let origin = Origin::Json(Box::new(json));
    Ok(ModelTokenizer { path: path.to_path_buf(), origin, special, names, warnings: Vec::new() })
}

/// Special tokens by the names and ids in the files beside a `tokenizer.json`.
fn special_tokens(
    json: &JsonTokenizer,
    names: &Map<String, Value>,
    folder: &Path,
) -> Result<SpecialTokens, FormatError> {
    let id = |role: &str| json.tokenizer().token_to_id(names.get(role)?.as_str()?);
    let mut ends = BTreeSet::from_iter(id("eos_token"));
    for file in ["generation_config.json", "config.json"] {
        ends.extend(ids(&read_json(&folder.join(file))?["eos_token_id"]));
    }
    let framed = json.tokenizer().encode_fast("", true).map(|encoding| encoding.get_ids().to_vec());
    let framed = framed.unwrap_or_default();
    let bos = id("bos_token").or_else(|| id("cls_token"));
    let eos = id("eos_token");
    let sep = id("sep_token");
    Ok(SpecialTokens {
        add_bos: bos.is_some() && framed.first().copied() == bos,
        add_eos: framed.last().is_some_and(|last| eos.or(sep) == Some(*last) && bos != Some(*last)),
        bos,
        eos,
        unk: id("unk_token"),
        sep,
        pad: id("pad_token"),
        mask: id("mask_token"),
        ends,
        ..SpecialTokens::default()
    })
}

/// `*_token` entries of `special_tokens_map.json` and `tokenizer_config.json`, which are texts or
/// objects with a `content`; the later file wins.
fn special_names(folder: &Path) -> Result<Map<String, Value>, FormatError> {
    let mut names = Map::new();
    for file in ["special_tokens_map.json", "tokenizer_config.json"] {
        let Value::Object(entries) = read_json(&folder.join(file))? else { continue };
        for (name, value) in entries {
            let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str));
            if let Some(text) = text.filter(|_| name.ends_with("_token")) {
                names.insert(name, text.into());
            }
        }
    }
    Ok(names)
}

/// One token id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(ids) => ids.iter().filter_map(one).collect(),
        single => one(single).into_iter().collect(),
    }
}

/// A JSON file, null where there is none.
fn read_json(path: &Path) -> Result<Value, FormatError> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&read_file(path)?)
        .map_err(|error| FormatError::new(path, format!("not the JSON expected: {error}")))
}

//! Which files of a repository a model needs.

use super::name::is_inside;
use super::remote::RemoteFile;
use super::{GgufChoice, HubName, StoreError};

/// Files beside the weights that loading or using a model may read.
const COMPANIONS: [&str; 19] = [
    "adapter_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "modules.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// What to pull.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// A folder of safetensors and what stands beside them.
    Folder(Vec<RemoteFile>),
    /// One GGUF file, or its parts.
    Gguf(Vec<RemoteFile>),
}

/// Chooses the files that `name` means among those of its repository.
pub(super) fn select(name: &HubName, files: Vec<RemoteFile>) -> Result<Selection, StoreError> {
    // A file's name comes from a stranger, and becomes a path here.
    let files: Vec<RemoteFile> = files.into_iter().filter(|file| is_inside(&file.name)).collect();
    let ggufs = || files.iter().filter(|file| is_gguf(&file.name)).cloned().collect::<Vec<_>>();
    if let Some(choice) = &name.gguf {
        return choose_gguf(name, choice, &ggufs()).map(Selection::Gguf);
    }
    let weights = weights(&files);
    let has = |wanted: &str| files.iter().any(|file| file.name == wanted);
    if !weights.is_empty() && (has("config.json") || has("adapter_config.json")) {
        let companions = files.iter().filter(|file| is_companion(&file.name)).cloned();
        return Ok(Selection::Folder(companions.chain(weights).collect()));
    }
    match whole_files(&ggufs()).as_slice() {
        [] => {
            let names = files.into_iter().map(|file| file.name).collect();
            Err(StoreError::NothingToLoad { repository: name.repository.clone(), files: names })
        }
        [(only, _)] => {
            let choice = GgufChoice::File(only.clone());
            choose_gguf(name, &choice, &ggufs()).map(Selection::Gguf)
        }
        several => {
            let example = several.iter().find_map(|(name, _)| quantization(name)).unwrap_or("Q4_K_M").to_owned();
            Err(StoreError::ChooseFile { repository: name.repository.clone(), example, files: several.to_vec() })
        }
    }
}

/// The part of a GGUF file's name that says its quantization: `Q4_K_M` in `model.Q4_K_M.gguf`.
pub(super) fn quantization(file: &str) -> Option<&str> {
    let stem = stem(file);
    let last = stem.rsplit(['-', '.']).next()?;
    let looks_right = ["q", "iq", "f16", "f32", "bf16", "tq", "mxfp"].iter().any(|start| {
        last.len() >= start.len()
            && last.is_char_boundary(start.len())
            && last[..start.len()].eq_ignore_ascii_case(start)
    });
    (looks_right && last.bytes().any(|byte| byte.is_ascii_digit())).then_some(last)
}

/// The files a choice means: one, or all parts of it in order.
fn choose_gguf(name: &HubName, choice: &GgufChoice, files: &[RemoteFile]) -> Result<Vec<RemoteFile>, StoreError> {
    let wanted = match choice {
        GgufChoice::File(file) => file.clone(),
        GgufChoice::Quantization(quantization) => quantization.clone(),
    };
    let matches = |file: &str| match choice {
        GgufChoice::File(wanted) => file == wanted,
        GgufChoice::Quantization(wanted) => quantization(file).is_some_and(|found| found.eq_ignore_ascii_case(wanted)),
    };
    let known = whole_files(files);
    let found: Vec<&(String, u64)> = known.iter().filter(|(file, _)| matches(file)).collect();
    match found.as_slice() {
        [(file, _)] => {
            let mut parts: Vec<RemoteFile> =
                files.iter().filter(|part| first_part(&part.name) == *file).cloned().collect();
            parts.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(parts)
        }
        [] => Err(StoreError::NoSuchFile { repository: name.repository.clone(), wanted, files: known }),
        several => {
            let candidates = several.iter().map(|(file, _)| format!("{}/{file}", name.repository)).collect();
            Err(StoreError::Ambiguous { name: name.to_string(), candidates })
        }
    }
}

/// GGUF files with their sizes, a file in parts as its first one.
fn whole_files(files: &[RemoteFile]) -> Vec<(String, u64)> {
    let mut whole: Vec<(String, u64)> = Vec::new();
    for file in files {
        let first = first_part(&file.name);
        let bytes = file.bytes.unwrap_or(0);
        match whole.iter_mut().find(|(name, _)| *name == first) {
            Some((_, total)) => *total = total.saturating_add(bytes),
            None => whole.push((first, bytes)),
        }
    }
    whole.sort_by_key(|(_, bytes)| *bytes);
    whole
}

/// `x-00001-of-00003.gguf` for any part of that file; other names as they are.
fn first_part(file: &str) -> String {
    match part_of(file) {
        Some((stem, count)) => format!("{stem}-00001-of-{count}.gguf"),
        None => file.to_owned(),
    }
}

/// `x` and `00003` of `x-00002-of-00003.gguf`.
pub(super) fn part_of(file: &str) -> Option<(&str, &str)> {
    let stem = without_extension(file)?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(count) && digits(number)).then_some((stem, count))
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    part_of(name).map_or_else(|| without_extension(name).unwrap_or(name), |(stem, _)| stem)
}

/// Without `.gguf`, however it is written.
fn without_extension(file: &str) -> Option<&str> {
    let end = file.len().checked_sub(".gguf".len())?;
    (file.is_char_boundary(end) && file[end..].eq_ignore_ascii_case(".gguf")).then(|| &file[..end])
}

/// Weights of a language model; those of its eyes (`mmproj`) and importance matrices are not.
pub(super) fn is_gguf(file: &str) -> bool {
    let name = stem(file).to_ascii_lowercase();
    without_extension(file).is_some() && !name.starts_with("mmproj") && !name.contains("imatrix")
}

/// The safetensors of the model itself: one file, or the shards and their index. Repositories
/// hold other files of that kind beside them (`consolidated.safetensors`, ONNX exports).
fn weights(files: &[RemoteFile]) -> Vec<RemoteFile> {
    let named = |name: &str| files.iter().find(|file| file.name == name).cloned();
    if let Some(single) = named("model.safetensors").or_else(|| named("adapter_model.safetensors")) {
        return vec![single];
    }
    let Some(index) = named("model.safetensors.index.json") else { return Vec::new() };
    let shards = files.iter().filter(|file| file.name.starts_with("model-") && file.name.ends_with(".safetensors"));
    [index].into_iter().chain(shards.cloned()).collect()
}

fn is_companion(file: &str) -> bool {
    match file.split_once('/') {
        // Modules of sentence-transformers: `1_Pooling`, `2_Dense`.
        Some((folder, file)) => {
            let module = folder.split_once('_').is_some_and(|(number, name)| {
                !number.is_empty() && !name.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            });
            let templates = folder == "additional_chat_templates" && file.ends_with(".jinja") && !file.contains('/');
            templates || (module && ["config.json", "model.safetensors"].contains(&file))
        }
        None => COMPANIONS.contains(&file) || is_licence(file),
    }
}

fn is_licence(file: &str) -> bool {
    let stem = file.split('.').next().unwrap_or(file).to_ascii_uppercase();
    ["LICENSE", "LICENCE", "NOTICE", "USE_POLICY"].contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::remote::Checksum;
    use super::*;

    fn files(names: &[&str]) -> Vec<RemoteFile> {
        let file = |name: &&str| RemoteFile { name: (*name).to_owned(), bytes: Some(1), checksum: Checksum::Unknown };
        names.iter().map(file).collect()
    }

    fn selected(name: &str, names: &[&str]) -> Result<Vec<String>, StoreError> {
        let (Selection::Folder(files) | Selection::Gguf(files)) = select(&name.parse().unwrap(), files(names))?;
        Ok(files.into_iter().map(|file| file.name).collect())
    }

    #[test]
    fn a_model_needs_its_weights_and_what_stands_beside_them() {
        let names = [
            "../evil/config.json",
            ".gitattributes",
            "LICENSE.txt",
            "README.md",
            "config.json",
            "consolidated.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "onnx/model.onnx",
            "original/consolidated.00.pth",
            "pytorch_model.bin",
            "tokenizer.json",
            "1_Pooling/config.json",
            "training/config.json",
        ];
        let wanted = [
            "LICENSE.txt",
            "config.json",
            "tokenizer.json",
            "1_Pooling/config.json",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        assert_eq!(selected("a/b", &names).unwrap(), wanted);
    }

    #[test]
    fn one_gguf_file_is_chosen() {
        let names = [
            "README.md",
            "b-Q4_K_M.gguf",
            "b.q8_0.gguf",
            "big/b-F16-00001-of-00002.gguf",
            "big/b-F16-00002-of-00002.gguf",
            "mmproj-F16.gguf",
            "b.imatrix.gguf",
        ];
        assert_eq!(selected("a/b:q4_k_m", &names).unwrap(), ["b-Q4_K_M.gguf"]);
        assert_eq!(selected("a/b:Q8_0", &names).unwrap(), ["b.q8_0.gguf"]);
        assert_eq!(
            selected("a/b:f16", &names).unwrap(),
            ["big/b-F16-00001-of-00002.gguf", "big/b-F16-00002-of-00002.gguf"]
        );
        assert_eq!(selected("a/b/b.q8_0.gguf", &names).unwrap(), ["b.q8_0.gguf"]);
        assert_eq!(selected("a/b", &["b.gguf", "README.md"]).unwrap(), ["b.gguf"]);
        let error = selected("a/b", &names).unwrap_err().to_string();
        assert!(error.contains("a/b:Q4_K_M") && error.contains("big/b-F16-00001-of-00002.gguf"), "{error}");
        assert!(!error.contains("mmproj") && !error.contains("00002-of"), "{error}");
        assert!(matches!(selected("a/b:Q2_K", &names), Err(StoreError::NoSuchFile { .. })));
        assert!(matches!(selected("a/b", &["pytorch_model.bin"]), Err(StoreError::NothingToLoad { .. })));
    }
}

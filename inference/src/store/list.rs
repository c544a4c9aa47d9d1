//! Everything that is there: in the store, in the Hugging Face cache, and half pulled.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::download::already_there;
use super::record::Record;
use super::remote::Checksum;
use super::selection::is_gguf;
use super::staging::files_below;
use super::{ModelFormat, ModelStore, Place, Purpose, StoredModel, UnfinishedPull};

impl ModelStore {
    /// All models, the store's before those of the Hugging Face cache, by name. What can't be
    /// read is left out.
    pub fn list(&self) -> Vec<StoredModel> {
        let mut models = Vec::new();
        for entry in entries(&self.folder) {
            let here = models_in(&entry, &name_of(&entry), Place::Store);
            // A folder that is no model is an owner's, also where GGUF files lie in it.
            if entry.is_dir() && here.iter().all(|model| model.path != entry) {
                let owner = name_of(&entry);
                for entry in entries(&entry) {
                    models.extend(models_in(&entry, &format!("{owner}/{}", name_of(&entry)), Place::Store));
                }
            }
            models.extend(here);
        }
        for (name, snapshot) in self.snapshots() {
            models.extend(models_in(&snapshot, &name, Place::Cache));
        }
        models.sort_by(|one, other| (one.place as u8, &one.name).cmp(&(other.place as u8, &other.name)));
        models.dedup_by(|one, other| one.path == other.path);
        models
    }

    /// Pulls that were begun and can go on.
    pub fn unfinished(&self) -> Vec<UnfinishedPull> {
        let mut pulls: Vec<UnfinishedPull> = entries_with_hidden(&self.pulling())
            .into_iter()
            .filter_map(|path| {
                let record = Record::read(&path)?;
                let done = |(name, file): (&String, &super::PulledFile)| {
                    already_there(&path.join(name), &Checksum::from_text(&file.checksum)).min(file.bytes)
                };
                Some(UnfinishedPull {
                    name: name_of_record(&record),
                    done: record.files.iter().map(done).fold(0, u64::saturating_add),
                    total: record.files.values().map(|file| file.bytes).fold(0, u64::saturating_add),
                    path,
                })
            })
            .collect();
        pulls.sort_by(|one, other| one.name.cmp(&other.name));
        pulls
    }

    /// The snapshots in the Hugging Face cache that its branches and tags point to, by name:
    /// `owner/name` for the main branch, `owner/name@revision` for others.
    fn snapshots(&self) -> Vec<(String, PathBuf)> {
        let Some(cache) = &self.cache else { return Vec::new() };
        let mut snapshots = Vec::new();
        for repository in entries(cache) {
            let folder = name_of(&repository);
            let Some(name) = folder.strip_prefix("models--") else { continue };
            let name = name.replacen("--", "/", 1);
            let references = repository.join("refs");
            let mut seen = BTreeSet::new();
            for reference in files_below(&references).unwrap_or_default() {
                let Ok(revision) = reference.strip_prefix(&references) else { continue };
                let Ok(commit) = fs_err::read_to_string(&reference) else { continue };
                let snapshot = repository.join("snapshots").join(commit.trim());
                if commit.trim().chars().all(char::is_alphanumeric) && snapshot.is_dir() {
                    seen.insert(commit.trim().to_owned());
                    snapshots.push((revision_name(&name, &revision.to_string_lossy()), snapshot));
                }
            }
            // Pulled by commit: no branch points there.
            let commits = entries(&repository.join("snapshots"));
            let nameless = commits.into_iter().filter(|path| !seen.contains(&name_of(path)));
            snapshots.extend(nameless.map(|path| (revision_name(&name, &name_of(&path)), path)));
        }
        snapshots
    }
}

/// The models at a path: a GGUF file, or what a folder holds. None where there is no model.
pub(super) fn models_in(path: &Path, name: &str, place: Place) -> Vec<StoredModel> {
    if path.is_file() {
        return gguf(path, name, place).into_iter().collect();
    }
    let mut models: Vec<StoredModel> = folder_model(path, name, place).into_iter().collect();
    let mut ggufs: Vec<PathBuf> = gguf_files(path);
    ggufs.sort();
    for file in ggufs {
        let relative = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        models.extend(gguf(&file, &format!("{name}/{relative}"), place));
    }
    models
}

/// The files that `model.safetensors.index.json` names, or the one that stands for all.
pub(super) fn weight_files(folder: &Path) -> Vec<String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    for single in ["model.safetensors", "adapter_model.safetensors"] {
        if folder.join(single).exists() {
            return vec![single.to_owned()];
        }
    }
    let index = fs_err::read(folder.join("model.safetensors.index.json")).ok();
    let index = index.and_then(|text| serde_json::from_slice::<Index>(&text).ok());
    let shards: BTreeSet<String> = index.map(|index| index.weight_map.into_values().collect()).unwrap_or_default();
    shards.into_iter().filter(|file| super::name::is_inside(file)).collect()
}

fn folder_model(folder: &Path, name: &str, place: Place) -> Option<StoredModel> {
    let adapter = folder.join("adapter_config.json").is_file();
    if !adapter && !folder.join("config.json").is_file() {
        return None;
    }
    let weights = weight_files(folder);
    let there = |file: &&String| folder.join(file).is_file();
    let present = weights.iter().filter(there).count();
    // Other programs fetch a model's configuration or tokenizer alone.
    if place == Place::Cache && present == 0 {
        return None;
    }
    let mut missing: Vec<String> = weights.iter().filter(|file| !there(file)).cloned().collect();
    if weights.is_empty() {
        missing.push("model.safetensors".to_owned());
    }
    let purpose = if adapter { Purpose::Adapter } else { purpose(folder) };
    let bytes = folder_size(folder);
    let path = folder.to_owned();
    Some(StoredModel { name: name.to_owned(), path, format: ModelFormat::Safetensors, purpose, place, bytes, missing })
}

fn gguf(path: &Path, name: &str, place: Place) -> Option<StoredModel> {
    let file = path.file_name()?.to_string_lossy().into_owned();
    if !is_gguf(&file) {
        return None;
    }
    // Of a file in parts the first stands for all.
    let (mut bytes, mut missing) = (0, Vec::new());
    match parts(&file) {
        Some(parts) if parts.first() != Some(&file) => return None,
        Some(parts) => {
            for part in parts {
                match fs_err::metadata(path.with_file_name(&part)) {
                    Ok(found) => bytes += found.len(),
                    Err(_) => missing.push(part),
                }
            }
        }
        None => bytes = fs_err::metadata(path).ok()?.len(),
    }
    let (name, path) = (name.to_owned(), path.to_owned());
    Some(StoredModel { name, path, format: ModelFormat::Gguf, purpose: Purpose::Generation, place, bytes, missing })
}

/// The files that a model is loaded from: a folder's, or a GGUF file and all its parts.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return entries(path).into_iter().filter(|path| path.is_file()).collect();
    }
    match parts(&name_of(path)) {
        Some(parts) => parts.into_iter().map(|part| path.with_file_name(part)).collect(),
        None => vec![path.to_owned()],
    }
}

/// All parts of `x-00001-of-00003.gguf`, in order.
pub(super) fn parts(file: &str) -> Option<Vec<String>> {
    const MOST: u32 = 1000;
    let (stem, count) = super::selection::part_of(file)?;
    let number: u32 = count.parse().ok().filter(|number| (1..=MOST).contains(number))?;
    Some((1..=number).map(|part| format!("{stem}-{part:05}-of-{count}.gguf")).collect())
}

/// GGUF files in a folder and in the folders in it.
fn gguf_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in entries(folder) {
        if entry.is_dir() {
            files.extend(entries(&entry).into_iter().filter(|path| path.is_file() && is_gguf(&name_of(path))));
        } else if is_gguf(&name_of(&entry)) {
            files.push(entry);
        }
    }
    files
}

/// By what stands beside the weights, and by the architecture.
fn purpose(folder: &Path) -> Purpose {
    let config: Value = fs_err::read(folder.join("config.json"))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let architecture = config["architectures"][0].as_str().unwrap_or_default();
    let generates = architecture.ends_with("ForCausalLM") || architecture.ends_with("ForConditionalGeneration");
    let embeds = folder.join("modules.json").is_file() || folder.join("1_Pooling").is_dir();
    let encoder = ["bert", "roberta", "mpnet", "modernbert", "distilbert", "xlm-roberta"];
    let encoder = encoder.contains(&config["model_type"].as_str().unwrap_or_default());
    if !embeds && encoder && architecture.ends_with("ForSequenceClassification") {
        return Purpose::Reranking;
    }
    if embeds || (encoder && !generates) { Purpose::Embedding } else { Purpose::Generation }
}

fn name_of_record(record: &Record) -> String {
    let folder = revision_name(&record.repository, &record.revision.replace('/', "--"));
    match record.files.keys().next() {
        Some(first) if record.files.keys().all(|file| is_gguf(file)) => format!("{folder}/{first}"),
        _ => folder,
    }
}

fn revision_name(name: &str, revision: &str) -> String {
    if revision == "main" { name.to_owned() } else { format!("{name}@{revision}") }
}

fn folder_size(folder: &Path) -> u64 {
    // GGUF files in the same folder are models of their own.
    let files = files_below(folder).unwrap_or_default();
    let own = files.iter().filter(|path| !is_gguf(&name_of(path)));
    own.filter_map(|path| fs_err::metadata(path).ok()).map(|file| file.len()).sum()
}

/// What is in a folder and not hidden, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries = entries_with_hidden(folder);
    entries.retain(|path| !name_of(path).starts_with('.'));
    entries.sort();
    entries
}

fn entries_with_hidden(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

//! What a model is, read from its configuration and from the headers of its files: a few
//! kilobytes to some megabytes, never the weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use codriver_chat::ModelError;
use codriver_chat::template::ChatTemplate;
use codriver_formats::gguf::{Array, GgufFile, Metadata, Value as GgufValue};
use codriver_formats::read_file;
use codriver_formats::tokenizer::chat_templates;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::list::weight_files;
use super::record::Record;
use super::{ModelFormat, ModelStore, Place, Purpose, StoreError, StoredModel};

/// The longest header that safetensors files have by their format.
const LONGEST_HEADER: u64 = 100_000_000;

/// What `codriver model info` says. `None` is what the files do not say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelDetails {
    pub name: String,
    pub path: PathBuf,
    pub format: ModelFormat,
    pub purpose: Purpose,
    pub place: Place,
    /// `LlamaForCausalLM`, or `llama` in GGUF files.
    pub architecture: Option<String>,
    /// Numbers in all weights; tied embeddings count once.
    pub parameters: u64,
    /// Size on disk.
    pub bytes: u64,
    /// Bytes of the weights alone, as they are stored.
    pub weight_bytes: u64,
    /// The types the weights are stored in, the most frequent first.
    pub weights: Vec<WeightType>,
    pub layers: Option<u64>,
    pub hidden_size: Option<u64>,
    /// Tokens that the model can read at once.
    pub window: Option<u64>,
    pub vocabulary: Option<u64>,
    pub chat_template: bool,
    /// Why the chat template cannot be used, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_error: Option<String>,
    /// Whether the template can be told of tools. Where it cannot, they are described in text.
    pub tools: bool,
    /// How the model's calls of tools are read, by its family's name; `None` for what cannot converse.
    pub tool_format: Option<&'static str>,
    pub licence: Option<String>,
    /// Where it was pulled from.
    pub repository: Option<String>,
    pub commit: Option<String>,
}

/// How many parameters are stored in one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightType {
    #[serde(rename = "type")]
    pub name: String,
    pub parameters: u64,
}

impl ModelStore {
    /// Reads what a model's files say about it.
    pub fn details(&self, model: &StoredModel) -> Result<ModelDetails, StoreError> {
        let mut details = match model.format {
            ModelFormat::Safetensors => of_folder(model)?,
            ModelFormat::Gguf => of_gguf(model)?,
        };
        if let Some(record) = self.record_of(model) {
            details.licence = record.licence.or(details.licence);
            details.repository = Some(record.repository);
            details.commit = Some(record.commit);
        }
        Ok(details)
    }

    /// What was noted when the model was pulled; for the cache, what its folders' names say.
    fn record_of(&self, model: &StoredModel) -> Option<Record> {
        let folder = if model.path.is_dir() { model.path.as_path() } else { model.path.parent()? };
        match model.place {
            Place::Store => folder.ancestors().take_while(|folder| *folder != self.folder).find_map(Record::read),
            Place::Cache => {
                let parts: Vec<String> = model.path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                let at = parts.iter().position(|part| part == "snapshots")?;
                let repository = parts.get(at.checked_sub(1)?)?.strip_prefix("models--")?.replacen("--", "/", 1);
                let commit = parts.get(at + 1)?.clone();
                let revision = "main".to_owned();
                Some(Record { repository, revision, commit, licence: None, files: BTreeMap::new() })
            }
            Place::Path => None,
        }
    }
}

fn of_folder(model: &StoredModel) -> Result<ModelDetails, StoreError> {
    let folder = &model.path;
    let adapter = model.purpose == Purpose::Adapter;
    let config = read(&folder.join(if adapter { "adapter_config.json" } else { "config.json" }))?;
    let settings = read_optional(&folder.join("tokenizer_config.json"))?;
    let mut types = Types::default();
    for file in weight_files(folder) {
        types.add_safetensors(&folder.join(file))?;
    }
    // Models that see as well keep what concerns text apart.
    let text = if config["text_config"].is_object() { &config["text_config"] } else { &config };
    let number = |names: &[&str]| names.iter().find_map(|name| text[*name].as_u64());
    let architecture = if adapter { &config["peft_type"] } else { &config["architectures"][0] };
    let architecture = architecture.as_str().or_else(|| config["model_type"].as_str()).map(str::to_owned);
    let template = ChatTemplate::open(folder, &settings);
    let licence = read_licence(folder);
    Ok(ModelDetails {
        architecture,
        layers: number(&["num_hidden_layers", "n_layer"]),
        hidden_size: number(&["hidden_size", "n_embd"]),
        window: sentence_window(folder)?.or_else(|| number(&["max_position_embeddings", "n_positions"])),
        vocabulary: number(&["vocab_size"]),
        licence,
        ..types.details(model, template)
    })
}

fn of_gguf(model: &StoredModel) -> Result<ModelDetails, StoreError> {
    let error = |error: codriver_formats::FormatError| StoreError::file(&error.path, error.reason);
    let file = GgufFile::open(&model.path).map_err(error)?;
    let metadata = file.metadata();
    let mut types = Types { weight_bytes: file.tensor_bytes() as u64, ..Types::default() };
    for tensor in file.tensors() {
        types.add(tensor.tensor_type.name(), tensor.shape.iter().map(|size| *size as u64));
    }
    let architecture = text(metadata, "general.architecture");
    let key = |name: &str| format!("{}.{name}", architecture.as_deref().unwrap_or_default());
    let templates = json!({ "chat_template": chat_templates(&file).map_err(error)? });
    let template = ChatTemplate::open(&model.path, &templates);
    let vocabulary = match metadata.value("tokenizer.ggml.tokens") {
        Some(GgufValue::Array(Array::String(tokens))) => Some(tokens.len() as u64),
        _ => None,
    };
    Ok(ModelDetails {
        layers: number(metadata, &key("block_count")),
        hidden_size: number(metadata, &key("embedding_length")),
        window: number(metadata, &key("context_length")),
        vocabulary,
        licence: text(metadata, "general.license"),
        architecture,
        ..types.details(model, template)
    })
}

/// Parameters by the type they are stored in.
#[derive(Default)]
struct Types {
    parameters: BTreeMap<String, u64>,
    weight_bytes: u64,
}

impl Types {
    fn add(&mut self, name: &str, shape: impl Iterator<Item = u64>) {
        let count = shape.fold(1, u64::saturating_mul);
        let sum = self.parameters.entry(name.to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Reads a safetensors file's header: its length in eight bytes, then JSON.
    fn add_safetensors(&mut self, path: &Path) -> Result<(), StoreError> {
        use std::io::Read;

        #[derive(Deserialize)]
        struct Tensor {
            dtype: String,
            shape: Vec<u64>,
            data_offsets: (u64, u64),
        }
        let damaged = |reason: &str| StoreError::file(path, format!("{reason}; get the file again"));
        let mut file = fs_err::File::open(path)?;
        let length = file.metadata()?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(|_| damaged("too short for a safetensors file"))?;
        let size = u64::from_le_bytes(size);
        if size > LONGEST_HEADER || size > length.saturating_sub(8) {
            return Err(damaged("its header is longer than the file"));
        }
        let mut header = Vec::new();
        file.take(size).read_to_end(&mut header)?;
        let tensors: BTreeMap<String, Value> =
            serde_json::from_slice(&header).map_err(|error| damaged(&format!("its header is not JSON: {error}")))?;
        // Old checkpoints hold the numbers of their positions, which nobody trained.
        let trained = |name: &str| name != "__metadata__" && !name.ends_with("position_ids");
        for (_, tensor) in tensors.into_iter().filter(|(name, _)| trained(name)) {
            let tensor: Tensor =
                serde_json::from_value(tensor).map_err(|error| damaged(&format!("its header is wrong: {error}")))?;
            if tensor.data_offsets.1 > length - 8 - size {
                return Err(damaged("it is shorter than its header says"));
            }
            self.add(&tensor.dtype, tensor.shape.into_iter());
        }
        self.weight_bytes += length - 8 - size;
        Ok(())
    }

    fn details(self, model: &StoredModel, template: Result<Option<ChatTemplate>, ModelError>) -> ModelDetails {
        let (chat_template, template_error) = match &template {
            Ok(template) => (template.is_some(), None),
            Err(error) => (true, Some(error.to_string())),
        };
        let template = template.ok().flatten();
        let parameters = self.parameters.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        let mut weights: Vec<WeightType> =
            self.parameters.into_iter().map(|(name, parameters)| WeightType { name, parameters }).collect();
        weights.sort_by_key(|weight| std::cmp::Reverse(weight.parameters));
        ModelDetails {
            name: model.name.clone(),
            path: model.path.clone(),
            format: model.format,
            purpose: model.purpose,
            place: model.place,
            architecture: None,
            parameters,
            bytes: model.bytes,
            weight_bytes: self.weight_bytes,
            weights,
            layers: None,
            hidden_size: None,
            window: None,
            vocabulary: None,
            chat_template,
            template_error,
            tools: template.as_ref().is_some_and(ChatTemplate::knows_tools),
            tool_format: template.map(|template| template.tool_format().name()),
            licence: None,
            repository: None,
            commit: None,
        }
    }
}

/// sentence-transformers read less than their network could.
fn sentence_window(folder: &Path) -> Result<Option<u64>, StoreError> {
    Ok(read_optional(&folder.join("sentence_bert_config.json"))?["max_seq_length"].as_u64())
}

/// `license:` in the front matter of the model's card.
fn read_licence(folder: &Path) -> Option<String> {
    let card = String::from_utf8(read_file(&folder.join("README.md")).ok()?).ok()?;
    let front = card.strip_prefix("---")?.split("\n---").next()?;
    let line = front.lines().find_map(|line| line.strip_prefix("license:"))?;
    let licence = line.trim().trim_matches(['"', '\'']);
    (!licence.is_empty()).then(|| licence.to_owned())
}

fn read(path: &Path) -> Result<Value, StoreError> {
    let text = read_file(path).map_err(|error| StoreError::file(path, error.reason))?;
    serde_json::from_slice(&text).map_err(|error| StoreError::file(path, format!("not JSON: {error}")))
}

fn read_optional(path: &Path) -> Result<Value, StoreError> {
    if path.is_file() { read(path) } else { Ok(Value::Null) }
}

/// Keys that are absent, or of another type than they should be, are not known.
fn text(metadata: &Metadata, key: &str) -> Option<String> {
    metadata.get::<&str>(key).ok().flatten().map(str::to_owned)
}

fn number(metadata: &Metadata, key: &str) -> Option<u64> {
    metadata.get::<f64>(key).ok().flatten().map(|number| number as u64)
}

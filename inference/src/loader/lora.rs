//! LoRA adapters as PEFT writes them, merged into a model's weights while these are read.
//!
//! An adapter says how to change some of a model's matrices: `W + scale * B A`, with `A` of
//! `[rank, input]` and `B` of `[output, rank]` (Hu et al. 2021, arXiv 2106.09685), the rows then
//! brought to learned lengths where it is a DoRA (Liu et al. 2024, arXiv 2402.09353). Its folder
//! holds `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::checkpoint::Checkpoint;
use super::{file_error, read_json};
use crate::ModelError;
use crate::device::caught;

/// A LoRA adapter to put on a model: its folder, and how much of its change is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    pub folder: PathBuf,
    /// 1.0 is as it was trained; 0.0 leaves the model as it is. Several adapters add up.
    pub weight: f32,
}

impl Adapter {
    /// The adapter in a folder, applied as it was trained.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), weight: 1.0 }
    }
}

/// An adapter that was found to fit a model.
pub(crate) struct Adaptation {
    weight: f32,
    path: PathBuf,
    tensors: Checkpoint,
    transposed: bool,
    /// What changes, by the model's tensors.
    changes: HashMap<String, Change>,
}

/// What an adapter does to one of the model's tensors.
#[derive(Debug, Clone, Default)]
struct Change {
    /// The tensor that takes the place of the model's before anything else (`modules_to_save`).
    replacement: Option<String>,
    down: Option<String>,
    up: Option<String>,
    magnitude: Option<String>,
    /// Embeddings are looked up, so their matrices lie the other way round.
    embedding: bool,
    rank: usize,
    scale: f32,
}

/// Whether an adapter changes a tensor of the model.
pub(crate) fn changes(adaptations: &[Adaptation], name: &str) -> bool {
    adaptations.iter().any(|adaptation| adaptation.changes.contains_key(name))
}

/// The model's tensor with what the adapters change in it. `values` are the model's own.
pub(crate) fn adapted(
    adaptations: &[Adaptation],
    name: &str,
    shape: &[usize],
    values: Vec<f32>,
) -> Result<Vec<f32>, ModelError> {
    let mut sum: Option<Vec<f32>> = None;
    for adaptation in adaptations {
        if let Some(change) = adaptation.changes.get(name) {
            let changed = adaptation.changed(change, shape, &values)?;
            let sum = sum.get_or_insert_with(|| values.clone());
            for ((sum, changed), value) in sum.iter_mut().zip(changed).zip(&values) {
                *sum += adaptation.weight * (changed - value);
            }
        }
    }
    Ok(sum.unwrap_or(values))
}

impl Adaptation {
    /// Opens an adapter and compares all of it with the model it is for.
    pub(crate) fn open(adapter: &Adapter, model: &Checkpoint) -> Result<Self, ModelError> {
        let config_path = adapter.folder.join("adapter_config.json");
        let config: LoraConfig = read_json(&config_path)?;
        config.check(&config_path)?;
        if !adapter.weight.is_finite() {
            let reason = format!("the adapter's weight is {}, not a number", adapter.weight);
            return Err(file_error(&adapter.folder, reason));
        }
        let path = adapter.folder.join("adapter_model.safetensors");
        let tensors = Checkpoint::file(path.clone(), &Device::flex())?;
        let mut adaptation =
            Self { weight: adapter.weight, path, transposed: config.fan_in_fan_out, changes: HashMap::new(), tensors };
        let modules = adaptation.modules(&config)?;
        for (module, change) in modules {
            let target = adaptation.target(&module, model, &config)?;
            adaptation.check(&target, &change, model, &config)?;
            adaptation.changes.insert(target, change);
        }
        Ok(adaptation)
    }

    /// What the file holds, by the module it belongs to, as the adapter names it.
    fn modules(&self, config: &LoraConfig) -> Result<BTreeMap<String, Change>, ModelError> {
        let mut modules = BTreeMap::<String, Change>::new();
        for name in self.tensors.names() {
            let short = name.strip_prefix("base_model.model.").unwrap_or(name);
            let (module, part) =
                split(short).ok_or_else(|| file_error(&self.path, format!("{name} is no part of a LoRA adapter")))?;
            if part != Part::Replacement && !config.targets(&module) {
                let reason = format!("{name} is of a module that target_modules in adapter_config.json does not name");
                return Err(file_error(&self.path, reason));
            }
            let change = modules.entry(module).or_default();
            let slot = match part {
                Part::Replacement => &mut change.replacement,
                Part::Down { embedding } => {
                    change.embedding = embedding;
                    &mut change.down
                }
                Part::Up => &mut change.up,
                Part::Magnitude => &mut change.magnitude,
            };
            *slot = Some(name.to_string());
        }
        if modules.is_empty() {
            return Err(file_error(&self.path, "holds no tensors"));
        }
        for target in config.named_targets() {
            if !modules.keys().any(|module| is_named(module, target)) {
                let reason = format!(
                    "has no tensors for `{target}`, which adapter_config.json names; the download may be incomplete"
                );
                return Err(file_error(&self.path, reason));
            }
        }
        for (module, change) in &mut modules {
            change.rank = config.rank(module);
            change.scale = config.scale(module);
        }
        Ok(modules)
    }

    /// The model's tensor that a module of the adapter changes.
    fn target(&self, module: &str, model: &Checkpoint, config: &LoraConfig) -> Result<String, ModelError> {
        let bare = module.strip_prefix("model.").unwrap_or(module);
        [format!("{module}.weight"), format!("model.{module}.weight"), format!("{bare}.weight")]
            .into_iter()
            .find(|name| model.contains(name))
            .ok_or_else(|| {
                let reason = format!("changes {module}.weight, which the model does not have");
                self.misfit(&reason, config)
            })
    }

    /// Whether a change fits the model's tensor.
    fn check(&self, target: &str, change: &Change, model: &Checkpoint, config: &LoraConfig) -> Result<(), ModelError> {
        let shape = model.shape(target).unwrap_or_default();
        let expect = |name: &String, expected: &[usize]| {
            let found = self.tensors.shape(name).unwrap_or_default();
            if found == expected {
                return Ok(());
            }
            let reason = format!(
                "{name} has shape {found:?}, but to change the model's {target} of {shape:?} it would be {expected:?}"
            );
            Err(self.misfit(&reason, config))
        };
        if let Some(replacement) = &change.replacement {
            expect(replacement, &shape)?;
        }
        let (down, up) = match (&change.down, &change.up) {
            (Some(down), Some(up)) => (down, up),
            (None, None) if change.replacement.is_some() => return Ok(()),
            _ => {
                let reason =
                    format!("has only one of the two matrices that change {target}; the download may be incomplete");
                return Err(file_error(&self.path, reason));
            }
        };
        let [rows, columns] = shape.as_slice() else {
            let reason = format!("changes {target}, which is no matrix");
            return Err(self.misfit(&reason, config));
        };
        let flipped = change.embedding || self.transposed;
        let (input, output) = if flipped { (*rows, *columns) } else { (*columns, *rows) };
        expect(down, &[change.rank, input])?;
        expect(up, &[output, change.rank])?;
        if change.embedding && !model.contains("lm_head.weight") {
            let reason = "changes embeddings that are the model's output matrix too (tied); merged, both would change";
            return Err(self.unsupported(reason));
        }
        match &change.magnitude {
            Some(_) if flipped => Err(self.unsupported("is a DoRA of an embedding or of a transposed matrix")),
            Some(magnitude) => expect(magnitude, &[output]),
            None if config.use_dora => {
                let reason = format!("has no lora_magnitude_vector for {target}, but adapter_config.json says DoRA");
                Err(file_error(&self.path, reason))
            }
            None => Ok(()),
        }
    }

    /// The changed tensor, the adapter fully applied.
    fn changed(&self, change: &Change, shape: &[usize], values: &[f32]) -> Result<Vec<f32>, ModelError> {
        let mut changed = match &change.replacement {
            Some(name) => self.tensors.values(name)?,
            None => values.to_vec(),
        };
        let (Some(down), Some(up)) = (&change.down, &change.up) else {
            return Ok(changed);
        };
        let product = self.product(down, up, change.embedding || self.transposed)?;
        for (value, delta) in changed.iter_mut().zip(product) {
            *value += change.scale * delta;
        }
        if let (Some(name), [_, columns]) = (&change.magnitude, shape) {
            for (row, magnitude) in changed.chunks_mut((*columns).max(1)).zip(self.tensors.values(name)?) {
                let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
                row.iter_mut().for_each(|value| *value *= magnitude / length);
            }
        }
        Ok(changed)
    }

    /// `B A`, as the model's tensor lies.
    fn product(&self, down: &str, up: &str, flipped: bool) -> Result<Vec<f32>, ModelError> {
        let matrix = |name: &str| -> Result<TensorData, ModelError> {
            let shape = self.tensors.shape(name).unwrap_or_default();
            Ok(TensorData::new(self.tensors.values(name)?, shape))
        };
        let (down, up) = (matrix(down)?, matrix(up)?);
        let device = Device::flex();
        let computed = caught(|| {
            let product = Tensor::<2>::from_data(up, &device).matmul(Tensor::from_data(down, &device));
            let product = if flipped { product.transpose() } else { product };
            product.try_into_vec_as::<f32>()
        });
        let computed = computed.and_then(|values| values.map_err(|error| error.to_string()));
        computed.map_err(|reason| file_error(&self.path, reason))
    }

    fn misfit(&self, reason: &str, config: &LoraConfig) -> ModelError {
        let base = config.base_model_name_or_path.as_deref().unwrap_or("another model");
        file_error(&self.path, format!("{reason}; the adapter was made for {base}"))
    }

    fn unsupported(&self, reason: &str) -> ModelError {
        unsupported(&self.path, reason)
    }
}

fn unsupported(path: &Path, reason: &str) -> ModelError {
    ModelError::Unsupported(format!(
        "{}: {reason}; merge the adapter with PEFT's merge_and_unload() and load the merged model",
        path.display()
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Replacement,
    Down { embedding: bool },
    Up,
    Magnitude,
}

/// The module a tensor of an adapter belongs to, and what it is there.
fn split(name: &str) -> Option<(String, Part)> {
    let suffixes = [
        (".lora_A.weight", Part::Down { embedding: false }),
        (".lora_B.weight", Part::Up),
        (".lora_embedding_A", Part::Down { embedding: true }),
        (".lora_embedding_B", Part::Up),
        (".lora_magnitude_vector", Part::Magnitude),
        (".lora_magnitude_vector.weight", Part::Magnitude),
    ];
    if let Some((module, part)) =
        suffixes.into_iter().find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, part)))
    {
        return Some((module.to_string(), part));
    }
    let module = name.strip_suffix(".weight")?;
    let module = module.strip_suffix(".base_layer").unwrap_or(module);
    (!module.contains("lora_")).then(|| (module.replace(".modules_to_save", ""), Part::Replacement))
}

/// PEFT's rule for lists of names: a module is meant by the end of its path.
fn is_named(module: &str, target: &str) -> bool {
    module.strip_suffix(target).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// `adapter_config.json`: <https://huggingface.co/docs/peft/package_reference/lora>.
#[derive(Debug, Deserialize)]
struct LoraConfig {
    #[serde(default)]
    peft_type: Option<String>,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    lora_bias: bool,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    rank_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    alpha_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    target_modules: Value,
    #[serde(default)]
    init_lora_weights: Value,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl LoraConfig {
    fn check(&self, path: &Path) -> Result<(), ModelError> {
        match self.peft_type.as_deref() {
            None | Some("LORA") => {}
            Some(other) => {
                return Err(unsupported(path, &format!("adapters of type {other}; LoRA and DoRA are read")));
            }
        }
        if self.r == 0 || !self.lora_alpha.is_finite() {
            let reason = format!("r is {} and lora_alpha {}", self.r, self.lora_alpha);
            return Err(file_error(path, reason));
        }
        if self.lora_bias || !matches!(self.bias.as_deref(), None | Some("none")) {
            return Err(unsupported(path, "adapters that change biases"));
        }
        // These are differences from weights that were changed first, by a factorization of them.
        if let Some(start) = self.init_lora_weights.as_str()
            && ["pissa", "olora", "loftq", "corda"].iter().any(|name| start.starts_with(name))
        {
            return Err(unsupported(path, &format!("adapters that start from {start}")));
        }
        let set = |key: &&str| match self.others.get(*key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            Some(_) => true,
        };
        let changing = [
            "layer_replication",
            "target_parameters",
            "trainable_token_indices",
            "alora_invocation_tokens",
            "use_qalora",
            "use_bdlora",
            "megatron_config",
        ];
        match changing.iter().find(|key| set(key)) {
            Some(key) => Err(unsupported(path, &format!("adapters with {key}"))),
            None => Ok(()),
        }
    }

    /// Whether `target_modules` means a module. A pattern that Rust's regular expressions cannot
    /// say (lookaround) admits all: the tensors' names tell the same.
    fn targets(&self, module: &str) -> bool {
        match &self.target_modules {
            Value::String(pattern) if pattern != "all-linear" => {
                Regex::new(&format!("^(?:{pattern})$")).map_or(true, |pattern| pattern.is_match(module))
            }
            Value::Array(_) => self.named_targets().any(|target| is_named(module, target)),
            _ => true,
        }
    }

    fn named_targets(&self) -> impl Iterator<Item = &str> {
        let names = self.target_modules.as_array().into_iter().flatten();
        names.filter_map(Value::as_str)
    }

    fn rank(&self, module: &str) -> usize {
        of_pattern(self.rank_pattern.as_ref(), module).and_then(Value::as_u64).map_or(self.r, |rank| rank as usize)
    }

    fn scale(&self, module: &str) -> f32 {
        let alpha = of_pattern(self.alpha_pattern.as_ref(), module)
            .and_then(Value::as_f64)
            .map_or(self.lora_alpha, |alpha| alpha as f32);
        let rank = self.rank(module) as f32;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// The value of the first key that is, as a regular expression, the end of the module's path.
fn of_pattern<'a>(patterns: Option<&'a Map<String, Value>>, module: &str) -> Option<&'a Value> {
    let meant = |key: &str| Regex::new(&format!(r"^(?:.*\.)?(?:{key})$")).is_ok_and(|pattern| pattern.is_match(module));
    patterns?.iter().find(|(key, _)| meant(key)).map(|(_, value)| value)
}

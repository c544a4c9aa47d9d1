//! The parts of an embedding model, as sentence-transformers lists them in `modules.json`: an
//! encoder, a pooling, and what is done to the pooled vector.

use std::path::{Path, PathBuf};

use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use codriver_kernels::{ActivationFunction, Panels, Then};
use serde::Deserialize;
use serde_json::Value;

use super::packed::{Norm, panels};
use super::pooling::Pooling;
use crate::ModelError;
use crate::loader::checkpoint::Checkpoint;
use crate::loader::encoder::layer_norm;
use crate::loader::{file_error, inside, read_json, read_optional_json};
use crate::models::encoder::activate;

/// An entry of `modules.json`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Module {
    /// The folder of the module's files, relative to the model's.
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// What `modules.json` lists, with the encoder's folder set apart.
pub(super) struct Modules {
    pub(super) encoder: PathBuf,
    rest: Vec<(String, PathBuf)>,
}

impl Modules {
    /// Reads `modules.json`. A folder without is an encoder, pooled as `1_Pooling` says or by the
    /// mean, its vectors brought to length 1.
    pub(super) fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("modules.json");
        if !path.exists() {
            let rest = [("Pooling", folder.join("1_Pooling")), ("Normalize", folder.to_path_buf())];
            let rest = rest.map(|(kind, path)| (kind.to_string(), path)).into();
            return Ok(Self { encoder: folder.to_path_buf(), rest });
        }
        let modules: Vec<Module> = read_json(&path)?;
        let part = |module: &Module| {
            let kind = module.kind.rsplit('.').next().unwrap_or_default().to_string();
            let folder = if module.path.is_empty() { Some(folder.to_path_buf()) } else { inside(folder, &module.path) };
            let folder = folder
                .ok_or_else(|| file_error(&path, format!("names a module outside of its folder: {}", module.path)))?;
            Ok((kind, folder))
        };
        let mut parts = modules.iter().map(part).collect::<Result<Vec<_>, ModelError>>()?.into_iter();
        match parts.next() {
            Some((kind, encoder)) if kind == "Transformer" => Ok(Self { encoder, rest: parts.collect() }),
            Some((kind, _)) => Err(unknown(&path, &kind)),
            None => Err(file_error(&path, "lists no modules")),
        }
    }

    /// The pooling and the steps after it, for an encoder with vectors of `hidden_size`; and how
    /// long the vectors are in the end.
    pub(super) fn load(self, hidden_size: usize, device: &Device) -> Result<(Pooling, Vec<Step>, usize), ModelError> {
        let mut rest = self.rest.into_iter().filter(|(kind, _)| kind != "Dropout").peekable();
        let pooling = match rest.next_if(|(kind, _)| kind == "Pooling") {
            Some((_, folder)) => {
                let path = folder.join("config.json");
                let config = read_optional_json(&path)?.unwrap_or(Value::Null);
                Pooling::parse(&path, &config, hidden_size)?
            }
            None => {
                let reason = "modules.json has no Pooling after the Transformer; models that give a vector for each token are not run";
                return Err(ModelError::Unsupported(format!("{}: {reason}", self.encoder.display())));
            }
        };
        let mut size = pooling.size(hidden_size);
        let mut steps = Vec::new();
        for (kind, folder) in rest {
            let step = match kind.as_str() {
                "Normalize" => Step::Normalize,
                "Dense" => Step::Dense(Dense::load(&folder, &mut size, device)?),
                "LayerNorm" => {
                    let checkpoint = Checkpoint::open(&folder, device)?;
                    let norm = layer_norm(&checkpoint, "norm", size, LAYER_NORM_EPSILON, true, device)?;
                    Step::LayerNorm { norm, epsilon: LAYER_NORM_EPSILON }
                }
                other => return Err(unknown(&folder, other)),
            };
            steps.push(step);
        }
        Ok((pooling, steps, size))
    }
}

const LAYER_NORM_EPSILON: f64 = 1e-5;

fn unknown(path: &Path, kind: &str) -> ModelError {
    ModelError::Unsupported(format!(
        "{}: the module `{kind}`; those that run here are Transformer, Pooling, Dense, LayerNorm, Dropout and Normalize",
        path.display()
    ))
}

/// Something done to the pooled vectors, `[texts, size]`.
#[derive(Debug)]
pub(super) enum Step {
    Dense(Dense),
    LayerNorm {
        norm: LayerNorm,
        epsilon: f64,
    },
    /// To length 1.
    Normalize,
}

impl Step {
    pub(super) fn apply(&self, vectors: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense(dense) => dense.apply(vectors),
            Self::LayerNorm { norm, .. } => norm.forward(vectors),
            Self::Normalize => {
                let length = vectors.clone().square().sum_dim(1).sqrt().clamp_min(SMALLEST_LENGTH);
                vectors / length
            }
        }
    }
}

const SMALLEST_LENGTH: f32 = 1e-12;

/// A linear layer with an activation, and perhaps a way around both.
#[derive(Debug)]
pub(super) struct Dense {
    linear: Linear,
    activation: Option<ActivationFunction>,
    residual: Residual,
}

#[derive(Debug)]
enum Residual {
    None,
    Same,
    Projected(Linear),
}

#[derive(Debug, Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    #[serde(default = "default_bias")]
    bias: bool,
    /// A class of torch; an older file that does not say means Tanh, null means none.
    #[serde(default = "default_activation")]
    activation_function: Option<String>,
    #[serde(default)]
    use_residual: bool,
    #[serde(default)]
    module_input_name: Option<String>,
    #[serde(default)]
    module_output_name: Option<String>,
}

fn default_bias() -> bool {
    true
}

fn default_activation() -> Option<String> {
    Some("Tanh".to_string())
}

impl Dense {
    fn load(folder: &Path, size: &mut usize, device: &Device) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let config: DenseConfig = read_json(&path)?;
        if config.in_features != *size {
            let reason = format!("takes vectors of {} numbers, but is given {size}", config.in_features);
            return Err(file_error(&path, reason));
        }
        let ends = [&config.module_input_name, &config.module_output_name];
        if let Some(other) = ends.into_iter().flatten().find(|name| *name != "sentence_embedding") {
            return Err(ModelError::Unsupported(format!("{}: a Dense of `{other}`", path.display())));
        }
        let name = config.activation_function.as_deref().unwrap_or("Identity");
        let activation = activation_of_torch(&path, name)?;
        let checkpoint = Checkpoint::open(folder, device)?;
        let (input, output) = (config.in_features, config.out_features);
        let residual = match (config.use_residual, input == output) {
            (false, _) => Residual::None,
            (true, true) => Residual::Same,
            (true, false) => Residual::Projected(checkpoint.linear("residual", input, output, false)?),
        };
        *size = output;
        Ok(Self { linear: checkpoint.linear("linear", input, output, config.bias)?, activation, residual })
    }

    pub(super) fn new(linear: Linear, activation: Option<ActivationFunction>) -> Self {
        Self { linear, activation, residual: Residual::None }
    }

    fn apply(&self, vectors: Tensor<2>) -> Tensor<2> {
        let product = self.linear.forward(vectors.clone());
        let output = match self.activation {
            Some(activation) => activate(activation, product),
            None => product,
        };
        match &self.residual {
            Residual::None => output,
            Residual::Same => output + vectors,
            Residual::Projected(linear) => output + linear.forward(vectors),
        }
    }
}

/// The activation that a class of torch is; `None` for the identity.
pub(super) fn activation_of_torch(path: &Path, class: &str) -> Result<Option<ActivationFunction>, ModelError> {
    match class.rsplit('.').next().unwrap_or_default() {
        "Identity" => Ok(None),
        "Tanh" => Ok(Some(ActivationFunction::Tanh)),
        "ReLU" => Ok(Some(ActivationFunction::Relu)),
        "GELU" => Ok(Some(ActivationFunction::Gelu)),
        "SiLU" => Ok(Some(ActivationFunction::Silu)),
        "Sigmoid" => Ok(Some(ActivationFunction::Sigmoid)),
        other => Err(ModelError::Unsupported(format!("{}: the activation `{other}`", path.display()))),
    }
}

/// A [`Step`] on this machine's processor.
pub(super) enum PackedStep {
    Dense { linear: Panels, activation: Option<ActivationFunction>, residual: PackedResidual },
    LayerNorm(Norm),
    Normalize,
}

pub(super) enum PackedResidual {
    None,
    Same,
    Projected(Panels),
}

impl PackedStep {
    /// `None` where a layer's parts do not fit each other.
    pub(super) fn of(step: &Step) -> Option<Self> {
        Some(match step {
            Step::Normalize => Self::Normalize,
            Step::LayerNorm { norm, epsilon } => Self::LayerNorm(Norm::of(norm, *epsilon)),
            Step::Dense(dense) => Self::Dense {
                linear: panels(&dense.linear)?,
                activation: dense.activation,
                residual: match &dense.residual {
                    Residual::None => PackedResidual::None,
                    Residual::Same => PackedResidual::Same,
                    Residual::Projected(linear) => PackedResidual::Projected(panels(linear)?),
                },
            },
        })
    }

    /// What the step makes of vectors of `size`, and their size then.
    pub(super) fn apply(&self, mut vectors: Vec<f32>, size: usize) -> (Vec<f32>, usize) {
        match self {
            Self::Dense { linear, activation, residual } => {
                let mut output = vec![0.0; vectors.len() / size.max(1) * linear.outputs()];
                let then = activation.map_or(Then::Replace, Then::Apply);
                linear.multiply(&vectors, &mut output, then, false);
                match residual {
                    PackedResidual::None => {}
                    PackedResidual::Same => output.iter_mut().zip(&vectors).for_each(|(sum, value)| *sum += value),
                    PackedResidual::Projected(around) => around.multiply(&vectors, &mut output, Then::Add, false),
                }
                (output, linear.outputs())
            }
            Self::LayerNorm(norm) => {
                norm.apply(&mut vectors);
                (vectors, size)
            }
            Self::Normalize => {
                for vector in vectors.chunks_exact_mut(size.max(1)) {
                    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(SMALLEST_LENGTH);
                    vector.iter_mut().for_each(|value| *value /= length);
                }
                (vectors, size)
            }
        }
    }
}

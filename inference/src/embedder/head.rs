//! Classification heads: what transformers' `...ForSequenceClassification` put behind an encoder, as far as they give one
//! number.

use std::path::Path;

use burn::tensor::Device;
use codriver_kernels::ActivationFunction;
use serde_json::Value;

use super::modules::{Dense, Step};
use super::pooling::Pooling;
use crate::ModelError;
use crate::loader::checkpoint::Checkpoint;
use crate::loader::encoder::{activation, layer_norm};
use crate::loader::{file_error, read_json};

/// A cross-encoder that many have.
const EXAMPLE: &str = "cross-encoder/ms-marco-MiniLM-L6-v2";

/// The head in a model's folder, read before anything large is.
pub(super) struct Head {
    config: Value,
    checkpoint: Checkpoint,
    /// The layer that gives the number.
    last: &'static str,
}

impl Head {
    /// Refuses what has no head, or one that tells classes.
    pub(super) fn open(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let config: Value = read_json(&folder.join("config.json"))?;
        let checkpoint = Checkpoint::open(folder, device)?;
        let unsupported = |what: String| ModelError::Unsupported(format!("{}: {what}", folder.display()));
        let last = ["classifier", "classifier.out_proj"];
        let last = last.into_iter().find(|name| checkpoint.contains(&format!("{name}.weight"))).ok_or_else(|| {
            unsupported(format!(
                "no classification head, so it is no cross-encoder; one is a ...ForSequenceClassification with one label, \
                 such as {EXAMPLE}"
            ))
        })?;
        match checkpoint.shape(&format!("{last}.weight")).and_then(|shape| shape.first().copied()) {
            Some(1) => Ok(Self { config, checkpoint, last }),
            labels => Err(unsupported(format!(
                "it tells {} classes and gives no one score; a cross-encoder that ranks has one label, such as {EXAMPLE}",
                labels.unwrap_or_default()
            ))),
        }
    }

    /// The class of torch that the model's scores go through, where its configuration names one
    /// (`sentence_transformers.activation_fn`; before version 4 a key of its own).
    pub(super) fn activation(&self) -> Option<&str> {
        let newer = &self.config["sentence_transformers"]["activation_fn"];
        newer.as_str().or_else(|| self.config["sbert_ce_default_activation_function"].as_str())
    }

    /// How tokens' vectors of `size` numbers become one, and that one a number.
    pub(super) fn load(self, folder: &Path, size: usize, device: &Device) -> Result<(Pooling, Vec<Step>), ModelError> {
        let path = folder.join("config.json");
        let linear = |name: &str, outputs: usize, bias: bool| self.checkpoint.linear(name, size, outputs, bias);
        let dense = |name: &str, activation| {
            Ok::<_, ModelError>(Step::Dense(Dense::new(linear(name, size, true)?, Some(activation))))
        };
        let (pooling, mut steps) = match self.config["model_type"].as_str().unwrap_or_default() {
            "bert" => (Pooling::first(), vec![dense("bert.pooler.dense", ActivationFunction::Tanh)?]),
            "distilbert" => (Pooling::first(), vec![dense("pre_classifier", ActivationFunction::Relu)?]),
            "modernbert" => {
                let text = |key: &str, usual: &'static str| self.config[key].as_str().unwrap_or(usual).to_owned();
                let flag = |key: &str| self.config[key].as_bool().unwrap_or(false);
                let pooling = match text("classifier_pooling", "cls").as_str() {
                    "cls" => Pooling::first(),
                    "mean" => Pooling::default(),
                    other => {
                        return Err(file_error(
                            &path,
                            format!("classifier_pooling is `{other}`, neither `cls` nor `mean`"),
                        ));
                    }
                };
                let activation = activation(&path, &text("classifier_activation", "gelu"))?;
                let linear = linear("head.dense", size, flag("classifier_bias"))?;
                let epsilon = self.config["norm_eps"].as_f64().unwrap_or(1e-5);
                let norm = layer_norm(&self.checkpoint, "head.norm", size, epsilon, flag("norm_bias"), device)?;
                (pooling, vec![Step::Dense(Dense::new(linear, Some(activation))), Step::LayerNorm { norm, epsilon }])
            }
            // RoBERTa and its kin, MPNet.
            _ => (Pooling::first(), vec![dense("classifier.dense", ActivationFunction::Tanh)?]),
        };
        steps.push(Step::Dense(Dense::new(linear(self.last, 1, true)?, None)));
        Ok((pooling, steps))
    }
}

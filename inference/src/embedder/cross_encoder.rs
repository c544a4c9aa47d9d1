//! Cross-encoders: a question and a text read together, and how well the one answers the other.
//!
//! Nogueira and Cho, "Passage Re-ranking with BERT" (2019, arXiv 1901.04085); the files and their meaning are those of
//! sentence-transformers' `CrossEncoder`: <https://sbert.net/docs/package_reference/cross_encoder/cross_encoder.html>.

use std::path::Path;

use codriver_kernels::ActivationFunction;
use serde_json::Value;

use super::head::Head;
use super::modules::activation_of_torch;
use super::network::{Network, Tensors, Tokens};
use super::reader::{Reader, longest};
use super::{EmbedderOptions, load_encoder};
use crate::device::DeviceChoice;
use crate::loader::{self, read_optional_json};
use crate::{Cancellation, ModelError};

/// An encoder of pairs with a classification head of one label.
pub struct CrossEncoder {
    reader: Reader,
    /// How many parts of a pair the encoder tells apart; 0 where it is not told which a token is of.
    parts: usize,
    network: Network,
    activation: Option<ActivationFunction>,
}

impl CrossEncoder {
    /// Loads the model in a folder: `config.json`, `model.safetensors` and `tokenizer.json`.
    pub fn open(folder: &Path, choice: DeviceChoice) -> Result<Self, ModelError> {
        Self::open_with(folder, &EmbedderOptions { device: choice, as_tensors: false })
    }

    /// [`open`](Self::open), with all that can be chosen.
    pub fn open_with(folder: &Path, options: &EmbedderOptions) -> Result<Self, ModelError> {
        let (loaded, device, head) = load_encoder(folder, folder, options.device, |device| Head::open(folder, device))?;
        let activation = match head.activation() {
            Some(class) => activation_of_torch(&folder.join("config.json"), class)?,
            // What sentence-transformers uses for one label where nothing is said.
            None => Some(ActivationFunction::Sigmoid),
        };
        let longest = longest(folder)?.map_or(loaded.window, |longest| longest.min(loaded.window));
        let reader = Reader::open(loader::model_name(folder), folder, longest, &loaded, true)?;
        let (pooling, steps) = head.load(folder, loaded.hidden_size, &device)?;
        let parts = if loaded.token_types > 1 && tokenizer_tells_parts(folder)? { loaded.token_types } else { 0 };
        let tensors = Tensors { encoder: loaded.encoder, pooling, steps };
        let as_tensors = options.as_tensors || options.device != DeviceChoice::Cpu;
        Ok(Self { parts, network: Network::new(tensors, longest, device, as_tensors)?, reader, activation })
    }

    pub fn name(&self) -> &str {
        &self.reader.name
    }

    /// How well each text answers the question, in order: higher is better. Whether from 0 to 1, or any number, is the
    /// model's. Of what is longer than the model's window together with the question, the end is not read.
    pub fn score(&self, question: &str, texts: &[&str]) -> Result<Vec<f32>, ModelError> {
        self.score_watched(question, texts, &Cancellation::new(), &|_| ())
    }

    /// [`score`](Self::score), which ends between batches, of some hundred tokens, when it is cancelled. `on_done` is
    /// told each time how many more texts are done, from any thread.
    pub fn score_watched(
        &self,
        question: &str,
        texts: &[&str],
        cancellation: &Cancellation,
        on_done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<f32>, ModelError> {
        let pairs = self.reader.read(texts, cancellation, |text| {
            let encoding = self.reader.encode((question, *text))?;
            let ids = encoding.get_ids().to_vec();
            let types = if self.parts > 0 { encoding.get_type_ids().to_vec() } else { Vec::new() };
            if types.iter().any(|part| *part as usize >= self.parts) {
                let reason =
                    format!("tokenizer.json tells more than the {} parts of a pair that the model knows", self.parts);
                return Err(ModelError::Tokenizer(reason));
            }
            Ok(Tokens { ids, types })
        })?;
        let scores = self.network.embed(&pairs, 0, cancellation, on_done)?;
        let mut scores: Vec<f32> = scores.into_iter().filter_map(|score| score.first().copied()).collect();
        if let Some(activation) = self.activation {
            activation.apply(&mut scores);
        }
        if scores.len() == texts.len() && scores.iter().all(|score| score.is_finite()) {
            return Ok(scores);
        }
        let reason =
            format!("{} computed a score that is not finite; get the model again, or take another", self.name());
        Err(ModelError::Numeric(reason))
    }
}

/// Whether the tokenizer gives token types: as its settings list its inputs, else as its class does. Those of encoders that
/// have them do; only what transformers calls `TokenizersBackend` does not unless it is listed.
fn tokenizer_tells_parts(folder: &Path) -> Result<bool, ModelError> {
    let settings = read_optional_json(&folder.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
    Ok(match settings["model_input_names"].as_array() {
        Some(inputs) => inputs.iter().any(|input| input == "token_type_ids"),
        None => settings["tokenizer_class"] != "TokenizersBackend",
    })
}

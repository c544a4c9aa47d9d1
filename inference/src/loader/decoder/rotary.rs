//! The rotary words of a `config.json`: grouped in `rope_parameters` (transformers 5) or in
//! `rope_scaling` beside `rope_theta` (before), by kind of layer or for all.

use serde_json::Value;

use super::keys::Keys;
use crate::ModelError;
use crate::models::rotary::{RopeScaling, RotaryConfig};

/// The positions of the layers, and of those with a sliding window where they have their own.
pub(super) struct Rotaries {
    pub full: RotaryConfig,
    pub sliding: Option<RotaryConfig>,
    /// The longest sequence that the scaling is made for, if it says so.
    pub stretched_positions: Option<f64>,
}

pub(super) fn parse_rotaries(keys: Keys, head_dim: usize, positions: usize) -> Result<Rotaries, ModelError> {
    let parameters = keys.group("rope_parameters")?;
    let group = |name: &str| parameters.map_or(Ok(None), |parameters| parameters.group(name));
    let (full, sliding) = (group("full_attention")?, group("sliding_attention")?);
    let words = |groups: [Option<Keys<'_>>; 2], theta| -> Result<RotaryConfig, ModelError> {
        let words = Words { groups, keys, theta, head_dim, positions: positions as f64 };
        words.parse()
    };
    let parsed = words([keys.group("rope_scaling")?, full.or(parameters)], "rope_theta")?;
    let local = "rope_local_base_freq";
    let sliding =
        (sliding.is_some() || keys.get(local).is_some()).then(|| words([sliding, None], local)).transpose()?;
    if let Some(RotaryConfig { scaling: Some(RopeScaling::Dynamic { .. } | RopeScaling::LongRope { .. }), .. }) =
        sliding
    {
        return Err(keys.unsupported("a rotary scaling by length in sliding_attention layers"));
    }
    let stretched_positions = match &parsed.scaling {
        Some(RopeScaling::Yarn { factor, original_positions, .. }) => Some(factor * original_positions),
        Some(RopeScaling::Dynamic { factor, original_positions }) => Some(factor * *original_positions as f64),
        _ => None,
    };
    Ok(Rotaries { full: parsed, sliding, stretched_positions })
}

/// The words for some layers.
struct Words<'a> {
    /// Where they are looked up, in this order.
    groups: [Option<Keys<'a>>; 2],
    /// Where those are that may stand outside of a group.
    keys: Keys<'a>,
    /// What the base is called there.
    theta: &'static str,
    head_dim: usize,
    positions: f64,
}

impl<'a> Words<'a> {
    fn parse(&self) -> Result<RotaryConfig, ModelError> {
        let fraction = match self.positive("partial_rotary_factor")? {
            Some(fraction) => Some(fraction),
            None => self.keys.positive("partial_rotary_factor")?,
        };
        let dimensions = fraction.filter(|fraction| *fraction != 1.0).map(|fraction| {
            // As transformers rounds.
            (self.head_dim as f64 * fraction) as usize
        });
        let rotary = RotaryConfig {
            theta: match self.positive("rope_theta")? {
                Some(theta) => theta,
                None => self.keys.positive(self.theta)?.unwrap_or(10000.0),
            },
            dimensions,
            scaling: None,
        };
        let turned = dimensions.unwrap_or(self.head_dim);
        if turned < 2 || 2 * rotary.pairs(self.head_dim) > self.head_dim {
            let reason = format!("head_dim must be even, but {turned} of {} dimensions rotate", self.head_dim);
            return Err(self.keys.invalid(reason));
        }
        let scaling = self.scaling(&rotary)?;
        Ok(RotaryConfig { scaling, ..rotary })
    }

    fn scaling(&self, rotary: &RotaryConfig) -> Result<Option<RopeScaling>, ModelError> {
        let name = self.get("rope_type").or_else(|| self.get("type")).and_then(Value::as_str);
        let factor = || self.required("factor");
        match name {
            None | Some("default") => Ok(None),
            Some("linear") => Ok(Some(RopeScaling::Linear { factor: factor()? })),
            Some("llama3") => {
                let factor = factor()?;
                let (low, high) = (self.required("low_freq_factor")?, self.required("high_freq_factor")?);
                if high <= low {
                    return Err(self.keys.invalid("`high_freq_factor` is not above `low_freq_factor`"));
                }
                Ok(Some(RopeScaling::Llama3 {
                    factor,
                    low_frequency_factor: low,
                    high_frequency_factor: high,
                    original_positions: self.original_positions()?,
                }))
            }
            Some("dynamic") => {
                if rotary.dimensions.unwrap_or(self.head_dim) < 3 {
                    return Err(self.keys.invalid("dynamic rotary scaling needs more than two dimensions"));
                }
                Ok(Some(RopeScaling::Dynamic { factor: factor()?, original_positions: self.positions as usize }))
            }
            // Early Phi-3 files call it by the names of its ancestors.
            Some("longrope" | "su") => self.long_rope(rotary).map(Some),
            Some("yarn") if self.get("short_factor").is_some() => self.long_rope(rotary).map(Some),
            Some("yarn") => self.yarn().map(Some),
            Some(other) => Err(self.keys.unsupported(format!(
                "rotary scaling of type `{other}`; the types that run here are linear, dynamic, yarn, longrope and llama3"
            ))),
        }
    }

    fn yarn(&self) -> Result<RopeScaling, ModelError> {
        let original_positions = self.original_positions()?;
        let factor = self.positive("factor")?.unwrap_or(self.positions / original_positions);
        let softening = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        let inferred = match (self.positive("mscale")?, self.positive("mscale_all_dim")?) {
            (Some(scale), Some(all)) => softening(scale) / softening(all),
            _ => softening(1.0),
        };
        Ok(RopeScaling::Yarn {
            factor,
            beta_fast: self.positive("beta_fast")?.unwrap_or(32.0),
            beta_slow: self.positive("beta_slow")?.unwrap_or(1.0),
            truncate: self.get("truncate").and_then(Value::as_bool).unwrap_or(true),
            original_positions,
            attention_factor: self.positive("attention_factor")?.unwrap_or(inferred),
        })
    }

    fn long_rope(&self, rotary: &RotaryConfig) -> Result<RopeScaling, ModelError> {
        let original_positions = self.original_positions()?;
        let factor = self.positive("factor")?.unwrap_or(self.positions / original_positions);
        let inferred = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original_positions.ln()).sqrt() };
        let pairs = rotary.pairs(self.head_dim);
        let divisors = |key: &str| -> Result<Vec<f64>, ModelError> {
            let list = self.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let divisors: Vec<f64> =
                list.iter().filter_map(Value::as_f64).filter(|divisor| divisor.is_finite() && *divisor > 0.0).collect();
            if divisors.len() == pairs && list.len() == pairs {
                return Ok(divisors);
            }
            Err(self.keys.invalid(format!("the rotary parameter `{key}` must be a list of {pairs} positive numbers")))
        };
        Ok(RopeScaling::LongRope {
            short: divisors("short_factor")?,
            long: divisors("long_factor")?,
            original_positions: original_positions as usize,
            attention_factor: self.positive("attention_factor")?.unwrap_or(inferred),
        })
    }

    /// The positions of pretraining. Phi-3 says them outside of the group, where they come first.
    fn original_positions(&self) -> Result<f64, ModelError> {
        let key = "original_max_position_embeddings";
        let positions = match self.keys.positive(key)? {
            Some(positions) => Some(positions),
            None => self.positive(key)?,
        };
        match positions.unwrap_or(self.positions) {
            positions if positions > 1.0 => Ok(positions),
            _ => Err(self.keys.invalid(format!("`{key}` must be above 1"))),
        }
    }

    fn required(&self, key: &str) -> Result<f64, ModelError> {
        self.positive(key)?.ok_or_else(|| self.keys.invalid(format!("the rotary parameter `{key}` is missing")))
    }

    fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let holder = self.groups.iter().flatten().find(|group| group.get(key).is_some());
        holder.map_or(Ok(None), |group| group.positive(key))
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.groups.iter().flatten().find_map(|group| group.get(key))
    }
}

//! What a request's parameters may be: on the command line, in a notebook and in agents' definitions.

use codriver_inference::SamplingParameters;
use serde::de::{Deserialize, Deserializer, Error};

/// A temperature as it is typed.
pub fn temperature(text: &str) -> Result<f32, String> {
    checked_temperature(text.parse().unwrap_or(f32::NAN))
}

/// A limit (tokens of an answer, model calls of a turn) as it is typed.
pub fn limit(text: &str) -> Result<usize, String> {
    checked_limit(text.parse().unwrap_or(0))
}

/// A temperature in a definition.
pub(super) fn deserialize_temperature<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    checked_temperature(f32::deserialize(deserializer)?).map_err(Error::custom)
}

/// A limit in a definition.
pub(super) fn deserialize_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    checked_limit(usize::deserialize(deserializer)?).map_err(Error::custom)
}

fn checked_temperature(temperature: f32) -> Result<f32, String> {
    let range = SamplingParameters::TEMPERATURES;
    if range.contains(&temperature) {
        return Ok(temperature);
    }
    let (low, high) = range.into_inner();
    Err(format!("a temperature is a number from {low} to {high}"))
}

fn checked_limit(limit: usize) -> Result<usize, String> {
    if limit > 0 { Ok(limit) } else { Err("a limit is a whole number, 1 or more".to_owned()) }
}

//! `codriver model bench` on an embedding model.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use codriver_inference::bench::measure_embedder;
use codriver_inference::{Cancellation, DeviceChoice, ModelError};
use fs_err::File;
use indicatif::ProgressBar;
use serde_json::json;

use crate::agent::store::find_model;

/// Measures on the texts of a file, a JSON list of strings; the vectors go to a file, a line of JSON
/// each.
pub(super) fn bench_embedder(
    name: &str,
    device: DeviceChoice,
    texts: &Path,
    vectors: Option<&Path>,
    as_json: bool,
    cancellation: &Cancellation,
) -> anyhow::Result<ExitCode> {
    let model = find_model(name, &super::workspace()).map_err(|reason| anyhow!(reason))?;
    let content = fs_err::read_to_string(texts)?;
    let list: Vec<String> = serde_json::from_str(&content)
        .with_context(|| format!("{} must hold a JSON list of texts, as [\"one\", \"another\"]", texts.display()))?;
    if list.is_empty() {
        bail!("{} holds no texts", texts.display());
    }
    let borrowed: Vec<&str> = list.iter().map(String::as_str).collect();
    let bar = ProgressBar::new(list.len() as u64);
    let measured = measure_embedder(
        &model.name,
        &model.path,
        device,
        &borrowed,
        cancellation,
        &mut |test| bar.set_message(test.to_owned()),
        &|done| bar.inc(done as u64),
    );
    bar.finish_and_clear();
    let report = match measured {
        Ok(report) => report,
        Err(ModelError::Cancelled) => return Ok(ExitCode::from(130)),
        Err(error) => return Err(error.into()),
    };
    if let Some(path) = vectors {
        let mut file = std::io::BufWriter::new(File::create(path)?);
        for vector in &report.vectors {
            writeln!(file, "{}", json!(vector))?;
        }
        file.flush()?;
    }
    if as_json {
        return super::print_json(&json!(report));
    }
    super::print(&format!(
        "{} on {}\n{:.0} texts a second ({} texts), {:.2} ms for one alone, loaded in {:.2} s\n",
        report.model,
        report.device,
        report.texts_per_second,
        report.texts,
        report.latency_seconds * 1e3,
        report.load_seconds,
    ))
}

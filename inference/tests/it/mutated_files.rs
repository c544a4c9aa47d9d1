//! Real model folders with something wrong in one file, by chance: any outcome is right but a
//! panic, a hang or memory without bound.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use codriver_inference::{
    Adapter, Cancellation, DeviceChoice, LocalModel, ModelError, OpenOptions, SamplingParameters, TextEmbedder,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use crate::memory::peak_memory;
use crate::reference::{fresh_seed, run};

proptest! {
    // As many as PROPTEST_CASES says; a few, other ones each time, where it says nothing.
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 40 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mutated_folders_end_in_a_model_or_an_error(victim in any::<usize>(), mutations in vec(mutation(), 1..4)) {
        let samples = samples();
        let (sample, name) = &samples.files[victim % samples.files.len()];
        let original = std::fs::read(samples.path(sample.folder).join(name)).unwrap();
        let mutated = mutations.iter().fold(original, |bytes, mutation| mutation.apply(&bytes, name));
        let copy = tempfile::tempdir().unwrap();
        copy_folder(&samples.path(sample.folder), copy.path());
        std::fs::write(copy.path().join(name), mutated).unwrap();
        let start = Instant::now();
        let place = format!("{}/{}", sample.folder, name.display());
        if let Err(error) = sample.kind.try_out(copy.path(), &samples.path("llama/model")) {
            let error = error.to_string();
            // How the engine reports a panic within the network.
            prop_assert!(!error.contains("the device failed"), "{place}: {error}");
            prop_assert!(error.len() < 5000, "{place}: {} bytes of error", error.len());
        }
        prop_assert!(start.elapsed() < Duration::from_secs(20), "{place}: {:?}", start.elapsed());
        prop_assert!(peak_memory() < 3 << 30, "{place}: {} bytes", peak_memory());
    }
}

/// Something wrong with a file. Places are shares of its length.
#[derive(Debug, Clone)]
enum Mutation {
    Flip {
        place: f64,
        bit: u8,
    },
    Cut {
        place: f64,
    },
    Repeat {
        from: f64,
        to: f64,
    },
    Write {
        place: f64,
        text: &'static str,
    },
    /// In place of a number of the file's text.
    Number {
        place: f64,
        text: &'static str,
    },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Half of the places are in the beginning, where headers are.
    let place = || prop_oneof![0.0..1.0, (0.0..1.0).prop_map(|place: f64| place.powi(6))];
    let texts = ["\"", "{", "]", ",", "null", "\u{0}", "é", "true", "[[[[[[[[", "base_model.model.", "\\ud800"];
    let numbers =
        ["0", "-1", "1", "3", "1e308", "4294967296", "18446744073709551615", "268435456", "null", "\"x\"", "[]", "1.5"];
    prop_oneof![
        1 => (place(), 0..8_u8).prop_map(|(place, bit)| Mutation::Flip { place, bit }),
        1 => place().prop_map(|place| Mutation::Cut { place }),
        1 => (place(), place()).prop_map(|(from, to)| Mutation::Repeat { from, to }),
        1 => (place(), select(texts.to_vec())).prop_map(|(place, text)| Mutation::Write { place, text }),
        3 => (place(), select(numbers.to_vec())).prop_map(|(place, text)| Mutation::Number { place, text }),
    ]
}

impl Mutation {
    /// The file with the mistake in it. Where that is in the header of a safetensors file, the
    /// header's length is kept right, so that what the header says is what is wrong.
    fn apply(&self, bytes: &[u8], name: &Path) -> Vec<u8> {
        let header = bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
        let header = header.and_then(|length| usize::try_from(length).ok()?.checked_add(8));
        match header
            .filter(|end| name.extension().is_some_and(|extension| extension == "safetensors") && *end <= bytes.len())
        {
            Some(end) if matches!(self, Self::Number { .. } | Self::Write { .. } | Self::Repeat { .. }) => {
                let header = self.edit(&bytes[8..end]);
                [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[end..]].concat()
            }
            _ => self.edit(bytes),
        }
    }

    fn edit(&self, bytes: &[u8]) -> Vec<u8> {
        let at = |place: f64| ((place * bytes.len() as f64) as usize).min(bytes.len());
        let splice = |from: usize, to: usize, text: &[u8]| [&bytes[..from], text, &bytes[to..]].concat();
        match *self {
            Self::Flip { place, bit } => {
                let mut bytes = bytes.to_vec();
                if let Some(byte) = bytes.get_mut(at(place)) {
                    *byte ^= 1 << bit;
                }
                bytes
            }
            Self::Cut { place } => bytes[..at(place)].to_vec(),
            Self::Repeat { from, to } => {
                let (from, to) = (at(from.min(to)), at(from.max(to)));
                splice(to, to, &bytes[from..to])
            }
            Self::Write { place, text } => splice(at(place), at(place), text.as_bytes()),
            Self::Number { place, text } => {
                let digit = |position: &usize| bytes[*position].is_ascii_digit();
                let Some(start) = (at(place)..bytes.len()).find(digit) else {
                    return bytes.to_vec();
                };
                let end = (start..bytes.len()).find(|position| !digit(position)).unwrap_or(bytes.len());
                splice(start, end, text.as_bytes())
            }
        }
    }
}

/// The folders that are mutated, and each of their files.
struct Samples {
    folder: TempDir,
    files: Vec<(Sample, PathBuf)>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    folder: &'static str,
    kind: Kind,
}

const SAMPLES: [Sample; 7] = [
    Sample { folder: "llama/model", kind: Kind::Decoder },
    Sample { folder: "llama/patterns", kind: Kind::Adapter },
    Sample { folder: "llama/dora", kind: Kind::Adapter },
    Sample { folder: "bert-all", kind: Kind::Encoder },
    Sample { folder: "xlm-roberta", kind: Kind::Encoder },
    Sample { folder: "mpnet", kind: Kind::Encoder },
    Sample { folder: "modernbert-biased", kind: Kind::Encoder },
];

fn samples() -> &'static Samples {
    static MADE: OnceLock<Samples> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (path, seed) = (folder.path().to_str().unwrap(), fresh_seed().to_string());
        let encoders = SAMPLES.iter().filter(|sample| matches!(sample.kind, Kind::Encoder));
        let encoders: Vec<&str> = encoders.map(|sample| sample.folder).collect();
        run("adapters.py", &[path, &seed]);
        run("encoders.py", &[&[path, &seed], &encoders[..]].concat());
        let files = SAMPLES.iter().flat_map(|sample| {
            let root = folder.path().join(sample.folder);
            sample.kind.try_out(&root, &folder.path().join("llama/model")).unwrap();
            files_below(&root, Path::new("")).into_iter().map(|file| (*sample, file))
        });
        let files = files.collect();
        Samples { folder, files }
    })
}

impl Samples {
    fn path(&self, folder: &str) -> PathBuf {
        self.folder.path().join(folder)
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Decoder,
    Adapter,
    Encoder,
}

impl Kind {
    /// Opens what is in the folder, an adapter on a `model`, and has it say something.
    fn try_out(self, folder: &Path, model: &Path) -> Result<(), ModelError> {
        let speak = |model: LocalModel| {
            let sampling = SamplingParameters { max_tokens: 3, ..SamplingParameters::default() };
            model.generate("w5 w6 w7", &sampling, &Cancellation::new(), &mut |_| {}).map(drop)
        };
        match self {
            Self::Decoder => speak(LocalModel::open(folder, DeviceChoice::Cpu)?),
            Self::Adapter => {
                let options = OpenOptions { adapters: vec![Adapter::new(folder)], ..OpenOptions::default() };
                speak(LocalModel::open_with(model, &options)?)
            }
            Self::Encoder => {
                let embedder = TextEmbedder::open(folder, DeviceChoice::Cpu)?;
                embedder.embed(&["the rows of a table", "", "and what they add up to"]).map(drop)
            }
        }
    }
}

/// The paths of all files in a folder, relative to `root`.
fn files_below(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|entry| {
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() { files_below(root, &path) } else { vec![path] }
        })
        .collect();
    files.sort();
    files
}

fn copy_folder(from: &Path, to: &Path) {
    for file in files_below(from, Path::new("")) {
        std::fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

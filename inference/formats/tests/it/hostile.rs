//! GGUF files from strangers: whatever is wrong in them is an error that names the file and says
//! what, and costs no more memory than the file's size justifies.

use std::path::Path;
use std::sync::LazyLock;

use codriver_formats::gguf::{GgufFile, GgufWriter, TensorType, Value};
use codriver_formats::quant;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};

use crate::allocation;

#[test]
fn every_truncation_is_an_error() {
    let whole = written(0);
    GgufFile::from_bytes(Path::new("whole.gguf"), whole.clone()).unwrap();
    // The last tensor's padding may be missing.
    let needed = whole.len() - 32;
    for length in 0..needed {
        let error = GgufFile::from_bytes(Path::new("cut.gguf"), whole[..length].to_vec()).unwrap_err().to_string();
        assert!(error.starts_with("cut.gguf: "), "{length} bytes: {error}");
    }
}

#[test]
fn absurd_claims_are_errors_that_say_what_is_wrong() {
    let header =
        |tensors: u64, entries: u64| [b"GGUF\x03\0\0\0", &tensors.to_le_bytes()[..], &entries.to_le_bytes()].concat();
    let entry = |key: &str, kind: u32, value: &[u8]| {
        [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), &kind.to_le_bytes(), value].concat()
    };
    let tensor = |name: &str, sizes: &[u64], kind: u32, offset: u64| {
        let sizes: Vec<u8> = [&(sizes.len() as u32).to_le_bytes()[..]]
            .into_iter()
            .map(<[u8]>::to_vec)
            .chain(sizes.iter().map(|size| size.to_le_bytes().to_vec()))
            .flatten()
            .collect();
        [&(name.len() as u64).to_le_bytes()[..], name.as_bytes(), &sizes, &kind.to_le_bytes(), &offset.to_le_bytes()]
            .concat()
    };
    let data = vec![0; 4096];
    let with_tensors = |tensors: &[Vec<u8>]| [header(tensors.len() as u64, 0), tensors.concat(), data.clone()].concat();
    let huge = u64::MAX.to_le_bytes();
    let list = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    let cases = [
        (b"".to_vec(), "empty"),
        (b"GGUF".to_vec(), "ends within"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "LFS"),
        (b"<!DOCTYPE html>".to_vec(), "web page"),
        (b"tjgg\x01\0\0\0".to_vec(), "before GGUF"),
        (b"GGUF\0\0\0\x03".to_vec(), "big-endian"),
        (b"GGUF\x01\0\0\0".to_vec(), "version 1"),
        (b"GGUF\x09\0\0\0".to_vec(), "version 9"),
        (header(1_000_000_000, 0), "1000000000 tensors"),
        (header(u64::MAX, 0), "tensors"),
        (header(0, 4_000_000_000), "4000000000 metadata entries"),
        ([header(0, 1), huge.to_vec(), vec![0; 64]].concat(), "ends within"),
        ([header(0, 1), entry("a", 8, &huge), vec![0; 64]].concat(), "ends within `a`"),
        ([header(0, 1), entry("a", 13, &[]), vec![0; 64]].concat(), "unknown type 13"),
        ([header(0, 1), entry("a", 9, &list(5, 1 << 40)), vec![0; 64]].concat(), "numbers in a list"),
        ([header(0, 1), entry("a", 9, &list(8, 1 << 60)), vec![0; 64]].concat(), "texts in a list"),
        ([header(0, 1), entry("a", 9, &list(9, 1)), list(5, 1), vec![0; 64]].concat(), "lists within a list"),
        ([header(0, 2), entry("a", 0, &[1]), entry("a", 0, &[2]), vec![0; 64]].concat(), "twice"),
        ([header(0, 1), entry("a", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]), vec![0; 64]].concat(), "UTF-8"),
        ([header(0, 1), entry("general.alignment", 4, &[0; 4]), vec![0; 64]].concat(), "power of two"),
        ([header(0, 1), entry("general.alignment", 4, &[48, 0, 0, 0]), vec![0; 64]].concat(), "power of two"),
        ([header(0, 1), entry("general.alignment", 8, &[0; 8]), vec![0; 64]].concat(), "general.alignment"),
        (with_tensors(&[tensor("t", &[4], 0, 1 << 50)]), "past the file's end"),
        (with_tensors(&[tensor("t", &[4], 0, u64::MAX - 31)]), "past the file's end"),
        (with_tensors(&[tensor("t", &[4], 0, 8)]), "multiple of 32"),
        (with_tensors(&[tensor("t", &[1 << 40, 1 << 40], 0, 0)]), "impossible dimensions"),
        (with_tensors(&[tensor("t", &[0, 4], 0, 0)]), "impossible dimensions"),
        (with_tensors(&[tensor("t", &[1 << 61], 0, 0)]), "past the file's end"),
        (with_tensors(&[tensor("t", &[1; 9], 0, 0)]), "9 dimensions"),
        (with_tensors(&[tensor("t", &[33], 2, 0)]), "rows of 33"),
        (with_tensors(&[tensor("t", &[4], 4, 0)]), "unknown type 4"),
        (with_tensors(&[tensor("t", &[4], 0, 0), tensor("t", &[4], 0, 32)]), "twice"),
        (with_tensors(&[tensor("t", &[64], 0, 0), tensor("u", &[64], 0, 32)]), "overlap"),
        ([header(0, 1), entry("split.count", 2, &[3, 0]), vec![0; 64]].concat(), "one of 3 parts"),
    ];
    for (bytes, expected) in cases {
        let (result, peak) = allocation::peak(|| GgufFile::from_bytes(Path::new("bad.gguf"), bytes));
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("bad.gguf: ") && error.contains(expected), "{expected}: {error}");
        assert!(peak < 1 << 20, "{expected}: {peak} bytes");
    }
}

#[test]
fn parts_that_are_missing_or_mixed_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let part = |name: &str, number: u16, count: u16| {
        let mut writer = GgufWriter::new(&path(name));
        writer.set("split.no", number);
        writer.set("split.count", count);
        writer.announce("a", &[4], TensorType::F32).unwrap();
        let mut file = writer.create().unwrap();
        file.write("a", &[0; 16]).unwrap();
        file.finish().unwrap();
    };
    let error = |name: &str| GgufFile::open(&path(name)).unwrap_err().to_string();
    part("model.gguf", 0, 2);
    assert!(error("model.gguf").contains("-00001-of-00002.gguf"));
    part("model-00001-of-00002.gguf", 0, 2);
    let missing = error("model-00001-of-00002.gguf");
    assert!(missing.contains("model-00002-of-00002.gguf") && missing.contains("missing"), "{missing}");
    part("model-00002-of-00002.gguf", 0, 2);
    assert!(error("model-00001-of-00002.gguf").contains("mixed"));
    part("model-00002-of-00002.gguf", 1, 2);
    assert!(error("model-00002-of-00002.gguf").contains("twice"));
    assert!(error("no such file.gguf").contains("no such file.gguf"));
}

proptest! {
    #![proptest_config(Config {
        cases: 4000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    })]

    #[test]
    fn mutated_files_are_read_or_refused(base in 0..3_u8, other in 0..3_u8, changes in changes()) {
        let mut bytes = written(base);
        let other = written(other);
        for change in changes {
            change.apply(&mut bytes, &other);
        }
        let (_, peak) = allocation::peak(|| exercise(bytes));
        prop_assert!(peak < 64 << 20, "{} bytes", peak);
    }
}

/// Does with a file what a loader would do.
fn exercise(bytes: Vec<u8>) {
    let Ok(file) = GgufFile::from_bytes(Path::new("mutated.gguf"), bytes) else { return };
    for (key, _) in file.metadata().iter() {
        drop(file.metadata().get::<&str>(key));
        drop(file.metadata().get::<usize>(key));
        drop(file.metadata().get::<Vec<i64>>(key));
    }
    for info in file.tensors() {
        let view = file.tensor(&info.name).unwrap();
        let read = view.dequantize();
        assert_eq!(read.is_ok(), quant::is_read(info.tensor_type), "{}", info.tensor_type);
    }
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip { at: usize, bit: u8 },
    Number { at: usize, value: u64 },
    Truncate { at: usize },
    Splice { at: usize, from: usize, length: usize },
    Repeat { at: usize, length: usize },
}

/// A few changes, most of them in the header, where most can go wrong.
fn changes() -> impl Strategy<Value = Vec<Mutation>> {
    let at = || prop_oneof![4 => 0..600_usize, 1 => 0..10_000_usize];
    let value = prop_oneof![
        any::<u64>(),
        0..64_u64,
        Just(u64::MAX),
        Just(1 << 63),
        Just(u64::from(u32::MAX)),
        (0..64_u32).prop_map(|shift| (1_u64 << shift).wrapping_sub(1)),
    ];
    let change = prop_oneof![
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        3 => (at(), value).prop_map(|(at, value)| Mutation::Number { at, value }),
        1 => at().prop_map(|at| Mutation::Truncate { at }),
        1 => (at(), at(), 1..200_usize).prop_map(|(at, from, length)| Mutation::Splice { at, from, length }),
        1 => (at(), 1..200_usize).prop_map(|(at, length)| Mutation::Repeat { at, length }),
    ];
    prop::collection::vec(change, 1..5)
}

impl Mutation {
    fn apply(self, bytes: &mut Vec<u8>, other: &[u8]) {
        let length = bytes.len();
        let place = |at: usize| at % length.max(1);
        match self {
            _ if bytes.is_empty() => {}
            Self::Flip { at, bit } => bytes[place(at)] ^= 1 << bit,
            Self::Number { at, value } => {
                for (byte, new) in bytes[place(at)..].iter_mut().zip(value.to_le_bytes()) {
                    *byte = new;
                }
            }
            Self::Truncate { at } => bytes.truncate(place(at)),
            Self::Splice { at, from, length } => {
                let from = from % other.len();
                let piece = &other[from..other.len().min(from + length)];
                bytes.splice(place(at)..place(at), piece.iter().copied());
            }
            Self::Repeat { at, length } => {
                let piece = bytes[place(at)..].iter().copied().take(length).collect::<Vec<_>>();
                bytes.splice(place(at)..place(at), piece);
            }
        }
    }
}

/// One of a few small models, with a vocabulary and tensors of many types.
fn written(kind: u8) -> Vec<u8> {
    static FILES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| [0, 1, 2].map(write));
    FILES[usize::from(kind)].clone()
}

fn write(kind: u8) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = GgufWriter::new(&path);
    writer.set("general.architecture", "llama");
    writer.set("llama.block_count", 1_u32);
    writer.set("llama.rope.freq_base", 10000.0_f32);
    writer.set("tokenizer.ggml.tokens", (0..20).map(|id| format!("token{id}")).collect::<Vec<_>>());
    writer.set("tokenizer.ggml.scores", vec![0.5_f32; 20]);
    writer.set("tokenizer.ggml.token_type", vec![1_i32; 20]);
    writer.set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    let types: &[TensorType] = match kind {
        0 => &[TensorType::F32, TensorType::Q4_K],
        1 => &[TensorType::Q8_0, TensorType::Q6_K, TensorType::F16, TensorType::Q2_K],
        _ => &[TensorType::Q3_K, TensorType::IQ4_XS, TensorType::Q5_1, TensorType::BF16, TensorType::Q5_K],
    };
    for tensor_type in types {
        writer.announce(&format!("blk.0.{tensor_type}.weight"), &[2, 256], *tensor_type).unwrap();
    }
    let mut file = writer.create().unwrap();
    for tensor_type in types {
        let bytes = quant::quantize(*tensor_type, &[0.125; 512]).unwrap();
        file.write(&format!("blk.0.{tensor_type}.weight"), &bytes).unwrap();
    }
    file.finish().unwrap();
    std::fs::read(path).unwrap()
}

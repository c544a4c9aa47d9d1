//! Files written here, as the Python package `gguf` reads them.

use std::path::Path;

use codriver_formats::gguf::{GgufFile, GgufWriter, TensorType, Value};
use codriver_formats::quant::quantize;
use serde_json::{Value as Json, json};

use crate::reference;

#[test]
fn the_reference_reader_finds_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.gguf");
    write(&path);
    let read = reference::run("gguf_files.py", &["read", path.to_str().unwrap()]);
    for (key, expected) in [
        ("general.architecture", json!("llama")),
        ("test.u8", json!(200)),
        ("test.i64", json!(i64::MIN)),
        ("test.u64", json!(u64::MAX)),
        ("test.f32", json!(0.15625)),
        ("test.f64", json!(-1e300)),
        ("test.bool", json!(true)),
        ("test.texts", json!(["größer", "", "数据"])),
        ("test.i32s", json!([-1, 2, -3])),
        ("test.flags", json!([true, false])),
    ] {
        assert_eq!(read["metadata"][key], expected, "{key}");
    }
    let expected: Vec<Json> = tensors()
        .into_iter()
        .map(|(name, shape, tensor_type, bytes)| {
            let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "name": name, "shape": shape, "type": tensor_type.name(), "bytes": bytes })
        })
        .collect();
    assert_eq!(read["tensors"], json!(expected));
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.gguf");
    write(&path);
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.metadata().require::<&str>("general.architecture").unwrap(), "llama");
    assert_eq!(file.metadata().require::<u64>("test.u64").unwrap(), u64::MAX);
    for (name, shape, tensor_type, bytes) in tensors() {
        let view = file.tensor(name).unwrap();
        assert_eq!((view.shape, view.tensor_type, view.bytes), (&shape[..], tensor_type, &bytes[..]));
    }
    let error = file.metadata().require::<&str>("test.u8").unwrap_err().to_string();
    assert!(error.contains("written.gguf") && error.contains("test.u8") && error.contains("200"), "{error}");
}

#[test]
fn an_unfinished_file_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.gguf");
    std::fs::write(&path, "the file before").unwrap();
    let mut writer = GgufWriter::new(&path);
    writer.announce("a", &[4], TensorType::F32).unwrap();
    writer.announce("b", &[4], TensorType::F32).unwrap();
    let mut file = writer.create().unwrap();
    assert!(file.write("b", &[0; 16]).is_err());
    assert!(file.finish().is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"the file before");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_a_file_cannot_hold_is_an_error() {
    let mut writer = GgufWriter::new(Path::new("x.gguf"));
    writer.announce("a", &[2, 256], TensorType::Q4_K).unwrap();
    for (name, shape) in [("a", &[256][..]), ("b", &[2, 255]), ("c", &[0, 256]), ("d", &[1, 1, 1, 1, 256])] {
        assert!(writer.announce(name, shape, TensorType::Q4_K).is_err(), "{name}");
    }
    assert!(writer.announce("e", &[usize::MAX, 256], TensorType::F32).is_err());
}

/// Some of every kind of metadata, and tensors whose sizes need padding.
fn write(path: &Path) {
    let mut writer = GgufWriter::new(path);
    writer.set("general.architecture", "replaced below");
    writer.set("general.architecture", "llama");
    writer.set("general.alignment", 4096_u32);
    for (key, value) in [
        ("test.u8", Value::U8(200)),
        ("test.i8", Value::I8(-100)),
        ("test.u16", Value::U16(60000)),
        ("test.i16", Value::I16(-30000)),
        ("test.u32", Value::U32(u32::MAX)),
        ("test.i32", Value::I32(i32::MIN)),
        ("test.u64", Value::U64(u64::MAX)),
        ("test.i64", Value::I64(i64::MIN)),
        ("test.f32", Value::F32(0.15625)),
        ("test.f64", Value::F64(-1e300)),
        ("test.bool", Value::Bool(true)),
        ("test.texts", vec!["größer".to_string(), String::new(), "数据".to_string()].into()),
        ("test.i32s", vec![-1, 2, -3].into()),
        ("test.flags", vec![true, false].into()),
    ] {
        writer.set(key, value);
    }
    for (name, shape, tensor_type, _) in tensors() {
        writer.announce(name, &shape, tensor_type).unwrap();
    }
    let mut file = writer.create().unwrap();
    for (name, _, _, bytes) in tensors() {
        file.write(name, &bytes).unwrap();
    }
    file.finish().unwrap();
}

fn tensors() -> Vec<(&'static str, Vec<usize>, TensorType, Vec<u8>)> {
    let values: Vec<f32> = (0..1024).map(|index| (index as f32 - 300.0) * 0.01).collect();
    [
        ("norm.weight", vec![5], TensorType::F32),
        ("a.weight", vec![2, 3, 32], TensorType::Q5_1),
        ("b.weight", vec![4, 256], TensorType::Q6_K),
        ("c.weight", vec![7, 3], TensorType::F16),
    ]
    .map(|(name, shape, tensor_type)| {
        let count = shape.iter().product();
        (name, shape, tensor_type, quantize(tensor_type, &values[..count]).unwrap())
    })
    .to_vec()
}

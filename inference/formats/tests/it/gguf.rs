//! GGUF files that the Python package `gguf` writes are read as it means them.

use std::path::Path;

use codriver_formats::gguf::{Array, GgufFile, Value};
use serde_json::Value as Json;

use crate::reference;

#[test]
fn files_of_the_reference_writer_are_read_as_it_means_them() {
    let folder = tempfile::tempdir().unwrap();
    let seed = reference::fresh_seed().to_string();
    let path = folder.path().to_str().unwrap();
    let written = reference::run("gguf_files.py", &["write", path, &seed]);
    for case in written.as_array().unwrap() {
        let file = GgufFile::open(Path::new(case["path"].as_str().unwrap())).unwrap();
        for (key, expected) in case["metadata"].as_object().unwrap() {
            let value = file.metadata().value(key).unwrap();
            assert!(same(&json(value), expected), "{key}: {value:?}, not {expected}");
        }
        let tensors = case["tensors"].as_array().unwrap();
        assert_eq!(file.tensors().len(), tensors.len());
        for expected in tensors {
            let view = file.tensor(expected["name"].as_str().unwrap()).unwrap();
            assert_eq!(serde_json::json!(view.shape), expected["shape"]);
            assert_eq!(view.tensor_type.name(), expected["type"]);
            let bytes: Vec<String> = view.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(bytes.concat(), expected["bytes"]);
        }
    }
}

/// Equality of 32-bit floats: JSON's decimals don't come back to the last bit of a double.
fn same(value: &Json, expected: &Json) -> bool {
    match (value, expected) {
        (Json::Array(values), Json::Array(expected)) => {
            values.len() == expected.len() && values.iter().zip(expected).all(|(value, expected)| same(value, expected))
        }
        (Json::Number(value), Json::Number(expected)) if value.is_f64() => {
            value.as_f64().map(|value| value as f32) == expected.as_f64().map(|expected| expected as f32)
        }
        (value, expected) => value == expected,
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::U8(number) => Json::from(*number),
        Value::I8(number) => Json::from(*number),
        Value::U16(number) => Json::from(*number),
        Value::I16(number) => Json::from(*number),
        Value::U32(number) => Json::from(*number),
        Value::I32(number) => Json::from(*number),
        Value::U64(number) => Json::from(*number),
        Value::I64(number) => Json::from(*number),
        Value::F32(number) => Json::from(*number),
        Value::F64(number) => Json::from(*number),
        Value::Bool(flag) => Json::from(*flag),
        Value::String(text) => Json::from(text.as_str()),
        Value::Array(Array::U8(list)) => Json::from(list.as_slice()),
        Value::Array(Array::I32(list)) => Json::from(list.as_slice()),
        Value::Array(Array::F32(list)) => Json::from(list.as_slice()),
        Value::Array(Array::Bool(list)) => Json::from(list.as_slice()),
        Value::Array(Array::String(list)) => Json::from(list.as_slice()),
        Value::Array(other) => panic!("the reference writes no {other:?}"),
    }
}

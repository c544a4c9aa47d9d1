//! Which tensor gets which type, and its bytes, as llama.cpp's quantizer has it.

use std::ops::ControlFlow;
use std::path::Path;

use codriver_formats::convert::{FileType, convert_to_gguf};
use codriver_formats::gguf::GgufFile;

use crate::reference;

#[test]
fn files_are_those_of_llama_cpp_tensor_for_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let seed = reference::fresh_seed().to_string();
    let cases = reference::run("mixtures.py", &[folder.path().to_str().unwrap(), &seed]);
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        for file_type in FileType::all() {
            let made = GgufFile::open(Path::new(case["made"][file_type.name()].as_str().unwrap())).unwrap();
            let path = folder.path().join("here.gguf");
            let source = Path::new(case["source"].as_str().unwrap());
            convert_to_gguf(source, &path, file_type, &mut |_| ControlFlow::Continue(())).unwrap();
            let here = GgufFile::open(&path).unwrap();
            assert_eq!(here.tensors().len(), made.tensors().len());
            let number = |file: &GgufFile| file.metadata().get::<u32>("general.file_type").unwrap();
            assert_eq!(number(&here), number(&made));
            for tensor in made.tensors() {
                let (made, here) = (made.tensor(&tensor.name).unwrap(), here.tensor(&tensor.name).unwrap());
                if (made.tensor_type, made.bytes) != (here.tensor_type, here.bytes) {
                    let types = format!("{} there, {} here", made.tensor_type, here.tensor_type);
                    wrong.push(format!("{file_type} of {}: {}: {types}", case["what"], tensor.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} tensors differ:\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
}

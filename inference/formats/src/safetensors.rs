//! Weights in safetensors files, mapped into memory.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata};
use safetensors::{SafeTensorError, SafeTensors};

use crate::file_bytes::OpenFile;
use crate::gguf::TensorType;
use crate::{FileBytes, FormatError};

/// A safetensors file.
pub struct SafetensorsFile {
    path: PathBuf,
    bytes: Bytes,
    metadata: Metadata,
    /// Where the tensors' data starts in the file.
    start: usize,
}

/// Where a file's bytes are.
enum Bytes {
    Mapped(Mmap, Arc<OpenFile>),
    /// In the program.
    Held(&'static [u8]),
}

/// The files of a model's folder: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` names.
///
/// # Errors
/// There are neither, or the index leads out of the folder.
pub fn paths(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let single = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    if single.exists() {
        return Ok(vec![single]);
    }
    if index.exists() {
        return shards(folder, &index);
    }
    Err(FormatError::new(
        folder,
        "has neither model.safetensors nor model.safetensors.index.json; pickled weights (.bin) are not \
         read: get the model's safetensors files, or give the path of a .gguf file",
    ))
}

/// The distinct shards an index names, all of them inside the folder.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, FormatError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let error = |reason: String| FormatError::new(index, reason);
    let text = fs_err::read(index).map_err(|failure| error(failure.kind().to_string()))?;
    let parsed: Index =
        serde_json::from_slice(&text).map_err(|failure| error(format!("not the JSON expected: {failure}")))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(error("names no shards".to_string()));
    }
    let inside = |name: &String| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if let Some(outside) = names.iter().find(|name| !inside(name)) {
        return Err(error(format!("names a shard outside of its folder: {outside}")));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

impl SafetensorsFile {
    /// Maps a file.
    ///
    /// # Errors
    /// It can't be opened, or is no safetensors file.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let file = OpenFile::open(path)?;
        Self::of(path, Bytes::Mapped(file.map()?, file))
    }

    /// Reads what is part of the program; `path` is for errors.
    ///
    /// # Errors
    /// It is no safetensors file.
    pub fn read(path: &Path, bytes: &'static [u8]) -> Result<Self, FormatError> {
        Self::of(path, Bytes::Held(bytes))
    }

    fn of(path: &Path, bytes: Bytes) -> Result<Self, FormatError> {
        let (header, metadata) =
            SafeTensors::read_metadata(bytes.all()).map_err(|error| FormatError::new(path, explain(&error)))?;
        Ok(Self { path: path.to_path_buf(), bytes, metadata, start: size_of::<u64>() + header })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// A tensor's shape, if the file has the tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    /// Some of a tensor's numbers, in row-major order, in 32 bits.
    ///
    /// # Errors
    /// The file does not hold them, or their type is none of floats.
    pub fn values(&self, name: &str, elements: Range<usize>) -> Result<Vec<f32>, FormatError> {
        let missing = || FormatError::new(&self.path, format!("tensor {name} reaches past the end"));
        let info = self.metadata.info(name).ok_or_else(missing)?;
        let (from, to) = info.data_offsets;
        let width = info.dtype.bitsize() / 8;
        if elements.end * width > to - from {
            return Err(missing());
        }
        let start = self.start + from;
        let bytes = self.bytes.read(start + elements.start * width..start + elements.end * width)?;
        floats(&bytes.ok_or_else(missing)?, info.dtype).ok_or_else(|| {
            let reason = format!("tensor {name} is {:?}; the types read are F32, F16, BF16 and F64", info.dtype);
            FormatError::new(&self.path, reason)
        })
    }

    /// A tensor's bytes, and the GGUF type whose bits they are; `None` where there is no such tensor
    /// or type.
    pub fn bits(&self, name: &str) -> Option<(TensorType, &[u8])> {
        let info = self.metadata.info(name)?;
        let tensor_type = match info.dtype {
            Dtype::F32 => TensorType::F32,
            Dtype::F16 => TensorType::F16,
            Dtype::BF16 => TensorType::BF16,
            _ => return None,
        };
        let (from, to) = info.data_offsets;
        Some((tensor_type, self.bytes.all().get(self.start + from..self.start + to)?))
    }

    /// Some of a tensor's bytes, to be read later; `None` where they are part of the program, or there is
    /// no such tensor or not so many bytes of it.
    pub fn bytes_later(&self, name: &str, range: Range<usize>) -> Option<FileBytes> {
        let Bytes::Mapped(_, file) = &self.bytes else { return None };
        let (from, to) = self.metadata.info(name)?.data_offsets;
        let start = self.start + from;
        (range.end <= to - from).then(|| FileBytes::new(file, start + range.start..start + range.end))
    }
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Self::Mapped(map, _) => map,
            Self::Held(bytes) => bytes,
        }
    }

    /// Some of them; `None` where there are not so many.
    fn read(&self, range: Range<usize>) -> Result<Option<Cow<'_, [u8]>>, FormatError> {
        match self {
            Self::Mapped(_, file) => file.read(range).map(|bytes| Some(Cow::Owned(bytes))),
            Self::Held(bytes) => Ok(bytes.get(range).map(Cow::Borrowed)),
        }
    }
}

fn explain(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::MetadataIncompleteBuffer | SafeTensorError::InvalidHeaderLength => {
            "the file is truncated or has data past its end; download it again".to_string()
        }
        SafeTensorError::HeaderTooSmall | SafeTensorError::HeaderTooLarge => {
            "not a safetensors file (its header size is absurd); it may be an LFS pointer or a web page".to_string()
        }
        error => format!("not a valid safetensors file: {error}"),
    }
}

/// Little-endian numbers of any float type as `f32`; `None` for other types.
fn floats(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    match dtype {
        Dtype::F32 => Some(numbers(bytes, f32::from_le_bytes)),
        Dtype::F64 => Some(numbers(bytes, |number| f64::from_le_bytes(number) as f32)),
        Dtype::F16 => Some(numbers(bytes, f16::from_le_bytes).to_f32_vec()),
        Dtype::BF16 => Some(numbers(bytes, bf16::from_le_bytes).to_f32_vec()),
        _ => None,
    }
}

fn numbers<const SIZE: usize, T>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| number(*chunk)).collect()
}

//! GGUF, the single-file container of llama.cpp: metadata as typed keys and values, then tensors
//! in blocks of quantized numbers (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! Versions 2 and 3 are read, little-endian, whole or split over `NAME-00001-of-0000N.gguf`;
//! version 3 is written.

pub mod architecture;
mod metadata;
mod parse;
mod split;
mod tensor_type;
mod writer;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

pub use metadata::{Array, FromValue, Metadata, Value};
pub use tensor_type::TensorType;
pub use writer::{GgufWriter, TensorWriter};

use crate::file_bytes::OpenFile;
use crate::{FileBytes, FormatError};

/// The first four bytes of every GGUF file.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
/// Tensors start at multiples of this many bytes where `general.alignment` says nothing else.
pub const DEFAULT_ALIGNMENT: usize = 32;

/// An open GGUF file, or all parts of a split one, mapped into memory.
#[derive(Debug)]
pub struct GgufFile {
    parts: Vec<Part>,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Where each name is in `tensors`.
    positions: HashMap<String, usize>,
}

/// One file on disk.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap, Arc<OpenFile>),
    Owned(Vec<u8>),
}

/// What the file says about a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// Row-major, outermost dimension first, as PyTorch and Hugging Face count; the file has it the
    /// other way around. Rows (the last dimension) are whole blocks of the type.
    pub shape: Vec<usize>,
    pub tensor_type: TensorType,
    /// Which part of a split file holds it.
    part: usize,
    /// Where in that part; checked to lie inside.
    range: Range<usize>,
}

/// A tensor's bytes as they are in the file.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    pub name: &'a str,
    /// Row-major, outermost dimension first.
    pub shape: &'a [usize],
    pub tensor_type: TensorType,
    pub bytes: &'a [u8],
}

impl GgufFile {
    /// Opens a file, and with any part of a split model all of its parts, which lie beside it.
    ///
    /// # Errors
    /// Whatever in the files is not as the format says, down to tensors that overlap.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        split::open(path)
    }

    /// Reads a file that is already in memory; `path` is for its errors.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, FormatError> {
        let part = Part { path: path.to_path_buf(), bytes: Bytes::Owned(bytes) };
        let (metadata, tensors) = parse::parse(path, part.bytes(), 0)?;
        if let Some(count) = split::count(&metadata)? {
            let reason = format!("is one of {count} parts; open the model by the path of its file");
            return Err(FormatError::new(path, reason));
        }
        Self::assemble(vec![part], metadata, tensors)
    }

    fn assemble(parts: Vec<Part>, metadata: Metadata, tensors: Vec<TensorInfo>) -> Result<Self, FormatError> {
        let mut positions = HashMap::with_capacity(tensors.len());
        for (position, tensor) in tensors.iter().enumerate() {
            if positions.insert(tensor.name.clone(), position).is_some() {
                let path = parts.get(tensor.part).map_or(metadata.path(), |part| &part.path);
                let reason = format!("holds the tensor `{}` twice; the file is damaged", tensor.name);
                return Err(FormatError::new(path, reason));
            }
        }
        Ok(Self { parts, metadata, tensors, positions })
    }

    /// The file, or the first part.
    pub fn path(&self) -> &Path {
        self.metadata.path()
    }

    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors, in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    pub fn contains(&self, name: &str) -> bool {
        self.positions.contains_key(name)
    }

    /// What the file says about a tensor, if it has it.
    pub fn tensor_info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(*self.positions.get(name)?)
    }

    /// A tensor by its name.
    ///
    /// # Errors
    /// The file has no such tensor.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, FormatError> {
        let found = self.tensor_info(name).and_then(|info| self.view(info));
        found.ok_or_else(|| {
            let reason = format!("tensor `{name}` is missing; the file may be incomplete: get it again");
            FormatError::new(self.path(), reason)
        })
    }

    /// Some of a tensor's bytes, to be read later; `None` where the file is in memory, or has no such
    /// tensor or not so many bytes of it.
    pub fn bytes_later(&self, name: &str, range: Range<usize>) -> Option<FileBytes> {
        let info = self.tensor_info(name).filter(|info| range.end <= info.range.len())?;
        match &self.parts.get(info.part)?.bytes {
            Bytes::Mapped(_, file) => {
                Some(FileBytes::new(file, info.range.start + range.start..info.range.start + range.end))
            }
            Bytes::Owned(_) => None,
        }
    }

    /// The bytes of all tensors together.
    pub fn tensor_bytes(&self) -> usize {
        self.tensors.iter().map(|tensor| tensor.range.len()).sum()
    }

    fn view<'a>(&'a self, info: &'a TensorInfo) -> Option<TensorView<'a>> {
        let bytes = self.parts.get(info.part)?.bytes().get(info.range.clone())?;
        Some(TensorView { name: &info.name, shape: &info.shape, tensor_type: info.tensor_type, bytes })
    }
}

impl Part {
    fn map(path: &Path) -> Result<Self, FormatError> {
        let file = OpenFile::open(path)?;
        Ok(Self { path: path.to_path_buf(), bytes: Bytes::Mapped(file.map()?, file) })
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(bytes, _) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

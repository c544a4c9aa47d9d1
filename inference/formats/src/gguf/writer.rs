use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{Array, DEFAULT_ALIGNMENT, MAGIC, TensorType, Value};
use crate::FormatError;

const VERSION: u32 = 3;

/// A GGUF file to be: keys, values and the tensors that it will hold.
///
/// The header comes before the tensors' bytes in a file, so all are announced first
/// ([`GgufWriter::announce`]), then written one by one in the same order ([`TensorWriter::write`]).
/// The file appears under its name when it is whole.
#[derive(Debug)]
pub struct GgufWriter {
    path: PathBuf,
    entries: Vec<(String, Value)>,
    tensors: Vec<Announced>,
    names: HashSet<String>,
    /// Where the next tensor starts, from the start of the tensors.
    offset: usize,
}

#[derive(Debug)]
struct Announced {
    name: String,
    shape: Vec<usize>,
    tensor_type: TensorType,
    offset: usize,
    bytes: usize,
}

/// A file whose header is written, waiting for its tensors.
#[derive(Debug)]
pub struct TensorWriter {
    path: PathBuf,
    partial: PathBuf,
    /// What the whole file takes.
    bytes: usize,
    file: std::io::BufWriter<fs::File>,
    tensors: std::vec::IntoIter<Announced>,
}

impl GgufWriter {
    /// A file that will be at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), entries: Vec::new(), tensors: Vec::new(), names: HashSet::new(), offset: 0 }
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a metadata key, in place of the value that it had.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.into(),
            None => self.entries.push((key.to_string(), value.into())),
        }
    }

    /// The value that a metadata key has by now.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Announces a tensor; `shape` is row-major, outermost dimension first.
    ///
    /// # Errors
    /// The name is taken, or the shape is nothing that the type and the format can hold.
    pub fn announce(&mut self, name: &str, shape: &[usize], tensor_type: TensorType) -> Result<(), FormatError> {
        let row = shape.last().copied().unwrap_or(1);
        let elements = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let bytes = elements.and_then(|elements| tensor_type.bytes_of(elements));
        let fits = shape.len() <= 4 && !shape.contains(&0) && row.is_multiple_of(tensor_type.block_size());
        let (Some(bytes), true) = (bytes, fits) else {
            let reason = format!(
                "tensor `{name}` of shape {shape:?} can't be {tensor_type}: rows must be multiples of {}",
                tensor_type.block_size()
            );
            return Err(self.error(reason));
        };
        if !self.names.insert(name.to_string()) {
            return Err(self.error(format!("the tensor `{name}` is there twice")));
        }
        let end = self.offset.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(DEFAULT_ALIGNMENT));
        let end = end.ok_or_else(|| self.error("is larger than files can be"))?;
        let (name, shape, offset) = (name.to_string(), shape.to_vec(), self.offset);
        self.tensors.push(Announced { name, shape, tensor_type, offset, bytes });
        self.offset = end;
        Ok(())
    }

    /// Writes the header into a partial file beside the path.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn create(mut self) -> Result<TensorWriter, FormatError> {
        // Tensors are laid out at the default, whatever a file that was copied from said.
        self.entries.retain(|(key, _)| key != "general.alignment");
        let header = self.header();
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| self.error("is no path of a file"))?;
        let partial = self.path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let file = fs::File::create(&partial).map_err(|error| FormatError::new(&partial, error.kind()))?;
        let bytes = header.len().next_multiple_of(DEFAULT_ALIGNMENT) + self.offset;
        let reserved = rustix::fs::fallocate(file.file(), FallocateFlags::empty(), 0, bytes as u64);
        let mut writer = TensorWriter {
            bytes,
            path: self.path,
            partial,
            file: std::io::BufWriter::with_capacity(1 << 20, file),
            tensors: self.tensors.into_iter(),
        };
        // A disk that is too small says so now, not after an hour. Not every file system can.
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) = reserved {
            return Err(writer.failed(&error.into()));
        }
        writer.append(&header)?;
        writer.pad(header.len())?;
        Ok(writer)
    }

    fn header(&self) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            put_string(&mut header, key);
            put_value(&mut header, value);
        }
        for tensor in &self.tensors {
            put_string(&mut header, &tensor.name);
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            for size in tensor.shape.iter().rev() {
                header.extend((*size as u64).to_le_bytes());
            }
            header.extend(tensor.tensor_type.number().to_le_bytes());
            header.extend((tensor.offset as u64).to_le_bytes());
        }
        header
    }

    fn error(&self, reason: impl ToString) -> FormatError {
        FormatError::new(&self.path, reason)
    }
}

impl TensorWriter {
    /// Writes the next announced tensor.
    ///
    /// # Errors
    /// Another tensor is next, the bytes are too many or too few, or the disk is full.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), FormatError> {
        match self.tensors.next() {
            Some(next) if next.name == name && next.bytes == bytes.len() => {
                self.append(bytes)?;
                self.pad(bytes.len())
            }
            Some(next) => {
                let reason = format!(
                    "expected the {} bytes of tensor `{}` next, not {} of `{name}`",
                    next.bytes,
                    next.name,
                    bytes.len()
                );
                Err(FormatError::new(&self.path, reason))
            }
            None => Err(FormatError::new(&self.path, format!("the tensor `{name}` was not announced"))),
        }
    }

    /// Gives the whole file its name, in place of a file that had it.
    ///
    /// # Errors
    /// Announced tensors are missing, or the disk failed.
    pub fn finish(mut self) -> Result<(), FormatError> {
        if let Some(missing) = self.tensors.next() {
            return Err(FormatError::new(&self.path, format!("tensor `{}` was not written", missing.name)));
        }
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|error| self.failed(&error))?;
        fs::rename(&self.partial, &self.path).map_err(|error| FormatError::new(&self.path, error.kind()))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.file.write_all(bytes).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> FormatError {
        let reason = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => format!(
                "the disk has no room for its {:.1} MB ({}); make room, or write it to another disk. Nothing was written",
                self.bytes as f64 / 1e6,
                error.kind()
            ),
            _ => format!("can't be written: {error}"),
        };
        FormatError::new(&self.path, reason)
    }

    /// Fills up to the alignment after `length` bytes from an aligned place.
    fn pad(&mut self, length: usize) -> Result<(), FormatError> {
        let padding = length.next_multiple_of(DEFAULT_ALIGNMENT) - length;
        self.append(&[0; DEFAULT_ALIGNMENT][..padding])
    }
}

impl Drop for TensorWriter {
    fn drop(&mut self) {
        // Gone already where the file was finished.
        if self.partial.exists()
            && let Err(error) = fs::remove_file(&self.partial)
        {
            eprintln!("a partial file stays behind: {error}");
        }
    }
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    bytes.extend(value_type(value).to_le_bytes());
    match value {
        Value::U8(number) => bytes.push(*number),
        Value::I8(number) => bytes.extend(number.to_le_bytes()),
        Value::U16(number) => bytes.extend(number.to_le_bytes()),
        Value::I16(number) => bytes.extend(number.to_le_bytes()),
        Value::U32(number) => bytes.extend(number.to_le_bytes()),
        Value::I32(number) => bytes.extend(number.to_le_bytes()),
        Value::U64(number) => bytes.extend(number.to_le_bytes()),
        Value::I64(number) => bytes.extend(number.to_le_bytes()),
        Value::F32(number) => bytes.extend(number.to_le_bytes()),
        Value::F64(number) => bytes.extend(number.to_le_bytes()),
        Value::Bool(flag) => bytes.push((*flag).into()),
        Value::String(text) => put_string(bytes, text),
        Value::Array(array) => put_array(bytes, array),
    }
}

fn put_array(bytes: &mut Vec<u8>, array: &Array) {
    bytes.extend(element_type(array).to_le_bytes());
    bytes.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(list) => bytes.extend(list),
        Array::I8(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::U16(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::I16(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::U32(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::I32(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::U64(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::I64(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::F32(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::F64(list) => bytes.extend(list.iter().flat_map(|number| number.to_le_bytes())),
        Array::Bool(list) => bytes.extend(list.iter().map(|flag| u8::from(*flag))),
        Array::String(list) => list.iter().for_each(|text| put_string(bytes, text)),
    }
}

fn value_type(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn element_type(array: &Array) -> u32 {
    match array {
        Array::U8(_) => 0,
        Array::I8(_) => 1,
        Array::U16(_) => 2,
        Array::I16(_) => 3,
        Array::U32(_) => 4,
        Array::I32(_) => 5,
        Array::F32(_) => 6,
        Array::Bool(_) => 7,
        Array::String(_) => 8,
        Array::U64(_) => 10,
        Array::I64(_) => 11,
        Array::F64(_) => 12,
    }
}

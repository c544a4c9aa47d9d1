//! The header of one file: counts, keys and values, tensor infos. Every number in it is a claim
//! that is checked against the bytes that are there before it is believed.

use std::path::Path;

use super::{Array, DEFAULT_ALIGNMENT, MAGIC, Metadata, TensorInfo, TensorType, Value};
use crate::FormatError;

/// ggml's tensors have no more dimensions.
const MAX_DIMENSIONS: u32 = 4;
/// A tensor's entry in a file: a name's length, a dimension count, a type and an offset.
const LEAST_TENSOR_BYTES: usize = 8 + 4 + 4 + 8;
/// A metadata entry: a key's length, a type, a value of one byte.
const LEAST_ENTRY_BYTES: usize = 8 + 4 + 1;

/// Parses the file in `bytes`, which is part number `part` of its model.
pub(super) fn parse(path: &Path, bytes: &[u8], part: usize) -> Result<(Metadata, Vec<TensorInfo>), FormatError> {
    let mut reader = Reader { path, bytes, position: 0 };
    reader.magic_and_version()?;
    let tensor_count = reader.count("tensors", LEAST_TENSOR_BYTES)?;
    let entry_count = reader.count("metadata entries", LEAST_ENTRY_BYTES)?;
    let mut metadata = Metadata::new(path);
    for _ in 0..entry_count {
        let key = reader.string("a metadata key")?;
        let value = reader.entry_value(&key)?;
        if !metadata.insert(key.clone(), value) {
            return Err(reader.error(format!("has the metadata key `{}` twice; the file is damaged", shortened(&key))));
        }
    }
    let alignment = alignment(&metadata)?;
    let mut claims = Vec::with_capacity(tensor_count);
    for _ in 0..tensor_count {
        claims.push(reader.tensor_claim()?);
    }
    let start = reader.position.checked_next_multiple_of(alignment);
    let start = start.ok_or_else(|| reader.error(format!("general.alignment {alignment} overflows")))?;
    let mut tensors = Vec::with_capacity(claims.len());
    for claim in claims {
        tensors.push(locate(&reader, claim, part, start, alignment)?);
    }
    check_overlaps(&reader, &tensors)?;
    Ok((metadata, tensors))
}

fn alignment(metadata: &Metadata) -> Result<usize, FormatError> {
    let alignment = metadata.get::<u32>("general.alignment")?;
    let alignment = alignment.map_or(DEFAULT_ALIGNMENT, |alignment| alignment as usize);
    if !alignment.is_power_of_two() {
        let reason = format!("general.alignment is {alignment}, which is no power of two; the file is damaged");
        return Err(metadata.error(reason));
    }
    Ok(alignment)
}

/// What the header says of a tensor, dimensions in the file's order.
struct TensorClaim {
    name: String,
    dimensions: Vec<u64>,
    type_number: u32,
    offset: u64,
}

/// Finds a tensor's bytes, if they are where the header says.
fn locate(
    reader: &Reader,
    claim: TensorClaim,
    part: usize,
    start: usize,
    alignment: usize,
) -> Result<TensorInfo, FormatError> {
    let name = shortened(&claim.name);
    let Some(tensor_type) = TensorType::from_number(claim.type_number) else {
        let number = claim.type_number;
        return Err(reader.error(format!(
            "tensor `{name}` has the unknown type {number}; the file is damaged or newer than this program"
        )));
    };
    let dimensions: Option<Vec<usize>> =
        claim.dimensions.iter().rev().map(|size| usize::try_from(*size).ok().filter(|size| *size > 0)).collect();
    let shape = dimensions.filter(|shape| checked_product(shape).is_some()).ok_or_else(|| {
        let dimensions = &claim.dimensions;
        reader.error(format!("tensor `{name}` has the impossible dimensions {dimensions:?}; the file is damaged"))
    })?;
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(tensor_type.block_size()) {
        let block = tensor_type.block_size();
        return Err(reader.error(format!(
            "tensor `{name}` has rows of {row}, which {tensor_type} with its blocks of {block} can't hold; the file is damaged"
        )));
    }
    let inside = || {
        let offset = usize::try_from(claim.offset).ok()?;
        let from = start.checked_add(offset)?;
        let to = from.checked_add(tensor_type.bytes_of(checked_product(&shape)?)?)?;
        (to <= reader.bytes.len()).then_some(from..to)
    };
    let range = inside().ok_or_else(|| {
        reader.error(format!(
            "tensor `{name}` ({tensor_type} {shape:?}) reaches past the file's end; the download is incomplete: get it again"
        ))
    })?;
    if !claim.offset.is_multiple_of(alignment as u64) {
        let offset = claim.offset;
        return Err(reader.error(format!(
            "tensor `{name}` starts at {offset}, not at a multiple of {alignment}; the file is damaged"
        )));
    }
    Ok(TensorInfo { name: claim.name, shape, tensor_type, part, range })
}

/// Without this, a small file could claim to be a large model: all tensors in the same bytes.
fn check_overlaps(reader: &Reader, tensors: &[TensorInfo]) -> Result<(), FormatError> {
    let mut in_order: Vec<&TensorInfo> = tensors.iter().collect();
    in_order.sort_by_key(|tensor| tensor.range.start);
    for (tensor, next) in in_order.iter().zip(in_order.iter().skip(1)) {
        if next.range.start < tensor.range.end {
            let (name, next) = (shortened(&tensor.name), shortened(&next.name));
            return Err(reader.error(format!("tensors `{name}` and `{next}` overlap; the file is damaged")));
        }
    }
    Ok(())
}

fn checked_product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}

/// Names come from the file and go into errors.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 80 {
        return name.to_string();
    }
    format!("{}…", name.chars().take(80).collect::<String>())
}

struct Reader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn magic_and_version(&mut self) -> Result<(), FormatError> {
        if self.bytes.get(..4) != Some(MAGIC) {
            return Err(self.error(foreign(self.bytes)));
        }
        self.position = 4;
        let version = self.number("the version", u32::from_le_bytes)?;
        match version {
            2 | 3 => Ok(()),
            1 => {
                Err(self.error("is GGUF version 1, which was in use for weeks in 2023; get a newer file of the model"))
            }
            // The version is small, so the zero half tells the byte order.
            swapped if swapped != 0 && swapped.trailing_zeros() >= 16 => Err(self.error(
                "is a big-endian GGUF file, which is not read here; get the little-endian file, \
                 or convert it with gguf-convert-endian of the Python package gguf",
            )),
            newer => Err(self.error(format!(
                "is GGUF version {newer}; versions 2 and 3 are read here: update Codriver or get another file"
            ))),
        }
    }

    /// How many of something follow, each of at least `least` bytes.
    fn count(&mut self, what: &str, least: usize) -> Result<usize, FormatError> {
        let count = self.number("a count", u64::from_le_bytes)?;
        let remaining = self.bytes.len() - self.position;
        let fits = usize::try_from(count).ok().filter(|count| *count <= remaining / least.max(1));
        fits.ok_or_else(|| {
            self.error(format!(
                "says that it has {count} {what}, for which it is too short; the file is damaged or its download incomplete"
            ))
        })
    }

    fn tensor_claim(&mut self) -> Result<TensorClaim, FormatError> {
        let name = self.string("a tensor's name")?;
        let count = self.number("a tensor's dimensions", u32::from_le_bytes)?;
        if count > MAX_DIMENSIONS {
            let name = shortened(&name);
            return Err(self.error(format!(
                "tensor `{name}` has {count} dimensions; more than {MAX_DIMENSIONS} there can't be: the file is damaged"
            )));
        }
        let dimensions =
            (0..count).map(|_| self.number("a tensor's dimensions", u64::from_le_bytes)).collect::<Result<_, _>>()?;
        Ok(TensorClaim {
            name,
            dimensions,
            type_number: self.number("a tensor's type", u32::from_le_bytes)?,
            offset: self.number("a tensor's offset", u64::from_le_bytes)?,
        })
    }

    fn entry_value(&mut self, key: &str) -> Result<Value, FormatError> {
        let type_number = self.number("a value's type", u32::from_le_bytes)?;
        Ok(match type_number {
            0 => Value::U8(self.number(key, u8::from_le_bytes)?),
            1 => Value::I8(self.number(key, i8::from_le_bytes)?),
            2 => Value::U16(self.number(key, u16::from_le_bytes)?),
            3 => Value::I16(self.number(key, i16::from_le_bytes)?),
            4 => Value::U32(self.number(key, u32::from_le_bytes)?),
            5 => Value::I32(self.number(key, i32::from_le_bytes)?),
            6 => Value::F32(self.number(key, f32::from_le_bytes)?),
            7 => Value::Bool(self.number(key, flag)?),
            8 => Value::String(self.string(key)?),
            9 => Value::Array(self.array(key)?),
            10 => Value::U64(self.number(key, u64::from_le_bytes)?),
            11 => Value::I64(self.number(key, i64::from_le_bytes)?),
            12 => Value::F64(self.number(key, f64::from_le_bytes)?),
            other => return Err(self.unknown_type(key, other)),
        })
    }

    fn array(&mut self, key: &str) -> Result<Array, FormatError> {
        let type_number = self.number("a list's type", u32::from_le_bytes)?;
        Ok(match type_number {
            0 => Array::U8(self.numbers(key, u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(key, i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(key, u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(key, i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(key, u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(key, i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(key, f32::from_le_bytes)?),
            7 => Array::Bool(self.numbers(key, flag)?),
            8 => {
                let count = self.count("texts in a list", size_of::<u64>())?;
                let strings = (0..count).map(|_| self.string(key));
                Array::String(strings.collect::<Result<_, _>>()?)
            }
            9 => {
                let key = shortened(key);
                return Err(self.error(format!(
                    "the metadata key `{key}` holds lists within a list, which no known model has; the file is damaged"
                )));
            }
            10 => Array::U64(self.numbers(key, u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(key, i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(key, f64::from_le_bytes)?),
            other => return Err(self.unknown_type(key, other)),
        })
    }

    fn numbers<const SIZE: usize, T>(
        &mut self,
        key: &str,
        number: impl Fn([u8; SIZE]) -> T,
    ) -> Result<Vec<T>, FormatError> {
        let count = self.count("numbers in a list", SIZE)?;
        // The count was checked against the bytes that remain, so the product can't overflow.
        let (chunks, _) = self.take(count * SIZE, key)?.as_chunks();
        Ok(chunks.iter().map(|chunk| number(*chunk)).collect())
    }

    fn number<const SIZE: usize, T>(&mut self, what: &str, number: impl Fn([u8; SIZE]) -> T) -> Result<T, FormatError> {
        let bytes = self.take(SIZE, what)?.first_chunk();
        bytes.map(|bytes| number(*bytes)).ok_or_else(|| self.truncated(what))
    }

    fn string(&mut self, what: &str) -> Result<String, FormatError> {
        let length = self.number(what, u64::from_le_bytes)?;
        let length = usize::try_from(length).map_err(|_| self.truncated(what))?;
        let bytes = self.take(length, what)?;
        let text = std::str::from_utf8(bytes).map_err(|_| {
            let what = shortened(what);
            self.error(format!("`{what}` is not UTF-8 text; the file is damaged"))
        })?;
        Ok(text.to_string())
    }

    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], FormatError> {
        let end = self.position.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        let taken = taken.ok_or_else(|| self.truncated(what))?;
        self.position += length;
        Ok(taken)
    }

    fn truncated(&self, what: &str) -> FormatError {
        let what = shortened(what);
        self.error(format!("ends within `{what}`; the download is incomplete or the file damaged: get it again"))
    }

    fn unknown_type(&self, key: &str, number: u32) -> FormatError {
        let key = shortened(key);
        self.error(format!("the metadata key `{key}` has the unknown type {number}; the file is damaged"))
    }

    fn error(&self, reason: impl ToString) -> FormatError {
        FormatError::new(self.path, reason)
    }
}

fn flag([byte]: [u8; 1]) -> bool {
    byte != 0
}

/// What a file is that does not start with `GGUF`.
fn foreign(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "is empty; the download failed: get it again",
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => {
            "is a Git LFS pointer, not the model; fetch the file itself (git lfs pull)"
        }
        [b'<', ..] => "is a web page, not a model; download the file itself",
        [b'l' | b't' | b'f', b'm' | b'j', b'g', b'g', ..] => {
            "is in one of the formats before GGUF (2023); get a GGUF file of the model"
        }
        _ => "is not a GGUF file (it does not start with `GGUF`)",
    }
}

//! Tables that `%%sql -o name` keeps.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::str::FromStr;

/// A table, its cells as DuckDB prints them; `None` is NULL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// A column's name and DuckDB's name of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub data_type: String,
}

/// Why there is no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError(String);

impl fmt::Display for FrameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for FrameError {}

/// The frame (or table or view) called `name`.
pub fn frame(name: &str) -> Result<Frame, FrameError> {
    let path = std::env::var_os(super::SOCKET)
        .ok_or_else(|| FrameError("frames exist only in a notebook's Rust cells".to_owned()))?;
    let broken = |error: std::io::Error| FrameError(format!("the kernel did not answer: {error}"));
    let mut stream = UnixStream::connect(path).map_err(broken)?;
    stream.write_all(format!("frame {}\n{name}", name.len()).as_bytes()).map_err(broken)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(broken)?;
    match answer.split_first() {
        Some((b'+', body)) => {
            decode(&mut Reader(body)).ok_or_else(|| FrameError("the kernel's answer broke off".to_owned()))
        }
        Some((_, message)) => Err(FrameError(String::from_utf8_lossy(message).into_owned())),
        None => Err(FrameError("the kernel did not answer".to_owned())),
    }
}

impl Frame {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The cells of a column read as `T`; NULL and what does not parse are `None`.
    ///
    /// # Panics
    /// If there is no column of this name.
    pub fn column<T: FromStr>(&self, name: &str) -> Vec<Option<T>> {
        let Some(index) = self.columns.iter().position(|column| column.name == name) else {
            let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
            panic!("no column {name:?}; there are {}", names.join(", "));
        };
        self.rows.iter().map(|row| row[index].as_ref().and_then(|cell| cell.parse().ok())).collect()
    }
}

/// Reads what the kernel wrote: counts and lengths as big-endian `u32`, NULL as `u32::MAX`.
fn decode(reader: &mut Reader<'_>) -> Option<Frame> {
    let width = reader.number()?;
    let mut frame = Frame::default();
    for _ in 0..width {
        frame.columns.push(Column { name: reader.text()??, data_type: reader.text()?? });
    }
    for _ in 0..reader.number()? {
        frame.rows.push((0..width).map(|_| reader.text()).collect::<Option<_>>()?);
    }
    Some(frame)
}

struct Reader<'bytes>(&'bytes [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn text(&mut self) -> Option<Option<String>> {
        let length = self.number()?;
        if length == u32::MAX {
            return Some(None);
        }
        let (text, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(Some(String::from_utf8_lossy(text).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_nulls_and_refuses_what_broke_off() {
        let mut bytes = 1u32.to_be_bytes().to_vec();
        for text in ["n", "BIGINT"] {
            bytes.extend((text.len() as u32).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(2u32.to_be_bytes());
        bytes.extend(1u32.to_be_bytes());
        bytes.extend(b"7");
        bytes.extend(u32::MAX.to_be_bytes());
        let frame = decode(&mut Reader(&bytes)).unwrap();
        assert_eq!(frame.column::<i64>("n"), vec![Some(7), None]);
        assert_eq!(decode(&mut Reader(&bytes[..bytes.len() - 1])), None);
    }

    #[test]
    fn outside_a_notebook_frames_are_errors() {
        assert!(frame("x").is_err());
    }
}

//! Frames on their way to a Rust cell: counts and lengths as big-endian `u32`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::languages::sql::{Frame, SqlEngine};

/// Rows a cell is given at most; past it the answer is an error, not a part.
const MOST_ROWS: usize = 5_000_000;

/// Answers one `cell::frame(name)`.
pub fn answer(mut stream: UnixStream, length: usize, frames: Option<&SqlEngine>) -> std::io::Result<()> {
    let mut name = vec![0; length];
    stream.read_exact(&mut name)?;
    let name = String::from_utf8_lossy(&name);
    let frame = match frames {
        Some(engine) => engine.frame(&name, MOST_ROWS).map_err(|error| error.value),
        None => Err("this session has no frames".to_owned()),
    };
    let bytes = match frame {
        Ok(frame) if frame.rows.len() < frame.total_rows => error_bytes(&format!(
            "{name} has {} rows; at most {MOST_ROWS} fit into a frame, so select fewer",
            frame.total_rows
        )),
        Ok(frame) => encode(&frame),
        Err(message) => error_bytes(&message),
    };
    stream.write_all(&bytes)
}

/// The length-prefixed strings of a payload.
pub fn strings(payload: &[u8]) -> Vec<String> {
    let mut strings = Vec::new();
    let mut rest = payload;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((text, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            break;
        };
        strings.push(String::from_utf8_lossy(text).into_owned());
        rest = after;
    }
    strings
}

fn error_bytes(message: &str) -> Vec<u8> {
    format!("-{message}").into_bytes()
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = vec![b'+'];
    number(&mut bytes, frame.columns.len());
    for column in &frame.columns {
        text(&mut bytes, Some(&column.name));
        text(&mut bytes, Some(&column.data_type));
    }
    number(&mut bytes, frame.rows.len());
    for cell in frame.rows.iter().flatten() {
        text(&mut bytes, cell.as_deref());
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            number(bytes, text.len());
            bytes.extend(text.as_bytes());
        }
        None => bytes.extend(u32::MAX.to_be_bytes()),
    }
}

fn number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend(u32::try_from(number).unwrap_or(u32::MAX - 1).to_be_bytes());
}

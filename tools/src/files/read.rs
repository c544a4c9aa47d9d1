//! Reading text, a piece at a time, however large the file.

use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use super::open::Opened;
use super::{FileError, Workspace, shown};

/// The lines to read, counted from 1, both ends included. `last: None` reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRange {
    pub first: usize,
    pub last: Option<usize>,
}

/// A piece of a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    pub path: String,
    /// Of the whole file.
    pub bytes: u64,
    /// Of the whole file; `None` where it was too large to count.
    pub total_lines: Option<usize>,
    /// The number of the first of `lines`.
    pub first_line: usize,
    /// Without line ends. A line longer than [`Workspace::LONGEST_LINE`] is cut and says so.
    pub lines: Vec<String>,
    /// Lines end in CR LF.
    pub carriage_returns: bool,
    /// Some bytes were not UTF-8 and are shown as `�`.
    pub lossy: bool,
}

impl FileText {
    /// The number of the last of `lines`.
    pub fn last_line(&self) -> usize {
        self.first_line + self.lines.len().saturating_sub(1)
    }

    /// Whether there is more after `lines`.
    pub fn has_more(&self) -> bool {
        self.total_lines.is_none_or(|total| self.last_line() < total)
    }
}

impl Workspace {
    pub const LONGEST_LINE: usize = 2000;
    /// Beyond this many bytes lines are no longer counted.
    const MOST_COUNTED: u64 = 512 << 20;

    /// Reads lines of a text file: at most `most_lines` and `most_bytes`.
    pub fn read(
        &self,
        path: &str,
        range: LineRange,
        most_lines: usize,
        most_bytes: usize,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<FileText, FileError> {
        let relative = self.relative(path)?;
        let (mut file, bytes) = match self.open_at(&relative)? {
            Opened::File { file, size } => (file, size),
            Opened::Folder(_) => return Err(FileError::IsFolder(shown(&relative))),
        };
        let io = |error| FileError::io(&relative, error);
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(HEAD).read_to_end(&mut head).map_err(io)?;
        if let Some(kind) = binary_kind(&head, &relative) {
            return Err(FileError::Binary { path: shown(&relative), kind, size: crate::text::bytes(bytes) });
        }
        file.rewind().map_err(io)?;

        let mut text = FileText {
            path: shown(&relative),
            bytes,
            total_lines: None,
            first_line: range.first.max(1),
            lines: Vec::new(),
            carriage_returns: false,
            lossy: false,
        };
        let last = range.last.unwrap_or(usize::MAX).min(text.first_line.saturating_add(most_lines - 1));
        let mut reader = Lines::new(BufReader::with_capacity(1 << 18, file), Self::LONGEST_LINE);
        let mut budget = most_bytes;
        let mut number = 0;
        while let Some(line) = reader.next(interrupted).map_err(|error| error.explain(&relative))? {
            number += 1;
            if number >= text.first_line && number <= last && budget > 0 {
                budget = text.push(line, budget);
            }
            if reader.consumed > Self::MOST_COUNTED && (number >= last || budget == 0) {
                return Ok(text);
            }
        }
        text.total_lines = Some(number);
        if text.first_line > number.max(1) {
            return Err(FileError::PastEnd { path: text.path, line: text.first_line, total: number });
        }
        Ok(text)
    }
}

impl FileText {
    /// Adds a line if it fits; returns what is left to spend, 0 once one did not.
    fn push(&mut self, line: Line<'_>, budget: usize) -> usize {
        let mut bytes = line.bytes;
        if self.first_line + self.lines.len() == 1 {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        if let Some(without) = bytes.strip_suffix(b"\r") {
            self.carriage_returns = true;
            bytes = without;
        }
        let mut shown = String::from_utf8_lossy(bytes).into_owned();
        if line.cut > 0 {
            // The cut may have split a character: that is no fault of the file.
            let whole = shown.trim_end_matches('\u{fffd}').len();
            shown.truncate(whole);
            shown.push_str(&format!(" … ({} more on this line)", crate::text::bytes(line.cut)));
        } else {
            self.lossy |= std::str::from_utf8(bytes).is_err();
        }
        if shown.len() > budget && !self.lines.is_empty() {
            return 0;
        }
        let left = budget.saturating_sub(shown.len() + 1);
        self.lines.push(shown);
        left
    }
}

/// How much of a file is looked at to tell text from binary.
pub(super) const HEAD: u64 = 8192;

/// What kind of binary file this is; `None` for text.
pub(super) fn binary_kind(head: &[u8], path: &Path) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 12] = [
        (b"\x89PNG", "PNG image"),
        (b"\xff\xd8\xff", "JPEG image"),
        (b"GIF8", "GIF image"),
        (b"%PDF", "PDF document"),
        (b"PAR1", "Parquet table"),
        (b"ARROW1", "Arrow table"),
        (b"SQLite format 3", "SQLite database"),
        (b"PK\x03\x04", "ZIP archive"),
        (b"\x1f\x8b", "gzip archive"),
        (b"\x28\xb5\x2f\xfd", "Zstandard archive"),
        (b"\x7fELF", "ELF program"),
        (b"\xff\xfe", "UTF-16 text"),
    ];
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(kind);
    }
    if !head.contains(&0) {
        return None;
    }
    if head.get(8..12) == Some(b"DUCK") {
        return Some("DuckDB database");
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    Some(match extension.as_deref() {
        Some("safetensors" | "gguf" | "onnx") => "model weights",
        Some("wasm") => "WebAssembly module",
        _ => "unknown kind",
    })
}

/// Lines of a reader, none of which is held whole if it is too long.
pub(super) struct Lines<R> {
    reader: R,
    longest: usize,
    line: Vec<u8>,
    pub(super) consumed: u64,
    unchecked: usize,
}

pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    /// How many bytes at its end were left out.
    pub(super) cut: u64,
}

pub(super) enum LinesError {
    Interrupted,
    Io(std::io::Error),
}

impl LinesError {
    fn explain(self, path: &Path) -> FileError {
        match self {
            Self::Interrupted => FileError::Interrupted,
            Self::Io(error) => FileError::io(path, error),
        }
    }
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, longest: usize) -> Self {
        Self { reader, longest, line: Vec::new(), consumed: 0, unchecked: 0 }
    }

    /// The next line without its `\n`.
    pub(super) fn next(&mut self, interrupted: &dyn Fn() -> bool) -> Result<Option<Line<'_>>, LinesError> {
        const CHECK_EVERY: usize = 1 << 20;
        self.line.clear();
        let mut cut = 0;
        let mut any = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LinesError::Io(error)),
            };
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            let kept = piece.len().min(self.longest - self.line.len());
            self.line.extend_from_slice(&piece[..kept]);
            cut += (piece.len() - kept) as u64;
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            self.consumed += used as u64;
            self.unchecked += used;
            if self.unchecked >= CHECK_EVERY {
                self.unchecked = 0;
                if interrupted() {
                    return Err(LinesError::Interrupted);
                }
            }
            if end.is_some() {
                break;
            }
        }
        Ok(any.then_some(Line { bytes: &self.line, cut }))
    }
}

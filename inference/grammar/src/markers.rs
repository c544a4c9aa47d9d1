//! Markers in an answer that is still coming, in bytes.

/// Finds markers across tokens.
#[derive(Debug, Default)]
pub(crate) struct MarkerSearch {
    /// What may be the beginning of a marker, or comes after the last one found.
    tail: Vec<u8>,
    /// Whether all text since the last marker is white space or the comma or semicolon between
    /// two calls.
    blank: bool,
}

/// A marker, and whether anything was said before it.
pub(crate) struct Found {
    pub index: usize,
    pub after_blank: bool,
}

impl MarkerSearch {
    pub(crate) fn new() -> Self {
        Self { tail: Vec::new(), blank: true }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// The first of the markers in what was pushed; the search goes on behind it.
    pub(crate) fn next(&mut self, markers: &[&str]) -> Option<Found> {
        let find = |marker: &str| self.tail.windows(marker.len()).position(|window| window == marker.as_bytes());
        let found = markers
            .iter()
            .enumerate()
            .filter(|(_, marker)| !marker.is_empty())
            .filter_map(|(index, marker)| Some((find(marker)?, index, marker.len())))
            // Of markers at one place the longest.
            .min_by_key(|(position, _, length)| (*position, std::cmp::Reverse(*length)));
        if let Some((position, index, length)) = found {
            self.pass(position);
            let after_blank = self.blank;
            self.tail.drain(..length);
            self.blank = true;
            return Some(Found { index, after_blank });
        }
        let longest = markers.iter().map(|marker| marker.len()).max().unwrap_or(0);
        self.pass(self.tail.len().saturating_sub(longest.saturating_sub(1)));
        None
    }

    /// Takes what was pushed and is not part of a marker.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.tail)
    }

    fn pass(&mut self, length: usize) {
        let passed = self.tail.drain(..length);
        let blank = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b',');
        self.blank = passed.fold(self.blank, |so_far, byte| so_far && blank(byte));
    }
}

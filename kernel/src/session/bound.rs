//! How much text a cell may stream.

/// Bytes of text a cell may stream before the rest is dropped. It stays under what a Jupyter
/// server passes on in one burst (3 MB in 3 seconds). `CODRIVER_OUTPUT_LIMIT` changes it.
pub const OUTPUT_LIMIT: usize = 2_000_000;

/// Keeps the head of what one cell streams and counts the rest.
#[derive(Debug)]
pub struct StreamBound {
    left: usize,
    kept: usize,
    dropped: usize,
}

impl Default for StreamBound {
    /// The limit of this process.
    fn default() -> Self {
        let limit = std::env::var("CODRIVER_OUTPUT_LIMIT").ok().and_then(|value| value.parse().ok());
        Self { left: limit.unwrap_or(OUTPUT_LIMIT), kept: 0, dropped: 0 }
    }
}

impl StreamBound {
    /// What of `text` may be shown. Once something is dropped, everything after it is: no holes.
    pub fn keep(&mut self, mut text: String) -> String {
        let keep = text.floor_char_boundary(self.left);
        self.kept += keep;
        self.dropped += text.len() - keep;
        self.left = if keep < text.len() { 0 } else { self.left - keep };
        text.truncate(keep);
        text
    }

    /// What to say at the cell's end, if anything was dropped.
    pub fn notice(&self) -> Option<String> {
        (self.dropped > 0).then(|| {
            format!(
                "\n[output cut: {} kept, {} dropped; CODRIVER_OUTPUT_LIMIT sets the limit in bytes]\n",
                megabytes(self.kept),
                megabytes(self.dropped),
            )
        })
    }
}

fn megabytes(bytes: usize) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::StreamBound;

    #[test]
    fn keeps_the_head_without_holes_and_counts_the_rest() {
        let mut bound = StreamBound { left: 5, kept: 0, dropped: 0 };
        assert_eq!(bound.keep("abc".to_owned()), "abc");
        assert_eq!(bound.notice(), None);
        // The limit falls into a character of two bytes.
        assert_eq!(bound.keep("dää".to_owned()), "d");
        assert_eq!(bound.keep("e".to_owned()), "");
        assert_eq!((bound.kept, bound.dropped), (4, 5));
        assert!(bound.notice().is_some());
    }
}

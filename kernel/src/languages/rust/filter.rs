//! Tells a cell's own text from what evcxr and the `cell` crate put between it.
//!
//! evcxr speaks through the user process' stdout in lines that begin with `EVCXR_`; the
//! `cell` crate and the setup code in escape sequences that say their own length.

const ESCAPE: &[u8] = b"\x1b]codriver;";
const EVCXR: &[u8] = b"EVCXR_";
const BEGIN_CONTENT: &[u8] = b"EVCXR_BEGIN_CONTENT ";
const END_CONTENT: &[u8] = b"\nEVCXR_END_CONTENT\n";
const PANIC: &[u8] = b"EVCXR_PANIC_NOTIFICATION\n";
/// Lines meant for evcxr itself.
const LINES: &[&[u8]] = &[
    b"EVCXR_EXECUTION_COMPLETE\n",
    PANIC,
    b"EVCXR_ERROR_OCCURRED\n",
    b"EVCXR_VARIABLE_CHANGED_TYPE:",
    b"EVCXR_INPUT_REQUEST:",
    b"EVCXR_INPUT_REQUEST_PASSWORD:",
];
/// A header longer than this is somebody's own escape sequence.
const LONGEST_HEADER: usize = 64;

/// A stretch of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(Vec<u8>),
    /// A line for evcxr, without its end.
    Line(String),
    /// A block of evcxr's display convention.
    Content {
        mime: String,
        body: String,
    },
    /// An escape sequence of ours.
    Message {
        kind: String,
        payload: Vec<u8>,
    },
}

/// Takes bytes as they come; holds back only what may be the beginning of a marker.
#[derive(Debug, Default)]
pub struct Filter {
    buffer: Vec<u8>,
}

impl Filter {
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.buffer.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        let mut position = 0;
        let mut text_start = 0;
        while position < self.buffer.len() {
            let rest = &self.buffer[position..];
            match recognize(rest) {
                Found::Nothing => position += 1,
                Found::Incomplete => break,
                Found::Piece(piece, length) => {
                    text(&mut pieces, &self.buffer[text_start..position]);
                    pieces.push(piece);
                    position += length;
                    text_start = position;
                }
            }
        }
        text(&mut pieces, &self.buffer[text_start..position]);
        self.buffer.drain(..position);
        pieces
    }

    /// Whether a few bytes wait for what follows them.
    pub fn holds_a_prefix(&self) -> bool {
        !self.buffer.is_empty() && self.buffer.len() < ESCAPE.len()
    }

    /// The held back bytes, when nothing followed them for a while.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        self.holds_a_prefix().then(|| std::mem::take(&mut self.buffer))
    }

    /// What was held back when the stream ended.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}

fn text(pieces: &mut Vec<Piece>, bytes: &[u8]) {
    if !bytes.is_empty() {
        pieces.push(Piece::Text(bytes.to_vec()));
    }
}

enum Found {
    Nothing,
    Incomplete,
    Piece(Piece, usize),
}

fn recognize(rest: &[u8]) -> Found {
    match rest[0] {
        b'E' => recognize_evcxr(rest),
        0x1b => recognize_message(rest),
        _ => Found::Nothing,
    }
}

fn recognize_evcxr(rest: &[u8]) -> Found {
    if begins(EVCXR, rest) && rest.len() < EVCXR.len() {
        return Found::Incomplete;
    }
    if rest.starts_with(BEGIN_CONTENT) {
        return recognize_content(rest);
    }
    let longer_than_shown = |marker: &&[u8]| begins(marker, rest) && rest.len() < marker.len();
    if LINES.iter().any(longer_than_shown) || longer_than_shown(&BEGIN_CONTENT) {
        return Found::Incomplete;
    }
    if !LINES.iter().any(|marker| rest.starts_with(marker)) {
        return Found::Nothing;
    }
    match find(rest, b"\n") {
        Some(end) => Found::Piece(Piece::Line(lossy(&rest[..end])), end + 1),
        None => Found::Incomplete,
    }
}

fn recognize_content(rest: &[u8]) -> Found {
    let Some(header) = find(rest, b"\n") else {
        return Found::Incomplete;
    };
    let mime = lossy(&rest[BEGIN_CONTENT.len()..header]);
    // The newline before the end marker may be the header's own, when the body is empty.
    let body = &rest[header..];
    let end = find(body, END_CONTENT);
    let panicked = find(body, PANIC);
    match (end, panicked) {
        (Some(end), panicked) if panicked.is_none_or(|panicked| end < panicked) => {
            let shown = body.get(1..end).unwrap_or_default();
            Found::Piece(Piece::Content { mime, body: lossy(shown) }, header + end + END_CONTENT.len())
        }
        // A display that panicked half way never ends.
        (_, Some(panicked)) => Found::Piece(
            Piece::Content { mime, body: lossy(body.get(1..panicked).unwrap_or_default()) },
            header + panicked,
        ),
        _ => Found::Incomplete,
    }
}

fn recognize_message(rest: &[u8]) -> Found {
    if !begins(ESCAPE, rest) {
        return Found::Nothing;
    }
    if rest.len() < ESCAPE.len() {
        return Found::Incomplete;
    }
    let Some(bell) = find(rest, b"\x07") else {
        return if rest.len() > LONGEST_HEADER { Found::Nothing } else { Found::Incomplete };
    };
    let header = lossy(&rest[ESCAPE.len()..bell]);
    let Some((kind, length)) =
        header.split_once(';').and_then(|(kind, length)| Some((kind, length.parse::<usize>().ok()?)))
    else {
        return Found::Nothing;
    };
    match rest.get(bell + 1..bell + 1 + length) {
        Some(payload) => {
            Found::Piece(Piece::Message { kind: kind.to_owned(), payload: payload.to_vec() }, bell + 1 + length)
        }
        None => Found::Incomplete,
    }
}

/// Whether `marker` and `rest` agree as far as both go.
fn begins(marker: &[u8], rest: &[u8]) -> bool {
    let length = marker.len().min(rest.len());
    marker[..length] == rest[..length]
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, payload: &str) -> Piece {
        Piece::Message { kind: kind.to_owned(), payload: payload.as_bytes().to_vec() }
    }

    const STREAM: &str = "half a lineEVCXR_BEGIN_CONTENT text/html\n<b>\nx</b>\nEVCXR_END_CONTENT\nEVCXR_OTHER \u{1b}[31mred\u{1b}]codriver;display;5\u{7}EVCXRé\nEVCXR_EXECUTION_COMPLETE\n";

    #[test]
    fn text_markers_and_messages_are_told_apart() {
        let pieces = Filter::default().push(STREAM.as_bytes());
        assert_eq!(
            pieces,
            vec![
                Piece::Text(b"half a line".to_vec()),
                Piece::Content { mime: "text/html".to_owned(), body: "<b>\nx</b>".to_owned() },
                Piece::Text("EVCXR_OTHER \u{1b}[31mred".as_bytes().to_vec()),
                message("display", "EVCXR"),
                Piece::Text("é\n".as_bytes().to_vec()),
                Piece::Line("EVCXR_EXECUTION_COMPLETE".to_owned()),
            ]
        );
    }

    #[test]
    fn pieces_do_not_depend_on_how_bytes_arrive() {
        let whole = Filter::default().push(STREAM.as_bytes());
        let mut filter = Filter::default();
        let mut joined: Vec<Piece> = Vec::new();
        for byte in STREAM.bytes() {
            for piece in filter.push(&[byte]) {
                match (joined.last_mut(), piece) {
                    (Some(Piece::Text(text)), Piece::Text(more)) => text.extend(more),
                    (_, piece) => joined.push(piece),
                }
            }
        }
        assert_eq!(joined, whole);
        assert!(filter.finish().is_empty());
    }

    #[test]
    fn only_what_may_be_a_marker_is_held_back() {
        let mut filter = Filter::default();
        assert_eq!(filter.push(b"progress: 10%\rEV"), vec![Piece::Text(b"progress: 10%\r".to_vec())]);
        assert_eq!(filter.push(b"EN"), vec![Piece::Text(b"EVEN".to_vec())]);
    }

    #[test]
    fn a_display_that_panics_ends_at_the_panic() {
        let pieces = Filter::default().push(b"EVCXR_BEGIN_CONTENT text/plain\nhalf\nEVCXR_PANIC_NOTIFICATION\n");
        assert_eq!(pieces.last(), Some(&Piece::Line("EVCXR_PANIC_NOTIFICATION".to_owned())));
    }

    #[test]
    fn empty_content_is_content() {
        let pieces = Filter::default().push(b"EVCXR_BEGIN_CONTENT text/plain\n\nEVCXR_END_CONTENT\n");
        assert_eq!(pieces, vec![Piece::Content { mime: "text/plain".to_owned(), body: String::new() }]);
    }
}

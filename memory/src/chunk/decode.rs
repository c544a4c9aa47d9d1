//! Bytes to text, whatever encoding they are in.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Bytes looked at to tell text from what is not.
const HEAD: usize = 8 * 1024;

/// The text of a file: UTF-8 or UTF-16, by the byte order mark if there is one, or else Windows-1252, which Latin-1 is a
/// part of. `None` if it is not text.
pub fn decode(bytes: &[u8]) -> Option<String> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        let (text, _) = encoding.decode_without_bom_handling(bytes.get(mark..).unwrap_or_default());
        return is_text(&text).then(|| text.into_owned());
    }
    if let Some(encoding) = utf_16(bytes) {
        let (text, malformed) = encoding.decode_without_bom_handling(bytes);
        return (!malformed && is_text(&text)).then(|| text.into_owned());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return is_text(text).then(|| text.to_owned());
    }
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(bytes);
    let head = text.get(..text.floor_char_boundary(HEAD)).unwrap_or_default();
    let strange = head.chars().filter(|character| character.is_control() && !character.is_whitespace()).count();
    (is_text(&text) && strange * 50 <= head.len()).then(|| text.into_owned())
}

fn is_text(text: &str) -> bool {
    !text.contains('\0')
}

/// UTF-16 without a mark: every other byte of most languages' text is zero.
fn utf_16(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..bytes.len().min(HEAD) & !1)?;
    if head.len() < 4 || !bytes.len().is_multiple_of(2) {
        return None;
    }
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let half = head.len() / 2;
    match (even * 100 / half, odd * 100 / half) {
        (0..=1, 40..) => Some(UTF_16LE),
        (40.., 0..=1) => Some(UTF_16BE),
        _ => None,
    }
}

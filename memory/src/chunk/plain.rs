//! Text that no grammar knows: paragraphs, and what indentation says about configuration and other languages' code.

use super::outline::{LINE, Outline, PARAGRAPH};
use super::text::{CLOSING, Text};

/// Levels of indentation told apart.
const DEEPEST: usize = 200;

/// The less a line is indented, the better is the place before it; behind an empty line it is better still.
pub(super) fn outline(text: &Text<'_>) -> Outline {
    let mut outline = Outline::new(text);
    let mut after_empty = true;
    for line in 0..text.lines() {
        let content = text.line(line);
        let trimmed = content.trim_start();
        let opens = !trimmed.is_empty() && !trimmed.trim_end().chars().all(|character| CLOSING.contains(character));
        if opens {
            let indentation = (content.len() - trimmed.len()).min(DEEPEST) as u32;
            outline.cut(line, PARAGRAPH + 2 * indentation + u32::from(!after_empty));
        }
        after_empty = trimmed.is_empty();
    }
    debug_assert!(outline.cuts.iter().all(|cut| *cut <= LINE));
    outline
}

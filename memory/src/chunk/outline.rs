//! Where a text may be cut and what its parts are called; and the cutting.

use std::ops::Range;

use super::text::{CLOSING, Text};
use super::{Chunk, Place, STEP};

/// Tokens of a piece. With its title it fits in the 256 that small embedding models read.
pub const BUDGET: usize = 200;

/// A piece that is less says little on its own.
const SLIGHT: usize = 24;

/// What a piece may exceed the budget by to take in a slight neighbour.
const STRETCH: usize = 40;

/// What a block that belongs together (a code block, a table in Markdown) may have and still stay whole.
const WHOLE: usize = 4 * BUDGET;

/// Bytes of a piece: white space has no tokens.
const MOST_BYTES: usize = 16 * 1024;

/// How good a place before a line is to cut; smaller is better. Below come the levels of a syntax or of headings.
pub(super) const PARAGRAPH: u32 = 9_000;
pub(super) const LINE: u32 = 10_000;
/// Inside what should stay whole.
pub(super) const WITHIN: u32 = 15_000;

/// Names in a title, and letters of a name.
const MOST_NAMES: usize = 4;
const LONGEST_NAME: usize = 80;

/// Something with a name that pieces lie in, or hold.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub range: Range<usize>,
    pub name: String,
    /// The scope around it, an earlier one of the list.
    pub parent: Option<usize>,
}

/// What is known about a text's shape.
pub(super) struct Outline {
    /// A line each: how good it is to cut before it.
    pub cuts: Vec<u32>,
    /// In the order of their beginnings, outer ones first.
    pub scopes: Vec<Scope>,
}

impl Outline {
    /// Lines are cut anywhere, none better than the other.
    pub fn new(text: &Text<'_>) -> Self {
        Self { cuts: vec![LINE; text.lines()], scopes: Vec::new() }
    }

    /// Makes the place before a line at least as good to cut as this.
    pub fn cut(&mut self, line: usize, quality: u32) {
        if let Some(cut) = self.cuts.get_mut(line) {
            *cut = quality.min(*cut);
        }
    }

    /// The pieces of the text, with titles that begin with `name`.
    pub fn chunks(&self, name: &str, text: &Text<'_>) -> Vec<Chunk> {
        let mut pieces = Vec::new();
        self.split(text, 0..text.lines(), &mut pieces);
        let pieces = self.join(text, pieces);
        let mut chunks: Vec<Chunk> = Vec::with_capacity(pieces.len());
        let (mut last, mut part) = (String::new(), 1);
        for piece in pieces {
            let title = self.title(name, text, &piece);
            part = if title == last { part + 1 } else { 1 };
            let numbered = if part == 1 { title.clone() } else { format!("{title} ({part})") };
            last = title;
            let trimmed = text.trimmed(&piece);
            let lines = Place::Lines {
                first: text.line_of(trimmed.start) + 1,
                last: text.line_of(trimmed.end.saturating_sub(1).max(trimmed.start)) + 1,
            };
            chunks.push(Chunk { title: numbered, text: text.slice(&piece).to_owned(), place: lines });
        }
        chunks
    }

    /// Cuts lines at the best places until the pieces are small enough.
    fn split(&self, text: &Text<'_>, lines: Range<usize>, pieces: &mut Vec<Range<usize>>) {
        let range = text.start(lines.start)..text.start(lines.end);
        let tokens = text.tokens(&range);
        if range.is_empty() {
            return;
        }
        if tokens <= BUDGET && range.len() <= MOST_BYTES {
            return pieces.push(range);
        }
        let inside = self.cuts.get(lines.start + 1..lines.end).unwrap_or_default();
        let Some(best) = inside.iter().min() else {
            return split_line(text, range, pieces);
        };
        if *best >= WITHIN && tokens <= WHOLE {
            return pieces.push(range);
        }
        let mut start = lines.start;
        for (line, cut) in (lines.start + 1..).zip(inside) {
            if cut == best {
                self.split(text, start..line, pieces);
                start = line;
            }
        }
        self.split(text, start..lines.end, pieces);
    }

    /// Puts neighbours together while they are small and belong to the same.
    fn join(&self, text: &Text<'_>, pieces: Vec<Range<usize>>) -> Vec<Range<usize>> {
        let mut joined: Vec<Piece> = Vec::new();
        for range in pieces {
            let next = self.piece(text, range);
            match joined.last_mut() {
                Some(last) if self.belong_together(text, last, &next) => self.append(text, last, next),
                _ => joined.push(next),
            }
        }
        joined.into_iter().map(|piece| piece.range).collect()
    }

    fn append(&self, text: &Text<'_>, piece: &mut Piece, next: Piece) {
        let (range, tokens) = (piece.range.start..next.range.end, piece.tokens + next.tokens);
        if next.is_empty {
            (piece.range, piece.tokens) = (range, tokens);
        } else if piece.is_empty {
            *piece = Piece { range, tokens, ..next };
        } else {
            *piece = self.piece(text, range);
        }
    }

    fn belong_together(&self, text: &Text<'_>, left: &Piece, right: &Piece) -> bool {
        let tokens = left.tokens + right.tokens;
        if right.range.end - left.range.start > MOST_BYTES {
            return false;
        }
        if left.is_empty || right.is_empty {
            return tokens <= WHOLE;
        }
        if left.around == right.around {
            // Two small things that are each worth a name stay apart unless they are small indeed.
            let limit = if left.named && right.named { BUDGET / 2 } else { BUDGET };
            let slight = left.tokens.min(right.tokens) <= SLIGHT;
            // A heading, an opening line: better with what follows than alone.
            let opens = !left.named && left.tokens <= SLIGHT && tokens <= BUDGET + STRETCH;
            return tokens <= limit || slight && tokens <= BUDGET || opens;
        }
        // The line that opens a block, with the first part of what is in it.
        let opens = right
            .around
            .and_then(|scope| self.scopes.get(scope))
            .is_some_and(|scope| scope.parent == left.around && scope.range.start >= text.trimmed(&right.range).start);
        opens && !left.named && left.tokens <= SLIGHT && tokens <= BUDGET + STRETCH
    }

    fn piece(&self, text: &Text<'_>, range: Range<usize>) -> Piece {
        let content = text.content(&range);
        let around = self.around(&content);
        let named = self.inside(around, &content).next().is_some();
        let is_empty =
            text.slice(&range).chars().all(|character| character.is_whitespace() || CLOSING.contains(character));
        Piece { tokens: text.tokens(&range), around, named, is_empty, range }
    }

    /// The innermost scope that is larger than a piece with this content.
    fn around(&self, content: &Range<usize>) -> Option<usize> {
        let mut candidate = self.scopes.partition_point(|scope| scope.range.start <= content.start).checked_sub(1);
        while let Some(index) = candidate {
            let scope = self.scopes.get(index)?;
            let holds = scope.range.start <= content.start && content.end <= scope.range.end;
            let is_whole = scope.range.start >= content.start && scope.range.end <= content.end;
            if holds && !is_whole {
                return Some(index);
            }
            candidate = scope.parent;
        }
        None
    }

    /// The scopes directly in `around` that begin in a piece with this content.
    fn inside(&self, around: Option<usize>, content: &Range<usize>) -> impl Iterator<Item = &Scope> {
        let first = self.scopes.partition_point(|scope| scope.range.start < content.start);
        let begun = self.scopes.get(first..).unwrap_or_default().iter();
        begun.take_while(|scope| scope.range.start < content.end).filter(move |scope| scope.parent == around)
    }

    fn title(&self, name: &str, text: &Text<'_>, range: &Range<usize>) -> String {
        let content = text.content(range);
        let around = self.around(&content);
        let mut path = Vec::new();
        let mut outer = around.and_then(|index| self.scopes.get(index));
        while let Some(scope) = outer {
            path.push(shortened(&scope.name));
            outer = scope.parent.and_then(|index| self.scopes.get(index));
        }
        path.push(name.to_owned());
        path.reverse();
        let mut names: Vec<String> =
            self.inside(around, &content).take(MOST_NAMES + 1).map(|scope| shortened(&scope.name)).collect();
        names.dedup();
        if names.len() > MOST_NAMES {
            names.truncate(MOST_NAMES);
            names.push("…".to_owned());
        }
        if !names.is_empty() {
            path.push(names.join(", "));
        }
        path.join(STEP)
    }
}

struct Piece {
    range: Range<usize>,
    tokens: usize,
    /// The scope it is a part of.
    around: Option<usize>,
    /// It holds something with a name.
    named: bool,
    /// Only white space and closing brackets.
    is_empty: bool,
}

/// Cuts one long line behind sentences, then behind words, then anywhere.
fn split_line(text: &Text<'_>, range: Range<usize>, pieces: &mut Vec<Range<usize>>) {
    let mut start = range.start;
    while text.tokens(&(start..range.end)) > BUDGET || range.end - start > LONGEST_PIECE {
        let end = text.end_of_piece(start, range.end);
        pieces.push(start..end);
        start = end;
    }
    if start < range.end {
        pieces.push(start..range.end);
    }
}

/// Bytes of a piece of one line: what holds no words (base64, a run of spaces) has few tokens by our count.
const LONGEST_PIECE: usize = 8 * BUDGET;

impl Text<'_> {
    /// Where a piece that begins at `start` ends at best, before `end`.
    fn end_of_piece(&self, start: usize, end: usize) -> usize {
        let mut limit = self.source.floor_char_boundary(end.min(start + LONGEST_PIECE));
        if self.tokens(&(start..limit)) > BUDGET {
            // Tokens only grow along the text: halve until the place is found.
            let (mut low, mut high) = (start, limit);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if self.tokens(&(start..middle)) <= BUDGET { low = middle } else { high = middle }
            }
            limit = self.source.floor_char_boundary(low);
        }
        if limit <= start {
            return self.source.ceil_char_boundary(start + 1);
        }
        let piece = self.slice(&(start..limit));
        let after = |pattern: &[&str]| {
            let found = pattern.iter().filter_map(|end| piece.rfind(end).map(|at| at + end.len()));
            found.max().filter(|length| *length > piece.len() / 2)
        };
        let ends: [&[&str]; 4] = [&[". ", "! ", "? ", "。"], &["; ", ";", "}"], &[", ", ","], &[" ", "\t"]];
        start + ends.iter().find_map(|pattern| after(pattern)).unwrap_or(piece.len())
    }
}

fn shortened(name: &str) -> String {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    match name.char_indices().nth(LONGEST_NAME) {
        Some((at, _)) => format!("{}…", name.get(..at).unwrap_or_default()),
        None => name,
    }
}

//! Byte-pair merging, the heart of both GPT-2's BPE and SentencePiece's: neighbours become one
//! token, the best pair first, until no pair is known.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The id of a piece that is no token.
pub(super) const NO_TOKEN: u32 = u32::MAX;
const NOWHERE: usize = usize::MAX;

/// A stretch of a text, and the token it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) id: u32,
    previous: usize,
    next: usize,
}

/// Pieces beside each other.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<Piece>);

/// Two pieces that can become one. The greatest is merged first: by priority, then leftmost.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<P> {
    priority: P,
    left: Reverse<usize>,
    right: usize,
    /// How long they were together: if they no longer are, one of them has changed since.
    length: usize,
    merged: u32,
}

impl Pieces {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds the next `length` bytes.
    pub(super) fn push(&mut self, length: usize, id: u32) {
        let position = self.0.len();
        let start = self.0.last().map_or(0, |last| last.end);
        let previous = position.checked_sub(1).unwrap_or(NOWHERE);
        if let Some(last) = self.0.last_mut() {
            last.next = position;
        }
        self.0.push(Piece { start, end: start + length, id, previous, next: NOWHERE });
    }

    /// Merges neighbours for which `pair` has a priority and the merged token's id, the greatest
    /// priority first; n pieces take O(n log n).
    pub(super) fn merge<P: Ord>(&mut self, pair: impl Fn(&Piece, &Piece) -> Option<(P, u32)>) {
        let candidate = |pieces: &[Piece], left: usize, right: usize| {
            let (left_piece, right_piece) = (pieces.get(left)?, pieces.get(right)?);
            let (priority, merged) = pair(left_piece, right_piece)?;
            let length = right_piece.end - left_piece.start;
            Some(Candidate { priority, left: Reverse(left), right, length, merged })
        };
        let pieces = &mut self.0;
        let mut queue: BinaryHeap<Candidate<P>> =
            (1..pieces.len()).filter_map(|right| candidate(pieces, right - 1, right)).collect();
        while let Some(Candidate { left: Reverse(left), right, length, merged, .. }) = queue.pop() {
            let (Some(&left_piece), Some(&right_piece)) = (pieces.get(left), pieces.get(right)) else {
                continue;
            };
            let alive = !left_piece.is_empty() && !right_piece.is_empty();
            if !alive || right_piece.end - left_piece.start != length {
                continue;
            }
            if let Some(piece) = pieces.get_mut(left) {
                *piece = Piece { end: right_piece.end, id: merged, next: right_piece.next, ..left_piece };
            }
            if let Some(piece) = pieces.get_mut(right) {
                piece.end = piece.start;
            }
            if let Some(piece) = pieces.get_mut(right_piece.next) {
                piece.previous = left;
            }
            queue.extend(candidate(pieces, left_piece.previous, left));
            queue.extend(candidate(pieces, left, right_piece.next));
        }
    }

    /// What is left, in the text's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.0.iter().filter(|piece| !piece.is_empty())
    }
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

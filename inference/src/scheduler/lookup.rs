//! Guesses of what comes next, from what was read and written before.

use crate::network::Token;

/// Prompt lookup (Saxena 2023): where the last tokens have come before, what followed them then may
/// follow again, as in code that is edited. Guesses that fail cost time, so how many are made
/// depends on how the last ones fared.
pub(super) struct Lookup {
    /// Whether guesses are made at all.
    guesses: bool,
    /// How often a guess is right, of those behind right ones: lately, about.
    rate: f64,
    /// Tokens until the next guess.
    pause: usize,
    /// The pause after the next failure.
    next_pause: usize,
}

/// Tokens that must have come before.
const KNOWN: usize = 3;
/// Of several places, the one where most tokens before are the same; up to so many are compared.
const COMPARED: usize = 16;
/// The rate that is assumed of what was not tried for a while.
const FIRST_RATE: f64 = 0.7;
/// What a new measurement counts for.
const WEIGHT: f64 = 0.3;
const SHORTEST_PAUSE: usize = 4;
const LONGEST_PAUSE: usize = 64;

impl Lookup {
    pub(super) fn new(guesses: bool) -> Self {
        Self { guesses, rate: FIRST_RATE, pause: 0, next_pause: SHORTEST_PAUSE }
    }

    /// What may follow `tokens`; `most` says how many guesses pay that are right so often.
    pub(super) fn guess(&mut self, tokens: &[Token], most: impl Fn(f64) -> usize) -> Vec<u32> {
        if self.pause > 0 {
            self.pause -= 1;
            return Vec::new();
        }
        let last = tokens.len().saturating_sub(KNOWN);
        let Some(known) = tokens.get(last..).filter(|known| self.guesses && known.len() == KNOWN) else {
            return Vec::new();
        };
        let count = most(self.rate);
        if count == 0 {
            return Vec::new();
        }
        let same = |place: &usize| tokens.get(*place..place + KNOWN).is_some_and(|there| alike(there, known));
        let before = |place: &usize| {
            let [here, there] = [*place, last].map(|end| tokens.get(..end).unwrap_or_default().iter().rev());
            here.zip(there).take(COMPARED).take_while(|(one, other)| one.id == other.id).count()
        };
        // Of equally good places the last one.
        let Some(place) = (0..last).filter(same).max_by_key(before) else { return Vec::new() };
        tokens.iter().skip(place + KNOWN).take(count).map(|token| token.id).collect()
    }

    /// Says how many of the guesses were right.
    pub(super) fn learn(&mut self, guessed: usize, right: usize) {
        if guessed == 0 {
            return;
        }
        // Those behind the first wrong one say nothing.
        let tried = guessed.min(right + 1);
        self.rate += WEIGHT * (right as f64 / tried as f64 - self.rate);
        if right > 0 {
            self.next_pause = SHORTEST_PAUSE;
        } else {
            self.rate = self.rate.max(FIRST_RATE / 2.0);
            self.pause = self.next_pause;
            self.next_pause = (2 * self.next_pause).min(LONGEST_PAUSE);
        }
    }
}

fn alike(one: &[Token], other: &[Token]) -> bool {
    one.iter().zip(other).all(|(one, other)| one.id == other.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::rotary::Regime;

    fn tokens(ids: &[u32]) -> Vec<Token> {
        ids.iter().map(|id| Token { id: *id, regime: Regime::Usual }).collect()
    }

    #[test]
    fn what_followed_before_is_guessed() {
        let mut lookup = Lookup::new(true);
        // The second place has more in common with the end than the last one.
        let read = tokens(&[9, 1, 2, 3, 4, 5, 6, 8, 1, 2, 3, 7, 7, 9, 1, 2, 3]);
        assert_eq!(lookup.guess(&read, |_| 3), [4, 5, 6]);
        assert_eq!(lookup.guess(&read, |_| 2), [4, 5]);
        assert_eq!(lookup.guess(&read, |_| 0), [0_u32; 0]);
        assert_eq!(lookup.guess(&tokens(&[1, 2, 3, 4]), |_| 3), [0_u32; 0]);
        assert_eq!(lookup.guess(&tokens(&[1]), |_| 3), [0_u32; 0]);
        // What is repeated may be repeated again.
        assert_eq!(lookup.guess(&tokens(&[5, 5, 5, 5]), |_| 3), [5]);
        assert_eq!(Lookup::new(false).guess(&read, |_| 3), [0_u32; 0]);
    }

    #[test]
    fn guesses_that_fail_are_made_less_often() {
        let mut lookup = Lookup::new(true);
        let read = tokens(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 2, 3]);
        for _ in 0..9 {
            assert_eq!(lookup.guess(&read, |_| 3).len(), 3);
            lookup.learn(3, 3);
        }
        assert!(lookup.rate > 0.95, "{}", lookup.rate);
        for pause in [4, 8, 16, 32, 64, 64] {
            assert!(!lookup.guess(&read, |_| 3).is_empty());
            lookup.learn(3, 0);
            assert!((0..pause).all(|_| lookup.guess(&read, |_| 3).is_empty()), "{pause}");
        }
        assert!(!lookup.guess(&read, |_| 3).is_empty() && lookup.rate < 0.5);
    }
}

//! Scores of the tokens of expressions and queries.

use super::{
    CALLED, COMPARED_LIMIT, CONDITION, CUED, DIRECTION, ENOUGH, KEY, KEYED, NEXT_NUMBER, NO_CONDITION, Prior,
    REPEATED_NUMBER, SAID, UNASKED_GROUPS, UNASKED_WORDS, UNCUED, UNSAID_COLUMN, UNSAID_FLAG, UNSAID_KEY,
    UNSAID_NUMBER, UNSAID_VALUE, is_literal, is_repeated,
};
use crate::starter::notation::{Keyword, Kind, Token, kind_of};

impl Prior {
    /// Every number counts, once for each time it is said.
    pub(super) fn arithmetic_score(&self, token: Token, said: &[Token]) -> f32 {
        let times = |token: &Token| said.iter().filter(|said| *said == token).count();
        if token == Keyword::End.token() {
            return -UNSAID_NUMBER * self.numbers.iter().filter(|(number, _)| times(number) == 0).count() as f32;
        }
        let keyword = Keyword::ALL.get(token as usize);
        if let Some(keyword) = keyword {
            let enough = said.len() > 1 && self.numbers.keys().all(|number| times(number) > 0);
            let cued = self.cues.operators.contains(keyword);
            return match keyword {
                _ if enough && *keyword != Keyword::End => -ENOUGH,
                Keyword::Average | Keyword::Share | Keyword::Change | Keyword::SquareRoot if cued => CUED + CALLED,
                _ if cued => CUED,
                Keyword::Increase
                | Keyword::Decrease
                | Keyword::Remainder
                | Keyword::Power
                | Keyword::Average
                | Keyword::Share
                | Keyword::Change
                | Keyword::PercentOf => -UNCUED,
                _ => 0.0,
            };
        }
        let next = self.order.iter().find(|number| times(number) == 0) == Some(&token);
        if next && !self.reversed {
            return NEXT_NUMBER + self.names.get(&token).copied().unwrap_or_default();
        }
        match self.numbers.get(&token) {
            Some(mentions) if times(&token) >= *mentions => -REPEATED_NUMBER,
            _ => self.names.get(&token).copied().unwrap_or_default(),
        }
    }

    pub(super) fn query_score(&self, token: Token, said: &[Token]) -> f32 {
        let unsaid = |wanted: &dyn Fn(&Token) -> bool| {
            self.spoken
                .values()
                .filter(|tokens| tokens.iter().any(wanted) && !tokens.iter().any(|token| said.contains(token)))
                .count() as f32
        };
        let values = unsaid(&|token| is_literal(*token));
        let compared = unsaid(&|token| self.compared.contains(token) || kind_of(*token) == Some(Kind::Flag));
        let numbers = unsaid(&|token| kind_of(*token) == Some(Kind::Constant));
        let listing = said.contains(&Keyword::Columns.token()) && !said.contains(&Keyword::Where.token());
        let columns = if listing { unsaid(&|token| self.columns.contains(token)) } else { 0.0 };
        if token == Keyword::End.token() {
            let flags = unsaid(&|token| {
                kind_of(*token) == Some(Kind::Flag) && self.names.get(token).is_some_and(|said| *said >= SAID)
            });
            return -UNSAID_FLAG * flags - UNSAID_VALUE * values - UNSAID_NUMBER * numbers - UNSAID_COLUMN * columns;
        }
        if token == Keyword::Where.token() {
            let for_it = if values + compared > 0.0 {
                CONDITION * if unsaid(&|token| self.compared.contains(token)) > 0.0 { 2.0 } else { 1.0 }
            } else if self.conditioned {
                0.0
            } else {
                -NO_CONDITION
            };
            return for_it - UNSAID_COLUMN * columns;
        }
        if token == Keyword::Having.token() {
            return if compared > 0.0 { CONDITION } else { -NO_CONDITION };
        }
        if token == Keyword::Limit.token() && numbers > 0.0 && numbers <= compared {
            return -COMPARED_LIMIT;
        }
        if said.last() == Some(&Keyword::Limit.token()) && self.compared.contains(&token) {
            return -COMPARED_LIMIT;
        }
        if let Some(keyword) = Keyword::ALL.get(token as usize) {
            let denied = unsaid(&|token| self.cues.denied.contains(token)) > 0.0;
            return match keyword {
                Keyword::IsNot if said.last() == Some(&Keyword::Where.token()) => {
                    if denied {
                        DIRECTION
                    } else {
                        -DIRECTION
                    }
                }
                Keyword::Or => {
                    if self.cues.either && values > 0.0 {
                        DIRECTION
                    } else {
                        -DIRECTION
                    }
                }
                _ => self.keyword_score(*keyword, said),
            };
        }
        if is_repeated(token, said) {
            return f32::NEG_INFINITY;
        }
        if said.last() == Some(&Keyword::Where.token()) {
            let unasked = match kind_of(token) {
                Some(Kind::Text) => !self.cues.verbatim && !self.cues.missing && !self.quoted,
                Some(Kind::Flag) => !self.names.contains_key(&token),
                _ => false,
            };
            if unasked {
                return -UNASKED_WORDS;
            }
        }
        if kind_of(token) == Some(Kind::Word) && !self.cues.verbatim {
            return -UNASKED_WORDS;
        }
        if self.idle.contains(&token) {
            return -UNASKED_WORDS;
        }
        if said.last() == Some(&Keyword::Where.token()) && self.cues.denied.contains(&token) {
            return -DIRECTION;
        }
        if kind_of(token) == Some(Kind::Constant) && said.contains(&token) {
            return -REPEATED_NUMBER;
        }
        if kind_of(token) == Some(Kind::Word) {
            return self.needles.get(&token).copied().unwrap_or_default();
        }
        if said.last() == Some(&Keyword::By.token()) {
            let known = self.names.get(&token).copied().unwrap_or(-UNSAID_KEY);
            let keyed = self.cues.keys.contains(&token);
            let flag = kind_of(token) == Some(Kind::Flag) && !keyed;
            return known + if keyed { KEYED } else { 0.0 } - if flag { UNASKED_GROUPS } else { 0.0 };
        }
        let key = self.keys.contains(&token) && self.names.get(&token).is_none_or(|said| *said < SAID);
        self.names.get(&token).copied().unwrap_or_default() - if key { KEY } else { 0.0 }
    }
}

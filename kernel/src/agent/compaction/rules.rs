//! Condensing without a model: the person's own sentences, sorted.

use std::sync::LazyLock;

use codriver_memory::EarlierTurn;
use regex::Regex;

use super::{Compaction, TaskState, united};
use crate::render::cards::one_line;

const LONGEST_REQUEST: usize = 100;
const LONGEST_ANSWER: usize = 180;

/// The state and a line for each turn.
pub(super) fn condense(turns: &[EarlierTurn], previous: Option<&Compaction>) -> (TaskState, String) {
    let settled = previous.map(|previous| previous.state.clone()).unwrap_or_default();
    let requests = || turns.iter().map(|turn| turn.request.as_str());
    let asked =
        |pattern: &'static Pattern| requests().flat_map(sentences).filter(|sentence| matches(pattern, sentence));
    let task = match settled.task.is_empty() {
        true => requests().find(|request| !matches(&SMALL_TALK, request)).map(first_paragraph).unwrap_or_default(),
        false => settled.task,
    };
    let constraints = asked(&CONSTRAINT).map(str::to_owned).collect();
    let decisions = asked(&DECISION).map(str::to_owned).collect();
    let open_steps = asked(&OPEN).map(str::to_owned).chain(turns.iter().filter_map(unanswered)).collect();
    let state = TaskState {
        task,
        constraints: united([settled.constraints, constraints]),
        decisions: united([settled.decisions, decisions]),
        open_steps: united([settled.open_steps, open_steps]),
    };
    let told = turns.iter().map(line);
    let before = previous.map(|previous| previous.summary.clone()).filter(|summary| !summary.is_empty());
    (state, before.into_iter().chain(told).collect::<Vec<_>>().join("\n"))
}

type Pattern = LazyLock<Option<Regex>>;

macro_rules! pattern {
    ($(#[$documentation:meta])* $name:ident, $text:literal) => {
        $(#[$documentation])*
        // Its being readable is checked by a test.
        static $name: Pattern = LazyLock::new(|| Regex::new($text).ok());
    };
}

pattern! {
    /// What an answer has to keep to.
    CONSTRAINT,
    r"(?i)\b(must|must not|mustn't|should(n't| not)?|never|always|only|do not|don't|without|avoid|at most|at least|no more than|no less than|exclude|excluding|ignore|leave out|except|instead of|rather than|make sure|has to|have to|needs? to|deadline|budget)\b"
}
pattern! {
    /// What was settled.
    DECISION,
    r"(?i)\b(we|i)( have|'ve)? (decided|agreed|chosen|chose|settled)\b|\b(let's|let us) (use|go|take|stick|keep|call|name)\b|^(let's|let us|we('ll| will| decided| use| agreed)|use|take|go with|stick (to|with)|call it|name it|from now on|i('ll| will| decided| prefer| chose| want to use)|ok(ay)?,? (then )?(use|take|let's))\b"
}
pattern! {
    /// What is left to do.
    OPEN,
    r"(?i)\b(next,?|todo|to do|later|still (need|have|missing)|remaining|afterwards|after that|then we|follow[- ]up|not yet)\b"
}
pattern! {
    SMALL_TALK,
    r"(?i)^\s*(hi|hello|hey|good (morning|afternoon|evening)|thanks?( you)?( very much| a lot)?|ok(ay)?|bye)[\s,.!?]*$"
}

fn matches(pattern: &Pattern, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

fn first_paragraph(request: &str) -> String {
    request.trim().split("\n\n").next().unwrap_or_default().to_owned()
}

/// Sentences and lines, trimmed of list marks.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let mut rest = line.trim().trim_start_matches(['-', '*', '•', ' ']);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = rest
                .char_indices()
                .find(|(at, letter)| {
                    let after = rest[at + letter.len_utf8()..].chars().next();
                    matches!(letter, '.' | '!' | '?' | ';') && after.is_none_or(char::is_whitespace)
                })
                .map_or(rest.len(), |(at, letter)| at + letter.len_utf8());
            let (sentence, after) = rest.split_at(end);
            rest = after.trim_start();
            Some(sentence.trim_end_matches(';').trim())
        })
    })
}

/// A request that came to nothing.
fn unanswered(turn: &EarlierTurn) -> Option<String> {
    let state = turn.ended.as_deref()?;
    Some(format!("{state} before it was answered: {}", one_line(&turn.request, LONGEST_REQUEST)))
}

fn line(turn: &EarlierTurn) -> String {
    let answer = sentences(&turn.answer).find(|sentence| sentence.len() > 2).unwrap_or_default();
    let request = one_line(&turn.request, LONGEST_REQUEST);
    format!("{}. {request} → {}", turn.number, one_line(answer, LONGEST_ANSWER))
}

#[cfg(test)]
mod tests {
    use codriver_memory::{EarlierTurn, TurnId};

    use super::{CONSTRAINT, DECISION, OPEN, SMALL_TALK, condense, sentences};
    use crate::agent::compaction::Compaction;

    fn turn(number: usize, request: &str, answer: &str) -> EarlierTurn {
        let id = TurnId::from(format!("t{number}"));
        EarlierTurn { id, number, request: request.to_owned(), answer: answer.to_owned(), ended: None }
    }

    #[test]
    fn all_patterns_can_be_read() {
        assert!([&CONSTRAINT, &DECISION, &OPEN, &SMALL_TALK].iter().all(|pattern| pattern.is_some()));
    }

    #[test]
    fn sentences_end_where_people_end_them() {
        let found: Vec<&str> = sentences("Use 3.5 % VAT. Don't round!\n- e.g. a list; and more").collect();
        assert_eq!(found, ["Use 3.5 % VAT.", "Don't round!", "e.g.", "a list", "and more"]);
    }

    #[test]
    fn what_matters_is_sorted_and_carried_on() {
        let turns = [
            turn(1, "Hello!", "Hello."),
            turn(2, "Find out why revenue fell in March. All amounts must be in EUR.", "Returns rose. More text."),
            turn(3, "Use gross revenue. Next, look at the regions.", "North fell by 12 %."),
            turn(4, "As for storage: we decided to use DuckDB, so let's go.", "Fine."),
        ];
        let (state, summary) = condense(&turns, None);
        assert_eq!(state.task, "Find out why revenue fell in March. All amounts must be in EUR.");
        assert_eq!(state.constraints, ["All amounts must be in EUR."]);
        assert_eq!(state.decisions, ["Use gross revenue.", "As for storage: we decided to use DuckDB, so let's go."]);
        assert_eq!(state.open_steps, ["Next, look at the regions."]);
        assert!(
            summary.contains("3. Use gross revenue. Next, look at the regions. → North fell by 12 %."),
            "{summary}"
        );
        let earlier = Compaction {
            first: 1,
            last: 4,
            state,
            summary,
            tokens_before: 100,
            tokens_after: 50,
            by: "rules".to_owned(),
        };
        let (state, summary) = condense(&[turn(5, "Never include test orders.", "Done.")], Some(&earlier));
        assert_eq!(state.task, earlier.state.task);
        assert_eq!(state.constraints, ["All amounts must be in EUR.", "Never include test orders."]);
        assert!(summary.starts_with(&earlier.summary) && summary.ends_with("5. Never include test orders. → Done."));
    }
}

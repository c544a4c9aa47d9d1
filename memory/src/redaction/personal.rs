//! Personal data with a form of its own: addresses of mail, telephone numbers, bank accounts, cards.

use std::sync::LazyLock;

use regex::Regex;

use super::Finding;

static MAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24}").ok()
});
static ACCOUNT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?-u:\b)[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}(?-u:\b)").ok());
static CARD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?-u:\b)[0-9](?:[ -]?[0-9]){12,18}(?-u:\b)").ok());
/// With a country's code, or an area's in brackets or before dashes: a bare number is a number.
static TELEPHONE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:\+|(?-u:\b)00)[1-9][0-9]{0,2}[ .()/-]{0,2}(?:[0-9][ .()/-]{0,2}){6,12}[0-9]|\([0-9]{2,5}\)[ -]?[0-9]{3,5}[ -][0-9]{3,6}|(?-u:\b)[0-9]{3}[-.][0-9]{3}[-.][0-9]{4}(?-u:\b)").ok()
});

pub(super) fn find(text: &str, findings: &mut Vec<Finding>) {
    each(&MAIL, text, "e-mail address", |_| true, findings);
    each(&CARD, text, "card number", is_card, findings);
    if let Some(pattern) = &*ACCOUNT {
        // Words may follow an account without a break that a pattern could see.
        let accounts = pattern
            .find_iter(text)
            .filter_map(|found| Some(found.start()..found.start() + account_length(found.as_str())?));
        findings.extend(accounts.map(|place| Finding { place, what: "bank account" }));
    }
    each(&TELEPHONE, text, "telephone number", |number| !number.ends_with('-'), findings);
}

fn each(
    pattern: &LazyLock<Option<Regex>>,
    text: &str,
    what: &'static str,
    is_one: impl Fn(&str) -> bool,
    findings: &mut Vec<Finding>,
) {
    let Some(pattern) = &**pattern else { return };
    let found = pattern.find_iter(text).filter(|found| is_one(found.as_str()));
    findings.extend(found.map(|found| Finding { place: found.range(), what }));
}

/// The check digit of ISO/IEC 7812, on digits that begin like a card's.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|character| character.to_digit(10)).collect();
    let doubled = |(position, digit): (usize, &u32)| match (position % 2, *digit * 2) {
        (0, _) => *digit,
        (_, double) if double > 9 => double - 9,
        (_, double) => double,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(doubled).sum();
    (13..=19).contains(&digits.len()) && matches!(digits.first(), Some(2..=6)) && sum.is_multiple_of(10)
}

/// The length of the account number (ISO 13616: the remainder by 97 is 1) that the text begins with.
fn account_length(text: &str) -> Option<usize> {
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8()).rev();
    ends.into_iter().find(|end| text.get(..*end).is_some_and(is_account))
}

fn is_account(text: &str) -> bool {
    let characters: Vec<char> = text.chars().filter(|character| *character != ' ').collect();
    if !(15..=34).contains(&characters.len()) || text.ends_with(' ') {
        return false;
    }
    let (country, rest) = characters.split_at(4);
    let remainder = rest.iter().chain(country).try_fold(0_u32, |remainder, character| {
        let value = character.to_digit(36)?;
        Some(if value > 9 { (remainder * 100 + value) % 97 } else { (remainder * 10 + value) % 97 })
    });
    remainder == Some(1)
}

#[cfg(test)]
mod tests {
    use crate::redaction::Redactor;

    #[test]
    fn personal_data_goes_only_where_it_is_asked_for() {
        let text = "Mail ada@example.com or call +49 30 901820, pay to DE89 3704 0044 0532 0130 00 now, card 4111 1111 1111 1111.";
        let asked = Redactor::new().with_personal_data(true);
        assert_eq!(
            asked.redact(text),
            "Mail [redacted: e-mail address] or call [redacted: telephone number], pay to [redacted: bank account] now, card [redacted: card number]."
        );
        assert_eq!(Redactor::new().redact(text), text);
    }

    #[test]
    fn numbers_that_are_no_cards_and_no_accounts_stay() {
        let asked = Redactor::new().with_personal_data(true);
        for text in [
            "order 4111 1111 1111 1112",
            "DE88370400440532013000",
            "2026-11-21 20:15:04",
            "1763756104123456",
            "192.168.100.200",
            "3.14159265358979",
        ] {
            assert_eq!(asked.redact(text), text);
        }
    }
}

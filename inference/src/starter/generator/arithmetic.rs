//! Arithmetic as people write it: in symbols, and in words.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::Want;
use crate::starter::notation::Keyword;
use crate::starter::numbers::name;
use crate::starter::phrases::{Phrases, expand_template};

/// What is asked and its call; `None` in the rare case that a number comes twice.
pub(super) fn request(phrases: &Phrases, random: &mut ChaCha8Rng) -> Option<(String, Vec<Want>)> {
    let framed = |text: &str, random: &mut ChaCha8Rng| phrases.expand("calculate", random, &mut |_| text.to_owned());
    if random.random_bool(0.35) {
        let expression = symbols(random);
        return Some((framed(&expression, random), vec![Want::Expression(expression)]));
    }
    let section = if random.random_bool(0.55) { "arithmetic" } else { "arithmetic.request" };
    let (call, template) = phrases.templates(section).choose(random)?.split_once(" :: ")?;
    let mut numbers: Vec<(String, String)> = Vec::new();
    let percent = ["percentof", "increase", "decrease"].iter().any(|word| call.contains(word));
    for _ in 0..5 {
        let number = number(random, percent);
        if numbers.iter().any(|(digits, _)| *digits == number.0) {
            return None;
        }
        numbers.push(number);
    }
    // "Two squared" would name one number twice.
    if call.split(' ').any(|word| numbers.iter().any(|(digits, _)| digits == word)) {
        return None;
    }
    let of =
        |letter: &str| letter.bytes().next().and_then(|letter| numbers.get(usize::from(letter.saturating_sub(b'A'))));
    let text =
        expand_template(template, random, &mut |slot| of(slot).map(|(_, words)| words.clone()).unwrap_or_default());
    let wants = call.split(' ').map(|word| match keyword(word) {
        Some(keyword) => Some(Want::Keyword(keyword)),
        None if word.starts_with(|c: char| c.is_ascii_digit()) => Some(Want::Constant(word.to_owned())),
        None => of(word).map(|(digits, _)| Want::Constant(digits.clone())),
    });
    let wants = prefixed(wants.collect::<Option<Vec<_>>>()?);
    Some((if section == "arithmetic" { framed(&text, random) } else { text }, wants))
}

/// The file writes `percentof A B`, `increase A B` and `decrease A B`; the notation has the operator between.
fn prefixed(mut wants: Vec<Want>) -> Vec<Want> {
    use Keyword::{Decrease, Increase, PercentOf, Remainder};
    if matches!(wants.first(), Some(Want::Keyword(PercentOf | Increase | Decrease | Remainder))) && wants.len() > 1 {
        wants.swap(0, 1);
    }
    wants
}

fn keyword(word: &str) -> Option<Keyword> {
    use Keyword::{
        Average, Change, Decrease, Increase, Minus, Over, PercentOf, Plus, Power, Remainder, Result, Share, SquareRoot,
        Times,
    };
    Some(match word {
        "plus" => Plus,
        "minus" => Minus,
        "times" => Times,
        "over" => Over,
        "power" => Power,
        "percentof" => PercentOf,
        "squareroot" => SquareRoot,
        "result" => Result,
        "average" => Average,
        "share" => Share,
        "change" => Change,
        "increase" => Increase,
        "decrease" => Decrease,
        "remainder" => Remainder,
        _ => return None,
    })
}

/// A number in digits, and as someone writes it.
fn number(random: &mut impl Rng, small: bool) -> (String, String) {
    match random.random_range(0..20) {
        0..7 => plain(random.random_range(2..100)),
        7..11 => plain(random.random_range(2..20)),
        11..14 => plain(random.random_range(100..1000)),
        14 if !small => {
            let number = random.random_range(1000..90_000);
            (number.to_string(), format!("{},{:03}", number / 1000, number % 1000))
        }
        14 | 15 => plain(random.random_range(1..60) * 50),
        16 => {
            let text = format!("{}.{}", random.random_range(1..100), random.random_range(1..10));
            (text.clone(), text)
        }
        17 => {
            let text =
                format!("{}.{}{}", random.random_range(1..300), random.random_range(0..10), random.random_range(1..10));
            (text.clone(), text)
        }
        18 => {
            let number = random.random_range(2..=20);
            (number.to_string(), name(number).to_owned())
        }
        _ => {
            let (tens, ones) = (random.random_range(3..=9), random.random_range(0..8));
            let whole = name(tens * 10);
            let words = match ones {
                0 => whole.to_owned(),
                _ if random.random_bool(0.5) => format!("{whole}-{}", name(ones)),
                _ => format!("{whole} {}", name(ones)),
            };
            ((tens * 10 + ones).to_string(), words)
        }
    }
}

fn plain(number: i32) -> (String, String) {
    (number.to_string(), number.to_string())
}

/// An expression in symbols.
fn symbols(random: &mut impl Rng) -> String {
    let mut value = || match random.random_range(0..5) {
        0 => random.random_range(100..2000).to_string(),
        1 => format!("{}.{}", random.random_range(0..90), random.random_range(1..100)),
        _ => random.random_range(2..100).to_string(),
    };
    let (a, b, c, d) = (value(), value(), value(), value());
    let mut operator = || ["+", "-", "*", "/", "*", "+"].choose(random).copied().unwrap_or("+");
    let (x, y, z) = (operator(), operator(), operator());
    match random.random_range(0..14) {
        0 => format!("({a} {x} {b}) {y} {c}"),
        1 => format!("{a} {x} {b} {y} {c}"),
        2 => format!("{b}% of {a}"),
        3 => format!("{a} {x} ({b} {y} {c})"),
        4 => format!("{a}{x}{b}"),
        5 => format!("({a} {x} {b}) {y} ({c} {z} {d})"),
        6 => format!("{a} {x} {b} {y} {c} {z} {d}"),
        7 => format!("{} ^ {}", random.random_range(2..20), random.random_range(2..9)),
        8 => format!("{}^{}", random.random_range(2..20), random.random_range(2..9)),
        9 => format!("{a}{x}{b}{y}{c}"),
        10 => format!("sqrt({a}) {x} {b}"),
        11 => format!("{a} * {b}%"),
        _ => format!("{a} {x} {b}"),
    }
}

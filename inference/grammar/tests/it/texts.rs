//! Regular expressions, choices and Lark grammars.

use codriver_chat::Constraint;
use codriver_grammar::{Grammar, Guide};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use regex::Regex;

use crate::fixture::{self, END, assert_admitted, decode, free_vocabulary, vocabulary, walk};

#[test]
fn what_is_written_matches_the_regular_expression() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (name, tokenizer) in fixture::tokenizers(seed) {
        let vocabularies = [vocabulary(&tokenizer), free_vocabulary(&tokenizer)];
        let end = tokenizer.token_to_id(END).unwrap();
        for _ in 0..60 {
            let expression = expression(&mut random, 3);
            let whole = Regex::new(&format!("^(?:{expression})$")).unwrap();
            let grammar = Grammar::new(&Constraint::Regex(expression.clone())).unwrap();
            let guide = Guide::new(vocabularies.choose(&mut random).unwrap(), &grammar).unwrap();
            for _ in 0..4 {
                let Some(tokens) = walk(&mut guide.clone(), end, &mut random, 2000) else {
                    assert_eq!(name, "WordPiece", "no end under {expression}");
                    continue;
                };
                let text = decode(&tokenizer, &tokens);
                assert!(whole.is_match(&text), "{name}: {text:?} does not match {expression}");
            }
        }
    }
}

#[test]
fn anchors_say_nothing_more_and_slashes_are_letters() {
    let tokenizer = fixture::byte_level(1, 500);
    let vocabulary = free_vocabulary(&tokenizer);
    for (expression, text) in [
        ("^ab+$", "abbb"),
        ("a/b", "a/b"),
        (r"\$\d", "$5"),
        (r"^x\$", "x$"),
        ("", ""),
        (r"(?i)yes|no", "YeS"),
        (r"[^\n/]*", "日本 é"),
    ] {
        let guide = Guide::new(&vocabulary, &Grammar::new(&Constraint::Regex(expression.into())).unwrap());
        assert_admitted(&mut guide.unwrap(), &tokenizer, text, expression);
    }
}

#[test]
fn each_choice_can_be_made_and_no_other() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (name, tokenizer) in fixture::tokenizers(seed) {
        let vocabulary = vocabulary(&tokenizer);
        let free = free_vocabulary(&tokenizer);
        let end = tokenizer.token_to_id(END).unwrap();
        let texts: Vec<String> = ["yes", "no", "yes and no", "\"quoted\" \\ /", "ändern", "line\nbreak", "日本🙂"]
            .map(String::from)
            .to_vec();
        // WordPiece of all-MiniLM knows no upper case and joins words with one space.
        let texts: Vec<String> = if name == "WordPiece" { texts[..3].to_vec() } else { texts };
        let grammar = Grammar::new(&Constraint::Choice(texts.clone())).unwrap();
        let guide = Guide::new(&vocabulary, &grammar).unwrap();
        for _ in 0..50 {
            let tokens = walk(&mut guide.clone(), end, &mut random, 200).unwrap();
            let text = decode(&tokenizer, &tokens);
            assert!(texts.contains(&text), "{name}: {text:?}");
        }
        for text in &texts {
            assert_admitted(&mut Guide::new(&free, &grammar).unwrap(), &tokenizer, text, name);
        }
    }
    // With nothing among the choices, an answer may end at once.
    let tokenizer = fixture::byte_level(1, 0);
    let grammar = Grammar::new(&Constraint::Choice(vec!["a".into(), String::new()])).unwrap();
    let mut guide = Guide::new(&vocabulary(&tokenizer), &grammar).unwrap();
    assert!(guide.is_accepting() && !guide.is_stopped());
}

#[test]
fn lark_grammars_nest() {
    let tokenizer = fixture::byte_level(2, 700);
    let vocabulary = vocabulary(&tokenizer);
    let end = tokenizer.token_to_id(END).unwrap();
    let source =
        "start: sum\nsum: product (\" + \" product){0,3}\nproduct: NUMBER | \"(\" sum \")\"\nNUMBER: /[1-9][0-9]{0,2}/";
    let guide = Guide::new(&vocabulary, &Grammar::new(&Constraint::Lark(source.into())).unwrap()).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut whole = 0;
    for _ in 0..200 {
        let Some(tokens) = walk(&mut guide.clone(), end, &mut random, 200) else { continue };
        whole += 1;
        let text = decode(&tokenizer, &tokens);
        let depth = text.chars().fold(0_i32, |depth, c| depth + i32::from(c == '(') - i32::from(c == ')'));
        assert_eq!(depth, 0, "{text}");
    }
    assert!(whole > 50, "{whole} of 200 walks came to an end");
}

/// A regular expression whose matches are bounded.
fn expression(random: &mut ChaCha8Rng, depth: usize) -> String {
    let leaves = ["a", "bc", r"\d", "[a-f]", "é", " ", r"\.", "order", "[^a-z\"\u{80}-\u{10ffff}]", "/", "\"", "0x"];
    if depth == 0 {
        return leaves.choose(random).unwrap().to_string();
    }
    let inner = |random: &mut ChaCha8Rng| expression(random, depth - 1);
    match random.random_range(0..5) {
        0 => inner(random),
        1 => format!("{}{}", group(&inner(random)), group(&inner(random))),
        2 => format!("{}|{}", inner(random), inner(random)),
        3 => format!("{}{{{},{}}}", group(&inner(random)), random.random_range(0..2), random.random_range(2..5)),
        _ => format!("{}?", group(&inner(random))),
    }
}

fn group(expression: &str) -> String {
    format!("(?:{expression})")
}

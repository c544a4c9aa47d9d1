//! Vocabularies: control tokens, sizes that differ from the model's, odd tokens.

use std::sync::Arc;

use codriver_chat::Constraint;
use codriver_chat::grammar::Grammar as Tree;
use codriver_grammar::{Grammar, GrammarError, Guide, TokenTable, Vocabulary};
use serde_json::json;

use crate::fixture::{self, CALL, END, assert_admitted, decode, free_vocabulary, size, vocabulary};

#[test]
fn tokens_are_spelled_as_they_decode() {
    for (name, tokenizer) in fixture::tokenizers(9) {
        let table = TokenTable::read(&tokenizer, usize::MAX);
        assert_eq!(table.bytes.len(), tokenizer.get_vocab_size(true), "{name}");
        let text = "the order of 7 names, (\"Köln\") {\"a\": [1.5, true]} and x_y";
        let tokens = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        let spelled: Vec<u8> = tokens.iter().flat_map(|token| table.bytes[*token as usize].clone()).collect();
        let spelled = String::from_utf8(spelled).unwrap();
        let spelled = if table.strips_leading_space { spelled.strip_prefix(' ').unwrap() } else { &spelled };
        assert_eq!(spelled, decode(&tokenizer, &tokens), "{name}");
        assert_eq!(table.strips_leading_space, matches!(name, "SentencePiece" | "WordPiece"), "{name}");
        for byte in 0..=255_u8 {
            if matches!(name, "bytes" | "byte-level BPE" | "SentencePiece") {
                assert!(table.bytes.contains(&vec![byte]), "{name} cannot write byte {byte}");
            }
        }
    }
}

#[test]
fn a_marker_is_its_token_and_no_text_is() {
    let tokenizer = fixture::byte_level(8, 900);
    let (marker, end) = (tokenizer.token_to_id(CALL).unwrap(), tokenizer.token_to_id(END).unwrap());
    let vocabulary = free_vocabulary(&tokenizer);
    let schema = json!({ "properties": { "text": { "type": "string" } }, "required": ["text"] });
    let call = Tree::Sequence(vec![Tree::token(CALL), Tree::text("say"), Tree::Json(schema), Tree::token(END)]);
    let mut guide = Guide::new(&vocabulary, &Grammar::of_calls(&call, &vocabulary).unwrap()).unwrap();
    assert_eq!(guide.mask().unwrap().tokens(), [marker], "not the letters of the marker");
    guide.commit(marker).unwrap();
    for token in tokenizer.encode("say{\"text\": \"", false).unwrap().get_ids() {
        assert!(guide.mask().unwrap().allows(*token));
        guide.commit(*token).unwrap();
    }
    // In the text, control tokens are not to be had, and the answer can't end.
    let mask = guide.mask().unwrap();
    assert!(!mask.allows(marker) && !mask.allows(end));
    // Their letters are text like any other.
    for byte in CALL.bytes().chain(*b"\"}") {
        let token = tokenizer.encode(char::from(byte).to_string(), false).unwrap().get_ids()[0];
        assert!(guide.mask().unwrap().allows(token), "{}", char::from(byte));
        guide.commit(token).unwrap();
    }
    assert!(guide.is_accepting(), "what ends the answer is not asked for within it");
}

#[test]
fn a_token_spans_parts_of_the_grammar() {
    // One token of three parts: the string's end, the object's, the text's behind it.
    let tokens = ["{\"a\": \"", "x", "\"}\n", "\"}\nend", "\"", "}", "x\"}", "\n", "end"];
    let table = TokenTable { bytes: tokens.map(|token| token.as_bytes().to_vec()).to_vec(), ..TokenTable::default() };
    let vocabulary = Arc::new(Vocabulary::new(table, &[], tokens.len(), None).unwrap());
    let schema = json!({ "properties": { "a": { "type": "string" } }, "required": ["a"] });
    let tree = Tree::Sequence(vec![Tree::Json(schema), Tree::text("\nend")]);
    let grammar = Grammar::of_calls(&tree, &vocabulary).unwrap();
    let whole = |path: &[u32]| {
        let mut guide = Guide::new(&vocabulary, &grammar).unwrap();
        let admitted = path.iter().all(|token| {
            let allowed = guide.mask().unwrap().allows(*token);
            allowed && guide.commit(*token).is_ok()
        });
        admitted && guide.is_stopped()
    };
    for path in [&[0, 1, 3][..], &[0, 1, 2, 8], &[0, 1, 4, 5, 7, 8], &[0, 6, 7, 8], &[0, 3]] {
        assert!(whole(path), "{path:?}");
    }
    assert!(!whole(&[0, 2, 1]));
}

#[test]
fn forced_text_is_written_as_the_tokenizer_writes_it() {
    let tokenizer = fixture::byte_level(8, 900);
    let text = "{\"customer\": \"alpha order\"}";
    let mut guide =
        Guide::new(&vocabulary(&tokenizer), &Grammar::new(&Constraint::Choice(vec![text.into()])).unwrap()).unwrap();
    assert_eq!(guide.forced(), tokenizer.encode(text, false).unwrap().get_ids());
    assert!(guide.is_stopped());
    let mut free =
        Guide::new(&free_vocabulary(&tokenizer), &Grammar::new(&Constraint::Choice(vec![text.into()])).unwrap())
            .unwrap();
    assert!(free.forced().is_empty());
}

#[test]
fn scores_without_a_token_are_masked() {
    let tokenizer = fixture::byte_level(8, 0);
    let known = tokenizer.get_vocab_size(true);
    assert_eq!(size(&tokenizer) + 2, known);
    let end = tokenizer.token_to_id(END).unwrap();
    let letter = |text: &str| tokenizer.token_to_id(text).unwrap();
    let grammar = Grammar::new(&Constraint::Regex("[ab]".into())).unwrap();
    // More scores than tokens.
    let vocabulary = Arc::new(Vocabulary::from_tokenizer(&tokenizer, &[end], known + 70).unwrap());
    let mask = Guide::new(&vocabulary, &grammar).unwrap().mask().unwrap();
    let mut scores = vec![1.0; known + 70];
    mask.apply(&mut scores);
    let left: Vec<u32> = (0..).zip(&scores).filter(|(_, score)| **score == 1.0).map(|(token, _)| token).collect();
    let mut expected = vec![letter("a"), letter("b")];
    expected.sort_unstable();
    assert_eq!(left, expected);
    // Fewer: a token that can't be sampled is not counted on, nor as the answer's end.
    let few = letter("b") as usize;
    assert!(few > letter("a") as usize);
    let vocabulary = Arc::new(Vocabulary::from_tokenizer(&tokenizer, &[end], few).unwrap());
    let mut guide = Guide::new(&vocabulary, &grammar).unwrap();
    let mut scores = vec![1.0; few];
    guide.mask().unwrap().apply(&mut scores);
    assert_eq!(scores.iter().filter(|score| **score == 1.0).count(), 1);
    let only_b = Grammar::new(&Constraint::Regex("b".into())).unwrap();
    assert_eq!(Guide::new(&vocabulary, &only_b).and_then(|mut guide| guide.mask()), Err(GrammarError::DeadEnd));
}

#[test]
fn odd_tokens_do_no_harm() {
    let mut bytes: Vec<Vec<u8>> = ["a", "b", "a", "", "ab", ""].map(|token| token.as_bytes().to_vec()).to_vec();
    bytes.push(vec![b'a'; 5000]);
    bytes.push(vec![0xff]);
    bytes.push(b"\xff[0]".to_vec());
    bytes.push(vec![b'a', 0xff]);
    let count = bytes.len();
    let vocabulary =
        Arc::new(Vocabulary::new(TokenTable { bytes, ..TokenTable::default() }, &[99], 4096, None).unwrap());
    assert_eq!(vocabulary.size(), count);
    let grammar = Grammar::new(&Constraint::Regex("[ab]*".into())).unwrap();
    let mut guide = Guide::new(&vocabulary, &grammar).unwrap();
    assert_eq!(guide.mask().unwrap().tokens(), [0, 1, 2, 4], "a token that is there twice is admitted twice");
    for token in [0, 2, 4] {
        guide.commit(token).unwrap();
    }
    for token in [3, 5, 6, 7, 8, 9, 10, u32::MAX] {
        assert_eq!(guide.commit(token), Err(GrammarError::Rejected { token }));
    }
    assert!(guide.is_accepting(), "nothing was broken by them");
    for broken in [TokenTable::default(), TokenTable { bytes: vec![Vec::new(); 10], ..TokenTable::default() }] {
        match Vocabulary::new(broken, &[], 10, None) {
            Ok(empty) => assert_eq!(
                Guide::new(&Arc::new(empty), &grammar).and_then(|mut guide| guide.mask()),
                Err(GrammarError::DeadEnd)
            ),
            Err(error) => assert!(matches!(error, GrammarError::Vocabulary(_)), "{error}"),
        }
    }
}

#[test]
fn sentence_piece_answers_may_begin_with_its_space() {
    let tokenizer = fixture::sentence_piece(8, 900);
    let grammar = Grammar::new(&Constraint::Regex("alpha order".into())).unwrap();
    let text = "alpha order";
    assert!(tokenizer.encode(text, false).unwrap().get_tokens()[0].starts_with('▁'));
    assert_admitted(&mut Guide::new(&free_vocabulary(&tokenizer), &grammar).unwrap(), &tokenizer, text, "▁");
}

//! Secrets do not reach the files, whatever they stand in.

use codriver_memory::{ContextItem, Memory, MemoryOptions, NewChunk, NewToolRun, Redactor, Scope};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::support::{files_with, folder, turn};

const LETTERS: &str = "[A-Za-z0-9]";

/// A secret of a kind that is known by its shape: as it stands in a text, and what of it may not remain.
fn shaped() -> impl Strategy<Value = (String, String)> {
    let whole = |pattern: &str| proptest::string::string_regex(pattern).unwrap().prop_map(|secret| (secret.clone(), secret)).boxed();
    let within = |before: &'static str, pattern: &str, after: &'static str| {
        proptest::string::string_regex(pattern).unwrap().prop_map(move |secret| (format!("{before}{secret}{after}"), secret)).boxed()
    };
    prop_oneof![
        whole("AKIA[A-Z0-9]{16}"),
        whole(&format!("gh[pousr]_{LETTERS}{{36}}")),
        whole("github_pat_[A-Za-z0-9_]{40,82}"),
        whole("glpat-[A-Za-z0-9_-]{20}"),
        whole("xoxb-[0-9]{10,12}-[A-Za-z0-9]{24}"),
        whole("sk-(proj-)?[A-Za-z0-9]{40,48}"),
        whole("sk-ant-api03-[A-Za-z0-9_-]{80}"),
        whole("AIza[A-Za-z0-9_-]{35}"),
        whole("sk_live_[A-Za-z0-9]{24}"),
        whole("hf_[A-Za-z0-9]{34}"),
        whole("npm_[A-Za-z0-9]{36}"),
        whole("SG\\.[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}"),
        whole("eyJ[A-Za-z0-9_-]{20,60}\\.eyJ[A-Za-z0-9_-]{20,90}\\.[A-Za-z0-9_-]{43}"),
        whole("AGE-SECRET-KEY-1[0-9A-Z]{58}"),
        within("postgres://ada:", "[A-Za-z0-9!$&*+._~-]{8,24}", "@db.example.com:5432/app"),
        within("Authorization: Bearer ", "[A-Za-z0-9._-]{30,60}", ""),
        within("-----BEGIN RSA PRIVATE KEY-----\n", "[A-Za-z0-9+/]{64}", "\n-----END RSA PRIVATE KEY-----"),
        within("DefaultEndpointsProtocol=https;AccountKey=", "[A-Za-z0-9+/]{86}", "==;EndpointSuffix=core.windows.net"),
    ]
}

/// A secret of no known shape, under a name that gives it away.
fn named() -> impl Strategy<Value = (String, String)> {
    let value = "[A-Za-z0-9]{24,40}".prop_filter("of chance, with a digit", |value: &String| {
        let distinct = value.chars().collect::<std::collections::HashSet<_>>().len();
        distinct > 14 && value.chars().any(|character| character.is_ascii_digit()) && value.chars().any(char::is_alphabetic)
    });
    let frames = ["API_KEY={}", "api_key: \"{}\"", "export DB_PASSWORD='{}'", "{\"client_secret\": \"{}\"}", "token = \"{}\"", "--token {}", "my password is {}"];
    (value, select(frames.to_vec())).prop_map(|(value, frame)| (frame.replacen("{}", &value, 1), value))
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn no_secret_of_a_known_kind_survives() {
    let around = ("[ -~\n]{0,40}", "[ -~\n]{0,40}");
    let strategy = (prop_oneof![shaped(), named()], around);
    let redactor = Redactor::new();
    let check = |((text, secret), (before, after)): ((String, String), (String, String))| {
        // What stands right before or behind may belong to the secret or its name: a break between them.
        let whole = format!("{before}\n{text}\n{after}");
        let clean = redactor.redact(&whole);
        prop_assert!(!clean.contains(&secret), "{whole:?} became {clean:?}");
        let json = redactor.redact_json(&json!({"text": whole, "list": [{"inner": text}]})).to_string();
        prop_assert!(!json.contains(&secret), "{json}");
        Ok(())
    };
    runner(3000).run(&strategy, check).unwrap();
}

#[test]
fn ordinary_text_stays_as_it_is() {
    let words = select(vec![
        "the", "token", "tokens", "password", "secret", "key", "is", "required", "=", ":", "orders", "3.14", "SELECT", "sum(amount)", "FROM", "user_id",
        "2026-11-21", "https://example.com/a?b=c", "src/main.rs:12", "0x1f", "fn main() {}", "\n", "API", "auth", "config.token", "50%", "naïve", "売上",
        "1.2.3", "foo@bar", "Bearer", "let", "credentials", "None", "null", "\"name\"",
    ]);
    let text = proptest::collection::vec(words, 0..30).prop_map(|words| words.join(" "));
    let redactor = Redactor::new().with_personal_data(true);
    runner(3000)
        .run(&text, |text| {
            prop_assert_eq!(redactor.redact(&text), text.as_str());
            Ok(())
        })
        .unwrap();
}

/// A prompt of a megabyte is read in a moment: a turn waits for it.
#[test]
fn long_texts_are_read_in_a_moment() {
    let redactor = Redactor::new().knowing(["correct-horse-battery".to_owned()]).with_personal_data(true);
    let texts = [
        "0123456789abcdef".repeat(64 * 1024),
        "the token of the secret password is key = value, ".repeat(20_000),
        "a.b-c_".repeat(160_000),
        "https://example.com/a:b ".repeat(40_000),
        "{\"name\": \"some value\", \"number\": 12}\n".repeat(25_000),
    ];
    for text in texts {
        let begin = std::time::Instant::now();
        assert_eq!(redactor.redact(&text), text.as_str());
        let time = begin.elapsed();
        println!("{:?}... {:.1} MB/s", &text[..12], text.len() as f64 / 1e6 / time.as_secs_f64());
        assert!(time < std::time::Duration::from_secs(2), "{time:?} for {:?}...", &text[..30]);
    }
}

#[test]
fn redacting_twice_is_redacting_once() {
    let redactor = Redactor::new().with_personal_data(true);
    runner(1000)
        .run(&(prop_oneof![shaped(), named()], "\\PC{0,60}"), |((text, _), rest)| {
            let once = redactor.redact(&format!("{rest} {text}")).into_owned();
            prop_assert_eq!(redactor.redact(&once), once.as_str());
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_secret_is_in_the_bytes_of_the_files() {
    let (_folder, path) = folder();
    let known = "correct-horse-battery";
    let redactor = Redactor::new().knowing([known.to_owned()]).with_personal_data(true);
    let memory = Memory::open_with(MemoryOptions { redactor, ..MemoryOptions::new(&path) }).unwrap();
    let beside = Memory::open(&path, None).unwrap();
    let secrets = std::cell::RefCell::new(vec![known.to_owned(), "ada@example.com".to_owned()]);
    runner(40)
        .run(&prop_oneof![shaped(), named()], |(text, secret)| {
            secrets.borrow_mut().push(secret.clone());
            for memory in [&memory, &beside] {
                let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
                let mut turn = turn(&conversation, &format!("use {text} please"), &format!("I used\n{text}"));
                turn.prompt = format!("<|user|>\n{text}\n<|end|>");
                turn.context = vec![ContextItem {
                    kind: "chunk".into(),
                    origin: "a".into(),
                    title: text.clone(),
                    text: text.clone(),
                    score: None,
                    tokens: 1,
                    dropped: None,
                    details: Default::default(),
                }];
                memory.append_turn(&turn).unwrap();
                let run = NewToolRun { conversation, tool: "run_shell".into(), arguments: json!({"command": text}), policy: "allowed".into() };
                let id = memory.start_tool_run(&run).unwrap();
                memory.finish_tool_run(&id, "ok", &text, 1).unwrap();
                memory.remember(&text, Scope::Global, "user").unwrap();
                memory.add_chunks(&secret.chars().take(3).collect::<String>(), &[NewChunk::new(&*text, &*text)], Scope::Global).unwrap();
            }
            Ok(())
        })
        .map_err(|error| error.to_string())
        .unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let said = format!("I am ada@example.com, and say {known}");
    memory.append_turn(&turn(&conversation, &said, "fine")).unwrap();
    let kept: Vec<String> = memory.facts(None).unwrap().into_iter().map(|fact| fact.text).collect();
    assert!(kept.len() > 5 && kept.iter().all(|text| text.contains("[redacted: ")), "{kept:?}");
    // In the log and the journal, then in the database.
    let check = || secrets.borrow().iter().for_each(|secret| assert_eq!(files_with(&path, secret), [""; 0], "{secret}"));
    check();
    drop(memory);
    drop(beside);
    check();
    drop(Memory::open(&path, None).unwrap());
    check();
}

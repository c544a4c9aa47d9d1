//! Tokenizers that are rebuilt from GGUF files make of every text what llama.cpp makes of it.

use std::path::{Path, PathBuf};

use codriver_formats::tokenizer::{ModelTokenizer, open_tokenizer};
use serde_json::Value as Json;

use crate::reference;

/// Every pre-tokenizer that is known by name, and none.
const PRE_TOKENIZERS: &str = "a.x-4.0,afmoe,bailingmoe,bailingmoe2,bloom,chameleon,chatglm-bpe,codeshell,cohere2moe,command-r,dbrx,deepseek-coder,deepseek-llm,deepseek-r1-qwen,deepseek-v3,default,exaone,exaone-moe,exaone4,f2llmv2,falcon,falcon-h1,falcon3,gemma4,gigachat,glm4,glm5,gpt-2,gpt-4o,gpt3-finnish,granite-docling,granite-embed-multi-311m,granite-embed-multi-97m,grok-2,hunyuan,hunyuan-dense,hy_v4,jais,jais-2,jina-de,jina-es,jina-v1-en,jina-v2-code,jina-v2-de,jina-v2-es,jina-v5-nano,joyai-llm,kanana2,kimi-k2,kormo,laguna,lfm2,llada-moe,llama-bpe,llama-v3,llama3,llama4,megrez,mellum,mellum2,midm-2.0,minerva-7b,minicpm5,minimax-m2,modern-bert,mpt,olmo,phi-2,pixtral,poro-chat,qwen2,qwen35,refact,roberta-bpe,sarvam-moe,seed-coder,smaug-bpe,smollm,solar-open,spark2_5,stablelm2,starcoder,superbpe,talkie,tekken,tiny_aya,trillion,ufakzeka,viking,youtu,";

#[test]
fn published_vocabularies_read_their_texts_exactly() {
    let mut checked = 0;
    for entry in std::fs::read_dir(published()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let beside = |extension: &str| {
            std::fs::read_to_string(PathBuf::from(format!("{}.{extension}", path.display()))).unwrap()
        };
        let tokenizer = open_tokenizer(&path).unwrap();
        let (texts, expected) = (beside("inp"), beside("out"));
        for (text, expected) in texts.split("\n__ggml_vocab_test__\n").zip(expected.lines()) {
            let expected: Vec<u32> = expected.split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert_eq!(tokenizer.encode(text, false).unwrap(), expected, "{}: {text:?}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} texts were there to check");
}

#[test]
fn every_pre_tokenizer_cuts_random_texts_as_llama_cpp_does() {
    check("bpe", &[PRE_TOKENIZERS]);
}

#[test]
fn sentence_piece_word_piece_and_unigram_read_random_texts_as_llama_cpp_does() {
    check("others", &[published().to_str().unwrap()]);
}

#[test]
fn tokenizer_json_files_say_what_each_token_adds_to_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let seed = reference::fresh_seed().to_string();
    let expected = reference::run("tokenizers_gguf.py", &["json", folder.path().to_str().unwrap(), &seed]);
    for kind in expected.as_array().unwrap() {
        let tokenizer = open_tokenizer(Path::new(kind["path"].as_str().unwrap())).unwrap();
        assert_eq!(tokenizer.special().ends, ids(&kind["ends"]).into_iter().collect());
        assert_eq!(tokenizer.special_names()["eos_token"], "</s>");
        for case in kind["cases"].as_array().unwrap() {
            assert_eq!(difference(&tokenizer, case), None);
            let ids = ids(&case["ids"]);
            let decoded = tokenizer.decode(&ids, false).unwrap();
            assert_eq!(decoded, case["decoded"].as_str().unwrap());
            let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id).unwrap()).collect();
            let text = String::from_utf8_lossy(&bytes);
            // SentencePiece's first space is not in the text.
            let begins = kind["path"].as_str().unwrap().ends_with("spaces") && !ids.is_empty();
            assert_eq!(text, if begins { format!(" {decoded}") } else { decoded });
        }
    }
}

#[test]
fn a_megabyte_takes_seconds_at_most_whatever_is_in_it() {
    let prose = "The kernel's 3 cells ran in 12.5 seconds; \u{1F680} größer als 1000000.\n\n    return x\r\n";
    let texts = ["a", " ", "\n", "é", "\u{1F680}", "1", "'s", "ab", "<s>", prose]
        .map(|text| text.repeat((1 << 20) / text.len()));
    for name in ["ggml-vocab-gpt-2.gguf", "ggml-vocab-llama-spm.gguf", "ggml-vocab-phi-3.gguf"] {
        let tokenizer = open_tokenizer(&published().join(name)).unwrap();
        for text in &texts {
            let start = std::time::Instant::now();
            let tokens = tokenizer.encode_prompt(text, true).unwrap();
            let start_of_text: String = text.chars().take(5).collect();
            eprintln!("{name} {start_of_text:?}: {} tokens, {:?}", tokens.len(), start.elapsed());
            assert!(start.elapsed().as_secs() < 20, "{name} {start_of_text:?}: {:?}", start.elapsed());
            if !text.starts_with("<s>") {
                assert_eq!(&tokenizer.decode(&tokens, true).unwrap(), text);
            }
        }
    }
}

/// Vocabularies as models were published with them, texts, and what these should be.
fn published() -> PathBuf {
    PathBuf::from("../../../shared/data/tokenizers")
}

fn check(command: &str, more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let seed = reference::fresh_seed().to_string();
    let arguments: Vec<&str> = [command, folder.path().to_str().unwrap(), &seed].iter().chain(more).copied().collect();
    let expected = reference::run("tokenizers_gguf.py", &arguments);
    let mut wrong = Vec::new();
    for file in expected.as_array().unwrap() {
        let tokenizer = open_tokenizer(Path::new(file["path"].as_str().unwrap())).unwrap();
        let ends: Vec<u32> = tokenizer.special().ends.iter().copied().collect();
        assert_eq!(serde_json::json!(ends), file["ends"], "{}", file["path"]);
        let cases = file["cases"].as_array().unwrap();
        wrong.extend(cases.iter().filter_map(|case| difference(&tokenizer, case)));
        for (id, piece) in (0..).zip(file["pieces"].as_array().into_iter().flatten()) {
            let expected: Vec<u8> = ids(piece).into_iter().map(|byte| byte as u8).collect();
            assert_eq!(tokenizer.token_bytes(id).unwrap(), expected, "{}: {id}", file["path"]);
        }
        if let Some(model) = file["model"].as_str() {
            let tokenizer = open_tokenizer(Path::new(model)).unwrap();
            let cases = cases.iter().filter(|case| case["special"] == false);
            wrong.extend(cases.filter_map(|case| difference(&tokenizer, case)));
        }
    }
    assert!(wrong.is_empty(), "{} texts differ, such as:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
}

fn difference(tokenizer: &ModelTokenizer, case: &Json) -> Option<String> {
    let text = case["text"].as_str().unwrap();
    let special = case["special"] == true;
    let control = case["control"] == true;
    let tokens = match control {
        true => tokenizer.encode_prompt(text, special),
        false => tokenizer.encode(text, special),
    };
    let tokens = tokens.unwrap();
    let expected = ids(&case["ids"]);
    let spell = |ids: &[u32]| -> Vec<String> {
        ids.iter().map(|id| tokenizer.token_text(*id).unwrap_or_else(|| id.to_string())).collect()
    };
    (tokens != expected).then(|| {
        let path = tokenizer.path().file_name().unwrap().display();
        format!(
            "{path} special={special} control={control} {text:?}:\n  {:?}\n  instead of\n  {:?}",
            spell(&tokens),
            spell(&expected)
        )
    })
}

fn ids(list: &Json) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

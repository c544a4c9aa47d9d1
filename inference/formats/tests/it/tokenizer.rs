//! Tokenizers that are rebuilt from GGUF files make of every text what llama.cpp makes of it.

use std::path::{Path, PathBuf};

use codriver_formats::tokenizer::{ModelTokenizer, open_tokenizer};
use serde_json::Value as Json;

use crate::reference;

/// Every pre-tokenizer that is known by name, and none.
const PRE_TOKENIZERS: &str = "a.x-4.0,afmoe,bailingmoe,bailingmoe2,bloom,chameleon,chatglm-bpe,codeshell,cohere2moe,command-r,dbrx,deepseek-coder,deepseek-llm,deepseek-r1-qwen,deepseek-v3,default,exaone,exaone-moe,exaone4,f2llmv2,falcon,falcon-h1,falcon3,gemma4,gigachat,glm4,glm5,gpt-2,gpt-4o,gpt3-finnish,granite-docling,granite-embed-multi-311m,granite-embed-multi-97m,grok-2,hunyuan,hunyuan-dense,hy_v4,jais,jais-2,jina-de,jina-es,jina-v1-en,jina-v2-code,jina-v2-de,jina-v2-es,jina-v5-nano,joyai-llm,kanana2,kimi-k2,kormo,laguna,lfm2,llada-moe,llama-bpe,llama-v3,llama3,llama4,megrez,mellum,mellum2,midm-2.0,minerva-7b,minicpm5,minimax-m2,modern-bert,mpt,olmo,phi-2,pixtral,poro-chat,qwen2,qwen35,refact,roberta-bpe,sarvam-moe,seed-coder,smaug-bpe,smollm,solar-open,spark2_5,stablelm2,starcoder,superbpe,talkie,tekken,tiny_aya,trillion,ufakzeka,viking,youtu,";

#[test]
fn published_vocabularies_read_their_texts_exactly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tokenizers");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
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
    check("others", &[]);
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
        wrong.extend(file["cases"].as_array().unwrap().iter().filter_map(|case| difference(&tokenizer, case)));
    }
    assert!(wrong.is_empty(), "{} texts differ, such as:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
}

fn difference(tokenizer: &ModelTokenizer, case: &Json) -> Option<String> {
    let text = case["text"].as_str().unwrap();
    let special = case["special"] == true;
    let control = case["control"] == true;
    let ids = match control {
        true => tokenizer.encode_prompt(text, special),
        false => tokenizer.encode(text, special),
    };
    let ids = ids.unwrap();
    let expected: Vec<u32> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let spell = |ids: &[u32]| -> Vec<String> {
        ids.iter().map(|id| tokenizer.token_text(*id).unwrap_or_else(|| id.to_string())).collect()
    };
    (ids != expected).then(|| {
        let path = tokenizer.path().file_name().unwrap().display();
        format!(
            "{path} special={special} control={control} {text:?}:\n  {:?}\n  instead of\n  {:?}",
            spell(&ids),
            spell(&expected)
        )
    })
}

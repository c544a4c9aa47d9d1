//! Which model cuts how: a `tokenizer.ggml.pre` and what it stands for.

use super::patterns as pattern;

/// What the name of a pre-tokenizer says about a model.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Recipe {
    pub(in super::super) stages: &'static [&'static str],
    /// A word that is a token is that token, whatever merging would make of it.
    pub(in super::super) whole_words_first: bool,
    /// Texts begin with `bos`, where the file does not say.
    pub(in super::super) adds_bos: bool,
    /// Whether there is a `bos` where the file names none.
    pub(in super::super) has_bos: bool,
    /// Tokens are text with escaped spaces, and bytes as a last resort, as SentencePiece's are;
    /// not a character for each byte.
    pub(in super::super) escapes_spaces: bool,
    /// A run of line breaks that is a token is that token.
    pub(in super::super) whole_line_breaks: bool,
}

const PLAIN: Recipe = Recipe {
    stages: &[pattern::GPT2],
    whole_words_first: false,
    adds_bos: false,
    has_bos: true,
    escapes_spaces: false,
    whole_line_breaks: false,
};

impl Recipe {
    /// llama.cpp's for models that name none.
    pub(in super::super) const DEFAULT: Self = Self {
        stages: &[pattern::DEFAULT_PUNCTUATION, pattern::GPT2, pattern::NUMBERS, pattern::THREE_DIGITS],
        ..PLAIN
    };

    /// The recipe of a `tokenizer.ggml.pre`, if the name is known.
    pub(in super::super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "default" => Self::DEFAULT,
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "jina-es" | "jina-de"
            | "jina-v2-es" | "jina-v2-de" | "jina-v1-en" | "jina-v2-code" | "roberta-bpe" | "gigachat" | "a.x-4.0"
            | "mellum" | "modern-bert" | "exaone4" => Self::of(&[pattern::GPT2]),
            "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2"
            | "jina-v5-nano" => Self { whole_words_first: true, adds_bos: true, ..Self::of(&[pattern::LLAMA3]) },
            "dbrx" | "smaug-bpe" => Self::of(&[pattern::LLAMA3]),
            "chatglm-bpe" => Self { has_bos: false, ..Self::of(&[pattern::LLAMA3]) },
            "glm4" | "glm5" => Self { has_bos: false, whole_words_first: true, ..Self::of(&[pattern::LLAMA3]) },
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2" | "hunyuan" | "solar-open"
            | "grok-2" => Self::of(&[pattern::QWEN2]),
            "qwen35" => Self::of(&[pattern::QWEN35]),
            "laguna" => Self::of(&[pattern::LINES, pattern::QWEN2]),
            "ufakzeka" => Self::of(&[pattern::UFAKZEKA]),
            "seed-coder" => Self::of(&[pattern::SEED_CODER]),
            "bailingmoe" | "bailingmoe2" | "llada-moe" => Self::of(&[pattern::BAILING_MOE]),
            "exaone-moe" => Self::of(&[pattern::EXAONE_MOE]),
            "minicpm5" => {
                let stages = &[pattern::UP_TO_THREE_NUMBERS, pattern::MINICPM5];
                Self { whole_words_first: true, ..Self::of(stages) }
            }
            "jais-2" => Self::of(&[pattern::JAIS2]),
            "deepseek-llm" => Self::of(&[
                pattern::LINE_BREAK,
                pattern::DEEPSEEK_LETTERS,
                pattern::DEEPSEEK_PUNCTUATION,
                pattern::TRAILING_SPACES,
                pattern::DEEPSEEK_SCRIPTS,
                pattern::NUMBERS,
            ]),
            "deepseek-coder" => Self::of(&[
                pattern::LINE_BREAK,
                pattern::SPACED_LETTERS,
                pattern::SPACED_PUNCTUATION,
                pattern::DEEPSEEK_SCRIPTS,
                pattern::ONE_NUMBER,
            ]),
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => {
                Self::of(&[pattern::UP_TO_THREE_NUMBERS, pattern::HAN_AND_KANA, pattern::DEEPSEEK3])
            }
            "spark2_5" => {
                Self::of(&[pattern::UP_TO_THREE_NUMBERS, pattern::HAN_AND_KANA, pattern::SPARK2_5, pattern::ONE_NUMBER])
            }
            "afmoe" => Self::of(&[pattern::DIGITS_IN_THREES, pattern::AFMOE_SCRIPTS, pattern::DEEPSEEK3]),
            "youtu" => Self { whole_words_first: true, ..Self::of(&[pattern::YOUTU_SCRIPTS, pattern::YOUTU]) },
            "falcon" => Self::of(&[pattern::FALCON_PUNCTUATION, pattern::GPT2, pattern::THREE_DIGITS]),
            "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => {
                Self::of(&[pattern::ONE_NUMBER, pattern::GPT2])
            }
            "poro-chat" | "bloom" | "gpt3-finnish" => Self::of(&[pattern::BLOOM]),
            "viking" => Self::of(&[pattern::BLOOM, pattern::ONE_NUMBER]),
            "tekken" => Self { whole_words_first: true, adds_bos: true, ..Self::of(&[pattern::TEKKEN]) },
            "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => Self::of(&[pattern::GPT4O]),
            "granite-embed-multi-97m" => Self { whole_words_first: true, ..Self::of(&[pattern::GRANITE_EMBEDDING]) },
            "tiny_aya" | "cohere2moe" => Self::of(&[pattern::DIGITS_IN_THREES, pattern::TINY_AYA]),
            "kimi-k2" => Self::of(&[pattern::KIMI_K2]),
            "superbpe" => Self::of(&[pattern::NUMBERS, pattern::BEFORE_THREE_DIGITS]),
            "chameleon" => {
                let stages = &[
                    pattern::CHAMELEON_SENTINEL,
                    pattern::CHAMELEON_IMAGE,
                    pattern::CHAMELEON_SPACES,
                    pattern::ONE_NUMBER,
                    pattern::CHAMELEON_PUNCTUATION,
                    pattern::GPT2,
                ];
                Self { adds_bos: true, ..Self::of(stages) }
            }
            "gemma4" | "granite-embed-multi-311m" => {
                let lines = Self { escapes_spaces: true, ..Self::of(&[pattern::LINES]) };
                Self { adds_bos: true, whole_line_breaks: true, ..lines }
            }
            "sarvam-moe" => Self { escapes_spaces: true, ..Self::of(&[pattern::LINES]) },
            _ => return None,
        })
    }

    const fn of(stages: &'static [&'static str]) -> Self {
        Self { stages, ..PLAIN }
    }
}

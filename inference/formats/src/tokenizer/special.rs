//! The tokens that frame a text, and what llama.cpp knows of them by their names where files say
//! it wrongly or not at all.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::vocabulary::{Kind, Vocabulary};
use crate::FormatError;
use crate::gguf::Metadata;

/// A model's special tokens by their roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a text; BERT's `[CLS]`.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Ends a turn in a conversation.
    pub eot: Option<u32>,
    /// Ends a message that others follow in the same turn.
    pub eom: Option<u32>,
    /// Stands for what the vocabulary has no token for.
    pub unk: Option<u32>,
    pub sep: Option<u32>,
    pub pad: Option<u32>,
    pub mask: Option<u32>,
    /// Tokens that end an answer: those above and others that say so by their names.
    pub ends: BTreeSet<u32>,
    /// Whether texts begin with `bos`.
    pub add_bos: bool,
    /// Whether texts end with `eos`; BERT's with `sep`.
    pub add_eos: bool,
    /// Whether a space is put before texts, and taken away before what tokens say.
    pub add_space_prefix: bool,
}

/// Names of tokens that end a turn.
const END_OF_TURN: [&str; 11] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];
const END_OF_MESSAGE: &str = "<|eom_id|>";
/// Other names of tokens that end an answer.
const ENDS: [&str; 10] = [
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "</s>",
    "[EOS]",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
];
/// Roles in code completion: their key, its older name if it has one, whether their tokens end an
/// answer, the tokens' names.
const FILL_IN: [(&str, Option<&str>, bool, &[&str]); 6] = [
    (
        "fim_pre_token_id",
        Some("prefix_token_id"),
        false,
        &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
    ),
    (
        "fim_suf_token_id",
        Some("suffix_token_id"),
        false,
        &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
    ),
    (
        "fim_mid_token_id",
        Some("middle_token_id"),
        false,
        &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
    ),
    ("fim_pad_token_id", None, true, &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    ("fim_rep_token_id", None, true, &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]),
    ("fim_sep_token_id", None, true, &["<|file_sep|>"]),
];
/// gpt-oss writes its channels with these; they are shown.
const HARMONY: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

impl SpecialTokens {
    /// What a file's keys say, `self` where they don't.
    ///
    /// # Errors
    /// A role that encoding needs, given to a token that the vocabulary does not have.
    pub(super) fn read(
        mut self,
        metadata: &Metadata,
        vocabulary: &Vocabulary,
        warnings: &mut Vec<String>,
    ) -> Result<Self, FormatError> {
        let roles = [
            ("bos_token_id", &mut self.bos, true),
            ("eos_token_id", &mut self.eos, true),
            ("eot_token_id", &mut self.eot, true),
            ("eom_token_id", &mut self.eom, true),
            ("unknown_token_id", &mut self.unk, true),
            ("seperator_token_id", &mut self.sep, true),
            ("padding_token_id", &mut self.pad, false),
            ("mask_token_id", &mut self.mask, false),
        ];
        for (key, role, needed) in roles {
            *role = role.filter(|id| vocabulary.get(*id).is_some());
            *role = named(metadata, key, vocabulary, needed, warnings)?.or(*role);
        }
        let flag = |key: &str, default: bool| -> Result<bool, FormatError> {
            Ok(metadata.get(&format!("tokenizer.ggml.{key}"))?.unwrap_or(default))
        };
        self.add_bos = flag("add_bos_token", self.add_bos)?;
        self.add_eos = flag("add_eos_token", self.add_eos)?;
        self.add_space_prefix = flag("add_space_prefix", self.add_space_prefix)?;
        for (adds, role, key) in [(self.add_bos, self.bos, "bos"), (self.add_eos, self.eos, "eos")] {
            if adds && role.is_none() {
                let reason =
                    format!("wants {key} added to texts but has no such token (tokenizer.ggml.{key}_token_id)");
                return Err(metadata.error(reason));
            }
        }
        Ok(self)
    }

    /// Finds roles by tokens' names, and corrects the kinds of tokens that frame texts.
    pub(super) fn find_by_name(
        &mut self,
        metadata: &Metadata,
        vocabulary: &mut Vocabulary,
        warnings: &mut Vec<String>,
    ) -> Result<(), FormatError> {
        self.eot = self.eot.or_else(|| control(vocabulary, &END_OF_TURN));
        self.eom = self.eom.or_else(|| control(vocabulary, &[END_OF_MESSAGE]));
        for (key, older, ends, names) in FILL_IN {
            let mut id = named(metadata, key, vocabulary, false, warnings)?;
            if let Some(older) = older {
                id = named(metadata, older, vocabulary, false, warnings)?.or(id);
            }
            let id = id.or_else(|| control(vocabulary, names));
            self.ends.extend(id.filter(|_| ends));
        }
        for name in END_OF_TURN.into_iter().chain(ENDS).chain([END_OF_MESSAGE]) {
            self.ends.extend(control(vocabulary, &[name]));
        }
        for name in HARMONY {
            set_kind(vocabulary, name, Kind::USER_DEFINED);
        }
        self.ends.extend([self.eos, self.eot, self.eom].into_iter().flatten());
        let ends = |vocabulary: &Vocabulary, name: &str| vocabulary.id(name).filter(|id| self.ends.contains(id));
        let any = |names: &[&str]| names.iter().any(|name| ends(vocabulary, name).is_some());
        // These families end answers otherwise.
        let calls = any(&["<|call|>", "<|calls|>"]);
        let not_ends = [
            ("<|end|>", (any(&["<|return|>"]) || any(&["<|flush|>"])) && calls, Kind::USER_DEFINED),
            ("</s>", any(&["<|tool_response>", "<|plamo:eos|>"]), Kind::NORMAL),
        ];
        for (name, applies, kind) in not_ends {
            if let Some(id) = vocabulary.id(name).filter(|id| applies && self.ends.contains(id)) {
                self.ends.remove(&id);
                set_kind(vocabulary, name, kind);
            }
        }
        Ok(())
    }
}

impl SpecialTokens {
    /// The texts of tokens as chat templates name them.
    pub(super) fn names(&self, vocabulary: &Vocabulary) -> Map<String, Value> {
        let roles = [
            ("bos_token", self.bos),
            ("eos_token", self.eos),
            ("unk_token", self.unk),
            ("sep_token", self.sep),
            ("pad_token", self.pad),
            ("mask_token", self.mask),
        ];
        let text = |id: u32| Some(Value::from(vocabulary.get(id)?.text.as_str()));
        roles.into_iter().filter_map(|(name, id)| Some((name.to_string(), text(id?)?))).collect()
    }
}

/// The token of a key, if the file has the key.
fn named(
    metadata: &Metadata,
    key: &str,
    vocabulary: &Vocabulary,
    needed: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<u32>, FormatError> {
    let key = format!("tokenizer.ggml.{key}");
    let Some(id) = metadata.get::<u32>(&key)? else {
        return Ok(None);
    };
    if vocabulary.get(id).is_some() {
        return Ok(Some(id));
    }
    let reason = format!("`{key}` is {id}, but the vocabulary has {} tokens", vocabulary.len());
    // Some converters write -1 for "none".
    if needed && id != u32::MAX {
        return Err(metadata.error(format!("{reason}: convert or download the model again")));
    }
    warnings.push(format!("{reason}; it is ignored"));
    Ok(None)
}

/// The first token with one of the names; it is control from now on, whatever the file called it.
fn control(vocabulary: &mut Vocabulary, names: &[&str]) -> Option<u32> {
    let id = names.iter().find_map(|name| vocabulary.id(name))?;
    let token = vocabulary.get_mut(id)?;
    token.kind = token.kind.or(Kind::CONTROL);
    Some(id)
}

fn set_kind(vocabulary: &mut Vocabulary, name: &str, kind: Kind) {
    if let Some(token) = vocabulary.id(name).and_then(|id| vocabulary.get_mut(id)) {
        token.kind = kind;
    }
}

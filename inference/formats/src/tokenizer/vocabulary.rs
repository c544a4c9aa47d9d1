//! The tokens of a model by id: text, score, kind.

use std::borrow::Cow;
use std::collections::HashMap;

use super::byte_level;

/// What stands for a space in the tokens of SentencePiece and its relatives: U+2581.
pub(super) const ESCAPED_SPACE: &str = "\u{2581}";

/// Tokens and where to find them.
#[derive(Debug)]
pub(super) struct Vocabulary {
    tokens: Vec<Token>,
    ids: HashMap<String, u32>,
    /// How many bytes the longest token has.
    longest: usize,
    spelling: Spelling,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: String,
    /// A log probability, or for SentencePiece's BPE how late it was merged, negated.
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// How tokens spell the text they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// A character for each byte, as GPT-2 maps them.
    Bytes,
    /// As it is, [`ESCAPED_SPACE`] for spaces.
    EscapedSpaces,
}

/// A set of the roles that a token plays: SentencePiece knows one a token, but GGUF files often
/// call a token normal that its name says is control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    pub(super) const UNDEFINED: Self = Self(0);
    pub(super) const NORMAL: Self = Self(1);
    pub(super) const UNKNOWN: Self = Self(1 << 1);
    pub(super) const CONTROL: Self = Self(1 << 2);
    pub(super) const USER_DEFINED: Self = Self(1 << 3);
    pub(super) const UNUSED: Self = Self(1 << 4);
    pub(super) const BYTE: Self = Self(1 << 5);
    /// White space before the token, spelled out in a text, is part of it.
    pub(super) const STRIPS_BEFORE: Self = Self(1 << 6);
    /// White space after it is.
    pub(super) const STRIPS_AFTER: Self = Self(1 << 7);

    /// SentencePiece's and GGUF's number for a role.
    pub(super) fn from_number(number: i64) -> Self {
        match number {
            1 => Self::NORMAL,
            2 => Self::UNKNOWN,
            3 => Self::CONTROL,
            4 => Self::USER_DEFINED,
            5 => Self::UNUSED,
            6 => Self::BYTE,
            _ => Self::UNDEFINED,
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn is_any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Tokens that are not text: they frame it.
pub(super) const SPECIAL: Kind = Kind(Kind::CONTROL.0 | Kind::UNKNOWN.0);

impl Vocabulary {
    /// # Errors
    /// A token that is there twice.
    pub(super) fn new(tokens: Vec<Token>, spelling: Spelling) -> Result<Self, String> {
        let mut ids = HashMap::with_capacity(tokens.len());
        for (id, token) in (0..).zip(&tokens) {
            if let Some(other) = ids.insert(token.text.clone(), id) {
                return Err(format!("lists the token {:?} twice, as {other} and as {id}", token.text));
            }
        }
        let longest = tokens.iter().map(|token| token.text.len()).max().unwrap_or(0);
        Ok(Self { tokens, ids, longest, spelling })
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// How many bytes the longest token's text has.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn spelling(&self) -> Spelling {
        self.spelling
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Token> {
        self.tokens.get(usize::try_from(id).ok()?)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Token> {
        self.tokens.get_mut(usize::try_from(id).ok()?)
    }

    /// All tokens with their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Token)> {
        (0..).zip(&self.tokens)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Token> {
        self.tokens.iter_mut()
    }

    /// The token for one byte, `<0x0A>`, where the vocabulary can fall back on bytes.
    pub(super) fn byte(&self, byte: u8) -> Option<u32> {
        self.id(&format!("<0x{byte:02X}>"))
    }

    /// What a token adds to a text: bytes, since it may be part of a character.
    pub(super) fn bytes(&self, id: u32) -> Option<Cow<'_, [u8]>> {
        let token = self.get(id)?;
        let verbatim = SPECIAL.or(Kind::USER_DEFINED);
        Some(if token.kind.is_any_of(verbatim) {
            Cow::Borrowed(token.text.as_bytes())
        } else if token.kind.is_any_of(Kind::NORMAL) {
            spelled(&token.text, self.spelling)
        } else if token.kind.is_any_of(Kind::BYTE) {
            byte_named(&token.text).map_or(Cow::Borrowed(token.text.as_bytes()), |byte| Cow::Owned(vec![byte]))
        } else {
            Cow::Borrowed(&[])
        })
    }
}

/// The bytes that a token's text spells.
pub(super) fn spelled(text: &str, spelling: Spelling) -> Cow<'_, [u8]> {
    match spelling {
        Spelling::Bytes => Cow::Owned(byte_level::decode(text)),
        Spelling::EscapedSpaces if text.contains(ESCAPED_SPACE) => {
            Cow::Owned(text.replace(ESCAPED_SPACE, " ").into_bytes())
        }
        Spelling::EscapedSpaces => Cow::Borrowed(text.as_bytes()),
    }
}

/// The byte of a token such as `<0x0A>`.
pub(super) fn byte_named(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

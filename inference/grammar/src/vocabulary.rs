//! A model's vocabulary as grammars see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::toktrie::{INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use tokenizers::Tokenizer;

use crate::{GrammarError, TokenTable};

/// What each token of a model writes, and which tokens end an answer. Built once a model.
pub struct Vocabulary {
    pub(crate) factory: ParserFactory,
    environment: Arc<Environment>,
    /// Control tokens by id.
    special: BTreeMap<u32, String>,
    strips_leading_space: bool,
    not_first: Vec<u32>,
}

/// Text as the tokenizer writes it: the token ids.
pub type Encode = dyn Fn(&str) -> Option<Vec<u32>> + Send + Sync;

/// Longer tokens are never admitted: the trie of tokens is no deeper.
const LONGEST_TOKEN: usize = 1000;

/// The trie of tokens holds no more nodes.
const MOST_NODES: usize = (1 << 22) - 2;

/// Texts that a tokenizer must encode to what decodes to them again, to be one that encodes text
/// in the middle of an answer as it stands there.
const PROBES: [&str; 4] = ["{\"name\": \"a_b\", \"n\": [1, 2.5]}", "a", " a", "\n\n  x </tool_call>"];

impl Vocabulary {
    /// The vocabulary of a tokenizer. `end_tokens` end an answer. `size` is the number of scores
    /// (logits) the model computes: tokens beyond it cannot be sampled, and scores without a
    /// token (padding) never are.
    pub fn from_tokenizer(tokenizer: &Tokenizer, end_tokens: &[u32], size: usize) -> Result<Self, GrammarError> {
        let table = TokenTable::read(tokenizer, size);
        let tokenizer = tokenizer.clone();
        let encode = move |text: &str| {
            let encoding = tokenizer.encode_fast(text, false).ok()?;
            Some(encoding.get_ids().to_vec())
        };
        Self::new(table, end_tokens, size, Some(Box::new(encode)))
    }

    /// A vocabulary from what each token writes. With `encode`, text that a grammar leaves no
    /// choice about is written in the tokens the tokenizer would take; without it, in any.
    pub fn new(
        table: TokenTable,
        end_tokens: &[u32],
        size: usize,
        encode: Option<Box<Encode>>,
    ) -> Result<Self, GrammarError> {
        let TokenTable { mut bytes, mut special, strips_leading_space, not_first } = table;
        bytes.truncate(size);
        let known = bytes.len();
        let ends: BTreeSet<u32> = end_tokens.iter().copied().filter(|token| (*token as usize) < known).collect();
        for end in &ends {
            special.entry(*end).or_insert_with(|| format!("<{end}>"));
        }
        for (token, name) in &special {
            if let Some(bytes) = bytes.get_mut(*token as usize) {
                *bytes = std::iter::once(TokTrie::SPECIAL_TOKEN_MARKER).chain(name.bytes()).collect();
            }
        }
        for bytes in &mut bytes {
            let marked = bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER);
            // 0xff is in no UTF-8 text: a plain token with it would be taken for a control token.
            let broken = !marked && bytes.contains(&TokTrie::SPECIAL_TOKEN_MARKER);
            if bytes.len() > LONGEST_TOKEN || broken {
                bytes.clear();
            }
        }
        for (token, bytes) in (0_u32..).zip(&mut bytes) {
            if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) && !special.contains_key(&token) {
                bytes.clear();
            }
        }
        check_trie(&bytes)?;
        let environment = Arc::new(Environment::new(&bytes, &ends, encode)?);
        let as_dyn: TokEnv = environment.clone();
        let capabilities =
            InferenceCapabilities { ff_tokens: environment.canonical, ..InferenceCapabilities::default() };
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&as_dyn, capabilities, &slices)
            .map_err(|error| GrammarError::Vocabulary(error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory, environment, special, strips_leading_space, not_first })
    }

    /// Tokens there are, the ones that are never admitted included.
    pub fn size(&self) -> usize {
        self.trie().vocab_size()
    }

    /// The bytes a token adds to the answer's text; a control token's are its name.
    pub fn bytes(&self, token: u32) -> &[u8] {
        let bytes = self.trie().token(token);
        bytes.strip_prefix(&[TokTrie::SPECIAL_TOKEN_MARKER]).unwrap_or(bytes)
    }

    /// The control token of a name, such as `<|im_end|>`.
    pub fn special(&self, name: &str) -> Option<u32> {
        let named = self.special.iter().find(|(_, special)| *special == name);
        named.map(|(token, _)| *token)
    }

    /// The control token whose name a text begins with, and its length; of several the longest.
    fn special_at(&self, text: &[u8]) -> Option<(u32, usize)> {
        let named = self.special.iter().filter(|(_, name)| !name.is_empty() && text.starts_with(name.as_bytes()));
        let longest = named.max_by_key(|(token, name)| (name.len(), std::cmp::Reverse(**token)));
        longest.map(|(token, name)| (*token, name.len()))
    }

    /// A text that was written, as tokens: names of control tokens as these.
    pub(crate) fn tokens_of(&self, text: &[u8]) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut plain = 0;
        let mut place = 0;
        while place < text.len() {
            let here = text.get(place..).unwrap_or_default();
            let Some((token, length)) = self.special_at(here) else {
                place += 1;
                continue;
            };
            tokens.extend(self.trie().greedy_tokenize(text.get(plain..place).unwrap_or_default()));
            tokens.push(token);
            place += length;
            plain = place;
        }
        tokens.extend(self.trie().greedy_tokenize(text.get(plain..).unwrap_or_default()));
        tokens
    }

    pub(crate) fn ends_answer(&self, token: u32) -> bool {
        self.trie().eos_tokens().contains(&token)
    }

    pub(crate) fn strips_leading_space(&self) -> bool {
        self.strips_leading_space
    }

    pub(crate) fn not_first(&self) -> &[u32] {
        &self.not_first
    }

    pub(crate) fn trie(&self) -> &TokTrie {
        &self.environment.trie
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vocabulary").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// What one grammar may cost: about a second to compile, 20 ms a mask, 100 MB.
fn limits() -> ParserLimits {
    ParserLimits { max_lexer_states: 50_000, verbose_errors: false, ..ParserLimits::default() }
}

/// Whether the trie of these tokens has no more nodes than it can number.
fn check_trie(tokens: &[Vec<u8>]) -> Result<(), GrammarError> {
    let mut sorted: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).collect();
    sorted.sort_unstable();
    let mut nodes = 1;
    let mut before: &[u8] = &[];
    for token in sorted {
        let shared = token.iter().zip(before).take_while(|(a, b)| a == b).count();
        // A token that is there twice has a node of its own.
        nodes += (token.len() - shared).max(1);
        before = token;
    }
    if nodes > MOST_NODES {
        return Err(GrammarError::Vocabulary(format!(
            "its tokens take {nodes} trie nodes, of {MOST_NODES} there can be"
        )));
    }
    if tokens.is_empty() {
        return Err(GrammarError::Vocabulary("it has no tokens".to_string()));
    }
    Ok(())
}

/// The tokens, and how text is written in them, as llguidance asks for it.
struct Environment {
    trie: TokTrie,
    encode: Option<Box<Encode>>,
    /// Whether text is encoded to what decodes to it again.
    canonical: bool,
}

impl Environment {
    fn new(tokens: &[Vec<u8>], ends: &BTreeSet<u32>, encode: Option<Box<Encode>>) -> Result<Self, GrammarError> {
        let size = u32::try_from(tokens.len()).map_err(|error| GrammarError::Vocabulary(error.to_string()))?;
        let end = ends.first().copied().unwrap_or(INVALID_TOKEN);
        let trie = TokTrie::from(&TokRxInfo::new(size, end), tokens);
        let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(&ends.iter().copied().collect::<Vec<_>>()) };
        let mut environment = Self { trie, encode, canonical: false };
        let faithful = |probe: &&str| environment.encode_text(probe).is_some();
        environment.canonical = PROBES.iter().all(faithful);
        Ok(environment)
    }

    /// The tokens of a text; `None` where they would read otherwise.
    fn encode_text(&self, text: &str) -> Option<Vec<TokenId>> {
        let tokens = self.encode.as_ref()?(text)?;
        let plain = |token: &TokenId| !self.trie.is_special_token(*token);
        let same = tokens.iter().all(plain) && self.trie.decode_raw(&tokens) == text.as_bytes();
        same.then_some(tokens)
    }
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let text = std::str::from_utf8(bytes).ok();
        text.and_then(|text| self.encode_text(text)).unwrap_or_else(|| self.trie.greedy_tokenize(bytes))
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}

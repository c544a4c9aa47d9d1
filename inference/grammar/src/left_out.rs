//! What of JSON schemas calls are not held to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use codriver_chat::grammar::Grammar as Tree;

use crate::grammar::Grammar;
use crate::{GrammarError, TokenTable, Vocabulary};

/// The keywords of the JSON schemas in a tree of calls to which [`Grammar::of_calls`] does not hold
/// them, since nothing enforces these while a text is written: `uniqueItems`, `format: color`.
///
/// # Errors
/// A schema that cannot be enforced even without them.
pub fn keywords_left_out(calls: &Tree) -> Result<Vec<String>, GrammarError> {
    let mut keywords = BTreeSet::new();
    for grammar in Grammar::of_schemas(calls)? {
        for warning in grammar.compile(bytes()?)?.grammar_warnings() {
            keywords.extend(keywords_in(&warning));
        }
    }
    Ok(keywords.into_iter().collect())
}

/// What a warning of llguidance (`json/compiler.rs` and `json/schema.rs` there) is about.
fn keywords_in(warning: &str) -> Vec<String> {
    if let Some(list) = warning.strip_prefix("Unimplemented keys: ") {
        let quoted = list.split('"').skip(1).step_by(2);
        return quoted.map(str::to_string).collect();
    }
    if let Some(format) = warning.strip_prefix("Unknown format: ") {
        let name = format.rsplit_once(" (").map_or(format, |(name, _)| name);
        return vec![format!("format: {name}")];
    }
    let known = [("oneOf", "oneOf"), ("min/maxProperties", "minProperties or maxProperties")];
    let found = known.into_iter().find(|(begin, _)| warning.starts_with(begin));
    vec![found.map_or(warning, |(_, keyword)| keyword).to_string()]
}

/// What a schema leaves out does not depend on a model's tokens: here they are bytes.
fn bytes() -> Result<&'static Vocabulary, GrammarError> {
    static BYTES: OnceLock<Result<Vocabulary, GrammarError>> = OnceLock::new();
    let build = || {
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]).chain([Vec::new()]).collect();
        let special = BTreeMap::from([(END, "<end>".to_string())]);
        let table = TokenTable { bytes, special, ..TokenTable::default() };
        Vocabulary::new(table, &[END], END as usize + 1, None)
    };
    BYTES.get_or_init(build).as_ref().map_err(Clone::clone)
}

const END: u32 = 256;

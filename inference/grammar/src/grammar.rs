//! Grammars, and what it takes to compile one safely.

use codriver_chat::Constraint;
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::{Matcher, regex_to_lark};
use serde_json::{Map, Value, json};

use crate::literal::{markup, quoted};
use crate::{GrammarError, Vocabulary};

/// What a text may be: a context-free grammar whose leaves are regular expressions and JSON
/// schemas. Cheap to make; [`Guide::new`](crate::Guide::new) compiles it.
#[derive(Debug, Clone, PartialEq)]
pub struct Grammar {
    node: Node,
    kind: Kind,
}

/// Lark sources, and how they refer to each other.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Source(String),
    Either(Box<Node>, Box<Node>),
    /// `before` precedes the answer; `rules` are what it is made of.
    Preceded {
        before: String,
        rules: String,
        answer: Box<Node>,
    },
    /// Rules, and others by the name of the rule that stands for them.
    Rules {
        rules: String,
        named: Vec<(String, String)>,
    },
}

impl Node {
    /// The sources by name. The first is where to start; sources name others with `@`.
    fn parts(&self, name: &str, parts: &mut Vec<(String, String)>) {
        let child = |index: usize| format!("{name}-{index}");
        match self {
            Self::Source(source) => parts.push((name.to_string(), source.clone())),
            Self::Either(one, other) => {
                parts.push((name.to_string(), format!("start: @{} | @{}", child(0), child(1))));
                one.parts(&child(0), parts);
                other.parts(&child(1), parts);
            }
            Self::Preceded { before, rules, answer } => {
                parts.push((name.to_string(), format!("start: {before} @{}\n{rules}", child(0))));
                answer.parts(&child(0), parts);
            }
            Self::Rules { rules, named } => {
                let references = named.iter().enumerate();
                let references = references.map(|(index, (rule, _))| format!("\n{rule}: @{}", child(index)));
                parts.push((name.to_string(), format!("{rules}{}", references.collect::<String>())));
                let sources = named.iter().enumerate();
                parts.extend(sources.map(|(index, (_, source))| (child(index), source.clone())));
            }
        }
    }
}

/// What a grammar was made from, which its errors speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Schema,
    Regex,
    Choice,
    Lark,
    Calls,
}

/// The longest JSON schema, in bytes as JSON, and all texts to choose from together.
const LONGEST_SCHEMA: usize = 512 << 10;

/// The deepest JSON schema.
const DEEPEST_SCHEMA: usize = 100;

/// The longest regular expression and Lark grammar, in bytes.
const LONGEST_SOURCE: usize = 64 << 10;

/// How deep brackets nest in a Lark grammar.
const DEEPEST_LARK: usize = 200;

/// What may stand between the parts of JSON: a space, or a new line and its indentation. White
/// space without bound is where small models get lost.
const WHITE_SPACE: &str = r" |\n( {0,32}|\t{0,8})";

impl Grammar {
    /// The grammar of a constraint. Only its form is checked here; what cannot be enforced shows
    /// when a [`Guide`](crate::Guide) is made.
    pub fn new(constraint: &Constraint) -> Result<Self, GrammarError> {
        let (source, kind) = match constraint {
            Constraint::JsonSchema(schema) => (format!("start: {}", json_rule(schema.clone(), false)?), Kind::Schema),
            Constraint::JsonObject => {
                (format!("start: {}", json_rule(json!({ "type": "object" }), false)?), Kind::Schema)
            }
            Constraint::Regex(expression) => (regex_rule(expression)?, Kind::Regex),
            Constraint::Choice(texts) => (choice_rules(texts)?, Kind::Choice),
            Constraint::Lark(source) => (lark_source(source)?, Kind::Lark),
        };
        Ok(Self { node: Node::Source(source), kind })
    }

    /// Rules, and other grammars by the names of the rules that stand for them.
    pub(crate) fn from_rules(rules: String, named: Vec<(String, String)>, kind: Kind) -> Self {
        Self { node: Node::Rules { rules, named }, kind }
    }

    pub(crate) fn from_source(source: String, kind: Kind) -> Self {
        Self { node: Node::Source(source), kind }
    }

    /// Either what this grammar admits or what another does.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { node: Node::Either(Box::new(self.node), Box::new(other.node)), kind: self.kind }
    }

    /// Any text up to a marker, the end of the model's reasoning, and then this grammar.
    #[must_use]
    pub fn after_reasoning(self, end: &str, vocabulary: &Vocabulary) -> Self {
        let white = "white: /[ \\n]{1,4}/";
        if vocabulary.special(end).is_some() {
            let before = format!("/(?s:.*)/ {} white?", markup(end, vocabulary));
            return self.preceded(before, white.to_string());
        }
        let rules = format!("thought[suffix={}]: /(?s:.*)/\n{white}", quoted(end));
        self.preceded("thought white?".to_string(), rules)
    }

    /// The grammar at the beginning of an answer whose tokenizer swallows a space: with one before
    /// it, which must be there where the text itself may begin with one.
    pub(crate) fn after_space(self, must: bool) -> Self {
        let space = if must { "\" \"" } else { "\" \"?" };
        self.preceded(space.to_string(), String::new())
    }

    fn preceded(self, before: String, rules: String) -> Self {
        Self { node: Node::Preceded { before, rules, answer: Box::new(self.node) }, kind: self.kind }
    }

    /// Compiles the grammar. On a thread of its own: grammars are read recursively, so that a
    /// hostile one takes more stack than this thread may have.
    pub(crate) fn compile(&self, vocabulary: &Vocabulary) -> Result<Matcher, GrammarError> {
        let part = |(name, source)| GrammarWithLexer {
            name: Some(name),
            lark_grammar: Some(source),
            ..GrammarWithLexer::default()
        };
        let mut parts = Vec::new();
        self.node.parts("answer", &mut parts);
        let grammar = TopLevelGrammar { grammars: parts.into_iter().map(part).collect(), max_tokens: None };
        let compile = || vocabulary.factory.create_parser(grammar);
        let parser = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, compile);
            thread.map(|thread| thread.join())
        });
        match parser {
            Ok(Ok(Ok(parser))) => Ok(Matcher::new(Ok(parser))),
            Ok(Ok(Err(error))) => Err(self.explain(&error.to_string())),
            Ok(Err(_)) => Err(GrammarError::Internal("the compiler panicked".to_string())),
            Err(error) => Err(GrammarError::Internal(format!("no thread to compile on: {error}"))),
        }
    }

    fn explain(&self, message: &str) -> GrammarError {
        if is_limit(message) {
            return GrammarError::TooComplex(first_line(message));
        }
        let mut reason = match self.kind {
            // Where it is in the grammar that the user wrote.
            Kind::Lark => message.trim().chars().take(1000).collect(),
            _ => first_line(message),
        };
        reason = reason.replace("failed to compile JSON schema: ", "");
        if let Some(rest) = reason.strip_prefix("Unimplemented keys: ") {
            reason = format!("the keywords {rest} are not supported; leave them out and check them afterwards");
        }
        match &self.kind {
            Kind::Schema => GrammarError::Schema(reason),
            Kind::Regex => GrammarError::Regex(reason),
            Kind::Choice => GrammarError::Choice(reason),
            Kind::Lark => GrammarError::Lark(reason),
            Kind::Calls => GrammarError::Calls(reason),
        }
    }
}

/// Stack for compiling, most of which is never touched.
const STACK: usize = 256 << 20;

/// Whether a message of the grammar engine is about one of its limits.
pub(crate) fn is_limit(message: &str) -> bool {
    ["too large", "too many", "too complex", "too big", "fuel", "limit", "exceeded"]
        .iter()
        .any(|word| message.to_lowercase().contains(word))
}

/// What an error says, without where in the generated grammar it is and without its backtrace.
pub(crate) fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or(message);
    // The picture of where an expression is broken stands between.
    let line = message.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(line);
    let line = match line.strip_prefix("at ").and_then(|rest| rest.split_once("): ")) {
        Some((place, rest)) if place.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => line,
    };
    line.chars().take(300).collect()
}

/// A JSON schema as a Lark expression. A `lenient` one leaves out what cannot be enforced.
pub(crate) fn json_rule(schema: Value, lenient: bool) -> Result<String, GrammarError> {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(true) => Map::new(),
        Value::Bool(false) => return Err(GrammarError::Schema("it is `false`, which nothing satisfies".to_string())),
        other => return Err(GrammarError::Schema(format!("it is {other}; a schema is an object"))),
    };
    let depth = schema.values().map(depth).max().unwrap_or(0) + 1;
    if depth > DEEPEST_SCHEMA {
        return Err(GrammarError::TooComplex(format!(
            "the JSON schema is {depth} levels deep, of {DEEPEST_SCHEMA} there can be"
        )));
    }
    let options = json!({ "whitespace_pattern": WHITE_SPACE, "lenient": lenient, "coerce_one_of": lenient });
    schema.insert("x-guidance".to_string(), options);
    let rule = Value::Object(schema).to_string();
    if rule.len() > LONGEST_SCHEMA {
        return Err(GrammarError::TooComplex(format!(
            "the JSON schema has {} bytes, of {LONGEST_SCHEMA} it can have",
            rule.len()
        )));
    }
    Ok(format!("%json {rule}"))
}

/// How deep a value nests. Not recursive, since that is what it guards.
fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        match value {
            Value::Array(values) => open.extend(values.iter().map(|value| (value, depth + 1))),
            Value::Object(values) => open.extend(values.values().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    deepest
}

fn regex_rule(expression: &str) -> Result<String, GrammarError> {
    let inner = expression.strip_prefix('^').unwrap_or(expression);
    let escaped = |text: &str| text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
    let inner = inner.strip_suffix('$').filter(|inner| !escaped(inner)).unwrap_or(inner);
    Ok(format!("start: {}", pattern(inner)?))
}

/// A regular expression without anchors, in Lark.
pub(crate) fn pattern(expression: &str) -> Result<String, GrammarError> {
    if expression.len() > LONGEST_SOURCE {
        return Err(GrammarError::TooComplex(format!(
            "the regular expression has {} bytes, of {LONGEST_SOURCE} it can have",
            expression.len()
        )));
    }
    regex::Regex::new(expression).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            GrammarError::TooComplex("the regular expression compiles to too much".to_string())
        }
        error => GrammarError::Regex(first_line(&error.to_string())),
    })?;
    Ok(match expression {
        "" => quoted(""),
        expression => format!("/{}/", regex_to_lark(expression, "")),
    })
}

fn choice_rules(texts: &[String]) -> Result<String, GrammarError> {
    let total: usize = texts.iter().map(String::len).sum();
    if total > LONGEST_SCHEMA {
        return Err(GrammarError::TooComplex(format!(
            "the choices have {total} bytes, of {LONGEST_SCHEMA} they can have"
        )));
    }
    let some: Vec<String> = texts.iter().filter(|text| !text.is_empty()).map(|text| quoted(text)).collect();
    match (some.is_empty(), some.len() < texts.len()) {
        (true, false) => Err(GrammarError::Choice("there is nothing to choose from".to_string())),
        (true, true) => Ok("start: \"\"".to_string()),
        (false, empty) => Ok(format!("start: CHOICE{}\nCHOICE: {}", if empty { "?" } else { "" }, some.join(" | "))),
    }
}

fn lark_source(source: &str) -> Result<String, GrammarError> {
    if source.len() > LONGEST_SOURCE {
        return Err(GrammarError::TooComplex(format!(
            "the Lark grammar has {} bytes, of {LONGEST_SOURCE} it can have",
            source.len()
        )));
    }
    let (mut open, mut deepest) = (0_usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    if deepest > DEEPEST_LARK {
        return Err(GrammarError::TooComplex(format!(
            "brackets nest {deepest} deep in the Lark grammar, of {DEEPEST_LARK} they can"
        )));
    }
    Ok(source.to_string())
}

//! Grammars of tool calls, from the tree in which a format describes its calls.

use std::collections::BTreeSet;

use codriver_chat::grammar::Grammar as Tree;
use serde_json::{Map, Value, json};

use crate::grammar::{Grammar, Kind, json_rule, pattern};
use crate::literal::{markup, quoted};
use crate::{GrammarError, Vocabulary};

/// What repeats in a tree does so no more often than this.
const MOST_CALLS: usize = 32;

/// There are no more triggers: beyond, calls in free text are not guided.
const MOST_TRIGGERS: usize = 1000;

impl Grammar {
    /// The language of a tree. Tokens that the vocabulary does not have are text, and tokens that
    /// end an answer are left to its end. Of JSON schemas, what cannot be enforced is left out.
    pub fn of_calls(tree: &Tree, vocabulary: &Vocabulary) -> Result<Self, GrammarError> {
        let mut writer = Writer { vocabulary, rules: Vec::new(), schemas: Vec::new() };
        let start = writer.expression(tree)?;
        writer.rules.insert(0, format!("start: {start}"));
        Ok(Self::from_rules(writer.rules.join("\n"), writer.schemas, Kind::Calls))
    }

    /// The schemas in a tree, as [`Self::of_calls`] has them.
    pub(crate) fn of_schemas(tree: &Tree) -> Result<Vec<Self>, GrammarError> {
        let mut open = vec![tree];
        let mut schemas = Vec::new();
        while let Some(tree) = open.pop() {
            match tree {
                Tree::Text(_) | Tree::Token(_) | Tree::Pattern(_) => {}
                Tree::Json(schema) => {
                    let rule = json_rule(arguments_schema(schema), true)?;
                    schemas.push(Self::from_source(format!("start: {rule}"), Kind::Schema));
                }
                Tree::Sequence(trees) | Tree::Choice(trees) => open.extend(trees),
                Tree::Optional(tree) => open.push(tree),
                Tree::OneOrMore { item, separator } => {
                    open.push(item);
                    open.extend(separator.as_deref());
                }
            }
        }
        Ok(schemas)
    }
}

/// Writes a tree as Lark.
struct Writer<'a> {
    vocabulary: &'a Vocabulary,
    rules: Vec<String>,
    /// Grammars by the names of the rules that stand for them.
    schemas: Vec<(String, String)>,
}

impl Writer<'_> {
    fn expression(&mut self, tree: &Tree) -> Result<String, GrammarError> {
        Ok(match tree {
            Tree::Text(text) => quoted(text),
            Tree::Token(name) => markup(name, self.vocabulary),
            Tree::Pattern(expression) => pattern(expression)?,
            Tree::Json(schema) => {
                let rule = json_rule(arguments_schema(schema), true)?;
                let name = format!("json_{}", self.schemas.len());
                self.schemas.push((name.clone(), format!("start: {rule}")));
                name
            }
            Tree::Sequence(parts) => self.expressions(parts)?.join(" "),
            Tree::Choice(choices) if choices.is_empty() => {
                return Err(GrammarError::Choice("no tool is on offer".to_string()));
            }
            Tree::Choice(choices) => {
                let choices = self.expressions(choices)?;
                self.rule("choice", &choices.join(" | "))
            }
            Tree::Optional(inner) => {
                let inner = self.expression(inner)?;
                format!("({inner})?")
            }
            Tree::OneOrMore { item, separator } => {
                let separator = separator.as_ref().map(|separator| self.expression(separator));
                let separator = separator.transpose()?.unwrap_or_default();
                let item = self.expression(item)?;
                let item = self.rule("item", &item);
                format!("{item} ({separator} {item}){{0,{}}}", MOST_CALLS - 1)
            }
        })
    }

    fn expressions(&mut self, trees: &[Tree]) -> Result<Vec<String>, GrammarError> {
        trees.iter().map(|tree| self.expression(tree)).collect()
    }

    /// A rule of its own, by its name.
    fn rule(&mut self, name: &str, expression: &str) -> String {
        let name = format!("{name}_{}", self.rules.len());
        self.rules.push(format!("{name}: {expression}"));
        name
    }
}

/// A tool's schema: an object's has no properties but those it names, unless it says so.
fn arguments_schema(schema: &Value) -> Value {
    let Value::Object(schema) = schema else { return json!({ "type": "object" }) };
    let mut schema: Map<String, Value> = schema.clone();
    let open =
        ["additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref", "unevaluatedProperties"];
    if schema.contains_key("properties") && !open.iter().any(|key| schema.contains_key(*key)) {
        schema.insert("type".to_string(), json!("object"));
        schema.insert("additionalProperties".to_string(), Value::Bool(false));
    }
    Value::Object(schema)
}

/// A text with which a model that may answer freely is calling a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trigger {
    pub(crate) text: String,
    /// Whether it could be said otherwise too: then it counts only where an answer, or the call
    /// before, has just ended.
    pub(crate) only_at_start: bool,
}

/// What triggers the calls of a tree. Where all of them begin with a marker, that is it, with the
/// text that follows up to the first bracket, quote or new line. Where they begin with plain text,
/// it is the beginning of a call of each tool, its name included.
pub(crate) fn triggers(calls: &Tree) -> Vec<Trigger> {
    let beginnings = beginnings(calls);
    let marked = beginnings.iter().all(|beginning| beginning.marker.is_some());
    let mut texts = BTreeSet::new();
    for beginning in beginnings {
        let text = match beginning.marker.filter(|_| marked) {
            Some(marker) => {
                let (before, after) = beginning.text.split_at(marker.min(beginning.text.len()));
                let after = after.split(['\n', '"', '{', '[', '(']).next().unwrap_or_default();
                format!("{before}{after}")
            }
            None => beginning.text,
        };
        texts.insert(text.trim_start().to_string());
    }
    texts.remove("");
    if texts.len() > MOST_TRIGGERS {
        return Vec::new();
    }
    let trigger = |text| Trigger { text, only_at_start: !marked };
    texts.into_iter().map(trigger).collect()
}

/// Text that a sentence of a tree begins with.
#[derive(Debug, Clone, Default)]
struct Beginning {
    text: String,
    /// Where its first marker ends.
    marker: Option<usize>,
    /// Whether the text goes on with more than is known.
    open: bool,
}

fn beginnings(tree: &Tree) -> Vec<Beginning> {
    match tree {
        Tree::Text(text) => vec![Beginning { text: text.clone(), ..Beginning::default() }],
        Tree::Token(name) => vec![Beginning { text: name.clone(), marker: Some(name.len()), open: false }],
        Tree::Pattern(_) | Tree::Json(_) | Tree::Optional(_) => vec![Beginning { open: true, ..Beginning::default() }],
        Tree::OneOrMore { item, .. } => {
            beginnings(item).into_iter().map(|beginning| Beginning { open: true, ..beginning }).collect()
        }
        Tree::Choice(choices) => choices.iter().flat_map(beginnings).collect(),
        Tree::Sequence(parts) => {
            let mut all = vec![Beginning::default()];
            for part in parts {
                if all.iter().all(|beginning| beginning.open) || all.len() > MOST_TRIGGERS {
                    break;
                }
                let next = beginnings(part);
                let extended = all.into_iter().flat_map(|beginning| match beginning.open {
                    true => vec![beginning],
                    false => next.iter().map(|next| beginning.with(next)).collect(),
                });
                all = extended.collect();
            }
            all
        }
    }
}

impl Beginning {
    fn with(&self, next: &Self) -> Self {
        let marker = next.marker.map(|end| self.text.len() + end);
        Self { text: format!("{}{}", self.text, next.text), marker: self.marker.or(marker), open: next.open }
    }
}

//! Tools' schemas, for formats that write arguments as something else than JSON.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::ToolDefinition;
use crate::grammar::Grammar;

/// The tools on offer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schemas(pub(crate) Vec<ToolDefinition>);

impl Schemas {
    pub(super) fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|tool| tool.name == name)
    }

    /// The tool that runs code, as Llama and Functionary call it without JSON.
    pub(super) fn code_tool(&self) -> Option<&str> {
        let names = ["python", "code_interpreter", "ipython"];
        names.into_iter().find(|name| self.knows(name))
    }

    /// A value that was written without quotes, as the parameter's schema has it.
    pub(super) fn typed(&self, tool: &str, parameter: &str, written: &str) -> Value {
        let schema = self.0.iter().find(|known| known.name == tool);
        let schema = schema.and_then(|tool| tool.parameters.get("properties")?.get(parameter));
        if schema.is_some_and(|schema| property(schema).is_text()) {
            return Value::String(written.to_string());
        }
        let python = match written.trim() {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            other => serde_json::from_str(other).ok(),
        };
        python.unwrap_or_else(|| Value::String(written.to_string()))
    }
}

/// What kind of value a schema admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property {
    Text,
    Integer,
    Number,
    Boolean,
    Other,
}

impl Property {
    pub(super) fn is_text(self) -> bool {
        self == Self::Text
    }
}

pub(super) fn property(schema: &Value) -> Property {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => Property::Text,
        Some("integer") => Property::Integer,
        Some("number") => Property::Number,
        Some("boolean") => Property::Boolean,
        _ => Property::Other,
    }
}

/// The parameters of a tool, each with its schema and whether it is required.
pub(super) fn properties(parameters: &Value) -> Vec<(&String, &Value, bool)> {
    let required =
        |name: &str| parameters["required"].as_array().is_some_and(|names| names.iter().any(|other| other == name));
    let properties: Option<&Map<String, Value>> = parameters.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, schema)| (name, schema, required(name))).collect()
}

/// Keywords that say nothing of what is valid.
const SILENT: [&str; 12] = [
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// What of a schema is lost where arguments are not written as JSON: of the object all but its
/// properties' names, of scalars all but type and `enum`.
pub(super) fn keywords_left_out(parameters: &Value) -> Vec<String> {
    let mut left_out = BTreeSet::new();
    let mut note = |schema: &Value, held: &[&str]| {
        let keywords = schema.as_object().into_iter().flatten().map(|(keyword, _)| keyword.as_str());
        left_out.extend(keywords.filter(|word| !held.contains(word) && !SILENT.contains(word)).map(str::to_string));
    };
    note(parameters, &["type", "properties", "required", "additionalProperties"]);
    for (_, schema, _) in properties(parameters) {
        // Anything else is JSON within.
        if property(schema) != Property::Other {
            note(schema, &["type", "enum"]);
        }
    }
    left_out.into_iter().collect()
}

/// The texts of an `enum` of texts.
pub(super) fn texts(schema: &Value) -> Option<Vec<&str>> {
    schema.get("enum")?.as_array()?.iter().map(Value::as_str).collect()
}

/// How a format writes named arguments.
pub(super) struct Dialect {
    pub(super) between_arguments: &'static str,
    /// Between an argument's name and its value.
    pub(super) assign: &'static str,
    pub(super) text: Grammar,
    pub(super) truths: [&'static str; 2],
    /// What stands around one of a parameter's possible texts.
    pub(super) quotes: [&'static str; 2],
}

impl Dialect {
    /// The arguments in the order of the schema: required ones always, the others or not.
    pub(super) fn arguments(&self, parameters: &Value) -> Grammar {
        let properties = properties(parameters);
        let written: Vec<(Grammar, bool)> = properties
            .into_iter()
            .map(|(name, schema, required)| {
                let name = Grammar::text(format!("{name}{}", self.assign));
                (Grammar::Sequence(vec![name, self.value(schema)]), required)
            })
            .collect();
        self.first(&written)
    }

    /// Nothing is written yet: the first argument has no separator before it.
    fn first(&self, rest: &[(Grammar, bool)]) -> Grammar {
        let mut choices = Vec::new();
        for (index, (argument, required)) in rest.iter().enumerate() {
            let mut parts = vec![argument.clone()];
            for (argument, required) in rest.iter().skip(index + 1) {
                let next = Grammar::Sequence(vec![Grammar::text(self.between_arguments), argument.clone()]);
                parts.push(if *required { next } else { next.optional() });
            }
            choices.push(Grammar::Sequence(parts));
            if *required {
                return Grammar::Choice(choices);
            }
        }
        choices.push(Grammar::text(""));
        Grammar::Choice(choices)
    }

    fn value(&self, schema: &Value) -> Grammar {
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let [open, close] = self.quotes;
            let choice = |value: &Value| match value {
                Value::String(text) => Grammar::text(format!("{open}{text}{close}")),
                other => Grammar::text(other.to_string()),
            };
            return Grammar::Choice(values.iter().map(choice).collect());
        }
        match property(schema) {
            Property::Text => self.text.clone(),
            Property::Integer => Grammar::Pattern("-?(0|[1-9][0-9]*)".to_string()),
            Property::Number => Grammar::Pattern(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?".to_string()),
            Property::Boolean => Grammar::Choice(self.truths.map(Grammar::text).into()),
            Property::Other => Grammar::Json(schema.clone()),
        }
    }
}

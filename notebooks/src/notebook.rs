//! A notebook in memory: cells and metadata, with every field kept as it was read.

use serde_json::{Map, Value, json};

use crate::Output;
use crate::output::{join_lines, split_lines};

/// A notebook of format 4.x.
#[derive(Debug, Clone, PartialEq)]
pub struct Notebook {
    pub cells: Vec<Cell>,
    /// All other fields in the order they were read; `cells` holds `null` to keep its place.
    pub(crate) fields: Map<String, Value>,
}

impl Notebook {
    /// An empty notebook (format 4.5) for the kernel `codriver`.
    pub fn new() -> Self {
        let fields = json!({
            "cells": null,
            "metadata": {
                "kernelspec": {"display_name": "Codriver", "language": "rust", "name": "codriver"},
                "language_info": {"file_extension": ".rs", "mimetype": "text/rust", "name": "rust"}
            },
            "nbformat": 4,
            "nbformat_minor": 5
        });
        let Value::Object(fields) = fields else { return Self { cells: Vec::new(), fields: Map::new() } };
        Self { cells: Vec::new(), fields }
    }

    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.fields.get("metadata").and_then(Value::as_object)
    }

    /// Sets one field of the notebook's metadata and keeps the others.
    pub fn set_metadata(&mut self, key: &str, value: Value) {
        set_in_object(&mut self.fields, "metadata", key, value);
    }

    /// `metadata.title`, else the first Markdown heading.
    pub fn title(&self) -> Option<String> {
        let named = self.metadata().and_then(|metadata| metadata.get("title")).and_then(Value::as_str);
        if let Some(title) = named.filter(|title| !title.trim().is_empty()) {
            return Some(title.trim().to_owned());
        }
        self.cells.iter().filter(|cell| cell.kind() == CellKind::Markdown).find_map(|cell| {
            let source = cell.source();
            let heading = source.lines().find(|line| line.starts_with('#'))?;
            Some(heading.trim_start_matches('#').trim().to_owned()).filter(|text| !text.is_empty())
        })
    }
}

impl Default for Notebook {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    Code,
    Markdown,
    Raw,
}

/// One cell: a view of its JSON object, so that nothing in it is lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub(crate) fields: Map<String, Value>,
}

impl Cell {
    pub fn code(source: &str) -> Self {
        let mut fields = new_fields("code");
        fields.insert("execution_count".to_owned(), Value::Null);
        fields.insert("outputs".to_owned(), json!([]));
        fields.insert("source".to_owned(), split_lines(source));
        Self { fields }
    }

    pub fn markdown(source: &str) -> Self {
        let mut fields = new_fields("markdown");
        fields.insert("source".to_owned(), split_lines(source));
        Self { fields }
    }

    /// What kind of cell this is; one of a kind we don't know is treated as raw.
    pub fn kind(&self) -> CellKind {
        match self.fields.get("cell_type").and_then(Value::as_str) {
            Some("code") => CellKind::Code,
            Some("markdown") => CellKind::Markdown,
            _ => CellKind::Raw,
        }
    }

    /// Empty below format 4.5, where cells have no ids.
    pub fn id(&self) -> &str {
        self.fields.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    pub fn source(&self) -> String {
        self.fields.get("source").map(join_lines).unwrap_or_default()
    }

    pub fn set_source(&mut self, source: &str) {
        self.fields.insert("source".to_owned(), split_lines(source));
    }

    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.fields.get("metadata").and_then(Value::as_object)
    }

    /// Sets one field of the cell's metadata and keeps the others.
    pub fn set_metadata(&mut self, key: &str, value: Value) {
        set_in_object(&mut self.fields, "metadata", key, value);
    }

    pub fn has_tag(&self, tag: &str) -> bool {
        let tags = self.metadata().and_then(|metadata| metadata.get("tags")).and_then(Value::as_array);
        tags.is_some_and(|tags| tags.iter().any(|value| value == tag))
    }

    pub fn execution_count(&self) -> Option<u64> {
        self.fields.get("execution_count").and_then(Value::as_u64)
    }

    pub fn set_execution_count(&mut self, count: Option<u64>) {
        self.fields.insert("execution_count".to_owned(), count.map_or(Value::Null, Value::from));
    }

    /// The outputs we understand, in order; the file keeps the others too.
    pub fn outputs(&self) -> Vec<Output> {
        let outputs = self.fields.get("outputs").and_then(Value::as_array);
        outputs.map(|outputs| outputs.iter().filter_map(Output::from_json).collect()).unwrap_or_default()
    }

    pub fn set_outputs(&mut self, outputs: &[Output]) {
        let values = outputs.iter().map(Output::to_json).collect();
        self.fields.insert("outputs".to_owned(), Value::Array(values));
    }

    /// A named attachment of a Markdown cell, as a `data:` address.
    pub fn attachment(&self, name: &str) -> Option<String> {
        let bundle = self.fields.get("attachments")?.get(name)?.as_object()?;
        let (mime, data) = bundle.iter().find(|(mime, _)| mime.starts_with("image/"))?;
        let data: String = join_lines(data).split_whitespace().collect();
        Some(format!("data:{mime};base64,{data}"))
    }
}

fn new_fields(kind: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("cell_type".to_owned(), json!(kind));
    fields.insert("id".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    fields.insert("metadata".to_owned(), json!({}));
    fields
}

fn set_in_object(fields: &mut Map<String, Value>, object: &str, key: &str, value: Value) {
    let entry = fields.entry(object.to_owned()).or_insert_with(|| json!({}));
    match entry.as_object_mut() {
        Some(object) => {
            object.insert(key.to_owned(), value);
        }
        None => *entry = json!({key: value}),
    }
}

//! Outputs as a notebook stores them, and the events from which they come about.

use serde_json::{Map, Value, json};

/// Data by MIME type, with metadata beside it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bundle {
    pub data: Map<String, Value>,
    pub metadata: Map<String, Value>,
}

impl Bundle {
    /// The text of a MIME type, if the bundle has it.
    pub fn text(&self, mime: &str) -> Option<String> {
        match self.data.get(mime)? {
            value @ (Value::String(_) | Value::Array(_)) => Some(join_lines(value)),
            _ => None,
        }
    }

    /// Whether there is nothing to see: how a display that was shown is taken back.
    pub(crate) fn is_empty(&self) -> bool {
        self.data
            .values()
            .all(|value| matches!(value, Value::String(_) | Value::Array(_)) && join_lines(value).is_empty())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamName {
    Stdout,
    Stderr,
}

/// What a running cell sends, in the order it sends it.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputEvent {
    Stream {
        name: StreamName,
        text: String,
    },
    Display {
        bundle: Bundle,
        display_id: Option<String>,
    },
    /// Replaces what was shown under this id, in whichever cell.
    UpdateDisplay {
        bundle: Bundle,
        display_id: String,
    },
    /// The value of the cell.
    Result {
        bundle: Bundle,
    },
    Error {
        name: String,
        value: String,
        traceback: Vec<String>,
    },
    /// With `wait`, the clearing happens when the next output arrives.
    Clear {
        wait: bool,
    },
}

/// An output as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Stream { name: StreamName, text: String },
    Display { bundle: Bundle },
    Result { bundle: Bundle, execution_count: Option<u64> },
    Error { name: String, value: String, traceback: Vec<String> },
}

impl Output {
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).map(join_lines).unwrap_or_default();
        match value.get("output_type")?.as_str()? {
            "stream" => {
                let name = if text("name") == "stderr" { StreamName::Stderr } else { StreamName::Stdout };
                Some(Self::Stream { name, text: text("text") })
            }
            "display_data" => Some(Self::Display { bundle: bundle_from_json(value) }),
            "execute_result" => Some(Self::Result {
                bundle: bundle_from_json(value),
                execution_count: value.get("execution_count").and_then(Value::as_u64),
            }),
            "error" => {
                let lines = value.get("traceback").and_then(Value::as_array);
                let traceback = lines.map(|lines| lines.iter().map(join_lines).collect()).unwrap_or_default();
                Some(Self::Error { name: text("ename"), value: text("evalue"), traceback })
            }
            _ => None,
        }
    }

    pub fn to_json(&self) -> Value {
        match self {
            Self::Stream { name, text } => {
                let name = match name {
                    StreamName::Stdout => "stdout",
                    StreamName::Stderr => "stderr",
                };
                json!({"name": name, "output_type": "stream", "text": split_lines(text)})
            }
            Self::Display { bundle } => json!({
                "data": data_to_json(bundle), "metadata": bundle.metadata, "output_type": "display_data",
            }),
            Self::Result { bundle, execution_count } => json!({
                "data": data_to_json(bundle), "execution_count": execution_count,
                "metadata": bundle.metadata, "output_type": "execute_result",
            }),
            Self::Error { name, value, traceback } => json!({
                "ename": name, "evalue": value, "output_type": "error", "traceback": traceback,
            }),
        }
    }
}

/// nbformat's multi-line text: a string, or a list of strings to be joined.
pub(crate) fn join_lines(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

/// Text as nbformat writes it: a list of lines that keep their line ends.
pub(crate) fn split_lines(text: &str) -> Value {
    Value::Array(text.split_inclusive('\n').map(Value::from).collect())
}

fn bundle_from_json(value: &Value) -> Bundle {
    let object = |key: &str| value.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    Bundle { data: object("data"), metadata: object("metadata") }
}

/// Text types are split into lines; JSON and base64 data stay as they are.
fn data_to_json(bundle: &Bundle) -> Value {
    let split = |mime: &str| {
        let text = mime.starts_with("text/") || matches!(mime, "image/svg+xml" | "application/javascript");
        text && !mime.ends_with("+json")
    };
    let entries = bundle.data.iter().map(|(mime, value)| {
        let value = match value {
            Value::String(text) if split(mime) => split_lines(text),
            other => other.clone(),
        };
        (mime.clone(), value)
    });
    Value::Object(entries.collect())
}

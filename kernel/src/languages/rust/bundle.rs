//! Outputs by MIME type, as user code sends them.

use serde_json::Value;

use crate::session::MimeBundle;

/// A bundle of `parts`. JSON types are parsed; text/plain is added where it is missing.
pub fn from_parts(parts: impl IntoIterator<Item = (String, String)>) -> MimeBundle {
    let mut bundle = MimeBundle::default();
    for (mime, body) in parts {
        let is_json = mime == "application/json" || mime.ends_with("+json");
        let value =
            if is_json { serde_json::from_str(&body).unwrap_or(Value::String(body)) } else { Value::String(body) };
        bundle = bundle.with(&mime, value);
    }
    if !bundle.data.contains_key("text/plain") {
        let types: Vec<&str> = bundle.data.keys().map(String::as_str).collect();
        let plain = format!("<{}>", types.join(", "));
        bundle = bundle.with("text/plain", plain);
    }
    bundle
}

//! Jupyter messages as frames: signatures, envelopes, JSON.
//!
//! Requests are read leniently (front ends leave fields out), signatures strictly.

use bytes::Bytes;
use hmac::{Hmac, Mac};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use uuid::Uuid;

const DELIMITER: &[u8] = b"<IDS|MSG>";
const PROTOCOL_VERSION: &str = "5.4";

/// A message from a front end.
#[derive(Debug, Clone)]
pub struct Request {
    /// Routing frames a reply starts with.
    pub identities: Vec<Bytes>,
    /// The header as it came, echoed as the parent of everything this request causes.
    pub header: Bytes,
    pub kind: String,
    pub id: String,
    pub content: Map<String, Value>,
    /// The front end's identifier of the cell that a request comes from, where it sends one.
    pub cell: Option<String>,
}

impl Request {
    pub fn text(&self, field: &str) -> &str {
        self.content.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn flag(&self, field: &str, default: bool) -> bool {
        self.content.get(field).and_then(Value::as_bool).unwrap_or(default)
    }

    pub fn integer(&self, field: &str) -> Option<i64> {
        self.content.get(field).and_then(Value::as_i64)
    }
}

/// Why a message was dropped.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("no <IDS|MSG> delimiter")]
    NoDelimiter,
    #[error("{0} frames after the delimiter, a message has at least 5")]
    TooFewFrames(usize),
    #[error("wrong signature")]
    Signature,
    #[error("{part} is not a JSON object")]
    NotAnObject { part: &'static str },
    #[error("the header has no {0}")]
    Header(&'static str),
}

/// Signs and checks with the connection's key.
pub struct Wire {
    /// `None` when the key is empty: signing is off.
    mac: Option<Hmac<Sha256>>,
    session: String,
}

impl Wire {
    pub fn new(key: &str) -> Self {
        let mac = if key.is_empty() { None } else { Hmac::new_from_slice(key.as_bytes()).ok() };
        Self { mac, session: Uuid::new_v4().to_string() }
    }

    pub fn decode(&self, frames: Vec<Bytes>) -> Result<Request, WireError> {
        let delimiter = frames.iter().position(|frame| frame == DELIMITER).ok_or(WireError::NoDelimiter)?;
        let [signature, header, parent, metadata, content] = match &frames[delimiter + 1..] {
            [signature, header, parent, metadata, content, ..] => [signature, header, parent, metadata, content],
            rest => return Err(WireError::TooFewFrames(rest.len())),
        };
        if let Some(mac) = &self.mac {
            let mut mac = mac.clone();
            for part in [header, parent, metadata, content] {
                mac.update(part);
            }
            let signature = from_hex(signature).ok_or(WireError::Signature)?;
            mac.verify_slice(&signature).map_err(|_| WireError::Signature)?;
        }
        let fields = object(header, "the header")?;
        object(parent, "the parent header")?;
        let cell = object(metadata, "the metadata")?.get("cellId").and_then(Value::as_str).map(str::to_owned);
        let field = |name: &'static str| {
            fields.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(WireError::Header(name))
        };
        Ok(Request {
            kind: field("msg_type")?,
            id: field("msg_id")?,
            content: object(content, "the content")?,
            cell,
            header: header.clone(),
            identities: frames[..delimiter].to_vec(),
        })
    }

    /// A message of ours. `leading` is what routes it: identities, or an IOPub topic.
    pub fn encode(
        &self,
        leading: &[Bytes],
        kind: &str,
        parent: Option<&Request>,
        content: &impl Serialize,
    ) -> serde_json::Result<Vec<Bytes>> {
        let header = serde_json::to_vec(&json!({
            "msg_id": Uuid::new_v4().to_string(),
            "session": self.session,
            "username": "kernel",
            "date": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            "msg_type": kind,
            "version": PROTOCOL_VERSION,
        }))?;
        let parent = parent.map_or_else(|| Bytes::from_static(b"{}"), |request| request.header.clone());
        let parts = [Bytes::from(header), parent, Bytes::from_static(b"{}"), Bytes::from(serde_json::to_vec(content)?)];
        let mut frames = Vec::with_capacity(leading.len() + 6);
        frames.extend_from_slice(leading);
        frames.push(Bytes::from_static(DELIMITER));
        frames.push(self.sign(&parts));
        frames.extend(parts);
        Ok(frames)
    }

    fn sign(&self, parts: &[Bytes]) -> Bytes {
        let Some(mac) = &self.mac else { return Bytes::new() };
        let mut mac = mac.clone();
        for part in parts {
            mac.update(part);
        }
        let digest = mac.finalize().into_bytes();
        Bytes::from(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

fn object(frame: &Bytes, part: &'static str) -> Result<Map<String, Value>, WireError> {
    match serde_json::from_slice(frame) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(WireError::NotAnObject { part }),
    }
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.len() % 2 != 0 || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|start| u8::from_str_radix(&text[start..start + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(wire: &Wire) -> Vec<Bytes> {
        wire.encode(&[Bytes::from_static(b"client")], "execute_request", None, &json!({"code": "1"})).unwrap()
    }

    #[test]
    fn reads_what_it_wrote() {
        let wire = Wire::new("secret");
        let request = wire.decode(frames(&wire)).unwrap();
        assert_eq!((request.kind.as_str(), request.text("code")), ("execute_request", "1"));
        assert_eq!(request.identities, [Bytes::from_static(b"client")]);
    }

    #[test]
    fn rejects_a_wrong_signature_and_a_changed_message() {
        let wire = Wire::new("secret");
        assert!(matches!(Wire::new("other").decode(frames(&wire)), Err(WireError::Signature)));
        let mut changed = frames(&wire);
        changed[6] = Bytes::from_static(br#"{"code": "2"}"#);
        assert!(matches!(wire.decode(changed), Err(WireError::Signature)));
        let mut unsigned = frames(&wire);
        unsigned[2] = Bytes::new();
        assert!(matches!(wire.decode(unsigned), Err(WireError::Signature)));
    }

    #[test]
    fn rejects_what_is_not_a_message() {
        let wire = Wire::new("");
        assert!(matches!(wire.decode(vec![Bytes::from_static(b"x")]), Err(WireError::NoDelimiter)));
        let short = vec![Bytes::from_static(DELIMITER), Bytes::new()];
        assert!(matches!(wire.decode(short), Err(WireError::TooFewFrames(1))));
        let mut broken = frames(&wire);
        broken[3] = Bytes::from_static(b"[]");
        assert!(matches!(wire.decode(broken), Err(WireError::NotAnObject { .. })));
    }
}

//! What must not be kept or sent: secrets always, personal data where it is asked for.
//!
//! Three ways to find a secret: by its shape ([`patterns`]), by the name it is given to
//! ([`named`]), and by its value, where the process knows it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::records::{ContextItem, ItemDetails, NewMessage, NewTurn};

mod named;
mod patterns;
mod personal;

/// Blanks out secrets in what is stored and sent.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first.
    known: Vec<String>,
    personal: bool,
}

/// A known value shorter than this is not hidden: it would blank out ordinary words.
const SHORTEST_KNOWN: usize = 8;

/// A part of a text to be blanked out, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    place: Range<usize>,
    what: &'static str,
}

impl Redactor {
    /// Knows secrets by their shape and by the names they are given to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows the values of the environment's variables that are named like secrets, too.
    pub fn with_environment() -> Self {
        let secret = |(name, value): (String, String)| named::names_a_secret(&name).then_some(value);
        Self::new().knowing(
            std::env::vars_os()
                .filter_map(|(name, value)| secret((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Hides these values wherever they stand.
    #[must_use]
    pub fn knowing(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        let worth_hiding = |value: &str| value.len() >= SHORTEST_KNOWN && !named::is_ordinary(value);
        let secrets = secrets.into_iter().map(|secret| secret.trim().to_owned()).filter(|secret| worth_hiding(secret));
        let all: BTreeSet<String> = self.known.drain(..).chain(secrets).collect();
        self.known = all.into_iter().collect();
        self.known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self
    }

    /// Hides e-mail addresses, telephone numbers, bank accounts and card numbers, too.
    #[must_use]
    pub fn with_personal_data(mut self, hide: bool) -> Self {
        self.personal = hide;
        self
    }

    /// The text with `[redacted: ...]` in the place of what must not be there.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut findings = Vec::new();
        for secret in &self.known {
            findings.extend(
                text.match_indices(secret.as_str())
                    .map(|(start, found)| Finding { place: start..start + found.len(), what: "secret" }),
            );
        }
        patterns::find(text, &mut findings);
        named::find(text, &mut findings);
        if self.personal {
            personal::find(text, &mut findings);
        }
        blank_out(text, findings)
    }

    /// [`Redactor::redact`] for every text in a JSON value; what stands under a name like `password` goes as a whole.
    pub fn redact_json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact(text).into_owned()),
            Value::Array(items) => items.iter().map(|item| self.redact_json(item)).collect(),
            Value::Object(fields) => {
                let field =
                    |(name, value): (&String, &Value)| (self.redact(name).into_owned(), self.redact_field(name, value));
                Value::Object(fields.iter().map(field).collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    fn redact_field(&self, name: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if named::names_a_secret(name) && named::looks_secret(name, text) => {
                Value::String(replacement("secret"))
            }
            other => self.redact_json(other),
        }
    }
}

/// What is known stays unknown.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Redactor").field("known", &self.known.len()).field("personal", &self.personal).finish()
    }
}

/// What stands in the place of a secret begins so.
const REPLACED: &str = "[redacted: ";

fn replacement(what: &str) -> String {
    format!("{REPLACED}{what}]")
}

/// Whether something was blanked out of a text.
pub fn says_redacted(text: &str) -> bool {
    text.contains(REPLACED)
}

/// Findings that overlap are one; it is called what the first of them is.
fn blank_out(text: &str, mut findings: Vec<Finding>) -> Cow<'_, str> {
    if findings.is_empty() {
        return Cow::Borrowed(text);
    }
    findings.sort_by_key(|finding| (finding.place.start, std::cmp::Reverse(finding.place.end)));
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    for finding in findings {
        if finding.place.start >= done {
            clean.push_str(text.get(done..finding.place.start).unwrap_or_default());
            clean.push_str(&replacement(finding.what));
        }
        done = done.max(finding.place.end);
    }
    clean.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(clean)
}

/// A turn as it is kept.
pub(crate) fn redacted(turn: &NewTurn, redactor: &Redactor) -> NewTurn {
    let clean = |text: &str| redactor.redact(text).into_owned();
    let message = |message: &NewMessage| NewMessage {
        role: message.role.clone(),
        content: clean(&message.content),
        json: message.json.as_ref().map(|json| redactor.redact_json(json)),
    };
    let item = |item: &ContextItem| ContextItem {
        origin: clean(&item.origin),
        title: clean(&item.title),
        text: clean(&item.text),
        details: ItemDetails { reason: clean(&item.details.reason), ..item.details.clone() },
        ..item.clone()
    };
    NewTurn {
        request: clean(&turn.request),
        answer: clean(&turn.answer),
        prompt: clean(&turn.prompt),
        messages: turn.messages.iter().map(message).collect(),
        context: turn.context.iter().map(item).collect(),
        ..turn.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Redactor;

    #[test]
    fn known_values_are_hidden_wherever_they_stand() {
        let redactor =
            Redactor::new().knowing(["hunter2-hunter2".to_owned(), "short".to_owned(), "localhost".to_owned()]);
        assert_eq!(
            redactor.redact("say hunter2-hunter2, short, localhost"),
            "say [redacted: secret], short, localhost"
        );
        // The longer one is not left half in the open.
        let redactor = redactor.knowing(["hunter2-hunter2-and-more".to_owned()]);
        assert_eq!(redactor.redact("hunter2-hunter2-and-more!"), "[redacted: secret]!");
        assert!(!format!("{redactor:?}").contains("hunter2"));
    }

    #[test]
    fn json_is_cleaned_at_every_depth() {
        let value = json!({"args": [{"password": "x8!kd93k", "rows": 3, "url": "https://me:s3cretpass@host/db"}], "password": null});
        let clean = Redactor::new().redact_json(&value);
        assert_eq!(
            clean,
            json!({"args": [{"password": "[redacted: secret]", "rows": 3, "url": "https://me:[redacted: password]@host/db"}], "password": null})
        );
    }

    #[test]
    fn what_is_clean_is_not_copied() {
        let text = "SELECT region, sum(amount) FROM orders GROUP BY 1";
        assert!(matches!(Redactor::new().with_personal_data(true).redact(text), std::borrow::Cow::Borrowed(_)));
    }
}

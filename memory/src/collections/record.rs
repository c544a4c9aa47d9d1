//! What a collection is made of: one record a line of JSON.

use serde_json::{Map, Value, json};

use crate::collections::Metadata;

/// One document of a collection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Unique in its collection.
    pub id: String,
    pub title: String,
    pub text: String,
    pub metadata: Metadata,
}

/// A line that is not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: usize,
    pub reason: String,
}

impl Record {
    /// What is compared with a query.
    pub fn content(&self) -> String {
        match self.title.trim() {
            "" => self.text.clone(),
            title => format!("{title}\n{}", self.text),
        }
    }

    /// As [`parse_line`] reads it.
    pub fn line(&self) -> String {
        let mut fields = Map::new();
        fields.insert("id".to_owned(), json!(self.id));
        if !self.title.is_empty() {
            fields.insert("title".to_owned(), json!(self.title));
        }
        fields.insert("text".to_owned(), json!(self.text));
        if !self.metadata.is_empty() {
            fields.insert("metadata".to_owned(), Value::Object(self.metadata.clone()));
        }
        Value::Object(fields).to_string()
    }
}

/// Reads `{"id": ..., "text": ..., "title": ..., "metadata": {...}}`; title and metadata may be missing, `_id` is
/// another name of `id`, and what else there is becomes metadata.
pub fn parse_line(number: usize, line: &str) -> Result<Record, BadLine> {
    let bad = |reason: String| BadLine { number, reason };
    let value: Value = serde_json::from_str(line).map_err(|error| bad(format!("not JSON: {error}")))?;
    let Value::Object(mut fields) = value else { return Err(bad("not a JSON object".to_owned())) };
    let id = match fields.remove("id").or_else(|| fields.remove("_id")) {
        Some(Value::String(id)) if !id.is_empty() => id,
        Some(Value::Number(id)) => {
            let text = id.to_string();
            // A number as it is read has lost the digits beyond these: two may have become one.
            let digits = text.split('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count();
            if id.is_f64() && (digits > f64::DIGITS as usize || id.as_f64().is_some_and(|id| id.abs() >= 1e15)) {
                return Err(bad(format!("\"id\" is a number of too many digits (about {text}); write it in quotes")));
            }
            text
        }
        Some(_) => return Err(bad("\"id\" is neither a text nor a number".to_owned())),
        None => return Err(bad("it has no \"id\"".to_owned())),
    };
    let mut text_of = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Ok(Some(text)),
        None | Some(Value::Null) => Ok(None),
        Some(_) => Err(bad(format!("{name:?} of {id:?} is not a text"))),
    };
    let (title, text) = (text_of("title")?.unwrap_or_default(), text_of("text")?);
    let Some(text) = text else { return Err(bad(format!("{id:?} has no \"text\""))) };
    if text.trim().is_empty() && title.trim().is_empty() {
        return Err(bad(format!("the text of {id:?} is empty")));
    }
    let mut metadata = match fields.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(bad(format!("\"metadata\" of {id:?} is not an object, like {{\"year\": 1999}}"))),
    };
    for (name, value) in fields {
        metadata.entry(name).or_insert(value);
    }
    Ok(Record { id, title, text, metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_went() {
        for line in [
            r#"{"id":"a","text":"x"}"#,
            r#"{"id":"b","title":"T","text":"\u00e9\n","metadata":{"n":1,"list":[null,{"deep":true}]}}"#,
        ] {
            let record = parse_line(1, line).unwrap();
            assert_eq!(parse_line(1, &record.line()).unwrap(), record);
        }
        let record = parse_line(1, r#"{"_id":7,"text":"x","year":1999,"metadata":{"year":1}}"#).unwrap();
        assert_eq!((record.id.as_str(), &record.metadata["year"]), ("7", &json!(1)));
        for number in ["18446744073709551615", "-9223372036854775808", "1.5", "0"] {
            assert_eq!(parse_line(1, &format!("{{\"id\":{number},\"text\":\"x\"}}")).unwrap().id, number);
        }
        assert_eq!(parse_line(1, r#"{"id":"a","title":"only","text":""}"#).unwrap().content(), "only\n");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, reason) in [
            ("{\"id\":", "not JSON: EOF"),
            ("[1]", "not a JSON object"),
            (r#"{"text":"x"}"#, "no \"id\""),
            (r#"{"id":{},"text":"x"}"#, "neither"),
            (r#"{"id":18446744073709551616,"text":"x"}"#, "write it in quotes"),
            (r#"{"id":18446744073709551617,"text":"x"}"#, "write it in quotes"),
            (r#"{"id":100000000000000000000,"text":"x"}"#, "write it in quotes"),
            (r#"{"id":-9223372036854775809,"text":"x"}"#, "write it in quotes"),
            (r#"{"id":0.12345678901234567890,"text":"x"}"#, "write it in quotes"),
            (r#"{"id":"a"}"#, "\"a\" has no \"text\""),
            (r#"{"id":"a","text":3}"#, "is not a text"),
            (r#"{"id":"a","text":" "}"#, "is empty"),
            (r#"{"id":"a","text":"x","metadata":[]}"#, "not an object"),
        ] {
            let bad = parse_line(12, line).unwrap_err();
            assert!(bad.number == 12 && bad.reason.contains(reason), "{bad:?}");
        }
    }
}

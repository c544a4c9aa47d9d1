//! `{{name}}` in a magic's text.

use crate::session::{Interrupt, Session};

/// Replaces each `{{name}}` that has a value, once: what comes in is not looked at again.
/// Braces around anything else stay as they are, so prompts and JSON need no escaping.
pub fn interpolate(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        result.push_str(&rest[..start]);
        let opened = &rest[start + 2..];
        let replacement = opened
            .find("}}")
            .map(|end| (opened[..end].trim(), &opened[end + 2..]))
            .filter(|(name, _)| is_name(name))
            .and_then(|(name, after)| Some((lookup(name)?, after)));
        match replacement {
            Some((value, after)) => {
                result.push_str(&value);
                rest = after;
            }
            None => {
                result.push('{');
                rest = &rest[start + 1..];
            }
        }
    }
    result.push_str(rest);
    result
}

/// A value of the session: `%set` and parameters first, then a frame of one row and one column.
pub fn value(session: &Session, name: &str) -> Option<String> {
    if let Some(value) = session.values.get(name) {
        return Some(value.to_owned());
    }
    let query = format!("SELECT * FROM \"{name}\" LIMIT 2");
    let frame = session.sql.query(&query, true, 2, &Interrupt::new()).ok()?;
    match frame.rows.as_slice() {
        [row] if row.len() == 1 => Some(row[0].clone().unwrap_or_else(|| "NULL".to_owned())),
        _ => None,
    }
}

/// Letters, digits and underscores, no digit first.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && text.chars().all(|character| character.is_alphanumeric() || character == '_')
}

#[cfg(test)]
mod tests {
    use super::interpolate;

    #[test]
    fn replaces_known_names_once() {
        let lookup = |name: &str| match name {
            "a" => Some("{{b}}".to_owned()),
            "b" => Some("B".to_owned()),
            _ => None,
        };
        for (text, expected) in [
            ("x {{a}} {{ b }} y", "x {{b}} B y"),
            ("{{c}} {{}} {{ {\"k\": {\"v\": 1}} }}", "{{c}} {{}} {{ {\"k\": {\"v\": 1}} }}"),
            ("{{{b}}}", "{B}"),
            ("{{b", "{{b"),
            ("ä{{b}}ö", "äBö"),
        ] {
            assert_eq!(interpolate(text, &lookup), expected, "{text}");
        }
    }
}

//! The methods of `str`.

use super::arguments::{Argument, Arguments};
use super::formatting;
use super::operators::check_length;
use super::printing::{is_printable, is_space};
use super::sequences::iterate;
use super::value::Value;
use super::{Error, Result};

pub(super) const METHODS: [&str; 45] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

pub(super) fn call(text: &str, name: &'static str, arguments: Arguments) -> Result<Value> {
    Ok(match name {
        "strip" | "lstrip" | "rstrip" => {
            let [characters] = arguments.bind(name, ["chars"])?;
            Value::text(strip(text, name, characters)?)
        }
        "split" | "rsplit" => {
            let [separator, most] = arguments.bind(name, ["sep", "maxsplit"])?;
            let most = usize::try_from(most.int_or(-1)?).unwrap_or(usize::MAX);
            let separator = separator.filter(|separator| !matches!(separator, Value::None));
            let parts = match separator {
                None => split_at_space(text, most, name == "rsplit"),
                some => {
                    let separator = some.text_or("")?;
                    if separator.is_empty() {
                        return Err(Error::new("empty separator"));
                    }
                    split(text, &separator, most, name == "rsplit")
                }
            };
            Value::list(parts.into_iter().map(Value::text).collect())
        }
        "splitlines" => {
            let [keep] = arguments.bind(name, ["keepends"])?;
            Value::list(lines(text, keep.is_true()).into_iter().map(Value::text).collect())
        }
        "replace" => {
            let [old, new, most] = arguments.bind(name, ["old", "new", "count"])?;
            let (old, new) = (old.required(name, "old")?, new.required(name, "new")?);
            let (old, new) = (Some(old).text_or("")?, Some(new).text_or("")?);
            let most = usize::try_from(most.int_or(-1)?).unwrap_or(usize::MAX);
            check_length(text.matches(&old).count().saturating_mul(new.len()).saturating_add(text.len()))?;
            Value::text(text.replacen(&old, &new, most))
        }
        "startswith" | "endswith" => affix(text, name, arguments)?,
        "removeprefix" | "removesuffix" => {
            let [affix] = arguments.bind(name, ["affix"])?;
            let affix = Some(affix.required(name, "affix")?).text_or("")?;
            let rest = if name == "removeprefix" { text.strip_prefix(&affix) } else { text.strip_suffix(&affix) };
            Value::text(rest.unwrap_or(text))
        }
        "join" => {
            let [items] = arguments.bind(name, ["iterable"])?;
            Value::text(join(text, &items.required(name, "iterable")?)?)
        }
        "find" | "rfind" | "index" | "rindex" | "count" => search(text, name, arguments)?,
        "partition" | "rpartition" => {
            let [separator] = arguments.bind(name, ["sep"])?;
            let separator = Some(separator.required(name, "sep")?).text_or("")?;
            let parts = if name == "partition" { text.split_once(&separator) } else { text.rsplit_once(&separator) };
            let parts = match parts {
                Some((before, after)) => [before, &separator, after],
                None if name == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Value::tuple(parts.map(Value::text).into())
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = arguments.bind(name, ["width", "fillchar"])?;
            let width = Some(width.required(name, "width")?).int_or(0)?;
            let fill = fill.text_or(" ")?;
            let mut characters = fill.chars();
            let (Some(fill), None) = (characters.next(), characters.next()) else {
                return Err(Error::new("The fill character must be exactly one character long"));
            };
            Value::text(pad(text, name, width, fill)?)
        }
        "zfill" => {
            let [width] = arguments.bind(name, ["width"])?;
            let width = Some(width.required(name, "width")?).int_or(0)?;
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            let sign = &text[..text.len() - digits.len()];
            Value::text(format!("{sign}{}", pad(digits, "rjust", width - sign.len() as i128, '0')?))
        }
        "format" => Value::text(formatting::brace_format(text, &arguments.positional, &arguments.named)?),
        "format_map" => {
            let [mapping] = arguments.bind(name, ["mapping"])?;
            let Value::Dict(dict) = mapping.required(name, "mapping")? else {
                return Err(Error::new("format_map() needs a mapping"));
            };
            let named = dict.0.iter().filter_map(|(key, value)| Some((key.as_text()?.to_string(), value.clone())));
            Value::text(formatting::brace_format(text, &[], &named.collect::<Vec<_>>())?)
        }
        "expandtabs" => {
            let [size] = arguments.bind(name, ["tabsize"])?;
            Value::text(expand_tabs(text, usize::try_from(size.int_or(8)?).unwrap_or(0).min(1000)))
        }
        "encode" => return Err(Error::new("bytes are not available to chat templates here")),
        _ => {
            arguments.none(name)?;
            without_arguments(text, name)
        }
    })
}

fn without_arguments(text: &str, name: &str) -> Value {
    let all = |test: &dyn Fn(char) -> bool| Value::Bool(!text.is_empty() && text.chars().all(test));
    let cased = || text.chars().any(|character| character.is_lowercase() || character.is_uppercase());
    match name {
        "upper" => Value::text(text.to_uppercase()),
        "lower" => Value::text(text.to_lowercase()),
        "casefold" => Value::text(text.to_lowercase().replace('ß', "ss")),
        "capitalize" => Value::text(capitalize(text)),
        "title" => Value::text(title(text)),
        "swapcase" => Value::text(text.chars().map(swapped).collect::<String>()),
        "isalpha" => all(&char::is_alphabetic),
        "isalnum" => all(&char::is_alphanumeric),
        "isdigit" | "isdecimal" => all(&|character| {
            character.is_ascii_digit() || character.is_numeric() && character.is_alphanumeric() && !character.is_ascii()
        }),
        "isnumeric" => all(&char::is_numeric),
        "isspace" => all(&is_space),
        "isascii" => Value::Bool(text.is_ascii()),
        "isprintable" => Value::Bool(text.chars().all(is_printable)),
        "isidentifier" => {
            let begins = text.starts_with(|first: char| first == '_' || first.is_alphabetic());
            Value::Bool(begins && text.chars().all(|character| character == '_' || character.is_alphanumeric()))
        }
        "islower" => Value::Bool(cased() && !text.chars().any(char::is_uppercase)),
        "isupper" => Value::Bool(cased() && !text.chars().any(char::is_lowercase)),
        _ => Value::Bool(cased() && title(text) == text),
    }
}

fn swapped(character: char) -> String {
    if character.is_uppercase() { character.to_lowercase().collect() } else { character.to_uppercase().collect() }
}

pub(super) fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().collect::<String>());
    first.unwrap_or_default() + &characters.as_str().to_lowercase()
}

fn title(text: &str) -> String {
    let mut within = false;
    let cased = |character: char| {
        let piece: String =
            if within { character.to_lowercase().collect() } else { character.to_uppercase().collect() };
        within = character.is_alphabetic();
        piece
    };
    text.chars().map(cased).collect()
}

fn strip(text: &str, name: &str, characters: Option<Value>) -> Result<String> {
    let characters = match characters {
        None | Some(Value::None) => None,
        some => Some(some.text_or("")?),
    };
    let stripped = |character: char| match &characters {
        None => is_space(character),
        Some(set) => set.contains(character),
    };
    Ok(match name {
        "lstrip" => text.trim_start_matches(stripped),
        "rstrip" => text.trim_end_matches(stripped),
        _ => text.trim_matches(stripped),
    }
    .to_string())
}

fn split<'t>(text: &'t str, separator: &str, most: usize, from_right: bool) -> Vec<&'t str> {
    let parts = most.saturating_add(1);
    if from_right {
        let mut parts: Vec<&str> = text.rsplitn(parts, separator).collect();
        parts.reverse();
        return parts;
    }
    text.splitn(parts, separator).collect()
}

fn split_at_space(text: &str, most: usize, from_right: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_matches(is_space);
    while !rest.is_empty() {
        let space = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(position) = space.filter(|_| parts.len() < most) else {
            parts.push(rest);
            break;
        };
        let width = rest[position..].chars().next().map_or(1, char::len_utf8);
        if from_right {
            parts.push(&rest[position + width..]);
            rest = rest[..position].trim_end_matches(is_space);
        } else {
            parts.push(&rest[..position]);
            rest = rest[position..].trim_start_matches(is_space);
        }
    }
    // With a limit, the space at the far end of the last part stays.
    if most != usize::MAX
        && parts.len() > most
        && let Some(last) = parts.pop()
    {
        let begin = last.as_ptr() as usize - text.as_ptr() as usize;
        parts.push(if from_right { &text[..begin + last.len()] } else { &text[begin..] });
    }
    if from_right {
        parts.reverse();
    }
    parts
}

/// `str.splitlines`
pub(super) fn lines(text: &str, keep: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut begin = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((position, character)) = characters.next() {
        let ends = matches!(
            character,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        if !ends {
            continue;
        }
        let mut end = position + character.len_utf8();
        if character == '\r' && characters.next_if(|(_, next)| *next == '\n').is_some() {
            end += 1;
        }
        lines.push(&text[begin..if keep { end } else { position }]);
        begin = end;
    }
    if begin < text.len() {
        lines.push(&text[begin..]);
    }
    lines
}

fn affix(text: &str, name: &str, arguments: Arguments) -> Result<Value> {
    let [affixes, start, stop] = arguments.bind(name, ["affix", "start", "end"])?;
    let window = window(text, start, stop)?;
    let affixes = match affixes.required(name, "affix")? {
        Value::Tuple(affixes) => affixes.to_vec(),
        one => vec![one],
    };
    for affix in affixes {
        let affix = Some(affix)
            .text_or("")
            .map_err(|_| Error::new(format!("{name} first arg must be str or a tuple of str")))?;
        let matches =
            |window: &str| if name == "startswith" { window.starts_with(&affix) } else { window.ends_with(&affix) };
        if window.as_ref().is_some_and(|(_, window)| matches(window)) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// `text[start:stop]` and how many characters are before it; `None` where start is behind stop.
fn window(text: &str, start: Option<Value>, stop: Option<Value>) -> Result<Option<(usize, String)>> {
    let given = |bound: Option<Value>| bound.filter(|bound| !matches!(bound, Value::None));
    let (start, stop) = (given(start), given(stop));
    if start.is_none() && stop.is_none() {
        return Ok(Some((0, text.to_string())));
    }
    let characters: Vec<char> = text.chars().collect();
    let length = characters.len() as i128;
    let place = |bound: i128| if bound < 0 { (bound + length).max(0) } else { bound };
    let (start, stop) = (place(start.int_or(0)?), place(stop.int_or(length)?).min(length));
    let range = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(stop).unwrap_or(0);
    Ok(characters.get(range).map(|window| (start as usize, window.iter().collect())))
}

fn search(text: &str, name: &str, arguments: Arguments) -> Result<Value> {
    let [wanted, start, stop] = arguments.bind(name, ["sub", "start", "end"])?;
    let wanted = Some(wanted.required(name, "sub")?).text_or("")?;
    let window = window(text, start, stop)?;
    if name == "count" {
        return Ok(Value::Int(window.map_or(0, |(_, window)| window.matches(&wanted).count() as i128)));
    }
    let found = window.and_then(|(before, window)| {
        let position = if name.starts_with('r') { window.rfind(&wanted) } else { window.find(&wanted) };
        Some(before + window[..position?].chars().count())
    });
    match found {
        Some(position) => Ok(Value::Int(position as i128)),
        None if name.ends_with("find") => Ok(Value::Int(-1)),
        None => Err(Error::new("substring not found")),
    }
}

fn join(separator: &str, items: &Value) -> Result<String> {
    let mut whole = String::new();
    for (index, item) in iterate(items)?.iter().enumerate() {
        let Some(text) = item.as_text() else {
            return Err(Error::new(format!(
                "sequence item {index}: expected str instance, {} found",
                item.type_name()
            )));
        };
        if index > 0 {
            whole.push_str(separator);
        }
        whole.push_str(text);
        check_length(whole.len())?;
    }
    Ok(whole)
}

pub(super) fn pad(text: &str, how: &str, width: i128, fill: char) -> Result<String> {
    let length = text.chars().count();
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(length);
    check_length(missing.saturating_mul(4))?;
    let left = match how {
        "ljust" => 0,
        "rjust" => missing,
        // CPython puts the odd one on the left where the width is odd.
        _ => missing / 2 + (missing & (missing + length) & 1),
    };
    let fill = |count: usize| fill.to_string().repeat(count);
    Ok(format!("{}{text}{}", fill(left), fill(missing - left)))
}

fn expand_tabs(text: &str, size: usize) -> String {
    let mut expanded = String::new();
    let mut column = 0;
    for character in text.chars() {
        match character {
            '\t' => {
                let spaces = if size == 0 { 0 } else { size - column % size };
                expanded.push_str(&" ".repeat(spaces));
                column += spaces;
            }
            other => {
                column = if matches!(other, '\n' | '\r') { 0 } else { column + 1 };
                expanded.push(other);
            }
        }
    }
    expanded
}

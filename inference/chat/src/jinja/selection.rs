//! Filters over sequences: what they pick, order, group and join.

use std::cmp::Ordering;

use super::arguments::{Argument, Arguments};
use super::attributes::item;
use super::checks;
use super::operators::{arithmetic, check_count, check_length, equal, order, undefined_error};
use super::printing::print;
use super::sequences::iterate;
use super::statements::Interpreter;
use super::syntax::Operator;
use super::value::Value;
use super::{Error, Result, filters};

pub(super) const NAMES: [&str; 18] = [
    "batch",
    "dictsort",
    "first",
    "groupby",
    "join",
    "last",
    "map",
    "max",
    "min",
    "random",
    "reject",
    "rejectattr",
    "select",
    "selectattr",
    "slice",
    "sort",
    "sum",
    "unique",
];

pub(super) fn apply(value: Value, name: &str, arguments: Arguments, interpreter: &mut Interpreter) -> Result<Value> {
    match name {
        "first" => {
            arguments.none(name)?;
            if let Value::Stream(items) = &value {
                return Ok(items.borrow_mut().pop_front().unwrap_or_else(|| nothing("first")));
            }
            Ok(iterate(&value)?.into_iter().next().unwrap_or_else(|| nothing("first")))
        }
        "last" => {
            arguments.none(name)?;
            if matches!(value, Value::Stream(_)) {
                return Err(Error::new("'generator' object is not reversible"));
            }
            Ok(iterate(&value)?.pop().unwrap_or_else(|| nothing("last")))
        }
        "random" => Err(Error::new("the filter random would make prompts that differ each time; it is not available")),
        "join" => join(&value, arguments),
        "map" => map(&value, arguments, interpreter).map(Value::stream),
        "select" | "reject" | "selectattr" | "rejectattr" => {
            select(&value, name, arguments, interpreter).map(Value::stream)
        }
        "sort" => {
            let [reverse, sensitive, attribute] = arguments.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let attributes = match &attribute {
                Some(Value::Text(names)) => names.split(',').map(|name| path(&Value::text(name))).collect(),
                Some(other) => vec![path(other)],
                None => vec![Vec::new()],
            };
            let items = iterate(&value)?;
            interpreter.charge(items.len() * 8)?;
            let mut keyed = Vec::with_capacity(items.len());
            for item in items {
                let keys = attributes.iter().map(|path| Ok(folded(&follow(&item, path)?, sensitive.is_true())));
                keyed.push((Value::list(keys.collect::<Result<Vec<_>>>()?), item));
            }
            Ok(Value::list(sorted(keyed, reverse.is_true())?))
        }
        "dictsort" => dictsort(&value, arguments),
        "groupby" => groupby(&value, arguments, interpreter),
        "unique" => {
            let [sensitive, attribute] = arguments.bind(name, ["case_sensitive", "attribute"])?;
            let path = attribute.as_ref().map(path).unwrap_or_default();
            let mut seen: Vec<Value> = Vec::new();
            let mut kept = Vec::new();
            for item in iterate(&value)? {
                interpreter.charge(1 + seen.len())?;
                let key = folded(&follow(&item, &path)?, sensitive.is_true());
                if matches!(key, Value::List(_) | Value::Dict(_)) {
                    return Err(Error::new(format!("unhashable type: '{}'", key.type_name())));
                }
                if !seen.iter().any(|other| equal(other, &key)) {
                    seen.push(key);
                    kept.push(item);
                }
            }
            Ok(Value::stream(kept))
        }
        "min" | "max" => {
            let [sensitive, attribute] = arguments.bind(name, ["case_sensitive", "attribute"])?;
            let path = attribute.as_ref().map(path).unwrap_or_default();
            let mut best: Option<(Value, Value)> = None;
            for item in iterate(&value)? {
                let key = folded(&follow(&item, &path)?, sensitive.is_true());
                let better = match &best {
                    None => true,
                    Some((other, _)) if name == "max" => order(&key, other, ">")?.is_gt(),
                    Some((other, _)) => order(&key, other, "<")?.is_lt(),
                };
                if better {
                    best = Some((key, item));
                }
            }
            Ok(best.map_or_else(|| Value::undefined("No aggregated item, sequence was empty."), |(_, item)| item))
        }
        "sum" => {
            let [attribute, start] = arguments.bind(name, ["attribute", "start"])?;
            let path = attribute.as_ref().filter(|name| !matches!(name, Value::None)).map(path).unwrap_or_default();
            let mut sum = start.unwrap_or(Value::Int(0));
            if sum.as_text().is_some() {
                return Err(Error::new("sum() can't sum strings [use ''.join(seq) instead]"));
            }
            for item in iterate(&value)? {
                sum = arithmetic(Operator::Add, &sum, &follow(&item, &path)?)?;
                interpreter.charge_for(&sum)?;
            }
            Ok(sum)
        }
        "batch" => {
            let [count, fill] = arguments.bind(name, ["linecount", "fill_with"])?;
            batch(iterate(&value)?, Some(count.required(name, "linecount")?).int_or(0)?, fill)
        }
        _ => {
            let [slices, fill] = arguments.bind(name, ["slices", "fill_with"])?;
            slice(&iterate(&value)?, Some(slices.required(name, "slices")?).int_or(0)?, fill)
        }
    }
}

fn nothing(which: &str) -> Value {
    Value::undefined(format!("No {which} item, sequence was empty."))
}

/// The parts of `"address.city.0"`.
fn path(attribute: &Value) -> Vec<Value> {
    match attribute.as_text() {
        Some(text) => {
            let part =
                |part: &str| part.parse::<u32>().map_or_else(|_| Value::text(part), |index| Value::Int(index.into()));
            text.split('.').map(part).collect()
        }
        None if matches!(attribute, Value::None) => Vec::new(),
        None => vec![attribute.clone()],
    }
}

fn follow(value: &Value, path: &[Value]) -> Result<Value> {
    path.iter().try_fold(value.clone(), |value, part| item(&value, part))
}

/// Like [`follow`], with a value for what is undefined on the way.
fn follow_or(value: &Value, path: &[Value], default: Option<&Value>) -> Result<Value> {
    let mut value = value.clone();
    for part in path {
        value = item(&value, part)?;
        if let (Value::Undefined(_), Some(default)) = (&value, default) {
            value = default.clone();
        }
    }
    Ok(value)
}

fn folded(value: &Value, case_sensitive: bool) -> Value {
    match value.as_text() {
        Some(text) if !case_sensitive => Value::text(text.to_lowercase()),
        _ => value.clone(),
    }
}

/// Sorts by key, stable; an error where two keys have no order.
fn sorted(mut keyed: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<Value>> {
    let mut failed = None;
    keyed.sort_by(|(one, _), (other, _)| {
        let ordered = order(one, other, "<").unwrap_or_else(|error| {
            failed.get_or_insert(error);
            Ordering::Equal
        });
        if reverse { ordered.reverse() } else { ordered }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

fn dictsort(value: &Value, arguments: Arguments) -> Result<Value> {
    let [sensitive, by, reverse] = arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let by = by.text_or("key")?;
    if !matches!(by.as_str(), "key" | "value") {
        return Err(Error::new("You can only sort by either \"key\" or \"value\""));
    }
    let dict = match value {
        Value::Dict(dict) => dict,
        Value::Undefined(message) => return Err(undefined_error(message)),
        other => return Err(Error::new(format!("'{}' object has no attribute 'items'", other.type_name()))),
    };
    let keyed = dict.0.iter().map(|(key, value)| {
        let by = folded(if by == "key" { key } else { value }, sensitive.is_true());
        (by, Value::tuple(vec![key.clone(), value.clone()]))
    });
    sorted(keyed.collect(), reverse.is_true()).map(Value::list)
}

fn groupby(value: &Value, arguments: Arguments, interpreter: &mut Interpreter) -> Result<Value> {
    let [attribute, default, sensitive] = arguments.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let path = path(&attribute.required("groupby", "attribute")?);
    let mut keyed = Vec::new();
    for item in iterate(value)? {
        interpreter.charge(8)?;
        keyed.push((folded(&follow_or(&item, &path, default.as_ref())?, sensitive.is_true()), item));
    }
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in sorted(keyed, false)? {
        let found = follow_or(&item, &path, default.as_ref())?;
        let same = |(key, _): &&mut (Value, Vec<Value>)| {
            equal(&folded(key, sensitive.is_true()), &folded(&found, sensitive.is_true()))
        };
        match groups.last_mut().filter(same) {
            Some((_, items)) => items.push(item),
            None => groups.push((found, vec![item])),
        }
    }
    Ok(Value::list(groups.into_iter().map(|(key, items)| Value::tuple(vec![key, Value::list(items)])).collect()))
}

fn join(value: &Value, arguments: Arguments) -> Result<Value> {
    let [separator, attribute] = arguments.bind("join", ["d", "attribute"])?;
    let separator = separator.as_ref().map(print).unwrap_or_default();
    let path = attribute.as_ref().map(path).unwrap_or_default();
    let mut text = String::new();
    for (index, item) in iterate(value)?.iter().enumerate() {
        if index > 0 {
            text.push_str(&separator);
        }
        text.push_str(&print(&follow(item, &path)?));
        check_length(text.len())?;
    }
    Ok(Value::text(text))
}

fn map(value: &Value, mut arguments: Arguments, interpreter: &mut Interpreter) -> Result<Vec<Value>> {
    let mut mapped = Vec::new();
    if arguments.positional.is_empty() && arguments.named.iter().any(|(name, _)| name == "attribute") {
        let [attribute, default] = arguments.bind("map", ["attribute", "default"])?;
        let path = attribute.as_ref().map(path).unwrap_or_default();
        for item in items_of(value)? {
            interpreter.charge(1)?;
            mapped.push(follow_or(&item, &path, default.as_ref().filter(|default| !matches!(default, Value::None)))?);
        }
        return Ok(mapped);
    }
    if arguments.positional.is_empty() {
        return Err(Error::new("map requires a filter argument"));
    }
    let filter = print(&arguments.positional.remove(0));
    for item in items_of(value)? {
        let arguments = Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() };
        mapped.push(filters::apply(item, &filter, arguments, interpreter)?);
    }
    Ok(mapped)
}

/// `map` and `select` take whatever is false as nothing.
fn items_of(value: &Value) -> Result<Vec<Value>> {
    if value.is_true() { iterate(value) } else { Ok(Vec::new()) }
}

fn select(value: &Value, name: &str, mut arguments: Arguments, interpreter: &mut Interpreter) -> Result<Vec<Value>> {
    let wanted = name.starts_with("select");
    let path = if name.ends_with("attr") {
        if arguments.positional.is_empty() {
            return Err(Error::new("Missing parameter for attribute name"));
        }
        path(&arguments.positional.remove(0))
    } else {
        Vec::new()
    };
    let test = if arguments.positional.is_empty() { None } else { Some(print(&arguments.positional.remove(0))) };
    let mut kept = Vec::new();
    for item in items_of(value)? {
        interpreter.charge(1)?;
        let tested = follow(&item, &path)?;
        let passed = match &test {
            None => tested.is_true(),
            Some(test) => {
                let arguments = Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() };
                checks::check(&tested, test, arguments, interpreter)?
            }
        };
        if passed == wanted {
            kept.push(item);
        }
    }
    Ok(kept)
}

fn batch(items: Vec<Value>, count: i128, fill: Option<Value>) -> Result<Value> {
    let size = usize::try_from(count).ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| Error::new("batch needs a positive number"))?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let batches = items.chunks(size).map(|chunk| {
        let mut batch = chunk.to_vec();
        if let Some(fill) = &fill {
            check_count(size)?;
            batch.resize(size, fill.clone());
        }
        Ok(Value::list(batch))
    });
    batches.collect::<Result<Vec<_>>>().map(Value::stream)
}

fn slice(items: &[Value], slices: i128, fill: Option<Value>) -> Result<Value> {
    let slices = usize::try_from(slices).ok().filter(|slices| *slices > 0);
    let slices = slices.ok_or_else(|| Error::new("slice needs a positive number"))?;
    check_count(slices)?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let (size, longer) = (items.len() / slices, items.len() % slices);
    let mut begin = 0;
    let parts = (0..slices).map(|index| {
        let end = begin + size + usize::from(index < longer);
        let mut part = items.get(begin..end).unwrap_or_default().to_vec();
        begin = end;
        if index >= longer {
            part.extend(fill.clone());
        }
        Value::list(part)
    });
    Ok(Value::stream(parts.collect()))
}

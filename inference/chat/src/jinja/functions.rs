//! The functions that templates call by name.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use chrono::format::{Item, StrftimeItems};

use super::arguments::{Argument, Arguments};
use super::attributes::dict_of;
use super::methods::from_keys;
use super::printing::print;
use super::sequences::entries;
use super::value::{Dict, Function, Range, Value};
use super::{Error, Result};

/// As in jinja2's sandbox.
const LONGEST_RANGE: usize = 100_000;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "range" => Function::Range,
        "dict" => Function::Dict,
        "namespace" => Function::Namespace,
        "cycler" => Function::Cycler,
        "joiner" => Function::Joiner,
        "raise_exception" => Function::RaiseException,
        "strftime_now" => Function::StrftimeNow,
        _ => return None,
    })
}

pub(super) fn call(function: Function, arguments: Arguments) -> Result<Value> {
    match function {
        Function::Range => range(arguments),
        Function::Dict => collect(arguments).map(|entries| dict_of(entries.0)),
        Function::FromKeys => from_keys(arguments),
        Function::Namespace => {
            let attributes = collect(arguments)?;
            for (name, _) in &attributes.0 {
                check_attribute(&print(name))?;
            }
            Ok(Value::Namespace(Rc::new(RefCell::new(attributes))))
        }
        Function::Cycler if arguments.positional.is_empty() => Err(Error::new("at least one item has to be provided")),
        Function::Cycler => Ok(Value::Cycler(Rc::new((arguments.positional, Cell::new(0))))),
        Function::Joiner => {
            let [separator] = arguments.bind("joiner", ["sep"])?;
            Ok(Value::Joiner(Rc::new((separator.unwrap_or_else(|| Value::text(", ")), Cell::new(false)))))
        }
        Function::RaiseException => {
            let [message] = arguments.bind("raise_exception", ["message"])?;
            Err(Error::new(print(&message.required("raise_exception", "message")?)))
        }
        Function::StrftimeNow => {
            let [format] = arguments.bind("strftime_now", ["format"])?;
            strftime_now(&Some(format.required("strftime_now", "format")?).text_or("")?)
        }
    }
}

/// Names that begin with an underscore are refused in namespaces.
pub(super) fn check_attribute(name: &str) -> Result<()> {
    if name.starts_with('_') {
        return Err(Error::new(format!(
            "chat templates cannot store underscore-prefixed attributes on a namespace, but got '{name}'"
        )));
    }
    Ok(())
}

fn collect(arguments: Arguments) -> Result<Dict> {
    let mut dict = Dict::default();
    let named = arguments.named.into_iter().map(|(name, value)| (Value::text(name), value));
    let positional = match arguments.positional.as_slice() {
        [] => Vec::new(),
        [mapping] => entries(mapping)?,
        more => return Err(Error::new(format!("dict expected at most 1 argument, got {}", more.len()))),
    };
    for (key, value) in positional.into_iter().chain(named) {
        dict.insert(key, value);
    }
    Ok(dict)
}

fn range(arguments: Arguments) -> Result<Value> {
    let [first, second, step] = arguments.bind("range", ["start", "stop", "step"])?;
    let first = Some(first.required("range", "stop")?).int_or(0)?;
    let (start, stop) = match second {
        None => (0, first),
        stop => (first, stop.int_or(0)?),
    };
    let limit = |bound: i128| bound.clamp(i64::MIN.into(), i64::MAX.into());
    let range = Range { start: limit(start), stop: limit(stop), step: limit(step.int_or(1)?) };
    if range.step == 0 {
        return Err(Error::new("range() arg 3 must not be zero"));
    }
    if range.len() > LONGEST_RANGE {
        return Err(Error::new(format!("a range of more than {LONGEST_RANGE} numbers")));
    }
    Ok(Value::Range(range))
}

fn strftime_now(format: &str) -> Result<Value> {
    // What Python leaves to the C library, chrono refuses or means otherwise.
    let format = format.replace("%h", "%b").replace("%n", "\n").replace("%t", "\t");
    let items: Vec<Item> = StrftimeItems::new(&format).collect();
    if items.contains(&Item::Error) {
        return Err(Error::new(format!("strftime_now: bad format '{format}'")));
    }
    let naive = chrono::Local::now().naive_local();
    let text = if format.contains("%c") {
        naive.format(&format.replace("%c", "%a %b %e %H:%M:%S %Y")).to_string()
    } else {
        // datetime.now() has no time zone: these print as nothing.
        naive.format(&format.replace("%z", "").replace("%Z", "").replace("%f", "%6f")).to_string()
    };
    Ok(Value::text(text))
}

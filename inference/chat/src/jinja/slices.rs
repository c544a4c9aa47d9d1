//! `value[start:stop:step]`

use super::operators::undefined_error;
use super::value::{Range, Value};
use super::{Error, Result};

pub(super) fn slice(value: &Value, bounds: [Value; 3]) -> Result<Value> {
    Ok(match value {
        Value::Text(text) => Value::text(slice_text(text, &bounds)?),
        Value::Markup(text) => Value::Markup(slice_text(text, &bounds)?.into()),
        Value::List(items) => Value::list(picked(items, &bounds)?),
        Value::Tuple(items) => Value::tuple(picked(items, &bounds)?),
        Value::Range(range) => {
            let Indices { start, count, step } = indices(range.len(), &bounds)?;
            let at = |index: i128| range.start + index * range.step;
            Value::Range(Range { start: at(start), stop: at(start + step * count as i128), step: range.step * step })
        }
        Value::Undefined(message) => return Err(undefined_error(message)),
        Value::Dict(_) => return Err(Error::new("unhashable type: 'slice'")),
        other => return Err(Error::new(format!("'{}' object is not subscriptable", other.type_name()))),
    })
}

fn slice_text(text: &str, bounds: &[Value; 3]) -> Result<String> {
    if let [Value::None, Value::None, Value::None | Value::Int(1)] = bounds {
        return Ok(text.to_string());
    }
    let characters: Vec<char> = text.chars().collect();
    let indices = indices(characters.len(), bounds)?;
    Ok(indices.iter().filter_map(|index| characters.get(index)).collect())
}

fn picked(items: &[Value], bounds: &[Value; 3]) -> Result<Vec<Value>> {
    let indices = indices(items.len(), bounds)?;
    Ok(indices.iter().filter_map(|index| items.get(index).cloned()).collect())
}

struct Indices {
    start: i128,
    count: usize,
    step: i128,
}

impl Indices {
    fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.count as i128).filter_map(|index| usize::try_from(self.start + index * self.step).ok())
    }
}

/// `slice.indices`
fn indices(length: usize, bounds: &[Value; 3]) -> Result<Indices> {
    let length = length as i128;
    let bound = |bound: &Value| match bound {
        Value::None => Ok(None),
        other => {
            let number = other.as_int().map(|number| Some(number.clamp(i64::MIN.into(), i64::MAX.into())));
            number.ok_or_else(|| Error::new("slice indices must be integers or None or have an __index__ method"))
        }
    };
    let step = bound(&bounds[2])?.unwrap_or(1);
    if step == 0 {
        return Err(Error::new("slice step cannot be zero"));
    }
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let place = |index: i128| (if index < 0 { index + length } else { index }).clamp(lowest, highest);
    let (first, last) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
    let start = bound(&bounds[0])?.map_or(first, place);
    let stop = bound(&bounds[1])?.map_or(last, place);
    let count = if step > 0 { stop - start + step - 1 } else { start - stop - step - 1 } / step.abs();
    Ok(Indices { start, count: usize::try_from(count).unwrap_or(0), step })
}

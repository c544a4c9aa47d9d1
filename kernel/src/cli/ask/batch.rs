//! A file of requests, a line of JSON for each.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use super::{Asker, exit_code};

/// Answers every line; a bad one gets an error line, and the exit code says so at the end.
pub(super) fn answer(asker: &mut Asker, file: &Path) -> anyhow::Result<ExitCode> {
    let mut reader: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(fs_err::File::open(file)?))
    };
    let mut stdout = std::io::stdout().lock();
    let mut all_answered = true;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).with_context(|| format!("{} cannot be read", file.display()))? == 0 {
            break;
        }
        if asker.interrupt.is_set() {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answer = match parse(&line) {
            Ok((id, request)) => asker.answer_as_json(&id, &request),
            Err((id, reason)) => json!({ "id": id, "line": number, "error": reason }),
        };
        all_answered &= answer.get("error").is_none();
        writeln!(stdout, "{answer}").and_then(|()| stdout.flush()).context("the answer cannot be written")?;
    }
    Ok(exit_code(all_answered, asker))
}

/// The id and the request of a line, or the id, if there is one, and what is wrong.
fn parse(line: &[u8]) -> Result<(Value, String), (Value, String)> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        (Value::Null, format!("this line is not JSON ({error}); expected {{\"id\": ..., \"request\": ...}}"))
    })?;
    let id = value.get("id").cloned().unwrap_or(Value::Null);
    match value.get("request") {
        Some(Value::String(request)) if !request.trim().is_empty() => Ok((id, request.clone())),
        Some(Value::String(_)) => Err((id, "the request is empty".to_owned())),
        _ => Err((id, "this line has no \"request\" text".to_owned())),
    }
}

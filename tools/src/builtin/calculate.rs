//! `calculate`.

use std::sync::Arc;

use serde_json::json;

use super::{Builtin, text};
use crate::calculate::evaluate;
use crate::{Tool, ToolDisplay, ToolError, ToolOutput};

pub(super) fn tool() -> Arc<dyn Tool> {
    Builtin::reading(
        "calculate",
        "Calculate an arithmetic expression exactly. Operators + - * / ^ % (remainder), parentheses, percentages \
         (\"15% of 240\", \"200 + 10%\"), and functions such as sqrt, round, abs, min, max, ln, log10, sin; constants pi and e.",
        json!({
            "expression": {"type": "string", "minLength": 1, "description": "the expression, for example (3 + 4) * 2"},
        }),
        &["expression"],
        |arguments, _| {
            let expression = text(arguments, "expression").unwrap_or_default();
            let result = evaluate(expression).map_err(|error| ToolError::Failed(error.to_string()))?;
            Ok(ToolOutput { text: format!("{expression} = {result}"), display: ToolDisplay::Text })
        },
    )
}

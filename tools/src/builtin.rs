//! The tools that need nothing but a folder.

mod calculate;
mod files;
mod git;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::files::FileError;
use crate::git::GitError;
use crate::{Effect, Tool, ToolContext, ToolError, ToolOutput, ToolSpecification};

/// All of them: `git_status`, `git_log`, `git_diff`, `list_files`, `read_file`,
/// `search_files` and `calculate`. None changes anything.
pub fn builtin() -> Vec<Arc<dyn Tool>> {
    let mut tools = git::tools();
    tools.extend(files::tools());
    tools.push(calculate::tool());
    tools
}

/// A tool that is a specification and a function.
struct Builtin {
    specification: ToolSpecification,
    run: fn(&Value, &ToolContext) -> Result<ToolOutput, ToolError>,
}

impl Builtin {
    /// A tool that only reads. `properties` are those of the arguments' JSON Schema.
    fn reading(
        name: &'static str,
        description: &'static str,
        properties: Value,
        required: &[&str],
        run: fn(&Value, &ToolContext) -> Result<ToolOutput, ToolError>,
    ) -> Arc<dyn Tool> {
        let parameters = json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        Arc::new(Self { specification: ToolSpecification { name, description, parameters, effect: Effect::Read }, run })
    }
}

impl Tool for Builtin {
    fn specification(&self) -> &ToolSpecification {
        &self.specification
    }

    fn run(&self, arguments: &Value, context: &ToolContext) -> Result<ToolOutput, ToolError> {
        (self.run)(arguments, context)
    }
}

impl From<FileError> for ToolError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Interrupted => Self::Interrupted,
            FileError::Secret(_) | FileError::Outside(_) => Self::Denied(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<GitError> for ToolError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Interrupted => Self::Interrupted,
            GitError::Outside(..) => Self::Denied(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// An argument that is text; an empty one counts as left out, as models mean it.
fn text<'a>(arguments: &'a Value, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

fn number(arguments: &Value, name: &str) -> Option<usize> {
    let value = arguments.get(name)?;
    let whole = value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))?;
    usize::try_from(whole).ok()
}

fn truth(arguments: &Value, name: &str) -> bool {
    arguments.get(name).and_then(Value::as_bool).unwrap_or(false)
}

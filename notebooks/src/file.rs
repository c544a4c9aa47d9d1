//! Reading and writing `.ipynb` files without losing anything in them.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Cell, Notebook, NotebookError};

impl Notebook {
    /// Reads a file of format 4.x.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, NotebookError> {
        let path = path.as_ref();
        let text = fs_err::read_to_string(path)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a notebook's text; `name` stands for the path in errors.
    pub fn parse(text: &str, name: &str) -> Result<Self, NotebookError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let root: Value = serde_json::from_str(text).map_err(|error| json_error(name, &error))?;
        let shape = |reason: &str| NotebookError::Shape { path: name.to_owned(), reason: reason.to_owned() };
        let Value::Object(mut fields) = root else {
            return Err(shape("the file holds JSON, but no object at its top"));
        };
        let Some(major) = fields.get("nbformat").and_then(Value::as_u64) else {
            return Err(shape("it has no \"nbformat\" number"));
        };
        if major != 4 {
            return Err(NotebookError::Version { path: name.to_owned(), major });
        }
        let Some(cells) = fields.get_mut("cells").map(Value::take) else {
            return Err(shape("it has no \"cells\""));
        };
        let Value::Array(cells) = cells else {
            return Err(shape("its \"cells\" are no list"));
        };
        let cells = cells.into_iter().enumerate().map(|(index, cell)| match cell {
            Value::Object(fields) if fields.get("cell_type").is_some_and(Value::is_string) => Ok(Cell { fields }),
            _ => Err(shape(&format!("cell {} is no object with a \"cell_type\"", index + 1))),
        });
        Ok(Self { cells: cells.collect::<Result<_, _>>()?, fields })
    }

    /// Writes the file whole or not at all: a temporary file beside it takes its name.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), NotebookError> {
        write_atomically(path.as_ref(), self.to_json_text()?.as_bytes())?;
        Ok(())
    }

    /// The file's text as nbformat writes it: one space of indent, a newline at the end.
    pub fn to_json_text(&self) -> Result<String, NotebookError> {
        let mut buffer = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut buffer, formatter);
        self.to_json().serialize(&mut serializer).map_err(|error| json_error("notebook", &error))?;
        buffer.push(b'\n');
        String::from_utf8(buffer)
            .map_err(|error| NotebookError::Shape { path: "notebook".to_owned(), reason: error.to_string() })
    }

    fn to_json(&self) -> Value {
        let cells = || Value::Array(self.cells.iter().map(|cell| Value::Object(cell.fields.clone())).collect());
        let fields = self.fields.iter().map(|(key, value)| {
            let value = if key == "cells" { cells() } else { value.clone() };
            (key.clone(), value)
        });
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// Writes through a temporary file in the same folder, so that a reader sees the old
/// file or the new one. A link is followed; the file's permissions are kept.
fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let target = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let permissions = fs_err::metadata(&target).ok().map(|metadata| metadata.permissions());
    let temporary = temporary_beside(&target);
    let written = (|| {
        let mut file = fs_err::File::create(&temporary)?;
        file.write_all(content)?;
        if let Some(permissions) = permissions {
            fs_err::set_permissions(&temporary, permissions)?;
        }
        file.sync_all()?;
        fs_err::rename(&temporary, &target)
    })();
    if written.is_err() && temporary.exists() {
        fs_err::remove_file(&temporary)?;
    }
    written
}

fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()))
}

fn json_error(path: &str, error: &serde_json::Error) -> NotebookError {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
    NotebookError::Json { path: path.to_owned(), line: error.line(), column: error.column(), reason }
}

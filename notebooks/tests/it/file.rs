use codriver_notebooks::{Cell, CellKind, Notebook, NotebookError};

/// As nbformat writes it, with fields that no specification knows and keys out of order.
const ODD: &str = r##"{
 "zebra": {
  "kept": true
 },
 "cells": [
  {
   "cell_type": "markdown",
   "id": "first",
   "metadata": {
    "tags": [
     "b",
     "a"
    ],
    "alpha": 1.5
   },
   "attachments": {
    "dot.png": {
     "image/png": "AAAA"
    }
   },
   "source": "# One string, not a list\nÄ → 🦀"
  },
  {
   "cell_type": "code",
   "execution_count": 7,
   "id": "second",
   "metadata": {},
   "outputs": [
    {
     "data": {
      "application/vnd.odd+json": {
       "b": 1,
       "a": [
        1,
        2.0,
        1e+100,
        18446744073709551615
       ]
      },
      "text/plain": [
       "\u001b[31mred\u001b[0m"
      ]
     },
     "execution_count": 7,
     "metadata": {
      "x": null
     },
     "output_type": "execute_result"
    },
    {
     "output_type": "from_the_future",
     "payload": [
      {}
     ]
    }
   ],
   "source": [
    "%%sql\n",
    "select 1"
   ],
   "extra": []
  },
  {
   "cell_type": "raw",
   "id": "third",
   "metadata": {},
   "source": []
  }
 ],
 "nbformat": 4,
 "metadata": {
  "kernelspec": {
   "name": "codriver",
   "display_name": "Codriver"
  },
  "b": 2,
  "a": 1
 },
 "nbformat_minor": 5
}
"##;

#[test]
fn a_file_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.ipynb");
    std::fs::write(&path, ODD).unwrap();
    let notebook = Notebook::read(&path).unwrap();
    notebook.write(&path).unwrap();
    pretty(&std::fs::read_to_string(&path).unwrap(), ODD);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["odd.ipynb"], "no temporary file is left");
}

#[test]
fn cells_are_seen_through_their_json() {
    let notebook = Notebook::parse(ODD, "odd").unwrap();
    let kinds: Vec<_> = notebook.cells.iter().map(Cell::kind).collect();
    assert_eq!(kinds, [CellKind::Markdown, CellKind::Code, CellKind::Raw]);
    assert_eq!(notebook.cells[0].source(), "# One string, not a list\nÄ → 🦀");
    assert_eq!(notebook.cells[0].attachment("dot.png").unwrap(), "data:image/png;base64,AAAA");
    assert!(notebook.cells[0].has_tag("a") && !notebook.cells[0].has_tag("c"));
    assert_eq!(notebook.cells[1].id(), "second");
    assert_eq!(notebook.cells[1].source(), "%%sql\nselect 1");
    assert_eq!(notebook.cells[1].execution_count(), Some(7));
    assert_eq!(notebook.cells[1].outputs().len(), 1, "an output of an unknown type is kept but not shown");
    assert_eq!(notebook.title().unwrap(), "One string, not a list");
}

#[test]
fn what_is_made_is_valid_and_read_back() {
    let mut notebook = Notebook::new();
    notebook.cells.push(Cell::markdown("# Title"));
    notebook.cells.push(Cell::code("let a = 1;\na"));
    notebook.cells[1].set_metadata("tags", serde_json::json!(["parameters"]));
    let text = notebook.to_json_text().unwrap();
    assert!(text.contains("   \"source\": [\n    \"let a = 1;\\n\",\n    \"a\"\n   ]"), "{text}");
    let again = Notebook::parse(&text, "made").unwrap();
    assert_eq!(again, notebook);
    assert!(again.cells[1].has_tag("parameters"));
    assert!(!again.cells[0].id().is_empty() && again.cells[0].id() != again.cells[1].id());
    assert_eq!(again.metadata().unwrap()["kernelspec"]["name"], "codriver");
}

#[test]
fn broken_json_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.ipynb");
    std::fs::write(&path, "{\n \"cells\": [\n  {\"cell_type\": code}\n ]\n}").unwrap();
    let error = Notebook::read(&path).unwrap_err();
    assert!(matches!(error, NotebookError::Json { line: 3, .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("broken.ipynb: broken JSON at line 3, column 17"), "{message}");
}

#[test]
fn other_files_are_refused_with_the_way_out() {
    let old = Notebook::parse(r#"{"nbformat": 3, "nbformat_minor": 0, "worksheets": []}"#, "old.ipynb").unwrap_err();
    assert!(matches!(old, NotebookError::Version { major: 3, .. }));
    assert!(old.to_string().contains("nbconvert --to notebook --nbformat 4 old.ipynb"), "{old}");
    for (text, reason) in [
        ("[]", "no object"),
        ("{}", "nbformat"),
        (r#"{"nbformat": 4}"#, "no \"cells\""),
        (r#"{"nbformat": 4, "cells": {}}"#, "no list"),
        (r#"{"nbformat": 4, "cells": [{"cell_type": "raw"}, 3]}"#, "cell 2"),
    ] {
        let error = Notebook::parse(text, "x.ipynb").unwrap_err();
        assert!(matches!(error, NotebookError::Shape { .. }), "{text}: {error:?}");
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
    let missing = Notebook::read("/nowhere/at/all.ipynb").unwrap_err().to_string();
    assert!(missing.contains("/nowhere/at/all.ipynb"), "{missing}");
}

#[test]
fn a_byte_order_mark_is_no_obstacle() {
    assert!(Notebook::parse("\u{feff}{\"nbformat\": 4, \"cells\": []}", "bom").is_ok());
}

#[cfg(unix)]
#[test]
fn writing_follows_links_keeps_permissions_and_spares_the_old_file_on_failure() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real.ipynb");
    let link = folder.path().join("link.ipynb");
    std::fs::write(&real, "old").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    Notebook::new().write(&link).unwrap();
    assert!(link.is_symlink());
    assert!(Notebook::read(&real).is_ok());
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);

    let folder_in_the_way = folder.path().join("taken.ipynb");
    std::fs::create_dir(&folder_in_the_way).unwrap();
    assert!(Notebook::new().write(&folder_in_the_way).is_err());
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 3, "no temporary file is left after a failure");
}

/// Compares line by line, so that a difference is found at once.
fn pretty(left: &str, right: &str) {
    for (number, (a, b)) in left.lines().zip(right.lines()).enumerate() {
        assert_eq!(a, b, "line {}", number + 1);
    }
    assert_eq!(left, right);
}

use std::path::{Path, PathBuf};

use codriver_notebooks::{CellKind, Notebook};

fn gallery() -> Vec<PathBuf> {
    let folder = Path::new("gallery");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ipynb"))
        .filter(|path| !path.to_string_lossy().ends_with(".executed.ipynb"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn the_gallery_is_stored_clean() {
    let paths = gallery();
    let names: Vec<_> = paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["git-review", "memory", "quickstart", "rust-tour", "sql-analysis"]);
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let notebook = Notebook::read(&path).unwrap();
        let name = path.display();
        assert_eq!(notebook.to_json_text().unwrap(), text, "{name} is not written as nbformat writes");
        assert_eq!(notebook.metadata().unwrap()["kernelspec"]["name"], "codriver", "{name}");
        assert!(notebook.title().is_some(), "{name}");
        let code: Vec<_> = notebook.cells.iter().filter(|cell| cell.kind() == CellKind::Code).collect();
        assert!(code.iter().any(|cell| cell.source().starts_with("%%agent")), "{name} has no agent cell");
        for cell in code {
            assert!(cell.outputs().is_empty() && cell.execution_count().is_none(), "{name} holds outputs");
        }
    }
}

//! Where something that was found comes from, in words and as a link.

use std::path::{Component, Path};

use codriver_memory::Provenance;

/// What people call the kinds of things that are found.
pub(in crate::agent) fn kind(kind: &str) -> &str {
    match kind {
        "chunk" => "document",
        "message" => "conversation",
        kind => kind,
    }
}

/// `src/moves.rs:10-24 at 1a2b3c4`, `sales.ipynb, cell 3`, `you, in sales.ipynb, turn 3`.
pub(in crate::agent) fn text(from: &Provenance, workspace: &Path) -> String {
    let origin = short(&from.origin, workspace);
    if from.by.is_empty() {
        let place = &from.place;
        let mut text = match (&place.cell, place.page) {
            (Some(cell), _) => format!("{origin}, cell {cell}"),
            (None, Some(page)) => format!("{origin}, page {page}"),
            _ => format!("{origin}{place}"),
        };
        if let Some(commit) = &place.commit {
            text.push_str(&format!(" at {}", commit.get(..7).unwrap_or(commit)));
        }
        return text;
    }
    let by = if from.by == "user" { "you" } else { &from.by };
    let turn = from.turn.map(|number| format!("turn {number}"));
    let place = (!origin.is_empty()).then(|| format!("in {origin}"));
    [Some(by.to_owned()), place, turn].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A page's address, or the path of a file of the workspace, which a front end opens.
pub(in crate::agent) fn link(from: &Provenance, workspace: &Path) -> Option<String> {
    let page = from.place.page.map(|page| format!("#page={page}")).unwrap_or_default();
    if from.origin.starts_with("https://") || from.origin.starts_with("http://") {
        return Some(format!("{}{page}", from.origin));
    }
    let relative = short(&from.origin, workspace);
    let path = Path::new(&relative);
    let is_inside =
        !relative.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (is_inside && workspace.join(path).exists()).then(|| format!("{}{page}", encoded(&relative)))
}

/// A path as people of the workspace say it.
fn short(origin: &str, workspace: &Path) -> String {
    Path::new(origin)
        .strip_prefix(workspace)
        .map_or_else(|_| origin.to_owned(), |relative| relative.display().to_string())
}

/// A path as a part of an address (RFC 3986).
fn encoded(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte))
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use codriver_memory::{ChunkPlace, Provenance};

    use super::{link, text};

    #[test]
    fn origins_are_said_as_people_say_them() {
        let workspace = tempfile::tempdir().unwrap();
        std::fs::write(workspace.path().join("my notes.md"), "x").unwrap();
        let origin = workspace.path().join("my notes.md").display().to_string();
        let place = ChunkPlace { lines: Some((3, 9)), commit: Some("1a2b3c4d5e".to_owned()), ..ChunkPlace::default() };
        let chunk = Provenance { origin, place, ..Provenance::default() };
        assert_eq!(text(&chunk, workspace.path()), "my notes.md:3-9 at 1a2b3c4");
        assert_eq!(link(&chunk, workspace.path()).as_deref(), Some("my%20notes.md"));
        let said = Provenance {
            origin: "sales.ipynb".to_owned(),
            by: "user".to_owned(),
            turn: Some(3),
            ..Provenance::default()
        };
        assert_eq!(text(&said, workspace.path()), "you, in sales.ipynb, turn 3");
        assert_eq!(link(&said, workspace.path()), None, "it is not there");
        let page = ChunkPlace { page: Some(7), ..ChunkPlace::default() };
        let paper = Provenance { origin: "https://example.org/a.pdf".to_owned(), place: page, ..Provenance::default() };
        assert_eq!(text(&paper, workspace.path()), "https://example.org/a.pdf, page 7");
        assert_eq!(link(&paper, workspace.path()).as_deref(), Some("https://example.org/a.pdf#page=7"));
        let outside = Provenance { origin: "../secret".to_owned(), ..Provenance::default() };
        assert_eq!(link(&outside, workspace.path()), None);
    }
}

//! The sources of the `cell` crate, carried in the binary.

use std::path::Path;

const FILES: &[(&str, &str)] = &[
    ("src/lib.rs", include_str!("../../../cell/src/lib.rs")),
    ("src/display.rs", include_str!("../../../cell/src/display.rs")),
    ("src/frame.rs", include_str!("../../../cell/src/frame.rs")),
    ("Cargo.toml", "[package]\nname = \"cell\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n"),
];

/// Writes the crate to `folder/cell`, where Rust cells find it.
pub fn write(folder: &Path) -> std::io::Result<()> {
    for (name, text) in FILES {
        let path = folder.join("cell").join(name);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::write(path, text)?;
    }
    Ok(())
}

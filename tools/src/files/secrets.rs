//! Which files are too likely to hold keys or passwords to be shown to a model.

use std::path::Path;

/// Whether a path, by its name alone, looks like it holds secrets.
///
/// By name: `.env` and `.env.*` (not `.env.example`, `.sample`, `.template`, `.dist`),
/// private keys (`id_rsa` and its kin, `*.pem`, `*.key`), key stores (`*.p12`, `*.pfx`,
/// `*.jks`, `*.keystore`, `*.kdbx`), password files of common programs (`.netrc`,
/// `.pgpass`, `.git-credentials`, `.npmrc`, `.pypirc`, `.htpasswd`, `.my.cnf`), files named
/// `credentials` or `secrets` with a usual ending, and everything under `.ssh`, `.gnupg`
/// and `.aws`.
pub fn looks_secret(path: &Path) -> bool {
    const FOLDERS: [&str; 3] = [".ssh", ".gnupg", ".aws"];
    const NAMES: [&str; 13] = [
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ed25519",
        ".netrc",
        "_netrc",
        ".pgpass",
        ".my.cnf",
        ".npmrc",
        ".pypirc",
        ".git-credentials",
        ".htpasswd",
        ".dockercfg",
    ];
    const ENDINGS: [&str; 8] = [".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk"];
    const STEMS: [&str; 5] = ["credentials", "credential", "secrets", "secret", "service-account"];
    const STEM_ENDINGS: [&str; 8] = ["", ".json", ".yaml", ".yml", ".toml", ".ini", ".env", ".txt"];

    let lower: Vec<String> =
        path.components().map(|component| component.as_os_str().to_string_lossy().to_lowercase()).collect();
    let Some((name, folders)) = lower.split_last() else {
        return false;
    };
    if lower.iter().any(|folder| FOLDERS.contains(&folder.as_str())) {
        return true;
    }
    if name == "config.json" && folders.last().is_some_and(|folder| folder == ".docker") {
        return true;
    }
    is_environment_file(name)
        || NAMES.contains(&name.as_str())
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || STEMS.iter().any(|stem| name.strip_prefix(stem).is_some_and(|ending| STEM_ENDINGS.contains(&ending)))
}

fn is_environment_file(name: &str) -> bool {
    const HARMLESS: [&str; 4] = ["example", "sample", "template", "dist"];
    match name.strip_prefix(".env") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|kind| !HARMLESS.contains(&kind)),
        None => name.ends_with(".env"),
    }
}

//! What is listed, found and removed.

use std::path::Path;

use codriver_inference::store::{ModelFormat, Place, Purpose, StoreError};

use super::pulling::{CONFIG, weights};
use super::store;

fn write_model(folder: &Path, config: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), config).unwrap();
    std::fs::write(folder.join("model.safetensors"), weights(30, 10)).unwrap();
}

/// A repository as huggingface_hub leaves it: blobs, snapshots of links, refs.
fn write_cached(cache: &Path, repository: &str, commit: &str, revision: &str, complete: bool) {
    let folder = cache.join(format!("models--{}", repository.replace('/', "--")));
    let snapshot = folder.join("snapshots").join(commit);
    std::fs::create_dir_all(folder.join("blobs")).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(folder.join("refs").join(revision), commit).unwrap();
    let files: [(&str, Vec<u8>); 2] = [("config.json", CONFIG.to_vec()), ("model.safetensors", weights(31, 10))];
    for (name, bytes) in files.into_iter().take(if complete { 2 } else { 1 }) {
        std::fs::write(folder.join("blobs").join(name), bytes).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{name}"), snapshot.join(name)).unwrap();
    }
}

#[test]
fn the_store_and_the_cache_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let (models, cache) = (folder.path().join("models"), folder.path().join("cache"));
    let store = store(folder.path());
    assert!(store.list().is_empty() && store.unfinished().is_empty());
    write_model(&models.join("mine"), CONFIG);
    write_model(&models.join("owner/name"), CONFIG);
    write_model(&models.join("owner/embedder"), br#"{"model_type":"bert","architectures":["BertModel"]}"#);
    write_model(&models.join(".pulling/owner--other"), CONFIG);
    std::fs::write(models.join("single.Q8_0.gguf"), "x").unwrap();
    std::fs::write(models.join("readme.txt"), "x").unwrap();
    std::fs::create_dir_all(models.join("owner/empty")).unwrap();
    write_cached(&cache, "other/cached", "abc123", "main", true);
    write_cached(&cache, "other/tagged", "abc124", "v1", true);
    write_cached(&cache, "other/config-only", "abc125", "main", false);
    std::fs::create_dir_all(cache.join("datasets--other--data/snapshots/abc")).unwrap();

    let listed: Vec<_> = store.list().into_iter().map(|model| (model.name, model.purpose, model.place)).collect();
    let generation = |name: &str, place| (name.to_owned(), Purpose::Generation, place);
    assert_eq!(
        listed,
        [
            generation("mine", Place::Store),
            ("owner/embedder".to_owned(), Purpose::Embedding, Place::Store),
            generation("owner/name", Place::Store),
            generation("single.Q8_0.gguf", Place::Store),
            generation("other/cached", Place::Cache),
            generation("other/tagged@v1", Place::Cache),
        ]
    );
    let cached = store.find("other/cached", folder.path()).unwrap();
    assert_eq!(store.details(&cached).unwrap().commit.as_deref(), Some("abc123"));
    assert_eq!(cached.bytes, (CONFIG.len() + weights(31, 10).len()) as u64);
}

#[test]
fn an_owners_gguf_files_hide_no_other_models() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let store = store(folder.path());
    write_model(&models.join("owner/name"), CONFIG);
    write_model(&models.join("owner/mixed"), CONFIG);
    for file in [
        "owner/loose.gguf",
        "owner/name-GGUF/name-Q8_0.gguf",
        "owner/name-GGUF/Q4/x.gguf",
        "owner/mixed/m.gguf",
        "top.gguf",
    ] {
        std::fs::create_dir_all(models.join(file).parent().unwrap()).unwrap();
        std::fs::write(models.join(file), "GGUF").unwrap();
    }
    let names = [
        "owner/loose.gguf",
        "owner/mixed",
        "owner/mixed/m.gguf",
        "owner/name",
        "owner/name-GGUF/Q4/x.gguf",
        "owner/name-GGUF/name-Q8_0.gguf",
        "top.gguf",
    ];
    assert_eq!(store.names(), names);
}

#[test]
fn models_are_found_by_what_people_write() {
    let folder = tempfile::tempdir().unwrap();
    let (models, work) = (folder.path().join("models"), folder.path().join("work"));
    write_model(&models.join("owner/name"), CONFIG);
    write_model(&models.join("same"), CONFIG);
    write_model(&work.join("same"), CONFIG);
    write_model(&work.join("here"), CONFIG);
    std::fs::write(work.join("a.gguf"), "x").unwrap();
    std::fs::create_dir_all(work.join("empty")).unwrap();
    let store = store(folder.path());
    let found = |name: &str| store.find(name, &work);
    let path = |name: &str| found(name).unwrap().path;
    assert_eq!(path("owner/name"), models.join("owner/name"));
    assert_eq!(path("name"), models.join("owner/name"), "the owner goes without saying");
    assert_eq!(path("https://huggingface.co/owner/name"), models.join("owner/name"));
    assert_eq!(path("same"), models.join("same"));
    assert_eq!(path("./same"), work.join("./same"));
    assert_eq!(path("here"), work.join("here"));
    assert_eq!(path(work.join("here").to_str().unwrap()), work.join("here"));
    assert_eq!((found("a.gguf").unwrap().format, path("a.gguf")), (ModelFormat::Gguf, work.join("a.gguf")));
    for name in ["", "absent", "owner/absent", "./absent", "../../..", "a/b/c/d", "owner/name:Q4_K_M", "name\0"] {
        assert!(matches!(found(name), Err(StoreError::Unknown { .. } | StoreError::File { .. })), "{name:?}");
    }
    assert!(found("empty").unwrap_err().to_string().contains("holds no model"));

    std::fs::remove_file(models.join("owner/name/model.safetensors")).unwrap();
    let error = found("owner/name").unwrap_err().to_string();
    assert!(error.contains("lacks model.safetensors") && error.contains("codriver model pull owner/name"), "{error}");
}

#[test]
fn only_what_is_the_stores_own_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (models, cache) = (folder.path().join("models"), folder.path().join("cache"));
    let elsewhere = folder.path().join("elsewhere");
    write_model(&models.join("owner/name"), CONFIG);
    write_model(&elsewhere, CONFIG);
    std::os::unix::fs::symlink(&elsewhere, models.join("linked")).unwrap();
    write_cached(&cache, "other/cached", "abc123", "main", true);
    let store = store(folder.path());
    let removed = store.remove("owner/name").unwrap();
    assert_eq!(removed.name, "owner/name");
    assert!(!models.join("owner").exists());
    store.remove("linked").unwrap();
    assert!(!models.join("linked").exists() && elsewhere.join("model.safetensors").exists());
    assert!(matches!(store.remove("other/cached"), Err(StoreError::Foreign { .. })));
    assert!(matches!(store.remove(elsewhere.to_str().unwrap()), Err(StoreError::Outside { .. })));
    assert!(matches!(store.remove(".."), Err(StoreError::File { .. } | StoreError::Unknown { .. })));
    assert!(matches!(store.remove("owner/name"), Err(StoreError::Unknown { .. })));
}

#[test]
fn damaged_files_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models/m");
    write_model(&path, CONFIG);
    let store = store(folder.path());
    let mut lies = weights(32, 10);
    lies[7] = 0x7f;
    let huge = br#"{"w":{"dtype":"F32","shape":[4294967295,4294967295,4294967295],"data_offsets":[0,1]}}"#;
    let overflowing = [&(huge.len() as u64).to_le_bytes()[..], huge, b"\0"].concat();
    for (bytes, readable) in
        [(vec![], false), (vec![1, 2, 3], false), (lies, false), (vec![b'{'; 20], false), (overflowing, true)]
    {
        std::fs::write(path.join("model.safetensors"), bytes).unwrap();
        let details = store.details(&store.find("m", folder.path()).unwrap());
        match details {
            Ok(details) => assert!(readable && details.parameters == u64::MAX, "{details:?}"),
            Err(error) => assert!(!readable && error.to_string().contains("model.safetensors"), "{error}"),
        }
    }
}

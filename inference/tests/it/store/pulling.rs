//! Pulls that go well, in the end.

use std::collections::BTreeMap;

use codriver_inference::store::{ModelFormat, Phase, Place, Purpose, StoreError};
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::hub::{Behaviour, COMMIT, HubServer, TOKEN};
use super::{hub, patient, pull, pull_watched, store};
use codriver_inference::store::Hub;

/// A safetensors file with one tensor of random bytes, and its name.
pub fn weights(seed: u64, numbers: usize) -> Vec<u8> {
    let header = json!({ "w": { "dtype": "F32", "shape": [numbers], "data_offsets": [0, numbers * 4] } }).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    file.extend((0..numbers * 4).map(|_| random.random::<u8>()));
    file
}

pub const CONFIG: &[u8] = br#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","max_position_embeddings":4096,"vocab_size":32000,"num_hidden_layers":2}"#;

pub fn small_model(weights: &[u8]) -> Vec<(&'static str, &[u8])> {
    vec![
        ("config.json", CONFIG),
        ("tokenizer.json", b"{}"),
        ("README.md", b"not needed"),
        ("pytorch_model.bin", b"not needed either"),
        ("model.safetensors", weights),
    ]
}

#[test]
fn what_a_model_needs_comes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(1, 100_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    let store = store(folder.path());
    let (pulled, told) = pull_watched(&store, &hub(&server), "owner/name");
    let pulled = pulled.unwrap();
    let path = folder.path().join("models/owner/name");
    assert_eq!((&pulled.model.name[..], &pulled.model.path), ("owner/name", &path));
    assert_eq!(pulled.commit.as_deref(), Some(COMMIT));
    assert_eq!(pulled.received, (CONFIG.len() + 2 + weights.len()) as u64);
    assert_eq!(std::fs::read(path.join("model.safetensors")).unwrap(), weights);
    let mut names: Vec<_> =
        std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".codriver.json", "config.json", "model.safetensors", "tokenizer.json"]);
    let last = told.last().unwrap();
    assert_eq!((last.done, last.total), (pulled.received, pulled.received));
    assert!(told.windows(2).all(|pair| pair[0].done <= pair[1].done), "{told:?}");
    assert_eq!(told[0].phase, Phase::Asking);

    let asked_before = server.ranges().len();
    let again = pull(&store, &hub(&server), "owner/name").unwrap();
    assert_eq!((again.received, server.ranges().len()), (0, asked_before));

    let details = store.details(&again.model).unwrap();
    assert_eq!((details.parameters, details.weights[0].name.as_str()), (100_000, "F32"));
    assert_eq!((details.window, details.licence.as_deref()), (Some(4096), Some("apache-2.0")));
    assert_eq!((details.repository.as_deref(), details.commit.as_deref()), (Some("owner/name"), Some(COMMIT)));
}

/// Where the last download began.
fn start(ranges: &[Option<String>]) -> u64 {
    let last = ranges.last().unwrap().as_deref().unwrap();
    last.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
}

#[test]
fn a_connection_dropped_half_way_is_continued_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(2, 200_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    server.behave(|behaviour| behaviour.cut = Some((300 << 10, 1)));
    let (pulled, told) = pull_watched(&store(folder.path()), &hub(&server), "owner/name");
    let pulled = pulled.unwrap();
    assert_eq!(std::fs::read(pulled.model.path.join("model.safetensors")).unwrap(), weights);
    let ranges = server.ranges();
    assert!(
        ranges.len() == 2 && ranges[0].is_none() && (200 << 10..=300 << 10).contains(&start(&ranges)),
        "{ranges:?}"
    );
    assert!(told.iter().any(|progress| matches!(&progress.phase, Phase::Retrying(_))), "{told:?}");
    assert_eq!(pulled.received, (CONFIG.len() + 2 + weights.len()) as u64, "nothing came twice");
}

#[test]
fn a_server_that_gives_up_is_continued_by_the_next_pull() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(3, 200_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    server.behave(|behaviour| {
        behaviour.cut = Some((0, 100));
    });
    let store = store(folder.path());
    let error = pull(&store, &hub(&server), "owner/name").unwrap_err();
    assert!(matches!(&error, StoreError::BrokenOff { kept: 0, .. }), "{error}");

    server.behave(|behaviour| behaviour.cut = Some((400 << 10, 1)));
    let hurried = hub(&server).with_patience(codriver_inference::store::Patience { attempts: 1, ..Default::default() });
    let error = pull(&store, &hurried, "owner/name").unwrap_err();
    assert!(error.to_string().contains("kB of 800 kB are kept"), "{error}");
    assert!(store.list().is_empty(), "half a model is none");
    let unfinished = store.unfinished();
    assert_eq!((unfinished.len(), unfinished[0].name.as_str()), (1, "owner/name"));
    let kept = unfinished[0].done - (CONFIG.len() + 2) as u64;
    assert!((300 << 10..=400 << 10).contains(&kept), "{kept}");
    assert_eq!(unfinished[0].total, (CONFIG.len() + 2 + weights.len()) as u64);

    server.behave(|behaviour| behaviour.cut = None);
    let pulled = pull(&store, &hub(&server), "owner/name").unwrap();
    assert_eq!(start(&server.ranges()), kept);
    assert_eq!(pulled.received, weights.len() as u64 - kept);
    assert_eq!(std::fs::read(pulled.model.path.join("model.safetensors")).unwrap(), weights);
    assert!(store.unfinished().is_empty());
}

#[test]
fn a_server_without_ranges_or_with_a_busy_hour_or_that_says_little() {
    let weights = weights(4, 100_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    let changes: [fn(&mut Behaviour); 3] = [
        |behaviour| (behaviour.cut, behaviour.no_ranges) = (Some((200 << 10, 1)), true),
        |behaviour| (behaviour.no_ranges, behaviour.busy) = (false, 2),
        |behaviour| behaviour.mirror = true,
    ];
    for change in changes {
        server.behave(change);
        let folder = tempfile::tempdir().unwrap();
        let pulled = pull(&store(folder.path()), &hub(&server), "owner/name").unwrap();
        assert_eq!(std::fs::read(pulled.model.path.join("model.safetensors")).unwrap(), weights);
    }
    // The mirror's checksums came by HEAD, and were kept.
    server.behave(|behaviour| behaviour.corrupt = 2);
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(pull(&store(folder.path()), &hub(&server), "owner/name"), Err(StoreError::Checksum { .. })));
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = HubServer::start("owner/name", &small_model(&weights(5, 1000)));
    server.behave(|behaviour| behaviour.gated = true);
    let signed_in = patient(Hub::new(&server.address, Some(TOKEN.into())).unwrap());
    assert!(!format!("{signed_in:?}").contains(TOKEN));
    pull(&store(folder.path()), &signed_in, "owner/name").unwrap();
    let seen = server.seen();
    assert!(
        seen.iter().filter(|seen| !seen.to_cdn).all(|seen| seen.token.as_deref() == Some(&format!("Bearer {TOKEN}")))
    );
    let to_cdn: Vec<_> = seen.iter().filter(|seen| seen.to_cdn).collect();
    assert!(to_cdn.iter().all(|seen| seen.path == "/owner/name/model.safetensors"));
    assert!(!to_cdn.is_empty() && to_cdn.iter().all(|seen| seen.token.is_none()), "{to_cdn:?}");
}

#[test]
fn a_new_commit_brings_what_changed_and_keeps_what_the_user_put_there() {
    let folder = tempfile::tempdir().unwrap();
    let old = weights(6, 50_000);
    let server = HubServer::start("owner/name", &small_model(&old));
    let store = store(folder.path());
    let path = pull(&store, &hub(&server), "owner/name").unwrap().model.path;
    std::fs::write(path.join("notes.txt"), "mine").unwrap();
    let config = [CONFIG, b"\n"].concat();
    server.put("owner/name", &[("config.json", &config), ("tokenizer.json", b"{}"), ("model.safetensors", &old)]);
    let commit = "f".repeat(40);
    server.behave(|behaviour| behaviour.commit = Some(commit.clone()));
    let pulled = pull(&store, &hub(&server), "owner/name").unwrap();
    assert_eq!((pulled.received, pulled.commit), (config.len() as u64, Some(commit)));
    assert_eq!(std::fs::read(path.join("config.json")).unwrap(), config);
    assert_eq!(std::fs::read(path.join("model.safetensors")).unwrap(), old);
    assert_eq!(std::fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
}

#[test]
fn one_gguf_file_of_several() {
    let folder = tempfile::tempdir().unwrap();
    let (small, first, second) = (weights(7, 10), weights(8, 20_000), weights(9, 100));
    let files: BTreeMap<&str, &[u8]> = [
        ("README.md", &b"x"[..]),
        ("model-Q4_K_M.gguf", &small),
        ("model-Q8_0-00001-of-00002.gguf", &first),
        ("model-Q8_0-00002-of-00002.gguf", &second),
    ]
    .into();
    let server = HubServer::start("owner/name-GGUF", &files.into_iter().collect::<Vec<_>>());
    let store = store(folder.path());
    let error = pull(&store, &hub(&server), "owner/name-GGUF").unwrap_err().to_string();
    assert!(error.contains("owner/name-GGUF:Q4_K_M") && error.contains("80.5 kB"), "{error}");
    let pulled = pull(&store, &hub(&server), "owner/name-GGUF:q4_k_m").unwrap();
    assert_eq!(pulled.model.name, "owner/name-GGUF/model-Q4_K_M.gguf");
    assert_eq!((pulled.model.format, pulled.model.purpose), (ModelFormat::Gguf, Purpose::Generation));
    let pulled = pull(&store, &hub(&server), "owner/name-GGUF:Q8_0").unwrap();
    assert_eq!(pulled.model.bytes, (first.len() + second.len()) as u64);
    let found = |name: &str| store.find(name, folder.path()).map(|model| model.name);
    assert_eq!(found("owner/name-GGUF:Q8_0").unwrap(), "owner/name-GGUF/model-Q8_0-00001-of-00002.gguf");
    assert_eq!(found("model-Q4_K_M.gguf").unwrap(), "owner/name-GGUF/model-Q4_K_M.gguf");
    assert!(matches!(found("owner/name-GGUF"), Err(StoreError::Ambiguous { .. })));
    assert_eq!(pull(&store, &hub(&server), "owner/name-GGUF:Q4_K_M").unwrap().received, 0);

    assert_eq!(store.remove("owner/name-GGUF:Q8_0").unwrap().bytes, pulled.model.bytes);
    assert_eq!(store.names(), ["owner/name-GGUF/model-Q4_K_M.gguf"]);
    store.remove("owner/name-GGUF:Q4_K_M").unwrap();
    assert!(!folder.path().join("models/owner").exists());
}

#[test]
fn two_pulls_at_once_download_once() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(10, 100_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    server.behave(|behaviour| behaviour.pause = std::time::Duration::from_millis(10));
    let store = store(folder.path());
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| pull_watched(&store, &hub(&server), "owner/name"));
        let other = scope.spawn(|| pull_watched(&store, &hub(&server), "owner/name"));
        (one.join().unwrap(), other.join().unwrap())
    });
    let received = [one.0.unwrap().received, other.0.unwrap().received];
    assert!(received.contains(&0) && received.iter().sum::<u64>() > weights.len() as u64, "{received:?}");
    assert!([one.1, other.1].concat().iter().any(|progress| progress.phase == Phase::Waiting));
    assert_eq!(server.ranges().len(), 1);
}

#[test]
fn revisions_lie_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = HubServer::start("owner/name", &small_model(&weights(11, 10)));
    let store = store(folder.path());
    for name in ["owner/name", "owner/name@v1", "owner/name@refs/pr/1"] {
        let pulled = pull(&store, &hub(&server), name).unwrap();
        assert_eq!(pulled.model.place, Place::Store);
        assert_eq!(store.find(name, folder.path()).unwrap().path, pulled.model.path);
    }
    assert_eq!(store.names(), ["owner/name", "owner/name@refs--pr--1", "owner/name@v1"]);
}

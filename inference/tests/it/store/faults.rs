//! What goes wrong: a clear error, nothing lost, nothing taken for a model that is none.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use codriver_inference::Cancellation;
use codriver_inference::store::{Hub, StoreError};

use super::hub::{HubServer, TOKEN};
use super::pulling::{small_model, weights};
use super::{hub, patient, pull, pull_watched, store};

#[test]
fn wrong_bytes_are_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(20, 50_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    server.behave(|behaviour| behaviour.corrupt = 1);
    let store = store(folder.path());
    let error = pull(&store, &hub(&server), "owner/name").unwrap_err();
    assert!(matches!(&error, StoreError::Checksum { file, .. } if file == "model.safetensors"), "{error}");
    assert!(error.to_string().contains(&super::hub::sha256(&weights)), "{error}");
    assert!(store.list().is_empty());
    // Nothing of the wrong file was kept: it comes whole.
    assert_eq!(pull(&store, &hub(&server), "owner/name").unwrap().received, weights.len() as u64);
}

#[test]
fn what_was_damaged_on_the_disk_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(21, 100_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    server.behave(|behaviour| behaviour.cut = Some((200 << 10, 1)));
    let hurried = hub(&server).with_patience(codriver_inference::store::Patience { attempts: 1, ..Default::default() });
    let store = store(folder.path());
    pull(&store, &hurried, "owner/name").unwrap_err();
    let staging = folder.path().join("models/.pulling/owner--name");
    let part = std::fs::read_dir(&staging).unwrap().map(|entry| entry.unwrap().path());
    let part = part.into_iter().find(|path| path.to_string_lossy().ends_with(".part")).unwrap();
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let pulled = pull(&store, &hub(&server), "owner/name").unwrap();
    assert_eq!(std::fs::read(pulled.model.path.join("model.safetensors")).unwrap(), weights);
}

#[test]
fn an_interrupt_stops_a_slow_server_at_once_and_keeps_what_came() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(22, 200_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    server.behave(|behaviour| behaviour.pause = Duration::from_millis(100));
    let store = store(folder.path());
    let cancellation = Cancellation::new();
    let mut stopped = None;
    let error = store
        .pull(&hub(&server), &"owner/name".parse().unwrap(), &cancellation, &mut |progress| {
            if progress.done > 100_000 && stopped.is_none() {
                cancellation.cancel();
                stopped = Some(Instant::now());
            }
        })
        .unwrap_err();
    assert!(matches!(error, StoreError::Cancelled), "{error}");
    assert!(stopped.unwrap().elapsed() < Duration::from_secs(3));
    let kept = store.unfinished()[0].done;
    assert!(kept > 100_000);
    server.behave(|behaviour| behaviour.pause = Duration::ZERO);
    let (pulled, told) = pull_watched(&store, &hub(&server), "owner/name");
    let pulled = pulled.unwrap();
    assert_eq!(pulled.received, told.last().unwrap().total - kept);
    assert_eq!(std::fs::read(pulled.model.path.join("model.safetensors")).unwrap(), weights);
}

#[test]
fn a_silent_server_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = HubServer::start("owner/name", &small_model(&weights(23, 1000)));
    server.behave(|behaviour| behaviour.pause = Duration::from_secs(60));
    let mut impatient = codriver_inference::store::Patience { attempts: 1, ..Default::default() };
    impatient.silence = Duration::from_millis(300);
    let error = pull(&store(folder.path()), &hub(&server).with_patience(impatient), "owner/name").unwrap_err();
    assert!(error.to_string().contains("nothing came for 0.3 s"), "{error}");
}

#[test]
fn refusals_say_what_to_do_and_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let server = HubServer::start("owner/name", &small_model(&weights(24, 10)));
    let store = store(folder.path());
    let with = |token: &str| patient(Hub::new(&server.address, Some(token.to_owned().into())).unwrap());
    server.behave(|behaviour| behaviour.gated = true);
    let gated = pull(&store, &hub(&server), "owner/name").unwrap_err().to_string();
    assert!(
        gated.contains("accept its licence") && gated.contains("HF_TOKEN") && gated.contains("/owner/name"),
        "{gated}"
    );
    server.behave(|behaviour| behaviour.gated = false);

    let wrong = pull(&store, &with("hf_wrongButSecretToken"), "owner/name").unwrap_err().to_string();
    assert!(wrong.contains("did not accept your token") && !wrong.contains("Secret"), "{wrong}");
    let absent = pull(&store, &with(TOKEN), "owner/nome").unwrap_err().to_string();
    assert!(absent.contains("owner/nome") && absent.contains("check the name") && !absent.contains(TOKEN), "{absent}");
    let revision = pull(&store, &hub(&server), "owner/name@v9").unwrap_err().to_string();
    assert!(revision.contains("no revision \"v9\""), "{revision}");
    assert!(store.list().is_empty() && !folder.path().join("models").exists(), "nothing was begun");

    let nonsense =
        Hub::new("http://127.0.0.1:1", Some("a token\nwith a line".to_owned().into())).unwrap_err().to_string();
    assert!(nonsense.starts_with("HF_TOKEN") && !nonsense.contains("with a line"), "{nonsense}");
    assert!(Hub::new("not an address", None).unwrap_err().to_string().contains("HF_ENDPOINT"));
    let nobody = patient(Hub::new("http://127.0.0.1:1", None).unwrap());
    let unreachable = pull(&store, &nobody, "owner/name").unwrap_err();
    assert!(matches!(unreachable, StoreError::Unreachable { .. }), "{unreachable}");
    server.put("owner/bin", &[("pytorch_model.bin", b"x"), ("config.json", b"{}")]);
    let pickled = pull(&store, &hub(&server), "owner/bin").unwrap_err().to_string();
    assert!(pickled.contains("pytorch_model.bin") && pickled.contains("safetensors"), "{pickled}");
}

#[test]
fn offline_uses_what_is_there_and_says_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = HubServer::start("owner/name", &small_model(&weights(25, 100_000)));
    let store = store(folder.path());
    let offline = || hub(&server).with_offline(true);
    let error = pull(&store, &offline(), "owner/name").unwrap_err().to_string();
    assert!(error.contains("offline mode") && error.contains("HF_HUB_OFFLINE"), "{error}");
    assert!(server.seen().is_empty(), "nothing was asked");

    server.behave(|behaviour| behaviour.cut = Some((1000, 1000)));
    let hurried = hub(&server).with_patience(codriver_inference::store::Patience { attempts: 1, ..Default::default() });
    pull(&store, &hurried, "owner/name").unwrap_err();
    let error = pull(&store, &offline(), "owner/name").unwrap_err().to_string();
    assert!(error.contains("still lacks model.safetensors)"), "{error}");

    server.behave(|behaviour| behaviour.cut = None);
    pull(&store, &hub(&server), "owner/name").unwrap();
    let asked = server.seen().len();
    assert_eq!(pull(&store, &offline(), "owner/name").unwrap().received, 0);
    assert_eq!(server.seen().len(), asked);
}

#[test]
fn a_file_that_no_disk_holds_is_refused_with_the_numbers() {
    let folder = tempfile::tempdir().unwrap();
    // The list says how long the file is; nothing of it is asked for.
    let address = huge();
    let error = pull(&store(folder.path()), &patient(Hub::new(&address, None).unwrap()), "owner/name").unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { needed, .. } if needed > 9_000_000_000_000_000), "{error}");
    assert!(error.to_string().contains("9.00 PB are needed"), "{error}");
}

/// A hub whose weights are 9 PB long.
fn huge() -> String {
    use axum::{Json, Router, routing::get};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let list = serde_json::json!({ "sha": super::hub::COMMIT, "siblings": [
                { "rfilename": "config.json", "size": 2, "blobId": "a".repeat(40) },
                { "rfilename": "model.safetensors", "size": 9_000_000_000_000_001_u64,
                  "lfs": { "sha256": "a".repeat(64), "size": 9_000_000_000_000_001_u64 } },
            ]});
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let router = Router::new().fallback(get(move || async move { Json(list) }));
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

#[test]
fn a_store_that_cannot_be_written_to_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = HubServer::start("owner/name", &small_model(&weights(26, 10)));
    let store = store(folder.path());
    let models = folder.path().join("models");
    // Root may write everywhere, but not into what is no folder.
    std::fs::create_dir(&models).unwrap();
    std::fs::set_permissions(&models, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::create_dir(models.join("probe")).is_ok() {
        std::fs::remove_dir(models.join("probe")).unwrap();
        std::fs::remove_dir(&models).unwrap();
        std::fs::write(&models, "a file").unwrap();
    }
    let error = pull(&store, &hub(&server), "owner/name").unwrap_err();
    assert!(matches!(&error, StoreError::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("CODRIVER_DATA_DIR"), "{error}");
}

#[test]
fn hostile_answers_are_errors() {
    use axum::Router;
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let answers = [
        "not json".to_owned(),
        "[]".to_owned(),
        r#"{"sha":"../../x","siblings":[]}"#.to_owned(),
        format!(r#"{{"sha":"{}"}}"#, super::hub::COMMIT),
        format!(
            r#"{{"sha":"{}","siblings":[{{"rfilename":"../../evil.safetensors"}},{{"rfilename":"/etc/config.json"}}]}}"#,
            super::hub::COMMIT
        ),
    ];
    for answer in answers {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let body = answer.clone();
        let router = Router::new().fallback(move || async move { body });
        runtime.spawn(async move { axum::serve(listener, router).await });
        let error = pull(&store, &patient(Hub::new(&address, None).unwrap()), "owner/name").unwrap_err();
        assert!(matches!(error, StoreError::Protocol { .. } | StoreError::NothingToLoad { .. }), "{answer}: {error}");
        runtime.shutdown_background();
    }
}

//! Is the hub that the other tests pull from right? Python's huggingface_hub downloads from it too.

use std::process::Command;

use super::hub::HubServer;
use super::pulling::{small_model, weights};
use super::store;

#[test]
fn huggingface_hub_downloads_from_the_test_hub_and_its_cache_is_read() {
    let Some(python) = std::env::var_os("CODRIVER_PYTHON") else {
        panic!("CODRIVER_PYTHON names the Python of the reference tests; `cargo xtask test` sets it");
    };
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(40, 50_000);
    let server = HubServer::start("owner/name", &small_model(&weights));
    let script = "
import sys
from huggingface_hub import HfApi, snapshot_download
print(snapshot_download('owner/name'))
info = HfApi().model_info('owner/name', files_metadata=True)
print({file.rfilename: (file.size, file.lfs.sha256 if file.lfs else file.blob_id) for file in info.siblings})
";
    let output = Command::new(python)
        .args(["-c", script])
        .env("HF_ENDPOINT", &server.address)
        .env("HF_HUB_CACHE", folder.path().join("cache"))
        .env("HF_HOME", folder.path())
        .env("HF_HUB_DISABLE_XET", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(&super::hub::sha256(&weights)), "{text}");
    let model = store(folder.path()).find("owner/name", folder.path()).unwrap();
    assert_eq!(model.path.to_str(), text.lines().next());
    assert_eq!(std::fs::read(model.path.join("model.safetensors")).unwrap(), weights);
}

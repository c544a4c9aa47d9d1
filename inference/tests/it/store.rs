//! The model store against a server that speaks the hub's protocol.

mod faults;
mod hub;
mod listing;
mod pulling;
mod python;

use std::path::Path;
use std::time::Duration;

use codriver_inference::Cancellation;
use codriver_inference::store::{Hub, ModelStore, Patience, PullProgress, Pulled, StoreError};
use hub::HubServer;

/// Quick to give up, so that faults can be tested.
fn hub(server: &HubServer) -> Hub {
    patient(Hub::new(&server.address, None).unwrap())
}

fn patient(hub: Hub) -> Hub {
    hub.with_patience(Patience {
        connect: Duration::from_secs(2),
        silence: Duration::from_secs(2),
        attempts: 3,
        pause: Duration::from_millis(10),
    })
}

fn store(folder: &Path) -> ModelStore {
    ModelStore::new(folder.join("models"), Some(folder.join("cache")))
}

fn pull(store: &ModelStore, hub: &Hub, name: &str) -> Result<Pulled, StoreError> {
    store.pull(hub, &name.parse()?, &Cancellation::new(), &mut |_| {})
}

/// Pulls and keeps what was told meanwhile.
fn pull_watched(store: &ModelStore, hub: &Hub, name: &str) -> (Result<Pulled, StoreError>, Vec<PullProgress>) {
    let mut told = Vec::new();
    let name = name.parse().unwrap();
    let pulled = store.pull(hub, &name, &Cancellation::new(), &mut |progress| told.push(progress.clone()));
    (pulled, told)
}

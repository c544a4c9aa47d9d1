//! Getting a model: what is missing of it, checked, and put into the store at once.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::download::{Download, already_there};
use super::hub::Hub;
use super::record::{PulledFile, Record};
use super::remote::{RemoteFile, Repository};
use super::selection::{Selection, select};
use super::{GgufChoice, HubName, ModelStore, StoreError, StoredModel, staging};
use crate::Cancellation;

/// How often a pull looks for an interrupt, and for another pull's end.
const GLANCE: Duration = Duration::from_millis(15);

/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// What is left free on the disk.
const SPARE: u64 = 64 << 20;

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    pub phase: Phase,
    /// The file that is coming.
    pub file: String,
    /// Bytes that are there, and bytes in all (0 before the hub has said).
    pub done: u64,
    pub total: u64,
}

/// What a pull is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Asking the hub what there is.
    Asking,
    /// Another process pulls the same model.
    Waiting,
    /// Reading what is there already.
    Checking,
    Loading,
    /// A connection broke off, for this reason.
    Retrying(String),
}

/// A model that is in the store now.
#[derive(Debug, Clone)]
pub struct Pulled {
    pub model: StoredModel,
    /// The commit it is from, where the hub was asked or had been.
    pub commit: Option<String>,
    /// Bytes that came over the network: 0 where everything was there.
    pub received: u64,
}

impl ModelStore {
    /// Brings the files that a model needs from the hub into the store. Blocks; `on_progress`
    /// is called a few times a second. Stopped at any moment, killed even, it leaves files
    /// that the next pull continues and nothing else takes for a model.
    pub fn pull(
        &self,
        hub: &Hub,
        name: &HubName,
        cancellation: &Cancellation,
        on_progress: &mut dyn FnMut(&PullProgress),
    ) -> Result<Pulled, StoreError> {
        if hub.offline {
            return self.have(name);
        }
        let (sender, receiver) = channel();
        let reporter = Reporter::new(sender);
        std::thread::scope(|scope| {
            // A thread and a runtime of its own: callers may be on one, and a pull writes to the disk.
            let worker = scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    tokio::select! {
                        pulled = self.pull_files(hub, name, &reporter) => pulled,
                        () = cancelled(cancellation) => Err(StoreError::Cancelled),
                    }
                })
            });
            receiver.into_iter().for_each(|progress| on_progress(&progress));
            worker.join().unwrap_or_else(|_| Err(StoreError::file(&self.folder, "the pull panicked")))
        })
    }

    /// What offline mode can give.
    fn have(&self, name: &HubName) -> Result<Pulled, StoreError> {
        let text = name.to_string();
        match self.find_by_name(&text) {
            Ok(model) => {
                let commit = Record::read(&self.folder.join(name.folder())).map(|record| record.commit);
                Ok(Pulled { model, commit, received: 0 })
            }
            Err(StoreError::Unknown { .. } | StoreError::Incomplete { .. } | StoreError::NoSuchFile { .. }) => {
                let staging = self.staging(name);
                let begun = Record::read(&staging).map(|record| record.files).unwrap_or_default();
                let missing = begun.into_keys().filter(|file| !staging.join(file).exists()).collect();
                Err(StoreError::Offline { name: text, missing })
            }
            Err(error) => Err(error),
        }
    }

    async fn pull_files(&self, hub: &Hub, name: &HubName, reporter: &Reporter) -> Result<Pulled, StoreError> {
        let Repository { commit, licence, files } = hub.repository(name).await?;
        let (is_folder, mut files) = match select(name, files)? {
            Selection::Folder(files) => (true, files),
            Selection::Gguf(files) => (false, files),
        };
        for file in &mut files {
            hub.complete(name, &commit, file).await?;
        }
        let record = record(hub, name, &commit, licence, &files)?;
        let (folder, staging) = (self.folder.join(name.folder()), self.staging(name));
        let called = match files.first() {
            Some(first) if !is_folder => format!("{}/{}", name.folder(), first.name),
            _ => name.folder(),
        };
        let pulled =
            |received| Ok(Pulled { model: self.find_by_name(&called)?, commit: Some(commit.clone()), received });
        if record.is_in(&folder) {
            return pulled(0);
        }
        fs_err::create_dir_all(&staging).map_err(|error| self.unwritable(&error))?;
        let _lock = self.lock(name, reporter).await?;
        if record.is_in(&folder) {
            fs_err::remove_dir_all(&staging)?;
            return pulled(0);
        }
        staging::prepare(&staging, &record)?;
        if is_folder {
            staging::reuse(&folder, &staging, &record)?;
        }
        let received = self.receive(hub, name, &files, &commit, &staging, reporter).await?;
        if is_folder {
            staging::swap(&staging, &folder, record)?;
        } else {
            staging::move_files(&staging, &folder, record)?;
        }
        pulled(received)
    }

    /// Downloads what is not in `staging` yet, small files first.
    async fn receive(
        &self,
        hub: &Hub,
        model: &HubName,
        files: &[RemoteFile],
        commit: &str,
        staging: &Path,
        reporter: &Reporter,
    ) -> Result<u64, StoreError> {
        let mut files: Vec<(&RemoteFile, u64)> = files.iter().map(|file| (file, file.bytes.unwrap_or(0))).collect();
        files.sort_by_key(|(_, bytes)| *bytes);
        let total = files.iter().fold(0_u64, |total, (_, bytes)| total.saturating_add(*bytes));
        let have = |file: &RemoteFile| already_there(&staging.join(&file.name), &file.checksum);
        let have = files.iter().fold(0_u64, |sum, (file, _)| sum.saturating_add(have(file)));
        let needed = total.saturating_sub(have);
        let free = free_space(staging).unwrap_or(u64::MAX);
        if needed > free.saturating_sub(SPARE) {
            return Err(StoreError::DiskFull { folder: self.folder.display().to_string(), needed, free });
        }
        reporter.total(total);
        let client = hub.download_client()?;
        let mut received = 0;
        for (file, bytes) in files {
            let target = staging.join(&file.name);
            reporter.file(&file.name);
            if fs_err::metadata(&target).is_ok_and(|found| found.len() == bytes) {
                reporter.add(bytes);
                continue;
            }
            if let Some(parent) = target.parent() {
                fs_err::create_dir_all(parent)?;
            }
            let (name, checksum, client) = (file.name.as_str(), &file.checksum, &client);
            let download = Download { hub, client, model, commit, name, bytes, checksum, target: &target };
            received += download.run(reporter).await?;
        }
        Ok(received)
    }

    /// Held while a repository is pulled: of two pulls at once the second waits, and finds all there.
    async fn lock(&self, name: &HubName, reporter: &Reporter) -> Result<std::fs::File, StoreError> {
        let path = self.pulling().join(format!("{}.lock", flat(&name.folder())));
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(&path);
        let (file, _) = file.map_err(|error| self.unwritable(&error))?.into_parts();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    reporter.phase(Phase::Waiting);
                    tokio::time::sleep(GLANCE * 8).await;
                }
                // A file system without locks.
                Err(TryLockError::Error(error)) => {
                    tracing::warn!("{} cannot be locked: {error}", path.display());
                    break;
                }
            }
        }
        // The pull that was waited for has moved its folder away.
        fs_err::create_dir_all(self.staging(name)).map_err(|error| self.unwritable(&error))?;
        Ok(file)
    }

    /// Where the files of a pull are until it is complete.
    pub(super) fn staging(&self, name: &HubName) -> PathBuf {
        let choice = match &name.gguf {
            Some(GgufChoice::Quantization(quantization)) => format!("~{quantization}"),
            Some(GgufChoice::File(file)) => format!("~{}", flat(file)),
            None => String::new(),
        };
        self.pulling().join(format!("{}{choice}", flat(&name.folder())))
    }

    pub(super) fn unwritable(&self, error: &std::io::Error) -> StoreError {
        StoreError::Unwritable { folder: self.folder.display().to_string(), reason: error.kind().to_string() }
    }
}

/// Ends when the caller is interrupted.
async fn cancelled(cancellation: &Cancellation) {
    while !cancellation.is_cancelled() {
        tokio::time::sleep(GLANCE).await;
    }
}

fn record(
    hub: &Hub,
    name: &HubName,
    commit: &str,
    licence: Option<String>,
    files: &[RemoteFile],
) -> Result<Record, StoreError> {
    let entry = |file: &RemoteFile| {
        let bytes = file.bytes.ok_or_else(|| StoreError::Protocol {
            endpoint: hub.address(),
            reason: format!("it does not say how long {} is", file.name),
        })?;
        Ok((file.name.clone(), PulledFile { bytes, checksum: file.checksum.to_string() }))
    };
    Ok(Record {
        repository: name.repository.clone(),
        revision: name.revision.clone(),
        commit: commit.to_owned(),
        licence,
        files: files.iter().map(entry).collect::<Result<BTreeMap<_, _>, StoreError>>()?,
    })
}

/// A name as one folder's name.
fn flat(name: &str) -> String {
    name.replace('/', "--")
}

/// Bytes that may still be written to the disk of a folder.
pub(super) fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Tells the caller's thread how far a pull is, but not too often.
pub(super) struct Reporter {
    sender: Sender<PullProgress>,
    state: Mutex<(PullProgress, Instant)>,
}

impl Reporter {
    fn new(sender: Sender<PullProgress>) -> Self {
        let progress = PullProgress { phase: Phase::Asking, file: String::new(), done: 0, total: 0 };
        // A hub may be silent for long: that it is being asked shows at once.
        if sender.send(progress.clone()).is_err() {
            tracing::trace!("nobody watches this pull");
        }
        Self { sender, state: Mutex::new((progress, Instant::now())) }
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.change(true, |progress| progress.phase = phase);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.change(false, |progress| progress.done += bytes);
    }

    pub(super) fn subtract(&self, bytes: u64) {
        self.change(true, |progress| progress.done = progress.done.saturating_sub(bytes));
    }

    fn file(&self, name: &str) {
        self.change(true, |progress| name.clone_into(&mut progress.file));
    }

    fn total(&self, bytes: u64) {
        self.change(true, |progress| progress.total = bytes);
    }

    fn change(&self, at_once: bool, change: impl FnOnce(&mut PullProgress)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.0.clone();
        change(&mut state.0);
        let news = if at_once { state.0 != before } else { state.1.elapsed() >= TELL || state.0.done == state.0.total };
        if news {
            state.1 = Instant::now();
            // Nobody listens any more when the caller has panicked.
            if self.sender.send(state.0.clone()).is_err() {
                tracing::trace!("nobody watches this pull");
            }
        }
    }
}

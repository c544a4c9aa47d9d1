//! One file: from wherever it broke off last time, until it is complete and its checksum right.

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};
use futures::StreamExt;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::hub::{Fault, Hub};
use super::pull::{Phase, Reporter};
use super::remote::Checksum;
use super::{HubName, StoreError};

/// Of the checksum in a partial file's name: a file that changed on the hub is not continued.
const MARK: usize = 12;

/// A file to get, and where it goes.
pub(super) struct Download<'a> {
    pub hub: &'a Hub,
    pub client: &'a reqwest::Client,
    pub model: &'a HubName,
    pub commit: &'a str,
    /// Its name in the repository.
    pub name: &'a str,
    pub bytes: u64,
    pub checksum: &'a Checksum,
    pub target: &'a Path,
}

impl Download<'_> {
    /// Returns the number of bytes that came over the network.
    pub(super) async fn run(&self, reporter: &Reporter) -> Result<u64, StoreError> {
        let path = partial(self.target, &self.checksum.to_string());
        let mut part = Part::open(&path, self.bytes, self.checksum)?;
        if part.length > 0 {
            reporter.phase(Phase::Checking);
            part.read_again().await?;
            reporter.add(part.length);
        }
        let mut resumed = part.length > 0;
        let mut received = 0;
        loop {
            received += self.fetch_rest(&mut part, reporter).await?;
            match part.check() {
                Ok(()) => break,
                Err(found) => {
                    // What was on the disk may have been damaged there: once more, from the start.
                    reporter.subtract(part.length);
                    part.clear()?;
                    if !std::mem::take(&mut resumed) {
                        fs_err::remove_file(&path)?;
                        let (file, expected) = (self.name.to_owned(), self.checksum.to_string());
                        return Err(StoreError::Checksum { file, expected, found });
                    }
                }
            }
        }
        part.file.sync_all()?;
        drop(part);
        fs_err::rename(&path, self.target)?;
        Ok(received)
    }

    /// Asks again, from where it broke off, as long as something comes.
    async fn fetch_rest(&self, part: &mut Part, reporter: &Reporter) -> Result<u64, StoreError> {
        let patience = self.hub.patience;
        let (mut received, mut attempts) = (0, 0);
        while part.length < part.bytes {
            let before = part.length;
            reporter.phase(Phase::Loading);
            let outcome = self.fetch(part, reporter).await;
            let progress = part.length.saturating_sub(before);
            received += progress;
            let reason = match outcome {
                Ok(()) if part.length == part.bytes => break,
                Ok(()) => "the connection ended early".to_owned(),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(reason)) => reason,
            };
            attempts = if progress > 0 { 1 } else { attempts + 1 };
            if attempts >= patience.attempts {
                let (file, kept, total) = (self.name.to_owned(), part.length, part.bytes);
                return Err(StoreError::BrokenOff { file, reason, kept, total });
            }
            reporter.phase(Phase::Retrying(reason));
            tokio::time::sleep(patience.pause * 2_u32.saturating_pow(attempts - 1)).await;
        }
        Ok(received)
    }

    async fn fetch(&self, part: &mut Part, reporter: &Reporter) -> Result<(), Fault> {
        let (response, start) = self.hub.open(self.client, self.model, self.commit, self.name, part.length).await?;
        if start != part.length {
            reporter.subtract(part.length);
            part.clear()?;
        }
        let mut stream = response.bytes_stream();
        loop {
            let silence = self.hub.patience.silence;
            let piece = match tokio::time::timeout(silence, stream.next()).await {
                Err(_) => return Err(Fault::Passing(format!("nothing came for {} s", silence.as_secs_f32()))),
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => {
                    return Err(Fault::Passing(crate::gateway::transport::root_cause(&error.without_url())));
                }
                Ok(Some(Ok(piece))) => piece,
            };
            if piece.len() as u64 > part.bytes - part.length {
                reporter.subtract(part.length);
                part.clear()?;
                let reason = format!("{} is longer than the {} bytes it should have", self.name, part.bytes);
                return Err(Fault::Final(StoreError::Protocol { endpoint: self.hub.address(), reason }));
            }
            part.append(&piece)?;
            reporter.add(piece.len() as u64);
        }
    }
}

/// Bytes of a file that came in an earlier pull.
pub(super) fn already_there(target: &Path, checksum: &Checksum) -> u64 {
    let places = [target.to_owned(), partial(target, &checksum.to_string())];
    places.iter().find_map(|path| Some(fs_err::metadata(path).ok()?.len())).unwrap_or(0)
}

/// Where a file is while it comes.
pub(super) fn partial(target: &Path, checksum: &str) -> PathBuf {
    let mark: String = checksum.rsplit(':').next().unwrap_or_default().chars().take(MARK).collect();
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{mark}.part"));
    target.with_file_name(name)
}

/// The beginning of a file.
struct Part {
    file: File,
    path: PathBuf,
    length: u64,
    /// What the whole file has.
    bytes: u64,
    checksum: Checksum,
    hasher: Hasher,
}

impl Part {
    fn open(path: &Path, bytes: u64, checksum: &Checksum) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        let hasher = Hasher::new(checksum, bytes);
        let mut part = Self { file, path: path.to_owned(), length, bytes, checksum: checksum.clone(), hasher };
        // Without a checksum nothing says that the rest would fit to it.
        if part.length > bytes || matches!(checksum, Checksum::Unknown) {
            part.clear()?;
        }
        Ok(part)
    }

    /// Hashes what is there.
    async fn read_again(&mut self) -> Result<(), StoreError> {
        let mut buffer = vec![0; 1 << 20];
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                read => self.hasher.update(&buffer[..read]),
            }
            // Gigabytes take a while: an interrupt is let in.
            tokio::task::yield_now().await;
        }
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        if let Err(error) = self.file.write_all(piece) {
            // What was half written does not count.
            self.file.set_len(self.length)?;
            return Err(match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    let folder = self.path.parent().unwrap_or(&self.path);
                    let free = super::pull::free_space(folder).unwrap_or(0);
                    StoreError::DiskFull {
                        folder: folder.display().to_string(),
                        needed: self.bytes - self.length,
                        free,
                    }
                }
                _ => error.into(),
            });
        }
        self.hasher.update(piece);
        self.length += piece.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.length = 0;
        self.hasher = Hasher::new(&self.checksum, self.bytes);
        Ok(())
    }

    /// The wrong checksum, if it is wrong.
    fn check(&mut self) -> Result<(), String> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::None);
        match (hasher.finish(), &self.checksum) {
            (Some(found), Checksum::Sha256(sum) | Checksum::Git(sum)) if found != *sum => Err(found),
            _ => Ok(()),
        }
    }
}

enum Hasher {
    Sha256(Sha256),
    Git(Sha1),
    None,
}

impl Hasher {
    fn new(checksum: &Checksum, bytes: u64) -> Self {
        match checksum {
            Checksum::Sha256(_) => Self::Sha256(Sha256::new()),
            Checksum::Git(_) => Self::Git(Sha1::new_with_prefix(format!("blob {bytes}\0"))),
            Checksum::Unknown => Self::None,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Git(hasher) => hasher.update(bytes),
            Self::None => {}
        }
    }

    fn finish(self) -> Option<String> {
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hasher) => Some(hexadecimal(&hasher.finalize())),
            Self::Git(hasher) => Some(hexadecimal(&hasher.finalize())),
            Self::None => None,
        }
    }
}

//! The data key under the user's key: what lies in the database and in the file beside it.

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::KeyInit;
use chrono::{DateTime, Utc};
use fs_err::OpenOptions;
use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{DataKey, MasterKey, Vault, open_with, random_key, seal_with, vault_path};
use crate::backup::{remove, unwritable};
use crate::error::MemoryError;
use crate::journal::beside;

const FORMAT: u32 = 1;

/// What says that a memory is encrypted, and holds its data key, sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VaultFile {
    format: u32,
    /// Names the data key, in the system keyring too.
    pub key_id: String,
    pub created_at: DateTime<Utc>,
    /// Each opens with one user key. More than one only while the user's key is being changed.
    locks: Vec<Lock>,
}

/// The data key sealed under one user key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lock {
    derivation: Derivation,
    sealed: String,
}

/// How the sealing key comes from what the user gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Derivation {
    /// A key of 32 random bytes is used as it is.
    Key,
    /// A passphrase is stretched (RFC 9106).
    Argon2id { salt: String, memory_kib: u32, passes: u32 },
}

impl VaultFile {
    /// A new data key, for `key`.
    pub fn create(key: &MasterKey) -> Result<(Self, Vault), MemoryError> {
        let key_id = Uuid::new_v4().to_string();
        let data_key = random_key();
        let lock = Lock::new(key, &key_id, &data_key)?;
        let vault = Vault::new(&key_id, data_key);
        Ok((Self { format: FORMAT, key_id, created_at: Utc::now(), locks: vec![lock] }, vault))
    }

    /// The same data key under another user key.
    pub fn relocked(&self, data_key: &DataKey, key: &MasterKey) -> Result<Self, MemoryError> {
        let locks = vec![Lock::new(key, &self.key_id, data_key)?];
        Ok(Self { locks, ..self.clone() })
    }

    /// Opens with the keys of both.
    pub fn and(&self, other: &Self) -> Self {
        let locks = self.locks.iter().chain(&other.locks).cloned().collect();
        Self { locks, ..self.clone() }
    }

    /// `None` where the key is not the right one.
    pub fn open(&self, key: &MasterKey) -> Result<Option<DataKey>, MemoryError> {
        for lock in &self.locks {
            if let Some(data_key) = lock.open(key, &self.key_id)? {
                return Ok(Some(data_key));
            }
        }
        Ok(None)
    }

    /// `None` where there is no such file: nothing is encrypted.
    pub fn read(database: &Path) -> Result<Option<Self>, MemoryError> {
        let path = vault_path(database);
        match fs_err::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(MemoryError::Vault { path: path.display().to_string(), reason: error.to_string() }),
        }
    }

    /// `path` is what errors call it.
    pub fn parse(text: &str, path: &str) -> Result<Self, MemoryError> {
        let failure = |reason: String| MemoryError::Vault { path: path.to_owned(), reason };
        let file: Self = serde_json::from_str(text).map_err(|error| failure(error.to_string()))?;
        if file.format > FORMAT {
            return Err(failure("it was written by a newer Codriver".to_owned()));
        }
        Ok(file)
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The file beside a database that is sealed with it, or none beside one in the clear.
    pub fn put(file: Option<&Self>, database: &Path) -> Result<(), MemoryError> {
        match file {
            Some(file) => file.write(database),
            None => remove(&vault_path(database)),
        }
    }

    /// As a whole, and on disk when it returns.
    pub fn write(&self, database: &Path) -> Result<(), MemoryError> {
        let (path, new) = (vault_path(database), beside(database, "vault.new"));
        let attempt = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(self.to_text().as_bytes())?;
            file.sync_all()?;
            fs_err::rename(&new, &path)
        };
        attempt().map_err(|error: std::io::Error| unwritable(&path, &error))
    }
}

impl Lock {
    fn new(key: &MasterKey, key_id: &str, data_key: &DataKey) -> Result<Self, MemoryError> {
        let derivation = match key {
            MasterKey::Bytes(_) => Derivation::Key,
            MasterKey::Passphrase(_) => Derivation::Argon2id {
                salt: STANDARD.encode(Uuid::new_v4().as_bytes()),
                memory_kib: argon2::Params::DEFAULT_M_COST,
                passes: argon2::Params::DEFAULT_T_COST,
            },
        };
        let Some(cipher) = derivation.cipher(key)? else {
            return Err(MemoryError::InvalidKey("it is of another kind".to_owned()));
        };
        let sealed = seal_with(&cipher, &**data_key, key_id.as_bytes())
            .map_err(|error| MemoryError::InvalidKey(error.to_string()))?;
        Ok(Self { derivation, sealed: STANDARD.encode(sealed) })
    }

    fn open(&self, key: &MasterKey, key_id: &str) -> Result<Option<DataKey>, MemoryError> {
        let Some(cipher) = self.derivation.cipher(key)? else { return Ok(None) };
        let opened =
            STANDARD.decode(&self.sealed).ok().and_then(|sealed| open_with(&cipher, &sealed, key_id.as_bytes()).ok());
        let data_key = opened.map(Zeroizing::new).and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        Ok(data_key.map(Zeroizing::new))
    }
}

impl Derivation {
    /// `None` where this is not how such a key is used.
    fn cipher(&self, key: &MasterKey) -> Result<Option<XChaCha20Poly1305>, MemoryError> {
        match (self, key) {
            (Self::Key, MasterKey::Bytes(bytes)) => Ok(Some(XChaCha20Poly1305::new((&**bytes).into()))),
            (Self::Argon2id { salt, memory_kib, passes }, MasterKey::Passphrase(passphrase)) => {
                let failure = |error: argon2::Error| MemoryError::InvalidKey(error.to_string());
                let salt = STANDARD.decode(salt).map_err(|error| MemoryError::InvalidKey(error.to_string()))?;
                let parameters = argon2::Params::new(*memory_kib, *passes, 1, Some(32)).map_err(failure)?;
                let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
                let mut bytes = Zeroizing::new([0; 32]);
                argon.hash_password_into(passphrase.as_bytes(), &salt, &mut *bytes).map_err(failure)?;
                Ok(Some(XChaCha20Poly1305::new((&*bytes).into())))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::VaultFile;
    use crate::vault::MasterKey;

    #[test]
    fn the_data_key_opens_with_the_users_key_alone() {
        let passphrase: MasterKey = "correct horse battery staple".parse().unwrap();
        for key in [MasterKey::random(), passphrase.clone()] {
            let (file, vault) = VaultFile::create(&key).unwrap();
            let read = VaultFile::parse(&file.to_text(), "here").unwrap();
            assert_eq!(read, file);
            assert_eq!(read.open(&key).unwrap().as_ref(), vault.data_key());
            assert!(read.open(&MasterKey::random()).unwrap().is_none());
            assert!(read.open(&"another passphrase".parse().unwrap()).unwrap().is_none());
        }
    }

    #[test]
    fn another_user_key_opens_the_same_data_key() {
        let (old, new) = (MasterKey::random(), "correct horse battery staple".parse().unwrap());
        let (file, vault) = VaultFile::create(&old).unwrap();
        let changed = file.relocked(vault.data_key().unwrap(), &new).unwrap();
        assert_eq!(changed.open(&new).unwrap().as_ref(), vault.data_key());
        assert!(changed.open(&old).unwrap().is_none());
        let both = file.and(&changed);
        assert!(both.open(&old).unwrap().is_some() && both.open(&new).unwrap().is_some());
    }

    #[test]
    fn a_file_of_a_newer_codriver_is_left_alone() {
        let (file, _) = VaultFile::create(&MasterKey::random()).unwrap();
        let newer = file.to_text().replace("\"format\":1", "\"format\":2");
        assert!(VaultFile::parse(&newer, "here").unwrap_err().to_string().contains("newer"));
        assert!(VaultFile::parse("{", "here").is_err());
    }
}

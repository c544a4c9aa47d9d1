//! Encryption at rest: what was said and read is sealed before it reaches a file.
//!
//! Contents are sealed with XChaCha20-Poly1305 under a random data key. The data key lies, sealed
//! under the user's own key, in the database and in a small file beside it: a changed user key
//! rewrites those two, not the contents.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::rand_core::RngCore;
use chacha20poly1305::aead::{Aead, KeyInit, OsRng, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::MemoryError;
use crate::journal::beside;

mod lock;
mod master_key;

pub(crate) use lock::VaultFile;
pub use master_key::{KEY_VARIABLE, MasterKey};

/// Before a sealed text, so that it is told from a plain one.
const MARK: &str = "sealed1:";

const NONCE: usize = 24;

/// Seals and opens what goes into memory's files; [`Vault::off`] leaves everything as it is.
///
/// What is sealed is bound to its place by `associated` data: the same must be given to open it.
#[derive(Clone, Default)]
pub struct Vault(Option<Arc<Keys>>);

struct Keys {
    id: String,
    contents: XChaCha20Poly1305,
    fingerprints: Zeroizing<[u8; 32]>,
    data_key: DataKey,
}

/// What contents are sealed with; never leaves the process unsealed.
pub(crate) type DataKey = Zeroizing<[u8; 32]>;

/// Why something sealed does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("sealed data cannot be opened: it was changed, moved, or sealed with another key")]
    NotOpened,
    #[error("data is too large to be sealed")]
    TooLarge,
}

impl Vault {
    /// Nothing is encrypted.
    pub fn off() -> Self {
        Self(None)
    }

    pub(crate) fn new(id: &str, data_key: DataKey) -> Self {
        let contents = XChaCha20Poly1305::new((&*derived(&data_key, b"codriver memory contents")).into());
        let fingerprints = derived(&data_key, b"codriver memory fingerprints");
        Self(Some(Arc::new(Keys { id: id.to_owned(), contents, fingerprints, data_key })))
    }

    /// Whether anything is encrypted at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Names the data key; changes when all contents are sealed anew, not when the user's key changes.
    pub fn key_id(&self) -> Option<&str> {
        self.0.as_ref().map(|keys| keys.id.as_str())
    }

    pub(crate) fn data_key(&self) -> Option<&DataKey> {
        self.0.as_ref().map(|keys| &keys.data_key)
    }

    /// A nonce of 24 bytes and the ciphertext with its tag of 16; the plain bytes where encryption is off.
    pub fn seal(&self, plain: &[u8], associated: &[u8]) -> Result<Vec<u8>, VaultError> {
        match &self.0 {
            None => Ok(plain.to_vec()),
            Some(keys) => seal_with(&keys.contents, plain, associated),
        }
    }

    /// What [`Vault::seal`] was given.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, VaultError> {
        match &self.0 {
            None => Ok(sealed.to_vec()),
            Some(keys) => open_with(&keys.contents, sealed, associated),
        }
    }

    /// A text for a column, bound to that column of that row.
    pub fn seal_text<'a>(&self, column: &str, row: &str, text: &'a str) -> Result<Cow<'a, str>, VaultError> {
        if !self.is_on() {
            return Ok(Cow::Borrowed(text));
        }
        let sealed = self.seal(text.as_bytes(), &place(column, row))?;
        Ok(Cow::Owned(format!("{MARK}{}", STANDARD.encode(sealed))))
    }

    /// What [`Vault::seal_text`] was given.
    pub fn open_text(&self, column: &str, row: &str, text: String) -> Result<String, VaultError> {
        if !self.is_on() {
            return Ok(text);
        }
        let sealed =
            text.strip_prefix(MARK).and_then(|text| STANDARD.decode(text).ok()).ok_or(VaultError::NotOpened)?;
        String::from_utf8(self.open(&sealed, &place(column, row))?).map_err(|_| VaultError::NotOpened)
    }

    /// Stands for a text where texts are only compared: without the key it says nothing of it.
    pub(crate) fn disguise<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(keys) = &self.0 else { return Cow::Borrowed(text) };
        Cow::Owned(hexadecimal(authenticator(&keys.fingerprints, text.as_bytes()).get(..16).unwrap_or_default()))
    }
}

/// Keys are never shown.
impl std::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Vault").field(&self.key_id().unwrap_or("off")).finish()
    }
}

/// So that rows can be sealed and opened where DuckDB's errors are spoken.
impl From<VaultError> for duckdb::Error {
    fn from(error: VaultError) -> Self {
        Self::ToSqlConversionFailure(Box::new(error))
    }
}

/// The file beside the database that says it is encrypted.
pub(crate) fn vault_path(database: &Path) -> PathBuf {
    beside(database, "vault")
}

/// Opens what is encrypted with the given key, or the one that is found.
pub(crate) fn unlock(database: &Path, file: &VaultFile, given: Option<&MasterKey>) -> Result<Vault, MemoryError> {
    let path = || database.display().to_string();
    let found;
    let key = match given {
        Some(key) => key,
        None => {
            found = MasterKey::find(&file.key_id)?.ok_or_else(|| MemoryError::KeyMissing { path: path() })?;
            &found
        }
    };
    let data_key = file.open(key)?.ok_or_else(|| MemoryError::WrongKey { path: path() })?;
    Ok(Vault::new(&file.key_id, data_key))
}

fn random_key() -> DataKey {
    let mut key = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *key);
    key
}

fn seal_with(cipher: &XChaCha20Poly1305, plain: &[u8], associated: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0; NONCE];
    OsRng.fill_bytes(&mut nonce);
    let payload = Payload { msg: plain, aad: associated };
    let ciphertext = cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| VaultError::TooLarge)?;
    let mut sealed = Vec::with_capacity(NONCE + ciphertext.len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

fn open_with(cipher: &XChaCha20Poly1305, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE).ok_or(VaultError::NotOpened)?;
    let payload = Payload { msg: ciphertext, aad: associated };
    cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| VaultError::NotOpened)
}

/// A key for one purpose (HMAC-SHA256 as the expand step of HKDF, RFC 5869).
fn derived(key: &[u8; 32], purpose: &[u8]) -> DataKey {
    let mut message = purpose.to_vec();
    message.push(1);
    Zeroizing::new(authenticator(key, &message))
}

fn authenticator(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    // A key shorter than the hash's block is filled up with zeros (RFC 2104).
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new((&*block).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn place(column: &str, row: &str) -> Vec<u8> {
    format!("{column}\n{row}").into_bytes()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Vault, VaultError, random_key};

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
        let vault = Vault::new("a", random_key());
        for text in ["", "x", "Überraschung 🎉", &"long ".repeat(10_000)] {
            let sealed = vault.seal_text("facts.text", "1", text).unwrap().into_owned();
            assert!(text.len() < 4 || !sealed.contains(text));
            assert_eq!(vault.open_text("facts.text", "1", sealed.clone()).unwrap(), text);
            assert_eq!(vault.open_text("facts.text", "2", sealed.clone()), Err(VaultError::NotOpened));
            assert_eq!(vault.open_text("facts.source", "1", sealed.clone()), Err(VaultError::NotOpened));
            assert_eq!(
                Vault::new("a", random_key()).open_text("facts.text", "1", sealed.clone()),
                Err(VaultError::NotOpened)
            );
            assert_ne!(vault.seal_text("facts.text", "1", text).unwrap(), sealed, "a fresh nonce each time");
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let vault = Vault::new("a", random_key());
        let sealed = vault.seal(b"forty-two", b"here").unwrap();
        assert_eq!(sealed.len(), 24 + 9 + 16);
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(vault.open(&changed, b"here"), Err(VaultError::NotOpened));
        }
        for length in 0..sealed.len() {
            assert_eq!(vault.open(&sealed[..length], b"here"), Err(VaultError::NotOpened));
        }
    }

    #[test]
    fn without_encryption_everything_stays_as_it_is() {
        let vault = Vault::off();
        assert_eq!(vault.seal_text("a", "b", "text").unwrap(), "text");
        assert_eq!(vault.open(b"bytes", b"").unwrap(), b"bytes");
        assert_eq!(vault.disguise("name"), "name");
    }

    #[test]
    fn a_disguise_is_the_same_for_the_same_text_under_the_same_key() {
        let (one, other) = (Vault::new("a", random_key()), Vault::new("b", random_key()));
        assert_eq!(one.disguise("name"), one.clone().disguise("name"));
        assert_ne!(one.disguise("name"), one.disguise("Name"));
        assert_ne!(one.disguise("name"), other.disguise("name"));
        assert_eq!(one.disguise("name").len(), 32);
    }
}

//! The user's key: from the environment, from the system keyring, or new.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyring::Entry;
use zeroize::Zeroizing;

use super::{hexadecimal, random_key};
use crate::error::MemoryError;

/// The environment variable the key is read from.
pub const KEY_VARIABLE: &str = "CODRIVER_MEMORY_KEY";

/// What keys are kept under in the system keyring.
const SERVICE: &str = "codriver-memory";

const SHORTEST_PASSPHRASE: usize = 8;

/// What opens an encrypted memory: 32 random bytes (64 hexadecimal digits, or Base64), or a passphrase.
#[derive(Clone)]
pub enum MasterKey {
    Bytes(Zeroizing<[u8; 32]>),
    Passphrase(Zeroizing<String>),
}

impl MasterKey {
    pub fn random() -> Self {
        Self::Bytes(random_key())
    }

    /// The key of `CODRIVER_MEMORY_KEY`, if it is set.
    pub fn from_environment() -> Result<Option<Self>, MemoryError> {
        match std::env::var(KEY_VARIABLE) {
            Ok(text) if !text.is_empty() => Zeroizing::new(text).parse().map(Some),
            _ => Ok(None),
        }
    }

    /// The key that the system keyring has for the memory of this name.
    pub fn from_keyring(key_id: &str) -> Option<Self> {
        let found = Entry::new(SERVICE, key_id).and_then(|entry| entry.get_password());
        let text = found.inspect_err(|error| tracing::debug!(%error, "no key in the system keyring")).ok()?;
        Zeroizing::new(text).parse().ok()
    }

    /// Keeps the key in the system keyring. On Linux that is the kernel's, which forgets at a restart
    /// of the machine: the key must be kept elsewhere too.
    pub fn keep_in_keyring(&self, key_id: &str) -> Result<(), MemoryError> {
        let keep = |entry: Entry| entry.set_password(&self.to_text());
        Entry::new(SERVICE, key_id).and_then(keep).map_err(|error| MemoryError::Keyring(error.to_string()))
    }

    /// Where the key for an encrypted memory is looked for: the environment, then the keyring.
    pub(crate) fn find(key_id: &str) -> Result<Option<Self>, MemoryError> {
        Ok(Self::from_environment()?.or_else(|| Self::from_keyring(key_id)))
    }

    /// As `CODRIVER_MEMORY_KEY` takes it.
    pub fn to_text(&self) -> Zeroizing<String> {
        match self {
            Self::Bytes(bytes) => Zeroizing::new(hexadecimal(&**bytes)),
            Self::Passphrase(text) => text.clone(),
        }
    }
}

impl FromStr for MasterKey {
    type Err = MemoryError;

    fn from_str(text: &str) -> Result<Self, MemoryError> {
        let text = text.trim();
        if let Some(bytes) = from_hexadecimal(text).or_else(|| <[u8; 32]>::try_from(STANDARD.decode(text).ok()?).ok()) {
            return Ok(Self::Bytes(Zeroizing::new(bytes)));
        }
        if text.chars().count() < SHORTEST_PASSPHRASE {
            return Err(MemoryError::InvalidKey(format!("a passphrase has at least {SHORTEST_PASSPHRASE} characters")));
        }
        Ok(Self::Passphrase(Zeroizing::new(text.to_owned())))
    }
}

/// Keys are never shown.
impl std::fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MasterKey")
    }
}

fn from_hexadecimal(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (position, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * position..2 * position + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::MasterKey;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = MasterKey::random();
        let MasterKey::Bytes(bytes) = &key else { panic!() };
        for text in [key.to_text().to_string(), key.to_text().to_uppercase(), format!(" {}\n", *key.to_text())] {
            let MasterKey::Bytes(read) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!(&read, bytes);
        }
        assert!(matches!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".parse(), Ok(MasterKey::Bytes(_))));
        assert!(matches!("correct horse".parse(), Ok(MasterKey::Passphrase(_))));
        assert!("short".parse::<MasterKey>().unwrap_err().to_string().contains("at least 8"));
        assert_eq!(format!("{key:?}"), "MasterKey");
    }
}

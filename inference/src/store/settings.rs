//! The variables that every program around Hugging Face's hub reads.

use std::path::PathBuf;

use secrecy::SecretString;

/// The token in `HF_TOKEN`, or in the file that `hf auth login` writes.
pub(super) fn token() -> Option<SecretString> {
    let from_file = || {
        let path = environment("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home()?.join("token")))?;
        fs_err::read_to_string(path).ok()
    };
    let token = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].into_iter().find_map(environment).or_else(from_file)?;
    let token = token.trim();
    (!token.is_empty()).then(|| SecretString::from(token.to_owned()))
}

/// `HF_HOME`, or where it is when nobody says.
pub(super) fn home() -> Option<PathBuf> {
    let named = environment("HF_HOME").map(PathBuf::from);
    let below = |name: &str, rest: &str| Some(PathBuf::from(environment(name)?).join(rest));
    named.or_else(|| below("XDG_CACHE_HOME", "huggingface")).or_else(|| below("HOME", ".cache/huggingface"))
}

pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The Hugging Face cache of this user.
pub fn hugging_face_cache() -> Option<PathBuf> {
    let named = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter().find_map(environment);
    named.map(PathBuf::from).or_else(|| Some(home()?.join("hub")))
}

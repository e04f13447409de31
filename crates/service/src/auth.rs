//! Who asks: bearer tokens, known to the store by their hash only, and to this process by a small cache.

use crate::store::{Reader, UserRow};
use bursa_core::limits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The tokens seen.
#[derive(Debug)]
pub(crate) struct Tokens {
    reader: Arc<Reader>,
    known: Mutex<HashMap<[u8; 32], Arc<UserRow>>>,
    revoked: watch::Sender<u64>,
}

/// What is stored of a token. 256 random bits need no slow hash, and finding a hash by its prefix finds no token.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// A new token: a prefix that secret scanners know, and 256 random bits.
pub(crate) fn new_token() -> std::io::Result<String> {
    use base64::Engine as _;
    let mut secret = [0; 32];
    crate::clock::random(&mut secret)?;
    Ok(format!("bursa_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret)))
}

impl Tokens {
    pub(crate) fn new(reader: Arc<Reader>) -> Self {
        Self { reader, known: Mutex::default(), revoked: watch::Sender::new(0) }
    }

    /// The user of the token with this hash. Looked up by hash, so the time it takes tells nothing of a token.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn user(&self, hash: &[u8; 32]) -> Result<Option<Arc<UserRow>>, crate::store::Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = known.get(hash) {
            return Ok(Some(Arc::clone(user)));
        }
        let Some(user) = self.reader.user_by_token(hash)?.map(Arc::new) else { return Ok(None) };
        if known.len() >= limits::CACHED_TOKENS {
            known.clear();
        }
        known.insert(*hash, Arc::clone(&user));
        Ok(Some(user))
    }

    /// Forgets a token that is gone from the store; open streams look at theirs again.
    pub(crate) fn forget(&self, hash: &[u8; 32]) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
        self.revoked.send_modify(|count| *count += 1);
    }

    /// Changes when a token was revoked.
    pub(crate) fn revocations(&self) -> watch::Receiver<u64> {
        self.revoked.subscribe()
    }
}

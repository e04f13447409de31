//! Who asks: bearer tokens, known to the store by their hash only, and to this process by a small cache.

use crate::scope::{Scope, Scopes};
use crate::store::{Error, Reader, TokenGrant, UserRow};
use bursa_core::limits;
use bursa_core::time::Wall;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The tokens seen.
#[derive(Debug)]
pub(crate) struct Tokens {
    reader: Arc<Reader>,
    known: Mutex<HashMap<[u8; 32], Known>>,
    /// Tokens of others, while what their issuers said of them counts.
    lent: Mutex<HashMap<[u8; 32], Lent>>,
    revoked: watch::Sender<u64>,
}

/// A token that is valid now.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Its user: an administrator only if the token has that scope.
    pub(crate) row: Arc<UserRow>,
    /// Its id; `None`: it is another issuer's.
    pub(crate) token: Option<[u8; 16]>,
    pub(crate) scopes: Scopes,
    pub(crate) expires: Option<Wall>,
    /// The store is to be told that it is used.
    pub(crate) unnoted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Lent {
    user_no: i64,
    scopes: Scopes,
    until: Wall,
}

#[derive(Debug)]
struct Known {
    row: Arc<UserRow>,
    token: Option<[u8; 16]>,
    scopes: Scopes,
    expires: Option<Wall>,
    used: Wall,
}

/// What is stored of a token. 256 random bits need no slow hash, and finding a hash by its prefix finds no token.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// What every token of Bursa's own begins with.
const PREFIX: &str = "bursa_";

/// Whether `token` is one that this service gave, by its looks.
pub(crate) fn is_own(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// What tokens begin with that logins made.
const LOGIN_PREFIX: &str = "bursa_login_";

/// Whether `token` is one that a login made, by its looks: who has it may revoke it.
pub(crate) fn is_of_login(token: &str) -> bool {
    token.starts_with(LOGIN_PREFIX)
}

/// A new token: a prefix that secret scanners know, and 256 random bits.
pub(crate) fn new_token() -> std::io::Result<String> {
    Ok(format!("{PREFIX}{}", random_word()?))
}

/// A new token for a login.
pub(crate) fn new_login_token() -> std::io::Result<String> {
    Ok(format!("{LOGIN_PREFIX}{}", random_word()?))
}

/// 256 random bits as letters, digits, `-` and `_`.
pub(crate) fn random_word() -> std::io::Result<String> {
    use base64::Engine as _;
    let mut secret = [0; 32];
    crate::clock::random(&mut secret)?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret))
}

impl Tokens {
    pub(crate) fn new(reader: Arc<Reader>) -> Self {
        Self { reader, known: Mutex::default(), lent: Mutex::default(), revoked: watch::Sender::new(0) }
    }

    /// What the token with this hash is good for now. Looked up by hash, so the time it takes tells nothing of a token.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn session(&self, hash: &[u8; 32], now: Wall) -> Result<Option<Session>, Error> {
        // Read and kept under one lock: who forgets a token finds it here or is before the read.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(hash) {
            let grant = match self.reader.token(hash)? {
                None => self.lent(hash)?,
                grant => grant,
            };
            let Some(grant) = grant else { return Ok(None) };
            if known.len() >= limits::CACHED_TOKENS {
                known.clear();
            }
            known.insert(*hash, Known::of(grant));
        }
        Ok(known.get_mut(hash).and_then(|known| known.at(now)))
    }

    /// Until then the token of another issuer with this hash counts as one of the user with this number.
    pub(crate) fn lend(&self, hash: [u8; 32], user_no: i64, scopes: Scopes, until: Wall, now: Wall) {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        if lent.len() >= limits::CACHED_TOKENS {
            lent.retain(|_, lent| lent.until > now);
        }
        if lent.len() >= limits::CACHED_TOKENS {
            lent.clear();
        }
        lent.insert(hash, Lent { user_no, scopes, until });
        // Not both at once: `session` takes them in the other order.
        drop(lent);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
    }

    fn lent(&self, hash: &[u8; 32]) -> Result<Option<TokenGrant>, Error> {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner).get(hash).copied();
        let Some(Lent { user_no, scopes, until }) = lent else { return Ok(None) };
        let user = self.reader.active_user(user_no)?;
        // The store knows no such token, so it is told of no use.
        Ok(user.map(|user| TokenGrant { user, token: None, scopes, expires: Some(until), used: until }))
    }

    /// Users, groups or tokens changed: all are read again, and what is open looks at its token again.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.revoked.send_modify(|count| *count += 1);
    }

    /// The same, and tokens of others are judged anew: those who bring them may be other users now.
    pub(crate) fn forget_lent(&self) {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.forget();
    }

    /// Changes when a token may have been revoked.
    pub(crate) fn revocations(&self) -> watch::Receiver<u64> {
        self.revoked.subscribe()
    }
}

impl Known {
    fn of(grant: TokenGrant) -> Self {
        let TokenGrant { mut user, token, scopes, expires, used } = grant;
        user.admin &= scopes.has(Scope::Admin);
        Self { row: Arc::new(user), token, scopes, expires, used }
    }

    fn at(&mut self, now: Wall) -> Option<Session> {
        if self.expires.is_some_and(|end| end <= now) {
            return None;
        }
        let unnoted = now.0 >= self.used.0 + limits::TOKEN_USE_MS;
        if unnoted {
            self.used = now;
        }
        let Self { token, scopes, expires, .. } = *self;
        Some(Session { row: Arc::clone(&self.row), token, scopes, expires, unnoted })
    }
}

//! Codes of logins: each good once, for a minute, and for the program that asked for it. Kept in memory only, by hash.

use crate::auth;
use crate::http::User;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursa_core::limits;
use ring::digest::{SHA256, digest};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// From the page to the program.
const VALID: Duration = Duration::from_millis(limits::LOGIN_CODE_MS);

/// What a program asked for: who ends a login must be the one who began it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) client: String,
    pub(crate) redirect: String,
    /// The hash of what only the program knows (RFC 7636), as it came.
    pub(crate) challenge: String,
    pub(crate) scopes: String,
    /// With a token for renewals.
    pub(crate) offline: bool,
}

/// The codes that are valid now.
#[derive(Debug, Default)]
pub(crate) struct Codes(Mutex<VecDeque<Given>>);

#[derive(Debug)]
struct Given {
    hash: [u8; 32],
    until: Instant,
    user: User,
    asked: Asked,
}

impl Codes {
    /// A new code by which the program that `asked` may act for `user`. The oldest makes room when there are too many.
    pub(crate) fn give(&self, user: User, asked: Asked, now: Instant) -> std::io::Result<String> {
        let code = auth::random_word()?;
        let given = Given { hash: auth::hash(&code), until: now + VALID, user, asked };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while all.front().is_some_and(|oldest| oldest.until <= now) || all.len() >= limits::LOGIN_CODES {
            all.pop_front();
        }
        all.push_back(given);
        Ok(code)
    }

    /// What was asked for, and by whom it was granted. The code is good for nothing afterwards.
    pub(crate) fn take(&self, code: &str, now: Instant) -> Option<(User, Asked)> {
        let hash = auth::hash(code);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = all.iter().position(|given| given.hash == hash)?;
        let given = all.remove(place).filter(|given| given.until > now)?;
        Some((given.user, given.asked))
    }
}

/// The challenge of PKCE, method S256, that this verifier answers.
pub(crate) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scopes;
    use crate::store::UserRow;
    use bursa_core::id::UserId;
    use bursa_core::time::Wall;
    use std::sync::Arc;

    fn user() -> User {
        let row = UserRow {
            no: 1,
            user: UserId::from_bytes([1; 16]),
            name: "ann".to_owned(),
            admin: false,
            active: true,
            service: false,
            created: Wall(0),
            groups: Vec::new(),
        };
        User { row: Arc::new(row), token_hash: [0; 32], token: None, scopes: Scopes::USUAL, expires: None }
    }

    fn asked(client: &str) -> Asked {
        let [redirect, scopes] = ["http://localhost/", "openid"].map(str::to_owned);
        Asked { client: client.to_owned(), redirect, challenge: challenge_of("v"), scopes, offline: true }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let (codes, now) = (Codes::default(), Instant::now());
        let code = codes.give(user(), asked("a"), now).unwrap();
        assert_eq!(codes.take("another", now).map(|(_, asked)| asked), None);
        assert_eq!(codes.take(&code, now).map(|(_, asked)| asked), Some(asked("a")));
        assert!(codes.take(&code, now).is_none(), "once");
        let late = codes.give(user(), asked("a"), now).unwrap();
        assert!(codes.take(&late, now + VALID).is_none(), "a minute");
        let early = codes.give(user(), asked("a"), now).unwrap();
        assert!(codes.take(&early, now + VALID - Duration::from_millis(1)).is_some());
    }

    #[test]
    fn codes_are_bounded() {
        let (codes, now) = (Codes::default(), Instant::now());
        let first = codes.give(user(), asked("0"), now).unwrap();
        for n in 0..limits::LOGIN_CODES {
            codes.give(user(), asked(&n.to_string()), now).unwrap();
        }
        assert!(codes.take(&first, now).is_none(), "it made room");
        assert_eq!(codes.0.lock().unwrap().len(), limits::LOGIN_CODES);
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge_of(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}

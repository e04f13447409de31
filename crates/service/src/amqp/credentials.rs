//! Passwords for AMQP: minted for one user by an authorized request, for a short time, kept in memory only.
//!
//! Clients ask for a new one before each connection, so none need outlive the service.

use crate::auth;
use crate::http::User;
use bursa_core::limits;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// From the answer with the password to the connection that uses it.
const VALID: Duration = Duration::from_secs(300);

/// The passwords that are valid now.
#[derive(Debug, Default)]
pub(crate) struct Credentials(Mutex<VecDeque<Minted>>);

#[derive(Debug)]
struct Minted {
    hash: [u8; 32],
    user: User,
    until: Instant,
}

impl Credentials {
    /// A new password for this user. The oldest makes room when there are too many.
    pub(crate) fn mint(&self, user: &User) -> std::io::Result<String> {
        let password = auth::new_token()?;
        let minted =
            Minted { hash: auth::hash(&password), user: user.clone(), until: Instant::now() + VALID };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while all.front().is_some_and(|oldest| oldest.until <= now) || all.len() >= limits::AMQP_PASSWORDS {
            all.pop_front();
        }
        all.push_back(minted);
        Ok(password)
    }

    /// Whose password this is. Looked up by hash, so the time it takes tells nothing of a password.
    pub(super) fn user(&self, password: &str) -> Option<User> {
        let (hash, now) = (auth::hash(password), Instant::now());
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|minted| minted.hash == hash && minted.until > now).map(|minted| minted.user.clone())
    }
}

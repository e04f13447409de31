//! Bells: who waits for a user's results is woken when new ones are on disk, and reads the store himself.

use bursa_core::id::UserId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// One bell per user that somebody listens to.
#[derive(Debug, Default)]
pub(crate) struct Bells(Mutex<HashMap<UserId, watch::Sender<()>>>);

impl Bells {
    /// Hears every ring from now on.
    pub(crate) fn listen(&self, user: UserId) -> watch::Receiver<()> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.entry(user).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Wakes who listens to this user's bell; a bell without listeners is taken down.
    pub(crate) fn ring(&self, user: &UserId) {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bells.get(user).is_some_and(|bell| bell.send(()).is_err()) {
            bells.remove(user);
        }
    }
}

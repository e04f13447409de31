//! What of the store, or of the log beside it, does not work now, part by part: `/health` shows it, and it clears when that part works again.

use std::sync::{Mutex, PoisonError};

/// A part of the store that may fail while the others work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Transactions.
    Database,
    /// Writing payload files.
    Files,
    /// Reading what the hub needs.
    Reads,
    /// The audit log.
    Audit,
}

/// Why each part fails; `None`: it works.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<[Option<String>; 4]>);

impl Troubles {
    /// `part` failed.
    pub(crate) fn failed(&self, part: Part, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[part as usize] = Some(why);
    }

    /// `part` works.
    pub(crate) fn works(&self, part: Part) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner)[part as usize].take().is_some() {
            tracing::info!(?part, "this part works again");
        }
    }

    /// Why something fails; `None`: all works.
    pub(crate) fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten().next().cloned()
    }
}

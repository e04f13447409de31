//! The limit on open files: raised for this process, which has three per worker or two per endpoint; as it was for its
//! workers.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::sync::OnceLock;

static BEFORE: OnceLock<Files> = OnceLock::new();

/// A soft and a hard limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files(u64, u64);

impl Files {
    /// Sets it in this process. Async-signal-safe.
    pub(crate) fn apply(self) -> io::Result<()> {
        Ok(setrlimit(Resource::RLIMIT_NOFILE, self.0, self.1)?)
    }
}

/// Raises the soft limit of this process to the hard one. Where that is not allowed, fewer workers or endpoints fit.
pub fn raise() {
    let before = of_children();
    if let Err(error) = Files(before.1, before.1).apply() {
        tracing::warn!(%error, "the limit on open files stays at {}", before.0);
    }
}

/// The limit as it was when this process started: a program may do something for each file that it could open.
pub(crate) fn of_children() -> Files {
    *BEFORE.get_or_init(|| {
        getrlimit(Resource::RLIMIT_NOFILE).map_or(Files(1024, 1024), |(soft, hard)| Files(soft, hard))
    })
}

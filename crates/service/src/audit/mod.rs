//! The audit log: who did what to which object, from where, and what came of it. Lines of JSON in the home, each with the
//! hash of the one before.
//!
//! Whoever records leaves an entry and goes on; one thread writes what came, a batch at a time. Payloads, names of
//! functions and secrets are never in it.

mod line;
mod links;
mod log;
mod search;
mod verify;
mod visit;

pub(crate) use line::Entry;
pub(crate) use links::record_refusals;
pub(crate) use search::{Wanted, search};
pub use verify::{Broken, Verified, verify};
pub(crate) use visit::{Visit, Who, about, about_tasks, is_by, visited};

use crate::metrics::Metrics;
use crate::trouble::Part;
use bursa_core::limits;
use log::Log;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// An entry waits this long for others: a file is synced a few times in a second however much is done.
const LINGER: Duration = Duration::from_millis(limits::AUDIT_LINGER_MS);

/// Where entries are left.
#[derive(Debug)]
pub(crate) struct Audit {
    shared: Arc<Shared>,
    directory: PathBuf,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// Entries for which there was no room.
    lost: u64,
    over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, once it is there and others had time to join it; empty: it is over.
    fn next(&self) -> (Vec<Entry>, u64) {
        let is_idle = |waiting: &mut Waiting| waiting.entries.is_empty() && !waiting.over;
        let may_linger = |waiting: &mut Waiting| waiting.entries.len() < limits::AUDIT_BATCH && !waiting.over;
        let waiting = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let lingered = self.changed.wait_timeout_while(waiting, LINGER, may_linger);
        let (mut waiting, _) = lingered.unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut waiting.entries), std::mem::take(&mut waiting.lost))
    }
}

impl Audit {
    /// Goes on with the log in `directory`, at most `bytes` long.
    ///
    /// # Errors
    /// The log cannot be read or written.
    pub(crate) fn open(directory: &Path, bytes: u64, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let mut log = Log::open(directory, bytes)?;
        let shared = Arc::<Shared>::default();
        let queue = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || {
            loop {
                let (entries, lost) = queue.next();
                if entries.is_empty() && lost == 0 {
                    return;
                }
                write(&mut log, &entries, lost, &queue, &metrics);
            }
        })?;
        Ok(Self { shared, directory: directory.to_owned(), writer: Mutex::new(Some(writer)) })
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Leaves an entry. While there is no room, as behind a full disk, it is counted only.
    pub(crate) fn record(&self, entry: Entry) {
        let mut waiting = self.shared.lock();
        if waiting.entries.len() >= limits::AUDIT_ENTRIES {
            waiting.lost += 1;
            return;
        }
        waiting.entries.push(entry);
        let count = waiting.entries.len();
        drop(waiting);
        if count == 1 || count == limits::AUDIT_BATCH {
            self.shared.changed.notify_one();
        }
    }

    /// Returns when all is written. Nothing is recorded from now on.
    pub(crate) fn finish(&self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the audit log's thread panicked");
        }
    }
}

/// Writes the batch, trying again while that fails; at the service's end once.
fn write(log: &mut Log, entries: &[Entry], lost: u64, queue: &Shared, metrics: &Metrics) {
    let pause = Duration::from_millis(limits::REWRITE_MS);
    while let Err(error) = log.append(entries, lost) {
        let why = format!("the audit log cannot be written: {error}");
        tracing::error!("{why}");
        metrics.troubles.failed(Part::Audit, why);
        let waited = queue.changed.wait_timeout_while(queue.lock(), pause, |waiting| !waiting.over);
        if waited.unwrap_or_else(PoisonError::into_inner).0.over {
            tracing::error!(entries = entries.len(), "these are not in the audit log");
            return;
        }
    }
    metrics.troubles.works(Part::Audit);
}

#[cfg(test)]
mod tests;

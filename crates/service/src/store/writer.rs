//! Where the write connection is: with the driver for small rounds, with a thread for large ones, never with both.
//!
//! The connection itself travels, so there is one owner at any moment, and results come back in the order of the writes.

use super::rows::{Batch, Done, Write};
use super::write::{SqliteStore, Weight};
use super::{Error, Paths};
use bursa_core::limits;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Rows that the driver commits by itself: one thread wake-up costs as much as inserting these.
pub(super) const INLINE_ROWS: usize = 16;
/// Pause after a transaction that failed: a full disk is not written to in a loop.
const PAUSE: Duration = Duration::from_millis(250);

/// The driver's hold on the store.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` while the thread has it.
    store: Option<Box<SqliteStore>>,
    waiting: Batch,
    weight: Weight,
    /// No transaction before this.
    hold: Option<Instant>,
    lend: SyncSender<(Box<SqliteStore>, Batch)>,
    back: mpsc::Receiver<(Box<SqliteStore>, Vec<Done>)>,
}

impl Writer {
    /// Starts the writer thread for `store`.
    ///
    /// # Errors
    /// No thread can be made.
    pub(crate) fn new(store: SqliteStore, paths: &Paths) -> Result<Self, Error> {
        let (lend, lent) = sync_channel::<(Box<SqliteStore>, Batch)>(1);
        let (give, back) = mpsc::channel(1);
        std::thread::Builder::new()
            .name("bursa-store".to_owned())
            .spawn(move || {
                while let Ok((mut store, batch)) = lent.recv() {
                    let done = store.apply(batch);
                    if give.blocking_send((store, done)).is_err() {
                        break;
                    }
                }
            })
            .map_err(Error::io("cannot start a thread for", &paths.database))?;
        Ok(Self {
            store: Some(Box::new(store)),
            waiting: Batch::new(),
            weight: Weight::default(),
            hold: None,
            lend,
            back,
        })
    }

    /// Adds a write to the next transaction.
    pub(crate) fn push(&mut self, write: Write) {
        self.weight.add(&write);
        self.waiting.push(write);
    }

    /// Rows waiting for the next transaction.
    pub(crate) const fn waiting(&self) -> usize {
        self.weight.rows
    }

    /// Begins the next transaction if the last one is over: `Some` when it is already on disk, else see [`Self::done`].
    pub(crate) fn commit(&mut self) -> Option<Vec<Done>> {
        if self.waiting.is_empty() || self.hold.is_some_and(|until| until > Instant::now()) {
            return None;
        }
        let mut store = self.store.take()?;
        let batch = std::mem::take(&mut self.waiting);
        let weight = std::mem::take(&mut self.weight);
        if weight.rows <= INLINE_ROWS && weight.bytes <= limits::INLINE_BYTES {
            let done = store.apply(batch);
            self.home(store, &done);
            return Some(done);
        }
        match self.lend.send((store, batch)) {
            Ok(()) => None,
            Err(std::sync::mpsc::SendError((mut store, batch))) => {
                let done = store.apply(batch);
                self.home(store, &done);
                Some(done)
            }
        }
    }

    /// The store is back; after a failure it rests.
    fn home(&mut self, store: Box<SqliteStore>, done: &[Done]) {
        self.store = Some(store);
        let failed = done.iter().all(|done| matches!(done, Done::Hub(_, Err(_)) | Done::Registry(_, Err(_))));
        self.hold = failed.then(|| Instant::now() + PAUSE);
    }

    /// True if a transaction can begin now.
    pub(crate) fn is_ready(&self) -> bool {
        let held = self.hold.is_some_and(|until| until > Instant::now());
        self.store.is_some() && !self.waiting.is_empty() && !held
    }

    /// What the thread has written, or nothing when a pause is over; waits for ever while there is neither.
    pub(crate) async fn done(&mut self) -> Vec<Done> {
        if self.store.is_some() {
            match self.hold.filter(|_| !self.waiting.is_empty()) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
            return Vec::new();
        }
        match self.back.recv().await {
            Some((store, done)) => {
                self.home(store, &done);
                done
            }
            None => std::future::pending().await,
        }
    }

    /// What the thread has written, if it is ready.
    pub(crate) fn try_done(&mut self) -> Option<Vec<Done>> {
        let (store, done) = self.back.try_recv().ok()?;
        self.home(store, &done);
        Some(done)
    }

    /// Writes what waits, brings the WAL home and closes.
    pub(crate) async fn close(mut self) {
        if self.store.is_none() {
            self.done().await;
        }
        if let Some(store) = &mut self.store {
            if !self.waiting.is_empty() {
                store.apply(std::mem::take(&mut self.waiting));
            }
            store.finish();
        }
    }
}

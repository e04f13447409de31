//! Where the write connection is: with the driver for small rounds, with a thread for large ones, never with both.
//!
//! The connection itself travels, so there is one owner at any moment, and results come back in the order of the writes.

use super::payload::Payloads;
use super::rows::{Batch, Done, Write};
use super::write::{SqliteStore, Weight, large};
use super::{Error, Paths, Retention};
use bursa_core::limits;
use bursa_core::time::Wall;
use std::sync::mpsc::{SendError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Rows that the driver commits by itself: one thread wake-up costs as much as inserting these.
pub(super) const INLINE_ROWS: usize = 16;
/// Pause after a transaction that failed: a full disk is not written to in a loop.
const PAUSE: Duration = Duration::from_millis(250);

/// Pause of the sweep between its rounds.
const SWEEP_ROUND: Duration = Duration::from_secs(60);
/// Pause of the sweep between its steps: nobody waits for it.
const SWEEP_STEP: Duration = Duration::from_millis(50);
/// How long a step gives way to writes.
const SWEEP_PATIENCE: Duration = Duration::from_millis(250);

/// What the thread is asked for.
enum Job {
    Write(Batch),
    Sweep(Retention, Wall),
}

/// What came of it.
#[derive(Debug)]
enum Came {
    Written(Vec<Done>),
    /// True: there is more to do at once.
    Swept(bool),
}

/// The driver's hold on the store.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` while the thread has it.
    store: Option<Box<SqliteStore>>,
    payloads: Payloads,
    waiting: Batch,
    weight: Weight,
    /// No transaction before this.
    hold: Option<Instant>,
    retention: Retention,
    /// When a step of the sweep is due.
    sweep_at: Instant,
    lend: SyncSender<(Box<SqliteStore>, Job)>,
    back: mpsc::Receiver<(Box<SqliteStore>, Came)>,
}

impl Writer {
    /// Starts the writer thread for `store`.
    ///
    /// # Errors
    /// No thread can be made.
    pub(crate) fn new(store: SqliteStore, paths: &Paths, retention: Retention) -> Result<Self, Error> {
        let (lend, lent) = sync_channel::<(Box<SqliteStore>, Job)>(1);
        let (give, back) = mpsc::channel(1);
        std::thread::Builder::new()
            .name("bursa-store".to_owned())
            .spawn(move || {
                while let Ok((mut store, job)) = lent.recv() {
                    let came = match job {
                        Job::Write(batch) => Came::Written(store.apply(batch)),
                        Job::Sweep(retention, now) => Came::Swept(store.sweep(retention, now)),
                    };
                    if give.blocking_send((store, came)).is_err() {
                        break;
                    }
                }
            })
            .map_err(Error::io("cannot start a thread for", &paths.database))?;
        Ok(Self {
            payloads: store.payloads.clone(),
            store: Some(Box::new(store)),
            waiting: Batch::new(),
            weight: Weight::default(),
            hold: None,
            retention,
            sweep_at: Instant::now() + Self::sweep_round(retention),
            lend,
            back,
        })
    }

    /// Adds a write to the next transaction, whose files are begun at once. Within a runtime.
    pub(crate) fn push(&mut self, write: Write) {
        for data in large(&write) {
            self.payloads.begin(data);
        }
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
        match self.lend.send((store, Job::Write(batch))) {
            Ok(()) => None,
            Err(SendError((mut store, Job::Write(batch)))) => {
                let done = store.apply(batch);
                self.home(store, &done);
                Some(done)
            }
            Err(SendError((store, Job::Sweep(..)))) => {
                self.store = Some(store);
                None
            }
        }
    }

    /// When the next step of the sweep may begin.
    fn sweep_due(&self, gives_way: bool) -> Instant {
        let patience = if gives_way || !self.waiting.is_empty() { SWEEP_PATIENCE } else { Duration::ZERO };
        self.sweep_at + patience
    }

    /// Begins a step of the sweep if one is due. `gives_way`: there may be writes, which go first for a while.
    pub(crate) fn sweep(&mut self, now: Wall, gives_way: bool) {
        if self.sweep_due(gives_way) > Instant::now() {
            return;
        }
        if let Some(store) = self.store.take()
            && let Err(SendError((store, _))) = self.lend.send((store, Job::Sweep(self.retention, now)))
        {
            self.store = Some(store);
        }
    }

    /// Between two rounds of the sweep: a short retention is looked after sooner.
    fn sweep_round(retention: Retention) -> Duration {
        SWEEP_ROUND.min(Duration::from_millis(retention.keep_ms))
    }

    /// The store is back from the thread.
    fn came(&mut self, store: Box<SqliteStore>, came: Came) -> Vec<Done> {
        match came {
            Came::Written(done) => {
                self.home(store, &done);
                done
            }
            Came::Swept(more) => {
                self.store = Some(store);
                let pause = if more { SWEEP_STEP } else { Self::sweep_round(self.retention) };
                self.sweep_at = Instant::now() + pause;
                Vec::new()
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

    /// What the thread has written, or nothing when a pause is over or the sweep is due.
    pub(crate) async fn done(&mut self) -> Vec<Done> {
        if self.store.is_some() {
            let sweep = self.sweep_due(false);
            let held = self.hold.filter(|_| !self.waiting.is_empty());
            tokio::time::sleep_until(held.map_or(sweep, |until| until.min(sweep))).await;
            return Vec::new();
        }
        match self.back.recv().await {
            Some((store, came)) => self.came(store, came),
            None => std::future::pending().await,
        }
    }

    /// What the thread has written, if it is ready.
    pub(crate) fn try_done(&mut self) -> Option<Vec<Done>> {
        let (store, came) = self.back.try_recv().ok()?;
        Some(self.came(store, came))
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

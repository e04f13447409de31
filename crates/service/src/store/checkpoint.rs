//! Checkpoints beside the writer: a thread of its own copies the WAL into the database while commits go on.
//!
//! A passive checkpoint never finishes while the writer appends. The writer itself does the small rest between two
//! transactions, and its next commit starts at the WAL's beginning again: after a small commit at once, so that the file
//! never grows (a file that grows costs each commit another write, of its size), after a large one when the WAL has grown
//! far beyond its size.

use super::{Error, schema};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Pages written after which a checkpoint is due: half of the WAL's size.
const DUE_PAGES: i64 = (schema::WAL_BYTES / 4_096 / 2).cast_signed();
/// Pages of WAL beyond which the writer does the rest after a large commit too: 32 MiB.
const BEHIND_PAGES: i64 = 8_192;

/// The writer's side: tells the thread when to work.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    /// Pages in the WAL after the last commit: only SQLite knows, one row may change one page or ten.
    pages: Arc<AtomicI64>,
    /// With so many pages a checkpoint is due.
    due: i64,
    /// Pages in the WAL when a checkpoint left a rest; 0: it left none; `WORKING`: the thread is at it.
    rest: Arc<AtomicI64>,
}

const WORKING: i64 = -1;

impl Checkpointer {
    /// Counts what `writer` commits, and starts the thread.
    pub(super) fn start(writer: &mut Connection, database: &Path) -> Result<Self, Error> {
        let (pages, rest) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
        let counter = Arc::clone(&pages);
        writer.wal_hook(Some(move |_: &mut Wal, pages| {
            counter.store(i64::from(pages), Relaxed);
            Ok(())
        }))?;
        let conn = Connection::open(database)?;
        schema::keep_wal(&conn)?;
        conn.execute_batch("PRAGMA synchronous=FULL; PRAGMA busy_timeout=0;")?;
        let (wake, woken) = sync_channel(1);
        let left = Arc::clone(&rest);
        std::thread::Builder::new()
            .name("bursa-checkpoint".to_owned())
            .spawn(move || work(&conn, &woken, &left))
            .map_err(Error::io("cannot start a thread for", database))?;
        Ok(Self { wake, pages, due: DUE_PAGES, rest })
    }

    /// Notes that the writer has committed.
    pub(super) fn wrote(&mut self, conn: &Connection, large: bool) {
        let pages = self.pages.load(Relaxed);
        if pages + DUE_PAGES < self.due {
            // The WAL began anew.
            self.due = DUE_PAGES;
        }
        let rest = self.rest.load(Relaxed);
        if rest > if large { BEHIND_PAGES } else { 0 } {
            if passive(conn).is_some_and(|(pages, copied)| copied == pages) {
                self.rest.store(0, Relaxed);
            }
        } else if pages >= self.due && rest != WORKING {
            self.due = pages + DUE_PAGES;
            self.rest.store(WORKING, Relaxed);
            let _ = self.wake.try_send(());
        }
    }
}

fn work(conn: &Connection, woken: &Receiver<()>, rest: &AtomicI64) {
    while woken.recv().is_ok() {
        let left = passive(conn).filter(|(pages, copied)| copied < pages);
        rest.store(left.map_or(0, |(pages, _)| pages), Relaxed);
    }
}

/// Copies what can be copied without waiting for anybody: the pages that are in the WAL then. How many there are, and how
/// many of them are copied.
pub(super) fn passive(conn: &Connection) -> Option<(i64, i64)> {
    let pages = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)));
    pages.inspect_err(|error| tracing::warn!(%error, "a checkpoint failed")).ok()
}

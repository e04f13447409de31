//! Checkpoints beside the writer: a thread of its own copies the WAL into the database while commits go on.
//!
//! A passive checkpoint never finishes while the writer appends, so when the WAL has grown far beyond its size the
//! writer itself does the small rest between two transactions, and its next commit starts at the WAL's beginning again.

use super::{Error, schema};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes written after which a checkpoint is due: half of the WAL's size.
const DUE_BYTES: usize = 4 << 20;
/// Pages of WAL beyond which the writer does the rest: 32 MiB.
const BEHIND_PAGES: i64 = 8_192;

/// The writer's side: tells the thread when to work.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    behind: Arc<AtomicBool>,
    written: usize,
}

impl Checkpointer {
    pub(super) fn start(database: &Path) -> Result<Self, Error> {
        let conn = Connection::open(database)?;
        schema::keep_wal(&conn)?;
        conn.execute_batch("PRAGMA synchronous=FULL; PRAGMA busy_timeout=0;")?;
        let (wake, woken) = sync_channel(1);
        let behind = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&behind);
        std::thread::Builder::new()
            .name("bursa-checkpoint".to_owned())
            .spawn(move || work(&conn, &woken, &flag))
            .map_err(Error::io("cannot start a thread for", database))?;
        Ok(Self { wake, behind, written: 0 })
    }

    /// Notes a commit of about `bytes`. `may_block`: the caller has the time to do the rest of a checkpoint.
    pub(super) fn wrote(&mut self, conn: &Connection, bytes: usize, may_block: bool) {
        self.written += bytes;
        if self.written >= DUE_BYTES {
            self.written = 0;
            let _ = self.wake.try_send(());
        }
        if may_block && self.behind.swap(false, Ordering::Relaxed) {
            passive(conn);
        }
    }
}

fn work(conn: &Connection, woken: &Receiver<()>, behind: &AtomicBool) {
    while woken.recv().is_ok() {
        if passive(conn).is_some_and(|pages| pages > BEHIND_PAGES) {
            behind.store(true, Ordering::Relaxed);
        }
    }
}

/// Copies what can be copied without waiting for anybody: the pages that are in the WAL then.
pub(super) fn passive(conn: &Connection) -> Option<i64> {
    let pages = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1));
    pages.inspect_err(|error| tracing::warn!(%error, "a checkpoint failed")).ok()
}

//! Retention: ended tasks go when their time is over or their user has too much, oldest first, a few rows at a time.
//!
//! A task goes whole: record, arguments, payload files, and what of its group is empty then. Numbers are never given
//! twice, so a stream's cursor stays right. Files are removed after the commit that forgets them; what a crash leaves
//! between the two, a walk over the directories finds.

use super::memo::Memo;
use super::packed::Record;
use super::slots::BLOCK_SHIFT;
use super::write::Users;
use super::{Error, SqliteStore, live, row_id, row_n, row_user, shares};
use bursa_core::id::Hash;
use bursa_core::time::Wall;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::atomic::Ordering::Relaxed;

/// Ended tasks that one step removes: a few milliseconds.
const STEP_ROWS: usize = 256;
/// Files that one step removes.
const STEP_FILES: usize = 64;
/// Users and deleted functions that one step looks at.
const STEP_LOOKS: usize = 64;

/// How long what has ended is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Milliseconds after its end.
    pub(crate) keep_ms: u64,
    /// Bytes of one user: beyond them his oldest go earlier.
    pub(crate) per_user: u64,
}

/// Where the sweep is: it goes round and round.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    user_no: i64,
    directory: u8,
    /// Payload files of memoized results that went otherwise.
    pub(super) freed: BTreeSet<Hash>,
}

/// What one step removes.
#[derive(Debug, Default)]
struct Step {
    rows: usize,
    /// Memoized results.
    entries: usize,
    files: BTreeSet<Hash>,
    groups: BTreeSet<[u8; 16]>,
    /// Blocks of slots.
    blocks: BTreeSet<i64>,
    /// A whole round over the users is done.
    around: bool,
}

impl Step {
    fn is_full(&self) -> bool {
        self.rows + self.entries >= STEP_ROWS || self.files.len() >= STEP_FILES
    }
}

impl SqliteStore {
    /// One step; true when there is more to do at once.
    pub(crate) fn sweep(&mut self, retention: Retention, now: Wall) -> bool {
        match self.sweep_step(retention, now) {
            Ok(more) => more,
            Err(error) => {
                if !self.conn.is_autocommit() {
                    let _ = self.conn.execute_batch("ROLLBACK");
                }
                self.forget_counters();
                tracing::warn!(%error, "what is older than its retention could not be removed; it is tried again");
                false
            }
        }
    }

    fn sweep_step(&mut self, retention: Retention, now: Wall) -> Result<bool, Error> {
        let horizon = now.0.saturating_sub(retention.keep_ms);
        let mut step = Step::default();
        while step.files.len() < STEP_FILES
            && let Some(hash) = self.sweep.freed.pop_first()
        {
            step.files.insert(hash);
        }
        let mut memo = Memo::new(&self.conn, &self.payloads, self.memo);
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..STEP_LOOKS {
            let Some(user_no) = self.next_user()? else {
                self.sweep.user_no = 0;
                step.around = true;
                break;
            };
            remove_ended(&self.conn, user_no, horizon, retention.per_user, &mut step)?;
            let most = STEP_ROWS.saturating_sub(step.rows + step.entries);
            step.entries += memo.trim(user_no, now, most)?;
            live::settle(&self.conn, user_no)?;
            if step.is_full() {
                break;
            }
            self.sweep.user_no = user_no;
        }
        let freed = memo.finish()?;
        step.files.extend(freed);
        remove_groups(&self.conn, &step.groups)?;
        remove_blocks(&self.conn, &step.blocks)?;
        if step.around {
            remove_functions(&self.conn, horizon, &mut step)?;
            shares::forget_use(&self.conn, now)?;
        }
        let mut unneeded = Vec::new();
        for hash in &step.files {
            if !is_needed(&self.conn, hash)? {
                unneeded.push(*hash);
            }
        }
        self.conn.execute_batch("COMMIT")?;
        for hash in &unneeded {
            self.payloads.remove(hash)?;
        }
        self.metrics.removed.fetch_add(step.rows as u64, Relaxed);
        self.metrics.removed_files.fetch_add(unneeded.len() as u64, Relaxed);
        if step.around {
            self.remove_orphans()?;
        }
        Ok(!step.around)
    }

    fn next_user(&self) -> Result<Option<i64>, Error> {
        let mut find = self.conn.prepare_cached("SELECT no FROM users WHERE no > ?1 ORDER BY no LIMIT 1")?;
        Ok(find.query_row([self.sweep.user_no], |row| row.get(0)).optional()?)
    }

    /// Removes the files of one directory that no row names. One that is being written ahead may be among
    /// them: its transaction looks whether it is still there.
    fn remove_orphans(&mut self) -> Result<(), Error> {
        let directory = self.sweep.directory;
        self.sweep.directory = directory.wrapping_add(1);
        for (path, hash) in self.payloads.list(directory)? {
            let needed = match &hash {
                Some(hash) => is_needed(&self.conn, hash)?,
                None => false,
            };
            if !needed {
                tracing::info!(file = %path.display(), "a payload file that nothing names is removed");
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(Error::io("cannot remove", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    pub(super) fn forget_counters(&mut self) {
        self.users = Users::default();
    }
}

/// Removes a user's oldest records that are over their time, or that he has no room for.
fn remove_ended(
    conn: &Connection,
    user_no: i64,
    horizon: u64,
    per_user: u64,
    step: &mut Step,
) -> Result<(), Error> {
    let range = [row_id(user_no, 0), row_id(user_no + 1, 0)];
    let newest = conn
        .prepare_cached("SELECT record FROM results WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1")?
        .query_row(range, |row| Ok(Record::read(row, 0)?.total))
        .optional()?;
    let Some(newest) = newest else { return Ok(()) };
    let mut last = None;
    while !step.is_full() {
        let first = conn
            .prepare_cached(
                "SELECT id, record, file FROM results WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1",
            )?
            .query_row(range, |row| {
                let (id, record) = (row.get(0)?, Record::read(row, 1)?);
                let over = record.ended.0 < horizon || newest.saturating_sub(record.total) >= per_user;
                Ok(over.then_some(Ended { id, record, file: row.get(2)? }))
            })
            .optional()?;
        let Some(Some(ended)) = first else { break };
        last = Some(ended.id);
        remove_task(conn, ended, step)?;
    }
    if let Some(last) = last {
        conn.prepare_cached("UPDATE users SET last_result = max(last_result, ?2) WHERE no = ?1")?
            .execute(params![user_no, row_n(last).cast_signed()])?;
    }
    Ok(())
}

struct Ended {
    id: i64,
    record: Record,
    file: Option<[u8; 32]>,
}

fn remove_task(conn: &Connection, ended: Ended, step: &mut Step) -> Result<(), Error> {
    conn.prepare_cached("DELETE FROM results WHERE id = ?1")?.execute([ended.id])?;
    let removed: Option<(i64, Option<[u8; 32]>)> = conn
        .prepare_cached("DELETE FROM tasks WHERE task = ?1 RETURNING id, file")?
        .query_row([ended.record.task.as_bytes().as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    step.files.extend(ended.file.map(Hash));
    step.rows += 1;
    let Some((id, file)) = removed else { return Ok(()) };
    conn.prepare_cached("DELETE FROM charges WHERE id = ?1")?.execute([id])?;
    step.files.extend(file.map(Hash));
    step.groups.insert(*ended.record.group.as_bytes());
    step.blocks.insert(id >> BLOCK_SHIFT);
    conn.prepare_cached("UPDATE users SET last_task = max(last_task, ?2) WHERE no = ?1")?
        .execute(params![row_user(id), row_n(id).cast_signed()])?;
    Ok(())
}

/// Removes ranges without tasks, and groups without ranges.
fn remove_groups(conn: &Connection, groups: &BTreeSet<[u8; 16]>) -> Result<(), Error> {
    for group in groups {
        conn.prepare_cached(
            "DELETE FROM ranges WHERE grp = ?1
             AND NOT EXISTS (SELECT 1 FROM tasks WHERE id BETWEEN ranges.first AND ranges.last)",
        )?
        .execute([group.as_slice()])?;
        conn.prepare_cached(
            "DELETE FROM groups WHERE grp = ?1 AND NOT EXISTS (SELECT 1 FROM ranges WHERE grp = ?1)",
        )?
        .execute([group.as_slice()])?;
        // Somebody else may take its id.
        conn.prepare_cached(
            "DELETE FROM shares WHERE thing = 4 AND object = ?1 AND NOT EXISTS (SELECT 1 FROM groups WHERE grp = ?1)",
        )?
        .execute([group.as_slice()])?;
    }
    Ok(())
}

/// Removes blocks without tasks.
fn remove_blocks(conn: &Connection, blocks: &BTreeSet<i64>) -> Result<(), Error> {
    let sql =
        "DELETE FROM ends WHERE block = ?1 AND NOT EXISTS (SELECT 1 FROM tasks WHERE id BETWEEN ?2 AND ?3)";
    for block in blocks {
        let first = block << BLOCK_SHIFT;
        conn.prepare_cached(sql)?.execute([*block, first, first + (1 << BLOCK_SHIFT) - 1])?;
    }
    Ok(())
}

/// Removes functions that were deleted long ago and that no live task calls, and bodies that no function has.
fn remove_functions(conn: &Connection, horizon: u64, step: &mut Step) -> Result<(), Error> {
    let sql = "SELECT no, hash, function FROM functions WHERE deleted > 0 AND deleted < ?1";
    let mut old: Vec<(i64, [u8; 32], [u8; 16])> = {
        let mut find = conn.prepare_cached(sql)?;
        let rows =
            find.query_map([horizon.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<Result<_, _>>()?
    };
    if old.is_empty() {
        return Ok(());
    }
    let called = live::called(conn, &old.iter().map(|(.., function)| *function).collect())?;
    old.retain(|(.., function)| !called.contains(function));
    for (no, hash, _) in old.into_iter().take(STEP_LOOKS) {
        conn.prepare_cached("DELETE FROM functions WHERE no = ?1")?.execute([no])?;
        let removed = conn
            .prepare_cached(
                "DELETE FROM bodies WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM functions WHERE hash = ?1)",
            )?
            .execute([hash.as_slice()])?;
        if removed > 0 {
            step.files.insert(Hash(hash));
        }
    }
    Ok(())
}

/// Whether a row names the payload file `hash`.
pub(super) fn is_needed(conn: &Connection, hash: &Hash) -> Result<bool, Error> {
    let mut find = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM tasks WHERE file = ?1) OR EXISTS (SELECT 1 FROM results WHERE file = ?1)
         OR EXISTS (SELECT 1 FROM memo WHERE file = ?1) OR EXISTS (SELECT 1 FROM bodies WHERE hash = ?1 AND data IS NULL)",
    )?;
    Ok(find.query_row([hash.0.as_slice()], |row| row.get(0))?)
}

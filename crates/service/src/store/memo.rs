//! Memoized results: found when equal calls are accepted, kept when such a call succeeds, both in its own transaction.
//!
//! A result is one user's and nobody else's: the user is part of the key. What a transaction changes in the users' sums
//! is written at its end. Payload files are shared with the tasks that name the same content; retention asks both.

use super::payload::Payloads;
use super::rows::{Content, Memoized};
use super::{Error, row_user};
use bursa_core::id::{EndpointId, Hash};
use bursa_core::limits;
use bursa_core::task::TaskSpec;
use bursa_core::time::Wall;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;

/// How long and how much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoLimits {
    /// Milliseconds after the call that made it.
    pub(crate) keep_ms: u64,
    /// Bytes of one user: beyond them go those first that were not used for longest.
    pub(crate) per_user: u64,
}

/// What names equal calls of one user.
pub(super) type Key = [u8; 32];

/// The key of a task whose arguments have this hash.
pub(super) fn key(spec: &TaskSpec, args: &Hash) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(spec.user.as_bytes());
    hasher.update(&spec.hash.0);
    hasher.update(spec.endpoint.as_bytes());
    // Its length tells whether there is one: all parts but this have one length.
    hasher.update(spec.container.as_ref().map_or(&[], |named| named.container.as_bytes().as_slice()));
    hasher.update(&args.0);
    *hasher.finalize().as_bytes()
}

/// The row of a key.
fn id(key: &Key) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    i64::from_be_bytes([a, b, c, d, e, f, g, h]) & i64::MAX
}

/// A result that was found.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) payload: Content,
    /// Bytes of it, wherever they are.
    pub(super) size: u64,
}

/// What one user's sums change by.
#[derive(Debug, Default)]
struct Tally {
    entries: i64,
    bytes: i64,
    hits: i64,
}

/// The memo in one transaction. It costs nothing where no task takes part.
#[derive(Debug)]
pub(super) struct Memo<'c> {
    conn: &'c Connection,
    payloads: &'c Payloads,
    limits: MemoLimits,
    tallies: BTreeMap<i64, Tally>,
    /// Of the endpoint that was asked for last.
    python: Option<(EndpointId, String)>,
    /// Payload files that may be needed by nobody now.
    freed: Vec<Hash>,
}

impl<'c> Memo<'c> {
    pub(super) const fn new(conn: &'c Connection, payloads: &'c Payloads, limits: MemoLimits) -> Self {
        Self { conn, payloads, limits, tallies: BTreeMap::new(), python: None, freed: Vec::new() }
    }

    /// The result of an equal call that is not too old and was made by the Python that the endpoint's workers have.
    pub(super) fn find(&mut self, key: &Key, spec: &TaskSpec) -> Result<Option<Hit>, Error> {
        let mut find = self
            .conn
            .prepare_cached("SELECT key, made, used, data, file, size, python FROM memo WHERE id = ?1")?;
        let mut rows = find.query([id(key)])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (found, made): (Key, i64) = (row.get(0)?, row.get(1)?);
        let python: String = row.get(6)?;
        if found != *key || made < self.horizon(spec.submitted) {
            return Ok(None);
        }
        let (used, payload): (i64, _) = (row.get(2)?, super::read::content(row, 3, 4)?);
        let size = row.get::<_, i64>(5)?.cast_unsigned().saturating_sub(limits::MEMO_ENTRY_BYTES);
        drop(rows);
        drop(find);
        if self.python(&spec.endpoint)? != python {
            return Ok(None);
        }
        if let Content::File(hash) = &payload
            && !self.payloads.has(hash)
        {
            return Ok(None);
        }
        let now = spec.submitted.0.cast_signed();
        if now.saturating_sub(used) >= limits::MEMO_USED_MS {
            let mut touch = self.conn.prepare_cached("UPDATE memo SET used = ?2 WHERE id = ?1")?;
            touch.execute([id(key), now])?;
        }
        Ok(Some(Hit { payload, size }))
    }

    /// The Python of an endpoint's workers.
    fn python(&mut self, endpoint: &EndpointId) -> Result<&str, Error> {
        if self.python.as_ref().is_none_or(|(of, _)| of != endpoint) {
            let mut find = self.conn.prepare_cached("SELECT python FROM endpoints WHERE endpoint = ?1")?;
            let python = find.query_row([endpoint.as_bytes().as_slice()], |row| row.get(0)).optional()?;
            self.python = Some((*endpoint, python.unwrap_or_default()));
        }
        Ok(self.python.as_ref().map_or("", |(_, python)| python))
    }

    /// An endpoint may have another Python now.
    pub(super) fn python_changed(&mut self) {
        self.python = None;
    }

    /// What was made before this is too old.
    const fn horizon(&self, now: Wall) -> i64 {
        now.0.saturating_sub(self.limits.keep_ms).cast_signed()
    }

    /// So many tasks of a user ended with results that were found.
    pub(super) fn hits(&mut self, user_no: i64, hits: usize) {
        self.tallies.entry(user_no).or_default().hits += hits.cast_signed() as i64;
    }

    /// Keeps the result of the task in row `task` for calls of its key; false where its function or endpoint is deleted,
    /// or its user has so much that retention must come first.
    pub(super) fn keep(
        &mut self,
        task: i64,
        key: &Key,
        ended: Wall,
        payload: &Bytes,
        file: Option<&Hash>,
    ) -> Result<bool, Error> {
        let user_no = row_user(task);
        let size = payload.len() as u64 + limits::MEMO_ENTRY_BYTES;
        if size > self.limits.per_user || self.bytes(user_no)? > self.limits.per_user.saturating_mul(2) {
            return Ok(false);
        }
        self.remove(id(key))?;
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO memo (id, key, user_no, hash, endpoint, python, made, used, size, data, file)
             SELECT ?1, ?2, ?3, f.hash, e.endpoint, e.python, ?4, ?4, ?5, ?6, ?7 FROM tasks t
             JOIN functions f ON f.function = substr(t.spec, 17, 16) JOIN endpoints e ON e.endpoint = substr(t.spec, 33, 16)
             WHERE t.id = ?8 AND f.deleted = 0 AND e.deleted = 0",
        )?;
        let data = file.is_none().then_some(payload.as_ref());
        let file = file.map(|hash| hash.0.as_slice());
        let (made, size) = (ended.0.cast_signed(), size.cast_signed());
        let kept = insert.execute(params![id(key), key, user_no, made, size, data, file, task])? > 0;
        if kept {
            let tally = self.tallies.entry(user_no).or_default();
            tally.entries += 1;
            tally.bytes += size;
        }
        Ok(kept)
    }

    /// Bytes that the user has there now.
    fn bytes(&self, user_no: i64) -> Result<u64, Error> {
        let mut find = self.conn.prepare_cached("SELECT memo_bytes FROM users WHERE no = ?1")?;
        let stored: i64 = find.query_row([user_no], |row| row.get(0))?;
        let change = self.tallies.get(&user_no).map_or(0, |tally| tally.bytes);
        Ok(stored.saturating_add(change).max(0).cast_unsigned())
    }

    /// Removes one, if it is there.
    fn remove(&mut self, id: i64) -> Result<bool, Error> {
        let mut remove =
            self.conn.prepare_cached("DELETE FROM memo WHERE id = ?1 RETURNING user_no, size, file")?;
        let removed: Option<(i64, i64, Option<[u8; 32]>)> =
            remove.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((user_no, size, file)) = removed else { return Ok(false) };
        let tally = self.tallies.entry(user_no).or_default();
        tally.entries -= 1;
        tally.bytes -= size;
        self.freed.extend(file.map(Hash));
        Ok(true)
    }

    /// Removes these of a user; how many there were.
    pub(super) fn clear(&mut self, ids: &[i64]) -> Result<usize, Error> {
        let mut removed = 0;
        for id in ids {
            removed += usize::from(self.remove(*id)?);
        }
        Ok(removed)
    }

    /// Removes what of a user is too old, and what was not used for longest while he has too much; `most` at most.
    pub(super) fn trim(&mut self, user_no: i64, now: Wall, most: usize) -> Result<usize, Error> {
        let horizon = self.horizon(now);
        let mut removed = 0;
        while removed < most {
            let mut find = self
                .conn
                .prepare_cached("SELECT id, used FROM memo WHERE user_no = ?1 ORDER BY used LIMIT 1")?;
            let first: Option<(i64, i64)> =
                find.query_row([user_no], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            // One that was not used since then was not made since then.
            let over = match first {
                Some((_, used)) => used < horizon || self.bytes(user_no)? > self.limits.per_user,
                None => false,
            };
            let Some((id, _)) = first.filter(|_| over) else { break };
            self.remove(id)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Writes the users' sums. Returns the files that may be needed by nobody now.
    pub(super) fn finish(self) -> Result<Vec<Hash>, Error> {
        for (user_no, tally) in self.tallies {
            let mut add = self.conn.prepare_cached(
                "UPDATE users SET memo_entries = memo_entries + ?2, memo_bytes = memo_bytes + ?3,
                 memo_hits = memo_hits + ?4 WHERE no = ?1",
            )?;
            add.execute([user_no, tally.entries, tally.bytes, tally.hits])?;
        }
        Ok(self.freed)
    }
}

/// The stored number of a task's part in memoization.
pub(super) const fn code_of(memo: Option<Memoized>) -> u8 {
    match memo {
        None => 0,
        Some(Memoized::Stored) => 1,
        Some(Memoized::Hit) => 2,
    }
}

/// The part of a stored number.
pub(super) const fn of_code(code: u8) -> Option<Memoized> {
    match code {
        1 => Some(Memoized::Stored),
        2 => Some(Memoized::Hit),
        _ => None,
    }
}

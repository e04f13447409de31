//! What lives, found by the slots: how far a start need not look, and which deleted functions are needed still.

use super::slots::{self, BLOCK_SHIFT};
use super::{Error, row_id, row_n};
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Tasks that one step looks at: a few milliseconds.
const STEP_TASKS: u64 = 1 << 19;
/// A mark moves by a few blocks at least: it is not worth a commit for each call.
const STEP_LEAST: u64 = 8 << BLOCK_SHIFT;

/// Moves the mark up to which all of a user's tasks have ended.
pub(super) fn settle(conn: &Connection, user_no: i64) -> Result<(), Error> {
    let settled = settled(conn, user_no)?;
    let newest: Option<i64> = conn
        .prepare_cached("SELECT max(id) FROM tasks WHERE id >= ?1 AND id < ?2")?
        .query_row([row_id(user_no, 0), row_id(user_no + 1, 0)], |row| row.get(0))?;
    let Some(newest) = newest.map(row_n).filter(|newest| *newest >= settled + STEP_LEAST) else {
        return Ok(());
    };
    let mut all = newest.min(settled + STEP_TASKS);
    let mut find =
        conn.prepare_cached("SELECT id FROM tasks WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1")?;
    slots::open(conn, row_id(user_no, settled + 1), row_id(user_no, all), |first, last| {
        let live: Option<i64> = find.query_row([first, last], |row| row.get(0)).optional()?;
        let Some(live) = live else { return Ok(ControlFlow::Continue(())) };
        all = row_n(live) - 1;
        Ok(ControlFlow::Break(()))
    })?;
    if all >= settled + STEP_LEAST {
        conn.prepare_cached("UPDATE users SET settled = ?2 WHERE no = ?1")?
            .execute([user_no, all.cast_signed()])?;
    }
    Ok(())
}

/// Up to this number all of a user's tasks have ended.
pub(super) fn settled(conn: &Connection, user_no: i64) -> Result<u64, Error> {
    let mut find = conn.prepare_cached("SELECT settled FROM users WHERE no = ?1")?;
    Ok(find.query_row([user_no], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

/// Those of `functions` that live tasks call.
pub(super) fn called(conn: &Connection, functions: &BTreeSet<[u8; 16]>) -> Result<BTreeSet<[u8; 16]>, Error> {
    let mut called = BTreeSet::new();
    let mut find =
        conn.prepare_cached("SELECT substr(spec, 17, 16) FROM tasks WHERE id BETWEEN ?1 AND ?2")?;
    let mut users = conn.prepare_cached("SELECT no FROM users")?;
    let mut users = users.query([])?;
    while let Some(user) = users.next()? {
        let no: i64 = user.get(0)?;
        slots::open(conn, row_id(no, settled(conn, no)? + 1), row_id(no + 1, 0) - 1, |first, last| {
            for function in find.query_map([first, last], |row| row.get::<_, [u8; 16]>(0))? {
                called.extend(functions.get(&function?));
                if called.len() == functions.len() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(called)
}

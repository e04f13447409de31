//! A copy of the whole database, made while the service writes, and what it needs to live on in its place.

use super::{Error, Paths, USER_SHIFT, row_n, schema, sweep};
use bursa_core::id::Hash;
use bursa_core::time::Wall;
use rusqlite::{Connection, OpenFlags, params};
use std::path::Path;

/// Result numbers that are left out, so that a stream's cursor from after the backup is below all that follow.
const LEFT_OUT: i64 = 1 << 32;

/// Copies the database to the new file `into`, as it is at one moment; the payload files that the copy names.
pub(crate) fn snapshot(paths: &Paths, into: &Path) -> Result<Vec<Hash>, Error> {
    let conn = schema::open_read(&paths.database).map_err(|error| error.at(&paths.database))?;
    // The copy is written by this connection too.
    conn.execute_batch("PRAGMA query_only=0")?;
    schema::copy_into(&conn, into).map_err(|error| error.at(&paths.database))?;
    named(&open_copy(into)?)
}

/// Whether the live database still names the payload file `hash`: retention may have removed it since the copy.
pub(crate) fn is_named(paths: &Paths, hash: &Hash) -> Result<bool, Error> {
    sweep::is_needed(&schema::open_read(&paths.database)?, hash)
}

/// Checks that `copy` is a whole database of Bursa.
pub(crate) fn check(copy: &Path) -> Result<(), Error> {
    let checked = || {
        let conn = open_copy(copy)?;
        schema::check_ours(&conn)?;
        let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        match found.as_str() {
            "ok" => Ok(()),
            _ => Err(Error::Damaged(format!("it is damaged ({found}); take another backup"))),
        }
    };
    checked().map_err(|error: Error| error.at(copy))
}

/// Makes `copy` ready to take the place of the database at `replaced`; the epoch that it goes on from.
///
/// Attempt numbers and result numbers of after the backup must not be given again (F14), and nobody knows them any
/// more: the epoch becomes the clock's seconds, which no service reaches by starting, and result numbers are left out.
pub(crate) fn begin_again(copy: &Path, replaced: &Paths, now: Wall) -> Result<u32, Error> {
    let known = schema::open_read(&replaced.database).ok().and_then(|conn| epoch(&conn).ok()).unwrap_or(0);
    let mut conn = Connection::open(copy)?;
    schema::bring_up(&mut conn, replaced)?;
    let seconds = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX).min(i64::from(u32::MAX - (1 << 24)));
    conn.execute(
        "UPDATE meta SET value = max(value + 1, ?1 + 1, ?2) WHERE key = 'epoch'",
        params![known, seconds],
    )?;
    conn.execute(
        "UPDATE users SET last_result = ?1 + max(last_result, ifnull((SELECT max(id) & ?2 FROM results
         WHERE id >= users.no << ?3 AND id < (users.no + 1) << ?3), 0))",
        params![LEFT_OUT, row_n(i64::MAX).cast_signed(), USER_SHIFT],
    )?;
    epoch(&conn)
}

fn epoch(conn: &Connection) -> Result<u32, Error> {
    Ok(conn.query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| row.get(0))?)
}

fn open_copy(copy: &Path) -> Result<Connection, Error> {
    Ok(Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

fn named(conn: &Connection) -> Result<Vec<Hash>, Error> {
    let mut find = conn.prepare(
        "SELECT file FROM tasks WHERE file IS NOT NULL UNION SELECT file FROM results WHERE file IS NOT NULL
         UNION SELECT file FROM memo WHERE file IS NOT NULL UNION SELECT hash FROM bodies WHERE data IS NULL",
    )?;
    let rows = find.query_map([], |row| row.get(0).map(Hash))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

//! Secrets of users, sealed, and the functions whose calls have them.

use super::rows::{Change, Changed, Granted, SecretRow};
use super::{Error, Reader, SqliteStore};
use bursa_core::id::{EndpointId, FunctionId, Hash, UserId};
use bursa_core::limits;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

impl SqliteStore {
    /// Of whose calls of which bodies it must be looked whether they have secrets.
    pub(super) fn secretive(&self) -> Result<Vec<(UserId, Hash)>, Error> {
        let sql = "SELECT DISTINCT u.user, g.hash FROM secret_grants g
                   JOIN secrets s ON s.no = g.secret_no JOIN users u ON u.no = s.user_no";
        let mut find = self.conn.prepare(sql)?;
        let rows = find.query_map([], |row| Ok((UserId::from_bytes(row.get(0)?), Hash(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Reader {
    /// A user's secrets by name, without their values.
    pub(crate) fn secrets(&self, user_no: i64) -> Result<Vec<SecretRow>, Error> {
        let conn = self.lock();
        let sql = "SELECT no, user_no, name, created, updated FROM secrets WHERE user_no = ?1 ORDER BY name";
        let mut find = conn.prepare_cached(sql)?;
        let mut grants = conn.prepare_cached(
            "SELECT function, endpoints FROM secret_grants WHERE secret_no = ?1 ORDER BY function",
        )?;
        let rows = find.query_map([user_no], |row| {
            let grants = grants.query_map([row.get::<_, i64>(0)?], |row| {
                Ok((FunctionId::from_bytes(row.get(0)?), endpoints(row, 1)?))
            })?;
            Ok(SecretRow {
                user_no: row.get(1)?,
                name: row.get(2)?,
                created: super::read::wall(row, 3)?,
                updated: super::read::wall(row, 4)?,
                grants: grants.collect::<Result<_, _>>()?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The secrets of this user that calls of functions with this body have: one may be there more than once.
    pub(crate) fn granted(&self, user: &UserId, hash: &Hash) -> Result<Vec<Granted>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached(
            "SELECT s.user_no, s.name, s.sealed, g.endpoints FROM secret_grants g JOIN secrets s ON s.no = g.secret_no
             WHERE g.hash = ?2 AND s.user_no = (SELECT no FROM users WHERE user = ?1) ORDER BY s.name",
        )?;
        let rows = find.query_map(params![user.as_bytes().as_slice(), hash.0.as_slice()], |row| {
            let (user_no, name, sealed) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Granted { user_no, name, sealed, endpoints: endpoints(row, 3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn endpoints(row: &Row<'_>, index: usize) -> rusqlite::Result<Vec<EndpointId>> {
    let packed: Option<Vec<u8>> = row.get(index)?;
    let (ids, _) = packed.as_deref().unwrap_or_default().as_chunks::<16>();
    Ok(ids.iter().map(|id| EndpointId::from_bytes(*id)).collect())
}

/// A change of secrets. What is refused changes nothing.
pub(super) fn apply(conn: &Connection, change: &Change) -> Result<Changed, Error> {
    match change {
        Change::SetSecret { user_no, name, sealed, now } => {
            let no = find(conn, *user_no, name)?;
            if no.is_none() && count(conn, "secrets WHERE user_no = ?1", *user_no)? >= limits::SECRETS {
                return Ok(Changed::Full);
            }
            let hashes = no.map_or(Ok(Vec::new()), |no| hashes(conn, no))?;
            for hash in &hashes {
                if let Some(refused) = too_large(conn, (*user_no, name), hash, sealed.len())? {
                    return Ok(refused);
                }
            }
            conn.execute(
                "INSERT INTO secrets (user_no, name, sealed, created, updated) VALUES (?1, ?2, ?3, ?4, ?4)
                 ON CONFLICT (user_no, name) DO UPDATE SET sealed = excluded.sealed, updated = excluded.updated",
                params![user_no, name, sealed, now.0.cast_signed()],
            )?;
            others(conn, *user_no, hashes)
        }
        Change::DeleteSecret { user_no, name } => {
            let Some(no) = find(conn, *user_no, name)? else { return Ok(Changed::NotFound) };
            let hashes = hashes(conn, no)?;
            conn.execute("DELETE FROM secret_grants WHERE secret_no = ?1", [no])?;
            conn.execute("DELETE FROM secrets WHERE no = ?1", [no])?;
            others(conn, *user_no, hashes)
        }
        Change::GrantSecret { user_no, name, function, hash, endpoints } => {
            let Some(no) = find(conn, *user_no, name)? else { return Ok(Changed::NotFound) };
            if count(conn, "secret_grants WHERE secret_no = ?1", no)? >= limits::SECRET_GRANTS {
                return Ok(Changed::Full);
            }
            let sql = "SELECT length(sealed) FROM secrets WHERE no = ?1";
            let size: i64 = conn.query_row(sql, [no], |row| row.get(0))?;
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if let Some(refused) = too_large(conn, (*user_no, name), hash, size)? {
                return Ok(refused);
            }
            let endpoints: Vec<u8> = endpoints.iter().flat_map(|id| *id.as_bytes()).collect();
            let endpoints = (!endpoints.is_empty()).then_some(endpoints);
            conn.execute(
                "INSERT OR REPLACE INTO secret_grants (secret_no, function, hash, endpoints) VALUES (?1, ?2, ?3, ?4)",
                params![no, function.as_bytes().as_slice(), hash.0.as_slice(), endpoints],
            )?;
            others(conn, *user_no, vec![*hash])
        }
        Change::RevokeSecret { user_no, name, function } => {
            let Some(no) = find(conn, *user_no, name)? else { return Ok(Changed::NotFound) };
            let sql = "DELETE FROM secret_grants WHERE secret_no = ?1 AND function = ?2 RETURNING hash";
            let values = params![no, function.as_bytes().as_slice()];
            match conn.query_row(sql, values, |row| row.get(0)).optional()? {
                Some(hash) => others(conn, *user_no, vec![Hash(hash)]),
                None => Ok(Changed::NotFound),
            }
        }
        other => Err(Error::Damaged(format!("{other:?} is no change of secrets"))),
    }
}

fn find(conn: &Connection, user_no: i64, name: &str) -> Result<Option<i64>, Error> {
    let sql = "SELECT no FROM secrets WHERE user_no = ?1 AND name = ?2";
    Ok(conn.query_row(sql, params![user_no, name], |row| row.get(0)).optional()?)
}

fn count(conn: &Connection, of: &str, no: i64) -> Result<usize, Error> {
    let rows: i64 = conn.query_row(&format!("SELECT count(*) FROM {of}"), [no], |row| row.get(0))?;
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}

fn hashes(conn: &Connection, secret_no: i64) -> Result<Vec<Hash>, Error> {
    let mut find = conn.prepare_cached("SELECT DISTINCT hash FROM secret_grants WHERE secret_no = ?1")?;
    let rows = find.query_map([secret_no], |row| Ok(Hash(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Refuses a secret of `size` bytes, sealed, which with the others of a call would be more than one may have.
fn too_large(
    conn: &Connection,
    (user_no, name): (i64, &str),
    hash: &Hash,
    size: usize,
) -> Result<Option<Changed>, Error> {
    // What a seal adds is more than what is between names and values.
    let sql =
        "SELECT ifnull(sum(length(sealed) + length(name)), 0) FROM secrets WHERE user_no = ?1 AND name <> ?2
               AND no IN (SELECT secret_no FROM secret_grants WHERE hash = ?3)";
    let others: i64 = conn.query_row(sql, params![user_no, name, hash.0.as_slice()], |row| row.get(0))?;
    let bytes = usize::try_from(others).unwrap_or(usize::MAX).saturating_add(size + name.len());
    Ok((bytes > limits::CALL_SECRETS_BYTES).then_some(Changed::TooLarge(bytes)))
}

/// Calls of these bodies by this user have other secrets from now on, or none any more.
fn others(conn: &Connection, user_no: i64, hashes: Vec<Hash>) -> Result<Changed, Error> {
    let user = conn.query_row("SELECT user FROM users WHERE no = ?1", [user_no], |row| row.get(0))?;
    let sql = "SELECT EXISTS (SELECT 1 FROM secret_grants g JOIN secrets s ON s.no = g.secret_no
               WHERE s.user_no = ?1 AND g.hash = ?2)";
    let mut find = conn.prepare_cached(sql)?;
    let others = hashes
        .into_iter()
        .map(|hash| Ok((hash, find.query_row(params![user_no, hash.0.as_slice()], |row| row.get(0))?)));
    let others = others.collect::<Result<_, Error>>()?;
    Ok(Changed::Secrets { user: UserId::from_bytes(user), others })
}

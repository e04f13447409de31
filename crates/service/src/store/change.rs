//! Changes of the registry: functions, containers, endpoints; those of users are in `users`, those of sharing in `shares`.

use super::memo::Memo;
use super::payload::Payloads;
use super::rows::{Added, Change, Changed};
use super::{Error, secrets, shares, users};
use bursa_core::container::Container;
use bursa_core::id::{ContainerId, EndpointId, FunctionId, Hash};
use bursa_core::limits;
use bursa_core::time::Wall;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};

pub(super) fn apply(
    conn: &Connection,
    payloads: &Payloads,
    memo: &mut Memo<'_>,
    change: &Change,
) -> Result<Changed, Error> {
    match change {
        Change::AddFunction { function, user_no, name, description, python, hash, body, container, now } => {
            add_body(conn, payloads, hash, body)?;
            let texts = [name.as_str(), description, python];
            add_function(conn, function, *user_no, texts, (hash, body.len()), container.as_ref(), *now)
        }
        Change::AddContainer { container, user_no, name, description, now } => {
            add_container(conn, container, *user_no, [name, description], *now)
        }
        Change::DeleteContainer { container, user_no } => {
            let sql =
                "UPDATE containers SET deleted = 1 WHERE container = ?1 AND user_no = ?2 AND deleted = 0";
            let changed = conn.execute(sql, params![container.as_bytes().as_slice(), user_no])?;
            Ok(if changed == 0 { Changed::NotFound } else { Changed::Done })
        }
        Change::DeleteFunction { function, user_no } => {
            let sql = "UPDATE functions SET deleted = unixepoch() * 1000 WHERE function = ?1 AND user_no = ?2 AND deleted = 0";
            let changed = conn.execute(sql, params![function.as_bytes().as_slice(), user_no])?;
            Ok(if changed == 0 { Changed::NotFound } else { Changed::Done })
        }
        Change::AddEndpoint { endpoint, user_no, name, description, public_key, now } => {
            let added = add_endpoint(conn, endpoint, *user_no, [name, description, public_key], *now)?;
            Ok(Changed::Endpoint(added))
        }
        Change::RevokeKey { endpoint, user_no } => revoke_key(conn, endpoint, *user_no),
        Change::ClearMemo { ids } => Ok(Changed::Removed(memo.clear(ids)?)),
        Change::Probe => {
            payloads.probe()?;
            conn.execute("UPDATE meta SET value = value WHERE key = 'epoch'", [])?;
            Ok(Changed::Done)
        }
        Change::AddUser { .. }
        | Change::SetUser { .. }
        | Change::SeeIdentity { .. }
        | Change::UnlinkIdentity { .. }
        | Change::LinkIdentity { .. }
        | Change::AddToken { .. }
        | Change::DeleteToken { .. }
        | Change::UseToken { .. } => users::apply(conn, change),
        Change::Share { .. }
        | Change::Unshare { .. }
        | Change::AllowFunctions { .. }
        | Change::AllowMore { .. }
        | Change::AllowLess { .. }
        | Change::AddGroup { .. }
        | Change::DeleteGroup { .. }
        | Change::AddMember { .. }
        | Change::RemoveMember { .. } => shares::apply(conn, change),
        Change::SetSecret { .. }
        | Change::DeleteSecret { .. }
        | Change::GrantSecret { .. }
        | Change::RevokeSecret { .. } => secrets::apply(conn, change),
    }
}

/// Before a key that is let in no longer: it stays, so that it is not registered again.
pub(super) const REVOKED: &str = "revoked ";

/// Marks the key; one that is marked already stays so.
fn revoke_key(conn: &Connection, endpoint: &EndpointId, user_no: i64) -> Result<Changed, Error> {
    let sql = "UPDATE endpoints SET public_key = ?3 || public_key
               WHERE endpoint = ?1 AND user_no = ?2 AND deleted = 0 AND substr(public_key, 1, 8) <> ?3
               RETURNING substr(public_key, 9)";
    let values = params![endpoint.as_bytes().as_slice(), user_no, REVOKED];
    let key: Option<String> = conn.query_row(sql, values, |row| row.get(0)).optional()?;
    Ok(key.map_or(Changed::Done, |public_key| Changed::KeyRevoked { endpoint: *endpoint, public_key }))
}

/// Whether the key was revoked, of whatever endpoint it was.
fn is_revoked(conn: &Connection, public_key: &str) -> Result<bool, Error> {
    let sql = "SELECT count(*) FROM endpoints WHERE public_key = ?2 || ?1";
    Ok(conn.query_row(sql, params![public_key, REVOKED], |row| row.get::<_, i64>(0))? > 0)
}

/// An endpoint whose key was revoked gets another.
fn replace_key(conn: &Connection, endpoint: &EndpointId, public_key: &str) -> Result<Added, Error> {
    let sql = "UPDATE OR IGNORE endpoints SET public_key = ?2 WHERE endpoint = ?1";
    match conn.execute(sql, params![endpoint.as_bytes().as_slice(), public_key])? {
        0 => Ok(Added::KeyTaken),
        _ => Ok(Added::New { endpoint: *endpoint, public_key: public_key.to_owned() }),
    }
}

fn add_body(conn: &Connection, payloads: &Payloads, hash: &Hash, body: &Bytes) -> Result<(), Error> {
    let data = match body.len() {
        0..=limits::INLINE_BYTES => Some(body.as_ref()),
        _ => payloads.put(body).map(|_| None)?,
    };
    conn.execute(
        "INSERT INTO bodies (hash, size, data) VALUES (?1, ?2, ?3) ON CONFLICT (hash) DO NOTHING",
        params![hash.0.as_slice(), body.len().cast_signed(), data],
    )?;
    Ok(())
}

fn add_function(
    conn: &Connection,
    function: &FunctionId,
    user_no: i64,
    [name, description, python]: [&str; 3],
    (hash, size): (&Hash, usize),
    container: Option<&ContainerId>,
    now: Wall,
) -> Result<Changed, Error> {
    conn.execute(
        "INSERT INTO functions (function, user_no, hash, name, description, python, size, registered, container)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            function.as_bytes().as_slice(),
            user_no,
            hash.0.as_slice(),
            name,
            description,
            python,
            size.cast_signed(),
            now.0.cast_signed(),
            container.map(|id| id.as_bytes().as_slice())
        ],
    )?;
    Ok(Changed::Done)
}

fn add_container(
    conn: &Connection,
    container: &Container,
    user_no: i64,
    [name, description]: [&str; 2],
    now: Wall,
) -> Result<Changed, Error> {
    conn.execute(
        "INSERT INTO containers (container, user_no, name, kind, location, description, registered)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            container.container.as_bytes().as_slice(),
            user_no,
            name,
            container.kind.as_str(),
            container.location,
            description,
            now.0.cast_signed()
        ],
    )?;
    Ok(Changed::Done)
}

fn add_endpoint(
    conn: &Connection,
    endpoint: &EndpointId,
    user_no: i64,
    [name, description, public_key]: [&str; 3],
    now: Wall,
) -> Result<Added, Error> {
    let id = endpoint.as_bytes().as_slice();
    let found: Option<(i64, String, bool)> = conn
        .query_row("SELECT user_no, public_key, deleted FROM endpoints WHERE endpoint = ?1", [id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    match found {
        Some((owner, _, _)) if owner != user_no => return Ok(Added::IdTaken),
        Some((_, _, true)) => return Ok(Added::Deleted),
        Some((_, key, false)) if key == public_key => return Ok(Added::Same),
        Some((_, key, false)) if !key.starts_with(REVOKED) => return Ok(Added::IdTaken),
        _ if is_revoked(conn, public_key)? => return Ok(Added::Revoked),
        Some(_) => return replace_key(conn, endpoint, public_key),
        None => {}
    }
    // Rows stay when endpoints are deleted, so the last number is how many there are.
    let last: Option<i64> = conn.query_row("SELECT max(no) FROM endpoints", [], |row| row.get(0))?;
    if last.is_some_and(|last| last.cast_unsigned() >= limits::ENDPOINTS as u64) {
        return Ok(Added::Full);
    }
    let inserted = conn.execute(
        "INSERT INTO endpoints (endpoint, user_no, name, description, public_key, registered)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (public_key) DO NOTHING",
        params![id, user_no, name, description, public_key, now.0.cast_signed()],
    )?;
    if inserted == 0 {
        return Ok(Added::KeyTaken);
    }
    Ok(Added::New { endpoint: *endpoint, public_key: public_key.to_owned() })
}

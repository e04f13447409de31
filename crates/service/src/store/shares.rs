//! With whom things are shared, within which bounds, and what was used of them; groups of users.

use super::rows::{Change, Changed, GroupRow};
use super::{Error, Reader};
use crate::policy::{Access, Period, Role, Share, Terms, With};
use bursa_core::id::{EndpointId, FunctionId};
use bursa_core::limits;
use bursa_core::time::Wall;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A kind of thing that can be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    Function = 1,
    Container = 2,
    Endpoint = 3,
    /// A group of tasks.
    Tasks = 4,
}

/// One thing, by its id.
pub(crate) type Shared = (Thing, [u8; 16]);

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600_000;

impl Period {
    /// The days since 1970 in which the period of `now` begins and the next one does.
    const fn days(self, now: Wall) -> (u64, u64) {
        let day = now.0 / DAY_MS;
        match self {
            Self::Day => (day, day + 1),
            // The first day of 1970 was a Thursday.
            Self::Week => {
                let monday = day - (day + 3) % 7;
                (monday, monday + 7)
            }
        }
    }

    /// When the next period begins.
    pub(crate) const fn resets(self, now: Wall) -> Wall {
        Wall(self.days(now).1 * DAY_MS)
    }
}

impl Reader {
    /// Whose a thing of `owner` is and with whom it is shared.
    pub(crate) fn access(&self, (thing, object): Shared, owner: i64) -> Result<Access, Error> {
        let sql = "SELECT kind, who, role, functions, core_ms, period, at_once FROM shares
                   WHERE thing = ?1 AND object = ?2 ORDER BY kind, who";
        let conn = self.lock();
        let mut find = conn.prepare_cached(sql)?;
        let shares = find.query_map(params![thing as i64, object.as_slice()], share)?;
        Ok(Access { owner, shares: shares.collect::<Result<_, _>>()? })
    }

    /// Ids of things that others share with this user, at most a page of them.
    pub(crate) fn shared_with(
        &self,
        thing: Thing,
        user_no: i64,
        groups: &[i64],
    ) -> Result<BTreeSet<[u8; 16]>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached(
            "SELECT object FROM shares WHERE kind = ?1 AND who = ?2 AND thing = ?3 LIMIT ?4",
        )?;
        let mut found = BTreeSet::new();
        let groups = groups.iter().map(|no| With::Group(*no));
        for with in groups.chain([With::User(user_no), With::Everybody]) {
            let (kind, who) = packed(with);
            let left = limits::PAGE_ROWS.saturating_sub(found.len()).cast_signed();
            let rows = find.query_map(params![kind, who, thing as i64, left], |row| row.get(0))?;
            for object in rows {
                found.insert(object?);
            }
        }
        Ok(found)
    }

    /// The only functions that an endpoint runs; none: it runs any.
    pub(crate) fn allowed_functions(&self, endpoint: &EndpointId) -> Result<BTreeSet<FunctionId>, Error> {
        allowed(&self.lock(), endpoint)
    }

    /// Core-milliseconds used at an endpoint in the period of `now` by all who come by a share, but its owner.
    pub(crate) fn core_use(
        &self,
        endpoint: &EndpointId,
        owner: i64,
        with: With,
        period: Period,
        now: Wall,
    ) -> Result<u64, Error> {
        let whose = match with {
            With::Everybody => "user_no <> ?3",
            With::User(_) => "user_no = ?4",
            With::Group(_) => {
                "user_no IN (SELECT user_no FROM members WHERE group_no = ?4
                 UNION SELECT i.user_no FROM user_groups g JOIN claims c ON c.issuer = g.issuer AND c.claim = g.claim
                 JOIN identities i ON i.issuer = c.issuer AND i.subject = c.subject WHERE g.no = ?4)"
            }
        };
        let sql = format!(
            "SELECT ifnull(sum(core_us), 0) / 1000 FROM core_use WHERE endpoint = ?1 AND day >= ?2 AND user_no <> ?3 AND {whose}"
        );
        let first = period.days(now).0.cast_signed();
        let who = packed(with).1;
        let conn = self.lock();
        let mut sum = conn.prepare_cached(&sql)?;
        let id = endpoint.as_bytes().as_slice();
        let values: &[&dyn ToSql] = match with {
            With::Everybody => &[&id, &first, &owner],
            With::User(_) | With::Group(_) => &[&id, &first, &owner, &who],
        };
        Ok(sum.query_row(values, |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// All groups of users, by name.
    pub(crate) fn groups(&self) -> Result<Vec<GroupRow>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached(&format!("SELECT {GROUP} FROM user_groups ORDER BY name"))?;
        let rows = find.query_map([], group_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The group of this name or id.
    pub(crate) fn group(&self, named: &str) -> Result<Option<GroupRow>, Error> {
        let id = Uuid::try_parse(named).ok().map(Uuid::into_bytes);
        let sql = format!(
            "SELECT {GROUP} FROM user_groups WHERE name = ?1 OR grp = ?2 ORDER BY grp = ?2 DESC LIMIT 1"
        );
        let id = id.as_ref().map(<[u8; 16]>::as_slice);
        Ok(self.lock().prepare_cached(&sql)?.query_row(params![named, id], group_row).optional()?)
    }

    /// The names of those who were added to a group, in their order.
    pub(crate) fn members(&self, group_no: i64) -> Result<Vec<String>, Error> {
        let conn = self.lock();
        let sql = "SELECT name FROM members JOIN users ON no = user_no WHERE group_no = ?1 ORDER BY name";
        let mut find = conn.prepare_cached(sql)?;
        let rows = find.query_map([group_no], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What people call somebody with whom a thing is shared; `None`: he is gone.
    pub(crate) fn name_of(&self, with: With) -> Result<Option<String>, Error> {
        let (sql, no) = match with {
            With::User(no) => ("SELECT name FROM users WHERE no = ?1", no),
            With::Group(no) => ("SELECT name FROM user_groups WHERE no = ?1", no),
            With::Everybody => return Ok(None),
        };
        let conn = self.lock();
        let mut find = conn.prepare_cached(sql)?;
        Ok(find.query_row([no], |row| row.get(0)).optional()?)
    }
}

/// A change of shares or groups of users.
pub(super) fn apply(conn: &Connection, change: &Change) -> Result<Changed, Error> {
    match change {
        Change::Share { object, share, now } => set_share(conn, *object, share, *now),
        Change::Unshare { object: (thing, object), with } => {
            let (kind, who) = packed(*with);
            let sql = "DELETE FROM shares WHERE thing = ?1 AND object = ?2 AND kind = ?3 AND who = ?4";
            done(conn.execute(sql, params![*thing as i64, object.as_slice(), kind, who])?)
        }
        Change::AllowFunctions { endpoint, functions } => {
            let id = endpoint.as_bytes().as_slice();
            conn.execute("DELETE FROM allowed WHERE endpoint = ?1", [id])?;
            allow(conn, endpoint, functions.iter())?;
            Ok(Changed::Done)
        }
        Change::AllowMore { endpoint, functions } => {
            let there = allowed(conn, endpoint)?;
            let count = there.union(functions).count();
            if count > limits::ALLOWED_FUNCTIONS {
                return Ok(Changed::TooMany(count));
            }
            allow(conn, endpoint, functions.difference(&there))?;
            Ok(Changed::Added(count - there.len()))
        }
        Change::AllowLess { endpoint, function } => {
            let sql = "DELETE FROM allowed WHERE endpoint = ?1 AND function = ?2";
            done(conn.execute(sql, params![endpoint.as_bytes().as_slice(), function.as_bytes().as_slice()])?)
        }
        Change::AddGroup { group, user_no, name, claim, now } => {
            let (issuer, claim) = claim.as_ref().map(|(issuer, claim)| (issuer, claim)).unzip();
            let sql = "INSERT INTO user_groups (grp, name, user_no, issuer, claim, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                       ON CONFLICT (name) DO NOTHING";
            let values = params![group.as_slice(), name, user_no, issuer, claim, now.0.cast_signed()];
            Ok(if conn.execute(sql, values)? == 0 { Changed::Taken } else { Changed::Done })
        }
        Change::DeleteGroup { group_no } => {
            conn.execute("DELETE FROM members WHERE group_no = ?1", [group_no])?;
            conn.execute("DELETE FROM shares WHERE kind = 2 AND who = ?1", [group_no])?;
            done(conn.execute("DELETE FROM user_groups WHERE no = ?1", [group_no])?)
        }
        Change::AddMember { group_no, user_no } => {
            let sql = "INSERT OR IGNORE INTO members (user_no, group_no) VALUES (?1, ?2)";
            conn.execute(sql, [user_no, group_no])?;
            Ok(Changed::Done)
        }
        Change::RemoveMember { group_no, user_no } => done(
            conn.execute("DELETE FROM members WHERE user_no = ?1 AND group_no = ?2", [user_no, group_no])?,
        ),
        other => Err(Error::Damaged(format!("{other:?} is no change of shares"))),
    }
}

fn allowed(conn: &Connection, endpoint: &EndpointId) -> Result<BTreeSet<FunctionId>, Error> {
    let mut find = conn.prepare_cached("SELECT function FROM allowed WHERE endpoint = ?1")?;
    let rows =
        find.query_map([endpoint.as_bytes().as_slice()], |row| Ok(FunctionId::from_bytes(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn allow<'a>(
    conn: &Connection,
    endpoint: &EndpointId,
    functions: impl Iterator<Item = &'a FunctionId>,
) -> Result<(), Error> {
    let mut add = conn.prepare_cached("INSERT INTO allowed (endpoint, function) VALUES (?1, ?2)")?;
    for function in functions {
        add.execute(params![endpoint.as_bytes().as_slice(), function.as_bytes().as_slice()])?;
    }
    Ok(())
}

fn done(changed: usize) -> Result<Changed, Error> {
    Ok(if changed == 0 { Changed::NotFound } else { Changed::Done })
}

fn set_share(conn: &Connection, (thing, object): Shared, share: &Share, now: Wall) -> Result<Changed, Error> {
    let (kind, who) = packed(share.with);
    let Terms { functions, core_ms, at_once } = &share.terms;
    let functions: Vec<u8> = functions.iter().flat_map(|id| *id.as_bytes()).collect();
    let (core_ms, period) = core_ms.map(|(ms, period)| (ms.cast_signed(), period as i64 + 1)).unzip();
    conn.execute(
        "INSERT OR REPLACE INTO shares (thing, object, kind, who, role, functions, core_ms, period, at_once, made)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            thing as i64,
            object.as_slice(),
            kind,
            who,
            share.role as i64,
            (!functions.is_empty()).then_some(functions),
            core_ms,
            period,
            at_once,
            now.0.cast_signed()
        ],
    )?;
    Ok(Changed::Done)
}

/// Kind and number.
const fn packed(with: With) -> (i64, i64) {
    match with {
        With::Everybody => (0, 0),
        With::User(no) => (1, no),
        With::Group(no) => (2, no),
    }
}

fn share(row: &Row<'_>) -> rusqlite::Result<Share> {
    let (kind, who): (i64, i64) = (row.get(0)?, row.get(1)?);
    let with = match kind {
        1 => With::User(who),
        2 => With::Group(who),
        _ => With::Everybody,
    };
    let role = if row.get::<_, i64>(2)? == 1 { Role::Admin } else { Role::User };
    let functions: Option<Vec<u8>> = row.get(3)?;
    let (ids, _) = functions.as_deref().unwrap_or_default().as_chunks::<16>();
    let functions = ids.iter().map(|id| FunctionId::from_bytes(*id)).collect();
    let period = if row.get::<_, Option<i64>>(5)? == Some(1) { Period::Day } else { Period::Week };
    let core_ms = row.get::<_, Option<i64>>(4)?.map(|ms| (ms.cast_unsigned(), period));
    Ok(Share { with, role, terms: Terms { functions, core_ms, at_once: row.get(6)? } })
}

const GROUP: &str = "no, grp, name, user_no, issuer, claim, created";

fn group_row(row: &Row<'_>) -> rusqlite::Result<GroupRow> {
    let claim: Option<(String, String)> = row.get::<_, Option<String>>(4)?.zip(row.get(5)?);
    Ok(GroupRow {
        no: row.get(0)?,
        group: row.get(1)?,
        name: row.get(2)?,
        user_no: row.get(3)?,
        claim,
        created: super::read::wall(row, 6)?,
    })
}

/// Counts what calls take at endpoints that are shared for so many core-hours.
#[derive(Debug, Default)]
pub(super) struct Meter(Option<BTreeSet<EndpointId>>);

impl Meter {
    /// Shares changed: which endpoints are counted is read again.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// A call of this user took `core_us` core-microseconds there.
    pub(super) fn count(
        &mut self,
        conn: &Connection,
        (endpoint, user_no): (&EndpointId, i64),
        core_us: u64,
        at: Wall,
    ) -> Result<(), Error> {
        let counted = match &self.0 {
            Some(known) => known,
            None => self.0.insert(counted(conn)?),
        };
        if !counted.contains(endpoint) {
            return Ok(());
        }
        let day = (at.0 / DAY_MS).cast_signed();
        let sql = "INSERT INTO core_use (endpoint, user_no, day, core_us) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET core_us = core_us + excluded.core_us";
        let values = params![endpoint.as_bytes().as_slice(), user_no, day, core_us.cast_signed()];
        conn.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

fn counted(conn: &Connection) -> Result<BTreeSet<EndpointId>, Error> {
    let mut find =
        conn.prepare("SELECT DISTINCT object FROM shares WHERE thing = 3 AND core_ms IS NOT NULL")?;
    let rows = find.query_map([], |row| Ok(EndpointId::from_bytes(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets what was used before the longest period.
pub(super) fn forget_use(conn: &Connection, now: Wall) -> Result<(), Error> {
    let day = (now.0 / DAY_MS).saturating_sub(31).cast_signed();
    conn.execute("DELETE FROM core_use WHERE day < ?1", [day])?;
    Ok(())
}

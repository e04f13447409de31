//! Users, who they are elsewhere, and their tokens.

use super::rows::{Change, Changed, IdentityRow, TokenRow, UserRow};
use super::{Error, Reader, SqliteStore};
use crate::scope::Scopes;
use bursa_core::id::UserId;
use bursa_core::time::Wall;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::collections::BTreeSet;
use std::sync::Arc;

const USER: &str = "u.no, u.user, u.name, u.admin, u.active, u.kind, u.created";

/// Of a user: the groups that he was added to, and those whose claim an identity of his has.
const GROUPS_OF: &str = "SELECT group_no FROM members WHERE user_no = ?1
    UNION SELECT g.no FROM identities i JOIN claims c USING (issuer, subject)
    JOIN user_groups g ON g.issuer = c.issuer AND g.claim = c.claim WHERE i.user_no = ?1";

/// What a token gives to who has it.
#[derive(Debug, Clone)]
pub(crate) struct TokenGrant {
    pub(crate) user: UserRow,
    /// Its id; `None`: it is another issuer's.
    pub(crate) token: Option<[u8; 16]>,
    pub(crate) scopes: Scopes,
    pub(crate) expires: Option<Wall>,
    pub(crate) used: Wall,
}

impl SqliteStore {
    /// The first user: the owner of this service.
    pub(crate) fn owner(&self) -> Result<Option<UserRow>, Error> {
        let sql = format!("SELECT {USER} FROM users u ORDER BY no LIMIT 1");
        Ok(self.conn.query_row(&sql, [], user_row).optional()?)
    }

    /// A new user; an administrator if he is the first.
    pub(crate) fn create_user(&self, id: [u8; 16], name: &str, now: Wall) -> Result<UserRow, Error> {
        let sql = "INSERT INTO users (user, name, created, admin) VALUES (?1, ?2, ?3, NOT EXISTS (SELECT 1 FROM users))";
        self.conn.execute(sql, params![id.as_slice(), name, now.0.cast_signed()])?;
        user(&self.conn, &UserId::from_bytes(id))?
            .ok_or_else(|| Error::Damaged(format!("no user {name} after adding him")))
    }

    /// A new token of `user` for everything, known by its hash only.
    pub(crate) fn create_token(
        &self,
        id: [u8; 16],
        user: &UserRow,
        name: &str,
        hash: &[u8; 32],
        now: Wall,
    ) -> Result<(), Error> {
        let new =
            NewToken { token: id, hash: *hash, name: name.to_owned(), scopes: Scopes::ALL, expires: None };
        add_token(&self.conn, user.no, &new, now)
    }

    /// Whether a token with this hash is valid.
    pub(crate) fn knows_token(&self, hash: &[u8; 32], now: Wall) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM tokens t JOIN users u ON u.no = t.user_no
                   WHERE t.hash = ?1 AND u.active AND ifnull(t.expires > ?2, 1))";
        Ok(self.conn.query_row(sql, params![hash.as_slice(), now.0.cast_signed()], |row| row.get(0))?)
    }
}

impl Reader {
    /// What the token with this hash gives, if its user is active. Whether it has expired, its reader must look.
    pub(crate) fn token(&self, hash: &[u8; 32]) -> Result<Option<TokenGrant>, Error> {
        let sql = format!(
            "SELECT {USER}, t.scopes, t.expires, t.used, t.token FROM tokens t JOIN users u ON u.no = t.user_no
             WHERE t.hash = ?1 AND u.active"
        );
        let conn = self.lock();
        let found = conn.prepare_cached(&sql)?.query_row([hash.as_slice()], |row| {
            Ok(TokenGrant {
                user: user_row(row)?,
                scopes: Scopes::of_text(&row.get::<_, String>(7)?),
                expires: expiry(row, 8)?,
                used: super::read::wall(row, 9)?,
                token: Some(row.get(10)?),
            })
        });
        let Some(mut grant) = found.optional()? else { return Ok(None) };
        grant.user.groups = groups_of(&conn, grant.user.no)?;
        Ok(Some(grant))
    }

    /// The tokens of a user, oldest first.
    pub(crate) fn tokens(&self, user_no: i64) -> Result<Vec<TokenRow>, Error> {
        let conn = self.lock();
        let sql = "SELECT token, name, created, scopes, expires, used FROM tokens WHERE user_no = ?1
                   ORDER BY created, token";
        let mut find = conn.prepare_cached(sql)?;
        let rows = find.query_map([user_no], |row| {
            Ok(TokenRow {
                token: row.get(0)?,
                name: row.get(1)?,
                created: super::read::wall(row, 2)?,
                scopes: Scopes::of_text(&row.get::<_, String>(3)?),
                expires: expiry(row, 4)?,
                used: Some(super::read::wall(row, 5)?).filter(|used| used.0 > 0),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// All users, in the order in which they came.
    pub(crate) fn users(&self) -> Result<Vec<UserRow>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached(&format!("SELECT {USER} FROM users u ORDER BY no"))?;
        let rows = find.query_map([], user_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The user of this name or id.
    pub(crate) fn user(&self, named: &str) -> Result<Option<UserRow>, Error> {
        let id: Option<UserId> = named.parse().ok();
        let sql = format!(
            "SELECT {USER} FROM users u WHERE name = ?1 OR user = ?2 ORDER BY user = ?2 DESC LIMIT 1"
        );
        let id = id.as_ref().map(|id| id.as_bytes().as_slice());
        Ok(self.lock().prepare_cached(&sql)?.query_row(params![named, id], user_row).optional()?)
    }

    /// The user of this number with his groups, if he is active.
    pub(crate) fn active_user(&self, no: i64) -> Result<Option<UserRow>, Error> {
        let sql = format!("SELECT {USER} FROM users u WHERE no = ?1 AND active");
        let conn = self.lock();
        let Some(user) = conn.prepare_cached(&sql)?.query_row([no], user_row).optional()? else {
            return Ok(None);
        };
        let groups = groups_of(&conn, no)?;
        Ok(Some(UserRow { groups, ..user }))
    }

    /// The id of user `no`.
    pub(crate) fn user_id(&self, no: i64) -> Result<Option<UserId>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached("SELECT user FROM users WHERE no = ?1")?;
        Ok(find.query_row([no], |row| Ok(UserId::from_bytes(row.get(0)?))).optional()?)
    }

    /// The user of an identity with his groups, if his name and claims are known already to be these; `None`: the store is to
    /// be told.
    pub(crate) fn seen(
        &self,
        [issuer, subject, username]: [&str; 3],
        claims: &[String],
    ) -> Result<Option<UserRow>, Error> {
        let sql = format!(
            "SELECT {USER} FROM users u JOIN identities i ON i.user_no = u.no
             WHERE i.issuer = ?1 AND i.subject = ?2 AND i.username = ?3"
        );
        let conn = self.lock();
        let user = conn.prepare_cached(&sql)?.query_row([issuer, subject, username], user_row).optional()?;
        let Some(user) = user else { return Ok(None) };
        let mut find = conn.prepare_cached("SELECT claim FROM claims WHERE issuer = ?1 AND subject = ?2")?;
        let known: Result<BTreeSet<String>, _> =
            find.query_map([issuer, subject], |row| row.get(0))?.collect();
        if known? != claims.iter().cloned().collect() {
            return Ok(None);
        }
        let groups = groups_of(&conn, user.no)?;
        Ok(Some(UserRow { groups, ..user }))
    }

    /// Who a user is elsewhere.
    pub(crate) fn identities(&self, user_no: i64) -> Result<Vec<IdentityRow>, Error> {
        let conn = self.lock();
        let sql =
            "SELECT issuer, subject, username FROM identities WHERE user_no = ?1 ORDER BY issuer, subject";
        let mut find = conn.prepare_cached(sql)?;
        let rows = find.query_map([user_no], |row| {
            Ok(IdentityRow { issuer: row.get(0)?, subject: row.get(1)?, username: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A token to be made, known by its hash only.
#[derive(Debug, Clone)]
pub(crate) struct NewToken {
    pub(crate) token: [u8; 16],
    pub(crate) hash: [u8; 32],
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    pub(crate) expires: Option<Wall>,
}

/// A change of users, identities or tokens.
pub(super) fn apply(conn: &Connection, change: &Change) -> Result<Changed, Error> {
    match change {
        Change::AddUser { user, name, admin, service, token, now } => {
            let sql = "INSERT INTO users (user, name, created, admin, kind) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (name) DO NOTHING";
            let values = params![user.as_bytes().as_slice(), name, now.0.cast_signed(), admin, service];
            if conn.execute(sql, values)? == 0 {
                return Ok(Changed::Taken);
            }
            add_token(conn, conn.last_insert_rowid(), token, *now)?;
            Ok(Changed::Done)
        }
        Change::SetUser { user_no, active, admin } => set_user(conn, *user_no, *active, *admin),
        Change::SeeIdentity { user, issuer, subject, username, groups, now } => {
            let row = see_identity(conn, user, [issuer, subject, username], *now)?;
            set_claims(conn, [issuer, subject], groups)?;
            let groups = groups_of(conn, row.no)?;
            Ok(Changed::User(Arc::new(UserRow { groups, ..row })))
        }
        Change::LinkIdentity { user_no, issuer, subject, username } => {
            let sql =
                "INSERT INTO identities (issuer, subject, user_no, username, seen) VALUES (?1, ?2, ?3, ?4, 0)
                       ON CONFLICT (issuer, subject) DO UPDATE SET user_no = excluded.user_no";
            conn.execute(sql, params![issuer, subject, user_no, username])?;
            Ok(Changed::Done)
        }
        Change::UnlinkIdentity { user_no, issuer, subject } => {
            let sql = "DELETE FROM identities WHERE user_no = ?1 AND issuer = ?2 AND subject = ?3";
            if conn.execute(sql, params![user_no, issuer, subject])? == 0 {
                return Ok(Changed::NotFound);
            }
            set_claims(conn, [issuer, subject], &[])?;
            Ok(Changed::Done)
        }
        Change::AddToken { user_no, token, now } => {
            add_token(conn, *user_no, token, *now)?;
            Ok(Changed::Done)
        }
        Change::DeleteToken { token, user_no } => {
            let sql = "DELETE FROM tokens WHERE token = ?1 AND (?2 IS NULL OR user_no = ?2)";
            let changed = conn.execute(sql, params![token.as_slice(), user_no])?;
            Ok(if changed == 0 { Changed::NotFound } else { Changed::Done })
        }
        Change::UseToken { hash, now } => {
            let sql = "UPDATE tokens SET used = ?2 WHERE hash = ?1";
            conn.prepare_cached(sql)?.execute(params![hash.as_slice(), now.0.cast_signed()])?;
            Ok(Changed::Done)
        }
        other => Err(Error::Damaged(format!("{other:?} is no change of users"))),
    }
}

fn add_token(conn: &Connection, user_no: i64, new: &NewToken, now: Wall) -> Result<(), Error> {
    conn.execute(
        "INSERT INTO tokens (token, hash, user_no, name, created, scopes, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            new.token.as_slice(),
            new.hash.as_slice(),
            user_no,
            new.name,
            now.0.cast_signed(),
            new.scopes.text(),
            new.expires.map(|at| at.0.cast_signed())
        ],
    )?;
    Ok(())
}

/// One administrator stays: without him nobody could make another.
fn set_user(conn: &Connection, no: i64, active: Option<bool>, admin: Option<bool>) -> Result<Changed, Error> {
    let others = "SELECT EXISTS (SELECT 1 FROM users WHERE admin AND active AND no <> ?1)";
    let leaves = active == Some(false) || admin == Some(false);
    if leaves && !conn.query_row(others, [no], |row| row.get::<_, bool>(0))? {
        return Ok(Changed::LastAdmin);
    }
    let changes = "SELECT EXISTS (SELECT 1 FROM users WHERE no = ?1 AND admin <> ?2)";
    if let Some(admin) = admin
        && conn.query_row(changes, params![no, admin], |row| row.get(0))?
    {
        // Tokens that were made for all that he may are for all that he may now.
        let (from, to) = if admin { (Scopes::USUAL, Scopes::ALL) } else { (Scopes::ALL, Scopes::USUAL) };
        let sql = "UPDATE tokens SET scopes = ?3 WHERE user_no = ?1 AND scopes = ?2";
        conn.execute(sql, params![no, from.text(), to.text()])?;
    }
    let sql = "UPDATE users SET active = ifnull(?2, active), admin = ifnull(?3, admin) WHERE no = ?1";
    Ok(if conn.execute(sql, params![no, active, admin])? == 0 { Changed::NotFound } else { Changed::Done })
}

/// The user of an identity: one who is seen for the first time is a new user, under a name that nobody has.
fn see_identity(
    conn: &Connection,
    fresh: &UserId,
    [issuer, subject, username]: [&str; 3],
    now: Wall,
) -> Result<UserRow, Error> {
    let now = now.0.cast_signed();
    let sql =
        "UPDATE identities SET username = ?3, seen = ?4 WHERE issuer = ?1 AND subject = ?2 RETURNING user_no";
    let known = conn.query_row(sql, params![issuer, subject, username, now], |row| row.get(0)).optional()?;
    let no: i64 = match known {
        Some(no) => no,
        None => {
            let no = add_person(conn, fresh, [issuer, subject, username], now)?;
            let sql = "INSERT INTO identities (issuer, subject, user_no, username, seen) VALUES (?1, ?2, ?3, ?4, ?5)";
            conn.execute(sql, params![issuer, subject, no, username, now])?;
            no
        }
    };
    let sql = format!("SELECT {USER} FROM users u WHERE no = ?1");
    Ok(conn.query_row(&sql, [no], user_row)?)
}

/// A name is what others share with: a newcomer never gets one that is taken.
fn add_person(
    conn: &Connection,
    id: &UserId,
    [issuer, subject, username]: [&str; 3],
    now: i64,
) -> Result<i64, Error> {
    let names = [username.to_owned(), format!("{username} ({issuer})"), format!("{subject} ({issuer})")];
    let sql = "INSERT INTO users (user, name, created) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING RETURNING no";
    for name in names.iter().filter(|name| !name.is_empty()).chain([&id.to_string()]) {
        let made =
            conn.query_row(sql, params![id.as_bytes().as_slice(), name, now], |row| row.get(0)).optional()?;
        if let Some(no) = made {
            return Ok(no);
        }
    }
    Err(Error::Damaged(format!("no name is left for user {id}")))
}

fn set_claims(conn: &Connection, [issuer, subject]: [&str; 2], groups: &[String]) -> Result<(), Error> {
    conn.execute("DELETE FROM claims WHERE issuer = ?1 AND subject = ?2", [issuer, subject])?;
    let mut add =
        conn.prepare_cached("INSERT OR IGNORE INTO claims (issuer, subject, claim) VALUES (?1, ?2, ?3)")?;
    for claim in groups {
        add.execute([issuer, subject, claim])?;
    }
    Ok(())
}

fn user(conn: &Connection, id: &UserId) -> Result<Option<UserRow>, Error> {
    let sql = format!("SELECT {USER} FROM users u WHERE user = ?1");
    Ok(conn.query_row(&sql, [id.as_bytes().as_slice()], user_row).optional()?)
}

fn groups_of(conn: &Connection, user_no: i64) -> Result<Vec<i64>, Error> {
    let mut find = conn.prepare_cached(GROUPS_OF)?;
    let rows = find.query_map([user_no], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn expiry(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Wall>> {
    Ok(row.get::<_, Option<i64>>(index)?.map(|at| Wall(at.cast_unsigned())))
}

/// As [`USER`] reads it, without his groups.
fn user_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    Ok(UserRow {
        no: row.get(0)?,
        user: UserId::from_bytes(row.get(1)?),
        name: row.get(2)?,
        admin: row.get(3)?,
        active: row.get(4)?,
        service: row.get(5)?,
        created: super::read::wall(row, 6)?,
        groups: Vec::new(),
    })
}

//! Users and their tokens, as the service needs them before it listens.

use super::rows::UserRow;
use super::{Error, SqliteStore, change};
use bursa_core::id::UserId;
use bursa_core::time::Wall;
use rusqlite::{OptionalExtension as _, params};

impl SqliteStore {
    /// The first user: the owner of this service.
    pub(crate) fn owner(&self) -> Result<Option<UserRow>, Error> {
        let sql = "SELECT no, user, name FROM users ORDER BY no LIMIT 1";
        let row = self.conn.query_row(sql, [], |row| {
            Ok(UserRow { no: row.get(0)?, user: UserId::from_bytes(row.get(1)?), name: row.get(2)? })
        });
        Ok(row.optional()?)
    }

    /// A new user.
    pub(crate) fn create_user(&self, id: [u8; 16], name: &str, now: Wall) -> Result<UserRow, Error> {
        let sql = "INSERT INTO users (user, name, created) VALUES (?1, ?2, ?3) RETURNING no";
        let values = params![id.as_slice(), name, now.0.cast_signed()];
        let no = self.conn.query_row(sql, values, |row| row.get(0))?;
        Ok(UserRow { no, user: UserId::from_bytes(id), name: name.to_owned() })
    }

    /// A new token of `user`, known by its hash only.
    pub(crate) fn create_token(
        &self,
        id: [u8; 16],
        user: &UserRow,
        name: &str,
        hash: &[u8; 32],
        now: Wall,
    ) -> Result<(), Error> {
        change::add_token(&self.conn, &id, user.no, name, hash, now)
    }

    /// Whether a token with this hash is valid.
    pub(crate) fn knows_token(&self, hash: &[u8; 32]) -> Result<bool, Error> {
        let sql = "SELECT count(*) FROM tokens WHERE hash = ?1";
        Ok(self.conn.query_row(sql, [hash.as_slice()], |row| row.get::<_, i64>(0))? > 0)
    }
}

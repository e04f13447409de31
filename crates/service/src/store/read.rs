//! Reading beside the writer: registry, payloads, results after a cursor.

use super::change::REVOKED;
use super::payload::Payloads;
use super::rows::{ContainerRow, Content, EndpointRow, FunctionRow, MemoFilter, MemoSums, Page};
use super::{Error, Paths, SqliteStore, schema};
use bursa_core::container::Container;
use bursa_core::id::{ContainerId, EndpointId, FunctionId, Hash, TaskId};
use bursa_core::time::Wall;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A read connection; shared, one reader at a time.
#[derive(Debug)]
pub(crate) struct Reader {
    conn: Mutex<Connection>,
    payloads: Payloads,
}

const FUNCTION: &str = "no, user_no, function, hash, name, description, python, size, registered, container";
pub(super) const CONTAINER: &str = "container, kind, location, no, user_no, name, description, registered";
const ENDPOINT: &str = "no, user_no, endpoint, name, description, registered, public_key";

impl Reader {
    /// A read connection by itself.
    #[cfg(test)]
    pub(crate) fn open(paths: &Paths) -> Result<Self, Error> {
        let conn = Mutex::new(schema::open_read(&paths.database)?);
        Ok(Self { conn, payloads: Payloads::open(&paths.payloads)? })
    }

    /// A read connection beside `store`, which finds what that has just written without reading files.
    ///
    /// # Errors
    /// The database cannot be opened.
    pub(crate) fn beside(store: &SqliteStore, paths: &Paths) -> Result<Self, Error> {
        let conn = Mutex::new(schema::open_read(&paths.database)?);
        Ok(Self { conn, payloads: store.payloads.clone() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A function that is not deleted.
    pub(crate) fn function(&self, function: &FunctionId) -> Result<Option<FunctionRow>, Error> {
        let sql = format!("SELECT {FUNCTION} FROM functions WHERE function = ?1 AND deleted = 0");
        let id = function.as_bytes().as_slice();
        Ok(self.lock().prepare_cached(&sql)?.query_row([id], function_row).optional()?)
    }

    /// A page of a user's functions; `search` matches name and description.
    pub(crate) fn functions(
        &self,
        user_no: i64,
        search: Option<&str>,
        page: Page,
    ) -> Result<Vec<FunctionRow>, Error> {
        let sql = format!(
            "SELECT {FUNCTION} FROM functions WHERE user_no = ?1 AND deleted = 0 AND no < ?2
             AND (?3 IS NULL OR instr(lower(name), lower(?3)) > 0 OR instr(lower(description), lower(?3)) > 0)
             ORDER BY no DESC LIMIT ?4"
        );
        let conn = self.lock();
        let mut find = conn.prepare_cached(&sql)?;
        let rows = find.query_map(params![user_no, before(page), search, limit(page)], function_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A container that is not deleted.
    pub(crate) fn container(&self, container: &ContainerId) -> Result<Option<ContainerRow>, Error> {
        let sql = format!("SELECT {CONTAINER} FROM containers WHERE container = ?1 AND deleted = 0");
        let id = container.as_bytes().as_slice();
        Ok(self.lock().prepare_cached(&sql)?.query_row([id], container_row).optional()?)
    }

    /// A page of a user's containers; `search` matches name, location and description.
    pub(crate) fn containers(
        &self,
        user_no: i64,
        search: Option<&str>,
        page: Page,
    ) -> Result<Vec<ContainerRow>, Error> {
        let sql = format!(
            "SELECT {CONTAINER} FROM containers WHERE user_no = ?1 AND deleted = 0 AND no < ?2
             AND (?3 IS NULL OR instr(lower(name || char(10) || location || char(10) || description), lower(?3)) > 0)
             ORDER BY no DESC LIMIT ?4"
        );
        let conn = self.lock();
        let mut find = conn.prepare_cached(&sql)?;
        let rows = find.query_map(params![user_no, before(page), search, limit(page)], container_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// An endpoint that is not deleted.
    pub(crate) fn endpoint(&self, endpoint: &EndpointId) -> Result<Option<EndpointRow>, Error> {
        let sql = format!("SELECT {ENDPOINT} FROM endpoints WHERE endpoint = ?1 AND deleted = 0");
        let id = endpoint.as_bytes().as_slice();
        Ok(self.lock().prepare_cached(&sql)?.query_row([id], endpoint_row).optional()?)
    }

    /// A page of a user's endpoints.
    pub(crate) fn endpoints(&self, user_no: i64, page: Page) -> Result<Vec<EndpointRow>, Error> {
        let sql = format!(
            "SELECT {ENDPOINT} FROM endpoints WHERE user_no = ?1 AND deleted = 0 AND no < ?2
             ORDER BY no DESC LIMIT ?3"
        );
        let conn = self.lock();
        let mut find = conn.prepare_cached(&sql)?;
        let rows = find.query_map(params![user_no, before(page), limit(page)], endpoint_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Where a function's body is.
    pub(crate) fn body(&self, hash: &Hash) -> Result<Option<Content>, Error> {
        let data = self
            .lock()
            .prepare_cached("SELECT data FROM bodies WHERE hash = ?1")?
            .query_row([hash.0.as_slice()], |row| row.get::<_, Option<Vec<u8>>>(0))
            .optional()?;
        Ok(data.map(|data| data.map_or(Content::File(*hash), |data| Content::Here(data.into()))))
    }

    /// Where a task's arguments are.
    pub(crate) fn args(&self, task: &TaskId) -> Result<Option<Content>, Error> {
        let sql = "SELECT data, file FROM tasks WHERE task = ?1";
        let id = task.as_bytes().as_slice();
        Ok(self.lock().prepare_cached(sql)?.query_row([id], |row| content(row, 0, 1)).optional()?)
    }

    /// What a user has of memoized results.
    pub(crate) fn memo_sums(&self, user_no: i64) -> Result<MemoSums, Error> {
        let sql = "SELECT memo_entries, memo_bytes, memo_hits FROM users WHERE no = ?1";
        let sums = self.lock().prepare_cached(sql)?.query_row([user_no], |row| {
            let sum = |index| Ok::<_, rusqlite::Error>(row.get::<_, i64>(index)?.max(0).cast_unsigned());
            Ok(MemoSums { entries: sum(0)?, bytes: sum(1)?, hits: sum(2)? })
        });
        Ok(sums?)
    }

    /// Rows of a user's memoized results after the row `after`, in order, at most `most`.
    pub(crate) fn memo_ids(
        &self,
        user_no: i64,
        filter: &MemoFilter,
        after: i64,
        most: usize,
    ) -> Result<Vec<i64>, Error> {
        // `+`: by the rows, in their order. By the index of the user's each page would sort all of them.
        let sql = "SELECT id FROM memo WHERE id > ?1 AND +user_no = ?2 AND (?3 IS NULL OR hash = ?3)
                   AND (?4 IS NULL OR endpoint = ?4) ORDER BY id LIMIT ?5";
        let conn = self.lock();
        let mut find = conn.prepare_cached(sql)?;
        let function = filter.function.as_ref().map(|hash| hash.0.as_slice());
        let endpoint = filter.endpoint.as_ref().map(|id| id.as_bytes().as_slice());
        let rows = find
            .query_map(params![after, user_no, function, endpoint, most.cast_signed()], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether a user has a function of this body that is not deleted.
    pub(crate) fn has_body(&self, user_no: i64, hash: &Hash) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM functions WHERE hash = ?1 AND user_no = ?2 AND deleted = 0)";
        Ok(self
            .lock()
            .prepare_cached(sql)?
            .query_row(params![hash.0.as_slice(), user_no], |row| row.get(0))?)
    }

    /// The content of a payload file that was just written, once: without a look at the disk.
    pub(crate) fn at_hand(&self, hash: &Hash) -> Option<Bytes> {
        self.payloads.at_hand(hash)
    }

    /// The content of a payload file, `None` if it is gone; blocks for as long as reading it takes.
    pub(crate) fn find_file(&self, hash: &Hash) -> Result<Option<Bytes>, Error> {
        self.payloads.get(hash)
    }

    /// The content of a payload file that must be there.
    pub(crate) fn file(&self, hash: &Hash) -> Result<Bytes, Error> {
        self.find_file(hash)?.ok_or_else(|| Error::Damaged(format!("the payload file {hash} is gone")))
    }

    /// The content, wherever it is; blocks for as long as reading it takes.
    pub(crate) fn load(&self, content: Content) -> Result<Bytes, Error> {
        match content {
            Content::Here(bytes) => Ok(bytes),
            Content::File(hash) => self.file(&hash),
        }
    }
}

pub(super) fn before(page: Page) -> i64 {
    page.before.map_or(i64::MAX, u64::cast_signed)
}

pub(super) fn limit(page: Page) -> i64 {
    page.limit.cast_signed().try_into().unwrap_or(i64::MAX)
}

pub(super) fn wall(row: &Row<'_>, index: usize) -> rusqlite::Result<Wall> {
    Ok(Wall(row.get::<_, i64>(index)?.cast_unsigned()))
}

/// Bytes in the column `data`, or the file that the column `file` names.
pub(super) fn content(row: &Row<'_>, data: usize, file: usize) -> rusqlite::Result<Content> {
    Ok(match row.get::<_, Option<[u8; 32]>>(file)? {
        Some(hash) => Content::File(Hash(hash)),
        None => Content::Here(bytes(row, data)?),
    })
}

/// The bytes of a column; none for NULL.
pub(super) fn bytes(row: &Row<'_>, index: usize) -> rusqlite::Result<Bytes> {
    Ok(row.get_ref(index)?.as_blob_or_null()?.map(Bytes::copy_from_slice).unwrap_or_default())
}

fn function_row(row: &Row<'_>) -> rusqlite::Result<FunctionRow> {
    Ok(FunctionRow {
        no: row.get(0)?,
        user_no: row.get(1)?,
        function: FunctionId::from_bytes(row.get(2)?),
        hash: Hash(row.get(3)?),
        name: row.get(4)?,
        description: row.get(5)?,
        python: row.get(6)?,
        size: row.get::<_, i64>(7)?.cast_unsigned(),
        registered: wall(row, 8)?,
        container: row.get::<_, Option<[u8; 16]>>(9)?.map(ContainerId::from_bytes),
    })
}

/// What starting a container needs of its row, as [`CONTAINER`] reads it.
pub(super) fn described(row: &Row<'_>) -> rusqlite::Result<Container> {
    let kind: String = row.get(1)?;
    let kind = kind.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(Container { container: ContainerId::from_bytes(row.get(0)?), kind, location: row.get(2)? })
}

fn container_row(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    Ok(ContainerRow {
        no: row.get(3)?,
        user_no: row.get(4)?,
        container: described(row)?,
        name: row.get(5)?,
        description: row.get(6)?,
        registered: wall(row, 7)?,
    })
}

fn endpoint_row(row: &Row<'_>) -> rusqlite::Result<EndpointRow> {
    Ok(EndpointRow {
        no: row.get(0)?,
        user_no: row.get(1)?,
        endpoint: EndpointId::from_bytes(row.get(2)?),
        name: row.get(3)?,
        description: row.get(4)?,
        registered: wall(row, 5)?,
        public_key: Some(row.get(6)?).filter(|key: &String| !key.starts_with(REVOKED)),
    })
}

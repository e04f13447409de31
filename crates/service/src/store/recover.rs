//! What a service that starts finds: the next epoch, the endpoints, and every task that has not ended.

use super::change::REVOKED;
use super::packed::Asked;
use super::read::{CONTAINER, described};
use super::{Error, SqliteStore, row_id, slots};
use bursa_core::container::Container;
use bursa_core::hub::{KnownEndpoint, Recovered};
use bursa_core::id::{ContainerId, EndpointId, Hash, TaskId, UserId};
use bursa_core::limits;
use bursa_core::task::{Args, TaskSpec};
use bytes::Bytes;
use rusqlite::{Row, params};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What the hub and the forwarder start from.
#[derive(Debug)]
pub(crate) struct Recovery {
    /// The life that begins: stored, before a port opens (F14).
    pub(crate) epoch: u32,
    pub(crate) endpoints: Vec<KnownEndpoint>,
    /// The key of each endpoint, deleted ones too: they are told so (F37). Revoked ones are not there.
    pub(crate) keys: Vec<(EndpointId, String)>,
    pub(crate) tasks: Vec<Recovered>,
    /// Of whose calls of which bodies it must be looked whether they have secrets.
    pub(crate) secretive: Vec<(UserId, Hash)>,
}

impl SqliteStore {
    /// Begins a new life of the service.
    ///
    /// # Errors
    /// The disk cannot be written or read.
    pub(crate) fn recover(&self) -> Result<Recovery, Error> {
        self.begin_life().map_err(|error| error.at(Path::new(self.conn.path().unwrap_or_default())))
    }

    fn begin_life(&self) -> Result<Recovery, Error> {
        let sql = "UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value";
        let epoch = self.conn.query_row(sql, [], |row| row.get(0))?;
        let (endpoints, keys) = self.known_endpoints()?;
        Ok(Recovery { epoch, endpoints, keys, tasks: self.live_tasks()?, secretive: self.secretive()? })
    }

    #[expect(clippy::type_complexity, reason = "two lists of one scan")]
    fn known_endpoints(&self) -> Result<(Vec<KnownEndpoint>, Vec<(EndpointId, String)>), Error> {
        let mut find =
            self.conn.prepare("SELECT endpoint, generation, deleted, public_key, guests FROM endpoints")?;
        let rows = find.query_map([], |row| {
            let endpoint = EndpointId::from_bytes(row.get(0)?);
            let generation = row.get::<_, i64>(1)?.cast_unsigned();
            let known = KnownEndpoint { endpoint, generation, deleted: row.get(2)?, guests: row.get(4)? };
            Ok((known, (endpoint, row.get(3)?)))
        })?;
        let (endpoints, mut keys): (_, Vec<(_, String)>) =
            rows.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        keys.retain(|(_, key)| !key.starts_with(REVOKED));
        Ok((endpoints, keys))
    }

    fn live_tasks(&self) -> Result<Vec<Recovered>, Error> {
        let hashes: HashMap<[u8; 16], Hash> =
            self.map("SELECT function, hash FROM functions", |row| Ok((row.get(0)?, Hash(row.get(1)?))))?;
        let containers = self.containers()?;
        let mut find = self.conn.prepare(
            "SELECT t.task, t.spec, CASE WHEN length(t.data) <= ?1 THEN t.data END, t.memo IS NOT NULL,
                    ifnull(c.losses, 0), ifnull(c.maybes, 0), ifnull(c.errors, 0)
             FROM tasks t LEFT JOIN charges c ON c.id = t.id WHERE t.id BETWEEN ?2 AND ?3 ORDER BY t.id",
        )?;
        let mut tasks = Vec::new();
        let mut users = self.conn.prepare("SELECT no, user, settled FROM users ORDER BY no")?;
        let mut users = users.query([])?;
        // Each queue gets its tasks in the order in which they were accepted.
        while let Some(user) = users.next()? {
            let (no, id, settled) = (user.get(0)?, UserId::from_bytes(user.get(1)?), user.get::<_, i64>(2)?);
            slots::open(
                &self.conn,
                row_id(no, settled.cast_unsigned() + 1),
                row_id(no + 1, 0) - 1,
                |first, last| {
                    let mut rows = find.query(params![limits::HELD_BYTES.cast_signed(), first, last])?;
                    while let Some(row) = rows.next()? {
                        let asked = Asked::read(row, 1)?;
                        let place =
                            asked.container.map(|id| containers.get(&id).cloned().ok_or(id)).transpose();
                        let (Some(hash), Ok(container)) = (hashes.get(asked.function.as_bytes()), place)
                        else {
                            return Err(Error::Damaged("a task of no function or container".to_owned()));
                        };
                        tasks.push(recovered(row, &asked, id, *hash, container)?);
                    }
                    Ok(ControlFlow::Continue(()))
                },
            )?;
        }
        Ok(tasks)
    }

    /// All containers, deleted ones too: what was accepted for them still runs.
    fn containers(&self) -> Result<HashMap<ContainerId, Arc<Container>>, Error> {
        self.map(&format!("SELECT {CONTAINER} FROM containers"), |row| {
            let found = described(row)?;
            Ok((found.container, Arc::new(found)))
        })
    }

    fn map<K: Eq + std::hash::Hash, V>(
        &self,
        sql: &str,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<(K, V)>,
    ) -> Result<HashMap<K, V>, Error> {
        Ok(self.conn.prepare(sql)?.query_map([], row)?.collect::<Result<_, _>>()?)
    }
}

fn recovered(
    row: &Row<'_>,
    asked: &Asked,
    user: UserId,
    hash: Hash,
    container: Option<Arc<Container>>,
) -> rusqlite::Result<Recovered> {
    let args = match row.get::<_, Option<Vec<u8>>>(2)? {
        Some(data) => Args::Here(Bytes::from(data)),
        None => Args::Stored(usize::try_from(asked.size).unwrap_or(usize::MAX)),
    };
    let spec = TaskSpec {
        task: TaskId::from_bytes(row.get(0)?),
        user,
        group: asked.group,
        function: asked.function,
        hash,
        endpoint: asked.endpoint,
        container,
        resources: asked.resources.map(Arc::new),
        args,
        retries: asked.retries,
        retry_on_error: asked.retry_on_error,
        timeout_ms: asked.timeout_ms,
        deadline: asked.deadline,
        submitted: asked.submitted,
        memoize: row.get(3)?,
    };
    Ok(Recovered { spec, losses: row.get(4)?, maybes: row.get(5)?, errors: row.get(6)? })
}

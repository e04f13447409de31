//! Terminal records: the first one wins and gets its user's next sequence number (F24).

use super::insert::{Binder, Inserts};
use super::memo::{self, Memo};
use super::packed::{Asked, Record};
use super::payload::Payloads;
use super::rows::{Change, Memoized};
use super::shares::Meter;
use super::slots::{Blocks, Slot};
use super::write::Users;
use super::{Error, row_id, row_user};
use bursa_core::hub::Answer;
use bursa_core::id::{GroupId, Hash, TaskId};
use bursa_core::limits;
use bursa_core::task::{Ending, Failure, TaskState};
use bursa_core::timings::Timings;
use rusqlite::{CachedStatement, Connection};

/// The statements of one transaction's ends, and the records that are decided and not inserted yet.
pub(super) struct Ends<'c, 'b> {
    conn: &'c Connection,
    payloads: &'c Payloads,
    find: CachedStatement<'c>,
    insert: Inserts<'c>,
    decided: Vec<Row<'b>>,
    meter: &'c mut Meter,
}

pub(super) const RESULT: &str =
    "INSERT OR FAIL INTO results (id, record, failure, output, file, data) VALUES (?,?,?,?,?,?)";

/// A record to insert.
struct Row<'b> {
    id: i64,
    task: TaskId,
    group: GroupId,
    ending: &'b Ending,
    failure: Option<Vec<u8>>,
    file: Option<Hash>,
    total: u64,
    memo: Option<Memoized>,
}

impl<'c, 'b> Ends<'c, 'b> {
    pub(super) fn new(
        conn: &'c Connection,
        payloads: &'c Payloads,
        meter: &'c mut Meter,
    ) -> Result<Self, Error> {
        Ok(Self {
            meter,
            conn,
            payloads,
            find: conn.prepare_cached("SELECT id, spec, memo FROM tasks WHERE task = ?1")?,
            insert: Inserts::new(conn, RESULT)?,
            decided: Vec::new(),
        })
    }

    /// Decides the end of `task` if it is live; [`finish`](Self::finish) writes the record. Whose the task is, its row
    /// says: who only asks how it ended need not know.
    pub(super) fn end(
        &mut self,
        users: &mut Users,
        task: &TaskId,
        ending: &'b Ending,
        blocks: &mut Blocks<'_>,
        memo: &mut Memo<'_>,
    ) -> Result<Answer, Error> {
        let (id, asked, key) = {
            let mut rows = self.find.query([task.as_bytes().as_slice()])?;
            let Some(row) = rows.next()? else { return Ok(Answer::Unknown) };
            (row.get(0)?, Asked::read(row, 1)?, row.get::<_, Option<memo::Key>>(2)?)
        };
        if let Some(Slot { state, .. }) = blocks.get(id)? {
            return Ok(Answer::AlreadyEnded { state });
        }
        let user = users.of(self.conn, row_user(id))?;
        user.results += 1;
        blocks.set(id, Slot { state: ending.state, sequence: user.results })?;
        let file = match ending.payload.len() {
            0..=limits::INLINE_BYTES => None,
            _ => Some(self.payloads.put(&ending.payload)?),
        };
        let memo = match key {
            Some(key) if ending.state == TaskState::Success => {
                memo.keep(id, &key, ending.ended, &ending.payload, file.as_ref())?.then_some(Memoized::Stored)
            }
            _ => None,
        };
        let failure = ending.failure.as_deref().map(pack).transpose()?;
        let own = ending.payload.len() + ending.output.len() + failure.as_ref().map_or(0, Vec::len);
        user.total += own as u64 + asked.size;
        self.meter.count(self.conn, (&asked.endpoint, user.no), core_us(&asked, ending), ending.ended)?;
        tracing::debug!(%task, state = ?ending.state, "ended");
        self.decided.push(Row {
            id: row_id(user.no, user.results),
            task: *task,
            group: asked.group,
            ending,
            failure,
            file,
            total: user.total,
            memo,
        });
        Ok(Answer::Ended { sequence: user.results })
    }

    /// The registry changes in the same transaction.
    pub(super) fn changed(&mut self, change: &Change) {
        if matches!(change, Change::Share { .. } | Change::Unshare { .. } | Change::DeleteGroup { .. }) {
            self.meter.forget();
        }
    }

    /// Inserts the decided records.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.insert.insert(&self.decided, bind_result)?;
        self.decided.clear();
        Ok(())
    }
}

/// Cores that a call asked for, times how long it had them, in microseconds: of one whose function did not return, as long as its
/// executor had given it a worker.
fn core_us(asked: &Asked, ending: &Ending) -> u64 {
    let Timings { executor, wait, endpoint, .. } = ending.timings;
    let ns = match (ending.run_ns, executor) {
        (0, 0) if ending.starts > 0 => endpoint,
        (0, executor) => executor.saturating_sub(wait),
        (run, _) => run,
    };
    let cores = asked.resources.map_or(1, |asks| asks.cores.max(1) * asks.nodes.max(1));
    (ns / 1_000).saturating_mul(cores.into())
}

fn bind_result(row: &Row<'_>, binder: &mut Binder<'_, '_>) -> rusqlite::Result<()> {
    let ending = row.ending;
    let record = Record {
        task: row.task,
        group: row.group,
        state: ending.state,
        memo: row.memo,
        starts: ending.starts,
        ended: ending.ended,
        run_ns: ending.run_ns,
        total: row.total,
        timings: ending.timings,
    };
    binder.put(row.id)?;
    binder.put(record.pack().as_ref())?;
    binder.put(row.failure.as_deref())?;
    binder.put((!ending.output.is_empty()).then_some(ending.output.as_ref()))?;
    binder.put(row.file.as_ref().map(|hash| hash.0.as_slice()))?;
    binder.put(row.file.is_none().then_some(ending.payload.as_ref()))
}

fn pack(failure: &Failure) -> Result<Vec<u8>, Error> {
    rmp_serde::to_vec_named(failure).map_err(|error| Error::Damaged(error.to_string()))
}

//! Terminal records: the first one wins and gets its user's next sequence number (F24).

use super::payload::Payloads;
use super::write::Users;
use super::{Error, row_id, row_user};
use bursa_core::hub::Answer;
use bursa_core::id::TaskId;
use bursa_core::limits;
use bursa_core::task::{Ending, Failure, TaskState};
use rusqlite::{CachedStatement, Connection, params};

/// The statements of one transaction's ends.
pub(super) struct Ends<'c> {
    payloads: &'c Payloads,
    find: CachedStatement<'c>,
    update: CachedStatement<'c>,
    insert: CachedStatement<'c>,
}

const INSERT_RESULT: &str =
    "INSERT INTO results (id, task, grp, state, ended, run_ns, starts, failure, output, data, file)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

impl<'c> Ends<'c> {
    pub(super) fn new(conn: &'c Connection, payloads: &'c Payloads) -> Result<Self, Error> {
        Ok(Self {
            payloads,
            find: conn.prepare_cached("SELECT id, state, grp FROM tasks WHERE task = ?1")?,
            update: conn.prepare_cached("UPDATE tasks SET state = ?2, seq = ?3 WHERE id = ?1")?,
            insert: conn.prepare_cached(INSERT_RESULT)?,
        })
    }

    /// Writes the terminal record of `task` if it is live. Whose it is, its row says: who only asks how a task ended
    /// need not know.
    pub(super) fn end(
        &mut self,
        conn: &Connection,
        users: &mut Users,
        task: &TaskId,
        ending: &Ending,
    ) -> Result<Answer, Error> {
        let (id, state, group) = {
            let mut rows = self.find.query([task.as_bytes().as_slice()])?;
            let Some(row) = rows.next()? else { return Ok(Answer::Unknown) };
            (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, [u8; 16]>(2)?)
        };
        if let Some(state) = state_of(state) {
            return Ok(Answer::AlreadyEnded { state });
        }
        let user = users.of(conn, row_user(id))?;
        let sequence = user.results + 1;
        self.update.execute(params![id, code_of(ending.state), sequence.cast_signed()])?;
        let failure = ending.failure.as_ref().map(pack).transpose()?;
        let file = match ending.payload.len() {
            0..=limits::INLINE_BYTES => None,
            _ => Some(self.payloads.put(&ending.payload)?.0),
        };
        self.insert.execute(params![
            row_id(user.no, sequence),
            task.as_bytes().as_slice(),
            group.as_slice(),
            code_of(ending.state),
            ending.ended.0.cast_signed(),
            ending.run_ns.cast_signed(),
            ending.starts,
            failure,
            (!ending.output.is_empty()).then_some(ending.output.as_ref()),
            file.is_none().then_some(ending.payload.as_ref()),
            file.as_ref().map(<[u8; 32]>::as_slice),
        ])?;
        user.results = sequence;
        Ok(Answer::Ended { sequence })
    }
}

fn pack(failure: &Failure) -> Result<Vec<u8>, Error> {
    rmp_serde::to_vec_named(failure).map_err(|error| Error::Damaged(error.to_string()))
}

/// The stored number of a terminal state.
pub(super) const fn code_of(state: TaskState) -> i64 {
    match state {
        TaskState::Success => 1,
        TaskState::Cancelled => 3,
        _ => 2,
    }
}

/// The terminal state of a stored number; `None`: live.
pub(super) const fn state_of(code: i64) -> Option<TaskState> {
    match code {
        1 => Some(TaskState::Success),
        2 => Some(TaskState::Failed),
        3 => Some(TaskState::Cancelled),
        _ => None,
    }
}

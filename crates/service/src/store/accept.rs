//! Appending accepted tasks: all of a submit or none, and the same submit again is no news.

use super::payload::Payloads;
use super::write::Counters;
use super::{Error, row_id, row_user};
use bursa_core::hub::Answer;
use bursa_core::id::{GroupId, Hash, TaskId};
use bursa_core::limits;
use bursa_core::task::{Args, TaskSpec};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

/// The statements of one transaction's submits.
pub(super) struct Accepts<'c> {
    conn: &'c Connection,
    payloads: &'c Payloads,
    task: CachedStatement<'c>,
    args: CachedStatement<'c>,
}

const INSERT_TASK: &str = "INSERT INTO tasks (id, task, grp, function, endpoint, container, retries,
    retry_on_error, timeout_ms, deadline, submitted) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (task) DO NOTHING";
const INSERT_ARGS: &str = "INSERT INTO args (id, size, data, file) VALUES (?1, ?2, ?3, ?4)";

impl<'c> Accepts<'c> {
    pub(super) fn new(conn: &'c Connection, payloads: &'c Payloads) -> Result<Self, Error> {
        let (task, args) = (conn.prepare_cached(INSERT_TASK)?, conn.prepare_cached(INSERT_ARGS)?);
        Ok(Self { conn, payloads, task, args })
    }

    /// Appends `tasks` in a savepoint of their own.
    pub(super) fn accept(
        &mut self,
        user: &mut Counters,
        group: &GroupId,
        tasks: &[TaskSpec],
    ) -> Result<Answer, Error> {
        let Some(first_task) = tasks.first() else { return Ok(Answer::Accepted { known: Vec::new() }) };
        self.run("SAVEPOINT submit")?;
        let before = *user;
        let outcome = match self.own_group(user, group, first_task)? {
            true => self.append(user, group, tasks)?,
            false => Err(first_task.task),
        };
        match outcome {
            Ok(known) => {
                self.extend_range(group, row_id(user.no, before.tasks + 1), row_id(user.no, user.tasks))?;
                self.run("RELEASE submit")?;
                Ok(Answer::Accepted { known })
            }
            Err(task) => {
                *user = before;
                self.run("ROLLBACK TO submit")?;
                self.run("RELEASE submit")?;
                Ok(Answer::Conflict { task })
            }
        }
    }

    fn run(&self, sql: &str) -> Result<(), Error> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Makes the group if it is new; false when it is another user's.
    fn own_group(&self, user: &Counters, group: &GroupId, task: &TaskSpec) -> Result<bool, Error> {
        let owner: Option<i64> = self
            .conn
            .prepare_cached("SELECT user_no FROM groups WHERE grp = ?1")?
            .query_row([group.as_bytes().as_slice()], |row| row.get(0))
            .optional()?;
        if owner.is_none() {
            self.conn
                .prepare_cached("INSERT INTO groups (grp, user_no, created) VALUES (?1, ?2, ?3)")?
                .execute(params![group.as_bytes().as_slice(), user.no, task.submitted.0.cast_signed()])?;
        }
        Ok(owner.is_none_or(|owner| owner == user.no))
    }

    /// The tasks that were there already, or the one that has other bytes.
    fn append(
        &mut self,
        user: &mut Counters,
        group: &GroupId,
        tasks: &[TaskSpec],
    ) -> Result<Result<Vec<TaskId>, TaskId>, Error> {
        let mut known = Vec::new();
        for spec in tasks {
            let Args::Here(args) = &spec.args else {
                return Err(Error::Damaged(format!(
                    "task {} was submitted without its arguments",
                    spec.task
                )));
            };
            let id = row_id(user.no, user.tasks + 1);
            let inserted = self.task.execute(params![
                id,
                spec.task.as_bytes().as_slice(),
                group.as_bytes().as_slice(),
                spec.function.as_bytes().as_slice(),
                spec.endpoint.as_bytes().as_slice(),
                spec.container.as_ref().map(|id| id.as_bytes().as_slice()),
                spec.retries,
                spec.retry_on_error,
                spec.timeout_ms.map(u64::cast_signed),
                spec.deadline.0.cast_signed(),
                spec.submitted.0.cast_signed(),
            ])?;
            if inserted == 0 {
                if !self.same(user, spec, args)? {
                    return Ok(Err(spec.task));
                }
                known.push(spec.task);
                continue;
            }
            user.tasks += 1;
            let size = args.len().cast_signed();
            if args.len() <= limits::INLINE_BYTES {
                self.args.execute(params![id, size, args.as_ref(), None::<&[u8]>])?;
            } else {
                let file = self.payloads.put(args)?;
                self.args.execute(params![id, size, None::<&[u8]>, file.0.as_slice()])?;
            }
        }
        Ok(Ok(known))
    }

    /// Whether the stored task is this very one. The deadline counts by its distance from the submit, which a repeat
    /// computes anew.
    fn same(&self, user: &Counters, spec: &TaskSpec, args: &[u8]) -> Result<bool, Error> {
        let mut find = self.conn.prepare_cached(
            "SELECT t.id, t.grp, t.function, t.endpoint, t.container, t.retries, t.retry_on_error, t.timeout_ms,
                    t.deadline - t.submitted, a.data, a.file
             FROM tasks t JOIN args a ON a.id = t.id WHERE t.task = ?1",
        )?;
        let same = find.query_row([spec.task.as_bytes().as_slice()], |row| {
            let blob = |index: usize| row.get_ref(index)?.as_blob_or_null().map_err(rusqlite::Error::from);
            let same_args = match blob(9)? {
                Some(data) => data == args,
                None => blob(10)? == Some(Hash::of(args).0.as_slice()),
            };
            Ok(row_user(row.get(0)?) == user.no
                && blob(1)? == Some(spec.group.as_bytes().as_slice())
                && blob(2)? == Some(spec.function.as_bytes().as_slice())
                && blob(3)? == Some(spec.endpoint.as_bytes().as_slice())
                && blob(4)? == spec.container.as_ref().map(|id| id.as_bytes().as_slice())
                && row.get::<_, u32>(5)? == spec.retries
                && row.get::<_, u32>(6)? == spec.retry_on_error
                && row.get::<_, Option<i64>>(7)? == spec.timeout_ms.map(u64::cast_signed)
                && row.get::<_, i64>(8)? == spec.deadline.0.saturating_sub(spec.submitted.0).cast_signed()
                && same_args)
        })?;
        Ok(same)
    }

    /// Notes that ids `first..=last` belong to `group`: lengthens its newest range when they follow it.
    fn extend_range(&self, group: &GroupId, first: i64, last: i64) -> Result<(), Error> {
        if last < first {
            return Ok(());
        }
        let grp = group.as_bytes().as_slice();
        let grown = self
            .conn
            .prepare_cached(
                "UPDATE ranges SET last = ?3 WHERE grp = ?1 AND last = ?2 - 1
                 AND first = (SELECT max(first) FROM ranges WHERE grp = ?1)",
            )?
            .execute(params![grp, first, last])?;
        if grown == 0 {
            self.conn
                .prepare_cached("INSERT INTO ranges (grp, first, last) VALUES (?1, ?2, ?3)")?
                .execute(params![grp, first, last])?;
        }
        Ok(())
    }
}

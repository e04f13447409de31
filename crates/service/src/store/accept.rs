//! Appending accepted tasks: all of a submit or none, and the same submit again is no news.

use super::hit::Hits;
use super::insert::{Binder, Inserts};
use super::memo::{self, Memo};
use super::packed::Asked;
use super::payload::Payloads;
use super::slots::Blocks;
use super::write::Counters;
use super::{Error, row_id, row_user};
use bursa_core::hub::Answer;
use bursa_core::id::{GroupId, Hash, TaskId};
use bursa_core::limits;
use bursa_core::task::{Args, TaskSpec};
use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use std::collections::BTreeSet;

/// The statements of one transaction's submits.
pub(super) struct Accepts<'c> {
    conn: &'c Connection,
    payloads: &'c Payloads,
    tasks: Inserts<'c>,
}

const TASK: &str = "INSERT OR FAIL INTO tasks (id, task, spec, memo, file, data) VALUES (?,?,?,?,?,?)";

/// A task with its id and, when they are large, the file of its arguments.
#[derive(Debug)]
pub(super) struct Row<'t> {
    pub(super) id: i64,
    pub(super) spec: &'t TaskSpec,
    pub(super) args: &'t Bytes,
    file: Option<Hash>,
    /// What names equal calls, if it takes part in memoization. Few do: they pay for its place.
    key: Option<Box<memo::Key>>,
}

impl<'c> Accepts<'c> {
    pub(super) fn new(conn: &'c Connection, payloads: &'c Payloads) -> Result<Self, Error> {
        Ok(Self { conn, payloads, tasks: Inserts::new(conn, TASK)? })
    }

    /// Appends `tasks`: all of them, or none.
    pub(super) fn accept(
        &mut self,
        user: &mut Counters,
        group: &GroupId,
        tasks: &[TaskSpec],
        blocks: &mut Blocks<'_>,
        memo: &mut Memo<'_>,
    ) -> Result<Answer, Error> {
        let Some(first_task) = tasks.first() else {
            return Ok(Answer::Accepted { known: Vec::new(), hits: Vec::new() });
        };
        let owner = self.owner(group)?;
        if owner.is_some_and(|owner| owner != user.no) {
            return Ok(Answer::Conflict { task: first_task.task });
        }
        // Nearly always all are new. If not, look which are.
        let (fresh, known, hits) = match self.append(user, tasks.iter(), blocks, memo)? {
            Some(hits) => (tasks.len(), BTreeSet::new(), hits),
            None => {
                let known = match self.known(user, tasks)? {
                    Ok(known) => known,
                    Err(task) => return Ok(Answer::Conflict { task }),
                };
                let fresh = tasks.iter().filter(|spec| !known.contains(&spec.task));
                let count = fresh.clone().count();
                let hits = self
                    .append(user, fresh, blocks, memo)?
                    .ok_or_else(|| Error::Damaged("a task that is not there cannot be added".to_owned()))?;
                (count, known, hits)
            }
        };
        if owner.is_none() {
            self.make_group(user, group, first_task)?;
        }
        user.tasks += fresh as u64;
        self.extend_range(
            group,
            row_id(user.no, user.tasks + 1 - fresh as u64),
            row_id(user.no, user.tasks),
        )?;
        Ok(Answer::Accepted { known: known.into_iter().collect(), hits })
    }

    fn run(&self, sql: &str) -> Result<(), Error> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Whose group it is; `None`: it is new.
    fn owner(&self, group: &GroupId) -> Result<Option<i64>, Error> {
        let mut find = self.conn.prepare_cached("SELECT user_no FROM groups WHERE grp = ?1")?;
        Ok(find.query_row([group.as_bytes().as_slice()], |row| row.get(0)).optional()?)
    }

    fn make_group(&self, user: &Counters, group: &GroupId, task: &TaskSpec) -> Result<(), Error> {
        let sql = "INSERT INTO groups (grp, user_no, created) VALUES (?1, ?2, ?3)";
        let values = params![group.as_bytes().as_slice(), user.no, task.submitted.0.cast_signed()];
        self.conn.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Appends tasks that should be new; those that ended at once, since their results were memoized. `None`, and
    /// nothing was done, when one of them was there.
    fn append<'t>(
        &mut self,
        user: &mut Counters,
        tasks: impl Iterator<Item = &'t TaskSpec>,
        blocks: &mut Blocks<'_>,
        memo: &mut Memo<'_>,
    ) -> Result<Option<Vec<TaskId>>, Error> {
        let mut rows = Vec::with_capacity(tasks.size_hint().0);
        let mut hits = Hits::new(user);
        for (spec, n) in tasks.zip(user.tasks + 1..) {
            let Args::Here(args) = &spec.args else {
                return Err(Error::Damaged(format!(
                    "task {} was submitted without its arguments",
                    spec.task
                )));
            };
            let file = match args.len() {
                0..=limits::INLINE_BYTES => None,
                _ => Some(self.payloads.put(args)?),
            };
            let mut row = Row { id: row_id(user.no, n), spec, args, file, key: None };
            if spec.memoize {
                let key = memo::key(spec, &row.file.unwrap_or_else(|| Hash::of(args)));
                row.key = Some(Box::new(key));
                // Beyond this a task runs, whatever is known: what a submit writes has a bound.
                if hits.bytes <= limits::MEMO_HIT_BYTES
                    && let Some(hit) = memo.find(&key, spec)?
                {
                    hits.push(row, hit);
                    continue;
                }
            }
            rows.push(row);
        }
        // A row alone is inserted, or nothing is done.
        let alone = rows.len() == 1 && hits.rows.is_empty();
        if !alone {
            self.run("SAVEPOINT append")?;
        }
        let inserted = self.tasks.insert(&rows, bind_task).and_then(|()| {
            self.tasks.insert(&hits.rows, |hit, binder| bind_task(&hit.row, binder))?;
            hits.insert(self.conn, user)
        });
        match inserted {
            Ok(()) => {}
            Err(rusqlite::Error::SqliteFailure(why, _)) if why.code == ErrorCode::ConstraintViolation => {
                if !alone {
                    self.run("ROLLBACK TO append")?;
                    self.run("RELEASE append")?;
                }
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        if !alone {
            self.run("RELEASE append")?;
        }
        for row in rows.iter().chain(hits.rows.iter().map(|hit| &hit.row)) {
            tracing::debug!(task = %row.spec.task, "accepted");
        }
        hits.count(user, memo, blocks).map(Some)
    }

    /// The tasks that were there already, or one of them that has other bytes.
    fn known(&self, user: &Counters, tasks: &[TaskSpec]) -> Result<Result<BTreeSet<TaskId>, TaskId>, Error> {
        let mut known = BTreeSet::new();
        for spec in tasks {
            match self.same(user, spec)? {
                None => {}
                Some(true) => drop(known.insert(spec.task)),
                Some(false) => return Ok(Err(spec.task)),
            }
        }
        Ok(Ok(known))
    }

    /// Whether the stored task is this very one; `None`: there is none. The deadline counts by its distance from the
    /// submit, which a repeat computes anew.
    fn same(&self, user: &Counters, spec: &TaskSpec) -> Result<Option<bool>, Error> {
        let Args::Here(args) = &spec.args else { return Ok(Some(false)) };
        let mut find = self
            .conn
            .prepare_cached("SELECT id, spec, memo IS NOT NULL, file, data FROM tasks WHERE task = ?1")?;
        let same = find.query_row([spec.task.as_bytes().as_slice()], |row| {
            let blob = |index: usize| row.get_ref(index)?.as_blob_or_null().map_err(rusqlite::Error::from);
            let same_args = match blob(3)? {
                Some(file) => file == Hash::of(args).0,
                None => blob(4)? == Some(args),
            };
            Ok(row_user(row.get(0)?) == user.no
                && Asked::read(row, 1)?.at_any_time() == Asked::of(spec).at_any_time()
                && row.get::<_, bool>(2)? == spec.memoize
                && same_args)
        });
        Ok(same.optional()?)
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

fn bind_task(row: &Row<'_>, binder: &mut Binder<'_, '_>) -> rusqlite::Result<()> {
    let spec = row.spec;
    binder.put(row.id)?;
    binder.put(spec.task.as_bytes().as_slice())?;
    binder.put(Asked::of(spec).pack().as_ref())?;
    binder.put(row.key.as_ref().map(|key| key.as_slice()))?;
    binder.put(row.file.as_ref().map(|hash| hash.0.as_slice()))?;
    binder.put(row.file.is_none().then_some(row.args.as_ref()))
}

//! The owner of the write connection: one transaction for all writes of a round.

use super::accept::Accepts;
use super::end::Ends;
use super::memo::{Memo, MemoLimits};
use super::packed::Record;
use super::payload::Payloads;
use super::rows::{Batch, Done, Write};
use super::shares::Meter;
use super::slots::{Blocks, Slot};
use super::sweep::Sweep;
use super::writer::INLINE_ROWS;
use super::{Blame, Change, Error, Paths, change, checkpoint, row_id, row_n, schema};
use crate::metrics::Metrics;
use crate::trouble::Part;
use bursa_core::hub::{Answer, Op};
use bursa_core::id::{TaskId, UserId};
use bursa_core::limits;
use bursa_core::task::Args;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Params, params};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

/// The writing side of the store.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    pub(super) conn: Connection,
    pub(super) payloads: Payloads,
    pub(super) users: Users,
    pub(super) sweep: Sweep,
    pub(super) memo: MemoLimits,
    meter: Meter,
    checkpointer: checkpoint::Checkpointer,
    pub(super) metrics: Arc<Metrics>,
}

/// A user's number and the numbers given last, read from the tables when first needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    pub(super) no: i64,
    pub(super) tasks: u64,
    pub(super) results: u64,
    /// Bytes of all results so far.
    pub(super) total: u64,
}

/// The counters of the users that wrote since the start.
#[derive(Debug, Default)]
pub(super) struct Users {
    numbers: HashMap<UserId, i64>,
    counters: HashMap<i64, Counters>,
}

impl Users {
    /// The counters of `user`; `None`: no such user.
    pub(super) fn get(&mut self, conn: &Connection, user: &UserId) -> Result<Option<&mut Counters>, Error> {
        let no = match self.numbers.get(user) {
            Some(no) => *no,
            None => {
                let mut find = conn.prepare_cached("SELECT no FROM users WHERE user = ?1")?;
                let no = find.query_row([user.as_bytes().as_slice()], |row| row.get(0)).optional()?;
                let Some(no) = no else { return Ok(None) };
                self.numbers.insert(*user, no);
                no
            }
        };
        self.of(conn, no).map(Some)
    }

    /// The counters of user `no`.
    pub(super) fn of(&mut self, conn: &Connection, no: i64) -> Result<&mut Counters, Error> {
        Ok(match self.counters.entry(no) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(load(conn, no)?),
        })
    }
}

fn load(conn: &Connection, no: i64) -> Result<Counters, Error> {
    let range = [row_id(no, 0), row_id(no + 1, 0)];
    let task: Option<i64> =
        conn.query_row("SELECT max(id) FROM tasks WHERE id >= ?1 AND id < ?2", range, |row| row.get(0))?;
    let sql = "SELECT id, record FROM results WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1";
    let result: Option<(i64, u64)> =
        conn.query_row(sql, range, |row| Ok((row.get(0)?, Record::read(row, 1)?.total))).optional()?;
    let (result, total) = result.unzip();
    // Rows that retention removed had numbers too.
    let gone: Option<(i64, i64)> = conn
        .query_row("SELECT last_task, last_result FROM users WHERE no = ?1", [no], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (last_task, last_result) = gone.unwrap_or_default();
    Ok(Counters {
        no,
        tasks: task.map_or(0, row_n).max(last_task.cast_unsigned()),
        results: result.map_or(0, row_n).max(last_result.cast_unsigned()),
        total: total.unwrap_or_default(),
    })
}

impl SqliteStore {
    /// Opens the store for writing: migrates, extends the WAL, starts the checkpointer.
    ///
    /// # Errors
    /// A newer schema, a failed migration, or a disk that cannot be written.
    pub(crate) fn open(paths: &Paths, memo: MemoLimits, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let payloads = Payloads::open(&paths.payloads)?;
        let mut conn = schema::open_write(paths)?;
        let checkpointer = checkpoint::Checkpointer::start(&mut conn, &paths.database)?;
        let (users, sweep) = (Users::default(), Sweep::default());
        Ok(Self { conn, payloads, users, sweep, memo, meter: Meter::default(), checkpointer, metrics })
    }

    /// Writes all of `batch` in one transaction: on disk when this returns, or none of it. If one write spoils it for
    /// the others, each is tried again by itself.
    pub(crate) fn apply(&mut self, batch: Batch) -> Vec<Done> {
        let begun = Instant::now();
        let mut written = self.transaction(&batch, Self::together);
        if let Err(error) = &written
            && error.blame() != Blame::Database
        {
            tracing::warn!(%error, writes = batch.len(), "a write spoils its transaction: each is tried by itself");
            written = self.transaction(&batch, Self::one_by_one);
        }
        for data in batch.iter().flat_map(large) {
            self.payloads.forget(data);
        }
        match written {
            Ok(done) => {
                let weight = Weight::of(&batch);
                if weight.files > 0 && done.iter().all(Done::is_ok) {
                    self.metrics.troubles.works(Part::Files);
                }
                self.metrics.committed(weight.rows, begun.elapsed());
                self.checkpointer.wrote(&self.conn, weight.rows > INLINE_ROWS);
                done
            }
            Err(error) => {
                let why = error.to_string();
                self.metrics.commit_failed(&why);
                tracing::error!(error = %why, writes = batch.len(), "the store could not write");
                batch.iter().map(|write| failed(write, why.clone())).collect()
            }
        }
    }

    fn transaction(
        &mut self,
        batch: &[Write],
        body: fn(&mut Self, &[Write]) -> Result<Vec<Done>, Error>,
    ) -> Result<Vec<Done>, Error> {
        self.run("BEGIN IMMEDIATE")?;
        let written = body(self, batch).and_then(|done| self.run("COMMIT").map(|()| done));
        if written.is_err() {
            if !self.conn.is_autocommit() {
                let _ = self.conn.execute_batch("ROLLBACK");
            }
            self.users = Users::default();
        }
        written
    }

    fn run(&self, sql: &str) -> Result<(), Error> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn together(&mut self, batch: &[Write]) -> Result<Vec<Done>, Error> {
        let Self { conn, payloads, users, memo, sweep, meter, .. } = self;
        let mut memo = Memo::new(conn, payloads, *memo);
        let mut done = Vec::with_capacity(batch.len());
        let mut accepts = Accepts::new(conn, payloads)?;
        let mut ends = Ends::new(conn, payloads, meter)?;
        let mut blocks = Blocks::new(conn);
        for write in batch {
            done.push(match write {
                Write::Hub(token, op) => Done::Hub(
                    *token,
                    Ok(op_answer(op, conn, users, (&mut accepts, &mut ends, &mut blocks), &mut memo)?),
                ),
                Write::Registry(request, change) => {
                    ends.changed(change);
                    Done::Registry(*request, Ok(change::apply(conn, payloads, &mut memo, change)?))
                }
            });
        }
        ends.finish()?;
        blocks.write()?;
        payloads.sync()?;
        sweep.freed.extend(memo.finish()?);
        Ok(done)
    }

    /// Each write in a savepoint of its own; one that fails by its own fault takes no other with it.
    fn one_by_one(&mut self, batch: &[Write]) -> Result<Vec<Done>, Error> {
        let mut all = Vec::with_capacity(batch.len());
        for write in batch {
            self.run("SAVEPOINT one")?;
            match self.together(std::slice::from_ref(write)) {
                Ok(done) => all.extend(done),
                Err(error) if error.blame() == Blame::Database => return Err(error),
                Err(error) => {
                    self.run("ROLLBACK TO one")?;
                    self.users = Users::default();
                    if error.blame() == Blame::File {
                        self.metrics.troubles.failed(Part::Files, error.to_string());
                    }
                    tracing::error!(%error, write = %name(write), "the store could not write this");
                    all.push(refused(write, &error));
                }
            }
            self.run("RELEASE one")?;
        }
        Ok(all)
    }

    /// Brings what the WAL holds into the database: at the end of the service.
    pub(crate) fn finish(&self) {
        checkpoint::passive(&self.conn);
    }
}

fn op_answer<'b>(
    op: &'b Op,
    conn: &Connection,
    users: &mut Users,
    (accepts, ends, blocks): (&mut Accepts<'_>, &mut Ends<'_, 'b>, &mut Blocks<'_>),
    memo: &mut Memo<'_>,
) -> Result<Answer, Error> {
    match op {
        Op::Accept { user, group, tasks } => {
            let user = users.get(conn, user)?.ok_or_else(|| Error::Damaged(format!("no user {user}")))?;
            accepts.accept(user, group, tasks, blocks, memo)
        }
        Op::End { task, ending, .. } => ends.end(users, task, ending, blocks, memo),
        Op::Charge { task, losses, maybes, errors } => {
            charge(conn, blocks, task, [*losses, *maybes, *errors])
        }
        Op::Generation { endpoint, generation, python, guests } => {
            memo.python_changed();
            let sql = "UPDATE endpoints SET generation = max(generation, ?2),
                       python = CASE WHEN ?2 >= generation THEN ?3 ELSE python END,
                       guests = CASE WHEN ?2 >= generation THEN ?4 ELSE guests END WHERE endpoint = ?1";
            set(conn, sql, params![endpoint.as_bytes().as_slice(), generation.cast_signed(), python, guests])
        }
        Op::DeleteEndpoint { endpoint } => {
            let sql = "UPDATE endpoints SET deleted = 1 WHERE endpoint = ?1";
            set(conn, sql, params![endpoint.as_bytes().as_slice()])
        }
    }
}

fn set(conn: &Connection, sql: &str, values: impl Params) -> Result<Answer, Error> {
    let changed = conn.prepare_cached(sql)?.execute(values)?;
    Ok(if changed == 0 { Answer::Unknown } else { Answer::Done })
}

fn charge(
    conn: &Connection,
    blocks: &mut Blocks<'_>,
    task: &TaskId,
    [losses, maybes, errors]: [u32; 3],
) -> Result<Answer, Error> {
    let mut find = conn.prepare_cached("SELECT id FROM tasks WHERE task = ?1")?;
    let id: Option<i64> = find.query_row([task.as_bytes().as_slice()], |row| row.get(0)).optional()?;
    let Some(id) = id else { return Ok(Answer::Unknown) };
    if let Some(Slot { state, .. }) = blocks.get(id)? {
        return Ok(Answer::AlreadyEnded { state });
    }
    let sql = "INSERT OR REPLACE INTO charges (id, losses, maybes, errors) VALUES (?1, ?2, ?3, ?4)";
    set(conn, sql, params![id, losses, maybes, errors])
}

fn failed(write: &Write, why: String) -> Done {
    match write {
        Write::Hub(token, _) => Done::Hub(*token, Err(why)),
        Write::Registry(request, _) => Done::Registry(*request, Err(why)),
    }
}

/// A write as the log names it: without what it holds.
fn name(write: &Write) -> String {
    match write {
        Write::Hub(_, Op::Accept { tasks, group, .. }) => format!("{} tasks of group {group}", tasks.len()),
        Write::Hub(_, Op::End { task, ending, .. }) => format!("the end of task {task} ({})", ending.state),
        Write::Hub(_, Op::Charge { task, .. }) => format!("a loss of task {task}"),
        Write::Hub(_, Op::Generation { endpoint, .. }) => format!("the generation of endpoint {endpoint}"),
        Write::Hub(_, Op::DeleteEndpoint { endpoint }) => format!("the deletion of endpoint {endpoint}"),
        Write::Registry(..) => "a change of the registry".to_owned(),
    }
}

/// What is told of a write that failed by itself: later it may succeed if only its file could not be written.
fn refused(write: &Write, error: &Error) -> Done {
    match (write, error.blame()) {
        (Write::Hub(token, _), Blame::Write) => {
            Done::Hub(*token, Ok(Answer::Refused { why: error.to_string() }))
        }
        (write, _) => failed(write, error.to_string()),
    }
}

/// The payloads of a write that go into files.
pub(super) fn large(write: &Write) -> impl Iterator<Item = &Bytes> {
    let (tasks, payload) = match write {
        Write::Hub(_, Op::Accept { tasks, .. }) => (tasks.as_slice(), None),
        Write::Hub(_, Op::End { ending, .. }) => (&[][..], Some(&ending.payload)),
        Write::Registry(_, Change::AddFunction { body, .. }) => (&[][..], Some(body)),
        Write::Hub(..) | Write::Registry(..) => (&[][..], None),
    };
    let args = tasks.iter().filter_map(|task| match &task.args {
        Args::Here(args) => Some(args),
        _ => None,
    });
    args.chain(payload).filter(|data| data.len() > limits::INLINE_BYTES)
}

/// How much a batch writes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// Payload files.
    pub(super) files: usize,
}

/// About what one row and its index entries take in the WAL.
const ROW_BYTES: usize = 300;

impl Weight {
    fn of(batch: &[Write]) -> Self {
        let mut weight = Self::default();
        batch.iter().for_each(|write| weight.add(write));
        weight
    }

    pub(super) fn add(&mut self, write: &Write) {
        match write {
            Write::Hub(_, Op::Accept { tasks, .. }) => {
                tasks.iter().for_each(|task| self.row(task.args.len(), 0))
            }
            Write::Hub(_, Op::End { ending, .. }) => self.row(ending.payload.len(), ending.output.len()),
            Write::Registry(_, Change::AddFunction { body, .. }) => self.row(body.len(), 0),
            Write::Registry(_, Change::Probe) => {
                self.row(0, 0);
                self.files += 1;
            }
            Write::Hub(..) | Write::Registry(..) => self.row(0, 0),
        }
    }

    fn row(&mut self, payload: usize, other: usize) {
        self.rows += 1;
        self.bytes += payload + other + ROW_BYTES;
        self.files += usize::from(payload > limits::INLINE_BYTES);
    }
}

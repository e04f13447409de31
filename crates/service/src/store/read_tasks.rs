//! Reading tasks and results.

use super::packed::{Asked, Record};
use super::read::{Reader, before, bytes, content};
use super::rows::{Content, EndRow, Page, ResultRow, TaskFilter, TaskRow};
use super::slots::{self, Slot};
use super::{Error, row_id, row_n, row_user};
use bursa_core::id::{GroupId, TaskId};
use bursa_core::task::Failure;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::ops::ControlFlow;

/// Results after a cursor.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) rows: Vec<ResultRow>,
    /// The last number looked at, skipped ones included.
    pub(crate) cursor: u64,
    /// There may be more behind it.
    pub(crate) more: bool,
}

/// How much one [`Slice`] holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SliceLimits {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) scanned: usize,
}

const TASK: &str = "SELECT id, task, spec, slots FROM tasks LEFT JOIN ends ON block = id >> 7";
const _: () = assert!(slots::BLOCK_SHIFT == 7);
const RESULT: &str = "id, record, failure, output, file, data";

impl Reader {
    /// A user's task with its end.
    pub(crate) fn task(&self, user_no: i64, task: &TaskId) -> Result<Option<TaskRow>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached(&format!("{TASK} WHERE task = ?1"))?;
        let found = find.query_row([task.as_bytes().as_slice()], task_row).optional()?;
        let Some((mut row, slot)) = found.filter(|(row, _)| row_user(row.id) == user_no) else {
            return Ok(None);
        };
        if let Some(Slot { sequence, .. }) = slot {
            row.end = conn
                .prepare_cached(&format!("SELECT {RESULT} FROM results WHERE id = ?1"))?
                .query_row([row_id(user_no, sequence)], end_row)
                .optional()?;
        }
        Ok(Some(row))
    }

    /// The number of the user who submitted a task, and its group.
    pub(crate) fn submitted_by(&self, task: &TaskId) -> Result<Option<(i64, GroupId)>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached("SELECT id, spec FROM tasks WHERE task = ?1")?;
        let found = find.query_row([task.as_bytes().as_slice()], |row| {
            Ok((row_user(row.get(0)?), Asked::read(row, 1)?.group))
        });
        Ok(found.optional()?)
    }

    /// Whether a user's task has ended; `None`: no such task of his.
    pub(crate) fn ended(&self, user_no: i64, task: &TaskId) -> Result<Option<bool>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached(&format!("{TASK} WHERE task = ?1"))?;
        let found = find.query_row([task.as_bytes().as_slice()], task_row).optional()?;
        Ok(found.filter(|(row, _)| row_user(row.id) == user_no).map(|(_, slot)| slot.is_some()))
    }

    /// A page of a user's tasks, newest first; `Page::before` is a task's place among its user's.
    pub(crate) fn tasks(&self, user_no: i64, filter: &TaskFilter, page: Page) -> Result<Vec<TaskRow>, Error> {
        let ranges = match filter.group {
            Some(_) => " AND EXISTS (SELECT 1 FROM ranges WHERE grp = ?3 AND id BETWEEN first AND last)",
            None => "",
        };
        let sql = format!(
            "{TASK} WHERE id >= ?1 AND id < ?2 AND (?3 IS NULL OR substr(spec, 1, 16) = ?3){ranges}
             AND (?4 IS NULL OR substr(spec, 33, 16) = ?4) AND (?5 IS NULL OR substr(spec, 17, 16) = ?5) ORDER BY id DESC"
        );
        let first = row_id(user_no, 0);
        let end = page.before.map_or(row_id(user_no + 1, 0), |_| first.saturating_add(before(page)));
        let conn = self.lock();
        let mut find = conn.prepare_cached(&sql)?;
        let values = params![
            first,
            end,
            filter.group.as_ref().map(|id| id.as_bytes().as_slice()),
            filter.endpoint.as_ref().map(|id| id.as_bytes().as_slice()),
            filter.function.as_ref().map(|id| id.as_bytes().as_slice())
        ];
        let mut ended = conn.prepare_cached("SELECT record FROM results WHERE id = ?1")?;
        let mut found = Vec::new();
        let mut rows = find.query(values)?;
        while found.len() < page.limit
            && let Some(row) = rows.next()?
        {
            let (mut task, slot) = task_row(row)?;
            if filter.state.is_some_and(|wanted| wanted != task.state) {
                continue;
            }
            if let Some(Slot { sequence, .. }) = slot {
                let id = [row_id(user_no, sequence)];
                task.ended = ended.query_row(id, |row| Ok(Record::read(row, 0)?.ended)).optional()?;
            }
            found.push(task);
        }
        Ok(found)
    }

    /// Tasks of a user's group that have not ended, oldest first, at most `most`; `None`: no such group of his.
    pub(crate) fn live_of_group(
        &self,
        user_no: i64,
        group: &GroupId,
        most: usize,
    ) -> Result<Option<Vec<TaskId>>, Error> {
        let conn = self.lock();
        let id = group.as_bytes().as_slice();
        if group_owner(&conn, group)? != Some(user_no) {
            return Ok(None);
        }
        let mut ranges =
            conn.prepare_cached("SELECT first, last FROM ranges WHERE grp = ?1 ORDER BY first")?;
        let mut find =
            conn.prepare_cached("SELECT task FROM tasks WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3")?;
        let mut tasks = Vec::new();
        let mut ranges = ranges.query([id])?;
        while tasks.len() < most
            && let Some(range) = ranges.next()?
        {
            slots::open(&conn, range.get(0)?, range.get(1)?, |first, last| {
                let left = (most - tasks.len()).cast_signed() as i64;
                let rows = find.query_map([first, last, left], |row| row.get(0).map(TaskId::from_bytes))?;
                for task in rows {
                    tasks.push(task?);
                }
                Ok(if tasks.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
        }
        Ok(Some(tasks))
    }

    /// True if the group is known, and whose it is.
    pub(crate) fn group_owner(&self, group: &GroupId) -> Result<Option<i64>, Error> {
        group_owner(&self.lock(), group)
    }

    /// The newest result's number of a user; 0 when there is none.
    pub(crate) fn newest(&self, user_no: i64) -> Result<u64, Error> {
        let sql = "SELECT max(id), (SELECT last_result FROM users WHERE no = ?3) FROM results
                   WHERE id >= ?1 AND id < ?2";
        let values = [row_id(user_no, 0), row_id(user_no + 1, 0), user_no];
        let conn = self.lock();
        let (id, gone): (Option<i64>, Option<i64>) =
            conn.prepare_cached(sql)?.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(id.map_or(0, row_n).max(gone.unwrap_or_default().cast_unsigned()))
    }

    /// A user's results after `cursor` that `wanted` (group, number) wants, in order, within `limits`.
    pub(crate) fn results(
        &self,
        user_no: i64,
        cursor: u64,
        limits: SliceLimits,
        mut wanted: impl FnMut(&GroupId, u64) -> bool,
    ) -> Result<Slice, Error> {
        let conn = self.lock();
        let sql = format!("SELECT {RESULT} FROM results WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3");
        let mut find = conn.prepare_cached(&sql)?;
        let range = [row_id(user_no, cursor), row_id(user_no + 1, 0), limits.scanned.cast_signed() as i64];
        let mut rows = find.query(range)?;
        let mut slice = Slice { cursor, ..Slice::default() };
        let (mut size, mut scanned) = (0, 0);
        while let Some(row) = rows.next()? {
            if slice.rows.len() >= limits.rows || size >= limits.bytes {
                slice.more = true;
                return Ok(slice);
            }
            let n = row_n(row.get(0)?);
            scanned += 1;
            let record = Record::read(row, 1)?;
            if wanted(&record.group, n) {
                let result = result_row(row, &record)?;
                size += match &result.payload {
                    Content::Here(data) => data.len() + result.output.len(),
                    Content::File(_) => limits.bytes,
                };
                slice.rows.push(result);
            }
            slice.cursor = n;
        }
        slice.more = scanned >= limits.scanned;
        Ok(slice)
    }
}

fn group_owner(conn: &Connection, group: &GroupId) -> Result<Option<i64>, Error> {
    let mut find = conn.prepare_cached("SELECT user_no FROM groups WHERE grp = ?1")?;
    Ok(find.query_row([group.as_bytes().as_slice()], |row| row.get(0)).optional()?)
}

/// A row of [`TASK`].
fn task_row(row: &Row<'_>) -> rusqlite::Result<(TaskRow, Option<Slot>)> {
    let (id, asked) = (row.get(0)?, Asked::read(row, 2)?);
    let slot = row.get_ref(3)?.as_blob_or_null()?.and_then(|slots| Slot::of(slots, id));
    let task = TaskRow {
        id,
        task: TaskId::from_bytes(row.get(1)?),
        group: asked.group,
        function: asked.function,
        endpoint: asked.endpoint,
        container: asked.container,
        resources: asked.resources,
        submitted: asked.submitted,
        state: slot.map(|slot| slot.state),
        ended: None,
        end: None,
    };
    Ok((task, slot))
}

/// A row of [`RESULT`].
fn end_row(row: &Row<'_>) -> rusqlite::Result<EndRow> {
    let record = Record::read(row, 1)?;
    let ResultRow { payload, failure, output, memo, .. } = result_row(row, &record)?;
    let Record { ended, run_ns, starts, timings, .. } = record;
    Ok(EndRow { ended, run_ns, starts, failure, output, payload, memo, timings })
}

fn result_row(row: &Row<'_>, record: &Record) -> rusqlite::Result<ResultRow> {
    Ok(ResultRow {
        n: row_n(row.get(0)?),
        task: record.task,
        state: record.state,
        failure: failure(row, 2)?,
        output: bytes(row, 3)?,
        payload: content(row, 5, 4)?,
        memo: record.memo,
    })
}

/// A failure that cannot be read any more is no failure to read the row.
fn failure(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Failure>> {
    let data = row.get_ref(index)?.as_blob_or_null()?;
    Ok(data.and_then(|data| rmp_serde::from_slice(data).ok()))
}

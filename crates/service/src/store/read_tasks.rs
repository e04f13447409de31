//! Reading tasks and results.

use super::read::{Reader, before, bytes, content, limit, wall};
use super::rows::{Content, EndRow, Page, ResultRow, TaskFilter, TaskRow};
use super::{Error, end, memo, row_id, row_n, row_user};
use bursa_core::id::{ContainerId, EndpointId, FunctionId, GroupId, TaskId};
use bursa_core::task::{Failure, TaskState};
use bursa_core::time::Wall;
use bursa_core::timings::Timings;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

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

const TASK: &str = "id, task, grp, function, endpoint, submitted, state, seq, container";
const END: &str =
    "SELECT ended, run_ns, starts, failure, output, data, file, memo, timings FROM results WHERE id = ?1";

impl Reader {
    /// A user's task with its end.
    pub(crate) fn task(&self, user_no: i64, task: &TaskId) -> Result<Option<TaskRow>, Error> {
        let conn = self.lock();
        let mut find = conn.prepare_cached(&format!("SELECT {TASK} FROM tasks WHERE task = ?1"))?;
        let found = find.query_row([task.as_bytes().as_slice()], task_row).optional()?;
        let Some((mut row, seq)) = found.filter(|(row, _)| row_user(row.id) == user_no) else {
            return Ok(None);
        };
        if seq > 0 {
            row.end = conn.prepare_cached(END)?.query_row([row_id(user_no, seq)], end_row).optional()?;
        }
        Ok(Some(row))
    }

    /// Whether a user's task has ended; `None`: no such task of his.
    pub(crate) fn ended(&self, user_no: i64, task: &TaskId) -> Result<Option<bool>, Error> {
        let found: Option<(i64, bool)> = self
            .lock()
            .prepare_cached("SELECT id, state <> 0 FROM tasks WHERE task = ?1")?
            .query_row([task.as_bytes().as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found.filter(|(id, _)| row_user(*id) == user_no).map(|(_, ended)| ended))
    }

    /// A page of a user's tasks, newest first; `Page::before` is a task's place among its user's.
    pub(crate) fn tasks(&self, user_no: i64, filter: &TaskFilter, page: Page) -> Result<Vec<TaskRow>, Error> {
        let ranges = match filter.group {
            Some(_) => " AND EXISTS (SELECT 1 FROM ranges WHERE grp = ?4 AND id BETWEEN first AND last)",
            None => "",
        };
        let sql = format!(
            "SELECT {TASK}, (SELECT ended FROM results WHERE results.id = ?1 + seq) AS ended FROM tasks
             WHERE id >= ?1 AND id < ?2
             AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR grp = ?4){ranges}
             AND (?5 IS NULL OR endpoint = ?5) AND (?6 IS NULL OR function = ?6) ORDER BY id DESC LIMIT ?7"
        );
        let first = row_id(user_no, 0);
        let end = page.before.map_or(row_id(user_no + 1, 0), |_| first.saturating_add(before(page)));
        let state = filter.state.map(|state| state.map_or(0, end::code_of));
        let conn = self.lock();
        let mut find = conn.prepare_cached(&sql)?;
        let values = params![
            first,
            end,
            state,
            filter.group.as_ref().map(|id| id.as_bytes().as_slice()),
            filter.endpoint.as_ref().map(|id| id.as_bytes().as_slice()),
            filter.function.as_ref().map(|id| id.as_bytes().as_slice()),
            limit(page)
        ];
        let rows = find.query_map(values, listed_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
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
        let mut find = conn.prepare_cached(
            "SELECT t.task FROM ranges r JOIN tasks t ON t.id BETWEEN r.first AND r.last
             WHERE r.grp = ?1 AND t.state = 0 ORDER BY t.id LIMIT ?2",
        )?;
        let rows =
            find.query_map(params![id, most.cast_signed()], |row| row.get(0).map(TaskId::from_bytes))?;
        Ok(Some(rows.collect::<Result<_, _>>()?))
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
        let mut find = conn.prepare_cached(
            "SELECT id, grp, task, state, failure, output, data, file, memo FROM results
             WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        )?;
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
            if wanted(&GroupId::from_bytes(row.get(1)?), n) {
                let result = result_row(row)?;
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

fn task_row(row: &Row<'_>) -> rusqlite::Result<(TaskRow, u64)> {
    let task = TaskRow {
        id: row.get(0)?,
        task: TaskId::from_bytes(row.get(1)?),
        group: GroupId::from_bytes(row.get(2)?),
        function: FunctionId::from_bytes(row.get(3)?),
        endpoint: EndpointId::from_bytes(row.get(4)?),
        container: row.get::<_, Option<[u8; 16]>>(8)?.map(ContainerId::from_bytes),
        submitted: wall(row, 5)?,
        state: end::state_of(row.get(6)?),
        ended: None,
        end: None,
    };
    Ok((task, row.get::<_, i64>(7)?.cast_unsigned()))
}

/// A task with the time of its end, beside the columns of [`TASK`].
fn listed_row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let (mut task, _) = task_row(row)?;
    task.ended = row.get::<_, Option<i64>>("ended")?.map(|ended| Wall(ended.cast_unsigned()));
    Ok(task)
}

fn end_row(row: &Row<'_>) -> rusqlite::Result<EndRow> {
    Ok(EndRow {
        ended: wall(row, 0)?,
        run_ns: row.get::<_, i64>(1)?.cast_unsigned(),
        starts: row.get(2)?,
        failure: failure(row, 3)?,
        output: bytes(row, 4)?,
        payload: content(row, 5, 6)?,
        memo: memo::of_code(row.get(7)?),
        timings: Timings::unpack(row.get_ref(8)?.as_blob_or_null()?.unwrap_or_default()),
    })
}

fn result_row(row: &Row<'_>) -> rusqlite::Result<ResultRow> {
    Ok(ResultRow {
        task: TaskId::from_bytes(row.get(2)?),
        state: end::state_of(row.get(3)?).unwrap_or(TaskState::Failed),
        failure: failure(row, 4)?,
        output: bytes(row, 5)?,
        payload: content(row, 6, 7)?,
        memo: memo::of_code(row.get(8)?),
    })
}

/// A failure that cannot be read any more is no failure to read the row.
fn failure(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Failure>> {
    let data = row.get_ref(index)?.as_blob_or_null()?;
    Ok(data.and_then(|data| rmp_serde::from_slice(data).ok()))
}

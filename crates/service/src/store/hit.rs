//! Tasks that end as they are accepted, since their results were memoized: row and terminal record at once.

use super::accept::Row;
use super::insert::Inserts;
use super::memo::{Hit, Memo};
use super::packed::Record;
use super::rows::{Content, Memoized};
use super::slots::{Blocks, Slot};
use super::write::Counters;
use super::{Error, end, row_id};
use bursa_core::id::TaskId;
use bursa_core::task::TaskState;
use bursa_core::timings::Timings;
use rusqlite::Connection;

/// The tasks of a submit that have a result.
#[derive(Debug)]
pub(super) struct Hits<'t> {
    pub(super) rows: Vec<HitRow<'t>>,
    /// Bytes of their results that are in rows: a submit has a bound for them.
    pub(super) bytes: usize,
    results: u64,
    total: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct HitRow<'t> {
    pub(super) row: Row<'t>,
    payload: Content,
    sequence: u64,
    total: u64,
}

impl<'t> Hits<'t> {
    pub(super) const fn new(user: &Counters) -> Self {
        Self { rows: Vec::new(), bytes: 0, results: user.results, total: user.total }
    }

    pub(super) fn push(&mut self, row: Row<'t>, hit: Hit) {
        self.results += 1;
        self.total += hit.size + row.args.len() as u64;
        self.bytes += hit.payload.here();
        let (sequence, total) = (self.results, self.total);
        self.rows.push(HitRow { row, payload: hit.payload, sequence, total });
    }

    /// Inserts the records.
    pub(super) fn insert(&self, conn: &Connection, user: &Counters) -> rusqlite::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        Inserts::new(conn, end::RESULT)?.insert(&self.rows, |hit, binder| {
            let spec = hit.row.spec;
            let (data, file) = match &hit.payload {
                Content::Here(bytes) => (Some(bytes.as_ref()), None),
                Content::File(hash) => (None, Some(hash.0.as_slice())),
            };
            let record = Record {
                task: spec.task,
                group: spec.group,
                state: TaskState::Success,
                memo: Some(Memoized::Hit),
                starts: 0,
                ended: spec.submitted,
                run_ns: 0,
                total: hit.total,
                timings: Timings::default(),
            };
            binder.put(row_id(user.no, hit.sequence))?;
            binder.put(record.pack().as_ref())?;
            binder.put(None::<&[u8]>)?;
            binder.put(None::<&[u8]>)?;
            binder.put(file)?;
            binder.put(data)
        })
    }

    /// They are in: the user's numbers go on from here. Their names.
    pub(super) fn count(
        self,
        user: &mut Counters,
        memo: &mut Memo<'_>,
        blocks: &mut Blocks<'_>,
    ) -> Result<Vec<TaskId>, Error> {
        for hit in &self.rows {
            blocks.set(hit.row.id, Slot { state: TaskState::Success, sequence: hit.sequence })?;
        }
        if !self.rows.is_empty() {
            (user.results, user.total) = (self.results, self.total);
            memo.hits(user.no, self.rows.len());
        }
        Ok(self.rows.iter().map(|hit| hit.row.spec.task).collect())
    }
}

//! Which tasks have ended, and where their records are: a slot for each task, in blocks beside the tasks' own rows.
//!
//! A task's row is written once. A transaction with many ends changes a few blocks, and what is live is found by a look
//! at slots, not at tasks.

use super::Error;
use bursa_core::task::TaskState;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

/// Tasks of one block, as a power of two: five blocks fill a page.
pub(super) const BLOCK_SHIFT: u32 = 7;
/// Bytes of one slot: a number has 40 bits, a state 2.
const SLOT_BYTES: usize = 6;
const BLOCK_BYTES: usize = SLOT_BYTES << BLOCK_SHIFT;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) state: TaskState,
    /// The number of its record among its user's.
    pub(super) sequence: u64,
}

impl Slot {
    /// The slot of task `id` in its block; `None`: it is live.
    pub(super) fn of(slots: &[u8], id: i64) -> Option<Self> {
        let bytes = slots.get(place(id)..)?.first_chunk::<SLOT_BYTES>()?;
        let packed = bytes.iter().fold(0, |packed, byte| packed << 8 | u64::from(*byte));
        let state = state_of(bytes[SLOT_BYTES - 1] & 3)?;
        Some(Self { state, sequence: packed >> 2 })
    }

    fn pack(self) -> [u8; SLOT_BYTES] {
        let [_, _, bytes @ ..] = (self.sequence << 2 | u64::from(code_of(self.state))).to_be_bytes();
        bytes
    }
}

/// Where in its block the slot of task `id` begins.
fn place(id: i64) -> usize {
    usize::try_from(id & ((1 << BLOCK_SHIFT) - 1)).unwrap_or_default() * SLOT_BYTES
}

/// The stored number of a terminal state.
pub(super) const fn code_of(state: TaskState) -> u8 {
    match state {
        TaskState::Success => 1,
        TaskState::Cancelled => 3,
        _ => 2,
    }
}

/// The terminal state of a stored number; `None`: live.
pub(super) const fn state_of(code: u8) -> Option<TaskState> {
    match code {
        1 => Some(TaskState::Success),
        2 => Some(TaskState::Failed),
        3 => Some(TaskState::Cancelled),
        _ => None,
    }
}

#[derive(Debug)]
struct Block {
    slots: [u8; BLOCK_BYTES],
    is_stored: bool,
    is_changed: bool,
}

/// The blocks that one transaction looks at.
#[derive(Debug)]
pub(super) struct Blocks<'c> {
    conn: &'c Connection,
    blocks: BTreeMap<i64, Box<Block>>,
}

impl<'c> Blocks<'c> {
    pub(super) const fn new(conn: &'c Connection) -> Self {
        Self { conn, blocks: BTreeMap::new() }
    }

    /// How task `id` ended; `None`: it is live, or there is none.
    pub(super) fn get(&mut self, id: i64) -> Result<Option<Slot>, Error> {
        Ok(Slot::of(&self.block(id)?.slots, id))
    }

    /// Task `id` has ended.
    pub(super) fn set(&mut self, id: i64, slot: Slot) -> Result<(), Error> {
        let block = self.block(id)?;
        block.slots[place(id)..][..SLOT_BYTES].copy_from_slice(&slot.pack());
        block.is_changed = true;
        Ok(())
    }

    fn block(&mut self, id: i64) -> Result<&mut Block, Error> {
        Ok(match self.blocks.entry(id >> BLOCK_SHIFT) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let stored = load(self.conn, *place.key())?;
                let (is_stored, slots) = (stored.is_some(), stored.unwrap_or([0; BLOCK_BYTES]));
                place.insert(Box::new(Block { slots, is_stored, is_changed: false }))
            }
        })
    }

    /// Writes what has changed.
    pub(super) fn write(&mut self) -> Result<(), Error> {
        for (no, block) in std::mem::take(&mut self.blocks) {
            let sql = match (block.is_changed, block.is_stored) {
                (false, _) => continue,
                (true, true) => "UPDATE OR FAIL ends SET slots = ?2 WHERE block = ?1",
                (true, false) => "INSERT OR FAIL INTO ends (block, slots) VALUES (?1, ?2)",
            };
            self.conn.prepare_cached(sql)?.execute(params![no, block.slots.as_slice()])?;
        }
        Ok(())
    }
}

fn load(conn: &Connection, block: i64) -> Result<Option<[u8; BLOCK_BYTES]>, Error> {
    let mut find = conn.prepare_cached("SELECT slots FROM ends WHERE block = ?1")?;
    Ok(find.query_row([block], |row| row.get(0)).optional()?)
}

/// Goes through the ids `first..=last` that have no end, as ranges and in order, until `each` says that it is enough.
/// Not every one of them is a task's.
pub(super) fn open(
    conn: &Connection,
    first: i64,
    last: i64,
    mut each: impl FnMut(i64, i64) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let mut find =
        conn.prepare_cached("SELECT block, slots FROM ends WHERE block BETWEEN ?1 AND ?2 ORDER BY block")?;
    let mut rows = find.query([first >> BLOCK_SHIFT, last >> BLOCK_SHIFT])?;
    let mut open = first;
    while let Some(row) = rows.next()? {
        let begin = row.get::<_, i64>(0)? << BLOCK_SHIFT;
        let slots = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        for (id, slot) in (begin..=last).zip(slots.chunks_exact(SLOT_BYTES)) {
            if id < open || slot == [0; SLOT_BYTES] {
                continue;
            }
            if open < id && each(open, id - 1)?.is_break() {
                return Ok(());
            }
            open = id + 1;
        }
    }
    if open <= last {
        let _ = each(open, last)?;
    }
    Ok(())
}

//! Where the hub's task records live: chunks that never move, a free list, and the map from id to slot.
//!
//! Owns memory, not meaning: nothing here knows what a record says. Records sit in chunks so that growth neither copies
//! nor doubles (SPIKE §8: at most 400 bytes per queued task), and everything else names them by a `u32` slot.

use super::task::Task;
use crate::id::{TaskId, UserId};
use crate::map::Map;
use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

/// Place of a record; valid from `insert` to `remove`.
pub(super) type Slot = u32;
/// No slot.
pub(super) const NONE: Slot = Slot::MAX;

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;
/// Chunks that are kept when no task is left.
const KEPT_CHUNKS: usize = 16;

/// All records.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    chunks: Vec<Vec<Task>>,
    free: Vec<Slot>,
    slots: Map<TaskId, Slot>,
    /// Records of each user that has any, by endpoint.
    users: BTreeMap<(UserId, u32), usize>,
}

impl Tasks {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Records of this user.
    pub(super) fn of_user(&self, user: &UserId) -> usize {
        self.users.range((*user, 0)..=(*user, u32::MAX)).map(|(_, count)| count).sum()
    }

    /// Records of this user that name this endpoint.
    pub(super) fn of_user_at(&self, user: &UserId, endpoint: u32) -> usize {
        self.users.get(&(*user, endpoint)).copied().unwrap_or_default()
    }

    pub(super) fn find(&self, task: &TaskId) -> Option<Slot> {
        self.slots.get(task).copied()
    }

    /// The record of `slot` if there was ever one; it may be another by now.
    pub(super) fn peek(&self, slot: Slot) -> Option<&Task> {
        self.chunks.get((slot >> CHUNK_BITS) as usize)?.get(slot as usize & (CHUNK - 1))
    }

    /// Adds a record whose id is not there yet.
    pub(super) fn insert(&mut self, task: Task) -> Slot {
        let (id, owner) = (task.id, (task.user, task.endpoint));
        let slot = match self.free.pop() {
            Some(slot) => {
                self[slot] = task;
                slot
            }
            None => self.grow(task),
        };
        self.slots.insert(id, slot);
        *self.users.entry(owner).or_default() += 1;
        slot
    }

    fn grow(&mut self, task: Task) -> Slot {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunks = self.chunks.len();
        let last = &mut self.chunks[chunks - 1];
        last.push(task);
        // `LIVE_TASKS` keeps the number of records far below 32 bits.
        u32::try_from((chunks - 1) * CHUNK + last.len() - 1).unwrap_or(NONE)
    }

    /// Takes a record out; nothing may link to it any more.
    pub(super) fn remove(&mut self, slot: Slot) {
        let (id, owner) = (self[slot].id, (self[slot].user, self[slot].endpoint));
        self.slots.remove(&id);
        if let Some(count) = self.users.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&owner);
            }
        }
        self[slot].clear();
        self.free.push(slot);
        if self.slots.is_empty() && self.chunks.len() > KEPT_CHUNKS {
            *self = Self::default();
        }
    }
}

impl Index<Slot> for Tasks {
    type Output = Task;

    fn index(&self, slot: Slot) -> &Task {
        &self.chunks[(slot >> CHUNK_BITS) as usize][slot as usize & (CHUNK - 1)]
    }
}

impl IndexMut<Slot> for Tasks {
    fn index_mut(&mut self, slot: Slot) -> &mut Task {
        &mut self.chunks[(slot >> CHUNK_BITS) as usize][slot as usize & (CHUNK - 1)]
    }
}

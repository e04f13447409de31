//! Lists of task records, linked through the records themselves: a task leaves the middle of a list in no time.
//!
//! `WORK` lists are an endpoint's (parked, queue, loading, held), `DUE` lists are buckets of deadlines.

use super::slab::{NONE, Slot, Tasks};

/// Which of a record's links a list uses: the endpoint's lists.
pub(super) const WORK: usize = 0;
/// Which of a record's links a list uses: deadlines.
pub(super) const DUE: usize = 1;

/// Neighbours in one list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    prev: Slot,
    next: Slot,
}

impl Default for Links {
    fn default() -> Self {
        Self { prev: NONE, next: NONE }
    }
}

/// A doubly linked list of records.
#[derive(Debug)]
pub(super) struct List<const KIND: usize> {
    head: Slot,
    tail: Slot,
    len: usize,
}

impl<const KIND: usize> Default for List<KIND> {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}

impl<const KIND: usize> List<KIND> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn front(&self) -> Option<Slot> {
        (self.head != NONE).then_some(self.head)
    }

    /// The record after `slot`.
    pub(super) fn after(tasks: &Tasks, slot: Slot) -> Option<Slot> {
        let next = tasks[slot].links[KIND].next;
        (next != NONE).then_some(next)
    }

    pub(super) fn push_back(&mut self, tasks: &mut Tasks, slot: Slot) {
        tasks[slot].links[KIND] = Links { prev: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = slot,
            tail => tasks[tail].links[KIND].next = slot,
        }
        self.tail = slot;
        self.len += 1;
    }

    pub(super) fn push_front(&mut self, tasks: &mut Tasks, slot: Slot) {
        tasks[slot].links[KIND] = Links { prev: NONE, next: self.head };
        match self.head {
            NONE => self.tail = slot,
            head => tasks[head].links[KIND].prev = slot,
        }
        self.head = slot;
        self.len += 1;
    }

    /// Takes out a record that is in this list.
    pub(super) fn remove(&mut self, tasks: &mut Tasks, slot: Slot) {
        let Links { prev, next } = std::mem::take(&mut tasks[slot].links[KIND]);
        match prev {
            NONE => self.head = next,
            prev => tasks[prev].links[KIND].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => tasks[next].links[KIND].prev = prev,
        }
        self.len -= 1;
    }

    /// Puts all of `other` before what is here.
    pub(super) fn prepend(&mut self, tasks: &mut Tasks, other: Self) {
        if other.len == 0 {
            return;
        }
        match self.head {
            NONE => self.tail = other.tail,
            head => {
                tasks[head].links[KIND].prev = other.tail;
                tasks[other.tail].links[KIND].next = head;
            }
        }
        self.head = other.head;
        self.len += other.len;
    }
}

//! Deadlines (F32, F33): the hub's own timer ends each task in time, whatever the links do.
//!
//! Tasks hang in buckets, coarse for far deadlines and fine for near ones; a bucket is late by at most a 64th of what
//! was left, and never early.

use super::failure;
use super::queue::{DUE, List};
use super::slab::{Slot, Tasks};
use super::task::Phase;
use super::{Cx, Hub};
use crate::task::TaskState;
use crate::time::Mono;
use std::collections::BTreeMap;

/// Tasks ended in one `Tick`: the rest follows in the next, at once.
const SLICE: usize = 1_024;

/// Buckets of deadlines.
#[derive(Debug, Default)]
pub(super) struct Due {
    buckets: BTreeMap<Mono, List<DUE>>,
}

impl Due {
    pub(super) fn add(&mut self, tasks: &mut Tasks, slot: Slot, now: Mono) {
        let deadline = tasks[slot].deadline;
        let width = (deadline.since(now) / 64).clamp(8, 4_096).next_power_of_two();
        // Zero marks a task that is in no bucket.
        let due = Mono(deadline.0.checked_next_multiple_of(width).unwrap_or(deadline.0).max(1));
        tasks[slot].due = due;
        self.buckets.entry(due).or_default().push_back(tasks, slot);
    }

    /// Takes a task out; it may be out already.
    pub(super) fn remove(&mut self, tasks: &mut Tasks, slot: Slot) {
        let due = std::mem::take(&mut tasks[slot].due);
        if due == Mono(0) {
            return;
        }
        if let Some(list) = self.buckets.get_mut(&due) {
            list.remove(tasks, slot);
            if list.len() == 0 {
                self.buckets.remove(&due);
            }
        }
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.buckets.first_key_value().map(|(due, _)| *due)
    }

    fn pop(&mut self, tasks: &mut Tasks, now: Mono) -> Option<Slot> {
        let (due, list) = self.buckets.first_key_value()?;
        if *due > now {
            return None;
        }
        let slot = list.front()?;
        self.remove(tasks, slot);
        Some(slot)
    }
}

impl Hub {
    pub(super) fn run_deadlines(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..SLICE {
            let Some(slot) = self.due.pop(&mut self.tasks, cx.now.mono) else { return };
            match self.tasks[slot].phase {
                // The write under way decides first; if the task lives on, it ends then.
                Phase::Accepting | Phase::Charging => self.tasks[slot].expired = true,
                Phase::Ending => {}
                Phase::Queued | Phase::Sent => {
                    self.end_with(slot, TaskState::Failed, failure::deadline(), cx);
                }
            }
        }
    }
}

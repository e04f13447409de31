//! The attempts this executor holds: open ones, and finished ones until their `Ack` (F20).
//!
//! Owns the table, the bytes of unacknowledged results (F28) and the earliest deadline of what waits. Where an attempt
//! waits is in `lane` and `pool`; why it ended is in `verdict`.

use super::lane::LaneKey;
use crate::id::{TaskId, WorkerId};
use crate::map::Map;
use crate::task::Outcome;
use crate::time::{Fine, Mono};
use crate::wire::{Assign, Attempt, Done};
use bytes::Bytes;
use std::collections::hash_map::Entry as Slot;

/// One attempt of one task: what every table here is keyed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
}

/// Where an open attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Waiting for its function's body (F35).
    Body,
    /// Waiting in its lane for a worker.
    Lane,
    /// In this worker's pipe.
    Pipe(WorkerId),
}

/// An attempt that has not ended.
#[derive(Debug)]
pub(super) struct Open {
    /// As it came: the table's entries stay small.
    pub(super) assign: Box<Assign>,
    /// Not started until then: `expired` (F33).
    pub(super) expires: Mono,
    /// When it came.
    pub(super) came: Fine,
    /// Place in the order of arrival, kept when it goes back from a dead worker's pipe (F19).
    pub(super) arrival: u64,
    pub(super) place: Place,
}

impl Open {
    pub(super) fn lane(&self) -> LaneKey {
        LaneKey::of(&self.assign)
    }

    /// The arguments: shared, not copied.
    pub(super) fn args(&self) -> Bytes {
        self.assign.args.clone().into_bytes()
    }
}

/// An attempt that is held.
#[derive(Debug)]
pub(super) enum Entry {
    Open(Open),
    Finished(Box<Done>),
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    entries: Map<Key, Entry>,
    open: usize,
    arrivals: u64,
    result_bytes: u64,
    /// No waiting attempt expires before this.
    earliest: Option<Mono>,
}

/// What a result counts for in the result window (F28).
fn weight(done: &Done) -> u64 {
    let texts = done
        .failure
        .as_ref()
        .map_or(0, |failure| failure.message.len() + failure.traceback.as_ref().map_or(0, String::len));
    (done.payload.len() + done.output.len() + texts) as u64
}

impl Attempts {
    /// Takes an attempt in that waits in its lane; its arrival, or `None` if it is held already.
    pub(super) fn accept(&mut self, now: Mono, came: Fine, key: Key, assign: Box<Assign>) -> Option<u64> {
        let Slot::Vacant(slot) = self.entries.entry(key) else { return None };
        self.arrivals += 1;
        self.open += 1;
        let expires = now.after(assign.ttl_ms);
        slot.insert(Entry::Open(Open { assign, expires, came, arrival: self.arrivals, place: Place::Lane }));
        self.look_at(expires);
        Some(self.arrivals)
    }

    /// A place in the order of arrival: behind all that arrived, before all that will.
    pub(super) const fn arrive(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    pub(super) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub(super) fn open_mut(&mut self, key: Key) -> Option<&mut Open> {
        match self.entries.get_mut(&key) {
            Some(Entry::Open(open)) => Some(open),
            _ => None,
        }
    }

    /// An open attempt becomes a finished one; `None` if it was not open: it has its one result already (F20).
    pub(super) fn finish(&mut self, key: Key, done: Box<Done>) -> Option<Open> {
        match self.entries.get_mut(&key) {
            Some(entry @ Entry::Open(_)) => {
                self.open -= 1;
                self.result_bytes += weight(&done);
                match std::mem::replace(entry, Entry::Finished(done)) {
                    Entry::Open(open) => Some(open),
                    Entry::Finished(_) => None,
                }
            }
            _ => None,
        }
    }

    /// An open attempt is handed back: nothing of it is kept (F20).
    pub(super) fn give_back(&mut self, key: Key) -> Option<Open> {
        match self.entries.remove(&key) {
            Some(Entry::Open(open)) => {
                self.open -= 1;
                Some(open)
            }
            Some(finished) => {
                self.entries.insert(key, finished);
                None
            }
            None => None,
        }
    }

    /// Forgets a finished attempt if the acknowledgement names its outcome (F23).
    pub(super) fn acknowledge(&mut self, key: Key, outcome: Outcome) {
        let Slot::Occupied(slot) = self.entries.entry(key) else { return };
        if matches!(slot.get(), Entry::Finished(done) if done.outcome == outcome)
            && let Entry::Finished(done) = slot.remove()
        {
            self.result_bytes = self.result_bytes.saturating_sub(weight(&done));
        }
    }

    /// Attempts that have not ended.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn result_bytes(&self) -> u64 {
        self.result_bytes
    }

    /// All of them in the order of their keys.
    pub(super) fn in_order(&self) -> Vec<(Key, &Entry)> {
        let mut all: Vec<_> = self.entries.iter().map(|(key, entry)| (*key, entry)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// When to look for expired attempts next.
    pub(super) const fn earliest(&self) -> Option<Mono> {
        self.earliest
    }

    /// A waiting attempt expires then.
    pub(super) fn look_at(&mut self, expires: Mono) {
        self.earliest = Some(self.earliest.map_or(expires, |earliest| earliest.min(expires)));
    }

    /// The waiting attempts whose time is over; learns when to look again, not before `again`.
    pub(super) fn expired(&mut self, now: Mono, again: Mono) -> Vec<Key> {
        let mut due = Vec::new();
        let mut earliest: Option<Mono> = None;
        for (key, entry) in &self.entries {
            let Entry::Open(open) = entry else { continue };
            if open.expires > now {
                earliest = Some(earliest.map_or(open.expires, |earliest| earliest.min(open.expires)));
            } else if !matches!(open.place, Place::Pipe(_)) {
                due.push(*key);
            }
        }
        due.sort_unstable();
        self.earliest = earliest.map(|earliest| earliest.max(again));
        due
    }
}

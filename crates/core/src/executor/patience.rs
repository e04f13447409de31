//! When an idle worker of another lane makes room for a call: how long calls wait here, and the alarm for it.

use super::Executor;
use super::attempt::Entry;
use super::lane::{Lane, LaneKey};
use super::pool::Worker;
use crate::patience::Own;
use crate::time::Mono;

impl Executor {
    /// How many of the lane's attempts may have a worker of another lane make room.
    pub(super) fn due(&self, now: Mono, key: LaneKey) -> usize {
        self.lanes.get(key).map_or(0, |lane| self.due_in(now, lane).0)
    }

    /// The same, and in how many ns the next one may.
    fn due_in(&self, now: Mono, lane: &Lane) -> (usize, Option<u64>) {
        let moved = lane.workers.iter().filter_map(|id| self.pool.get(*id)).map(|worker| worker.since).max();
        let first = lane.waiting.first_key_value().and_then(|(_, key)| self.attempts.get(*key));
        let hash = if let Some(Entry::Open(open)) = first { Some(open.assign.hash) } else { None };
        let own = Own {
            workers: lane.workers.len(),
            queued: 0,
            // Until the first is ready, nobody knows how long that takes.
            start_ns: lane.start_ns.unwrap_or(u64::MAX),
            run_ns: hash.and_then(|hash| self.depths.mean(hash)),
            still_ns: moved.map_or(0, |moved| now.since(moved).saturating_mul(1_000_000)),
        };
        let waited = lane.waiting.values().filter_map(|key| match self.attempts.get(*key)? {
            Entry::Open(open) => Some(self.clock.since(open.came)),
            Entry::Finished(_) => None,
        });
        own.due(lane.waiting.len(), waited)
    }

    /// Sets the alarm for the next attempt that will have waited long enough beside an idle worker.
    pub(super) fn watch_patience(&mut self, now: Mono) {
        self.patience = None;
        if self.lanes.len() < 2 || !self.pool.workers.values().any(Worker::is_idle) {
            return;
        }
        let some = self.lanes.iter().filter(|lane| !lane.waiting.is_empty() && lane.start_ns.is_some());
        let next = some.filter_map(|lane| self.due_in(now, lane).1).min();
        self.patience = next.map(|ns| now.after(ns.div_ceil(1_000_000)));
    }

    /// Some have waited long enough.
    pub(super) fn tick_patience(&mut self, now: Mono) {
        if self.patience.take_if(|at| now >= *at).is_some() {
            self.wake_all();
        }
    }
}

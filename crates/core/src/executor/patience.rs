//! How long a call waits for a worker of its own lane before an idle one of another lane makes room for it: as long as a
//! start takes. Before that, a worker of its own is the better bet; after it, the start would have been.

use super::Executor;
use super::attempt::{Entry, Key};
use super::lane::{Lane, LaneKey};
use super::pool::Worker;
use crate::time::Mono;

impl Executor {
    /// How many of the lane's attempts have waited long enough; all, if there is no worker of its own to wait for.
    pub(super) fn due(&self, key: LaneKey) -> usize {
        let Some(lane) = self.lanes.get(key) else { return 0 };
        if lane.workers.is_empty() {
            return lane.waiting.len();
        }
        // The first that is ready tells how long a start takes.
        let Some(start_ns) = lane.start_ns else { return 0 };
        lane.waiting.values().take_while(|key| self.patience(**key, start_ns) == 0).count()
    }

    /// For how many ns an attempt still waits.
    fn patience(&self, key: Key, start_ns: u64) -> u64 {
        let Some(Entry::Open(open)) = self.attempts.get(key) else { return 0 };
        start_ns.saturating_sub(self.clock.since(open.came))
    }

    /// Sets the alarm for the next attempt that will have waited long enough beside an idle worker.
    pub(super) fn watch_patience(&mut self, now: Mono) {
        self.patience = None;
        if self.lanes.len() < 2 || !self.pool.workers.values().any(Worker::is_idle) {
            return;
        }
        let first = |lane: &Lane| Some((*lane.waiting.first_key_value()?.1, lane.start_ns?));
        let waits = self.lanes.iter().filter_map(first).map(|(key, start_ns)| self.patience(key, start_ns));
        let next = waits.filter(|ns| *ns > 0).min();
        self.patience = next.map(|ns| now.after(ns.div_ceil(1_000_000)));
    }

    /// Some have waited long enough.
    pub(super) fn tick_patience(&mut self, now: Mono) {
        if self.patience.take_if(|at| now >= *at).is_some() {
            self.wake_all();
        }
    }
}

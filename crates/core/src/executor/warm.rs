//! Warm workers: some are made before the first call and stay when idle (`min_warm`). One that has not run a call yet
//! belongs to nobody, and then to the first lane that needs it.

use super::Executor;
use super::event::Action;
use super::lane::LaneKey;
use super::pool::{Phase, Worker};
use crate::id::WorkerId;
use crate::time::Mono;

impl Executor {
    /// Workers that are there without calls.
    fn min_warm(&self) -> usize {
        self.config.min_warm.min(self.config.workers) as usize
    }

    /// Makes what is missing of the workers that are kept warm.
    pub(super) fn keep_warm(&mut self, now: Mono, out: &mut Vec<Action>) {
        let missing = self.min_warm().saturating_sub(self.pool.workers.len());
        let missing = if missing == 0 { 0 } else { missing.min(self.spare_slots()) };
        if missing > 0 && self.may_start(now) && self.spawning.may(now) {
            for _ in 0..missing {
                self.make_worker(now, LaneKey::SPARE, out);
            }
        }
    }

    /// Slots that nobody waits for.
    fn spare_slots(&self) -> usize {
        self.pool.free().less(&self.starved(LaneKey::SPARE)).slots as usize
    }

    /// After how long an idle worker ends; `None`: none does, there are no more than are kept warm.
    pub(super) fn idle_ms(&self) -> Option<u64> {
        let leaves = |worker: &&Worker| matches!(worker.phase, Phase::Closing | Phase::Leaving);
        let leaving = self.pool.workers.values().filter(leaves).count();
        let staying = self.pool.workers.len().saturating_sub(leaving);
        (staying > self.min_warm()).then_some(self.config.idle_ms)
    }

    /// Gives workers that belong to nobody to a lane with more calls than workers that will take them.
    pub(super) fn claim(&mut self, now: Mono, key: LaneKey, out: &mut Vec<Action>) {
        if key.container.is_some() || !key.asks.is_none() || self.lanes.get(LaneKey::SPARE).is_none() {
            return;
        }
        let spares =
            self.pool.of(LaneKey::SPARE, |worker| matches!(worker.phase, Phase::Starting | Phase::Ready));
        for id in spares {
            if self.lanes.get(key).is_none_or(|lane| lane.waiting.len() <= lane.starting) {
                break;
            }
            self.hand_over(id, key);
            self.give(now, id, out);
        }
        self.lanes.tidy(LaneKey::SPARE);
    }

    fn hand_over(&mut self, id: WorkerId, key: LaneKey) {
        let Some(worker) = self.pool.get_mut(id) else { return };
        worker.lane = key;
        let starts = usize::from(worker.phase == Phase::Starting);
        let start_ns = (starts == 0).then(|| worker.made.1.since(worker.made.0));
        self.lanes.leave(LaneKey::SPARE, id);
        let spare = self.lanes.lane(LaneKey::SPARE);
        spare.starting = spare.starting.saturating_sub(starts);
        let lane = self.lanes.lane(key);
        lane.workers.push(id);
        lane.starting += starts;
        lane.start_ns = lane.start_ns.or(start_ns);
    }
}

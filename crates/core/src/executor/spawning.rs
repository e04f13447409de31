//! Workers that cannot be made: back-off, and the guard that stops a runaway of them.
//!
//! After [`limits::RUNAWAY`] failures in a row the executor is degraded: it makes no more workers but one probe now and
//! then, hands back what waits for one, and says why. The first worker that is ready ends it.

use super::Executor;
use super::event::Action;
use super::lane::{Lane, LaneKey};
use super::pool::Phase;
use crate::limits;
use crate::time::Mono;

/// When the next worker may be made.
#[derive(Debug, Default)]
pub(super) struct Spawning {
    /// In a row; workers that were asked for together fail together, and count once.
    failures: u32,
    failed_at: Option<Mono>,
    not_before: Option<Mono>,
    /// The newest failure.
    last: Option<(LaneKey, String)>,
}

impl Spawning {
    /// A worker that was asked for at `asked` could not be made: the next one later.
    pub(super) fn failed(
        &mut self,
        now: Mono,
        asked: Mono,
        lane: LaneKey,
        why: &str,
        jittered: impl FnOnce(u64) -> u64,
    ) {
        if self.failed_at.is_none_or(|failed| asked > failed) {
            self.failures = self.failures.saturating_add(1);
            let wait_ms = limits::start_backoff_ms(limits::SPAWN_BACKOFF_MS, self.failures);
            self.not_before = Some(now.after(jittered(wait_ms)));
        }
        self.failed_at = Some(now);
        self.last = Some((lane, why[..why.floor_char_boundary(limits::TROUBLE_BYTES)].to_owned()));
    }

    /// A worker is there.
    pub(super) fn worked(&mut self) {
        *self = Self::default();
    }

    /// So many could not be made that no more are asked for.
    pub(super) const fn is_degraded(&self) -> bool {
        self.failures >= limits::RUNAWAY
    }

    pub(super) fn may(&self, now: Mono) -> bool {
        !self.is_degraded() && self.not_before.is_none_or(|at| now >= at)
    }

    /// The back-off is over; `true` if it ended now.
    pub(super) fn retry(&mut self, now: Mono) -> bool {
        self.not_before.take_if(|at| now >= *at).is_some()
    }

    /// Why the last worker could not be made, for people.
    pub(super) fn trouble(&self) -> Option<String> {
        let (_, why) = self.last.as_ref()?;
        let times =
            if self.failures > 1 { format!(" {} times in a row", self.failures) } else { String::new() };
        Some(format!("workers could not be started{times}: {why}"))
    }

    pub(super) const fn next_deadline(&self) -> Option<Mono> {
        self.not_before
    }
}

impl Executor {
    /// A worker could not be made, and nobody knows that it is its lane's own fault.
    pub(super) fn back_off(
        &mut self,
        now: Mono,
        asked: Mono,
        key: LaneKey,
        why: &str,
        out: &mut Vec<Action>,
    ) {
        let (rng, degraded) = (&mut self.rng, self.spawning.is_degraded());
        self.spawning.failed(now, asked, key, why, |ms| rng.jitter(ms));
        if self.spawning.is_degraded() && !degraded {
            let text = "no more workers are started but a probe now and then, and no calls are taken";
            out.push(Action::Log { text: format!("this executor is degraded: {text}") });
        }
    }

    /// The back-off is over: all may make workers again, or one probe does while degraded.
    pub(super) fn tick_spawning(&mut self, now: Mono, out: &mut Vec<Action>) {
        if !self.spawning.retry(now) {
            return;
        }
        if !self.spawning.is_degraded() {
            return self.wake_all();
        }
        let waits = self.lanes.with_work().filter(|lane| !self.has_worker(*lane));
        let first = waits.min_by_key(|lane| self.lanes.get(*lane).and_then(Lane::first));
        // A container's lane may be gone, and with it what it is started from.
        let last = self.spawning.last.as_ref().map(|(lane, _)| *lane);
        let spare = |lane: LaneKey| lane.container.is_some() || !lane.asks.is_none();
        let last = last.map(|lane| if spare(lane) { LaneKey::SPARE } else { lane });
        let Some(lane) = first.or(last) else { return };
        let share = self.share(&lane.asks);
        if self.may_start(now) && self.pool.free().holds(&share) {
            self.make_worker(now, lane, out);
        } else {
            // Idle workers of others must not keep it out for ever.
            self.make_room(now, lane, &share, 1, out);
            self.spawning.not_before = Some(now.after(limits::PROBE_MS.0));
        }
    }

    /// Degraded and without any worker: what waits goes back to the manager, since others may be able to run it.
    pub(super) fn withdraw(&mut self) {
        if !self.spawning.is_degraded() || self.credit() > 0 || self.lanes.waiting() == 0 {
            return;
        }
        // First that there is no more credit: the manager must not give them back at once.
        if self.uplink.is_up() {
            self.report_capacity();
        }
        let stuck: Vec<LaneKey> = self.lanes.with_work().collect();
        for lane in stuck {
            while let Some(key) = self.lanes.get(lane).and_then(|lane| lane.waiting.values().next().copied())
            {
                self.hand_back(key);
            }
        }
    }

    fn has_worker(&self, lane: LaneKey) -> bool {
        self.pool.workers.values().any(|worker| worker.lane == lane && worker.phase == Phase::Ready)
    }
}

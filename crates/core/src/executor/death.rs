//! Workers that are gone or never came: what becomes of the calls in their pipes (F19).

use super::attempt::Open;
use super::event::{Action, WorkerExit};
use super::pool::{Call, Fate, Phase, Worker};
use super::{Executor, Key, verdict};
use crate::id::WorkerId;
use crate::task::{Begun, Failure, Outcome};
use crate::time::Mono;
use crate::wire::{Done, Item};
use bytes::Bytes;

/// A worker's end, as far as its calls are concerned.
struct Death {
    exit: WorkerExit,
    /// Which call of its pipe it died in.
    last: usize,
    output: Bytes,
    /// By our own signal.
    ours: bool,
}

impl Executor {
    /// A worker could not be made. What waits in its lane waits for the next one; but where other workers can be made
    /// and this lane has none, the fault is the lane's own, and what waits there ends with the reason. So is a container
    /// in which no worker is ready: that says nothing of what other lanes can do.
    pub(super) fn worker_failed(&mut self, now: Mono, id: WorkerId, why: &str, out: &mut Vec<Action>) {
        let Some(worker) = self.pool.get(id).filter(|worker| worker.phase == Phase::Starting) else {
            self.ignored += 1;
            return;
        };
        let (key, asked) = (worker.lane, worker.since);
        self.pool.remove(id);
        self.lanes.leave(key, id);
        let lane = self.lanes.lane(key);
        lane.starting = lane.starting.saturating_sub(1);
        let ready = |worker: &Worker| worker.phase == Phase::Ready;
        let alone = !self.pool.workers.values().any(ready);
        let unusable = key.container.is_some() && self.pool.of(key, ready).is_empty();
        let orphaned = unusable || (lane.workers.is_empty() && !alone);
        out.push(Action::Log { text: format!("a worker could not be started: {why}") });
        // A probe that is the only one must be followed by the next.
        if !unusable || self.spawning.is_degraded() {
            self.back_off(now, asked, key, why, out);
        }
        while orphaned
            && let Some(key) = self.lanes.get(key).and_then(|lane| lane.waiting.values().next().copied())
        {
            let failure = verdict::environment(why, &self.config.host);
            self.finish(verdict::ended(key, Outcome::Environment, Begun::No, Some(failure)));
        }
        self.lanes.tidy(key);
        self.capacity_news = true;
        self.wake_all();
    }

    /// A worker is gone, and its socket was read to the end.
    pub(super) fn worker_exited(
        &mut self,
        now: Mono,
        id: WorkerId,
        exit: WorkerExit,
        begun: u64,
        output: Bytes,
        out: &mut Vec<Action>,
    ) {
        match self.pool.get(id).map(|worker| worker.phase) {
            None => self.ignored += 1,
            Some(Phase::Starting) => {
                let why = verdict::stillborn(exit, &output);
                self.worker_failed(now, id, &why, out);
            }
            Some(_) => self.bury(id, exit, begun, output),
        }
    }

    fn bury(&mut self, id: WorkerId, exit: WorkerExit, begun: u64, output: Bytes) {
        let Some(worker) = self.pool.remove(id) else { return };
        self.lanes.leave(worker.lane, id);
        self.lanes.tidy(worker.lane);
        let begun = worker.begun(begun);
        let mut death = Death { exit, last: begun.saturating_sub(1), output, ours: worker.signalled };
        for (place, call) in worker.pipe.into_iter().enumerate() {
            // The head counts as one that may have begun in any case: were it never charged, one that kills its worker
            // and tells nothing would be run for ever.
            if place <= death.last {
                let begun = if place < begun || call.started { Begun::Yes } else { Begun::Unknown };
                let done = self.ended_with_worker(&call, place, begun, &mut death);
                self.finish(done);
            } else {
                self.never_begun(&call);
            }
        }
        self.capacity_news = true;
        self.wake_all();
    }

    /// Its worker died in it, or before its result was sent.
    fn ended_with_worker(&self, call: &Call, place: usize, begun: Begun, death: &mut Death) -> Box<Done> {
        let host = &self.config.host;
        let (outcome, failure): (_, Failure) = match call.fate {
            Some(Fate::Cancelled(_)) => (Outcome::Cancelled, verdict::cancelled(begun, host)),
            Some(Fate::TimedOut) => (Outcome::Timeout, verdict::timeout(call.timeout_ms.unwrap_or(0), host)),
            None if self.drain.is_some() && death.ours => (Outcome::Lost, verdict::preempted(host)),
            None if death.ours || place < death.last => (Outcome::Lost, verdict::bystander(host)),
            None => (Outcome::Died, verdict::died(death.exit, begun, host)),
        };
        let mut done = verdict::ended(call.key, outcome, begun, Some(failure));
        if place == death.last {
            done.output = verdict::tail(std::mem::take(&mut death.output));
        }
        done
    }

    /// Provably not begun: to another worker under the same number (F16, F19), or ended as asked.
    pub(super) fn never_begun(&mut self, call: &Call) {
        if call.fate.is_some() {
            let failure = verdict::cancelled(Begun::No, &self.config.host);
            self.finish(verdict::ended(call.key, Outcome::Cancelled, Begun::No, Some(failure)));
        } else if self.drain.is_some() {
            self.hand_back(call.key);
        } else {
            self.enqueue(call.key);
        }
    }

    /// `returned`: no longer held, never started; neither kept nor acknowledged (F20).
    pub(super) fn hand_back(&mut self, key: Key) {
        let Some(open): Option<Open> = self.attempts.give_back(key) else { return };
        self.unplace(key, &open);
        self.uplink.say(Item::Result(verdict::ended(key, Outcome::Returned, Begun::No, None)));
    }
}

//! What workers say while they live: ready, started, done, a body is missing; and the timers of their calls.

use super::event::{Action, Signal, WorkerDone};
use super::pool::{Fate, Phase};
use super::{Executor, Key, verdict};
use crate::id::{Hash, WorkerId};
use crate::limits;
use crate::time::Mono;

impl Executor {
    pub(super) fn worker_ready(&mut self, now: Mono, id: WorkerId, python: String) {
        let Some(worker) = self.pool.get_mut(id).filter(|worker| worker.phase == Phase::Starting) else {
            self.ignored += 1;
            return;
        };
        worker.phase = Phase::Ready;
        worker.since = now;
        worker.made.1 = self.clock;
        let (key, (asked, ready)) = (worker.lane, worker.made);
        let lane = self.lanes.lane(key);
        lane.starting = lane.starting.saturating_sub(1);
        lane.start_ns = Some(ready.since(asked));
        if lane.waiting.is_empty() {
            // What it was made for is gone: another lane may want its slot.
            self.wake_all();
        } else {
            self.todo.insert(key);
        }
        self.python = python;
        self.spawning.worked();
        self.capacity_news = true;
    }

    /// A call began, at the latest now: its time counts from here.
    pub(super) fn worker_started(&mut self, now: Mono, id: WorkerId, key: Key) {
        let Some(worker) = self.pool.get_mut(id) else {
            self.ignored += 1;
            return;
        };
        match worker.pipe.front_mut() {
            Some(head) if head.key == key && !head.started => {
                head.started = true;
                if head.fate.is_none() {
                    worker.arm(now);
                }
                self.begun.push((key, id));
            }
            _ => self.ignored += 1,
        }
    }

    /// A call ended: whatever was to become of it, this is its one result (F20).
    pub(super) fn worker_done(&mut self, now: Mono, id: WorkerId, done: WorkerDone, out: &mut Vec<Action>) {
        let key = Key { task: done.task, attempt: done.attempt };
        let worker = self.pool.get_mut(id);
        let Some((call, worker)) = worker.and_then(|worker| Some((worker.pop(now, key)?, &*worker))) else {
            self.ignored += 1;
            return;
        };
        self.depths.record(call.hash, done.run_ns);
        let mut done = verdict::from_worker(done, &self.config.host);
        worker.time(&call, self.clock, &mut done.timings);
        self.finish(done);
        self.refill(now, id, out);
    }

    /// A worker forgot a body: it is pinned here as long as one of its calls needs it.
    pub(super) fn worker_needs(&mut self, id: WorkerId, hash: Hash, out: &mut Vec<Action>) {
        let needs = |worker: &super::pool::Worker| worker.pipe.iter().any(|call| call.hash == hash);
        match self.bodies.get(hash) {
            Some(body) if self.pool.get(id).is_some_and(needs) => {
                out.push(Action::Load { worker: id, hash, body: body.clone() });
            }
            _ => self.ignored += 1,
        }
    }

    /// Timeouts, graces that are over, and idle workers.
    pub(super) fn tick_workers(&mut self, now: Mono, out: &mut Vec<Action>) {
        let idle_ms = self.idle_ms();
        let is_due = |at: Option<Mono>| at.is_some_and(|at| now >= at);
        let due: Vec<WorkerId> = self
            .pool
            .workers
            .iter()
            .filter(|(_, worker)| is_due(worker.next_deadline(idle_ms)))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(worker) = self.pool.get_mut(id) else { continue };
            if is_due(worker.kill_at) {
                worker.kill_at = None;
                worker.signalled = true;
                out.push(Action::Signal { worker: id, signal: Signal::Kill });
            } else if is_due(worker.deadline) {
                self.call_is_due(now, id, out);
            } else if is_due(worker.recall_due()) {
                out.push(Action::CountBegun { worker: id });
            } else if self.idle_ms().is_some() {
                self.retire(now, id, out);
                self.capacity_news = true;
            }
        }
    }

    /// The head ran out of time or patience.
    fn call_is_due(&mut self, now: Mono, id: WorkerId, out: &mut Vec<Action>) {
        let Some(worker) = self.pool.get_mut(id) else { return };
        worker.deadline = None;
        let Some(head) = worker.pipe.front_mut() else { return };
        let grace_ms = match *head.fate.get_or_insert(Fate::TimedOut) {
            Fate::Cancelled(grace_ms) => grace_ms,
            Fate::TimedOut => limits::GRACE_MS,
        };
        self.stop_worker(now, id, grace_ms, out);
    }

    /// SIGTERM now, SIGKILL after the grace; the worker takes nothing more and is replaced on demand.
    pub(super) fn stop_worker(&mut self, now: Mono, id: WorkerId, grace_ms: u64, out: &mut Vec<Action>) {
        let Some(worker) = self.pool.get_mut(id) else { return };
        if worker.signalled {
            return;
        }
        worker.signalled = true;
        worker.phase = Phase::Leaving;
        let lane = worker.lane;
        let signal = if grace_ms == 0 { Signal::Kill } else { Signal::Term };
        worker.kill_at = (grace_ms > 0).then(|| now.after(grace_ms));
        self.lanes.leave(lane, id);
        self.todo.insert(lane);
        out.push(Action::Signal { worker: id, signal });
    }
}

//! What the world does with workers: starts, calls, timers, signals and deaths.

use super::node::ExecutorProc;
use super::shape::{Act, Call};
use super::worker::{Did, Queued, Worker};
use super::{Due, Note, Pid, World};
use crate::executor::{Action, Event, Signal, WorkerExit};
use crate::id::WorkerId;
use bytes::Bytes;

impl World {
    /// An executor's action that concerns a worker.
    pub(super) fn perform_worker(&mut self, pid: Pid, action: Action) {
        let now = self.now;
        if self.trace.is_on() {
            let line = format!("X{} {}", pid.0, self.check.show_worker_action(&action));
            self.trace.add(now, || line);
        }
        let Some(proc) = self.executors.get_mut(&pid) else { return };
        match action {
            Action::Spawn { worker, asks, .. } => {
                proc.workers.insert(worker, Worker::of(asks));
                self.check.bound_workers(proc, self.shape.workers);
                self.workers += 1;
                self.workers_most = self.workers_most.max(self.workers);
                let delay = 1_000 + self.soon(200_000);
                self.at(delay, Due::WorkerUp(pid, worker));
            }
            Action::Load { worker, hash, .. } => {
                let did = proc.workers.get_mut(&worker).map(|w| w.load(worker, now, hash));
                self.carry_out(pid, worker, did.unwrap_or_default());
            }
            Action::Run { worker, task, attempt, hash, args, flush, .. } => {
                let wanted = Call::bytes(&task, Call::of(&task, self.shape.calls).args_len);
                if args != wanted {
                    self.check.fail("args", format!("{task} is run with other arguments"));
                }
                if !proc.workers.contains_key(&worker) {
                    // It died and its executor does not know yet: nobody will know whether the call began.
                    self.check.died(&[], &[task]);
                    return;
                }
                let call = Queued { task, attempt, hash, flush };
                let did = proc.workers.get_mut(&worker).map(|w| w.run(worker, now, call));
                self.carry_out(pid, worker, did.unwrap_or_default());
            }
            Action::Withhold { worker, calls } => {
                if let Some(worker) = proc.workers.get_mut(&worker) {
                    worker.withheld = calls;
                }
            }
            Action::CountBegun { worker } => {
                if let Some(begun) = proc.workers.get(&worker).map(|worker| worker.calls) {
                    self.post(pid, Note::Executor(Event::WorkerBegun { worker, begun }));
                }
            }
            Action::Signal { worker, signal } => self.signal(pid, worker, signal),
            Action::Retire { worker } => {
                let did = proc.workers.get_mut(&worker).map(|w| {
                    w.retiring = true;
                    w.proceed(worker, now)
                });
                self.carry_out(pid, worker, did.unwrap_or_default());
            }
            _ => {}
        }
    }

    fn worker(&mut self, pid: Pid, worker: WorkerId) -> Option<&mut Worker> {
        self.executors.get_mut(&pid).and_then(|proc: &mut ExecutorProc| proc.workers.get_mut(&worker))
    }

    pub(super) fn worker_up(&mut self, pid: Pid, id: WorkerId) {
        if self.worker(pid, id).is_none() {
            return;
        }
        let mixed = self.shape.calls == super::Calls::Mixed;
        let (now, breaks) = (self.now, mixed && self.rng.below(1_000) == 0);
        let outage = self.soon(60_000_000);
        let Some(proc) = self.executors.get_mut(&pid) else { return };
        if breaks {
            proc.broken_until = now + outage;
        }
        if now < proc.broken_until || (mixed && self.rng.below(200) == 0) {
            self.check.environment_failed = true;
            if let Some(proc) = self.executors.get_mut(&pid) {
                proc.workers.remove(&id);
            }
            self.workers -= 1;
            let event = Event::WorkerFailed { worker: id, why: "no such interpreter".into() };
            return self.post(pid, Note::Executor(event));
        }
        let now = self.now;
        self.post(pid, Note::Executor(Event::WorkerReady { worker: id, python: "3.12".into() }));
        let did = self.worker(pid, id).map(|worker| {
            worker.ready = true;
            worker.proceed(id, now)
        });
        self.carry_out(pid, id, did.unwrap_or_default());
    }

    pub(super) fn worker_ends(&mut self, pid: Pid, id: WorkerId, call: u64) {
        let (now, calls) = (self.now, self.shape.calls);
        let Some(worker) = self.worker(pid, id) else { return };
        if worker.calls != call {
            return;
        }
        let Some(running) = worker.running() else { return };
        let task = running.task;
        if worker.dying {
            return self.end_worker(pid, id, Some(15), None);
        }
        if now < self.races_until && self.rng.below(2) == 0 {
            let delay = self.soon(6_000);
            self.at(delay, Due::Cancel(task));
        }
        match Call::of(&task, calls).act {
            Act::Crash => return self.end_worker(pid, id, Some(11), None),
            Act::Raise => self.check.raised(task),
            Act::Return => {}
        }
        self.check.progress(now);
        let did = self.worker(pid, id).map(|worker| worker.finish(id, now, calls));
        self.carry_out(pid, id, did.unwrap_or_default());
    }

    fn carry_out(&mut self, pid: Pid, id: WorkerId, did: Vec<Did>) {
        for did in did {
            match did {
                Did::Said(event) => self.post(pid, Note::Executor(event)),
                Did::Left => self.end_worker(pid, id, None, Some(0)),
                Did::Began(call) => {
                    self.check.progress(self.now);
                    let ended = self.store.ended(&call.task);
                    self.trace(|| format!("X{} w{} begins a call (ended: {ended})", pid.0, id.0));
                    self.check.began(&call.task, call.attempt);
                    let run = Call::of(&call.task, self.shape.calls).run_us;
                    let calls = self.worker(pid, id).map_or(0, |worker| worker.calls);
                    self.at(run, Due::WorkerEnds(pid, id, calls));
                }
            }
        }
    }

    fn signal(&mut self, pid: Pid, id: WorkerId, signal: Signal) {
        let calls = self.shape.calls;
        let Some(worker) = self.worker(pid, id) else { return };
        let delay = match signal {
            Signal::Kill => 100,
            Signal::Term => {
                worker.dying = true;
                worker.running().map_or(0, |call| Call::of(&call.task, calls).stubborn_us)
            }
        };
        let signal = if signal == Signal::Kill { 9 } else { 15 };
        self.at(delay, Due::WorkerDies(pid, id, signal));
    }

    /// A worker's process ends: by a signal, or by itself.
    pub(super) fn end_worker(&mut self, pid: Pid, id: WorkerId, signal: Option<i32>, exit: Option<i32>) {
        let Some(worker) = self.executors.get_mut(&pid).and_then(|proc| proc.workers.remove(&id)) else {
            return;
        };
        self.workers -= 1;
        self.trace(|| format!("X{} w{} ends, signal {signal:?}", pid.0, id.0));
        let (begun, waiting) = worker.contents();
        self.check.died(&begun, &waiting);
        let exit = WorkerExit { signal, exit, maxrss_kb: 1_000, ..WorkerExit::default() };
        let event = Event::WorkerExited { worker: id, exit, begun: worker.calls, output: Bytes::new() };
        self.post(pid, Note::Executor(event));
    }
}

//! A worker process as the protocol describes it (`docs/protocol.md` §4): one pipe, one call at a time, results held
//! back for some milliseconds, `started` only for a call that lasts.
//!
//! So a worker that dies takes results with it that nobody was told of; how many calls it began is known.

use super::Us;
use super::shape::{Act, Call, Calls};
use crate::executor::{Event, Verdict, WorkerDone};
use crate::id::{Hash, TaskId, WorkerId};
use crate::resources::Resources;
use crate::wire::Attempt;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// How long a worker holds results back.
const LINGER_US: Us = 4_000;

/// One call in a worker's pipe.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
    pub(super) hash: Hash,
    pub(super) flush: bool,
}

/// One worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// What it was made with.
    pub(super) asks: Resources,
    pub(super) ready: bool,
    pipe: VecDeque<Queued>,
    bodies: BTreeSet<Hash>,
    needs: Option<Hash>,
    /// The call that waits for that body: it counts as begun.
    fetching: Option<Queued>,
    running: Option<Queued>,
    unsent: Vec<WorkerDone>,
    last_sent: Us,
    /// Raised with each call, skipped or not: timers of earlier ones are stale.
    pub(super) calls: u64,
    /// It begins none of its first so many.
    pub(super) withheld: u64,
    /// Told to finish its pipe and end.
    pub(super) retiring: bool,
    /// Told by SIGTERM to end; dies when its call lets it.
    pub(super) dying: bool,
}

/// What a worker did, for the world to carry out.
#[derive(Debug)]
pub(super) enum Did {
    /// It says this to its executor.
    Said(Event),
    /// It began a call: in truth, told or not.
    Began(Queued),
    /// It ended in order.
    Left,
}

impl Worker {
    pub(super) fn of(asks: Resources) -> Self {
        Self { asks, ..Self::default() }
    }

    /// Calls that die with it: the begun one and those whose results were not sent (started), and the rest.
    pub(super) fn contents(&self) -> (Vec<TaskId>, Vec<TaskId>) {
        let begun = self
            .running
            .iter()
            .chain(&self.fetching)
            .map(|call| call.task)
            .chain(self.unsent.iter().map(|done| done.task));
        (begun.collect(), self.pipe.iter().map(|call| call.task).collect())
    }

    /// The call it runs.
    pub(super) fn running(&self) -> Option<&Queued> {
        self.running.as_ref()
    }

    pub(super) fn load(&mut self, id: WorkerId, now: Us, hash: Hash) -> Vec<Did> {
        self.bodies.insert(hash);
        if self.needs == Some(hash) {
            self.needs = None;
        }
        self.proceed(id, now)
    }

    pub(super) fn run(&mut self, id: WorkerId, now: Us, call: Queued) -> Vec<Did> {
        self.pipe.push_back(call);
        self.proceed(id, now)
    }

    /// Begins the next call if it can.
    pub(super) fn proceed(&mut self, id: WorkerId, now: Us) -> Vec<Did> {
        let mut did = Vec::new();
        if !self.ready || self.running.is_some() || self.needs.is_some() || self.dying {
            return did;
        }
        let Some(call) = self.fetching.take().or_else(|| self.next(id, now, &mut did)) else {
            self.send(id, now, &mut did);
            if self.retiring {
                did.push(Did::Left);
            }
            return did;
        };
        if !self.bodies.contains(&call.hash) {
            self.needs = Some(call.hash);
            self.send(id, now, &mut did);
            did.push(Did::Said(Event::WorkerNeeds { worker: id, hash: call.hash }));
            self.fetching = Some(call);
            return did;
        }
        did.push(Did::Began(call.clone()));
        let announce = call.flush || self.pipe.is_empty() || now >= self.last_sent + LINGER_US;
        self.running = Some(call);
        if announce {
            self.send(id, now, &mut did);
        }
        did
    }

    /// The next call that it may begin; it passes over those that are withheld.
    fn next(&mut self, id: WorkerId, now: Us, did: &mut Vec<Did>) -> Option<Queued> {
        while let Some(call) = self.pipe.pop_front() {
            self.calls += 1;
            if self.calls > self.withheld {
                return Some(call);
            }
            self.send_done(id, now, did);
            did.push(Did::Said(Event::WorkerSkipped { worker: id, number: self.calls }));
        }
        None
    }

    /// The running call has ended by itself.
    pub(super) fn finish(&mut self, id: WorkerId, now: Us, calls: Calls) -> Vec<Did> {
        let mut did = Vec::new();
        if let Some(call) = self.running.take() {
            self.unsent.push(done_of(&call, calls));
        }
        if now >= self.last_sent + LINGER_US {
            self.send_done(id, now, &mut did);
        }
        did.append(&mut self.proceed(id, now));
        did
    }

    fn send(&mut self, id: WorkerId, now: Us, did: &mut Vec<Did>) {
        self.send_done(id, now, did);
        if let Some(call) = &self.running {
            self.last_sent = now;
            did.push(Did::Said(Event::WorkerStarted { worker: id, task: call.task, attempt: call.attempt }));
        }
    }

    fn send_done(&mut self, id: WorkerId, now: Us, did: &mut Vec<Did>) {
        if !self.unsent.is_empty() {
            self.last_sent = now;
        }
        did.extend(self.unsent.drain(..).map(|done| Did::Said(Event::WorkerDone { worker: id, done })));
    }
}

fn done_of(call: &Queued, calls: Calls) -> WorkerDone {
    let plan = Call::of(&call.task, calls);
    let failed = plan.act == Act::Raise;
    WorkerDone {
        task: call.task,
        attempt: call.attempt,
        verdict: if failed { Verdict::UserError } else { Verdict::Success },
        load_ns: 0,
        run_ns: plan.run_us * 1_000,
        dump_ns: 0,
        payload: Call::bytes(&call.task, plan.args_len / 2),
        class: if failed { "builtins.ValueError".into() } else { String::new() },
        message: if failed { "as asked".into() } else { String::new() },
        traceback: String::new(),
        output: Bytes::new(),
    }
}

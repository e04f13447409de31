//! What the manager is told, always made from the machine's state, never from a list of unsent messages (F7).

use super::pool::{Phase, Worker};
use super::{Entry, Executor, Key, Place};
use crate::id::{ContainerId, WorkerId};
use crate::limits;
use crate::task::Begun;
use crate::time::Mono;
use crate::wire::{Capacity, Hello, Holding, Item, Peer, Stage, Warm, version};
use std::collections::BTreeMap;

impl Executor {
    /// Opens the session: everything held, in pages (F7).
    pub(super) fn say_hello(&mut self) {
        let held = self.holdings();
        let capacity = self.capacity();
        let have = self.bodies.have();
        let pages = held.chunks(limits::HELD_PAGE).count().max(1);
        for page in 0..pages {
            let from = (page * limits::HELD_PAGE).min(held.len());
            let to = held.len().min(from + limits::HELD_PAGE);
            let hello = Hello {
                proto_min: version::OLDEST,
                proto_max: version::VERSION,
                software: self.config.software.clone(),
                peer: Peer::Executor { executor: self.config.executor },
                connection: self.uplink.connection,
                host: self.config.host.clone(),
                python: self.python.clone(),
                held: held[from..to].to_vec(),
                last: page + 1 == pages,
                complete: true,
                capacity: capacity.clone(),
                guests: false,
                has: self.config.has,
                have_functions: if page == 0 { have.clone() } else { Vec::new() },
            };
            if let Some(session) = &mut self.uplink.session {
                session.push(Item::Hello(Box::new(hello)));
            }
        }
        self.uplink.told = Some(capacity);
    }

    /// Everything held, in the order of its keys.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holding> {
        let piped = self.piped();
        let holding = |(key, entry): (Key, &Entry)| {
            let (stage, begun) = match entry {
                Entry::Finished(done) => (Stage::Finished, done.begun),
                Entry::Open(open) if matches!(open.place, Place::Pipe(_)) => {
                    piped.get(&key).copied().unwrap_or((Stage::Waiting, Begun::Unknown))
                }
                Entry::Open(_) => (Stage::Waiting, Begun::No),
            };
            Holding { task: key.task, attempt: key.attempt, stage, begun }
        };
        self.attempts.in_order().into_iter().map(holding).collect()
    }

    /// How far the calls in the workers' pipes are (F19).
    fn piped(&self) -> BTreeMap<Key, (Stage, Begun)> {
        let mut piped = BTreeMap::new();
        for worker in self.pool.workers.values() {
            let maybe = worker.maybe_begun();
            for (place, call) in worker.pipe.iter().enumerate() {
                let stage = if place == 0 { Stage::Running } else { Stage::Waiting };
                piped.insert(call.key, (stage, begun(call.started, place < maybe)));
            }
        }
        piped
    }

    /// After `Welcome`: the results of all finished ones again, and what began (F7).
    pub(super) fn repeat_all(&mut self) {
        for (_, entry) in self.attempts.in_order() {
            if let (Entry::Finished(done), Some(session)) = (entry, &mut self.uplink.session) {
                session.push(Item::Result(done.clone()));
            }
        }
        self.begun.clear();
        for (id, worker) in &self.pool.workers {
            self.begun.extend(worker.pipe.iter().filter(|call| call.started).map(|call| (call.key, *id)));
        }
        self.capacity_news = true;
    }

    /// Says what is new since the last round.
    pub(super) fn report(&mut self, now: Mono) {
        if !self.uplink.is_up() {
            self.begun.clear();
            return;
        }
        self.report_begun();
        let missing: Vec<_> =
            self.bodies.missing().filter(|hash| !self.uplink.asked.contains(hash)).collect();
        for hash in missing {
            self.uplink.asked.insert(hash);
            self.uplink.say(Item::WantFunction { hash });
        }
        let talks = self.uplink.session.as_ref().is_some_and(|session| session.leaves(now));
        if talks || self.capacity_news {
            self.report_capacity();
        }
    }

    /// `Started`, unless the result goes out in the same round.
    fn report_begun(&mut self) {
        for (key, worker) in std::mem::take(&mut self.begun) {
            if self.runs(key, worker) {
                self.uplink.say(Item::Started { task: key.task, attempt: key.attempt, worker });
            }
        }
    }

    fn runs(&self, key: Key, worker: WorkerId) -> bool {
        matches!(self.attempts.get(key), Some(Entry::Open(open)) if open.place == Place::Pipe(worker))
    }

    /// Capacity as an absolute value, if it changed (F25).
    pub(super) fn report_capacity(&mut self) {
        self.capacity_news = false;
        let capacity = self.capacity();
        if self.uplink.told.as_ref() != Some(&capacity) {
            self.uplink.told = Some(capacity.clone());
            self.uplink.say(Item::Capacity(capacity));
        }
    }

    pub(super) fn capacity(&self) -> Capacity {
        if self.drain.is_some() {
            return Capacity::default();
        }
        let wanted = self.lanes.wanted_slots(|asks| self.share(asks));
        let free = self.slots().saturating_sub(self.pool.busy_slots() + wanted);
        Capacity {
            credit_tasks: number(self.credit()),
            credit_bytes: limits::CREDIT_BYTES as u64,
            slots_total: self.config.workers,
            slots_free: number(free),
            warm: self.warm(),
            degraded: self.spawning.trouble(),
            blocks: None,
        }
    }

    /// Attempts it may hold (F29): also one for each further node, which may be lent beside the slots.
    pub(super) fn credit(&self) -> usize {
        let slots = self.slots();
        let lent = if slots == 0 { 0 } else { self.config.has.nodes.saturating_sub(1) as usize };
        slots + lent + slots.saturating_mul(self.config.prefetch as usize).min(limits::PREFETCH_TASKS)
    }

    /// Workers that there are or can be.
    fn slots(&self) -> usize {
        if self.spawning.is_degraded() {
            return self.pool.workers.values().filter(|worker| worker.phase == Phase::Ready).count();
        }
        self.config.workers as usize
    }

    fn warm(&self) -> Vec<Warm> {
        let mut warm: BTreeMap<Option<ContainerId>, (u32, u32)> = BTreeMap::new();
        for worker in self.pool.workers.values().filter(|worker| is_ordinary(worker)) {
            let counts = warm.entry(worker.lane.container).or_default();
            counts.0 += 1;
            counts.1 += u32::from(worker.is_idle());
        }
        warm.into_iter().map(|(container, (warm, free))| Warm { container, warm, free }).collect()
    }
}

/// Ready, for calls that ask for nothing.
fn is_ordinary(worker: &Worker) -> bool {
    worker.phase == Phase::Ready && worker.lane.asks.is_none()
}

/// What is known of a call in a pipe.
pub(super) const fn begun(started: bool, maybe: bool) -> Begun {
    match (started, maybe) {
        (true, _) => Begun::Yes,
        (false, true) => Begun::Unknown,
        (false, false) => Begun::No,
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

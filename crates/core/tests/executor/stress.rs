//! Seeded chaos: workers die or never come, links break, tasks are cancelled; each accepted attempt still ends in
//! exactly one live result, and no attempt is started twice.

use crate::rig::{Rig, assign, done, number, signalled, task, user};
use bursa_core::executor::{Action, Event};
use bursa_core::id::WorkerId;
use bursa_core::rng::Rng;
use bursa_core::task::Outcome;
use bursa_core::wire::{Assign, Attempt, Item};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const TASKS: u64 = 400;

#[derive(Default)]
struct Fake {
    ready: bool,
    /// Task, flush, and which call of this worker it is.
    pipe: VecDeque<(u64, bool, u64)>,
    given: u64,
    /// Calls that shall not begin, and what was before that.
    withheld: u64,
    before: u64,
    /// Ended and not told.
    silent: usize,
    /// The one behind these runs.
    running: bool,
    /// The last call that it came to.
    begun: u64,
    leaving: bool,
}

impl Fake {
    fn tell(&mut self, id: u32, long: bool) -> Vec<Event> {
        let run_ns = if long { 3_000_000 } else { 1_000 };
        let told = self.pipe.drain(..std::mem::take(&mut self.silent));
        told.map(|(n, ..)| Event::WorkerDone { worker: WorkerId(id), done: done(n, run_ns) }).collect()
    }
}

struct World {
    rig: Rig,
    rng: Rng,
    workers: BTreeMap<u32, Fake>,
    starts: BTreeSet<u64>,
    results: BTreeMap<u64, Outcome>,
    unsettled: BTreeMap<u64, Outcome>,
    next: u64,
    recalls: u32,
    skips: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let rig = Rig::up(1 + u32::try_from(rng.below(4)).unwrap());
        let (workers, starts) = (BTreeMap::new(), BTreeSet::new());
        Self {
            rig,
            rng,
            workers,
            starts,
            results: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            next: 1,
            recalls: 0,
            skips: 0,
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn { worker, .. } => {
                    self.workers.insert(worker.0, Fake::default());
                }
                Action::Run { worker, task, flush, .. } => {
                    let fake = self.workers.get_mut(&worker.0).expect("a run for a living worker");
                    assert!(fake.ready && !fake.leaving, "a run for a worker that is not there");
                    fake.given += 1;
                    fake.pipe.push_back((number(task), flush, fake.given));
                    assert!(fake.pipe.iter().filter(|(.., number)| *number > fake.withheld).count() <= 64);
                }
                Action::Withhold { worker, calls } => {
                    self.recalls += 1;
                    if let Some(fake) = self.workers.get_mut(&worker.0) {
                        (fake.before, fake.withheld) = (fake.withheld, calls);
                    }
                }
                Action::Retire { worker } | Action::Signal { worker, .. } => {
                    if let Some(fake) = self.workers.get_mut(&worker.0) {
                        fake.leaving = true;
                    }
                }
                Action::Exit { text } => panic!("{text}"),
                _ => {}
            }
        }
        self.listen();
    }

    fn listen(&mut self) {
        for item in self.rig.took() {
            let Item::Result(done) = item else { continue };
            let n = number(done.task);
            let first = *self.results.entry(n).or_insert(done.outcome);
            assert_eq!(first, done.outcome, "one live result for {n}");
            self.unsettled.insert(n, done.outcome);
        }
    }

    fn step(&mut self, calm: bool) {
        let chance = self.rng.below(100);
        let actions = match chance {
            0..25 if self.next <= TASKS => self.assign(),
            25..35 => self.settle(),
            35..36 if !calm => {
                self.rig.event(Event::LinkDown { why: "test".into() });
                self.rig.session = None;
                self.rig.connect();
                self.listen();
                std::mem::take(&mut self.rig.aside)
            }
            36..40 if !calm => {
                let n = 1 + self.rng.below(self.next);
                if n < self.next && !self.results.contains_key(&n) { self.rig.cancel(n, 20) } else { vec![] }
            }
            40..50 => {
                let ms = self.rng.below(30);
                self.rig.pass(ms)
            }
            _ => self.work(calm),
        };
        self.perform(actions);
    }

    fn assign(&mut self) -> Vec<Action> {
        let count = 1 + self.rng.below(20);
        let items: Vec<Item> = (self.next..(self.next + count).min(TASKS + 1))
            .map(|n| {
                let timeout_ms = (self.rng.below(5) == 0).then_some(30);
                let of = 1 + u8::try_from(self.rng.below(3) / 2).unwrap();
                Item::Assign(Box::new(Assign { timeout_ms, user: user(of), ..assign(n) }))
            })
            .collect();
        self.next += items.len() as u64;
        self.rig.say(items)
    }

    fn settle(&mut self) -> Vec<Action> {
        let count = 1 + usize::try_from(self.rng.below(20)).unwrap();
        let acks: Vec<_> = std::iter::from_fn(|| self.unsettled.pop_first()).take(count).collect();
        let ack = |(n, outcome)| Item::Ack { task: task(n), attempt: Attempt(1), outcome };
        self.rig.say(acks.into_iter().map(ack))
    }

    /// A random worker does something.
    fn work(&mut self, calm: bool) -> Vec<Action> {
        let ids: Vec<u32> = self.workers.keys().copied().collect();
        let Some(id) = ids.get(usize::try_from(self.rng.below(ids.len() as u64)).unwrap()).copied() else {
            return vec![];
        };
        let fate = self.rng.below(if calm { 90 } else { 100 });
        let fake = self.workers.get_mut(&id).unwrap();
        if !fake.ready {
            if fate >= 95 {
                self.workers.remove(&id);
                return self.rig.event(Event::WorkerFailed { worker: WorkerId(id), why: "no".into() });
            }
            fake.ready = true;
            return self.rig.ready(id);
        }
        if fate >= 96 || (fake.leaving && fate > 60) {
            return self.die(id);
        }
        self.advance(id)
    }

    /// The worker begins a call, or ends it, and tells of it or not yet, as `docs/protocol.md` §4 allows.
    fn advance(&mut self, id: u32) -> Vec<Action> {
        let (tell, long, late) = (self.rng.below(2) == 0, self.rng.below(20) == 0, self.rng.below(2) == 0);
        let fake = self.workers.get_mut(&id).unwrap();
        let mut events = Vec::new();
        if fake.running {
            fake.running = false;
            fake.silent += 1;
            if tell || fake.silent == fake.pipe.len() {
                events = fake.tell(id, long);
            }
        } else if let Some((n, flush, number)) = fake.pipe.get(fake.silent).copied() {
            self.rig.begun.insert(id, number);
            fake.begun = number;
            // What is withheld at this very moment the worker may not see yet.
            let late = late && number > fake.before && self.rig.withheld_at.get(&id) == Some(&self.rig.now);
            if number <= fake.withheld && !late {
                self.skips += 1;
                events = fake.tell(id, long);
                fake.pipe.pop_front();
                events.push(Event::WorkerSkipped { worker: WorkerId(id), number });
                return self.rig.round(events);
            }
            if flush || tell {
                events = fake.tell(id, long);
            }
            fake.running = true;
            assert!(self.starts.insert(n), "{n} started twice (F14)");
            if tell {
                events.push(Event::WorkerStarted {
                    worker: WorkerId(id),
                    task: task(n),
                    attempt: Attempt(1),
                });
            }
        }
        self.rig.round(events)
    }

    fn die(&mut self, id: u32) -> Vec<Action> {
        let begun = self.workers.remove(&id).map_or(0, |fake| fake.begun);
        let (worker, output) = (WorkerId(id), Bytes::new());
        self.rig.event(Event::WorkerExited { worker, exit: signalled(9), begun, output })
    }
}

#[test]
fn every_accepted_attempt_ends_in_exactly_one_live_result() {
    let (mut successes, mut recalls, mut skips) = (0, 0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed);
        let mut steps = 0;
        while world.next <= TASKS || !world.unsettled.is_empty() || world.rig.executor.held() != (0, 0) {
            world.step(world.next > TASKS);
            steps += 1;
            assert!(steps < 100_000, "seed {seed}: stuck with {:?}", world.rig.executor.held());
        }
        assert_eq!(world.results.len() as u64, TASKS, "seed {seed}");
        (recalls, skips) = (recalls + world.recalls, skips + world.skips);
        successes += world.results.values().filter(|outcome| **outcome == Outcome::Success).count();
    }
    assert!(successes > 60 * 200, "most succeed: {successes}");
    assert!(recalls > 60 && skips > 60, "calls are taken back ({recalls}) and passed over ({skips})");
}

//! When an idle worker of another lane makes room: an alarm, and what holds in any world of a few lanes.

use crate::rig::{Rig, assign, config, done, spawn, user};
use bursa_core::executor::{Action, Config, Event};
use bursa_core::id::WorkerId;
use bursa_core::time::Mono;
use bursa_core::wire::{Assign, Item};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

#[test]
fn a_call_waits_for_its_own_worker_as_long_as_a_start_takes() {
    let mut rig = Rig::up(2);
    assert_eq!(rig.assign([1]), [spawn(1, 1)]);
    rig.now += 5_000;
    rig.ready(1);
    assert_eq!(rig.assign_for(2, 2), [spawn(2, 2)]);
    rig.ready(2);
    rig.done(2, 2, 1_000);
    assert_eq!(rig.assign([3]), [], "its own worker may be done any moment");
    assert_eq!(rig.pass(4_999), []);
    assert_eq!(rig.pass(1), [Action::Retire { worker: WorkerId(2) }], "nothing came of it");
}

/// Calls, each for whom, when after the one before, and for how long; workers, and how long one takes to start.
#[derive(Debug, Clone)]
struct World {
    calls: Vec<(u8, u64, u64)>,
    workers: u32,
    start_ms: u64,
}

fn worlds() -> impl Strategy<Value = World> {
    let calls = prop::collection::vec((1..5_u8, 0..300_u64, 0..2_000_u64), 1..40);
    (calls, 1..5_u32, 1..3_000_u64).prop_map(|(calls, workers, start_ms)| World { calls, workers, start_ms })
}

/// Workers as the executor asked for them.
#[derive(Default)]
struct Floor {
    starting: BTreeMap<u32, u64>,
    ready: BTreeMap<u32, Pipe>,
    retired: Vec<u32>,
}

/// What a worker is to run, each with its number, and when it is done with the first.
#[derive(Default)]
struct Pipe {
    calls: VecDeque<(u64, u64)>,
    until: u64,
    given: u64,
    withheld: u64,
}

impl World {
    fn perform(&self, rig: &mut Rig, floor: &mut Floor, actions: Vec<Action>) {
        let now = rig.now;
        for action in actions {
            match action {
                Action::Spawn { worker, .. } => {
                    floor.starting.insert(worker.0, now + self.start_ms);
                }
                Action::Run { worker, task, .. } => {
                    let pipe = floor.ready.get_mut(&worker.0).unwrap();
                    pipe.given += 1;
                    pipe.calls.push_back((pipe.given, crate::rig::number(task)));
                    if pipe.calls.len() == 1 {
                        self.begin(rig, floor, worker.0);
                    }
                }
                Action::Withhold { worker, calls } => {
                    floor.ready.get_mut(&worker.0).unwrap().withheld = calls;
                }
                Action::Retire { worker } => {
                    let there = floor.starting.len() + floor.ready.len() + floor.retired.len();
                    assert_eq!(there, self.workers as usize, "a worker makes room beside a free slot");
                    assert!(floor.ready.remove(&worker.0).unwrap().calls.is_empty());
                    floor.retired.push(worker.0);
                }
                _ => {}
            }
            assert!(floor.starting.len() + floor.ready.len() <= self.workers as usize);
        }
    }

    /// The worker begins the first call of its pipe, if there is one.
    fn begin(&self, rig: &mut Rig, floor: &mut Floor, worker: u32) {
        let pipe = floor.ready.get_mut(&worker).unwrap();
        if let Some((number, n)) = pipe.calls.front() {
            pipe.until = rig.now + self.run_ms(*n);
            rig.begun.insert(worker, *number);
        }
    }

    /// One thing that happens now.
    fn step(&self, rig: &mut Rig, floor: &mut Floor) -> Option<(Vec<Action>, usize)> {
        let now = rig.now;
        if let Some(worker) = floor.retired.pop() {
            return Some((rig.exited(worker, Default::default()), 0));
        }
        if let Some(worker) = floor.starting.iter().find(|(_, at)| **at <= now).map(|(id, _)| *id) {
            floor.starting.remove(&worker);
            floor.ready.insert(worker, Pipe::default());
            return Some((rig.ready(worker), 0));
        }
        let is_done = |(_, pipe): &(&u32, &Pipe)| !pipe.calls.is_empty() && pipe.until <= now;
        let worker = floor.ready.iter().find(is_done).map(|(id, _)| *id)?;
        let pipe = floor.ready.get_mut(&worker)?;
        let (_, n) = pipe.calls.pop_front()?;
        let (worker, done) = (WorkerId(worker), done(n, self.run_ms(n) * 1_000_000));
        let mut events = vec![Event::WorkerDone { worker, done }];
        while let Some((number, _)) = pipe.calls.front().copied().filter(|call| call.0 <= pipe.withheld) {
            pipe.calls.pop_front();
            events.push(Event::WorkerSkipped { worker, number });
        }
        self.begin(rig, floor, worker.0);
        Some((rig.round(events), 1))
    }

    fn run_ms(&self, n: u64) -> u64 {
        self.calls[usize::try_from(n).unwrap()].2
    }

    /// Runs all calls; when the last ended.
    fn run(&self) -> u64 {
        let mut rig = Rig::with(Config { idle_ms: 86_400_000, ..config(self.workers) });
        rig.connect();
        rig.say([crate::rig::function()]);
        let begin = rig.now;
        let (mut floor, mut next, mut ended) = (Floor::default(), 0, 0);
        let mut comes = begin + self.calls[0].1;
        while ended < self.calls.len() {
            let actions = if let Some((actions, ends)) = self.step(&mut rig, &mut floor) {
                ended += ends;
                actions
            } else if next < self.calls.len() && comes <= rig.now {
                let call = Assign { user: user(self.calls[next].0), ..assign(next as u64) };
                next += 1;
                comes += self.calls.get(next).map_or(0, |call| call.1);
                rig.say([Item::Assign(Box::new(call))])
            } else {
                let busy = floor.ready.values().filter(|pipe| !pipe.calls.is_empty()).map(|pipe| pipe.until);
                let come = (next < self.calls.len()).then_some(comes);
                let due = busy.chain(floor.starting.values().copied()).chain(come);
                let due = due.chain(rig.executor.next_deadline().map(|at| at.0)).min().unwrap();
                let (now, limit) = (rig.now, self.limit());
                assert!(now - begin <= limit, "{ended} of {} calls ended in {limit} ms", self.calls.len());
                let mut actions = rig.pass(due.max(now + 1) - now);
                let message = rig.session.as_mut().unwrap().ping(Mono(rig.now));
                actions.extend(rig.event(Event::FromManager { message }));
                actions
            };
            self.perform(&mut rig, &mut floor, actions);
        }
        rig.now - begin
    }

    /// By then all have ended even one after the other, each after a patience and a start of its own.
    fn limit(&self) -> u64 {
        self.calls.iter().map(|(_, gap, run)| gap + run + 2 * self.start_ms + 10).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Nobody starves, no worker makes room beside a free slot, and no call waits beside an idle worker for ever.
    #[test]
    fn every_call_ends_in_time(world in worlds()) {
        prop_assert!(world.run() <= world.limit());
    }
}

//! Turns of users who want more than there is.

use crate::rig::{Rig, config, number, user};
use bursa_core::executor::{Action, Event, WorkerExit};
use bursa_core::id::WorkerId;
use std::collections::{BTreeMap, VecDeque};

/// An executor whose workers take `run_ms` for each call, and `START_MS` to start.
struct World {
    rig: Rig,
    run_ms: u64,
    /// What each worker has in its pipe.
    pipes: BTreeMap<WorkerId, VecDeque<u64>>,
    users: BTreeMap<WorkerId, u8>,
    /// What happens when.
    due: BTreeMap<(u64, WorkerId), Step>,
    /// Calls that ended: when, and whose.
    ended: Vec<(u64, u8)>,
    switches: usize,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Ready,
    Done,
    Gone,
}

const START_MS: u64 = 10;

impl World {
    fn new(workers: u32, run_ms: u64) -> Self {
        let mut config = config(workers);
        config.prefetch = 512;
        let mut rig = Rig::with(config);
        rig.connect();
        let event = rig.welcome();
        rig.say([event]);
        rig.say([crate::rig::function()]);
        let (pipes, users, due, ended) = Default::default();
        Self { rig, run_ms, pipes, users, due, ended, switches: 0 }
    }

    fn assign(&mut self, of: u8, numbers: std::ops::Range<u64>) {
        for n in numbers {
            let actions = self.rig.assign_for(of, u64::from(of) * 100_000 + n);
            self.take(actions);
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        let now = self.rig.now;
        for action in actions {
            match action {
                Action::Spawn { worker, user: of, .. } => {
                    self.switches += 1;
                    let of = (1..=9).find(|n| user(*n) == of).unwrap();
                    self.users.insert(worker, of);
                    self.due.insert((now + START_MS, worker), Step::Ready);
                }
                Action::Run { worker, task, .. } => {
                    let pipe = self.pipes.entry(worker).or_default();
                    pipe.push_back(number(task));
                    if pipe.len() == 1 {
                        self.due.insert((now + self.run_ms, worker), Step::Done);
                    }
                }
                Action::Retire { worker } => drop(self.due.insert((now + 1, worker), Step::Gone)),
                _ => {}
            }
        }
    }

    fn run_until(&mut self, ms: u64) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= ms) {
            let (at, worker) = *entry.key();
            let step = entry.remove();
            self.rig.now = at;
            let actions = match step {
                Step::Ready => self.rig.ready(worker.0),
                Step::Gone => self.rig.exited(worker.0, WorkerExit::default()),
                Step::Done => {
                    let pipe = self.pipes.get_mut(&worker).unwrap();
                    let n = pipe.pop_front().unwrap();
                    if !pipe.is_empty() {
                        self.due.insert((at + self.run_ms, worker), Step::Done);
                    }
                    self.ended.push((at, self.users[&worker]));
                    self.rig.done(worker.0, n, self.run_ms * 1_000_000)
                }
            };
            self.take(actions);
            let actions = self.rig.event(Event::Tick);
            self.take(actions);
        }
    }

    fn ended_of(&self, of: u8) -> usize {
        self.ended.iter().filter(|(_, who)| *who == of).count()
    }
}

/// One slot, two users with more than enough: each gets half of the time, in turns much longer than a start.
#[test]
fn users_take_turns_on_one_slot() {
    let mut world = World::new(1, 2);
    world.assign(1, 0..500);
    world.run_until(200);
    let first = world.rig.now;
    world.assign(2, 0..500);
    world.run_until(1_700);
    let next = world.ended.iter().find(|(_, of)| *of == 2).unwrap().0;
    assert!(next - first <= 20, "who comes new has the next turn: {next} - {first}");
    let (one, two) = (world.ended_of(1) - 90, world.ended_of(2));
    assert!(one.abs_diff(two) <= 110, "{one} and {two}");
    assert!(world.switches <= 2 + 1_500 / 100, "{}", world.switches);
}

/// Three users, two slots: nobody is left out.
#[test]
fn more_users_than_slots_go_round() {
    let mut world = World::new(2, 5);
    for of in 1..=3 {
        world.assign(of, 0..400);
    }
    world.run_until(2_000);
    let counts = [1, 2, 3].map(|of| world.ended_of(of));
    assert!(counts.iter().all(|count| *count >= 160), "{counts:?}");
}

/// Many slots: both end up with half of them, and keep their workers then.
#[test]
fn slots_are_shared_evenly_and_workers_stay() {
    let mut world = World::new(8, 50);
    world.assign(1, 0..400);
    world.run_until(300);
    world.assign(2, 0..400);
    world.run_until(900);
    let settled = world.switches;
    world.ended.clear();
    world.run_until(1_900);
    assert_eq!(world.switches, settled, "no more changes");
    assert_eq!((world.ended_of(1), world.ended_of(2)), (80, 80));
}

/// A call that runs long is not cut short for anybody, and then its user's next one waits.
#[test]
fn behind_a_long_call_the_other_user_is_next() {
    let mut world = World::new(1, 5_000);
    world.assign(1, 0..50);
    world.run_until(1_000);
    world.assign(2, 0..1);
    world.run_until(16_000);
    assert_eq!(world.ended.iter().map(|(_, of)| *of).collect::<Vec<_>>(), [1, 2, 1]);
}

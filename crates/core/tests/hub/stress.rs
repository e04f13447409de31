//! 20,000 tasks with links that break and stores that fail at random: each ends exactly once.

use crate::rig::{Mgr, Rig, capacity, config, endpoint, hello, spec, task};
use bursa_core::hub::{Counter, Event, Reply};
use bursa_core::rng::Rng;
use bursa_core::task::{Begun, Outcome, TaskState};
use bursa_core::timings::Timings;
use bursa_core::wire::{Attempt, Blob, Done, Holding, Item, Stage};
use std::collections::BTreeMap;

const TASKS: u32 = 20_000;
const CREDIT: u32 = 100;

/// A whole endpoint in one map: what it holds, and how it ended.
#[derive(Default)]
struct World {
    holds: BTreeMap<(bursa_core::id::TaskId, Attempt), Option<Outcome>>,
    starts: BTreeMap<(bursa_core::id::TaskId, Attempt), u32>,
    connection: u64,
}

impl World {
    fn connect(&mut self, rig: &mut Rig) -> Mgr {
        self.connection += 1;
        let mut words = hello(1, 1, self.connection);
        words.capacity = capacity(CREDIT);
        words.held = self
            .holds
            .iter()
            .map(|(&(task, attempt), end)| Holding {
                task,
                attempt,
                stage: if end.is_some() { Stage::Finished } else { Stage::Running },
                begun: Begun::Yes,
            })
            .collect();
        let mut peer = rig.open(words);
        rig.settle();
        let results = self.results();
        rig.say(&mut peer, results);
        peer
    }

    fn results(&self) -> Vec<Item> {
        self.holds.iter().filter_map(|(key, end)| end.map(|outcome| result(*key, outcome))).collect()
    }

    fn hear(&mut self, rig: &mut Rig, peer: &mut Mgr) {
        for item in rig.hear(peer) {
            match item {
                Item::Assign(assign) => {
                    let key = (assign.task, assign.attempt);
                    *self.starts.entry(key).or_default() += 1;
                    assert!(self.holds.insert(key, None).is_none(), "an attempt was sent twice");
                }
                Item::Ack { task, attempt, outcome } => {
                    let key = (task, attempt);
                    self.holds.retain(|held, end| *held != key || *end != Some(outcome));
                }
                Item::Cancel { task, attempt, .. } => {
                    if let Some(end @ None) = self.holds.get_mut(&(task, attempt)) {
                        *end = Some(Outcome::Cancelled);
                        rig.say(peer, vec![result((task, attempt), Outcome::Cancelled)]);
                    }
                }
                _ => {}
            }
        }
        assert!(self.holds.len() <= 2 * CREDIT as usize, "{} held", self.holds.len());
    }

    fn work(&mut self, rig: &mut Rig, peer: &mut Mgr, rng: &mut Rng) {
        let open: Vec<_> = self.holds.iter().filter(|(_, end)| end.is_none()).map(|(key, _)| *key).collect();
        for key in open {
            if rng.below(4) == 0 {
                continue;
            }
            let outcome = if rng.below(50) == 0 { Outcome::Died } else { Outcome::Success };
            self.holds.insert(key, Some(outcome));
            rig.say(peer, vec![result(key, outcome)]);
        }
    }
}

fn result((task, attempt): (bursa_core::id::TaskId, Attempt), outcome: Outcome) -> Item {
    Item::Result(Box::new(Done {
        task,
        attempt,
        outcome,
        begun: Begun::Yes,
        payload: Blob::empty(),
        failure: None,
        output: Blob::empty(),
        run_ns: 1,
        timings: Timings::default(),
    }))
}

#[test]
fn i1_each_of_20000_tasks_ends_exactly_once() {
    let mut rng = Rng::new(7);
    let mut rig = Rig::new();
    let mut world = World::default();
    let mut peer = world.connect(&mut rig);
    let (mut submitted, mut round, mut epoch) = (0, 0_u64, 1);
    while submitted < TASKS || !rig.store.live().is_empty() || !world.holds.is_empty() {
        round += 1;
        assert!(round < 20_000, "no end: {} live, {} held", rig.store.live().len(), world.holds.len());
        rig.mono += 10;
        if submitted < TASKS && rng.below(2) == 0 {
            let until = (submitted + 200).min(TASKS);
            rig.submit((submitted..until).map(spec).collect());
            rig.settle();
            // A store in trouble takes nothing on: the client simply sends again (F36).
            if rig.replies.last() == Some(&Reply::Accepted) {
                submitted = until;
            }
        }
        if rng.below(20) == 0 && submitted > 0 {
            let n = u32::try_from(rng.below(u64::from(submitted))).unwrap();
            rig.cancel(vec![task(n)]);
        }
        world.work(&mut rig, &mut peer, &mut rng);
        if rng.below(30) == 0 {
            // The link breaks: what was sent and not heard is gone.
            let conn = peer.conn;
            if rng.below(2) == 0 {
                rig.handle(Event::Unreachable { conn });
            }
            rig.mail.remove(&conn);
            peer = world.connect(&mut rig);
        }
        if rng.below(200) == 0 {
            epoch += 1;
            let store = rig.store.clone();
            rig = Rig::start(epoch, store, rig.mono);
            peer = world.connect(&mut rig);
        }
        while !rig.ops.is_empty() {
            if rng.below(500) == 0 { rig.fail_one() } else { rig.store_one() }
        }
        rig.settle();
        rig.handle(Event::Tick);
        rig.settle();
        world.hear(&mut rig, &mut peer);
    }
    rig.settle();
    assert!(world.starts.values().all(|starts| *starts == 1), "I3: an attempt was started twice");
    assert!(rig.store.rows.values().all(|row| row.writes == 1), "I1: one terminal record each");
    let ended =
        |state| rig.store.rows.values().filter(|row| row.ending.as_ref().unwrap().state == state).count();
    let (succeeded, failed) = (ended(TaskState::Success), ended(TaskState::Failed));
    assert!(succeeded > 19_000 && failed < 100, "{succeeded} succeeded, {failed} failed, {round} rounds");
    let status = rig.hub.endpoint(&endpoint(1)).unwrap();
    assert_eq!((status.queued, status.held), (0, 0), "I11: nothing is left");
    assert!(rig.count(Counter::Dispatched) > 0);
    assert_eq!(config(1).epoch, 1);
}

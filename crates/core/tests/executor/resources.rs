//! Calls that ask for resources: workers of their size, never more together than there is, and nobody waits for ever.

use crate::rig::{Rig, assign, load, run, spawn, task, user};
use bursa_core::executor::{Action, WorkerExit};
use bursa_core::id::WorkerId;
use bursa_core::resources::{Resources, Share};
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::wire::{Assign, Item};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn cores(cores: u32) -> Resources {
    Resources { cores, ..Resources::NONE }
}

fn asking(n: u64, asks: Resources) -> Item {
    Item::Assign(Box::new(Assign { resources: Some(Arc::new(asks)), ..assign(n) }))
}

fn spawn_for(worker: u32, asks: Resources) -> Action {
    let has = Resources { cores: 4, memory_mb: 8_000, gpus: 1, nodes: 1, ranks_per_node: 0 };
    let share = Share::of(&asks, &Resources { cores: has.cores.max(asks.cores), ..has }, 4).unwrap();
    Action::Spawn { worker: WorkerId(worker), user: user(1), container: None, asks, share, nodes: Vec::new() }
}

const GONE: WorkerExit =
    WorkerExit { signal: None, exit: Some(0), oom: false, maxrss_kb: 0, memory_limit_kb: None };

/// An executor of 4 slots, 4 cores, 8,000 MB and one GPU.
fn up() -> Rig {
    Rig::up(4)
}

#[test]
fn what_it_has_is_told_in_its_first_words() {
    let mut rig = Rig::cold(4);
    assert_eq!(
        rig.connect().has,
        Resources { cores: 4, memory_mb: 8_000, gpus: 1, nodes: 1, ranks_per_node: 0 }
    );
}

#[test]
fn two_of_two_cores_run_at_once_and_one_of_three_waits() {
    let mut rig = up();
    let two = cores(2);
    assert_eq!(rig.say([asking(1, two), asking(2, two)]), [spawn_for(1, two), spawn_for(2, two)]);
    assert_eq!(rig.ready(1), [load(1), run(1, 1, true)]);
    assert_eq!(rig.ready(2), [load(2), run(2, 2, true)]);
    assert_eq!(rig.say([asking(3, cores(3))]), [], "2 + 2 are taken");
    // Both must end, and nothing that came later gets what they leave.
    assert_eq!(rig.done(1, 1, 50_000_000), [Action::Retire { worker: WorkerId(1) }]);
    assert_eq!(rig.exited(1, GONE), []);
    assert_eq!(rig.assign([4]), [], "kept for the older one");
    assert_eq!(rig.done(2, 2, 50_000_000), [Action::Retire { worker: WorkerId(2) }]);
    assert_eq!(rig.exited(2, GONE), [spawn_for(3, cores(3)), spawn(4, 1)]);
}

#[test]
fn more_than_there_is_ends_at_once_with_the_numbers() {
    for (asks, words) in [
        (cores(5), "5 cores"),
        (Resources { memory_mb: 8_001, ..Resources::NONE }, "8001 MB of memory"),
        (Resources { gpus: 2, ..Resources::NONE }, "2 GPUs"),
        (Resources { nodes: 2, ..Resources::NONE }, "2 nodes"),
    ] {
        let mut rig = up();
        assert_eq!(rig.say([asking(1, asks)]), []);
        let [done] = &rig.heard.iter().filter_map(result).collect::<Vec<_>>()[..] else { panic!("one end") };
        assert_eq!((done.outcome, done.begun), (Outcome::Error, Begun::No));
        let failure = done.failure.as_deref().unwrap();
        assert_eq!(failure.code, FailureCode::Unsatisfiable);
        assert!(failure.message.contains(words), "{}", failure.message);
        assert!(failure.message.contains("has at most 1 node, 4 cores, 8000 MB of memory, 1 GPU"));
    }
}

fn result(item: &Item) -> Option<bursa_core::wire::Done> {
    if let Item::Result(done) = item { Some((**done).clone()) } else { None }
}

#[test]
fn memory_and_gpus_are_counted_beside_the_slots() {
    let large = Resources { memory_mb: 5_000, ..Resources::NONE };
    let card = Resources { gpus: 1, ..Resources::NONE };
    let mut rig = up();
    assert_eq!(
        rig.say([asking(1, large), asking(2, large), asking(3, card), asking(4, card)]),
        [spawn_for(1, large), spawn_for(2, card)]
    );
    rig.ready(1);
    // The same worker serves the next of its size.
    assert_eq!(rig.done(1, 1, 50_000_000), [run(1, 2, true)]);
    assert_eq!(
        rig.assign([5, 6]),
        [spawn(3, 1), spawn(4, 1)],
        "two slots are left for those that ask for nothing"
    );
}

#[test]
fn an_idle_worker_makes_room_for_a_larger_one() {
    let mut rig = Rig::warm(2, 1_000);
    let all = cores(2);
    assert_eq!(rig.say([asking(1, all)]), [Action::Retire { worker: WorkerId(1) }]);
    assert_eq!(rig.exited(1, GONE), [spawn_for(2, all)]);
}

#[test]
fn what_a_killed_worker_had_is_free_again() {
    let mut rig = up();
    let all = cores(4);
    rig.say([asking(1, all), asking(2, all)]);
    rig.ready(1);
    assert_eq!(rig.exited_in(1, 1, crate::rig::signalled(9)), [spawn_for(2, all)]);
}

/// What happens to a call that a worker has.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Assign(u32, u64, u32),
    Ends,
    Dies,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0_u32..=4, 0_u64..3, 0_u32..2).prop_map(|(cores, memory, gpus)| Turn::Assign(cores, memory * 3_000, gpus)),
        3 => Just(Turn::Ends),
        1 => Just(Turn::Dies),
    ]
}

/// The workers of an executor, and what they run.
struct Site {
    rig: Rig,
    /// By worker: its size, and the call it runs.
    workers: BTreeMap<u32, (Resources, Option<u64>)>,
    waiting: BTreeSet<u64>,
}

impl Site {
    /// What is asked for happens at once, but for the ends of calls.
    fn perform(&mut self, actions: Vec<Action>) -> Result<(), TestCaseError> {
        for action in actions {
            let next = match action {
                Action::Spawn { worker, asks, .. } => {
                    self.workers.insert(worker.0, (asks, None));
                    self.within()?;
                    self.rig.ready(worker.0)
                }
                Action::Run { worker, task: id, .. } => {
                    let n = (0..1_000).find(|n| task(*n) == id).unwrap();
                    self.waiting.remove(&n);
                    let worker = self.workers.get_mut(&worker.0).unwrap();
                    prop_assert!(worker.1.is_none(), "calls of a second are not piled up");
                    worker.1 = Some(n);
                    Vec::new()
                }
                Action::Retire { worker } => {
                    self.workers.remove(&worker.0);
                    self.rig.exited(worker.0, GONE)
                }
                _ => Vec::new(),
            };
            self.perform(next)?;
        }
        Ok(())
    }

    fn within(&self) -> Result<(), TestCaseError> {
        let has = Resources { cores: 4, memory_mb: 8_000, gpus: 1, nodes: 1, ranks_per_node: 0 };
        let shares = self.workers.values().map(|(asks, _)| Share::of(asks, &has, 4).unwrap());
        let taken = shares.fold(Share::default(), |sum, share| sum.and(&share));
        prop_assert!(Share::all(&has, 4).holds(&taken), "{taken:?}");
        Ok(())
    }

    /// The oldest call that runs ends.
    fn ends(&mut self, dies: bool) -> Result<bool, TestCaseError> {
        let running = self.workers.iter().filter_map(|(id, (_, call))| Some(((*call)?, *id))).min();
        let Some((n, worker)) = running else { return Ok(false) };
        let actions = if dies {
            self.workers.remove(&worker);
            self.rig.exited_in(worker, 1, crate::rig::signalled(9))
        } else {
            self.workers.get_mut(&worker).unwrap().1 = None;
            self.rig.done(worker, n, 1_000_000_000)
        };
        self.perform(actions)?;
        Ok(true)
    }
}

proptest! {
    /// Never more than there is; and when calls end one after the other, every call that fits at all has its turn.
    #[test]
    fn never_oversubscribed_and_nobody_starves(turns in proptest::collection::vec(turn(), 1..60)) {
        let (rig, waiting) = (up(), BTreeSet::new());
        let mut site = Site { rig, workers: BTreeMap::new(), waiting };
        for (n, turn) in turns.into_iter().enumerate() {
            let n = n as u64;
            match turn {
                Turn::Assign(cores, memory_mb, gpus) => {
                    let asks = Resources { cores, memory_mb, gpus, ..Resources::NONE };
                    site.waiting.insert(n);
                    let item = if asks.is_none() { Item::Assign(Box::new(assign(n))) } else { asking(n, asks) };
                    let actions = site.rig.say([item]);
                    site.perform(actions)?;
                }
                Turn::Ends => drop(site.ends(false)?),
                Turn::Dies => drop(site.ends(true)?),
            }
            site.within()?;
        }
        while site.ends(false)? {}
        prop_assert!(site.waiting.is_empty(), "{:?} never ran", site.waiting);
    }

    /// However many small calls keep coming, a large one has its turn after those before it.
    #[test]
    fn small_calls_do_not_pass_a_large_one_for_ever(large in 2_u32..=4, small in 0_u32..2) {
        let mut site = Site { rig: up(), workers: BTreeMap::new(), waiting: BTreeSet::new() };
        let mut next = 0;
        let mut come = |site: &mut Site, cores: u32| {
            next += 1;
            let asks = Resources { cores, ..Resources::NONE };
            let item = if asks.is_none() { Item::Assign(Box::new(assign(next))) } else { asking(next, asks) };
            site.waiting.insert(next);
            let actions = site.rig.say([item]);
            site.perform(actions).map(|()| next)
        };
        for _ in 0..6 {
            come(&mut site, small)?;
        }
        let wanted = come(&mut site, large)?;
        for _ in 0..20 {
            come(&mut site, small)?;
            site.ends(false)?;
        }
        prop_assert!(!site.waiting.contains(&wanted), "it still waits");
    }
}

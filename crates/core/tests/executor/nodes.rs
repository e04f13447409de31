//! Whole nodes of a block that one executor commands: each call has its own, and the executor's node is never shared.

use crate::rig::{Rig, assign, config, function, task};
use bursa_core::executor::{Action, Config, WorkerExit};
use bursa_core::id::WorkerId;
use bursa_core::resources::Resources;
use bursa_core::wire::{Assign, Item};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NODES: u32 = 4;
const SLOTS: u32 = 2;
const GONE: WorkerExit =
    WorkerExit { signal: None, exit: Some(0), oom: false, maxrss_kb: 0, memory_limit_kb: None };

/// An executor with two slots that commands a block of four nodes.
fn up(accelerated: bool, has: Resources) -> Rig {
    let mut rig = Rig::with(Config { has, accelerated, ..config(SLOTS) });
    rig.connect();
    rig.say([function()]);
    rig.heard.clear();
    rig
}

fn block() -> Rig {
    up(false, Resources { cores: SLOTS, nodes: NODES, ..Resources::NONE })
}

fn asking(n: u64, asks: Resources) -> Item {
    let resources = (!asks.is_none()).then(|| Arc::new(asks));
    Item::Assign(Box::new(Assign { resources, ..assign(n) }))
}

fn nodes(nodes: u32) -> Resources {
    Resources { nodes, ..Resources::NONE }
}

/// The workers that are asked for: number, slots that they take, nodes.
fn spawned(actions: &[Action]) -> Vec<(u32, u32, Vec<u32>)> {
    let spawn = |action: &Action| match action {
        Action::Spawn { worker, share, nodes, .. } => Some((worker.0, share.slots, nodes.clone())),
        _ => None,
    };
    actions.iter().filter_map(spawn).collect()
}

#[test]
fn calls_have_nodes_of_their_own_beside_calls_that_ask_for_nothing() {
    let mut rig = block();
    let asked = rig.say([asking(1, nodes(2)), asking(2, Resources::NONE), asking(3, nodes(1))]);
    assert_eq!(spawned(&asked), [(1, 0, vec![3, 2]), (2, 1, vec![]), (3, 0, vec![1])]);
    assert_eq!(spawned(&rig.say([asking(4, nodes(1))])), [], "the own node has a call");
    rig.ready(1);
    assert_eq!(spawned(&rig.exited_in(1, 1, crate::rig::signalled(9))), [(4, 0, vec![3])]);
}

#[test]
fn the_own_node_is_lent_with_all_its_slots() {
    let mut rig = block();
    let asked = rig.say([asking(1, nodes(3)), asking(2, nodes(1))]);
    assert_eq!(spawned(&asked), [(1, 0, vec![3, 2, 1]), (2, SLOTS, vec![0])]);
    rig.ready(2);
    assert_eq!(spawned(&rig.assign([3])), [], "it waits for the own node");
    assert_eq!(rig.done(2, 2, 1_000_000_000), [Action::Retire { worker: WorkerId(2) }]);
    assert_eq!(spawned(&rig.exited(2, GONE)), [(3, 1, vec![])]);
}

#[test]
fn idle_workers_make_room_for_who_needs_the_own_node() {
    let mut rig = block();
    rig.assign([1]);
    rig.ready(1);
    assert_eq!(spawned(&rig.say([asking(2, nodes(2))])), [(2, 0, vec![3, 2])]);
    let other = Resources { ranks_per_node: 2, ..nodes(2) };
    assert_eq!(rig.say([asking(3, other)]), [], "the own node has a call");
    assert_eq!(rig.done(1, 1, 1_000_000), [Action::Retire { worker: WorkerId(1) }]);
    assert_eq!(spawned(&rig.exited(1, GONE)), [(3, SLOTS, vec![1, 0])]);
}

#[test]
fn a_call_for_every_node_has_its_turn() {
    let mut rig = block();
    rig.assign([1]);
    rig.ready(1);
    assert_eq!(spawned(&rig.say([asking(2, nodes(NODES)), asking(3, nodes(1))])), []);
    assert_eq!(spawned(&rig.assign([4])), [], "kept for the older one");
    assert_eq!(rig.done(1, 1, 1_000_000_000), [Action::Retire { worker: WorkerId(1) }]);
    assert_eq!(spawned(&rig.exited(1, GONE)), [(2, SLOTS, vec![3, 2, 1, 0])]);
}

#[test]
fn workers_with_an_accelerator_each_leave_others_what_they_ask_for() {
    let gpus = Resources { gpus: 2, ..Resources::NONE };
    let has = Resources { cores: SLOTS, gpus: 2, nodes: 1, ..Resources::NONE };
    let mut rig = up(true, has);
    assert_eq!(spawned(&rig.assign([1])).len(), 1);
    rig.ready(1);
    assert_eq!(spawned(&rig.say([asking(2, gpus)])), [], "one of the two is taken");
    assert_eq!(rig.done(1, 1, 1_000_000_000), [Action::Retire { worker: WorkerId(1) }]);
    assert_eq!(spawned(&rig.exited(1, GONE)).len(), 1);
    assert_eq!(spawned(&rig.assign([3])), [], "a slot is free, and no accelerator");
    let mut rig = up(false, has);
    assert_eq!(spawned(&rig.say([asking(1, gpus), asking(2, Resources::NONE)])).len(), 2);
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    Assign(u32),
    Ends,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![3 => (0..=NODES).prop_map(Turn::Assign), 2 => Just(Turn::Ends)]
}

/// What is asked for happens at once, but for the ends of calls.
struct Site {
    rig: Rig,
    /// By worker: its nodes, none if it is an ordinary one, and the call it runs.
    workers: BTreeMap<u32, (Vec<u32>, Option<u64>)>,
    waiting: BTreeSet<u64>,
}

impl Site {
    fn perform(&mut self, actions: Vec<Action>) -> Result<(), TestCaseError> {
        for action in actions {
            let next = match action {
                Action::Spawn { worker, asks, nodes, .. } => {
                    prop_assert_eq!(nodes.len(), asks.nodes as usize);
                    self.workers.insert(worker.0, (nodes, None));
                    self.apart()?;
                    self.rig.ready(worker.0)
                }
                Action::Run { worker, task: id, .. } => {
                    let n = (0..1_000).find(|n| task(*n) == id).unwrap();
                    self.waiting.remove(&n);
                    self.workers.get_mut(&worker.0).unwrap().1 = Some(n);
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

    /// No node is lent twice, and the own one not beside calls in its slots.
    fn apart(&self) -> Result<(), TestCaseError> {
        let lent: Vec<u32> = self.workers.values().flat_map(|(nodes, _)| nodes.clone()).collect();
        let apart: BTreeSet<u32> = lent.iter().copied().collect();
        let ordinary = self.workers.values().filter(|(nodes, _)| nodes.is_empty()).count();
        prop_assert_eq!(lent.len(), apart.len(), "{:?}", self.workers);
        prop_assert!(apart.iter().all(|node| *node < NODES));
        prop_assert!(
            ordinary <= SLOTS as usize && (ordinary == 0 || !apart.contains(&0)),
            "{:?}",
            self.workers
        );
        Ok(())
    }

    fn ends(&mut self) -> Result<bool, TestCaseError> {
        let running = self.workers.iter().filter_map(|(id, (_, call))| Some(((*call)?, *id))).min();
        let Some((n, worker)) = running else { return Ok(false) };
        self.workers.get_mut(&worker).unwrap().1 = None;
        let actions = self.rig.done(worker, n, 1_000_000_000);
        self.perform(actions)?;
        Ok(true)
    }
}

proptest! {
    #[test]
    fn nodes_are_never_shared_and_nobody_starves(turns in proptest::collection::vec(turn(), 1..60)) {
        let mut site = Site { rig: block(), workers: BTreeMap::new(), waiting: BTreeSet::new() };
        for (n, turn) in turns.into_iter().enumerate() {
            match turn {
                Turn::Assign(asked) => {
                    site.waiting.insert(n as u64);
                    let actions = site.rig.say([asking(n as u64, nodes(asked))]);
                    site.perform(actions)?;
                }
                Turn::Ends => drop(site.ends()?),
            }
        }
        while site.ends()? {}
        prop_assert!(site.waiting.is_empty(), "{:?} never ran", site.waiting);
    }
}

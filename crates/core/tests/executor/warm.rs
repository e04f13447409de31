//! Workers that are there before the first call, and those that go when idle.

use crate::rig::{Rig, config, load, run, spawn, user};
use bursa_core::executor::{Action, Config};
use bursa_core::id::{UserId, WorkerId};
use bursa_core::resources::{Resources, Share};
use bursa_core::wire::Warm;

const NOBODY: UserId = UserId::from_bytes([0; 16]);

fn spare(worker: u32) -> Action {
    Action::Spawn {
        worker: WorkerId(worker),
        user: NOBODY,
        container: None,
        asks: Resources::NONE,
        share: Share::SLOT,
        nodes: Vec::new(),
    }
}

/// Connected; what was asked for until then.
fn up(workers: u32, min_warm: u32) -> (Rig, Vec<Action>) {
    let mut rig = Rig::with(Config { min_warm, ..config(workers) });
    rig.connect();
    let asked = std::mem::take(&mut rig.aside);
    rig.say([crate::rig::function()]);
    (rig, asked.into_iter().filter(|action| matches!(action, Action::Spawn { .. })).collect())
}

#[test]
fn warm_workers_are_made_before_the_first_call_and_belong_to_who_calls_first() {
    let (mut rig, asked) = up(3, 2);
    assert_eq!(asked, [spare(1), spare(2)]);
    rig.ready(1);
    assert_eq!(rig.capacity().unwrap().warm, [Warm { container: None, warm: 1, free: 1 }]);
    assert_eq!(rig.assign([1]), [load(1), run(1, 1, true)], "no worker is made for it");
    assert_eq!(rig.assign_for(2, 2), [], "the one that is being started is that user's");
    assert_eq!(rig.assign_for(2, 3), [spawn(3, 2)]);
    assert!(matches!(rig.ready(2)[..], [Action::Load { .. }, Action::Run { worker: WorkerId(2), .. }]));
    assert_eq!(rig.done(1, 1, 1_000), []);
    let makes_way = Action::Retire { worker: WorkerId(1) };
    assert_eq!(rig.assign_for(2, 4), [makes_way], "one that ran a call is never another user's");
    assert_ne!(user(1), NOBODY);
}

#[test]
fn idle_workers_end_down_to_those_that_stay() {
    let (mut rig, _) = up(3, 1);
    assert_eq!(rig.assign([1, 2, 3]), [spawn(2, 1), spawn(3, 1)]);
    for worker in 1..=3 {
        assert_eq!(rig.ready(worker), [load(worker), run(worker, worker.into(), true)]);
    }
    for worker in 1..=3 {
        rig.done(worker, worker.into(), 1_000);
    }
    let retired =
        |actions: Vec<Action>| actions.iter().filter(|a| matches!(a, Action::Retire { .. })).count();
    assert_eq!(retired(rig.pass(59_000)), 0);
    assert_eq!(retired(rig.pass(2_000)), 2);
    for worker in 1..=2 {
        assert_eq!(rig.exited(worker, Default::default()), []);
    }
    assert_eq!(retired(rig.pass(3_600_000)), 0, "the last one stays");
    assert_eq!(rig.capacity().unwrap().warm, [Warm { container: None, warm: 1, free: 1 }]);
    assert_eq!(rig.assign([4]), [run(3, 4, false)]);
}

#[test]
fn a_warm_worker_that_dies_is_replaced_without_a_call() {
    let (mut rig, _) = up(2, 1);
    rig.ready(1);
    assert_eq!(rig.exited(1, crate::rig::signalled(9)), [spare(2)]);
}

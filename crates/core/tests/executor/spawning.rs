//! Workers that cannot be made: who waits, whose fault it is, and the guard against a runaway of them.

use crate::rig::{Rig, load, run, spawn, spawn_in_container};
use bursa_core::executor::{Action, Event, WorkerExit};
use bursa_core::id::WorkerId;
use bursa_core::limits;
use bursa_core::task::{Begun, FailureCode, Outcome};

const WHY: &str = "no such file: python3";

fn fail(rig: &mut Rig, worker: u32) -> Vec<Action> {
    rig.event(Event::WorkerFailed { worker: WorkerId(worker), why: WHY.into() })
}

/// Fails the workers that are asked for until the executor is degraded; gives the number of the next worker.
fn degrade(rig: &mut Rig) -> u32 {
    for worker in 1..=limits::RUNAWAY {
        assert_eq!(rig.pass_until(2_000, &spawn(worker, 1)), worker > 1, "worker {worker}");
        fail(rig, worker);
    }
    limits::RUNAWAY + 1
}

#[test]
fn what_waits_for_a_worker_that_cannot_be_made_waits_for_the_next() {
    let mut rig = Rig::up(1);
    rig.assign([1, 2]);
    rig.took();
    assert_eq!(fail(&mut rig, 1).len(), 1, "a line in the log");
    assert!(rig.capacity().unwrap().degraded.as_ref().unwrap().contains(WHY));
    assert_eq!(rig.results(), []);
    assert_eq!(rig.assign([3]), [], "back-off against a storm");
    assert_eq!(rig.pass(200), [spawn(2, 1)]);
    assert_eq!(rig.ready(2), [load(2), run(2, 1, true)]);
    assert_eq!(rig.capacity().unwrap().degraded, None);
}

#[test]
fn a_container_that_cannot_be_started_fails_its_own_calls_and_holds_up_nobody() {
    let mut rig = Rig::up(3);
    assert_eq!(rig.assign_in_container([1, 2]), [spawn_in_container(1, 1), spawn_in_container(2, 1)]);
    fail(&mut rig, 1);
    let failed = |n| (n, Outcome::Environment, Begun::No, Some(FailureCode::EnvironmentFailed));
    assert_eq!(rig.results(), [failed(1), failed(2)], "nobody waits for the second to fail too");
    fail(&mut rig, 2);
    for (n, worker) in (3..).zip(3..3 + 2 * limits::RUNAWAY) {
        assert_eq!(rig.assign_in_container([n]), [spawn_in_container(worker, 1)], "without a back-off");
        fail(&mut rig, worker);
        assert_eq!(rig.results(), [failed(n)]);
    }
    let next = 3 + 2 * limits::RUNAWAY;
    assert_eq!(rig.assign([100]), [spawn(next, 1)], "others are not concerned");
    assert!(rig.capacity().is_none_or(|capacity| capacity.degraded.is_none()));
}

#[test]
fn where_a_container_has_a_worker_another_that_fails_is_tried_again_later() {
    let mut rig = Rig::up(2);
    rig.assign_in_container([1]);
    rig.ready(1);
    rig.done(1, 1, 60_000_000);
    rig.results();
    rig.assign_in_container([2]);
    assert_eq!(rig.assign_in_container([3]), [spawn_in_container(2, 1)]);
    assert_eq!(fail(&mut rig, 2).len(), 1, "a line in the log");
    assert_eq!(rig.results(), []);
    assert_eq!(rig.pass(200), [spawn_in_container(3, 1)]);
}

#[test]
fn the_guard_takes_nothing_and_hands_back_what_waits() {
    let mut rig = Rig::up(1);
    rig.assign([1, 2]);
    rig.took();
    let next = degrade(&mut rig);
    let capacity = rig.capacity().unwrap().clone();
    assert_eq!((capacity.credit_tasks, capacity.slots_free), (0, 0));
    let why = capacity.degraded.unwrap();
    assert!(why.contains("5 times in a row") && why.contains(WHY), "{why}");
    let returned = |n| (n, Outcome::Returned, Begun::No, None);
    assert_eq!(rig.results(), [returned(1), returned(2)], "under the same number, charged for nothing");
    rig.assign([3]);
    assert_eq!(rig.results(), [returned(3)], "it crossed with the news");
    assert!(!rig.pass_until(limits::PROBE_MS.0 / 2, &spawn(next, 1)), "no storm");
}

#[test]
fn one_probe_at_a_time_and_the_first_that_is_ready_ends_it() {
    let mut rig = Rig::up(4);
    rig.assign([1, 2, 3]);
    let mut waits = Vec::new();
    let mut next = 4;
    fail(&mut rig, 1);
    fail(&mut rig, 2);
    fail(&mut rig, 3);
    while waits.len() < 8 {
        let from = rig.now;
        assert!(rig.pass_until(400_000, &spawn(next, 1)));
        waits.push(rig.now - from);
        let batch = if waits.len() < limits::RUNAWAY as usize { 3 } else { 1 };
        for worker in next..next + batch {
            fail(&mut rig, worker);
        }
        next += batch;
    }
    assert!(waits[..4].iter().all(|wait| *wait < 1_300), "those asked for together count once: {waits:?}");
    assert!(waits[4] >= 7_000 && waits[5] >= 14_000 && waits[7] >= 56_000, "{waits:?}");
    assert!(rig.pass_until(400_000, &spawn(next, 1)));
    assert_eq!(rig.ready(next), [], "nothing was held");
    let capacity = rig.capacity().unwrap().clone();
    assert_eq!((capacity.degraded, capacity.slots_free), (None, 4));
    assert!(capacity.credit_tasks > 0);
    assert_eq!(rig.assign([4]), [load(next), run(next, 4, true)]);
}

#[test]
fn workers_that_are_there_go_on_while_no_more_can_be_made() {
    let mut rig = Rig::warm(2, 5_000_000);
    rig.assign([1, 2, 3, 4]);
    for worker in 2..2 + limits::RUNAWAY {
        if worker > 2 {
            assert!(rig.pass_until(2_000, &spawn(worker, 1)));
        }
        fail(&mut rig, worker);
    }
    let capacity = rig.capacity().unwrap().clone();
    assert!(capacity.degraded.is_some() && capacity.slots_total == 2);
    assert_eq!(capacity.credit_tasks as usize, 1 + limits::PREFETCH_PER_SLOT, "of one worker");
    assert_eq!(rig.results(), []);
    assert_eq!(rig.done(1, 1, 5_000_000), [run(1, 3, true)]);
}

#[test]
fn where_other_workers_can_be_made_the_fault_is_the_lanes_own() {
    let mut rig = Rig::warm(2, 1_000);
    assert_eq!(rig.assign_for(2, 1), [spawn(2, 2)]);
    rig.took();
    fail(&mut rig, 2);
    let results = rig.full_results();
    let failure = results[0].failure.as_ref().unwrap();
    assert_eq!((results[0].outcome, results[0].begun), (Outcome::Environment, Begun::No));
    assert_eq!(failure.code, FailureCode::EnvironmentFailed);
    assert!(failure.message.contains(WHY) && failure.message.contains("node1"), "{}", failure.message);
}

#[test]
fn a_worker_that_dies_before_it_is_ready_is_one_that_could_not_be_made() {
    let mut rig = Rig::up(1);
    rig.assign([1]);
    rig.took();
    rig.exited(1, WorkerExit { exit: Some(1), ..WorkerExit::default() });
    let why = rig.capacity().unwrap().degraded.clone().unwrap();
    assert!(why.contains("exit code 1") && why.contains("last words"), "{why}");
}

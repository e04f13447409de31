//! A service that dies and starts again: F11, F14, F32.

use crate::rig::*;
use bursa_core::hub::Event;
use bursa_core::task::{Begun, FailureCode, Outcome, TaskState};
use bursa_core::time::Wall;
use bursa_core::wire::{Attempt, Holding, Stage};

#[test]
fn f11_tasks_of_an_earlier_life_are_parked_until_the_endpoint_has_said_all() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let sent = rig.run(&mut peer, vec![spec(1), spec(2)]);
    let mut rig = Rig::start(2, rig.store.clone(), 2_000);
    let mut words = hello(2, 2, 1);
    words.complete = false;
    let mut peer = rig.connect(words);
    assert!(assigns(&peer.extra).is_empty(), "parked");
    assert_eq!(rig.run(&mut peer, vec![spec(3)]).len(), 1, "accepted since: sent at once");
    rig.say(&mut peer, vec![held(vec![holding(1, sent[0].attempt, Begun::Yes)], false, false)]);
    rig.say(&mut peer, vec![held(vec![], true, true)]);
    rig.settle();
    let again = assigns(&rig.hear(&mut peer));
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].task, again[0].attempt), (task(2), Attempt::new(2, 1)), "F14: numbers rise");
    assert_eq!(rig.store.rows[&task(2)].charges, (0, 0, 0), "a crash of the service costs nothing");
    rig.say(&mut peer, vec![success(1, sent[0].attempt)]);
    rig.settle();
    assert_eq!(rig.store.state(1), Some(TaskState::Success), "adopted work counts");
}

#[test]
fn f11_parked_tasks_go_before_those_accepted_since() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1)]);
    rig.settle();
    let mut rig = Rig::start(2, rig.store.clone(), 2_000);
    rig.submit(vec![spec(2)]);
    rig.settle();
    let peer = rig.connect(hello(2, 2, 1));
    assert_eq!(assigns(&peer.extra).iter().map(|assign| assign.task).collect::<Vec<_>>(), [task(1), task(2)]);
}

#[test]
fn f32_deadlines_come_from_the_store_and_may_have_passed() {
    let mut rig = Rig::new();
    let mut short = spec(1);
    short.deadline = Wall(WALL + 5_000);
    rig.submit(vec![short]);
    rig.settle();
    let mut rig = Rig::start(2, rig.store.clone(), 60_000);
    assert!(rig.hub.next_deadline().is_some_and(|at| at.0 <= 60_008));
    rig.pass(10);
    rig.settle();
    assert_eq!(rig.store.failure(1).code, FailureCode::DeadlineExceeded);
}

#[test]
fn charges_survive_a_restart() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![result(1, first, bursa_core::task::Outcome::Died, Begun::Yes)]);
    rig.settle();
    let mut rig = Rig::start(2, rig.store.clone(), 2_000);
    let mut peer = rig.connect(hello(2, 2, 1));
    let second = assigns(&peer.extra)[0].attempt;
    rig.say(&mut peer, vec![result(1, second, bursa_core::task::Outcome::Died, Begun::Yes)]);
    rig.settle();
    assert_eq!(rig.store.failure(1).code, FailureCode::WorkerDied);
    assert_eq!(rig.store.rows[&task(1)].ending.as_ref().unwrap().starts, 2);
}

#[test]
fn f37_a_deletion_cut_off_by_a_crash_is_finished() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1)]);
    rig.settle();
    rig.store.deleted.push(endpoint(1));
    let mut rig = Rig::start(2, rig.store.clone(), 2_000);
    rig.pass(1);
    rig.settle();
    assert_eq!(rig.store.failure(1).code, FailureCode::EndpointDeleted);
}

#[test]
fn f4_the_stored_generation_outlives_the_service() {
    let mut rig = Rig::new();
    rig.connect(hello(5, 1, 1));
    let mut rig = Rig::start(2, rig.store.clone(), 2_000);
    let mut peer = rig.open(hello(4, 2, 1));
    assert!(refused(&rig.hear(&mut peer)).is_some());
    rig.connect(hello(5, 3, 1));
    rig.handle(Event::Tick);
}

/// Found by the simulated world: the older attempt, listed first, became current again; live work was cancelled, and the
/// loss that the older one had ended with was charged a second time.
#[test]
fn f15_of_two_listed_attempts_the_newer_one_is_current() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let older = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![result(1, older, Outcome::Died, Begun::Yes)]);
    rig.settle();
    let newer = assigns(&rig.hear(&mut peer))[0].attempt;
    let charged = rig.store.rows[&task(1)].charges;
    let mut rig = Rig::start(2, rig.store.clone(), 2_000);
    let mut words = hello(1, 1, 2);
    let ended = Holding { stage: Stage::Finished, ..holding(1, older, Begun::Yes) };
    words.held = vec![ended, holding(1, newer, Begun::Yes)];
    let mut peer = rig.connect(words);
    assert!(!cancels(&peer.extra).contains(&(task(1), newer)), "live work goes on");
    rig.say(&mut peer, vec![result(1, older, Outcome::Died, Begun::Yes)]);
    rig.settle();
    assert_eq!(acks(&rig.hear(&mut peer)), [(task(1), older, Outcome::Died)]);
    assert_eq!(rig.store.rows[&task(1)].charges, charged, "one loss is charged once");
    rig.say(&mut peer, vec![success(1, newer)]);
    rig.settle();
    assert_eq!(rig.store.state(1), Some(TaskState::Success));
}

//! Cancel and deadlines: F30, F32, F33.

use crate::rig::*;
use bursa_core::hub::Reply;
use bursa_core::task::{Begun, FailureCode, Outcome, TaskState};
use bursa_core::time::Wall;

#[test]
fn f30_a_cancel_is_stored_before_anyone_is_told() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.replies.clear();
    rig.cancel(vec![task(1), task(77), task(1)]);
    rig.flush();
    assert!(rig.replies.is_empty() && rig.hear(&mut peer).is_empty());
    rig.settle();
    let state = Some(TaskState::Cancelled);
    let tasks = vec![(task(1), state), (task(77), None), (task(1), state)];
    assert_eq!(rig.replies, [Reply::Cancelled { tasks }]);
    assert_eq!(cancels(&rig.hear(&mut peer)), [(task(1), first)]);
    assert_eq!(rig.store.failure(1).code, FailureCode::Cancelled);
}

#[test]
fn f30_a_cancel_that_finds_a_write_under_way_reports_what_that_says() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.replies.clear();
    rig.say(&mut peer, vec![success(1, first)]);
    rig.cancel(vec![task(1)]);
    rig.settle();
    let tasks = vec![(task(1), Some(TaskState::Success))];
    assert_eq!(rig.replies, [Reply::Cancelled { tasks: tasks.clone() }]);
    rig.cancel(vec![task(1)]);
    rig.settle();
    assert_eq!(rig.replies[1], Reply::Cancelled { tasks }, "an ended task keeps its end");
}

#[test]
fn f30_a_cancel_during_a_charge_or_an_accept_comes_right_after_it() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.replies.clear();
    rig.say(&mut peer, vec![result(1, first, Outcome::Died, Begun::Yes)]);
    rig.cancel(vec![task(1)]);
    rig.submit(vec![spec(2)]);
    rig.cancel(vec![task(2)]);
    rig.settle();
    assert_eq!(rig.store.state(1), Some(TaskState::Cancelled));
    assert_eq!(rig.store.state(2), Some(TaskState::Cancelled));
    assert_eq!(rig.replies.len(), 3);
    assert!(assigns(&rig.hear(&mut peer)).is_empty());
    rig.cancel(vec![]);
    assert_eq!(rig.replies.last(), Some(&Reply::Cancelled { tasks: vec![] }));
}

#[test]
fn f30_a_cancel_of_a_task_whose_acceptance_is_refused_finds_no_task() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1)]);
    rig.cancel(vec![task(1)]);
    rig.fail_one();
    assert!(rig.replies.contains(&Reply::Cancelled { tasks: vec![(task(1), None)] }));
}

#[test]
fn f33_a_deadline_ends_the_task_whatever_the_links_do() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let mut short = spec(1);
    short.deadline = Wall(WALL + 5_000);
    let first = rig.run(&mut peer, vec![short])[0].attempt;
    let mut waiting = spec(2);
    waiting.deadline = Wall(WALL + 3_000);
    waiting.endpoint = endpoint(1);
    rig.say(&mut peer, vec![bursa_core::wire::Item::Capacity(capacity(1))]);
    rig.submit(vec![waiting]);
    rig.settle();
    rig.pass(2_100);
    rig.settle();
    assert_eq!(rig.store.failure(2).code, FailureCode::DeadlineExceeded);
    assert_eq!(rig.store.state(1), None, "not early");
    rig.pass(2_000);
    rig.settle();
    assert_eq!(rig.store.failure(1).code, FailureCode::DeadlineExceeded);
    assert_eq!(cancels(&rig.hear(&mut peer)), [(task(1), first)], "then as F30");
}

#[test]
fn f33_a_deadline_during_a_charge_ends_the_task_right_after_it() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let mut short = spec(1);
    short.deadline = Wall(WALL + 5_000);
    let first = rig.run(&mut peer, vec![short])[0].attempt;
    rig.say(&mut peer, vec![result(1, first, Outcome::Died, Begun::Yes)]);
    rig.mono += 10_000;
    rig.handle(bursa_core::hub::Event::Tick);
    assert_eq!(rig.ops.len(), 1);
    rig.settle();
    assert_eq!(rig.store.failure(1).code, FailureCode::DeadlineExceeded);
    assert!(assigns(&rig.hear(&mut peer)).is_empty());
}

//! Cancel and timeout in every stage of a call (F20, F31, F33).

use crate::rig::{Rig, assign, load, run, signalled, spawn};
use bursa_core::executor::{Action, Signal};
use bursa_core::id::WorkerId;
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::wire::{Assign, Item};

fn signal(worker: u32, signal: Signal) -> Action {
    Action::Signal { worker: WorkerId(worker), signal }
}

fn cancelled(n: u64, begun: Begun) -> (u64, Outcome, Begun, Option<FailureCode>) {
    (n, Outcome::Cancelled, begun, Some(FailureCode::Cancelled))
}

#[test]
fn unknown_is_answered_and_not_kept() {
    let mut rig = Rig::up(1);
    rig.cancel(9, 0);
    assert_eq!(rig.results(), [cancelled(9, Begun::No)]);
    assert_eq!(rig.executor.held(), (0, 0));
}

#[test]
fn waiting_for_a_body_or_a_worker_ends_at_once() {
    let mut rig = Rig::cold(1);
    rig.connect();
    rig.assign([1]);
    rig.took();
    rig.cancel(1, 0);
    assert_eq!(rig.results(), [cancelled(1, Begun::No)]);
    let mut rig = Rig::up(1);
    rig.assign([1, 2]);
    rig.cancel(1, 0);
    assert_eq!(rig.results(), [cancelled(1, Begun::No)]);
    assert_eq!(rig.ready(1), [load(1), run(1, 2, true)]);
}

#[test]
fn running_alone_gets_a_signal_then_a_kill() {
    let mut rig = Rig::warm(1, 50_000_000);
    rig.assign([1, 2]);
    rig.started(1, 1);
    assert_eq!(rig.cancel(1, 500), [signal(1, Signal::Term)]);
    assert_eq!(rig.cancel(1, 500), [], "once");
    rig.took();
    assert_eq!(rig.pass(500), [signal(1, Signal::Kill)]);
    assert_eq!(rig.results(), [], "not before the worker is gone");
    assert_eq!(rig.exited(1, signalled(9)), [spawn(2, 1)]);
    assert_eq!(rig.results(), [cancelled(1, Begun::Yes)]);
    assert_eq!(rig.ready(2), [load(2), run(2, 2, true)]);
}

#[test]
fn without_grace_it_is_killed_at_once() {
    let mut rig = Rig::warm(1, 50_000_000);
    rig.assign([1]);
    assert_eq!(rig.cancel(1, 0), [signal(1, Signal::Kill)]);
}

#[test]
fn what_ends_by_itself_before_it_is_killed_has_that_result() {
    let mut rig = Rig::warm(1, 50_000_000);
    rig.assign([1]);
    rig.cancel(1, 500);
    rig.took();
    rig.done(1, 1, 50_000_000);
    assert_eq!(rig.results(), [(1, Outcome::Success, Begun::Yes, None)]);
    rig.exited(1, signalled(15));
    assert_eq!(rig.results(), [], "exactly one (F20)");
    rig.assign([2]);
}

#[test]
fn finished_is_ignored() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1]);
    rig.done(1, 1, 1_000);
    rig.took();
    assert_eq!(rig.cancel(1, 0), []);
    assert_eq!(rig.results(), []);
}

#[test]
fn behind_the_head_it_may_finish_by_itself_for_a_while() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1, 2, 3]);
    assert_eq!(rig.cancel(2, 300), []);
    assert_eq!(rig.pass(1_000), [], "1 is the head: not its fault");
    assert_eq!(rig.done(1, 1, 1_000), []);
    assert_eq!(rig.pass(49), []);
    assert_eq!(rig.pass(1), [signal(1, Signal::Term)]);
    rig.took();
    let begun_before = 2; // in `Rig::warm`, and 1
    rig.exited_in(1, begun_before + 1, signalled(15));
    assert_eq!(rig.results(), [cancelled(2, Begun::Yes)]);
    assert_eq!(rig.ready(2), [load(2), run(2, 3, false)], "3 never began");
}

#[test]
fn the_head_of_a_burst_may_finish_by_itself_for_a_while() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1, 2]);
    assert_eq!(rig.cancel(1, 300), []);
    rig.done(1, 1, 1_000);
    assert_eq!(rig.pass(100), []);
    rig.done(1, 2, 1_000);
    assert_eq!(rig.results().len(), 2);
}

#[test]
fn cancelled_in_the_pipe_of_a_worker_that_dies_it_is_not_moved() {
    let mut rig = Rig::warm(1, 5_000_000);
    rig.assign([1, 2]);
    rig.cancel(2, 300);
    rig.took();
    assert_eq!(rig.exited(1, signalled(11)), []);
    let died = (1, Outcome::Died, Begun::Unknown, Some(FailureCode::WorkerDied));
    assert_eq!(rig.results(), [died, cancelled(2, Begun::No)]);
}

#[test]
fn a_timeout_counts_from_the_start_and_ends_when_the_worker_is_gone() {
    let mut rig = Rig::warm(1, 50_000_000);
    rig.say([Item::Assign(Box::new(Assign { timeout_ms: Some(1_000), ..assign(1) }))]);
    rig.pass(10);
    rig.started(1, 1);
    assert_eq!(rig.pass(999), []);
    assert_eq!(rig.pass(1), [signal(1, Signal::Term)]);
    rig.took();
    assert_eq!(rig.pass(2_000), [signal(1, Signal::Kill)]);
    assert_eq!(rig.results(), []);
    rig.exited(1, signalled(9));
    assert_eq!(rig.results(), [(1, Outcome::Timeout, Begun::Yes, Some(FailureCode::Timeout))]);
}

#[test]
fn what_waits_behind_a_timeout_goes_to_another_worker() {
    let mut rig = Rig::warm(1, 1_000);
    let limited = Item::Assign(Box::new(Assign { timeout_ms: Some(1_000), ..assign(1) }));
    rig.say([limited, Item::Assign(Box::new(assign(2)))]);
    assert_eq!(rig.pass(1_000), [signal(1, Signal::Term)]);
    rig.took();
    assert_eq!(rig.exited(1, signalled(15)), [spawn(2, 1)]);
    assert_eq!(rig.results(), [(1, Outcome::Timeout, Begun::Unknown, Some(FailureCode::Timeout))]);
    assert_eq!(rig.ready(2), [load(2), run(2, 2, false)]);
}

#[test]
fn each_head_has_its_own_clock() {
    let mut rig = Rig::warm(1, 1_000);
    let limited = |n| Item::Assign(Box::new(Assign { timeout_ms: Some(1_000), ..assign(n) }));
    rig.say([limited(1), limited(2)]);
    assert_eq!(rig.pass(900), []);
    rig.done(1, 1, 1_000);
    assert_eq!(rig.pass(900), []);
    rig.done(1, 2, 1_000);
    assert_eq!(rig.pass(5_000), []);
}

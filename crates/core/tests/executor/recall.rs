//! Calls behind one that turned out long: withheld, taken back, passed over; and what may come in between (F16, F19).

use crate::rig::{Rig, assign, load, run, signalled, spawn};
use bursa_core::executor::{Action, Event, Signal};
use bursa_core::id::WorkerId;
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::wire::{Assign, Item};

/// One worker, with calls 1 to 4 in its pipe as its calls number 2 to 5; number `begun` was begun last.
fn piped(begun: u64) -> Rig {
    let mut rig = Rig::warm(1, 1_000);
    assert_eq!(rig.assign(1..=4).len(), 4);
    rig.begun.insert(1, begun);
    rig
}

fn withhold(calls: u64) -> Action {
    Action::Withhold { worker: WorkerId(1), calls }
}

fn skipped(rig: &mut Rig, number: u64) -> Vec<Action> {
    rig.event(Event::WorkerSkipped { worker: WorkerId(1), number })
}

/// Which calls are in the lane: a cancel ends them at once.
fn waits_in_lane(rig: &mut Rig) -> Vec<u64> {
    let waiting = |n: &u64| {
        rig.took();
        rig.cancel(*n, 0);
        rig.results()
            .first()
            .is_some_and(|(_, outcome, begun, _)| *outcome == Outcome::Cancelled && *begun == Begun::No)
    };
    (2..=4).filter(waiting).collect()
}

#[test]
fn behind_a_long_call_nothing_stays() {
    // Begun last, by the worker's count at the second look: what goes back to the lane.
    for (begun, back) in [(2, vec![2, 3, 4]), (3, vec![3, 4]), (5, vec![]), (u64::MAX, vec![])] {
        let mut rig = piped(2);
        assert_eq!(rig.pass(20), []);
        assert_eq!(rig.pass(1), [withhold(5)]);
        rig.begun.insert(1, begun);
        assert_eq!(rig.pass(9), [], "a moment, in which calls may still begin");
        assert_eq!(rig.pass(1_000), [], "nobody else is there");
        assert_eq!(waits_in_lane(&mut rig), back, "{begun}");
    }
}

#[test]
fn what_is_told_of_calls_before_it_makes_no_room_behind_a_long_one() {
    let mut rig = piped(4);
    assert_eq!(rig.pass(21), [withhold(5)]);
    assert_eq!(rig.assign([5, 6]), []);
    assert_eq!((rig.done(1, 1, 1_000), rig.done(1, 2, 1_000)), (vec![], vec![]));
    assert_eq!(rig.pass(10), []);
    assert_eq!(rig.done(1, 3, 1_000_000), [run(1, 4, false), run(1, 5, false), run(1, 6, false)]);
    assert_eq!(rig.results().len(), 3);
}

#[test]
fn one_that_has_not_begun_is_not_long() {
    let mut rig = piped(1);
    assert_eq!(rig.pass(200), [], "the machine is busy");
    rig.begun.insert(1, 2);
    assert_eq!(rig.pass(21), [withhold(5)]);
}

#[test]
fn one_alone_is_left_alone() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1]);
    rig.begun.insert(1, 2);
    assert_eq!(rig.pass(10_000), []);
}

#[test]
fn they_run_elsewhere_under_the_same_number() {
    let mut rig = Rig::up(2);
    rig.assign([1, 2]);
    rig.ready(1);
    rig.ready(2);
    rig.done(1, 1, 1_000);
    rig.done(2, 2, 1_000);
    rig.assign([3, 4, 5, 6]);
    rig.done(2, 4, 1_000);
    rig.done(2, 6, 1_000);
    rig.begun.insert(1, 2);
    assert_eq!(rig.pass(21), [withhold(3)]);
    assert_eq!(rig.pass(10), [run(2, 5, false)]);
    assert_eq!(skipped(&mut rig, 3), [], "known");
    rig.done(2, 5, 1_000);
    assert_eq!(rig.results().len(), 5);
}

#[test]
fn the_worker_goes_on_with_what_it_is_given_then() {
    let mut rig = piped(2);
    rig.pass(31);
    assert_eq!(rig.done(1, 1, 1_000_000), [run(1, 2, false), run(1, 3, false), run(1, 4, false)]);
    for number in 3..=5 {
        assert_eq!(skipped(&mut rig, number), [], "the same calls under their old numbers");
    }
    rig.begun.insert(1, 6);
    assert_eq!(rig.pass(21), [withhold(8)], "and again");
    assert_eq!(skipped(&mut rig, 3), []);
    assert_eq!(rig.pass(10), []);
    assert_eq!(waits_in_lane(&mut rig), [3, 4]);
}

#[test]
fn what_began_in_between_ends_by_itself_or_is_passed_over() {
    let mut rig = piped(2);
    rig.pass(21);
    rig.done(1, 1, 1_000);
    rig.begun.insert(1, 4);
    assert_eq!(rig.pass(10), [], "its number 5 is taken back");
    assert_eq!(rig.done(1, 2, 1_000), [run(1, 4, false)], "and given again: it is quick now");
    assert_eq!(skipped(&mut rig, 4), [run(1, 3, false)], "3 was looked at, not begun");
    rig.done(1, 4, 1_000);
    rig.done(1, 3, 1_000);
    assert_eq!(rig.results().len(), 4);
}

#[test]
fn a_worker_may_pass_over_withheld_calls_only() {
    let mut rig = piped(2);
    assert_eq!(skipped(&mut rig, 3), []);
    rig.pass(21);
    rig.started(1, 1);
    assert_eq!(skipped(&mut rig, 2), [], "it began");
    assert_eq!(skipped(&mut rig, 6), [], "it never had it");
    assert_eq!(waits_in_lane(&mut rig), [] as [u64; 0]);
}

#[test]
fn a_death_in_between_loses_nothing() {
    for begun in [2, 3] {
        let mut rig = piped(2);
        rig.pass(21);
        rig.took();
        assert_eq!(rig.exited_in(1, begun, signalled(9)), [spawn(2, 1)]);
        assert_eq!(rig.results().len() as u64, begun - 1);
        let left: Vec<Action> = (begun..=4).map(|n| run(2, n, false)).collect();
        assert_eq!(rig.ready(2), [&[load(2)][..], &left].concat());
        assert_eq!(rig.pass(10), [], "nobody is asked");
    }
}

#[test]
fn a_cancel_takes_them_out() {
    let mut rig = piped(2);
    rig.cancel(3, 300);
    rig.pass(21);
    rig.cancel(2, 300);
    rig.took();
    assert_eq!(rig.pass(10), [], "they never ran: no signal");
    let cancelled = |n| (n, Outcome::Cancelled, Begun::No, Some(FailureCode::Cancelled));
    assert_eq!(rig.results(), [cancelled(2), cancelled(3)]);
    rig.cancel(4, 300);
    assert_eq!(rig.results(), [cancelled(4)], "at once: it waits in its lane");
}

#[test]
fn a_timeout_meanwhile_is_that_of_the_head_alone() {
    let mut rig = Rig::warm(1, 1_000);
    let limited = |n| Item::Assign(Box::new(Assign { timeout_ms: Some(25), ..assign(n) }));
    rig.say([limited(1), limited(2)]);
    rig.begun.insert(1, 2);
    let term = Action::Signal { worker: WorkerId(1), signal: Signal::Term };
    assert_eq!(rig.pass(31), [withhold(3), term]);
    rig.took();
    assert_eq!(rig.exited_in(1, 2, signalled(15)), [spawn(2, 1)]);
    assert_eq!(rig.results(), [(1, Outcome::Timeout, Begun::Yes, Some(FailureCode::Timeout))]);
    assert_eq!(rig.ready(2), [load(2), run(2, 2, false)]);
}

#[test]
fn a_stop_hands_them_back() {
    let mut rig = piped(2);
    rig.pass(21);
    rig.took();
    rig.event(Event::Stop);
    rig.pass(10);
    let returned = |n| (n, Outcome::Returned, Begun::No, None);
    assert_eq!(rig.results(), [returned(2), returned(3), returned(4)]);
}

#[test]
fn a_worker_that_makes_room_for_another_user_is_free_when_the_long_call_ends() {
    let mut rig = piped(2);
    rig.assign_for(2, 9);
    rig.pass(31);
    assert_eq!(waits_in_lane(&mut rig), [2, 3, 4]);
    assert_eq!(rig.done(1, 1, 1_000), [Action::Retire { worker: WorkerId(1) }]);
}

//! A call's ordinary life: body, load, run, result; and what comes of limits and user failures (F20, F28, F33, F35).

use crate::rig::{Rig, assign, done, function, hash, load, number, run, spawn, task};
use bursa_core::executor::{Action, Event, Verdict, WorkerDone};
use bursa_core::id::{Hash, WorkerId};
use bursa_core::limits;
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::wire::{Assign, Blob, Item};
use bytes::Bytes;

#[test]
fn from_assign_to_acknowledged() {
    let mut rig = Rig::up(2);
    assert_eq!(rig.assign([1]), [spawn(1, 1)]);
    assert_eq!(rig.ready(1), [load(1), run(1, 1, true)]);
    assert_eq!(rig.started(1, 1), []);
    assert_eq!(rig.done(1, 1, 1_000), []);
    assert_eq!(rig.results(), [(1, Outcome::Success, Begun::Yes, None)]);
    assert_eq!(rig.assign([2]), [run(1, 2, false)], "the body is loaded once per worker");
    rig.ack(1, Outcome::Success);
    assert_eq!(rig.executor.held(), (1, 0));
}

#[test]
fn an_attempt_is_taken_once() {
    let mut rig = Rig::warm(1, 1_000);
    assert_eq!(rig.assign([1, 1]), [run(1, 1, false)]);
    assert_eq!(rig.assign([1]), []);
    assert_eq!(rig.executor.ignored(), 2);
}

#[test]
fn bodies_come_are_gone_are_damaged() {
    let gone = Item::Function { hash: hash(), body: None };
    let damaged = Item::Function { hash: hash(), body: Some(Blob::Here(Bytes::from_static(b"other"))) };
    for item in [gone, damaged] {
        let mut rig = Rig::cold(1);
        rig.connect();
        rig.assign([1, 2]);
        rig.took();
        rig.say([item]);
        let environment = |n| (n, Outcome::Environment, Begun::No, Some(FailureCode::EnvironmentFailed));
        assert_eq!(rig.results(), [environment(1), environment(2)]);
        rig.assign([3]);
        assert!(rig.took().contains(&Item::WantFunction { hash: hash() }), "asked again");
        assert_eq!(rig.say([function()]), [spawn(1, 1)]);
    }
}

#[test]
fn a_body_may_come_after_its_assign_in_one_message_without_being_asked_for() {
    let mut rig = Rig::cold(1);
    rig.connect();
    rig.took();
    assert_eq!(rig.say([Item::Assign(Box::new(assign(1))), function()]), [spawn(1, 1)]);
    assert!(!rig.took().iter().any(|item| matches!(item, Item::WantFunction { .. })));
}

#[test]
fn a_worker_that_forgot_a_body_gets_it_again() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1]);
    assert_eq!(rig.event(Event::WorkerNeeds { worker: WorkerId(1), hash: hash() }), [load(1)]);
    for (worker, hash) in [(1, Hash([9; 32])), (5, hash())] {
        assert_eq!(rig.event(Event::WorkerNeeds { worker: WorkerId(worker), hash }), []);
    }
}

#[test]
fn verdicts_become_failures() {
    for (verdict, code) in [
        (Verdict::UserError, FailureCode::UserError),
        (Verdict::LoadFailed, FailureCode::LoadFailed),
        (Verdict::DeserializeMismatch, FailureCode::DeserializeMismatch),
        (Verdict::ResultTooLarge, FailureCode::ResultTooLarge),
    ] {
        let mut rig = Rig::warm(1, 1_000);
        rig.assign([1]);
        rig.took();
        let word = WorkerDone {
            verdict,
            class: "builtins.ValueError".into(),
            message: "no".into(),
            traceback: "Traceback…".repeat(50_000),
            output: Bytes::from(vec![b'x'; limits::OUTPUT_BYTES + 7]),
            ..done(1, 3)
        };
        rig.event(Event::WorkerDone { worker: WorkerId(1), done: word });
        let [result] = &rig.full_results()[..] else { panic!("one result") };
        let failure = result.failure.as_ref().unwrap();
        assert_eq!((result.outcome, result.begun, failure.code), (Outcome::Error, Begun::Yes, code));
        assert_eq!(
            (failure.class.as_deref(), failure.host.as_deref()),
            (Some("builtins.ValueError"), Some("node1"))
        );
        assert!(failure.traceback.as_ref().unwrap().len() <= limits::FAILURE_BYTES);
        assert_eq!((result.output.len(), result.run_ns, result.payload.len()), (limits::OUTPUT_BYTES, 3, 9));
    }
}

#[test]
fn a_result_over_the_limit_is_a_failure_that_names_both_numbers() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1]);
    rig.took();
    let word = WorkerDone { payload: Bytes::from(vec![0; limits::RESULT_BYTES + 1]), ..done(1, 3) };
    rig.event(Event::WorkerDone { worker: WorkerId(1), done: word });
    let [result] = &rig.full_results()[..] else { panic!("one result") };
    let failure = result.failure.as_ref().unwrap();
    assert_eq!((result.outcome, failure.code), (Outcome::Error, FailureCode::ResultTooLarge));
    assert!(
        failure.message.contains("67108865") && failure.message.contains("67108864"),
        "{}",
        failure.message
    );
    assert!(result.payload.is_empty());
}

#[test]
fn no_further_call_over_the_result_window() {
    let mut rig = Rig::cold(1);
    rig.result_window = 15;
    rig.connect();
    rig.say([function()]);
    rig.assign([1, 2, 3, 4]);
    assert_eq!(rig.ready(1), [load(1), run(1, 1, true)]);
    assert_eq!(rig.done(1, 1, 50_000_000), [run(1, 2, true)], "one result always may go");
    assert_eq!(rig.done(1, 2, 50_000_000), [], "18 of 15 bytes: F28");
    assert_eq!(rig.ack(2, Outcome::Success), [run(1, 3, true)]);
}

#[test]
fn what_waits_beyond_its_deadline_expires() {
    let mut rig = Rig::warm(1, 50_000_000);
    let short = |n, ttl_ms| Item::Assign(Box::new(Assign { ttl_ms, ..assign(n) }));
    assert_eq!(rig.say([short(1, 10), short(2, 1_000), short(3, 9_000)]), [run(1, 1, true)]);
    rig.took();
    rig.pass(1_200);
    let expired = |n| (n, Outcome::Expired, Begun::No, Some(FailureCode::DeadlineExceeded));
    assert_eq!(rig.results(), [expired(2)], "1 runs: its end is the hub's business (F33)");
    assert_eq!(rig.say([short(4, 0)]), []);
    assert_eq!(rig.done(1, 1, 50_000_000), [run(1, 3, true)]);
    rig.pass(200);
    assert_eq!(rig.results(), [(1, Outcome::Success, Begun::Yes, None), expired(4)]);
    assert_eq!(task(3), task(3));
}

#[test]
fn more_than_twice_the_credit_is_handed_back() {
    let mut rig = Rig::up(1);
    let credit = 513;
    for from in (0..3 * credit).step_by(1_000) {
        rig.assign(from..(from + 1_000).min(3 * credit));
    }
    assert_eq!(rig.executor.held().0, 2 * credit as usize);
    let returned = rig.results();
    assert_eq!(returned.len(), credit as usize);
    assert!(returned.iter().all(|result| (result.1, result.2) == (Outcome::Returned, Begun::No)));
}

#[test]
fn a_call_behind_one_with_a_timeout_is_marked() {
    let mut rig = Rig::warm(1, 1_000);
    let limited = Item::Assign(Box::new(Assign { timeout_ms: Some(5), ..assign(1) }));
    let actions = rig.say([limited, Item::Assign(Box::new(assign(2))), Item::Assign(Box::new(assign(3)))]);
    assert_eq!(actions, [run(1, 1, false), run(1, 2, true), run(1, 3, false)]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Spawn { .. })));
}

/// The calls whose results the manager was told, lingering ones not.
fn told(rig: &mut Rig) -> Vec<u64> {
    let number = |item| match item {
        Item::Result(done) => Some(number(done.task)),
        _ => None,
    };
    rig.took().into_iter().filter_map(number).collect()
}

#[test]
fn f39_results_of_quick_calls_share_a_message_while_more_wait() {
    let mut rig = Rig::warm(1, 10_000_000);
    rig.assign(1..=5);
    rig.done(1, 1, 10_000_000);
    rig.done(1, 2, 10_000_000);
    assert_eq!(told(&mut rig), [0; 0], "4 and 5 give the worker enough to do");
    rig.pass(limits::RESULT_LINGER_MS);
    assert_eq!(told(&mut rig), [1, 2], "long enough");
    rig.done(1, 3, 10_000_000);
    rig.done(1, 4, 10_000_000);
    assert_eq!(told(&mut rig), [3, 4], "nothing waits: whoever asked may have nothing else to do");
}

#[test]
fn f39_the_result_of_a_long_call_leaves_at_once() {
    let mut rig = Rig::warm(1, 10_000_000);
    rig.assign(1..=4);
    rig.done(1, 1, 30_000_000);
    assert_eq!(told(&mut rig), [1]);
}

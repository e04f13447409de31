//! Results: F15, F17, F20 to F24, and what people read.

use crate::rig::*;
use bursa_core::hub::{Action, Answer, Counter, Event, Op, Reply};
use bursa_core::limits;
use bursa_core::task::{Begun, Failure, FailureCode, Outcome, TaskState};
use bursa_core::timings::Timings;
use bursa_core::wire::{Attempt, Blob, Item};

fn failed(n: u32, attempt: Attempt, outcome: Outcome, begun: Begun, failure: Option<Failure>) -> Item {
    let mut done = done(n, attempt, outcome, begun);
    done.failure = failure.map(Box::new);
    Item::Result(Box::new(done))
}

#[test]
fn f21_f24_exact_actions_of_a_success() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let sent = rig.run(&mut peer, vec![spec(1)]);
    rig.actions.clear();
    rig.say(&mut peer, vec![started(1, sent[0].attempt)]);
    assert_eq!(rig.hub.state(&task(1)), Some(TaskState::Running));
    rig.say(&mut peer, vec![success(1, sent[0].attempt)]);
    rig.flush();
    assert!(
        matches!(rig.actions.as_slice(), [Action::Store { op: Op::End { .. }, .. }]),
        "{:?}",
        rig.actions
    );
    rig.settle();
    assert_eq!(acks(&rig.hear(&mut peer)), [(task(1), sent[0].attempt, Outcome::Success)]);
    assert_eq!((rig.bells, rig.count(Counter::Succeeded)), (1, 1));
    let ending = rig.store.rows[&task(1)].ending.clone().unwrap();
    assert_eq!((ending.state, ending.starts, ending.run_ns), (TaskState::Success, 1, 5));
    assert_eq!(&ending.payload[..], b"result");
    assert_eq!(rig.hub.state(&task(1)), None);
}

#[test]
fn f15_success_of_any_attempt_counts_other_outcomes_only_of_the_current() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![result(1, first, Outcome::Lost, Begun::Yes)]);
    rig.settle();
    let second = assigns(&rig.hear(&mut peer))[0].attempt;
    assert!(second > first, "F14");
    rig.say(&mut peer, vec![result(1, first, Outcome::Lost, Begun::Yes)]);
    rig.settle();
    assert_eq!(
        acks(&rig.hear(&mut peer)),
        [(task(1), first, Outcome::Lost)],
        "stale: acknowledged and dropped"
    );
    assert_eq!(rig.store.rows[&task(1)].charges, (1, 0, 0));
    rig.say(&mut peer, vec![success(1, first)]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert_eq!(acks(&heard), [(task(1), first, Outcome::Success)]);
    assert_eq!(cancels(&heard), [(task(1), second)], "the other lease is cancelled");
    assert_eq!(rig.store.state(1), Some(TaskState::Success));
}

#[test]
fn f17_a_charge_is_stored_before_the_ack_and_the_next_attempt() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![result(1, first, Outcome::Died, Begun::Yes)]);
    rig.flush();
    assert!(rig.hear(&mut peer).is_empty());
    assert!(matches!(rig.ops.as_slice(), [(_, Op::Charge { losses: 1, maybes: 0, errors: 0, .. })]));
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert_eq!(acks(&heard), [(task(1), first, Outcome::Died)]);
    assert_eq!(assigns(&heard).len(), 1);
    assert_eq!(rig.count(Counter::Losses), 1);
}

#[test]
fn f17_the_last_loss_ends_the_task_with_its_cause() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let mut attempt = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    for _ in 0..2 {
        let mut failure = Failure::new(FailureCode::WorkerDied, "");
        failure.signal = Some(11);
        rig.say(&mut peer, vec![failed(1, attempt, Outcome::Died, Begun::Yes, Some(failure))]);
        rig.settle();
        attempt = assigns(&rig.hear(&mut peer)).first().map_or(attempt, |assign| assign.attempt);
    }
    let failure = rig.store.failure(1);
    assert_eq!((failure.code, failure.signal), (FailureCode::WorkerDied, Some(11)));
    assert_eq!(failure.host.as_deref(), Some("host1"));
    assert_eq!(
        failure.message,
        "the worker running this task was killed by signal 11 (SIGSEGV) on host1, 2 times (retries = 1); look at \
         its output and at what it loads, then submit it again"
    );
    assert_eq!(rig.store.rows[&task(1)].ending.as_ref().unwrap().starts, 2);
}

#[test]
fn a_user_error_is_terminal_unless_retries_were_asked_for() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let mut again = spec(2);
    again.retry_on_error = 1;
    let sent = rig.run(&mut peer, vec![spec(1), again]);
    let mut failure = Failure::new(FailureCode::UserError, "ValueError: no");
    failure.class = Some("builtins.ValueError".into());
    for (n, assign) in [1, 2].into_iter().zip(&sent) {
        let item = failed(n, assign.attempt, Outcome::Error, Begun::Yes, Some(failure.clone()));
        rig.say(&mut peer, vec![item]);
    }
    rig.settle();
    (failure.host, failure.attempt) = (Some("host1".into()), Some(1));
    assert_eq!(rig.store.failure(1), failure);
    assert_eq!(&rig.store.rows[&task(1)].ending.as_ref().unwrap().payload[..], b"result", "the exception");
    assert_eq!(rig.store.rows[&task(2)].charges, (0, 0, 1));
    let second = assigns(&rig.hear(&mut peer))[0].attempt;
    rig.say(&mut peer, vec![failed(2, second, Outcome::Error, Begun::Yes, Some(failure))]);
    rig.settle();
    assert_eq!(rig.store.state(2), Some(TaskState::Failed));
}

#[test]
fn f20_every_result_is_acknowledged_also_of_unknown_and_foreign_tasks() {
    let mut rig = Rig::new();
    rig.handle(Event::EndpointAdded { endpoint: endpoint(2) });
    let mut peer = rig.connect(hello(1, 1, 1));
    let mut foreign = spec(2);
    foreign.endpoint = endpoint(2);
    rig.submit(vec![foreign]);
    rig.settle();
    rig.say(&mut peer, vec![success(1, Attempt::new(1, 1)), success(2, Attempt::new(1, 1))]);
    rig.settle();
    assert_eq!(acks(&rig.hear(&mut peer)).len(), 2);
    assert_eq!(rig.store.state(2), None, "F2: a session speaks of its endpoint's tasks only");
    assert_eq!(rig.count(Counter::DuplicateResults), 2);
}

#[test]
fn f20_returned_is_free_first_again_and_not_acknowledged() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![result(1, first, Outcome::Returned, Begun::No)]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert!(acks(&heard).is_empty());
    assert_eq!(assigns(&heard)[0].attempt, Attempt::new(1, 2));
    assert_eq!(rig.store.rows[&task(1)].charges, (0, 0, 0));
}

#[test]
fn f22_a_duplicate_waits_for_the_write_even_over_a_new_session() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![success(1, first)]);
    let mut words = hello(1, 1, 2);
    words.held = vec![holding(1, first, Begun::Yes)];
    let mut peer = rig.open(words);
    rig.say(&mut peer, vec![success(1, first)]);
    rig.flush();
    let heard = rig.hear(&mut peer);
    assert!(acks(&heard).is_empty() && cancels(&heard).is_empty(), "{heard:?}");
    rig.settle();
    assert!(acks(&rig.hear(&mut peer)).contains(&(task(1), first, Outcome::Success)));
    assert_eq!(rig.hub.endpoint(&endpoint(1)).unwrap().held, 0);
}

#[test]
fn f22_a_write_that_failed_is_repeated_and_new_work_is_refused_meanwhile() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![success(1, first)]);
    rig.fail_one();
    rig.flush();
    assert!(acks(&rig.hear(&mut peer)).is_empty());
    rig.submit(vec![spec(2)]);
    assert!(matches!(rig.replies.last(), Some(Reply::Unavailable { why }) if why == "disk full"));
    rig.pass(1_000);
    assert_eq!(rig.store.state(1), Some(TaskState::Success));
    assert_eq!(acks(&rig.hear(&mut peer)), [(task(1), first, Outcome::Success)]);
    rig.submit(vec![spec(2)]);
    rig.settle();
    assert_eq!(rig.replies.last(), Some(&Reply::Accepted));
}

#[test]
fn f23_a_success_replaces_a_loss_that_is_being_written_and_both_are_acknowledged() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![result(1, first, Outcome::Lost, Begun::Yes)]);
    rig.say(&mut peer, vec![success(1, first)]);
    rig.store_one();
    rig.flush();
    assert!(rig.hear(&mut peer).is_empty(), "the charge alone acknowledges nothing any more");
    rig.settle();
    let mut acked = acks(&rig.hear(&mut peer));
    acked.sort_by_key(|ack| ack.2);
    assert_eq!(acked, [(task(1), first, Outcome::Success), (task(1), first, Outcome::Lost)]);
    assert_eq!(rig.store.state(1), Some(TaskState::Success));
}

#[test]
fn f18_an_executor_that_returns_with_work_declared_lost_is_cancelled_after_stored() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![result(1, first, Outcome::Lost, Begun::Yes)]);
    rig.say(&mut peer, vec![held(vec![holding(1, first, Begun::Yes)], true, true)]);
    rig.flush();
    assert!(rig.hear(&mut peer).is_empty(), "F30: nothing on the strength of an unstored write");
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert_eq!(cancels(&heard), [(task(1), first)]);
    assert_eq!(assigns(&heard)[0].attempt, Attempt::new(1, 2));
}

#[test]
fn a_cancelled_current_attempt_of_a_live_task_is_run_again_for_nothing() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![result(1, first, Outcome::Cancelled, Begun::Yes)]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert_eq!((acks(&heard).len(), assigns(&heard).len()), (1, 1));
    assert_eq!(rig.store.rows[&task(1)].charges, (0, 0, 0));
}

#[test]
fn a_result_beyond_the_limit_is_a_failure_that_says_so() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    let mut huge = done(1, first, Outcome::Success, Begun::Yes);
    huge.payload = Blob::Here(vec![0; limits::RESULT_BYTES + 1].into());
    rig.say(&mut peer, vec![Item::Result(Box::new(huge))]);
    // 65 parts are more than a window: the hub's acknowledgement lets the rest follow.
    rig.flush();
    let messages = rig.hear(&mut peer);
    assert!(messages.iter().all(|item| matches!(item, Item::Ping)));
    rig.say(&mut peer, vec![]);
    rig.settle();
    assert_eq!(rig.store.failure(1).code, FailureCode::ResultTooLarge);
    assert_eq!(acks(&rig.hear(&mut peer)), [(task(1), first, Outcome::Success)]);
}

#[test]
fn f17_a_live_task_says_why_it_was_queued_again() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let sent = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    assert_eq!(rig.hub.last_loss(&task(1)), None);
    let why = Failure { signal: Some(11), ..Failure::new(FailureCode::WorkerDied, "x".repeat(1 << 20)) };
    rig.say(&mut peer, vec![failed(1, sent, Outcome::Died, Begun::Yes, Some(why))]);
    rig.settle();
    let loss = rig.hub.last_loss(&task(1)).unwrap();
    assert_eq!((loss.code, loss.signal), (FailureCode::WorkerDied, Some(11)));
    assert!(loss.message.starts_with("the worker running this task was killed by signal 11 (SIGSEGV)"));
    assert!(loss.message.len() <= limits::LOSS_BYTES + 16, "{}", loss.message.len());
    assert!(loss.host.is_some());
    let again = assigns(&rig.hear(&mut peer))[0].attempt;
    rig.say(&mut peer, vec![success(1, again)]);
    rig.settle();
    assert_eq!(rig.hub.last_loss(&task(1)), None);
}

#[test]
fn a_record_that_the_store_can_never_write_is_replaced_by_one_that_says_why() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let attempt = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![success(1, attempt)]);
    rig.flush();
    let (token, _) = rig.ops.remove(0);
    rig.handle(Event::Stored { token, answer: Answer::Refused { why: "string or blob too big".into() } });
    rig.flush();
    assert!(acks(&rig.hear(&mut peer)).is_empty(), "F21: nothing is on disk");
    rig.settle();
    assert_eq!(acks(&rig.hear(&mut peer)), [(task(1), attempt, Outcome::Success)]);
    assert_eq!(rig.store.state(1), Some(TaskState::Failed));
    let failure = rig.store.failure(1);
    assert_eq!(failure.code, FailureCode::ResultTooLarge);
    assert!(failure.message.contains("string or blob too big"), "{}", failure.message);
    // Where not even that can be written, it is repeated like any write.
    let attempt = rig.run(&mut peer, vec![spec(2)])[0].attempt;
    rig.say(&mut peer, vec![success(2, attempt)]);
    rig.flush();
    for _ in 0..2 {
        let (token, _) = rig.ops.remove(0);
        rig.handle(Event::Stored { token, answer: Answer::Refused { why: "no".into() } });
        rig.flush();
    }
    assert!(rig.ops.is_empty(), "not at once");
    rig.pass(limits::REWRITE_MS);
    assert_eq!(rig.store.state(2), Some(TaskState::Failed));
}

#[test]
fn the_record_tells_where_the_time_went() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1)]);
    rig.flush();
    rig.mono += 3;
    rig.settle();
    rig.mono += 40;
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = assigns(&peer.extra)[0].attempt;
    rig.mono += 5;
    rig.say(&mut peer, vec![result(1, first, Outcome::Died, Begun::Yes)]);
    rig.settle();
    let second = assigns(&rig.hear(&mut peer))[0].attempt;
    rig.mono += 6;
    let mut last = done(1, second, Outcome::Success, Begun::Yes);
    last.timings = Timings { node: 4_000_000, ..Timings::default() };
    rig.say(&mut peer, vec![Item::Result(Box::new(last))]);
    rig.settle();
    let ending = rig.store.rows[&task(1)].ending.clone().unwrap();
    let (store, queue, endpoint) = (3_000_000, 45_000_000, 6_000_000);
    let expected = Timings { store, queue, endpoint, node: 4_000_000, ..Timings::default() };
    assert_eq!(ending.timings, expected, "the execution that was lost counts as waiting");
}

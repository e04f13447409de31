//! Memoization (F36): what the store ends as it accepts it is told like any end, and never sent.

use crate::rig::*;
use bursa_core::hub::{Counter, Op, Reply};
use bursa_core::task::{Ending, TaskSpec, TaskState};
use bursa_core::time::Wall;
use bursa_core::timings::Timings;
use bytes::Bytes;

fn memoized() -> Option<Ending> {
    let payload = Bytes::from_static(b"earlier");
    let (failure, output, ended) = (None, Bytes::new(), Wall(WALL));
    Some(Ending {
        state: TaskState::Success,
        payload,
        failure,
        output,
        run_ns: 0,
        timings: Timings::default(),
        starts: 0,
        ended,
    })
}

fn memo(n: u32) -> TaskSpec {
    TaskSpec { memoize: true, ..spec(n) }
}

#[test]
fn f36_a_hit_is_accepted_and_ended_by_one_write_and_reaches_no_endpoint() {
    let mut rig = Rig::new();
    rig.store.memoized = memoized();
    let mut peer = rig.connect(hello(1, 1, 1));
    let bells = rig.bells;
    rig.submit(vec![memo(1), spec(2), memo(3)]);
    rig.flush();
    assert_eq!((rig.ops.len(), rig.replies.len(), rig.bells), (1, 0, bells), "nothing before `Stored`");
    rig.store_one();
    rig.flush();
    assert_eq!(rig.replies, [Reply::Accepted]);
    assert_eq!(rig.bells, bells + 1, "who waits for the results is woken");
    rig.settle();
    let sent: Vec<_> = assigns(&rig.hear(&mut peer)).iter().map(|assign| assign.task).collect();
    assert_eq!(sent, [task(2)]);
    assert!(rig.ops.is_empty(), "no second write: {:?}", rig.ops);
    assert_eq!((rig.hub.state(&task(1)), rig.hub.state(&task(3))), (None, None), "the store knows them");
    let counted =
        [Counter::Accepted, Counter::Succeeded, Counter::MemoHits].map(|counter| rig.count(counter));
    assert_eq!(counted, [3, 2, 2]);
}

#[test]
fn f36_a_hit_needs_no_endpoint_and_takes_no_place_among_live_tasks() {
    let mut rig = Rig::new();
    rig.store.memoized = memoized();
    for round in 0..15_000 {
        rig.submit(vec![memo(round)]);
        rig.settle();
        assert_eq!(rig.replies.pop(), Some(Reply::Accepted), "round {round} of three times {TASKS_PER_USER}");
    }
}

#[test]
fn f36_the_same_submit_again_is_known_and_wakes_nobody() {
    let mut rig = Rig::new();
    rig.store.memoized = memoized();
    rig.submit(vec![memo(1)]);
    rig.settle();
    let bells = rig.bells;
    rig.submit(vec![memo(1)]);
    rig.settle();
    assert_eq!(rig.replies, [Reply::Accepted, Reply::Accepted]);
    assert_eq!((rig.bells, rig.count(Counter::Accepted), rig.count(Counter::MemoHits)), (bells, 1, 1));
}

#[test]
fn f30_a_cancel_that_meets_the_acceptance_of_a_hit_is_told_that_it_succeeded() {
    let mut rig = Rig::new();
    rig.store.memoized = memoized();
    rig.submit(vec![memo(1)]);
    rig.cancel(vec![task(1)]);
    rig.settle();
    let told = Reply::Cancelled { tasks: vec![(task(1), Some(TaskState::Success))] };
    assert_eq!(rig.replies, [Reply::Accepted, told]);
}

#[test]
fn f22_a_hit_whose_write_failed_is_no_promise_and_may_be_submitted_again() {
    let mut rig = Rig::new();
    rig.store.memoized = memoized();
    rig.submit(vec![memo(1)]);
    rig.fail_one();
    assert!(matches!(rig.replies.pop(), Some(Reply::Unavailable { .. })));
    rig.submit(vec![memo(1)]);
    rig.settle();
    assert_eq!((rig.replies.pop(), rig.count(Counter::MemoHits)), (Some(Reply::Accepted), 1));
}

#[test]
fn f5_the_generation_is_stored_with_the_python_of_its_workers() {
    let mut rig = Rig::new();
    let mut words = hello(3, 1, 1);
    words.python = "3.11".into();
    rig.open(words);
    assert!(
        matches!(rig.ops.as_slice(), [(_, Op::Generation { generation: 3, python, .. })] if python == "3.11"),
        "{:?}",
        rig.ops
    );
}

//! Submit, dispatch of bodies and arguments, and what leaves only after `Stored`.

use crate::rig::*;
use bursa_core::hub::{Action, Counter, Event, Op, Reply, Whose};
use bursa_core::id::{Hash, UserId};
use bursa_core::limits;
use bursa_core::task::{Args, FailureCode, TaskState};
use bursa_core::wire::{Attempt, Blob, Item};
use bytes::Bytes;

#[test]
fn i2_accepted_leaves_only_after_stored() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.submit(vec![spec(1)]);
    rig.flush();
    assert_eq!(rig.hub.state(&task(1)), Some(TaskState::Received));
    assert_eq!((rig.ops.len(), rig.replies.len()), (1, 0));
    assert!(rig.hear(&mut peer).is_empty());
    rig.store_one();
    assert_eq!(rig.replies, [Reply::Accepted]);
    assert_eq!(rig.hub.state(&task(1)), Some(TaskState::WaitingForEp));
}

#[test]
fn f14_f35_exact_items_of_a_first_and_a_second_dispatch() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.submit(vec![spec(1)]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    let hash = Hash::of(BODY);
    assert_eq!(heard[0], Item::Function { hash, body: Some(Blob::Here(Bytes::from_static(BODY))) });
    let first = &assigns(&heard)[0];
    assert_eq!(first.attempt, Attempt::new(1, 1));
    assert_eq!(first.args.bytes(), b"arguments");
    assert_eq!(first.ttl_ms, 999_000, "F32: a duration");
    rig.submit(vec![spec(2)]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert!(matches!(heard.as_slice(), [Item::Assign(_)]), "F35: the body travels once: {heard:?}");
    assert_eq!(rig.count(Counter::Dispatched), 2);
    assert_eq!(rig.hub.state(&task(2)), Some(TaskState::WaitingForLaunch));
}

#[test]
fn f35_a_body_that_the_manager_has_is_not_sent() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    words.have_functions = vec![Hash::of(BODY)];
    let mut peer = rig.connect(words);
    rig.submit(vec![spec(1)]);
    rig.settle();
    assert!(matches!(rig.hear(&mut peer).as_slice(), [Item::Assign(_)]));
}

#[test]
fn f35_wanted_bodies_are_answered_and_gone_ones_too() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let (there, gone) = (Hash::of(BODY), Hash::of(b"gone"));
    rig.say(&mut peer, vec![Item::WantFunction { hash: there }, Item::WantFunction { hash: gone }]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert_eq!(heard.len(), 2);
    assert!(heard.contains(&Item::Function { hash: gone, body: None }));
    assert!(
        heard.contains(&Item::Function { hash: there, body: Some(Blob::Here(Bytes::from_static(BODY))) })
    );
}

#[test]
fn f35_a_body_that_is_gone_fails_its_tasks() {
    let mut rig = Rig::new();
    rig.store.bodies.clear();
    let _peer = rig.connect(hello(1, 1, 1));
    rig.submit(vec![spec(1), spec(2)]);
    rig.settle();
    assert_eq!(rig.store.failure(1).code, FailureCode::LoadFailed);
    assert_eq!(rig.store.failure(2).code, FailureCode::LoadFailed);
}

#[test]
fn a_body_that_loads_blocks_nobody_else() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    words.have_functions = vec![Hash::of(BODY)];
    let mut peer = rig.connect(words);
    let mut slow = spec(1);
    slow.hash = Hash::of(b"slow");
    rig.submit(vec![slow, spec(2)]);
    rig.store_one();
    rig.flush();
    assert_eq!(assigns(&rig.hear(&mut peer)).iter().map(|a| a.task).collect::<Vec<_>>(), [task(2)]);
    assert_eq!(rig.bodies_asked, [Hash::of(b"slow")]);
    rig.handle(Event::Body { hash: Hash::of(b"slow"), body: Some(Bytes::from_static(b"slow")) });
    rig.flush();
    assert_eq!(assigns(&rig.hear(&mut peer))[0].task, task(1));
}

#[test]
fn large_arguments_are_read_back_when_they_are_sent() {
    let mut rig = Rig::new();
    let mut large = spec(1);
    large.args = Args::Here(vec![9; limits::HELD_BYTES + 1].into());
    rig.submit(vec![large]);
    rig.settle();
    assert!(rig.args_asked.is_empty());
    let peer = &mut rig.connect(hello(1, 1, 1));
    assert_eq!(assigns(&peer.extra)[0].args.len(), limits::HELD_BYTES + 1);
    assert!(rig.actions.contains(&Action::LoadArgs { task: task(1) }));
}

#[test]
fn missing_arguments_fail_the_task() {
    let mut rig = Rig::new();
    let mut large = spec(1);
    large.args = Args::Here(vec![9; limits::HELD_BYTES + 1].into());
    rig.submit(vec![large]);
    rig.settle();
    rig.store.rows.get_mut(&task(1)).unwrap().spec.args = Args::Stored(1);
    let _peer = rig.connect(hello(1, 1, 1));
    assert_eq!(rig.store.failure(1).code, FailureCode::LoadFailed);
}

#[test]
fn f36_a_repeat_is_accepted_and_runs_once() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.submit(vec![spec(1)]);
    rig.submit(vec![spec(1), spec(2)]);
    rig.settle();
    assert_eq!(rig.replies, [Reply::Accepted, Reply::Accepted]);
    assert_eq!(assigns(&rig.hear(&mut peer)).len(), 2);
    rig.submit(vec![spec(1)]);
    rig.settle();
    assert_eq!(rig.replies.len(), 3);
    assert!(rig.hear(&mut peer).is_empty());
    assert_eq!(rig.count(Counter::Accepted), 2);
}

#[test]
fn f36_other_bytes_are_a_conflict_and_nothing_of_that_batch_is_queued() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1)]);
    rig.settle();
    let mut other = spec(1);
    other.retries = 9;
    rig.submit(vec![spec(2), other]);
    rig.settle();
    assert_eq!(rig.replies[1], Reply::Conflict { task: task(1) });
    assert_eq!(rig.hub.state(&task(2)), None);
}

#[test]
fn f36_a_repeat_outlives_the_first_try_that_is_refused() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.submit(vec![spec(9)]);
    rig.settle();
    rig.hear(&mut peer);
    let mut other = spec(9);
    other.retries = 9;
    rig.submit(vec![spec(1), other]);
    rig.submit(vec![spec(1)]);
    rig.settle();
    assert_eq!(rig.replies[1..], [Reply::Conflict { task: task(9) }, Reply::Accepted]);
    assert_eq!(assigns(&rig.hear(&mut peer)).iter().map(|a| a.task).collect::<Vec<_>>(), [task(1)]);
}

#[test]
fn a_repeat_of_an_ended_task_is_known_and_not_queued() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let sent = rig.run(&mut peer, vec![spec(1)]);
    rig.say(&mut peer, vec![success(1, sent[0].attempt)]);
    rig.settle();
    rig.hear(&mut peer);
    rig.submit(vec![spec(1)]);
    rig.settle();
    assert_eq!(rig.replies.last(), Some(&Reply::Accepted));
    assert_eq!(rig.hub.state(&task(1)), None);
    assert!(rig.hear(&mut peer).is_empty());
}

#[test]
fn unknown_endpoints_and_failed_stores_are_said() {
    let mut rig = Rig::new();
    let mut lost = spec(1);
    lost.endpoint = endpoint(9);
    rig.submit(vec![lost.clone()]);
    assert_eq!(rig.replies, [Reply::NoEndpoint { endpoint: endpoint(9) }]);
    rig.handle(Event::EndpointAdded { endpoint: endpoint(9) });
    rig.submit(vec![lost]);
    rig.fail_one();
    assert!(matches!(rig.replies.last(), Some(Reply::Unavailable { .. })));
    assert_eq!(rig.hub.state(&task(1)), None);
    rig.submit(vec![spec(2)]);
    assert!(matches!(rig.ops.as_slice(), [(_, Op::Accept { .. })]), "a failed accept refuses nobody else");
}

#[test]
fn a_user_at_his_limit_is_refused_alone_and_until_one_of_his_tasks_ends() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let limit = TASKS_PER_USER;
    rig.submit((1..).take(limit - 1).map(spec).collect());
    rig.settle();
    // One place is free: a whole submit is taken, since a large one could never fit otherwise.
    rig.submit((10_000..10_010).map(spec).collect());
    let full = |live| Reply::Full { whose: Whose::User, live, limit };
    rig.submit(vec![spec(20_000)]);
    rig.settle();
    assert_eq!(
        rig.replies,
        [Reply::Accepted, full(limit + 9), Reply::Accepted],
        "tasks being accepted count"
    );
    assert_eq!(rig.count(Counter::Refused), 1);

    let mut other = spec(30_000);
    other.user = UserId::from_bytes([9; 16]);
    rig.submit(vec![other]);
    rig.settle();
    assert_eq!(rig.replies.last(), Some(&Reply::Accepted), "others are not concerned");

    rig.cancel((10_000..10_009).map(task).collect());
    rig.settle();
    rig.submit(vec![spec(20_000)]);
    assert_eq!(rig.replies.last(), Some(&full(limit)));
    let first = assigns(&rig.hear(&mut peer))[0].clone();
    rig.say(&mut peer, vec![success(1, first.attempt)]);
    rig.submit(vec![spec(20_000)]);
    assert_eq!(rig.replies.last(), Some(&full(limit)), "an end counts once it is stored");
    rig.settle();
    rig.submit(vec![spec(20_000)]);
    rig.settle();
    assert_eq!(rig.replies.last(), Some(&Reply::Accepted));

    let mut after = Rig::start(2, rig.store, 1_000_000);
    after.submit(vec![spec(40_000)]);
    assert_eq!(after.replies, [full(limit)], "tasks of before count");
}

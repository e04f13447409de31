//! Credit: F25, F26 and I7.

use crate::rig::*;
use bursa_core::task::{Args, Begun, Outcome};
use bursa_core::wire::{Capacity, Item};

#[test]
fn f25_no_more_is_sent_than_credit_allows() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    words.capacity = capacity(2);
    let mut peer = rig.connect(words);
    let sent = rig.run(&mut peer, (0..5).map(spec).collect());
    assert_eq!(sent.iter().map(|assign| assign.task).collect::<Vec<_>>(), [task(0), task(1)]);
    rig.say(&mut peer, vec![success(0, sent[0].attempt)]);
    rig.settle();
    assert_eq!(assigns(&rig.hear(&mut peer))[0].task, task(2));
    rig.say(&mut peer, vec![Item::Capacity(capacity(4))]);
    rig.settle();
    assert_eq!(assigns(&rig.hear(&mut peer)).len(), 2);
    rig.say(&mut peer, vec![Item::Capacity(capacity(0))]);
    rig.submit(vec![spec(9)]);
    rig.settle();
    assert!(rig.hear(&mut peer).is_empty());
}

#[test]
fn f25_bytes_are_bounded_but_one_task_always_may_go() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    words.capacity.credit_bytes = 100;
    let mut peer = rig.connect(words);
    let big = |n| {
        let mut spec = spec(n);
        spec.args = Args::Here(vec![1; 150].into());
        spec
    };
    let sent = rig.run(&mut peer, vec![big(1), big(2)]);
    assert_eq!(sent.len(), 1);
    rig.say(&mut peer, vec![success(1, sent[0].attempt)]);
    rig.settle();
    assert_eq!(assigns(&rig.hear(&mut peer)).len(), 1);
}

#[test]
fn f26_a_lease_is_freed_by_its_result_only() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    words.capacity = capacity(1);
    let mut peer = rig.connect(words);
    let first = rig.run(&mut peer, vec![spec(1), spec(2)])[0].attempt;
    rig.cancel(vec![task(1)]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert_eq!(cancels(&heard), [(task(1), first)]);
    assert!(assigns(&heard).is_empty(), "a cancelled task keeps its credit");
    rig.say(&mut peer, vec![result(1, first, Outcome::Cancelled, Begun::Yes)]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert_eq!(acks(&heard), [(task(1), first, Outcome::Cancelled)]);
    assert_eq!(assigns(&heard)[0].task, task(2));
}

#[test]
fn a_degraded_endpoint_says_why_and_its_tasks_wait() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let why = Some("workers could not be started: exit code 3".to_owned());
    rig.say(&mut peer, vec![Item::Capacity(Capacity { degraded: why.clone(), ..capacity(0) })]);
    rig.submit(vec![spec(1)]);
    rig.settle();
    rig.pass(60_000);
    assert!(rig.hub.state(&task(1)).is_some_and(|state| !state.is_terminal()));
    let mut words = hello(1, 1, 2);
    words.capacity = Capacity { degraded: why.clone(), ..capacity(0) };
    let mut peer = rig.connect(words);
    assert_eq!(rig.hub.endpoint(&endpoint(1)).unwrap().degraded, why);
    rig.say(&mut peer, vec![Item::Capacity(capacity(1))]);
    rig.settle();
    assert_eq!(rig.hub.endpoint(&endpoint(1)).unwrap().degraded, None);
    assert_eq!(assigns(&rig.hear(&mut peer)).len(), 1);
}

//! Why a task stands where it stands.

use crate::rig::*;
use bursa_core::hub::{Event, Explanation, Reason, Reply};
use bursa_core::id::Hash;
use bursa_core::task::{Begun, Outcome, TaskSpec, TaskState};
use bursa_core::time::Wall;
use bursa_core::wire::{Attempt, Capacity, Item, Placed, Warm, version};

fn explain(rig: &Rig, n: u32) -> Explanation {
    rig.hub.explain(&task(n), rig.now()).unwrap()
}

fn reason(rig: &Rig, n: u32) -> Reason {
    explain(rig, n).reason
}

#[test]
fn each_step_of_a_task_has_its_reason() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1), spec(2)]);
    assert_eq!(reason(&rig, 1), Reason::Accepting);
    rig.settle();
    let offline = explain(&rig, 1);
    assert_eq!(offline.reason, Reason::EndpointOffline { holds_it: false });
    assert_eq!((offline.state, offline.status.since), (TaskState::WaitingForEp, None), "never seen");
    assert_eq!(offline.deadline, Wall(WALL + 1_000_000));

    let mut words = hello(1, 1, 1);
    words.capacity = Capacity { slots_total: 0, ..capacity(1) };
    let mut peer = rig.connect(words);
    assert_eq!(reason(&rig, 1), Reason::Node { waits: None });
    assert_eq!(reason(&rig, 2), Reason::Turn { ahead: Some(0) });
    rig.say(&mut peer, vec![Item::Capacity(capacity(1))]);
    assert_eq!(reason(&rig, 1), Reason::Worker { waits: None, warm: None });
    let first = rig.hub.current(&task(1)).unwrap().0;
    rig.say(&mut peer, vec![started(1, first)]);
    let since = Some(Wall(WALL + rig.mono));
    assert_eq!(reason(&rig, 1), Reason::Running { since });
    assert_eq!(explain(&rig, 1).status.host, "host1");

    rig.say(&mut peer, vec![result(1, first, Outcome::Died, Begun::Yes)]);
    assert_eq!(reason(&rig, 1), Reason::Charging);
    rig.cancel(vec![task(1)]);
    assert!(explain(&rig, 1).cancelling);
    rig.store_one();
    let after = explain(&rig, 1);
    assert_eq!(after.last_loss.as_ref().unwrap().code, bursa_core::task::FailureCode::WorkerDied);
    assert_eq!((after.reason, after.losses, after.retries, after.starts), (Reason::Ending, 1, 1, 1));
    rig.settle();
    assert!(rig.hub.explain(&task(1), rig.now()).is_none());
}

#[test]
fn a_task_in_a_container_knows_of_the_workers_there() {
    let mut rig = Rig::new();
    let container = crate::words::image();
    let of = Some(container.container);
    rig.submit(vec![TaskSpec { container: Some(container), ..spec(1) }]);
    rig.settle();
    let mut words = hello(1, 1, 1);
    words.capacity = capacity(1);
    let mut peer = rig.connect(words);
    assert_eq!(reason(&rig, 1), Reason::Worker { waits: None, warm: Some((0, 0)) });
    let warm = vec![Warm { container: None, warm: 9, free: 9 }, Warm { container: of, warm: 3, free: 1 }];
    rig.say(&mut peer, vec![Item::Capacity(Capacity { warm, ..capacity(1) })]);
    assert_eq!(reason(&rig, 1), Reason::Worker { waits: None, warm: Some((3, 1)) });
}

#[test]
fn a_task_that_waits_for_its_turn_knows_how_many_are_ahead() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    words.capacity = capacity(1);
    let _peer = rig.connect(words);
    rig.submit((1..=5).map(spec).collect());
    rig.settle();
    for n in 2..=5 {
        assert_eq!(reason(&rig, n), Reason::Turn { ahead: Some(n as usize - 2) });
    }
    let shown = explain(&rig, 5).status;
    assert_eq!((shown.queued, shown.held), (4, 1));
}

#[test]
fn a_task_at_an_endpoint_that_is_away_or_degraded_or_settling() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let attempt = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    let degraded = Capacity { degraded: Some("no python".into()), ..capacity(0) };
    rig.say(&mut peer, vec![Item::Capacity(degraded)]);
    let why = "no python".to_owned();
    assert_eq!(reason(&rig, 1), Reason::EndpointDegraded { why: why.clone() });
    rig.submit(vec![spec(2)]);
    rig.settle();
    assert_eq!(reason(&rig, 2), Reason::EndpointDegraded { why });
    rig.say(&mut peer, vec![started(1, attempt)]);
    assert!(matches!(reason(&rig, 1), Reason::Running { .. }), "what runs, runs");
    rig.pass(31_000);
    assert_eq!(reason(&rig, 1), Reason::EndpointOffline { holds_it: true });
    assert!(explain(&rig, 1).status.since.is_some());

    let mut after = Rig::start(2, rig.store, 900_000);
    let mut words = hello(2, 2, 1);
    words.complete = false;
    let _peer = after.connect(words);
    assert_eq!(reason(&after, 1), Reason::EndpointSettling);
}

#[test]
fn reads_and_a_failing_store_are_said() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let mut slow = spec(1);
    slow.hash = Hash::of(b"slow");
    rig.submit(vec![slow, spec(2)]);
    rig.store_one();
    rig.flush();
    assert_eq!(reason(&rig, 1), Reason::Loading);
    rig.settle();
    let attempt = rig.hub.current(&task(2)).unwrap().0;
    rig.hear(&mut peer);
    rig.say(&mut peer, vec![result(2, attempt, Outcome::Died, Begun::Yes)]);
    rig.fail_one();
    assert_eq!(reason(&rig, 2), Reason::StoreFailing { why: "disk full".into() });
}

fn ask(rig: &mut Rig, n: u32) {
    let request = rig.request();
    rig.handle(Event::Explain { request, task: task(n) });
    rig.flush();
}

/// Where it is by the answers so far, which are forgotten.
fn places(rig: &mut Rig) -> Vec<Option<String>> {
    let place = |reply| match reply {
        Reply::Explained(Some(live)) => live.place.map(|place| place.why),
        other => panic!("{other:?}"),
    };
    std::mem::take(&mut rig.replies).into_iter().map(place).collect()
}

fn located(n: u32, attempt: Attempt, why: &str) -> Item {
    let place = Placed { why: why.into(), ..Placed::default() };
    Item::Located { task: task(n), attempt, place: Some(Box::new(place)) }
}

#[test]
fn an_endpoint_is_asked_where_a_task_is_when_somebody_asks_and_once() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let attempt = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.replies.clear();
    ask(&mut rig, 1);
    ask(&mut rig, 1);
    assert_eq!(rig.hear(&mut peer), [Item::Locate { task: task(1), attempt }]);
    assert_eq!(places(&mut rig), [], "until it answers");
    rig.say(&mut peer, vec![located(1, attempt, "there")]);
    assert_eq!(places(&mut rig), [Some("there".to_owned()), Some("there".to_owned())]);
    rig.say(&mut peer, vec![located(1, attempt, "unasked")]);
    ask(&mut rig, 1);
    rig.say(&mut peer, vec![located(1, Attempt(attempt.0 + 1), "of another attempt")]);
    assert_eq!(places(&mut rig), [None]);
}

#[test]
fn an_endpoint_that_does_not_say_where_a_task_is_keeps_nobody_waiting() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.run(&mut peer, vec![spec(1)]);
    rig.replies.clear();
    ask(&mut rig, 1);
    rig.pass(bursa_core::limits::QUESTION_MS - 1);
    assert_eq!(places(&mut rig), []);
    rig.pass(1);
    assert_eq!(places(&mut rig), [None]);
    rig.submit(vec![spec(2)]);
    rig.settle();
    rig.replies.clear();
    let request = rig.request();
    rig.handle(Event::Explain { request, task: task(9) });
    assert!(matches!(rig.replies[..], [Reply::Explained(None)]), "not live");
}

#[test]
fn one_without_an_endpoint_or_at_an_older_one_is_explained_at_once() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1)]);
    rig.settle();
    rig.replies.clear();
    ask(&mut rig, 1);
    assert_eq!(places(&mut rig), [None]);
    let mut words = hello(1, 1, 1);
    words.proto_max = version::RESOURCES - 1;
    rig.connect(words);
    ask(&mut rig, 1);
    assert_eq!(places(&mut rig), [None]);
}

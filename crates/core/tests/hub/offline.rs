//! Tasks of endpoints that stay away, where the service is told not to let them wait (FABRIC §7).

use crate::rig::*;
use bursa_core::hub::{Config, Event};
use bursa_core::task::{Begun, FailureCode, Outcome, TaskState};
use bursa_core::wire::Hello;

pub(crate) const PATIENCE: u64 = 60_000;

/// A service that lets tasks wait a minute for an endpoint that is away.
pub(crate) fn impatient(store: Store) -> Rig {
    Rig::start_with(Config { fail_when_offline_ms: Some(PATIENCE), ..config(1) }, store, 1_000)
}

fn ended_offline(rig: &Rig, n: u32) -> bool {
    rig.store.state(n) == Some(TaskState::Failed) && rig.store.failure(n).code == FailureCode::EndpointOffline
}

#[test]
fn tasks_wait_for_ever_unless_told_otherwise() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1)]);
    rig.settle();
    rig.pass(10 * PATIENCE);
    assert_eq!(rig.store.state(1), None);
}

#[test]
fn an_endpoint_that_never_comes_fails_its_tasks_in_time_and_new_ones_at_once() {
    let mut rig = impatient(Rig::new().store);
    rig.submit((1..3_000).map(spec).collect());
    rig.settle();
    rig.pass(PATIENCE - 1);
    assert_eq!(rig.store.state(1), None);
    rig.pass(1);
    rig.settle();
    assert!((1..3_000).all(|n| ended_offline(&rig, n)));
    assert!(rig.store.failure(1).message.contains("has not connected since the service started"));
    rig.submit(vec![spec(3_000)]);
    rig.settle();
    assert!(ended_offline(&rig, 3_000));
    assert!(rig.hub.next_deadline().is_none(), "nothing is left to look at");
}

#[test]
fn one_that_returns_in_time_loses_nothing_and_its_time_begins_anew() {
    let mut rig = impatient(Rig::new().store);
    rig.submit(vec![spec(1)]);
    rig.settle();
    rig.pass(PATIENCE - 1);
    let peer = rig.connect(hello(1, 1, 1));
    let sent = assigns(&peer.extra);
    assert_eq!(sent.len(), 1);
    rig.handle(Event::Unreachable { conn: peer.conn });
    rig.pass(PATIENCE - 1);
    assert_eq!(rig.store.state(1), None);
    rig.pass(2);
    rig.settle();
    assert!(ended_offline(&rig, 1));
    assert!(rig.store.failure(1).message.contains("offline for 60 s"), "{}", rig.store.failure(1).message);

    // What it still holds is cancelled when it is back, and new tasks run.
    let mut peer =
        rig.connect(Hello { held: vec![holding(1, sent[0].attempt, Begun::Yes)], ..hello(1, 1, 2) });
    let mut heard = peer.extra.clone();
    heard.extend(rig.hear(&mut peer));
    assert_eq!(cancels(&heard), [(task(1), sent[0].attempt)]);
    assert_eq!(rig.run(&mut peer, vec![spec(2)]).len(), 1);
}

#[test]
fn a_task_that_was_being_charged_ends_after_its_write() {
    let mut rig = impatient(Rig::new().store);
    let mut peer = rig.connect(hello(1, 1, 1));
    let sent = rig.run(&mut peer, vec![spec(1)]);
    rig.say(
        &mut peer,
        vec![started(1, sent[0].attempt), result(1, sent[0].attempt, Outcome::Lost, Begun::Yes)],
    );
    rig.handle(Event::Unreachable { conn: peer.conn });
    // The clock goes on without the store.
    rig.mono += PATIENCE;
    rig.handle(Event::Tick);
    rig.flush();
    assert_eq!(rig.store.state(1), None);
    rig.settle();
    assert!(ended_offline(&rig, 1));
}

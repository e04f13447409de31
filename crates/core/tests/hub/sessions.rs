//! Sessions: F1 to F5, F27, F34, F37 and keys that are revoked.

use crate::rig::*;
use bursa_core::hub::{Action, Counter, Event, Op, Reply};
use bursa_core::limits;
use bursa_core::task::{FailureCode, TaskState};
use bursa_core::time::Mono;
use bursa_core::wire::{Attempt, Item, Peer, RefusedReason, ResetReason, Session};

#[test]
fn f5_the_generation_is_stored_before_welcome() {
    let mut rig = Rig::new();
    let mut peer = rig.open(hello(3, 1, 1));
    rig.flush();
    assert!(rig.hear(&mut peer).is_empty());
    assert!(matches!(rig.ops.as_slice(), [(_, Op::Generation { generation: 3, .. })]));
    rig.fail_one();
    rig.pass(1_000);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert!(matches!(heard[0], Item::Welcome { epoch: 1, heartbeat_ms: 10_000, .. }));
    assert!(rig.hub.endpoint(&endpoint(1)).unwrap().online);
    assert_eq!(rig.count(Counter::Sessions), 1);
}

#[test]
fn f1_hello_comes_in_pages_and_nothing_is_said_before_the_last() {
    let mut rig = Rig::new();
    let mut first = hello(1, 1, 1);
    first.last = false;
    first.held = vec![holding(1, Attempt(1), bursa_core::task::Begun::Yes)];
    let mut peer = rig.open(first);
    rig.settle();
    assert!(rig.hear(&mut peer).is_empty());
    rig.say(&mut peer, vec![Item::Hello(Box::new(hello(1, 1, 1)))]);
    rig.settle();
    let heard = rig.hear(&mut peer);
    assert!(matches!(heard[0], Item::Welcome { .. }));
    assert_eq!(cancels(&heard), [(task(1), Attempt(1))], "F10: unknown work is cancelled, after the welcome");
}

#[test]
fn f1_the_end_of_a_session_changes_no_task() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.run(&mut peer, vec![spec(1)]);
    rig.handle(Event::Unreachable { conn: peer.conn });
    rig.settle();
    let status = rig.hub.endpoint(&endpoint(1)).unwrap();
    assert_eq!((status.online, status.held, status.queued), (false, 1, 0));
    assert!(rig.ops.is_empty());
    let mut peer = rig.connect(hello(1, 1, 2));
    rig.say(&mut peer, vec![Item::Bye { reason: "shutdown".into() }]);
    assert!(!rig.hub.endpoint(&endpoint(1)).unwrap().online);
    assert!(rig.closed.contains(&peer.conn));
}

#[test]
fn f2_what_is_not_of_the_current_session_is_dropped_and_answered_at_a_limited_rate() {
    let mut rig = Rig::new();
    let mut old = rig.connect(hello(1, 1, 1));
    let sent = rig.run(&mut old, vec![spec(1)]);
    let mut words = hello(1, 1, 2);
    words.held = vec![holding(1, sent[0].attempt, bursa_core::task::Begun::Yes)];
    let _new = rig.connect(words);
    rig.say(&mut old, vec![success(1, sent[0].attempt)]);
    rig.settle();
    assert_eq!(reset(&rig.hear(&mut old)), Some(ResetReason::UnknownSession));
    assert_eq!(rig.store.state(1), None);
    for _ in 0..100 {
        rig.ping(&mut old);
    }
    assert!(rig.hear(&mut old).len() < 20);
    assert_eq!(rig.count(Counter::DroppedMessages), 1, "counts are said once a round");
    rig.flush();
    assert_eq!(rig.count(Counter::DroppedMessages), 101);
    rig.mono += 1_000;
    rig.ping(&mut old);
    assert_eq!(rig.hear(&mut old).len(), 1);
}

#[test]
fn f2_words_of_an_acceptor_and_words_before_welcome_break_the_protocol() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.say(&mut peer, vec![Item::Drain { grace_ms: 1 }]);
    assert_eq!(reset(&rig.hear(&mut peer)), Some(ResetReason::Protocol));
    let mut first = hello(1, 1, 2);
    first.last = false;
    let mut peer = rig.open(first);
    rig.say(&mut peer, vec![Item::Capacity(capacity(5))]);
    assert_eq!(reset(&rig.hear(&mut peer)), Some(ResetReason::Protocol));
}

#[test]
fn f3_a_gap_ends_the_session() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    peer.session.push(Item::Capacity(capacity(1)));
    peer.session.flush(Mono(rig.mono), |_lost| {});
    rig.ping(&mut peer);
    assert_eq!(reset(&rig.hear(&mut peer)), Some(ResetReason::Gap));
    assert!(!rig.hub.endpoint(&endpoint(1)).unwrap().online);
}

#[test]
fn f4_hellos_are_ordered_by_generation_and_connection() {
    let mut rig = Rig::new();
    let mut first = rig.connect(hello(5, 1, 4));
    let mut lower = rig.open(hello(4, 2, 1));
    let heard = rig.hear(&mut lower);
    assert_eq!(refused(&heard), Some((RefusedReason::Superseded, true)));
    assert!(matches!(&heard[0], Item::Refused { seen_generation: 5, live: true, other_host: Some(host), .. }
        if host == "host1"));
    let mut other = rig.open(hello(5, 2, 1));
    assert_eq!(refused(&rig.hear(&mut other)), Some((RefusedReason::Busy, true)));
    let mut older = rig.open(hello(5, 1, 3));
    assert!(rig.hear(&mut older).is_empty(), "an older connection of the same process is ignored");
    assert!(rig.hub.endpoint(&endpoint(1)).unwrap().online);
    let mut higher = rig.open(hello(6, 3, 1));
    rig.settle();
    assert!(matches!(rig.hear(&mut higher)[0], Item::Welcome { .. }), "higher wins at once");
    assert_eq!(refused(&rig.hear(&mut first)), Some((RefusedReason::Superseded, true)));
    assert!(rig.closed.contains(&first.conn));
}

#[test]
fn f4_another_manager_of_the_generation_may_come_once_the_first_is_gone() {
    let mut rig = Rig::new();
    let first = rig.connect(hello(5, 1, 4));
    rig.handle(Event::Unreachable { conn: first.conn });
    rig.connect(hello(5, 2, 1));
    let mut lower = rig.open(hello(4, 1, 9));
    assert!(matches!(rig.hear(&mut lower)[0], Item::Refused { live: true, .. }));
}

#[test]
fn hellos_of_others_and_of_other_versions_are_refused() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    let Peer::Manager { generation, manager, .. } = words.peer else { unreachable!() };
    words.peer = Peer::Manager { endpoint: endpoint(8), generation, manager };
    let mut peer = rig.open(words);
    assert_eq!(refused(&rig.hear(&mut peer)), Some((RefusedReason::Revoked, true)), "F2: the key decides");
    let mut words = hello(1, 1, 1);
    (words.proto_min, words.proto_max) = (90, 91);
    let mut peer = rig.open(words);
    assert_eq!(refused(&rig.hear(&mut peer)), Some((RefusedReason::Version, true)));
    let mut words = hello(1, 1, 1);
    words.peer = Peer::Executor { executor: bursa_core::id::ExecutorId::from_bytes([1; 16]) };
    let conn = rig.new_conn();
    let mut session = Session::new(9, Mono(rig.mono));
    session.push(Item::Hello(Box::new(words)));
    let mut messages = Vec::new();
    session.flush(Mono(rig.mono), |message| messages.push(message));
    rig.handle(Event::Message { conn, endpoint: endpoint(1), message: messages.remove(0) });
    assert_eq!(reset(&rig.mail[&conn][0].items), Some(ResetReason::Protocol));
}

#[test]
fn f27_a_peer_that_acknowledges_nothing_is_told_no_more_than_a_window() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    words.capacity = capacity(65_536);
    let peer = rig.connect(words);
    for n in 0..1_000 {
        rig.submit(vec![spec(n)]);
        rig.settle();
    }
    assert_eq!(
        rig.mail[&peer.conn].len() as u64,
        limits::WINDOW - 1,
        "the welcome was the first of the window"
    );
    let status = rig.hub.endpoint(&endpoint(1)).unwrap();
    assert!(status.held <= 63 + 2, "the rest stays state: {status:?}");
}

#[test]
fn f34_a_silent_peer_is_gone_but_not_because_we_slept() {
    let mut rig = Rig::new();
    let peer = rig.connect(hello(1, 1, 1));
    rig.pass(29_000);
    assert!(rig.hub.endpoint(&endpoint(1)).unwrap().online);
    assert!(rig.mail[&peer.conn].iter().any(|message| message.items == [Item::Ping]), "heartbeats go out");
    rig.mono += 20_000;
    rig.handle(Event::Tick);
    assert!(rig.hub.endpoint(&endpoint(1)).unwrap().online, "a fresh threshold after our own sleep");
    rig.pass(31_000);
    let status = rig.hub.endpoint(&endpoint(1)).unwrap();
    assert!(!status.online);
    assert!(status.since.is_some());
}

#[test]
fn f34_a_peer_that_was_not_listened_to_is_not_silent() {
    let mut rig = Rig::new();
    rig.connect(hello(1, 1, 1));
    for _ in 0..20 {
        rig.mono += 10_000;
        rig.handle(Event::Deaf);
        rig.handle(Event::Tick);
        assert!(rig.hub.endpoint(&endpoint(1)).unwrap().online, "its heartbeats wait to be read");
    }
    rig.pass(29_000);
    assert!(rig.hub.endpoint(&endpoint(1)).unwrap().online, "a fresh threshold");
    rig.pass(2_000);
    assert!(!rig.hub.endpoint(&endpoint(1)).unwrap().online, "now it was listened to");
}

#[test]
fn heartbeats_of_the_peer_keep_the_session() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    for _ in 0..20 {
        rig.pass(10_000);
        rig.hear(&mut peer);
        rig.ping(&mut peer);
    }
    assert!(rig.hub.endpoint(&endpoint(1)).unwrap().online);
}

#[test]
fn f37_deleting_ends_the_tasks_first_then_refuses() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.run(&mut peer, (0..3_000).map(spec).collect());
    let request = rig.request();
    rig.handle(Event::DeleteEndpoint { request, endpoint: endpoint(1) });
    assert!(rig.ops.len() <= 1_024, "in slices");
    rig.submit(vec![spec(9_000)]);
    assert_eq!(rig.replies.last(), Some(&Reply::NoEndpoint { endpoint: endpoint(1) }));
    rig.pass(1);
    rig.settle();
    assert!(rig.store.rows.values().all(|row| row.ending.is_some()));
    assert_eq!(rig.store.failure(7).code, FailureCode::EndpointDeleted);
    assert_eq!(rig.store.deleted, [endpoint(1)]);
    assert_eq!(rig.replies.last(), Some(&Reply::Deleted));
    assert_eq!(refused(&rig.hear(&mut peer)), Some((RefusedReason::Deleted, true)));
    let mut again = rig.open(hello(2, 1, 1));
    assert_eq!(refused(&rig.hear(&mut again)), Some((RefusedReason::Deleted, true)));
    assert_eq!(rig.hub.endpoint(&endpoint(1)), None);
    assert_eq!(rig.hub.next_deadline(), None);
}

#[test]
fn f37_a_revoked_key_closes_the_session_and_keeps_the_tasks() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    rig.run(&mut peer, vec![spec(1)]);
    rig.handle(Event::Revoked { endpoint: endpoint(1) });
    assert_eq!(refused(&rig.hear(&mut peer)), Some((RefusedReason::Revoked, true)));
    assert_eq!(rig.hub.state(&task(1)), Some(TaskState::WaitingForLaunch));
    assert!(matches!(rig.actions.last(), Some(Action::Log { .. })));
}

#[test]
fn nothing_that_is_not_registered_gets_a_session() {
    let mut rig = Rig::new();
    let conn = rig.new_conn();
    let mut session = Session::new(9, Mono(rig.mono));
    session.push(Item::Hello(Box::new(hello(1, 1, 1))));
    let mut messages = Vec::new();
    session.flush(Mono(rig.mono), |message| messages.push(message));
    rig.handle(Event::Message { conn, endpoint: endpoint(7), message: messages.remove(0) });
    assert_eq!(refused(&rig.mail[&conn][0].items), Some((RefusedReason::Revoked, true)));
}

//! One test per rule about links: sessions, refusals, the adoption window, blocks.

use crate::rig::{Rig, assign, assigned, capacity, config, executor_hello, holding, results, x};
use crate::words::image;
use bursa_core::id::{BlockId, ConnId};
use bursa_core::limits;
use bursa_core::manager::{Action, Config, Event, ExitReason, Scale};
use bursa_core::time::Mono;
use bursa_core::wire::{Assign, Held, Item, Peer, RefusedReason, ResetReason, Session, Stage, version};

fn refused(reason: RefusedReason, is_final: bool, live: bool) -> Item {
    Item::Refused { reason, is_final, text: "no".into(), other_host: None, seen_generation: 12, live }
}

fn connects(rig: &mut Rig) -> usize {
    let count = rig.actions.iter().filter(|action| **action == Action::Connect).count();
    rig.actions.clear();
    count
}

#[test]
fn the_first_tick_connects_and_the_socket_brings_a_hello() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.manager.next_deadline(), Some(Mono(0)));
    rig.event(Event::Tick);
    assert_eq!(rig.actions, vec![Action::Connect]);
    rig.event(Event::LinkUp);
    let said = rig.said();
    let [Item::Hello(hello)] = &said[..] else { panic!("{said:?}") };
    assert!(matches!(hello.peer, Peer::Manager { generation: 7, .. }));
    assert_eq!((hello.connection, hello.last, hello.complete, hello.held.len()), (1, true, false, 0));
    rig.welcome();
    let complete = Held { held: vec![], complete: true, accounted: true };
    assert_eq!(rig.said(), vec![Item::Held(complete)]);
}

#[test]
fn timers_a_new_socket_after_five_seconds_without_welcome_with_back_off() {
    let mut rig = Rig::new(config());
    rig.event(Event::Tick);
    rig.event(Event::LinkUp);
    rig.pass(4_999, false, &[]);
    assert_eq!(connects(&mut rig), 1);
    rig.pass(130, false, &[]);
    assert_eq!(connects(&mut rig), 1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        rig.event(Event::LinkDown { why: "refused".into() });
        let from = rig.ms;
        while connects(&mut rig) == 0 {
            rig.pass(1, false, &[]);
        }
        waits.push(rig.ms - from);
    }
    for (wait, base) in waits.iter().zip([200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]) {
        assert!((base * 4 / 5..=base * 6 / 5 + 1).contains(wait), "{waits:?}");
    }
}

#[test]
fn an_executor_that_knows_no_containers_gets_no_call_for_one() {
    let mut rig = Rig::up(config());
    for (of, newest) in [(x(1), version::CONTAINERS - 1), (x(2), version::CONTAINERS)] {
        let hello = executor_hello(of, 1, Vec::new(), capacity(10, 2));
        let Item::Hello(mut words) = hello else { unreachable!() };
        words.proto_max = newest;
        rig.greets(of, Item::Hello(words));
        let heard = rig.heard(of);
        assert!(matches!(heard[..], [Item::Welcome { proto, .. }] if proto == newest), "{heard:?}");
    }
    let call = |n| {
        let Item::Assign(assign) = assign(n, 1) else { unreachable!() };
        Item::Assign(Box::new(Assign { container: Some(image()), ..*assign }))
    };
    rig.hub_says(vec![call(1), call(2), call(3), call(4)]);
    assert_eq!(assigned(&rig.heard(x(1))), []);
    assert_eq!(assigned(&rig.heard(x(2))), [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

#[test]
fn f2_a_stranger_is_reset_and_a_dead_connection_has_no_say() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    let mut late = Session::new(1_001, Mono(0));
    let old = rig.executors[&x(1)].conn;
    rig.hello(x(1), 2, vec![holding(1, 9, Stage::Running)], capacity(4, 2));
    rig.clear();
    late.push(crate::rig::done(1, 9, bursa_core::task::Outcome::Returned, bursa_core::task::Begun::No));
    let mut messages = Vec::new();
    late.flush(Mono(0), |message| messages.push(message));
    rig.raw(x(1), old, messages.remove(0));
    let reset = Session::stray_reset(1_001, ResetReason::UnknownSession);
    assert_eq!(rig.actions, vec![Action::SendExecutor { conn: old, message: reset }]);
    assert_eq!((rig.heard(x(1)), rig.said()), (vec![], vec![]));
}

#[test]
fn f2_the_key_says_who_it_is() {
    let mut rig = Rig::up(config());
    let mut session = Session::new(5, Mono(0));
    session.push(executor_hello(x(2), 1, vec![], capacity(4, 2)));
    let mut messages = Vec::new();
    session.flush(Mono(0), |message| messages.push(message));
    rig.raw(x(1), ConnId(77), messages.remove(0));
    let [Action::SendExecutor { message, .. }, Action::Close { conn: ConnId(77) }] = &rig.actions[..] else {
        panic!("{:?}", rig.actions)
    };
    assert!(matches!(
        message.items[..],
        [Item::Refused { reason: RefusedReason::Revoked, is_final: true, .. }]
    ));
}

#[test]
fn f3_a_gap_ends_the_session_on_either_side() {
    let mut rig = Rig::with_one(4, 2);
    let (conn, mut message) = {
        let fake = rig.executors.get_mut(&x(1)).unwrap();
        (fake.conn, fake.session.ping(Mono(0)))
    };
    message.envelope.seq += 1;
    rig.raw(x(1), conn, message);
    assert_eq!(rig.heard(x(1)), vec![Item::Reset { reason: ResetReason::Gap }]);
    assert_eq!(rig.actions, vec![Action::Close { conn }]);
    rig.clear();
    let mut message = rig.hub.as_mut().unwrap().ping(Mono(0));
    message.envelope.seq += 1;
    rig.event(Event::FromHub { message });
    assert_eq!(rig.said(), vec![Item::Reset { reason: ResetReason::Gap }]);
    assert!(rig.actions.contains(&Action::Disconnect));
}

#[test]
fn f4_an_older_connection_is_turned_away_and_a_newer_replaces() {
    let mut rig = Rig::with_one(4, 2);
    let first = rig.executors[&x(1)].conn;
    rig.hello(x(1), 5, vec![], capacity(4, 2));
    assert!(rig.actions.contains(&Action::Close { conn: first }));
    rig.hello(x(1), 4, vec![], capacity(4, 2));
    assert!(matches!(rig.heard(x(1))[..], [Item::Refused { reason: RefusedReason::Stale, .. }]));
}

#[test]
fn f4_refused_by_a_generation_without_a_manager_raises_ours() {
    for reason in [RefusedReason::Superseded, RefusedReason::Busy] {
        let mut rig = Rig::new(config());
        rig.event(Event::Tick);
        rig.event(Event::LinkUp);
        rig.actions.clear();
        rig.hub_says(vec![refused(reason, true, false)]);
        assert_eq!(rig.actions, vec![Action::Disconnect, Action::RaiseGeneration { above: 12 }]);
        rig.pass(20_000, false, &[]);
        assert_eq!(connects(&mut rig), 0);
        rig.event(Event::GenerationRaised { generation: 13 });
        rig.pass(200, false, &[]);
        assert_eq!(connects(&mut rig), 1);
        rig.said.clear();
        rig.event(Event::LinkUp);
        let said = rig.said();
        assert!(
            matches!(&said[..], [Item::Hello(h)] if matches!(h.peer, Peer::Manager { generation: 13, .. }))
        );
    }
}

#[test]
fn f5_a_superseded_manager_touches_no_task_and_exits() {
    let mut rig = Rig::with_one(4, 2);
    let conn = rig.executors[&x(1)].conn;
    rig.hub_says(vec![assign(1, 9)]);
    rig.clear();
    rig.hub_says(vec![refused(RefusedReason::Superseded, true, true)]);
    let exit = Action::Exit { reason: ExitReason::Refused, text: "no".into() };
    assert_eq!(rig.actions, vec![Action::Close { conn }, Action::Disconnect, exit]);
    assert_eq!(rig.heard(x(1)), vec![Item::Reset { reason: ResetReason::UnknownSession }]);
    assert_eq!((rig.said(), rig.manager.next_deadline()), (vec![], None));
}

#[test]
fn f37_deleted_ends_the_executors_too() {
    let deleted = [refused(RefusedReason::Deleted, true, false), Item::Bye { reason: "deleted".into() }];
    for item in deleted {
        let mut rig = Rig::with_one(4, 2);
        if matches!(item, Item::Bye { .. }) {
            let message = rig.hub.as_mut().unwrap().bare(Mono(0), item);
            rig.event(Event::FromHub { message });
        } else {
            rig.hub_says(vec![item]);
        }
        assert_eq!(rig.heard(x(1)), vec![Item::Bye { reason: "deleted".into() }]);
        assert!(matches!(rig.actions.last(), Some(Action::Exit { reason: ExitReason::Refused, .. })));
    }
}

fn adopting(hints: u8) -> Config {
    let found = (1..=hints).map(|n| (BlockId::from_bytes([n; 16]), vec![x(n)])).collect();
    Config { hints: (1..=hints).map(x).collect(), found, scale: Scale::fixed(1), ..config() }
}

#[test]
fn f8_the_window_ends_when_all_hints_are_back_and_is_accounted() {
    let mut rig = Rig::up(adopting(2));
    rig.hello(x(1), 9, vec![holding(1, 9, Stage::Running)], capacity(4, 2));
    let said = rig.said();
    let held = Held { held: vec![holding(1, 9, Stage::Running)], complete: false, accounted: false };
    assert_eq!(said[0], Item::Held(held));
    assert!(matches!(said[1..], [Item::Capacity(_)]));
    rig.hello(x(2), 3, vec![], capacity(4, 2));
    let said = rig.said();
    assert_eq!(said[0], Item::Held(Held { held: vec![], complete: true, accounted: true }));
    assert!(matches!(said[1..], [Item::Capacity(_)]));
    assert!(!rig.actions.iter().any(|action| matches!(action, Action::Launch { .. })));
}

#[test]
fn f8_the_window_ends_by_time_or_death_and_is_not_accounted() {
    let not = Item::Held(Held { held: vec![], complete: true, accounted: false });
    let mut rig = Rig::up(adopting(1));
    rig.pass(11_990, true, &[]);
    assert_eq!(rig.said().iter().filter(|item| matches!(item, Item::Held(_))).count(), 0);
    rig.pass(10, true, &[]);
    assert!(rig.said().contains(&not));
    // Who did not come back stays in the hints until the hub knows that not all did: the next manager must not take
    // what it runs for never started.
    let [Action::Launch { executors: new, .. }, Action::SaveHints { executors }] = &rig.actions[..] else {
        panic!("{:?}", rig.actions);
    };
    let new = new[0];
    assert_eq!(*executors, vec![x(1), new]);
    rig.pass(10, true, &[]);
    assert!(!rig.actions.contains(&Action::SaveHints { executors: vec![new] }), "it may live, and is ended");
    rig.pass(limits::SILENT_MS, true, &[]);
    assert!(
        rig.actions.contains(&Action::CancelBlock { block: BlockId::from_bytes([1; 16]) }),
        "{:?}",
        rig.actions
    );
    assert_eq!(rig.actions.last(), Some(&Action::SaveHints { executors: vec![new] }));
    let mut rig = Rig::up(adopting(1));
    rig.event(Event::ExecutorGone { executor: x(1), why: "dead".into() });
    assert!(rig.said().contains(&not));
    assert!(matches!(&rig.actions[..], [Action::Launch { .. }, Action::SaveHints { executors }]
        if executors.contains(&x(1))));
}

#[test]
fn f8_complete_is_repeated_until_it_is_known_to_be_handled() {
    let mut rig = Rig::up(config());
    rig.reconnect_hub();
    assert!(matches!(&rig.said()[..], [Item::Hello(hello)] if !hello.complete));
    rig.welcome();
    assert!(rig.said().contains(&Item::Held(Held { held: vec![], complete: true, accounted: true })));
    rig.pass(1, true, &[]);
    rig.reconnect_hub();
    assert!(matches!(&rig.said()[..], [Item::Hello(hello)] if hello.complete));
    rig.welcome();
    assert_eq!(rig.said(), vec![]);
}

#[test]
fn f27_half_a_window_of_messages_is_acknowledged_by_a_ping() {
    let mut rig = Rig::with_one(4, 2);
    for _ in 0..64 {
        rig.hub_says(vec![Item::Function { hash: bursa_core::id::Hash::of(b""), body: None }]);
    }
    let pings = rig.said().iter().filter(|item| **item == Item::Ping).count();
    assert_eq!(pings, 2);
}

#[test]
fn f34_a_sleep_of_our_own_declares_nobody_dead() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    rig.clear();
    rig.ms += 3_600_000;
    rig.event(Event::Tick);
    let said = rig.said();
    assert_eq!(said, vec![Item::Ping]);
    assert!(rig.actions.is_empty(), "{:?}", rig.actions);
    rig.pass(5_999, true, &[]);
    assert_eq!(results(&rig.said()), vec![]);
    rig.pass(2, true, &[]);
    assert_eq!(results(&rig.said()).len(), 1);
}

#[test]
fn heartbeats_go_both_ways_when_nothing_is_said() {
    let mut rig = Rig::with_one(4, 2);
    rig.pass(20_000, true, &[x(1)]);
    assert_eq!(rig.heard(x(1)).len(), 11, "an eighth of a period early (F27)");
    assert_eq!(rig.said().len(), 3, "with the service's");
    rig.pass(30_001, false, &[x(1)]);
    assert!(rig.actions.contains(&Action::Disconnect));
}

#[test]
fn blocks_are_launched_at_start_and_again_with_back_off() {
    let mut rig = Rig::new(Config { scale: Scale::fixed(2), ..config() });
    rig.event(Event::Tick);
    let launched = |rig: &mut Rig| {
        let found: Vec<_> = rig
            .actions
            .drain(..)
            .filter_map(|action| match action {
                Action::Launch { block, executors } => Some((block, executors[0])),
                _ => None,
            })
            .collect();
        found
    };
    let first = launched(&mut rig);
    assert_eq!(first.len(), 2);
    let (block, mut dying) = first[0];
    rig.event(Event::BlockStarted { block, left_ms: None });
    for wait in [100, 200, 400, 800, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
        rig.event(Event::ExecutorGone { executor: dying, why: "exit 1".into() });
        rig.pass(wait - 1, false, &[]);
        assert_eq!(launched(&mut rig), vec![]);
        rig.pass(1, false, &[]);
        let next = launched(&mut rig);
        assert_eq!(next.len(), 1, "after {wait} ms");
        dying = next[0].1;
    }
    rig.hello(dying, 1, vec![], capacity(4, 1));
    rig.event(Event::ExecutorGone { executor: dying, why: "crash".into() });
    rig.pass(101, false, &[]);
    assert_eq!(launched(&mut rig).len(), 1, "its executor was heard of: it did not fail at its start");
}

#[test]
fn blocks_that_fail_at_their_start_in_a_row_degrade_the_endpoint_until_one_does_not() {
    let mut rig = Rig::new(Config { scale: Scale::fixed(1), ..config() });
    rig.event(Event::Tick);
    rig.event(Event::LinkUp);
    rig.welcome();
    let launched = |rig: &mut Rig| {
        let found = rig.actions.iter().find_map(|action| match action {
            Action::Launch { executors, .. } => executors.first().copied(),
            _ => None,
        });
        rig.actions.clear();
        found
    };
    let degraded = |rig: &mut Rig| {
        let last = rig.said.iter().rev().find_map(|item| match item {
            Item::Capacity(capacity) => Some(capacity.degraded.clone()),
            _ => None,
        });
        last.flatten()
    };
    let mut executor = launched(&mut rig);
    for failure in 1..=limits::RUNAWAY {
        let dying = executor.take().unwrap_or_else(|| panic!("no launch before failure {failure}"));
        rig.event(Event::ExecutorGone { executor: dying, why: "exit 3: no module named bursa".into() });
        assert!(degraded(&mut rig).unwrap().contains("no module named bursa"));
        rig.pass(2_000, true, &[]);
        executor = launched(&mut rig);
    }
    assert_eq!(executor, None, "degraded: nothing is asked for");
    assert!(degraded(&mut rig).unwrap().contains("5 times in a row"));
    rig.pass(8_001, true, &[]);
    let probe = launched(&mut rig).unwrap();
    rig.hello(probe, 1, vec![], capacity(4, 1));
    assert_eq!(degraded(&mut rig), None);
}

#[test]
fn ready_is_said_once_when_a_first_call_would_succeed() {
    let mut rig = Rig::new(config());
    rig.event(Event::Tick);
    rig.hello(x(1), 1, vec![], capacity(4, 0));
    rig.event(Event::LinkUp);
    rig.welcome();
    assert!(!rig.actions.contains(&Action::Ready));
    rig.executor_says(x(1), vec![Item::Capacity(capacity(4, 1))]);
    rig.reconnect_hub();
    rig.welcome();
    assert_eq!(rig.actions.iter().filter(|action| **action == Action::Ready).count(), 1);
}

#[test]
fn f29_credit_is_one_per_worker_and_a_bounded_number_ahead() {
    let offered = |executors: u8, credit, slots| {
        let mut rig = Rig::new(config());
        rig.event(Event::Tick);
        for n in 1..=executors {
            rig.hello(x(n), 1, vec![], capacity(credit, slots));
        }
        rig.event(Event::LinkUp);
        let Some(Item::Hello(hello)) = rig.said().into_iter().next() else { panic!("no hello") };
        hello.capacity.credit_tasks as usize
    };
    assert_eq!(offered(2, 1_026, 2), 2_052);
    assert_eq!(offered(200, 66_000, 464), 200 * 464 + limits::PREFETCH_TASKS);
    assert_eq!(offered(200, 66_560, 1_024), limits::CREDIT_TASKS);
}

#[test]
fn a_welcome_of_absurd_times_is_bent() {
    for (heartbeat_ms, threshold_ms) in [(u64::MAX, 0), (u64::MAX, u64::MAX), (0, 0)] {
        let mut rig = Rig::new(config());
        rig.event(Event::Tick);
        rig.event(Event::LinkUp);
        let result_window = 0;
        rig.hub_says(vec![Item::Welcome { proto: 2, epoch: 1, heartbeat_ms, threshold_ms, result_window }]);
        rig.pass(1_000, true, &[]);
        assert!(rig.messages < 200, "{} messages in a second", rig.messages);
    }
}

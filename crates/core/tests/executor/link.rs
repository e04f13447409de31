//! The uplink: hello, welcome, what is repeated, silence, back-off, orphans (F1, F7, F13, F20, F23, F34).

use crate::rig::{Rig, assign, done, function, hash, run, signalled, task};
use bursa_core::executor::{Action, Event, Signal};
use bursa_core::id::WorkerId;
use bursa_core::task::{Begun, Outcome};
use bursa_core::time::Mono;
use bursa_core::wire::{Attempt, Item, RefusedReason, ResetReason, Session, Stage};

#[test]
fn the_first_tick_connects_and_hello_says_everything() {
    let mut rig = Rig::cold(4);
    let hello = rig.connect();
    assert_eq!(
        (hello.host.as_str(), hello.python.as_str(), hello.last, hello.complete),
        ("node1", "", true, true)
    );
    assert_eq!((hello.connection, hello.held.len(), hello.have_functions.len()), (1, 0, 0));
    let capacity = hello.capacity;
    assert_eq!((capacity.slots_total, capacity.slots_free, capacity.credit_tasks), (4, 4, 4 * 513));
}

#[test]
fn nothing_is_said_before_welcome_and_work_before_it_ends_the_session() {
    let mut rig = Rig::cold(1);
    rig.greet();
    let actions = rig.assign([1]);
    assert_eq!(actions, [Action::Disconnect]);
    assert_eq!(rig.took(), [Item::Reset { reason: ResetReason::Protocol }]);
}

#[test]
fn a_new_session_lists_all_and_repeats_results_and_starts() {
    let mut rig = Rig::up(1);
    rig.assign([1, 2, 3]);
    rig.ready(1);
    rig.done(1, 1, 5_000_000);
    rig.started(1, 2);
    rig.took();
    assert_eq!(rig.event(Event::LinkDown { why: "gone".into() }).len(), 1, "one line in the log");
    let hello = rig.connect();
    let held: Vec<_> = hello.held.iter().map(|held| (held.stage, held.begun)).collect();
    assert_eq!(
        held,
        [(Stage::Finished, Begun::Yes), (Stage::Running, Begun::Yes), (Stage::Waiting, Begun::Unknown)][..2]
            .iter()
            .copied()
            .chain([(Stage::Waiting, Begun::No)])
            .collect::<Vec<_>>()
    );
    assert_eq!((hello.connection, hello.have_functions, hello.python.as_str()), (2, vec![hash()], "3.11"));
    let said = rig.took();
    assert!(said.iter().any(|item| matches!(item, Item::Result(done) if done.task == task(1))), "{said:?}");
    let started = Item::Started { task: task(2), attempt: Attempt(1), worker: WorkerId(1) };
    assert!(said.contains(&started), "{said:?}");
}

#[test]
fn a_body_is_asked_for_once_per_session_and_again_in_the_next() {
    let mut rig = Rig::cold(1);
    rig.connect();
    rig.took();
    assert_eq!(rig.assign([1]), []);
    rig.assign([2]);
    let wants =
        |items: &[Item]| items.iter().filter(|item| matches!(item, Item::WantFunction { .. })).count();
    assert_eq!(wants(&rig.took()), 1);
    rig.event(Event::LinkDown { why: "gone".into() });
    rig.connect();
    assert_eq!(wants(&rig.took()), 1);
    assert_eq!(rig.say([function()]).len(), 1, "one worker is made");
}

#[test]
fn a_result_is_forgotten_only_when_its_own_outcome_is_acknowledged() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1]);
    rig.done(1, 1, 1_000);
    rig.ack(1, Outcome::Lost);
    assert_eq!(rig.executor.held(), (0, 1), "F23");
    rig.ack(1, Outcome::Success);
    assert_eq!(rig.executor.held(), (0, 0));
    rig.ack(1, Outcome::Success);
}

#[test]
fn silence_ends_the_session_and_our_own_sleep_does_not() {
    let mut rig = Rig::up(1);
    rig.now += 4_000;
    assert_eq!(rig.event(Event::Tick), [], "slept 4 s: a fresh threshold (F34)");
    rig.now += 2_500;
    assert_eq!(rig.event(Event::Tick), []);
    rig.now += 2_500;
    assert_eq!(rig.event(Event::Tick), []);
    rig.now += 1_001;
    let actions = rig.event(Event::Tick);
    assert!(matches!(actions[..], [Action::Log { .. }, Action::Disconnect]), "{actions:?}");
}

#[test]
fn it_pings_when_it_has_nothing_to_say() {
    let mut rig = Rig::up(1);
    rig.pass(10_000);
    let pings = rig.took().into_iter().filter(|item| *item == Item::Ping).count();
    assert_eq!(pings, 5);
}

#[test]
fn without_welcome_a_new_socket_after_five_seconds_with_back_off() {
    let mut rig = Rig::cold(1);
    let (mut connects, mut gaps) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        rig.session = None;
        rig.greet();
        connects.push(rig.now);
        let actions = rig.pass(5_000);
        assert!(actions.contains(&Action::Disconnect), "{actions:?}");
    }
    for pair in connects.windows(2) {
        gaps.push(pair[1] - pair[0] - 5_000);
    }
    assert!(gaps[0] <= 60 && gaps[0] >= 40, "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= 1_200) && *gaps.last().unwrap() >= 800, "{gaps:?}");
}

#[test]
fn last_words_that_end_the_process_and_those_that_do_not() {
    let refused = |is_final| Item::Refused {
        reason: RefusedReason::Superseded,
        is_final,
        text: "no".into(),
        other_host: None,
        seen_generation: 2,
        live: true,
    };
    let bye = |reason: &str| Item::Bye { reason: reason.into() };
    for (item, exits) in [
        (refused(true), true),
        (refused(false), false),
        (bye("deleted"), true),
        (bye("shutdown"), true),
        (bye("superseded"), false),
        (Item::Reset { reason: ResetReason::Gap }, false),
    ] {
        let mut rig = Rig::warm(1, 1_000);
        let actions = if item.is_bare() {
            let message = rig.session.as_mut().unwrap().bare(Mono(rig.now), item.clone());
            rig.event(Event::FromManager { message })
        } else {
            rig.say([item.clone()])
        };
        let left = actions.iter().any(|action| matches!(action, Action::Exit { .. }));
        assert_eq!(left, exits, "{item:?}");
        assert!(actions.contains(&Action::Disconnect), "{item:?}");
        let kill = Action::Signal { worker: WorkerId(1), signal: Signal::Kill };
        assert_eq!(actions.contains(&kill), exits, "{item:?}");
        assert_eq!(rig.executor.next_deadline().is_none(), exits);
    }
}

#[test]
fn an_orphan_starts_nothing_new_then_goes() {
    let mut rig = Rig::warm(1, 30_000_000);
    assert_eq!(rig.assign([1, 2, 3]), [run(1, 1, true)]);
    rig.event(Event::LinkDown { why: "gone".into() });
    rig.session = None;
    rig.now += 59_000;
    assert_eq!(rig.done(1, 1, 30_000_000), [run(1, 2, true)]);
    rig.now += 2_000;
    assert_eq!(rig.done(1, 2, 30_000_000), [], "F13");
    rig.connect();
    assert_eq!(rig.executor.held(), (1, 2));
    rig.event(Event::LinkDown { why: "gone".into() });
    rig.session = None;
    let actions = rig.pass(1_800_001);
    assert!(actions.iter().any(|action| matches!(action, Action::Exit { .. })), "{}", actions.len());
}

#[test]
fn back_with_its_manager_the_orphan_starts_again() {
    let mut rig = Rig::up(1);
    rig.assign([1, 2]);
    rig.ready(1);
    rig.event(Event::LinkDown { why: "gone".into() });
    rig.session = None;
    rig.now += 61_000;
    assert_eq!(rig.done(1, 1, 1_000), []);
    rig.greet();
    assert_eq!(rig.say([rig.welcome()]), [run(1, 2, false)]);
}

#[test]
fn strangers_and_gaps() {
    let mut rig = Rig::up(1);
    let mut stranger = Session::new(99, Mono(0));
    let message = stranger.ping(Mono(0));
    assert_eq!(rig.event(Event::FromManager { message }), []);
    assert_eq!(rig.executor.ignored(), 1, "F2: counted and dropped");
    rig.messages([Item::Assign(Box::new(assign(1)))]);
    assert_eq!(rig.assign([2]), [Action::Disconnect]);
    assert_eq!(rig.took(), [Item::Reset { reason: ResetReason::Gap }], "F3");
}

#[test]
fn started_is_left_out_when_the_result_is_in_the_same_round() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1]);
    rig.took();
    let started = Event::WorkerStarted { worker: WorkerId(1), task: task(1), attempt: Attempt(1) };
    let ended = Event::WorkerDone { worker: WorkerId(1), done: done(1, 1_000) };
    rig.round(vec![started, ended]);
    let said = rig.took();
    assert!(!said.iter().any(|item| matches!(item, Item::Started { .. })), "{said:?}");
    assert!(matches!(said[0], Item::Result(_)), "{said:?}");
}

#[test]
fn a_late_word_of_a_dead_worker_is_ignored() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1]);
    rig.exited(1, signalled(9));
    rig.took();
    let before = rig.executor.ignored();
    assert_eq!(rig.done(1, 1, 5), []);
    assert_eq!(rig.started(1, 1), []);
    assert_eq!(rig.exited(1, signalled(9)), []);
    assert_eq!(rig.executor.ignored(), before + 3);
    assert_eq!(rig.results(), []);
}

//! Drain, stop and good-byes (F38).

use crate::rig::{Rig, run, signalled};
use bursa_core::executor::{Action, Event, Signal};
use bursa_core::id::WorkerId;
use bursa_core::limits;
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::wire::{Capacity, Item};

fn kill(worker: u32) -> Action {
    Action::Signal { worker: WorkerId(worker), signal: Signal::Kill }
}

fn term(worker: u32) -> Action {
    Action::Signal { worker: WorkerId(worker), signal: Signal::Term }
}

fn exits(actions: &[Action]) -> bool {
    matches!(actions, [.., Action::Exit { .. }])
}

const RETURNED: (Outcome, Begun) = (Outcome::Returned, Begun::No);

#[test]
fn drain_hands_back_waits_for_the_running_says_good_bye() {
    let mut rig = Rig::warm(1, 50_000_000);
    rig.assign([1, 2, 3]);
    rig.took();
    assert_eq!(rig.say([Item::Drain { grace_ms: 5_000 }]), []);
    assert_eq!(rig.capacity(), Some(&Capacity::default()), "capacity 0");
    assert_eq!(rig.results().iter().map(|r| (r.1, r.2)).collect::<Vec<_>>(), [RETURNED, RETURNED]);
    rig.assign([4]);
    assert_eq!(
        rig.results().iter().map(|r| (r.1, r.2)).collect::<Vec<_>>(),
        [RETURNED],
        "even what was under way"
    );
    assert_eq!(rig.done(1, 1, 1_000), []);
    assert_eq!(rig.results().len(), 1);
    let actions = rig.ack(1, Outcome::Success);
    assert_eq!(actions[..2], [kill(1), Action::Disconnect]);
    assert!(exits(&actions), "{actions:?}");
    assert_eq!(rig.took(), [Item::Bye { reason: "drained".into() }]);
}

#[test]
fn after_the_grace_the_running_are_lost() {
    let mut rig = Rig::warm(1, 5_000_000);
    assert_eq!(rig.assign([1, 2]).len(), 2);
    rig.started(1, 1);
    rig.say([Item::Drain { grace_ms: 1_000 }]);
    rig.took();
    assert_eq!(rig.pass(1_000), [kill(1)]);
    rig.exited(1, signalled(9));
    let lost = (1, Outcome::Lost, Begun::Yes, Some(FailureCode::WalltimeExceeded));
    assert_eq!(rig.results(), [lost, (2, Outcome::Returned, Begun::No, None)]);
    assert!(exits(&rig.ack(1, Outcome::Lost)));
}

#[test]
fn a_drain_survives_a_broken_link() {
    let mut rig = Rig::warm(1, 50_000_000);
    rig.assign([1]);
    rig.say([Item::Drain { grace_ms: 60_000 }]);
    rig.event(Event::LinkDown { why: "gone".into() });
    let hello = rig.connect();
    assert_eq!((hello.capacity, hello.held.len()), (Capacity::default(), 1));
    rig.done(1, 1, 5);
    assert!(exits(&rig.ack(1, Outcome::Success)));
}

#[test]
fn stop_ends_all_and_waits_for_acknowledgements_a_short_while() {
    let mut rig = Rig::warm(1, 50_000_000);
    assert_eq!(rig.assign([1, 2]), [run(1, 1, true)]);
    rig.started(1, 1);
    rig.took();
    assert_eq!(rig.event(Event::Stop), [term(1)]);
    assert_eq!(rig.results(), [(2, Outcome::Returned, Begun::No, None)]);
    assert_eq!(rig.pass(limits::GRACE_MS), [kill(1)], "it did not listen");
    assert_eq!(rig.exited(1, signalled(9)), []);
    assert_eq!(rig.results(), [(1, Outcome::Lost, Begun::Yes, Some(FailureCode::WalltimeExceeded))]);
    assert!(exits(&rig.pass(1_000)), "nobody acknowledged");
}

#[test]
fn stop_without_work_or_manager_or_twice_is_at_once() {
    assert!(exits(&Rig::up(1).event(Event::Stop)));
    assert!(exits(&Rig::cold(1).event(Event::Stop)));
    let mut rig = Rig::warm(1, 50_000_000);
    rig.assign([1]);
    assert!(!exits(&rig.event(Event::Stop)));
    assert!(exits(&rig.event(Event::Stop)));
    assert_eq!(rig.event(Event::Tick), [], "nothing after the end");
    assert_eq!(rig.executor.next_deadline(), None);
}

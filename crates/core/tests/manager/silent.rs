//! Executors that are lost by their silence and live (F18): replaced at once, drained or ended later.

use crate::rig::*;
use bursa_core::id::ExecutorId;
use bursa_core::limits;
use bursa_core::manager::{Action, Config, Event, Scale};
use bursa_core::task::{Begun, Outcome};
use bursa_core::wire::{Item, Stage};

fn launched(rig: &mut Rig) -> Vec<ExecutorId> {
    let found = rig.actions.iter().filter_map(|action| match action {
        Action::Launch { executors, .. } => executors.first().copied(),
        _ => None,
    });
    let found = found.collect();
    rig.actions.clear();
    found
}

fn cancelled(rig: &Rig) -> bool {
    rig.actions.iter().any(|action| matches!(action, Action::CancelBlock { .. }))
}

fn drained(rig: &mut Rig, executor: ExecutorId) -> bool {
    rig.heard(executor).iter().any(|item| matches!(item, Item::Drain { .. }))
}

/// A manager whose one executor runs task 1 and has just been lost by its silence; and its replacement.
fn replaced() -> (Rig, ExecutorId, ExecutorId) {
    let mut rig = Rig::new(Config { scale: Scale::fixed(1), ..config() });
    rig.event(Event::Tick);
    rig.event(Event::LinkUp);
    rig.welcome();
    let [silent] = launched(&mut rig)[..] else { panic!("no launch") };
    rig.hello(silent, 1, vec![], capacity(4, 2));
    rig.hub_says(vec![assign(1, 9)]);
    rig.executor_says(silent, vec![started(1, 9)]);
    rig.clear();
    rig.pass(5_999, true, &[]);
    assert_eq!(launched(&mut rig), []);
    rig.pass(2, true, &[]);
    assert_eq!(results(&rig.said()), [(1, 9, Outcome::Lost, Begun::Yes)]);
    let [new] = launched(&mut rig)[..] else { panic!("it is not replaced at once") };
    rig.hello(new, 1, vec![], capacity(4, 2));
    rig.clear();
    (rig, silent, new)
}

#[test]
fn one_that_stays_silent_is_ended_and_replaced_only_once() {
    let (mut rig, silent, new) = replaced();
    rig.pass(limits::SILENT_MS - 10, true, &[new]);
    assert!(!cancelled(&rig));
    rig.pass(20, true, &[new]);
    assert!(cancelled(&rig));
    assert_eq!(launched(&mut rig), []);
    rig.event(Event::ExecutorGone { executor: silent, why: "killed".into() });
    rig.pass(limits::SILENT_MS, true, &[new]);
    assert_eq!(launched(&mut rig), [], "its end costs nothing");
    assert!(!cancelled(&rig));
}

#[test]
fn one_that_returns_when_its_place_is_taken_delivers_and_is_drained() {
    let (mut rig, silent, new) = replaced();
    rig.hello(silent, 2, vec![holding(1, 9, Stage::Finished)], capacity(4, 2));
    assert!(drained(&mut rig, silent) && !drained(&mut rig, new));
    rig.executor_says(silent, vec![done(1, 9, Outcome::Success, Begun::Yes)]);
    assert_eq!(results(&rig.said()), [(1, 9, Outcome::Success, Begun::Yes)], "F18");
    // The surplus one does not count: if the new one dies now, there is another at once.
    rig.event(Event::ExecutorGone { executor: new, why: "killed".into() });
    rig.pass(101, true, &[silent]);
    assert_eq!(launched(&mut rig).len(), 1);
    rig.pass(2 * limits::SILENT_MS, true, &[silent]);
    assert!(!cancelled(&rig), "it is not silent any more");
}

#[test]
fn one_that_returns_before_it_is_replaced_goes_on() {
    let mut rig = Rig::with_one(4, 2);
    rig.pass(6_001, true, &[]);
    rig.hello(x(1), 2, vec![], capacity(4, 2));
    assert!(!drained(&mut rig, x(1)));
    rig.hub_says(vec![assign(1, 9)]);
    assert_eq!(assigned(&rig.heard(x(1))), [(1, 9)]);
}

#[test]
fn without_a_service_nobody_is_ended_since_another_manager_may_be_in_charge() {
    let (mut rig, _, new) = replaced();
    rig.event(Event::LinkDown { why: "test".into() });
    rig.pass(2 * limits::SILENT_MS, false, &[new]);
    assert!(!cancelled(&rig));
}

#[test]
fn when_all_fall_silent_there_is_an_end_to_replacements() {
    let mut rig = Rig::new(Config { scale: Scale::fixed(1), ..config() });
    rig.event(Event::Tick);
    let mut all = 0;
    for _ in 0..10 {
        for executor in launched(&mut rig) {
            all += 1;
            rig.hello(executor, 1, vec![], capacity(4, 2));
        }
        rig.pass(6_001, false, &[]);
    }
    assert_eq!(all, 2);
}

#[test]
fn a_stop_ends_silent_ones_too() {
    let (mut rig, _, _) = replaced();
    rig.event(Event::Stop { grace_ms: 0 });
    rig.pass(3_000, true, &[]);
    assert!(cancelled(&rig));
}

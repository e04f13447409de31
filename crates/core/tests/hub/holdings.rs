//! Holdings: F8 to F11, and what an attempt that is not held costs (F17).

use crate::rig::*;
use bursa_core::hub::Op;
use bursa_core::task::{Begun, Outcome, TaskState};
use bursa_core::wire::{Attempt, Holding, Item, ResetReason, Stage};

#[test]
fn f9_an_assign_lost_with_its_session_costs_nothing() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    let peer = rig.connect(hello(1, 1, 2));
    let again = assigns(&peer.extra);
    assert_eq!(again.len(), 1);
    assert!(again[0].attempt > first, "F14");
    assert_eq!(rig.store.rows[&task(1)].charges, (0, 0, 0));
}

#[test]
fn f9_a_listed_attempt_is_confirmed_and_not_sent_again() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    let mut words = hello(1, 1, 2);
    words.held = vec![holding(1, first, Begun::Yes)];
    let mut peer = rig.connect(words);
    assert!(peer.extra.is_empty(), "{:?}", peer.extra);
    assert_eq!(rig.hub.state(&task(1)), Some(TaskState::Running));
    rig.say(&mut peer, vec![success(1, first)]);
    rig.settle();
    assert_eq!(rig.store.rows[&task(1)].ending.as_ref().unwrap().starts, 1);
}

#[test]
fn f9_what_a_new_manager_does_not_hold_costs_by_what_is_known() {
    // (had begun, accounted) → charges
    let table = [
        ("begun", true, true, (1, 0, 0)),
        ("begun, not accounted", true, false, (1, 0, 0)),
        ("not begun, accounted: proven", false, true, (0, 0, 0)),
        ("start unknown", false, false, (0, 1, 0)),
    ];
    for (name, begun, accounted, charges) in table {
        let mut rig = Rig::new();
        let mut peer = rig.connect(hello(1, 1, 1));
        let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
        if begun {
            rig.say(&mut peer, vec![started(1, first)]);
        }
        let mut words = hello(2, 2, 1);
        words.complete = false;
        let mut peer = rig.connect(words);
        assert!(peer.extra.is_empty(), "F8: the window is open: {:?}", peer.extra);
        rig.say(&mut peer, vec![held(vec![], true, accounted)]);
        rig.settle();
        assert_eq!(assigns(&rig.hear(&mut peer)).len(), 1, "{name}");
        assert_eq!(rig.store.rows[&task(1)].charges, charges, "{name}");
    }
}

#[test]
fn f8_late_executors_are_adopted_and_new_work_flows_meanwhile() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    let mut words = hello(2, 2, 1);
    words.complete = false;
    let mut peer = rig.connect(words);
    assert_eq!(rig.run(&mut peer, vec![spec(2)]).len(), 1);
    rig.say(&mut peer, vec![held(vec![holding(1, first, Begun::Yes)], false, false)]);
    rig.say(&mut peer, vec![held(vec![], true, true)]);
    rig.settle();
    assert!(rig.hear(&mut peer).is_empty());
    assert_eq!(rig.hub.endpoint(&endpoint(1)).unwrap().held, 2);
}

#[test]
fn f10_a_second_attempt_of_a_task_is_leased_and_cancelled() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![held(vec![holding(1, Attempt(first.0 - 1), Begun::Yes)], true, true)]);
    rig.settle();
    assert_eq!(cancels(&rig.hear(&mut peer)), [(task(1), Attempt(first.0 - 1))]);
    assert_eq!(rig.hub.endpoint(&endpoint(1)).unwrap().held, 2, "it occupies a slot until its result");
    rig.say(&mut peer, vec![result(1, Attempt(first.0 - 1), Outcome::Cancelled, Begun::Yes)]);
    rig.settle();
    assert_eq!(acks(&rig.hear(&mut peer)).len(), 1);
    assert_eq!(rig.hub.endpoint(&endpoint(1)).unwrap().held, 1);
}

#[test]
fn f10_an_attempt_that_nobody_made_is_never_adopted() {
    let mut rig = Rig::new();
    rig.submit(vec![spec(1)]);
    rig.settle();
    let mut words = hello(1, 1, 1);
    words.held = vec![holding(1, Attempt::new(9, 9), Begun::Yes)];
    let peer = rig.connect(words);
    assert_eq!(cancels(&peer.extra), [(task(1), Attempt::new(9, 9))]);
    assert_eq!(assigns(&peer.extra).len(), 1);
}

#[test]
fn f10_while_a_write_is_under_way_a_listed_attempt_gets_only_a_lease() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.cancel(vec![task(1)]);
    let mut words = hello(1, 1, 2);
    words.held = vec![holding(1, first, Begun::Yes)];
    let mut peer = rig.open(words);
    rig.flush();
    assert!(cancels(&rig.hear(&mut peer)).is_empty(), "F30");
    assert!(matches!(rig.ops.as_slice(), [(_, Op::End { .. })]));
    rig.settle();
    assert_eq!(cancels(&rig.hear(&mut peer)), [(task(1), first)]);
}

/// Found by the simulated world: the acknowledgement of a charged loss is lost, a new manager lists the attempt while
/// its task waits, and its repeated result was charged again.
#[test]
fn f10_an_end_that_was_judged_is_not_adopted_and_not_charged_again() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let first = rig.run(&mut peer, vec![spec(1)])[0].attempt;
    rig.say(&mut peer, vec![Item::Capacity(capacity(0))]);
    rig.say(&mut peer, vec![result(1, first, Outcome::Died, Begun::Yes)]);
    rig.settle();
    assert_eq!(rig.store.rows[&task(1)].charges, (1, 0, 0));
    let mut words = hello(2, 2, 1);
    words.capacity = capacity(0);
    words.held = vec![Holding { stage: Stage::Finished, ..holding(1, first, Begun::Yes) }];
    let mut peer = rig.connect(words);
    rig.say(&mut peer, vec![result(1, first, Outcome::Died, Begun::Yes)]);
    rig.settle();
    assert_eq!(acks(&rig.hear(&mut peer)), [(task(1), first, Outcome::Died)]);
    assert_eq!(rig.store.rows[&task(1)].charges, (1, 0, 0));
}

#[test]
fn f29_too_many_holdings_break_the_protocol() {
    let mut rig = Rig::new();
    let mut words = hello(1, 1, 1);
    let many = u32::try_from(2 * bursa_core::limits::CREDIT_TASKS + 1).unwrap();
    words.held = (0..many).map(|n| holding(n, Attempt(1), Begun::No)).collect();
    let mut peer = rig.open(words);
    assert_eq!(reset(&rig.hear(&mut peer)), Some(ResetReason::Protocol));
    assert!(rig.hear(&mut peer).iter().all(|item| !matches!(item, Item::Welcome { .. })));
}

//! Stopping in order (F38).

use crate::rig::{Rig, ack, assign, capacity, config, done, results, started, x};
use bursa_core::manager::{Action, Event, ExitReason};
use bursa_core::task::{Begun, Outcome};
use bursa_core::wire::Item;

fn exited(rig: &Rig) -> bool {
    matches!(rig.actions.last(), Some(Action::Exit { reason: ExitReason::Stopped, .. }))
}

#[test]
fn f38_nothing_held_ends_in_the_same_round() {
    let mut rig = Rig::with_one(4, 2);
    rig.event(Event::Stop { grace_ms: 60_000 });
    assert!(exited(&rig));
    assert_eq!(
        rig.heard(x(1)),
        vec![Item::Drain { grace_ms: 60_000 }, Item::Bye { reason: "shutdown".into() }]
    );
    let said = rig.said();
    assert!(matches!(&said[..], [Item::Capacity(c), Item::Bye { .. }] if c.credit_tasks == 0), "{said:?}");
}

#[test]
fn f38_unstarted_is_handed_back_and_running_may_finish() {
    let mut rig = Rig::with_one(2, 1);
    rig.hub_says(vec![assign(1, 9), assign(2, 9), assign(3, 9)]);
    rig.executor_says(x(1), vec![started(1, 9)]);
    rig.clear();
    rig.event(Event::Stop { grace_ms: 60_000 });
    assert_eq!(results(&rig.said()), vec![(3, 9, Outcome::Returned, Begun::No)]);
    rig.executor_says(x(1), vec![done(2, 9, Outcome::Returned, Begun::No)]);
    assert_eq!(results(&rig.said()), vec![(2, 9, Outcome::Returned, Begun::No)]);
    rig.hub_says(vec![assign(4, 9)]);
    assert_eq!(results(&rig.said()), vec![(4, 9, Outcome::Returned, Begun::No)]);
    rig.pass(30_000, true, &[x(1)]);
    rig.executor_says(x(1), vec![done(1, 9, Outcome::Success, Begun::Yes)]);
    assert!(!exited(&rig));
    rig.hub_says(vec![ack(1, 9, Outcome::Success)]);
    let heard = rig.heard(x(1));
    assert!(exited(&rig), "its last acknowledgement has left");
    assert!(heard.ends_with(&[ack(1, 9, Outcome::Success), Item::Bye { reason: "shutdown".into() }]));
}

#[test]
fn f38_after_the_grace_it_is_over_whatever_anybody_says() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    rig.executor_says(x(1), vec![started(1, 9)]);
    rig.clear();
    rig.event(Event::Stop { grace_ms: 0 });
    rig.pass(1_000, true, &[]);
    assert_eq!(results(&rig.said()), vec![(1, 9, Outcome::Lost, Begun::Yes)]);
    assert!(!exited(&rig));
    rig.pass(500, true, &[]);
    assert!(exited(&rig));
}

#[test]
fn f38_without_a_link_to_the_service_an_empty_manager_ends_at_once() {
    let mut rig = Rig::new(config());
    rig.event(Event::Tick);
    rig.hello(x(1), 1, vec![], capacity(4, 2));
    rig.event(Event::Stop { grace_ms: 0 });
    assert!(exited(&rig));
    assert!(rig.actions.contains(&Action::Disconnect));
}

//! Where a task is and why, as the service is told when somebody asks.

use crate::rig::*;
use bursa_core::manager::Config;
use bursa_core::resources::Resources;
use bursa_core::wire::{Assign, Attempt, Item, Placed, Warm};
use std::sync::Arc;

fn located(rig: &mut Rig, n: u32) -> Option<Placed> {
    rig.said();
    rig.hub_says(vec![Item::Locate { task: task(n), attempt: Attempt(9) }]);
    let said = rig.said().into_iter();
    let mut places = said.filter_map(|item| match item {
        Item::Located { place, .. } => Some(place.map(|place| *place)),
        _ => None,
    });
    places.next().expect("an answer")
}

fn why(rig: &mut Rig, n: u32) -> String {
    located(rig, n).expect("it is here").why
}

#[test]
fn the_executor_and_the_reason_are_told() {
    let mut rig = Rig::with_one(2, 1);
    let warm = vec![Warm { container: None, warm: 1, free: 1 }];
    let mut with_worker = capacity(2, 1);
    with_worker.warm = warm;
    rig.executor_says(x(1), vec![Item::Capacity(with_worker)]);
    rig.hub_says(vec![assign(1, 9), assign(2, 9), assign(3, 9)]);
    let place = located(&mut rig, 1).unwrap();
    assert_eq!((place.executor, place.block), (Some(x(1)), None));
    assert!(!place.host.is_empty() && place.why.contains("a worker was idle there"), "{place:?}");
    assert!(why(&mut rig, 2).contains("the queue was shortest there"));
    let waits = located(&mut rig, 3).unwrap();
    assert_eq!(waits.executor, None);
    assert!(waits.why.contains("1 executor with 1 slot, which have 2 calls"), "{waits:?}");
    assert_eq!(located(&mut rig, 4), None);
}

#[test]
fn what_a_call_waits_for_that_asks_for_something_is_told() {
    let has = Resources { cores: 4, nodes: 1, ..Resources::NONE };
    let mut rig = Rig::up(config());
    let Item::Hello(words) = executor_hello(x(1), 1, Vec::new(), capacity(8, 4)) else { panic!("words") };
    rig.greets(x(1), Item::Hello(Box::new(bursa_core::wire::Hello { has, ..*words })));
    for n in 1..=2 {
        let Item::Assign(assign) = assign(n, 9) else { panic!("an assignment") };
        let resources = Some(Arc::new(Resources { cores: 3, ..Resources::NONE }));
        rig.hub_says(vec![Item::Assign(Box::new(Assign { resources, ..*assign }))]);
    }
    assert!(why(&mut rig, 1).contains("what the call asks for is free there"));
    assert!(why(&mut rig, 2).contains("3 cores, which 1 of 1 executor have in all and none has free"));
}

#[test]
fn without_an_executor_that_is_told() {
    let mut rig = Rig::up(Config { ..config() });
    rig.hub_says(vec![assign(1, 9)]);
    assert_eq!(why(&mut rig, 1), "no executor takes calls yet");
}

//! Several users wait for one endpoint: whose task is sent next.

use crate::rig::{Rig, capacity, done, hello, spec, task};
use bursa_core::hub::Reason;
use bursa_core::id::{GroupId, UserId};
use bursa_core::task::{Begun, Outcome, TaskSpec};
use bursa_core::wire::{Assign, Item};

fn of(of: u8, n: u32) -> TaskSpec {
    let (user, group) = (UserId::from_bytes([of; 16]), GroupId::from_bytes([of; 16]));
    TaskSpec { user, group, ..spec(u32::from(of) * 10_000 + n) }
}

fn users(assigns: &[Assign]) -> Vec<u8> {
    assigns.iter().map(|assign| assign.user.as_bytes()[0]).collect()
}

fn ended(assign: &Assign) -> Item {
    let mut ended = done(0, assign.attempt, Outcome::Success, Begun::Yes);
    ended.task = assign.task;
    Item::Result(Box::new(ended))
}

#[test]
fn who_comes_to_a_long_queue_of_another_is_next() {
    for credit in [1, 2, 10] {
        let mut rig = Rig::new();
        let mut words = hello(1, 9, 1);
        words.capacity = capacity(credit);
        let mut peer = rig.connect(words);
        let first = rig.run(&mut peer, (0..1_000).map(|n| of(1, n)).collect());
        assert_eq!(first.len(), credit as usize);
        assert_eq!(rig.run(&mut peer, vec![of(2, 0), of(2, 1)]), []);
        rig.say(&mut peer, vec![ended(&first[0])]);
        rig.settle();
        let next = crate::rig::assigns(&rig.hear(&mut peer));
        assert_eq!(users(&next), [2], "{credit}");
    }
}

/// Both hold half of what the endpoint takes, and none overtakes another of his own.
#[test]
fn places_are_shared_evenly_and_in_order() {
    let mut rig = Rig::new();
    rig.submit((0..90).map(|n| of(1, n)).collect());
    rig.settle();
    rig.submit((0..30).map(|n| of(2, n)).collect());
    rig.settle();
    let mut words = hello(1, 9, 1);
    words.capacity = capacity(40);
    let peer = rig.connect(words);
    let sent = crate::rig::assigns(&peer.extra);
    for user in [1, 2] {
        let own: Vec<_> = sent.iter().filter(|assign| assign.user.as_bytes()[0] == user).collect();
        let expected: Vec<_> = (0..20).map(|n| task(u32::from(user) * 10_000 + n)).collect();
        assert_eq!(own.iter().map(|assign| assign.task).collect::<Vec<_>>(), expected);
    }
}

/// What waits is told how many go before it: its user's older ones, and as many of each other user.
#[test]
fn the_place_in_the_queue_counts_turns() {
    let mut rig = Rig::new();
    let mut words = hello(1, 9, 1);
    words.capacity = capacity(1);
    let mut peer = rig.connect(words);
    assert_eq!(rig.run(&mut peer, (0..50).map(|n| of(1, n)).collect()).len(), 1);
    rig.run(&mut peer, (0..3).map(|n| of(2, n)).collect());
    for (spec, expected) in [(of(2, 0), 0), (of(2, 2), 4), (of(1, 1), 1), (of(1, 49), 51)] {
        let ahead = match rig.hub.explain(&spec.task, rig.now()).unwrap().reason {
            Reason::Turn { ahead } => ahead.unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(ahead.abs_diff(expected) <= 1, "{ahead} for {expected}");
    }
}

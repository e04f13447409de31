//! Several users wait: whose attempt goes to an executor next.

use crate::rig::{Rig, assign, capacity, config, done, number, x};
use bursa_core::id::UserId;
use bursa_core::resources::Resources;
use bursa_core::task::{Begun, Outcome};
use bursa_core::wire::Item;
use std::sync::Arc;

/// An attempt of user `of`, who asks for `cores` if not for nothing.
fn of(of: u8, n: u32, cores: u32) -> Item {
    let Item::Assign(mut assign) = assign(u32::from(of) * 1_000 + n, 1) else { unreachable!() };
    assign.user = UserId::from_bytes([of; 16]);
    assign.resources = (cores > 0).then(|| Arc::new(Resources { cores, ..Resources::NONE }));
    Item::Assign(assign)
}

/// Whose attempts these are.
fn whose(items: &[Item]) -> Vec<u32> {
    let assigns = items.iter().filter_map(|item| match item {
        Item::Assign(assign) => Some(number(assign.task) / 1_000),
        _ => None,
    });
    assigns.collect()
}

fn answer(rig: &mut Rig, heard: &[Item]) -> Vec<Item> {
    let ends = heard.iter().filter_map(|item| match item {
        Item::Assign(assign) => Some(done(number(assign.task), 1, Outcome::Success, Begun::Yes)),
        _ => None,
    });
    rig.executor_says(x(1), ends.collect());
    rig.heard(x(1))
}

/// With calls that ask for nothing, and with such that each take all of an executor's two slots.
#[test]
fn who_comes_to_a_long_queue_of_another_is_next() {
    for cores in [0, 4] {
        let mut rig = Rig::up(config());
        rig.hello(x(1), 1, Vec::new(), capacity(2, 2));
        rig.hub_says((0..100).map(|n| of(1, n, cores)).collect());
        let first = rig.heard(x(1));
        assert!(whose(&first).iter().all(|user| *user == 1), "{cores}");
        rig.hub_says(vec![of(2, 0, cores), of(2, 1, cores)]);
        let next = answer(&mut rig, &first);
        assert!(whose(&next).contains(&2), "{cores}: {:?}", whose(&next));
    }
}

/// Who has fewer there comes first, whatever the number that waits.
#[test]
fn places_are_shared_evenly() {
    let mut rig = Rig::up(config());
    rig.hub_says((0..90).map(|n| of(1, n, 0)).chain((0..30).map(|n| of(2, n, 0))).collect());
    rig.hello(x(1), 1, Vec::new(), capacity(40, 8));
    let heard = whose(&rig.heard(x(1)));
    let count = |user| heard.iter().filter(|of| **of == user).count();
    assert_eq!((count(1), count(2)), (20, 20), "{heard:?}");
}

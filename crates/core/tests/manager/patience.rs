//! When an idle worker of another container makes room at another executor, and the alarm for it.

use crate::rig::{Rig, assign, assigned, capacity, config, done, x};
use bursa_core::container::{Container, ContainerKind};
use bursa_core::id::ContainerId;
use bursa_core::task::{Begun, Outcome};
use bursa_core::wire::{Capacity, Item, Warm};
use std::sync::Arc;

const S: u64 = 1_000_000_000;

fn container(n: u8) -> ContainerId {
    ContainerId::from_bytes([n; 16])
}

/// A call in container 1.
fn call(n: u32) -> Item {
    let Item::Assign(mut assign) = assign(n, 1) else { panic!("an assignment") };
    let (kind, location) = (ContainerKind::Docker, "image".to_owned());
    assign.container = Some(Arc::new(Container { container: container(1), kind, location }));
    Item::Assign(assign)
}

/// One slot, with an idle worker of a container.
fn with_worker(of: u8) -> Capacity {
    Capacity { warm: vec![Warm { container: Some(container(of)), warm: 1, free: 1 }], ..capacity(1, 1) }
}

/// Container 1 has a worker at executor 1, which is in a call; at executor 2 one of container 2 is idle. A start takes
/// five seconds, and the one call that ended ran for `run_ns`.
fn busy(run_ns: u64) -> Rig {
    let mut rig = Rig::up(config());
    rig.hello(x(1), 1, Vec::new(), capacity(1, 1));
    rig.hub_says(vec![call(1)]);
    assert_eq!(assigned(&rig.heard(x(1))), [(1, 1)]);
    let Item::Result(mut end) = done(1, 1, Outcome::Success, Begun::Yes) else { panic!("a result") };
    (end.run_ns, end.timings.start) = (run_ns, 5 * S);
    rig.executor_says(x(1), vec![Item::Result(end), Item::Capacity(with_worker(1))]);
    rig.hello(x(2), 1, Vec::new(), with_worker(2));
    rig.hub_says(vec![call(2)]);
    assert_eq!(assigned(&rig.heard(x(1))), [(2, 1)], "to its own worker");
    rig.clear();
    rig
}

#[test]
fn a_call_waits_for_its_own_worker_as_long_as_a_start_takes() {
    let mut rig = busy(1_000);
    rig.hub_says(vec![call(3)]);
    rig.pass(4_900, true, &[x(1), x(2)]);
    assert_eq!(assigned(&rig.heard(x(2))), [], "the call before it may end any moment");
    rig.pass(200, true, &[x(1), x(2)]);
    assert_eq!(assigned(&rig.heard(x(2))), [(3, 1)], "nothing came of it");
}

#[test]
fn an_end_of_its_container_renews_the_patience() {
    let mut rig = busy(1_000);
    rig.hub_says(vec![call(3)]);
    rig.pass(4_000, true, &[x(1), x(2)]);
    rig.executor_says(x(1), vec![done(2, 1, Outcome::Success, Begun::Yes)]);
    assert_eq!(assigned(&rig.heard(x(1))), [(3, 1)]);
    rig.hub_says(vec![call(4)]);
    rig.pass(4_900, true, &[x(1), x(2)]);
    assert_eq!(assigned(&rig.heard(x(2))), []);
    rig.pass(200, true, &[x(1), x(2)]);
    assert_eq!(assigned(&rig.heard(x(2))), [(4, 1)]);
}

#[test]
fn a_call_whose_own_worker_will_be_later_than_a_start_does_not_wait() {
    let mut rig = busy(60 * S);
    rig.hub_says(vec![call(3)]);
    assert_eq!(assigned(&rig.heard(x(2))), [(3, 1)]);
}

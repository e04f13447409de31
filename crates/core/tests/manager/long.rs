//! Calls whose timeout not every block has the time for (F41).

use crate::rig::*;
use bursa_core::id::{BlockId, ExecutorId};
use bursa_core::limits::{BLOCK_DRAIN_MS, BLOCK_END_MS};
use bursa_core::manager::{Action, Config, Event, Scale};
use bursa_core::resources::Resources;
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::wire::{Assign, Hello, Item};
use std::sync::Arc;

/// Of each block.
const WALLTIME_MS: u64 = 600_000;

fn scale(max: u32) -> Scale {
    Scale {
        init: 0,
        min: 0,
        slots: 2,
        idle_ms: 10_000,
        walltime_ms: Some(WALLTIME_MS),
        scheduler: true,
        ..Scale::fixed(max)
    }
}

fn timed(n: u32, timeout_ms: u64) -> Item {
    let Item::Assign(mut assign) = assign(n, 9) else { panic!("no assignment") };
    (assign.timeout_ms, assign.ttl_ms) = (Some(timeout_ms), 10 * WALLTIME_MS);
    Item::Assign(assign)
}

fn launched(rig: &mut Rig) -> Vec<(BlockId, ExecutorId)> {
    let found = rig.actions.iter().filter_map(|action| match action {
        Action::Launch { block, executors } => Some((*block, executors[0])),
        _ => None,
    });
    let found = found.collect();
    rig.actions.clear();
    found
}

fn is_let_go(rig: &mut Rig, executor: ExecutorId) -> bool {
    rig.heard(executor).iter().any(|item| matches!(item, Item::Drain { .. }))
}

/// A manager that may have `max` blocks, one of which runs and has `left_ms`; nothing is called.
fn aged(max: u32, left_ms: u64) -> (Rig, ExecutorId) {
    let mut rig = Rig::up(Config { scale: scale(max), ..config() });
    rig.hub_says(vec![assign(1_000, 9)]);
    let [(block, executor)] = launched(&mut rig)[..] else { panic!("no block") };
    rig.hello(executor, 1, vec![], capacity(8, 2));
    rig.event(Event::BlockStarted { block, left_ms: Some(left_ms) });
    rig.executor_says(executor, vec![done(1_000, 9, Outcome::Success, Begun::Yes)]);
    rig.hub_says(vec![ack(1_000, 9, Outcome::Success)]);
    rig.clear();
    (rig, executor)
}

#[test]
fn f41_a_call_starts_where_the_time_that_is_left_holds_its_timeout() {
    let minute = 60_000;
    for (left_ms, timeout_ms, starts) in [
        (5 * minute, 4 * minute, true),
        (5 * minute, 5 * minute - BLOCK_END_MS, true),
        (5 * minute, 5 * minute - BLOCK_END_MS + 1, false),
        (5 * minute, 8 * minute, false),
        (2 * minute, minute, true),
        (2 * minute, 2 * minute, false),
        // Any block that takes calls has these.
        (BLOCK_DRAIN_MS + 1, BLOCK_DRAIN_MS - BLOCK_END_MS, true),
        (BLOCK_DRAIN_MS + 1, 1, true),
    ] {
        let (mut rig, executor) = aged(2, left_ms);
        rig.hub_says(vec![timed(1, timeout_ms)]);
        let name = format!("timeout of {timeout_ms} ms with {left_ms} ms left");
        assert_eq!(!assigned(&rig.heard(executor)).is_empty(), starts, "{name}");
        assert_eq!(launched(&mut rig).len(), usize::from(!starts), "{name}: another block");
    }
}

#[test]
fn f41_it_waits_for_the_new_block_and_holds_up_no_other() {
    let (mut rig, old) = aged(2, 100_000);
    rig.hub_says(vec![timed(1, 300_000), timed(2, 20_000), assign(3, 9)]);
    assert_eq!(assigned(&rig.heard(old)), [(2, 9), (3, 9)]);
    let [(block, fresh)] = launched(&mut rig)[..] else { panic!("no block") };
    rig.event(Event::BlockWaiting { block, reason: "Resources".into() });
    rig.pass(5_000, true, &[old]);
    assert_eq!(launched(&mut rig), [], "one is enough");
    rig.hello(fresh, 1, vec![], capacity(8, 2));
    assert_eq!(assigned(&rig.heard(fresh)), [(1, 9)]);
}

#[test]
fn f41_a_block_is_asked_for_also_for_one_that_asks_for_resources() {
    let (mut rig, old) = aged(2, 200_000);
    let Item::Assign(call) = timed(1, 500_000) else { panic!("no assignment") };
    let resources = Some(Arc::new(Resources { cores: 1, ..Resources::NONE }));
    rig.hub_says(vec![Item::Assign(Box::new(Assign { resources, ..*call }))]);
    assert_eq!(assigned(&rig.heard(old)), []);
    let [(_, new)] = launched(&mut rig)[..] else { panic!("a block") };
    let Item::Hello(words) = executor_hello(new, 1, vec![], capacity(8, 2)) else { panic!("words") };
    let has = Resources { cores: 2, nodes: 1, ..Resources::NONE };
    rig.greets(new, Item::Hello(Box::new(Hello { has, ..*words })));
    assert_eq!(assigned(&rig.heard(new)), [(1, 9)]);
}

#[test]
fn f41_as_many_blocks_are_asked_for_as_such_calls_need() {
    let (mut rig, _) = aged(4, 100_000);
    rig.hub_says((0..5).map(|n| timed(n, 300_000)).collect());
    assert_eq!(launched(&mut rig).len(), 3, "of two workers each, beside the old one");
}

#[test]
fn f41_the_block_that_it_waits_for_is_not_given_back_but_the_one_that_it_cannot_use() {
    let (mut rig, old) = aged(2, 400_000);
    rig.hub_says(vec![timed(1, 500_000)]);
    let [(block, fresh)] = launched(&mut rig)[..] else { panic!("no block") };
    rig.event(Event::BlockWaiting { block, reason: "Priority".into() });
    rig.pass(10_100, true, &[old]);
    assert!(!rig.actions.contains(&Action::CancelBlock { block }));
    assert!(is_let_go(&mut rig, old), "it has had no call for long");
    rig.hello(fresh, 1, vec![], capacity(8, 2));
    assert_eq!(assigned(&rig.heard(fresh)), [(1, 9)]);
}

#[test]
fn f41_where_no_further_block_may_be_an_idle_one_makes_way_and_a_busy_one_does_not() {
    let (mut rig, old) = aged(1, 300_000);
    rig.hub_says(vec![assign(2, 9)]);
    assert_eq!(assigned(&rig.heard(old)), [(2, 9)]);
    rig.hub_says(vec![timed(1, 400_000)]);
    rig.pass(1_000, true, &[old]);
    assert!(!is_let_go(&mut rig, old) && launched(&mut rig).is_empty());
    rig.executor_says(old, vec![done(2, 9, Outcome::Success, Begun::Yes)]);
    assert!(is_let_go(&mut rig, old));
    rig.pass(1_000, true, &[old]);
    let [(_, fresh)] = launched(&mut rig)[..] else { panic!("no block") };
    rig.hello(fresh, 1, vec![], capacity(8, 2));
    assert_eq!(assigned(&rig.heard(fresh)), [(1, 9)]);
}

#[test]
fn f41_what_no_block_can_hold_is_refused_with_the_numbers() {
    let mut rig = Rig::up(Config { scale: scale(2), ..config() });
    rig.pass(20_000, true, &[]);
    rig.said();
    rig.hub_says(vec![timed(1, WALLTIME_MS - BLOCK_END_MS), timed(2, WALLTIME_MS)]);
    let said = rig.said();
    assert_eq!(results(&said), [(2, 9, Outcome::Error, Begun::No)]);
    let failure = said.iter().find_map(|item| match item {
        Item::Result(done) => done.failure.as_deref().cloned(),
        _ => None,
    });
    let failure = failure.expect("a reason");
    assert_eq!(failure.code, FailureCode::Unsatisfiable);
    assert_eq!(
        failure.message,
        "The task's timeout of 600 s is longer than any block of its endpoint may run it: at most 597 s of a walltime of \
         600 s. Give it a shorter timeout, or have blocks.walltime of the endpoint raised."
    );
    assert_eq!(launched(&mut rig).len(), 1, "for the other");
}

#[test]
fn f41_one_that_waits_is_cancelled_expires_and_is_handed_back_like_any_other() {
    let waiting = || {
        let (mut rig, _) = aged(2, 100_000);
        rig.hub_says(vec![timed(1, 300_000)]);
        assert_eq!(launched(&mut rig).len(), 1);
        rig.said();
        rig
    };
    let mut rig = waiting();
    rig.hub_says(vec![cancel(1, 9)]);
    assert_eq!(results(&rig.said()), [(1, 9, Outcome::Cancelled, Begun::No)]);
    let mut rig = waiting();
    rig.event(Event::Stop { grace_ms: 0 });
    assert_eq!(results(&rig.said()), [(1, 9, Outcome::Returned, Begun::No)]);
    let mut rig = waiting();
    rig.pass(10 * WALLTIME_MS, true, &[]);
    assert_eq!(results(&rig.said()), [(1, 9, Outcome::Expired, Begun::No)]);
}

#[test]
fn f12_one_that_never_started_waits_for_a_block_that_holds_it_again() {
    let (mut rig, old) = aged(2, 400_000);
    rig.hub_says(vec![timed(1, 300_000)]);
    assert_eq!(assigned(&rig.heard(old)), [(1, 9)]);
    rig.pass(150_000, true, &[old]);
    rig.hello(old, 2, vec![], capacity(8, 2));
    assert_eq!(assigned(&rig.heard(old)), [], "too late here by now");
    let [(_, fresh)] = launched(&mut rig)[..] else { panic!("no block") };
    rig.hello(fresh, 1, vec![], capacity(8, 2));
    assert_eq!(assigned(&rig.heard(fresh)), [(1, 9)]);
}

#[test]
fn what_was_cancelled_is_forgotten_also_where_no_executor_ever_comes() {
    let mut rig = Rig::up(Config { scale: scale(2), ..config() });
    rig.hub_says(vec![assign(1, 9), timed(2, 300_000)]);
    assert!(format!("{:?}", rig.manager).contains("TaskId"));
    rig.hub_says(vec![cancel(1, 9), cancel(2, 9)]);
    rig.hub_says(vec![ack(1, 9, Outcome::Cancelled), ack(2, 9, Outcome::Cancelled)]);
    assert!(!format!("{:?}", rig.manager).contains("TaskId"));
}

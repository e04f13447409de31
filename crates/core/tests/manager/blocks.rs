//! Blocks that come and go with the calls (F40–F42).

use crate::rig::*;
use bursa_core::id::{BlockId, ExecutorId};
use bursa_core::limits;
use bursa_core::manager::{Action, Config, Event, Scale};
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::time::Mono;
use bursa_core::wire::{Blocks, Item, Stage};

/// Blocks of two executors with two workers each, from a scheduler.
fn scale() -> Scale {
    Scale {
        init: 0,
        min: 0,
        nodes: 2,
        slots: 2,
        has: HAS,
        idle_ms: 10_000,
        walltime_ms: Some(600_000),
        scheduler: true,
        ..Scale::fixed(3)
    }
}

fn launched(rig: &mut Rig) -> Vec<(BlockId, Vec<ExecutorId>)> {
    let found = rig.actions.iter().filter_map(|action| match action {
        Action::Launch { block, executors } => Some((*block, executors.clone())),
        _ => None,
    });
    let found = found.collect();
    rig.actions.clear();
    found
}

fn counts(rig: &Rig) -> Option<Blocks> {
    let said = rig.said.iter().rev().find_map(|item| match item {
        Item::Capacity(capacity) => Some(capacity.blocks.clone()),
        _ => None,
    });
    said.flatten()
}

fn calls(rig: &mut Rig, from: u32, to: u32) {
    rig.hub_says((from..to).map(|n| assign(n, 9)).collect());
}

fn is_told_to_drain(rig: &mut Rig, executor: ExecutorId) -> Option<u64> {
    rig.heard(executor).iter().find_map(|item| match item {
        Item::Drain { grace_ms } => Some(*grace_ms),
        _ => None,
    })
}

/// A manager with one block, whose two executors run calls 0 to 3.
fn busy() -> (Rig, BlockId, Vec<ExecutorId>) {
    let mut rig = Rig::up(Config { scale: scale(), ..config() });
    calls(&mut rig, 0, 4);
    let [(block, executors)] = &launched(&mut rig)[..] else { panic!("no block") };
    for executor in executors {
        rig.hello(*executor, 1, vec![], capacity(2, 2));
    }
    for (n, executor) in executors.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        assert_eq!(assigned(&rig.heard(*executor)), [(2 * n, 9), (2 * n + 1, 9)]);
        rig.executor_says(*executor, vec![started(2 * n, 9), started(2 * n + 1, 9)]);
    }
    rig.event(Event::BlockStarted { block: *block, left_ms: Some(600_000) });
    rig.clear();
    (rig, *block, executors.clone())
}

#[test]
fn f40_calls_that_wait_here_say_how_many_blocks_are_wanted() {
    let mut rig = Rig::up(Config { scale: scale(), ..config() });
    assert_eq!(launched(&mut rig), [], "nothing without calls");
    assert!(rig.manager.next_deadline().is_some());
    calls(&mut rig, 0, 4);
    assert_eq!(launched(&mut rig).len(), 1);
    calls(&mut rig, 4, 5);
    assert_eq!(launched(&mut rig).len(), 1, "the fifth call needs another block");
    calls(&mut rig, 5, 90);
    let [(_, executors)] = &launched(&mut rig)[..] else { panic!("not up to the most") };
    assert_eq!(executors.len(), 2);
    assert_eq!(counts(&rig).map(|blocks| (blocks.running, blocks.waiting, blocks.most)), Some((0, 3, 3)));
}

#[test]
fn f40_half_the_parallelism_wants_half_the_blocks_and_twice_the_calls() {
    let mut rig = Rig::new(Config { scale: Scale { parallelism: 500, ..scale() }, ..config() });
    rig.event(Event::Tick);
    rig.event(Event::LinkUp);
    let Some(Item::Hello(hello)) = rig.said().pop() else { panic!("no Hello") };
    assert_eq!(hello.capacity.credit_tasks, 24, "so many that all blocks are asked for");
    rig.welcome();
    rig.clear();
    calls(&mut rig, 0, 8);
    assert_eq!(launched(&mut rig).len(), 1);
    calls(&mut rig, 8, 9);
    assert_eq!(launched(&mut rig).len(), 1);
}

#[test]
fn f40_an_idle_block_is_told_to_leave_and_gets_nothing_more() {
    let (mut rig, block, executors) = busy();
    for (n, executor) in [(0, executors[0]), (1, executors[0]), (2, executors[1]), (3, executors[1])] {
        rig.executor_says(executor, vec![done(n, 9, Outcome::Success, Begun::Yes)]);
    }
    rig.pass(9_900, true, &executors);
    assert_eq!(executors.iter().filter_map(|x| is_told_to_drain(&mut rig, *x)).count(), 0);
    rig.pass(100, true, &executors);
    assert_eq!(executors.iter().filter_map(|x| is_told_to_drain(&mut rig, *x)).count(), 2);
    calls(&mut rig, 4, 5);
    assert_eq!(launched(&mut rig).len(), 1, "it does not count any more");
    assert!(executors.iter().all(|x| assigned(&rig.heard(*x)).is_empty()));
    rig.event(Event::BlockEnded { block, why: "done".into() });
    rig.pass(101, true, &[]);
    assert_eq!(launched(&mut rig), []);
}

#[test]
fn f40_a_block_that_waits_for_calls_that_were_cancelled_is_cancelled() {
    let mut rig = Rig::up(Config { scale: scale(), ..config() });
    calls(&mut rig, 0, 1);
    let [(block, _)] = launched(&mut rig)[..] else { panic!("no block") };
    rig.event(Event::BlockWaiting { block, reason: "Resources".into() });
    assert_eq!(counts(&rig).and_then(|blocks| blocks.reason), Some("Resources".into()));
    rig.hub_says(vec![cancel(0, 9)]);
    rig.pass(9_990, true, &[]);
    assert!(!rig.actions.contains(&Action::CancelBlock { block }));
    rig.pass(20, true, &[]);
    assert!(rig.actions.contains(&Action::CancelBlock { block }));
}

#[test]
fn f41_before_its_end_a_block_is_drained_and_another_takes_what_waits() {
    let (mut rig, block, executors) = busy();
    rig.pass(600_000 - limits::BLOCK_DRAIN_MS - 50, true, &executors);
    assert_eq!(executors.iter().filter_map(|x| is_told_to_drain(&mut rig, *x)).count(), 0);
    rig.pass(60, true, &executors);
    let grace = executors.iter().filter_map(|x| is_told_to_drain(&mut rig, *x)).collect::<Vec<_>>();
    let most = limits::BLOCK_DRAIN_MS - limits::BLOCK_END_MS;
    assert!(grace.len() == 2 && grace.iter().all(|ms| (most - 100..=most).contains(ms)), "{grace:?}");
    assert_eq!(launched(&mut rig).len(), 1);
    rig.said();
    rig.pass(limits::BLOCK_DRAIN_MS - 1_000, true, &executors);
    rig.event(Event::BlockEnded { block, why: "TIMEOUT".into() });
    let codes = rig.said.iter().filter_map(|item| match item {
        Item::Result(done) => Some((done.outcome, done.failure.as_ref().map(|failure| failure.code))),
        _ => None,
    });
    assert_eq!(codes.collect::<Vec<_>>(), [(Outcome::Lost, Some(FailureCode::WalltimeExceeded)); 4]);
}

#[test]
fn f42_a_scheduler_is_asked_only_while_there_is_something_to_know() {
    let asked = |rig: &mut Rig| {
        let asked = rig.actions.iter().filter(|action| **action == Action::AskProvider).count();
        rig.actions.clear();
        asked
    };
    let (mut rig, block, executors) = busy();
    rig.event(Event::ProviderAnswered { trouble: None });
    asked(&mut rig);
    rig.pass(100_000, true, &executors);
    assert_eq!(asked(&mut rig), 0, "it runs");
    for executor in executors {
        let fake = rig.executors.get_mut(&executor).unwrap();
        let message = fake.session.bare(Mono(rig.ms), Item::Bye { reason: "told to stop".into() });
        let conn = fake.conn;
        rig.event(Event::FromExecutor { conn, executor, message });
    }
    rig.pass(limits::ASK_MS.0, true, &[]);
    assert_eq!(asked(&mut rig), 1, "its executors left without a word of the block");
    rig.pass(5_000, true, &[]);
    assert_eq!(asked(&mut rig), 0, "one question at a time");
    rig.event(Event::BlockEnded { block, why: "done".into() });
}

/// It may have ended between the scheduler's word and the first of its executors': nobody else would tell.
#[test]
fn f42_a_block_that_was_seen_to_run_and_says_nothing_is_asked_about() {
    let block = BlockId::from_bytes([1; 16]);
    let found = vec![(block, vec![x(1), x(2)])];
    let mut rig = Rig::up(Config { scale: Scale { nodes: 2, ..scale() }, found, ..config() });
    calls(&mut rig, 0, 4);
    rig.event(Event::BlockStarted { block, left_ms: Some(600_000) });
    for _ in 0..3 {
        rig.actions.clear();
        rig.event(Event::ProviderAnswered { trouble: None });
        rig.pass(limits::ASK_MS.1, true, &[]);
        assert!(rig.actions.contains(&Action::AskProvider));
        assert_eq!(launched(&mut rig), [], "it counts as long as nobody says that it is over");
    }
    rig.event(Event::BlockEnded { block, why: "its time was up".into() });
    rig.pass(1_000, true, &[]);
    assert_eq!(launched(&mut rig).len(), 1, "the calls still want one");
}

#[test]
fn f8_blocks_are_found_again_and_what_never_spoke_is_not_waited_for() {
    let (mut rig, _, executors) = busy();
    let mut before = executors.clone();
    before.sort();
    rig.hub_says(vec![assign(7, 9)]);
    let saved = rig.actions.iter().any(|action| matches!(action, Action::SaveHints { .. }));
    let [(waiting, unheard)] = &launched(&mut rig)[..] else { panic!("no second block") };
    assert!(!saved, "who never spoke is no hint");
    let found = vec![(BlockId::from_bytes([1; 16]), executors.clone()), (*waiting, unheard.clone())];
    let mut rig = Rig::up(Config { scale: scale(), hints: before, found, ..config() });
    rig.hello(executors[0], 9, vec![holding(0, 9, Stage::Running)], capacity(4, 2));
    rig.said();
    rig.hello(executors[1], 9, vec![holding(2, 9, Stage::Running)], capacity(4, 2));
    assert!(
        rig.said().iter().any(|item| matches!(item, Item::Held(held) if held.complete && held.accounted))
    );
    calls(&mut rig, 20, 26);
    assert_eq!(launched(&mut rig), [], "both blocks count");
    calls(&mut rig, 26, 30);
    assert_eq!(launched(&mut rig).len(), 1);
}

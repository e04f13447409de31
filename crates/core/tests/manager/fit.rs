//! Calls that ask for resources, at the manager: whom it gives them, which it keeps, and which it ends.

use crate::rig::*;
use bursa_core::id::ExecutorId;
use bursa_core::manager::{Action, Config, Scale};
use bursa_core::resources::{Resources, Share};
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::wire::{Assign, Hello, Item};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

fn cores(cores: u32) -> Resources {
    Resources { cores, ..Resources::NONE }
}

fn asking(n: u32, asks: Resources) -> Item {
    let Item::Assign(assign) = assign(n, 9) else { panic!("an assignment") };
    Item::Assign(Box::new(Assign { resources: Some(Arc::new(asks)), ..*assign }))
}

/// A manager with executors of four slots that have these.
fn with(has: &[Resources]) -> Rig {
    let most = has.iter().fold(Resources::NONE, |most, has| most.greater(*has));
    let scale = Scale { has: most, ..Scale::fixed(1) };
    let mut rig = Rig::up(Config { scale, ..config() });
    for (n, has) in (1..).zip(has) {
        let Item::Hello(hello) = executor_hello(x(n), 1, Vec::new(), capacity(100, 4)) else {
            panic!("words")
        };
        rig.greets(x(n), Item::Hello(Box::new(Hello { has: *has, ..*hello })));
    }
    rig.clear();
    rig
}

fn given(rig: &mut Rig, executor: ExecutorId) -> Vec<u32> {
    assigned(&rig.heard(executor)).into_iter().map(|(n, _)| n).collect()
}

fn ends(rig: &mut Rig, executor: ExecutorId, n: u32) {
    rig.executor_says(executor, vec![done(n, 9, Outcome::Success, Begun::Yes)]);
}

#[test]
fn an_executor_gets_what_it_has_and_the_next_waits() {
    let mut rig = with(&[HAS]);
    rig.hub_says(vec![asking(1, cores(2)), asking(2, cores(2)), asking(3, cores(3)), asking(4, cores(1))]);
    assert_eq!(given(&mut rig, x(1)), [1, 2]);
    ends(&mut rig, x(1), 1);
    assert_eq!(given(&mut rig, x(1)), [], "the oldest keeps the place, younger ones that would fit wait");
    ends(&mut rig, x(1), 2);
    assert_eq!(given(&mut rig, x(1)), [3, 4]);
}

#[test]
fn calls_that_ask_for_nothing_go_on_beside_those() {
    let mut rig = with(&[HAS]);
    rig.hub_says(vec![asking(1, cores(4)), asking(2, cores(4)), assign(3, 9), assign(4, 9)]);
    assert_eq!(given(&mut rig, x(1)), [1, 3, 4], "their order is the executor's business");
}

#[test]
fn it_goes_where_most_is_free_and_only_where_it_fits() {
    let large = Resources { cores: 8, memory_mb: 64_000, gpus: 0, ..HAS };
    let mut rig = with(&[HAS, large]);
    let memory = Resources { memory_mb: 32_000, ..Resources::NONE };
    let card = Resources { gpus: 1, ..Resources::NONE };
    rig.hub_says(vec![asking(1, memory), asking(2, memory), asking(3, card), asking(4, memory)]);
    assert_eq!(given(&mut rig, x(1)), [3]);
    assert_eq!(given(&mut rig, x(2)), [1, 2]);
}

#[test]
fn what_no_executor_can_ever_have_ends_at_once_with_the_numbers() {
    let mut rig = with(&[HAS]);
    rig.hub_says(vec![asking(1, cores(5))]);
    let [Item::Result(end)] = &rig.said()[..] else { panic!("one end") };
    let failure = end.failure.as_deref().unwrap();
    assert_eq!(
        (end.outcome, end.begun, failure.code),
        (Outcome::Error, Begun::No, FailureCode::Unsatisfiable)
    );
    let text = "the task asks for 5 cores, and an executor of its endpoint has at most 1 node, 4 cores, 8000 MB of memory, 1 GPU";
    assert!(failure.message.starts_with(text), "{}", failure.message);
    assert_eq!(given(&mut rig, x(1)), []);
}

#[test]
fn what_a_block_may_have_waits_for_it() {
    let blocks = |has| Scale { init: 0, min: 0, scheduler: true, has, ..Scale::fixed(2) };
    let known = Resources { cores: 16, ..Resources::UNKNOWN };
    for (has, asks, refused) in [
        (Resources::UNKNOWN, cores(1_000), false),
        (known, cores(16), false),
        (known, cores(17), true),
        (known, Resources { memory_mb: 1 << 20, ..Resources::NONE }, false),
    ] {
        let mut rig = Rig::up(Config { scale: blocks(has), ..config() });
        rig.hub_says(vec![asking(1, asks)]);
        let launched = rig.actions.iter().any(|action| matches!(action, Action::Launch { .. }));
        assert_eq!(
            (results(&rig.said()).len(), launched),
            (usize::from(refused), !refused),
            "{asks} of {has}"
        );
    }
}

#[test]
fn how_many_blocks_are_asked_for_follows_from_what_calls_take() {
    let scale = Scale { init: 0, min: 0, slots: 4, scheduler: true, has: HAS, ..Scale::fixed(9) };
    let mut rig = Rig::up(Config { scale, ..config() });
    rig.hub_says(vec![asking(1, cores(3)), asking(2, cores(3)), asking(3, cores(2))]);
    let launched = rig.actions.iter().filter(|action| matches!(action, Action::Launch { .. })).count();
    assert_eq!(launched, 2, "8 slots of 4 each");
}

#[test]
fn one_that_is_lost_unstarted_waits_again_and_one_that_is_cancelled_does_not() {
    let mut rig = with(&[HAS]);
    rig.hub_says(vec![asking(1, cores(4)), asking(2, cores(4))]);
    assert_eq!(given(&mut rig, x(1)), [1]);
    rig.executor_says(x(1), vec![done(1, 9, Outcome::Returned, Begun::No)]);
    assert_eq!(given(&mut rig, x(1)), [1], "handed back: given again, before the younger one");
    rig.hub_says(vec![cancel(2, 9)]);
    assert_eq!(results(&rig.said())[0].2, Outcome::Cancelled);
    ends(&mut rig, x(1), 1);
    assert_eq!(given(&mut rig, x(1)), []);
}

#[test]
fn its_deadline_passes_while_it_waits() {
    let mut rig = with(&[HAS]);
    rig.hub_says(vec![asking(1, cores(4)), asking(2, cores(4))]);
    rig.pass(100_001, true, &[x(1)]);
    assert_eq!(results(&rig.said()), [(2, 9, Outcome::Expired, Begun::No)]);
}

#[test]
fn an_older_executor_gets_none() {
    let mut rig = Rig::up(Config { scale: Scale { has: HAS, ..Scale::fixed(1) }, ..config() });
    let Item::Hello(hello) = executor_hello(x(1), 1, Vec::new(), capacity(100, 4)) else { panic!("words") };
    rig.greets(x(1), Item::Hello(Box::new(Hello { proto_max: 3, ..*hello })));
    rig.hub_says(vec![asking(1, cores(1)), assign(2, 9)]);
    assert_eq!(given(&mut rig, x(1)), [2]);
}

fn asks() -> impl Strategy<Value = Resources> {
    (0_u32..=8, 0_u64..=2, 0_u32..=1).prop_map(|(cores, memory, gpus)| Resources {
        cores: cores.max(1),
        memory_mb: memory * 4_000,
        gpus,
        ..Resources::NONE
    })
}

fn site() -> impl Strategy<Value = Vec<Resources>> {
    let has = (1_u32..=8, 1_u64..=2, 0_u32..=1);
    let has =
        has.prop_map(|(cores, memory, gpus)| Resources { cores, memory_mb: memory * 4_000, gpus, ..HAS });
    proptest::collection::vec(has, 1..4)
}

proptest! {
    /// Whatever comes in whatever order: no executor is given more than it has, what fits somewhere runs in the end, and
    /// exactly what fits nowhere is refused.
    #[test]
    fn never_too_much_never_for_ever_and_never_refused_while_it_fits(
        has in site(), asked in proptest::collection::vec((asks(), any::<bool>()), 1..40)
    ) {
        let mut rig = with(&has);
        let most = has.iter().fold(Resources::NONE, |most, has| most.greater(*has));
        let fits = |asks: &Resources| {
            has.iter().chain([&most]).any(|has| Share::of(asks, has, 4).is_some())
        };
        let runs = |asks: &Resources| has.iter().any(|has| Share::of(asks, has, 4).is_some());
        let mut there: BTreeMap<ExecutorId, VecDeque<u32>> = BTreeMap::new();
        let (mut refused, mut ended) = (BTreeSet::new(), BTreeSet::new());
        let mut look = |rig: &mut Rig, there: &mut BTreeMap<ExecutorId, VecDeque<u32>>| {
            refused.extend(results(&rig.said()).into_iter().filter(|end| end.2 == Outcome::Error).map(|end| end.0));
            for (n, has) in (1..).zip(&has) {
                there.entry(x(n)).or_default().extend(given(rig, x(n)));
                let shares = there[&x(n)].iter().map(|n| Share::of(&asked[*n as usize].0, has, 4));
                let taken = shares.map(Option::unwrap_or_default).fold(Share::default(), |sum, share| sum.and(&share));
                prop_assert!(Share::all(has, 4).holds(&taken), "{taken:?} of {has}");
            }
            Ok(())
        };
        let end_one = |rig: &mut Rig, there: &mut BTreeMap<ExecutorId, VecDeque<u32>>, ended: &mut BTreeSet<u32>| {
            let Some((executor, calls)) = there.iter_mut().max_by_key(|(_, calls)| calls.len()) else { return false };
            let Some(n) = calls.pop_front() else { return false };
            let executor = *executor;
            ends(rig, executor, n);
            ended.insert(n)
        };
        for (n, (asks, ends_one)) in (0..).zip(&asked) {
            rig.hub_says(vec![asking(n, *asks)]);
            look(&mut rig, &mut there)?;
            if *ends_one {
                end_one(&mut rig, &mut there, &mut ended);
                look(&mut rig, &mut there)?;
            }
        }
        while end_one(&mut rig, &mut there, &mut ended) {
            look(&mut rig, &mut there)?;
        }
        for (n, (asks, _)) in (0..).zip(&asked) {
            prop_assert_eq!(refused.contains(&n), !fits(asks), "{} {}", n, asks);
            prop_assert_eq!(ended.contains(&n), runs(asks), "{} {}", n, asks);
        }
    }
}

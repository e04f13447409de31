//! One test per rule about attempts: assignments, results, acknowledgements, cancels, losses.

use crate::rig::{
    BODY, Rig, ack, assign, assigned, cancel, capacity, config, done, holding, results, started, x,
};
use bursa_core::id::Hash;
use bursa_core::limits;
use bursa_core::manager::{Action, Config, Event};
use bursa_core::task::{Begun, Outcome};
use bursa_core::timings::Timings;
use bursa_core::wire::{Held, Holding, Item, Stage};

#[test]
fn an_attempt_goes_down_and_its_result_up_and_its_ack_down() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    assert_eq!(rig.heard(x(1)), vec![with_ttl(assign(1, 9), 100_000)]);
    rig.executor_says(x(1), vec![started(1, 9), done(1, 9, Outcome::Success, Begun::Yes)]);
    assert_eq!(rig.said(), vec![started(1, 9), done(1, 9, Outcome::Success, Begun::Yes)]);
    rig.hub_says(vec![ack(1, 9, Outcome::Success)]);
    assert_eq!(rig.heard(x(1)), vec![ack(1, 9, Outcome::Success)]);
}

fn with_ttl(mut item: Item, ttl_ms: u64) -> Item {
    if let Item::Assign(assign) = &mut item {
        assign.ttl_ms = ttl_ms;
    }
    item
}

#[test]
fn f1_the_end_of_the_hub_session_changes_no_attempt() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9), assign(2, 9), assign(3, 9)]);
    rig.executor_says(x(1), vec![started(1, 9), done(2, 9, Outcome::Success, Begun::Yes)]);
    rig.reconnect_hub();
    let Some(Item::Hello(hello)) = rig.said().into_iter().next() else { panic!("no hello") };
    let stages: Vec<(Stage, Begun)> = hello.held.iter().map(|held| (held.stage, held.begun)).collect();
    assert_eq!(
        stages,
        vec![(Stage::Running, Begun::Yes), (Stage::Finished, Begun::Yes), (Stage::Waiting, Begun::Unknown)]
    );
    assert!(rig.heard(x(1)).iter().all(|item| !matches!(item, Item::Cancel { .. })));
}

#[test]
fn f7_finished_results_are_repeated_after_each_welcome() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(2, 9)]);
    rig.executor_says(x(1), vec![done(2, 9, Outcome::Success, Begun::Yes)]);
    for _ in 0..3 {
        rig.reconnect_hub();
        rig.said.clear();
        rig.welcome();
        assert_eq!(results(&rig.said()), vec![(2, 9, Outcome::Success, Begun::Yes)]);
    }
}

#[test]
fn f7_what_happens_between_hello_and_welcome_is_told_after_it() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    rig.reconnect_hub();
    rig.said.clear();
    rig.executor_says(x(1), vec![started(1, 9)]);
    rig.hello(x(2), 1, vec![holding(5, 3, Stage::Running)], capacity(4, 2));
    assert_eq!(rig.said(), vec![]);
    rig.welcome();
    let said = rig.said();
    assert_eq!(said[0], started(1, 9));
    let held = vec![holding(5, 3, Stage::Running)];
    assert_eq!(said[1], Item::Held(Held { held, complete: false, accounted: false }));
    assert!(matches!(said.last(), Some(Item::Capacity(capacity)) if capacity.credit_tasks == 8));
}

#[test]
fn f12_what_a_living_executor_does_not_list_is_routed_again_under_the_same_number() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9), assign(2, 9)]);
    rig.hello(x(1), 2, vec![holding(1, 9, Stage::Running)], capacity(4, 2));
    assert_eq!(assigned(&rig.heard(x(1))), vec![(2, 9)]);
    assert_eq!(results(&rig.said()), vec![]);
}

#[test]
fn f12_a_cancelled_one_ends_instead() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9), cancel(1, 9)]);
    rig.hello(x(1), 2, vec![], capacity(4, 2));
    assert_eq!(assigned(&rig.heard(x(1))), vec![]);
    assert_eq!(results(&rig.said()), vec![(1, 9, Outcome::Cancelled, Begun::No)]);
}

#[test]
fn f16_returned_is_routed_again_and_not_reported() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    rig.clear();
    rig.executor_says(x(1), vec![done(1, 9, Outcome::Returned, Begun::No)]);
    assert_eq!(assigned(&rig.heard(x(1))), vec![(1, 9)]);
    assert_eq!(results(&rig.said()), vec![]);
}

#[test]
fn f16_returned_goes_up_if_the_manager_cannot_route_it() {
    let mut rig = Rig::up(config());
    rig.hello(x(1), 1, vec![holding(1, 9, Stage::Waiting)], capacity(4, 2));
    rig.clear();
    rig.executor_says(x(1), vec![done(1, 9, Outcome::Returned, Begun::No)]);
    assert_eq!(results(&rig.said()), vec![(1, 9, Outcome::Returned, Begun::No)]);
    rig.reconnect_hub();
    let Some(Item::Hello(hello)) = rig.said().into_iter().next() else { panic!("no hello") };
    assert_eq!(hello.held, vec![]);
}

#[test]
fn f18_a_silent_executor_is_lost_with_its_attempts() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9), assign(2, 9)]);
    rig.executor_says(x(1), vec![started(1, 9)]);
    rig.clear();
    rig.pass(5_999, true, &[]);
    assert_eq!(results(&rig.said()), vec![]);
    rig.pass(2, true, &[]);
    let said = rig.said();
    assert_eq!(
        results(&said),
        vec![(1, 9, Outcome::Lost, Begun::Yes), (2, 9, Outcome::Lost, Begun::Unknown)]
    );
    assert!(matches!(said.last(), Some(Item::Capacity(capacity)) if capacity.credit_tasks == 0));
}

#[test]
fn f18_it_comes_back_unfinished_held_finished_real_result() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9), assign(2, 9)]);
    rig.event(Event::ExecutorGone { executor: x(1), why: "partition".into() });
    rig.clear();
    let held = vec![holding(1, 9, Stage::Running), holding(2, 9, Stage::Finished)];
    rig.hello(x(1), 2, held.clone(), capacity(4, 2));
    rig.executor_says(x(1), vec![done(2, 9, Outcome::Success, Begun::Yes)]);
    let said = rig.said();
    let page = vec![held[0]];
    assert_eq!(said[0], Item::Held(Held { held: page, complete: false, accounted: false }));
    assert_eq!(results(&said), vec![(2, 9, Outcome::Success, Begun::Yes)]);
    // F23: the late ack of `lost` deletes neither.
    rig.hub_says(vec![ack(1, 9, Outcome::Lost), ack(2, 9, Outcome::Lost)]);
    rig.reconnect_hub();
    let Some(Item::Hello(hello)) = rig.said().into_iter().next() else { panic!("no hello") };
    assert_eq!(hello.held.len(), 2);
}

#[test]
fn f20_a_repeated_result_of_an_unknown_attempt_goes_up_and_is_kept() {
    let mut rig = Rig::with_one(4, 2);
    rig.executor_says(x(1), vec![done(1, 9, Outcome::Success, Begun::Yes)]);
    assert_eq!(results(&rig.said()), vec![(1, 9, Outcome::Success, Begun::Yes)]);
    rig.hub_says(vec![ack(1, 9, Outcome::Success)]);
    assert_eq!(rig.heard(x(1)), vec![ack(1, 9, Outcome::Success)]);
}

#[test]
fn f21_nobody_acknowledges_on_the_hubs_behalf() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    rig.heard(x(1));
    rig.executor_says(x(1), vec![done(1, 9, Outcome::Success, Begun::Yes)]);
    rig.pass(20_000, true, &[x(1)]);
    assert!(rig.heard(x(1)).iter().all(|item| matches!(item, Item::Ping)));
}

#[test]
fn f23_an_ack_of_another_outcome_forgets_nothing() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    rig.executor_says(x(1), vec![done(1, 9, Outcome::Success, Begun::Yes)]);
    rig.clear();
    rig.hub_says(vec![ack(1, 9, Outcome::Lost)]);
    assert_eq!(rig.heard(x(1)), vec![]);
    rig.hub_says(vec![ack(1, 9, Outcome::Success)]);
    assert_eq!(rig.heard(x(1)), vec![ack(1, 9, Outcome::Success)]);
}

#[test]
fn f25_an_executor_never_has_more_than_its_credit() {
    let mut rig = Rig::with_one(3, 2);
    rig.hub_says((1..=5).map(|n| assign(n, 9)).collect());
    assert_eq!(assigned(&rig.heard(x(1))), vec![(1, 9), (2, 9), (3, 9)]);
    rig.executor_says(x(1), vec![done(2, 9, Outcome::Success, Begun::Yes)]);
    assert_eq!(assigned(&rig.heard(x(1))), vec![(4, 9)]);
}

#[test]
fn f25_capacity_is_the_sum_and_sent_once_when_it_changes() {
    let mut rig = Rig::up(config());
    rig.hello(x(1), 1, vec![], capacity(10, 2));
    rig.hello(x(2), 1, vec![], capacity(100_000, 3));
    let said = rig.said();
    let sums: Vec<(u32, u32)> = said
        .iter()
        .filter_map(|item| match item {
            Item::Capacity(capacity) => Some((capacity.credit_tasks, capacity.slots_total)),
            _ => None,
        })
        .collect();
    assert_eq!(sums, vec![(10, 2), (5 + 65_536, 5)]);
    rig.executor_says(x(2), vec![Item::Capacity(capacity(100_000, 3))]);
    assert_eq!(rig.said(), vec![]);
}

#[test]
fn f29_a_hello_beyond_all_bounds_is_reset() {
    let mut rig = Rig::up(config());
    let many = u32::try_from(2 * limits::CREDIT_TASKS + 1).unwrap();
    let held = (0..many).map(|n| holding(n, 1, Stage::Waiting)).collect();
    rig.hello(x(1), 1, held, capacity(4, 2));
    assert!(matches!(rig.heard(x(1))[..], [Item::Reset { .. }]));
}

#[test]
fn f31_cancel_of_a_waiting_attempt_ends_it_at_once() {
    let mut rig = Rig::up(config());
    rig.hub_says(vec![assign(1, 9), cancel(1, 9)]);
    assert_eq!(results(&rig.said()), vec![(1, 9, Outcome::Cancelled, Begun::No)]);
    rig.hello(x(1), 1, vec![], capacity(4, 2));
    assert_eq!(assigned(&rig.heard(x(1))), vec![]);
}

#[test]
fn f31_cancel_is_passed_on_and_repeated_at_registration() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![assign(1, 9)]);
    rig.clear();
    rig.hub_says(vec![cancel(1, 9)]);
    assert_eq!(rig.heard(x(1)), vec![cancel(1, 9)]);
    rig.hello(x(1), 2, vec![holding(1, 9, Stage::Running)], capacity(4, 2));
    assert_eq!(rig.heard(x(1))[1..], [cancel(1, 9)]);
    rig.executor_says(x(1), vec![done(1, 9, Outcome::Cancelled, Begun::Yes)]);
    assert_eq!(results(&rig.said()), vec![(1, 9, Outcome::Cancelled, Begun::Yes)]);
}

#[test]
fn f31_cancel_of_an_unknown_attempt_is_answered_and_of_a_finished_one_ignored() {
    let mut rig = Rig::with_one(4, 2);
    rig.hub_says(vec![cancel(1, 9), assign(2, 9)]);
    assert_eq!(results(&rig.said()), vec![(1, 9, Outcome::Cancelled, Begun::Unknown)]);
    rig.executor_says(x(1), vec![done(2, 9, Outcome::Success, Begun::Yes)]);
    rig.clear();
    rig.hub_says(vec![cancel(2, 9)]);
    assert_eq!((rig.said(), rig.heard(x(1))), (vec![], vec![]));
}

#[test]
fn f32_only_the_time_left_travels_on() {
    let mut rig = Rig::up(config());
    rig.hub_says(vec![assign(1, 9)]);
    rig.pass(4_000, true, &[]);
    rig.hello(x(1), 1, vec![], capacity(4, 2));
    assert_eq!(rig.heard(x(1)).last(), Some(&with_ttl(assign(1, 9), 96_000)));
}

#[test]
fn f33_a_waiting_attempt_expires() {
    let mut rig = Rig::up(config());
    rig.hub_says(vec![with_ttl(assign(1, 9), 5_000), assign(2, 9)]);
    rig.pass(4_999, true, &[]);
    assert_eq!(results(&rig.said()), vec![]);
    rig.pass(1, true, &[]);
    assert_eq!(results(&rig.said()), vec![(1, 9, Outcome::Expired, Begun::No)]);
}

#[test]
fn f35_a_body_is_asked_for_once_and_travels_once_per_session() {
    let mut rig = Rig::with_one(40, 2);
    let other = Hash::of(b"other");
    let wanting = |n: u32| {
        let mut item = assign(n, 9);
        if let Item::Assign(assign) = &mut item {
            assign.hash = other;
        }
        item
    };
    rig.hub_says(vec![wanting(1), wanting(2)]);
    assert_eq!(rig.said(), vec![Item::WantFunction { hash: other }]);
    rig.executor_says(x(1), vec![Item::WantFunction { hash: other }]);
    assert_eq!(rig.said(), vec![]);
    rig.reconnect_hub();
    rig.said.clear();
    rig.welcome();
    assert!(rig.said().contains(&Item::WantFunction { hash: other }), "again in each session");
    rig.clear();
    let body = Item::Function { hash: other, body: Some(bytes::Bytes::from_static(b"other").into()) };
    rig.hub_says(vec![body.clone()]);
    assert_eq!(rig.heard(x(1)), vec![body.clone()]);
    rig.hub_says(vec![wanting(3)]);
    assert_eq!(rig.heard(x(1)).len(), 1, "no second body in this session");
    rig.hello(x(2), 1, vec![], capacity(40, 40));
    rig.clear();
    rig.hub_says(vec![wanting(4)]);
    assert_eq!(rig.heard(x(2))[..], [body, wanting(4)]);
}

#[test]
fn f35_gone_and_wrong_bodies_are_passed_on_as_gone() {
    let mut rig = Rig::with_one(4, 2);
    let (gone, wrong) = (Hash::of(b"gone"), Hash::of(b"wrong"));
    for hash in [gone, wrong] {
        rig.executor_says(x(1), vec![Item::WantFunction { hash }]);
    }
    let body = Some(bytes::Bytes::from_static(BODY).into());
    rig.hub_says(vec![Item::Function { hash: gone, body: None }, Item::Function { hash: wrong, body }]);
    let expected = [gone, wrong].map(|hash| Item::Function { hash, body: None });
    assert_eq!(rig.heard(x(1)), expected);
}

#[test]
fn f8_hints_are_on_disk_before_the_first_assign() {
    let mut rig = Rig::up(config());
    rig.disk = false;
    rig.hello(x(1), 1, vec![], capacity(4, 2));
    assert_eq!(rig.actions.last(), Some(&Action::SaveHints { executors: vec![x(1)] }));
    rig.hub_says(vec![assign(1, 9)]);
    assert_eq!(assigned(&rig.heard(x(1))), vec![]);
    rig.event(Event::HintsSaved);
    assert_eq!(assigned(&rig.heard(x(1))), vec![(1, 9)]);
}

#[test]
fn f8_a_lost_executor_stays_in_the_hints_until_the_hub_knows_of_its_loss() {
    let mut rig = Rig::with_one(4, 2);
    rig.hello(x(2), 1, vec![], capacity(4, 0));
    rig.hub_says(vec![assign(1, 9)]);
    rig.clear();
    rig.event(Event::ExecutorGone { executor: x(1), why: "dead".into() });
    assert!(!rig.actions.iter().any(|action| matches!(action, Action::SaveHints { .. })));
    rig.hub_says(vec![ack(1, 9, Outcome::Lost)]);
    assert_eq!(rig.actions.last(), Some(&Action::SaveHints { executors: vec![x(2)] }));
}

/// Found by the simulated world: presented as running, an end that the hub had judged was adopted and charged again.
#[test]
fn f10_what_an_executor_lists_as_finished_is_not_presented_as_running() {
    let mut rig = Rig::new(Config { hints: vec![x(1)], ..config() });
    let finished = Holding { begun: Begun::Yes, ..holding(1, 9, Stage::Finished) };
    rig.hello(x(1), 1, vec![finished], capacity(4, 2));
    assert_eq!(rig.manager.holdings(), vec![finished]);
}

#[test]
fn a_result_tells_how_long_it_was_here_and_at_its_executor() {
    let mut rig = Rig::up(config());
    rig.hub_says(vec![assign(1, 1)]);
    rig.ms += 30;
    rig.hello(x(1), 1, Vec::new(), capacity(1, 1));
    rig.ms += 5;
    rig.executor_says(x(1), vec![done(1, 1, Outcome::Success, Begun::Yes)]);
    let said = rig.said();
    let timings =
        said.iter().find_map(|item| if let Item::Result(done) = item { Some(done.timings) } else { None });
    let expected = Timings { manager: 30_000_000, node: 5_000_000, ..Timings::default() };
    assert_eq!(timings, Some(expected));
}

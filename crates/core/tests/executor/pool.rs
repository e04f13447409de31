//! Workers: made on demand, warm, never shared between users, retired; prefetch; capacity (F25, F29).

use crate::rig::{Rig, config, load, run, spawn, spawn_in_container};
use crate::words::image;
use bursa_core::executor::{Action, Event, Signal, WorkerExit};
use bursa_core::id::WorkerId;
use bursa_core::limits;
use bursa_core::wire::Warm;

fn retire(worker: u32) -> Action {
    Action::Retire { worker: WorkerId(worker) }
}

#[test]
fn one_worker_per_waiting_attempt_up_to_the_slots() {
    let mut rig = Rig::up(3);
    assert_eq!(rig.assign([1]), [spawn(1, 1)]);
    assert_eq!(rig.assign([2, 3, 4, 5]), [spawn(2, 1), spawn(3, 1)]);
    assert_eq!(rig.ready(2), [load(2), run(2, 1, true)], "unknown: nothing behind it");
    assert_eq!(
        rig.done(2, 1, 1_000),
        [run(2, 2, false), run(2, 3, false)],
        "two are left for the starting ones"
    );
    assert_eq!(rig.ready(1), [load(1), run(1, 4, false)]);
    assert_eq!(rig.ready(3), [load(3), run(3, 5, false)]);
}

#[test]
fn a_pipe_holds_a_few_milliseconds_of_work() {
    for (run_ns, piped) in
        [(0, 64), (62_500, 64), (80_000, 51), (1_080_000, 5), (4_000_000, 2), (5_000_000, 2), (20_000_001, 1)]
    {
        let mut rig = Rig::warm(1, run_ns);
        assert_eq!(rig.assign(1..=200).len(), piped, "mean {run_ns} ns");
        assert!(piped <= limits::WORKER_DEPTH);
    }
}

#[test]
fn after_one_long_run_the_pipe_is_short_again() {
    let mut rig = Rig::warm(1, 1_000);
    assert_eq!(rig.assign(1..=200).len(), 64);
    assert_eq!(rig.done(1, 1, 5_000_000), [], "63 are still there");
    for n in 2..=64 {
        let actions = rig.done(1, n, 5_000_000);
        assert_eq!(actions, if n < 63 { vec![] } else { vec![run(1, n + 2, true)] }, "{n}");
    }
}

#[test]
fn nothing_is_put_behind_a_call_that_takes_long_against_experience() {
    let mut rig = Rig::warm(1, 1_000);
    assert_eq!(rig.assign([1]), [run(1, 1, false)]);
    rig.now += 21;
    assert_eq!(rig.assign([2]), []);
    assert_eq!(rig.done(1, 1, 21_500_000), [run(1, 2, true)]);
}

#[test]
fn calls_spread_over_workers_before_they_queue_up() {
    let mut rig = Rig::up(2);
    rig.assign([1, 2]);
    rig.ready(1);
    rig.ready(2);
    rig.done(1, 1, 1_000);
    rig.done(2, 2, 1_000);
    let on = |actions: &[Action], id| {
        actions.iter().filter(|action| matches!(action, Action::Run { worker, .. } if worker.0 == id)).count()
    };
    let actions = rig.assign(10..20);
    assert_eq!((on(&actions, 1), on(&actions, 2)), (5, 5));
}

#[test]
fn a_worker_never_serves_another_user() {
    let mut rig = Rig::warm(1, 1_000);
    assert_eq!(rig.assign_for(2, 1), [retire(1)], "idle and in the way");
    assert_eq!(rig.exited(1, WorkerExit { exit: Some(0), ..WorkerExit::default() }), [spawn(2, 2)]);
    assert_eq!(rig.ready(2), [load(2), run(2, 1, false)]);
    assert_eq!(rig.results(), [], "a retired worker goes silently");
}

#[test]
fn with_a_slot_left_nobody_is_retired() {
    let mut rig = Rig::warm(2, 1_000);
    assert_eq!(rig.assign_for(2, 1), [spawn(2, 2)]);
}

#[test]
fn a_worker_whose_work_is_gone_when_it_is_ready_makes_room() {
    let mut rig = Rig::up(1);
    assert_eq!(rig.assign([1]), [spawn(1, 1)]);
    assert_eq!(rig.assign_for(2, 2), []);
    rig.cancel(1, 0);
    assert_eq!(rig.ready(1), [retire(1)]);
    assert_eq!(rig.exited(1, WorkerExit::default()), [spawn(2, 2)]);
}

#[test]
fn containers_are_lanes_too() {
    let mut rig = Rig::warm(2, 1_000);
    assert_eq!(rig.assign_in_container([1]), [spawn_in_container(2, 1)]);
    rig.ready(2);
    let container = Some(image().container);
    let warm = rig.capacity().unwrap().warm.clone();
    assert_eq!(warm, [Warm { container: None, warm: 1, free: 1 }, Warm { container, warm: 1, free: 0 }]);
}

#[test]
fn idle_workers_end_and_are_killed_if_they_do_not() {
    let mut rig = Rig::warm(1, 1_000);
    assert_eq!(rig.pass(60_000), [retire(1)]);
    assert_eq!(rig.assign([1]), [], "its slot is not free yet");
    assert_eq!(rig.pass(4_000), [Action::Signal { worker: WorkerId(1), signal: Signal::Kill }]);
    assert_eq!(rig.exited(1, WorkerExit::default()), [spawn(2, 1)]);
}

#[test]
fn one_failure_among_several_ends_nothing() {
    let mut rig = Rig::up(2);
    assert_eq!(rig.assign([1, 2]), [spawn(1, 1), spawn(2, 1)]);
    rig.took();
    rig.event(Event::WorkerFailed { worker: WorkerId(1), why: "no".into() });
    assert_eq!(rig.results(), []);
    assert_eq!(rig.ready(2), [load(2), run(2, 1, true), spawn(3, 1)]);
}

#[test]
fn capacity_is_absolute_and_rides_along() {
    let mut rig = Rig::up(2);
    rig.assign([1]);
    assert_eq!(rig.took(), [], "nothing to say: the manager knows what it sent");
    rig.ready(1);
    assert_eq!(rig.capacity().unwrap().slots_free, 1);
    rig.took();
    rig.done(1, 1, 1_000);
    assert_eq!(rig.capacity().unwrap().slots_free, 2);
    assert_eq!(config(2).workers, 2);
}

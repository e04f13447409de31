//! Where the time of a call went, as far as the executor knows it.

use crate::rig::{Rig, done};
use bursa_core::executor::{Event, WorkerDone};
use bursa_core::id::WorkerId;
use bursa_core::timings::Timings;

const MS: u64 = 1_000_000;

fn end(rig: &mut Rig, n: u64) -> Timings {
    let done = WorkerDone { load_ns: 3, dump_ns: 4, ..done(n, 5 * MS) };
    rig.event(Event::WorkerDone { worker: WorkerId(1), done });
    rig.full_results().pop().expect("a result").timings
}

#[test]
fn a_call_tells_how_long_it_waited_and_for_what() {
    let mut rig = Rig::up(1);
    rig.now += 100;
    rig.assign([1]);
    rig.now += 12;
    rig.assign([2]);
    rig.now += 8;
    rig.ready(1);
    rig.now += 7;
    let worker = Timings { load: 3, dump: 4, ..Timings::default() };
    let first = Timings { wait: 20 * MS, start: 20 * MS, executor: 27 * MS, ..worker };
    assert_eq!(end(&mut rig, 1), first, "all of its wait was for the start of its worker");
    rig.now += 6;
    let second = Timings { wait: 15 * MS, start: 8 * MS, executor: 21 * MS, ..worker };
    assert_eq!(end(&mut rig, 2), second, "a part of it");
    rig.assign([3]);
    rig.now += 6;
    assert_eq!(end(&mut rig, 3), Timings { executor: 6 * MS, ..worker }, "a warm one waits for nothing");
}

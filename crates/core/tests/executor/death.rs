//! Workers that die: who is blamed, who goes on elsewhere under the same number (F14, F16, F19).

use crate::rig::{Rig, load, run, signalled, spawn};
use bursa_core::executor::WorkerExit;
use bursa_core::task::{Begun, FailureCode, Outcome};

#[test]
fn the_head_died_and_the_sentence_says_how() {
    let table = [
        (signalled(11), "crashed with SIGSEGV (signal 11)"),
        (signalled(9), "was killed by SIGKILL (signal 9; it had used up to 300 MiB)"),
        (signalled(15), "was ended by SIGTERM (signal 15)"),
        (
            WorkerExit { oom: true, memory_limit_kb: Some(320 * 1024), ..signalled(9) },
            "was killed because memory ran out (it had used up to 300 MiB of 320 MiB)",
        ),
        (WorkerExit { exit: Some(3), ..WorkerExit::default() }, "left with exit code 3"),
        (WorkerExit::default(), "went away"),
    ];
    for (exit, how) in table {
        let mut rig = Rig::warm(1, 1_000);
        rig.assign([1]);
        rig.started(1, 1);
        rig.took();
        rig.exited(1, exit);
        let [result] = &rig.full_results()[..] else { panic!("one result") };
        let failure = result.failure.as_ref().unwrap();
        assert_eq!(
            (result.outcome, result.begun, failure.code),
            (Outcome::Died, Begun::Yes, FailureCode::WorkerDied)
        );
        assert_eq!((failure.signal, failure.exit, failure.oom), (exit.signal, exit.exit, exit.oom));
        let memory = (failure.peak_rss_kb.unwrap_or_default(), failure.memory_limit_kb);
        assert_eq!(memory, (exit.maxrss_kb, exit.memory_limit_kb));
        let sentence = format!("The worker process {how} on host 'node1' while it ran this task. ");
        assert!(failure.message.starts_with(&sentence), "{}", failure.message);
        assert_eq!(result.output.bytes(), b"last words");
    }
}

#[test]
fn a_head_that_was_not_seen_to_begin_is_unknown() {
    let mut rig = Rig::warm(1, 1_000);
    rig.assign([1]);
    rig.took();
    rig.exited(1, signalled(11));
    assert_eq!(rig.results(), [(1, Outcome::Died, Begun::Unknown, Some(FailureCode::WorkerDied))]);
}

#[test]
fn calls_behind_a_marked_one_go_to_another_worker_under_the_same_number() {
    let mut rig = Rig::warm(1, 5_000_000);
    assert_eq!(rig.assign([1, 2, 3]), [run(1, 1, true), run(1, 2, true)]);
    rig.took();
    assert_eq!(rig.exited(1, signalled(11)), [spawn(2, 1)]);
    assert_eq!(rig.results(), [(1, Outcome::Died, Begun::Unknown, Some(FailureCode::WorkerDied))]);
    assert_eq!(rig.ready(2), [load(2), run(2, 2, true), run(2, 3, true)], "in their order");
}

#[test]
fn a_death_is_blamed_on_the_call_that_began_last() {
    let mut rig = Rig::warm(1, 1_000);
    assert_eq!(rig.assign([1, 2, 3, 4, 5]).len(), 5);
    rig.done(1, 1, 1_000);
    rig.took();
    let begun_before = 1; // in `Rig::warm`
    assert_eq!(rig.exited_in(1, begun_before + 3, signalled(11)), [spawn(2, 1)]);
    let lost = (2, Outcome::Lost, Begun::Yes, Some(FailureCode::WorkerDied));
    let died = (3, Outcome::Died, Begun::Yes, Some(FailureCode::WorkerDied));
    assert_eq!(rig.results(), [lost, died], "2 had ended and was not told; 4 and 5 never began");
    assert_eq!(rig.ready(2), [load(2), run(2, 4, false), run(2, 5, false)], "under the same number");
}

#[test]
fn the_count_of_a_worker_is_believed_within_reason_only() {
    for (begun, ended) in [(0, 1), (u64::MAX, 3)] {
        let mut rig = Rig::warm(1, 1_000);
        rig.assign([1, 2, 3]);
        rig.took();
        rig.exited_in(1, begun, signalled(11));
        assert_eq!(
            rig.results().len(),
            ended,
            "{begun}: the head ends in any case, and no more than there are"
        );
    }
}

#[test]
fn an_idle_death_costs_nothing() {
    let mut rig = Rig::warm(1, 1_000);
    assert_eq!(rig.exited(1, signalled(9)), []);
    assert_eq!(rig.results(), []);
    assert_eq!(rig.assign([1]), [spawn(2, 1)]);
}

#[test]
fn rerouted_calls_keep_their_place() {
    let mut rig = Rig::warm(1, 5_000_000);
    rig.assign([1, 2]);
    rig.assign([3, 4]);
    rig.exited(1, signalled(11));
    assert_eq!(rig.ready(2), [load(2), run(2, 2, true), run(2, 3, true)]);
}

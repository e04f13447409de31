//! Seeded worlds: the three machines under faults, every invariant of FABRIC §10 after every step.
//!
//! `make sim SEEDS=20000` looks further; `BURSA_SIM_SEED=7 cargo test -p bursa-core --test world replay` shows one world.
//! A seed that fails is kept here as a test of its own, with its plan written out: seeds mean something else once a
//! fault is added.
//!
//! Faults: every process crashes, is stopped in order, or sleeps (its clock jumps); workers die; links break, at once or
//! unnoticed, freeze, and lose, repeat or swap a message; words of a broken connection come late, after those of the next;
//! the store is slow, fails, or dies with half its work done; the wall clock jumps by minutes or days; a second manager
//! appears; keys are revoked, endpoints deleted; tasks are cancelled, also at the instant of their end, and time out then.
//! In a quarter of the worlds executors are a scheduler's jobs, which wait, are refused, fail, end by their walltime with what
//! they run, are cancelled, and are found again by the next manager.
//!
//! The checks can fail: each of these was broken on purpose, and these tests (some only with thousands of seeds) said so.
//!
//! | broken | seen as |
//! |---|---|
//! | F3 gaps go unnoticed; F9 `complete` closes no lease; F12 what a living executor does not list stays; F20 ended tasks' results get no answer; F37 tasks of a deleted endpoint live on | I11 |
//! | F4 any generation is welcome; F5 `Welcome` before `Stored` | I10 |
//! | F4 managers of one generation replace each other; F7 results are not repeated; F18 a lost executor keeps its attempts | I11 |
//! | F7 holdings are not listed; F10 nothing is adopted; F11 nothing is parked; F19 no `Started` is taken for not begun | I3 |
//! | F8 no window, or always accounted; F10 judged ends are adopted; F15 stale failures count; F17 charged twice | I4, I5 |
//! | F13 orphans stay; F33 no deadlines | I12 |
//! | F14 numbers are used again | I10, I2 |
//! | F21 the manager acknowledges by itself | I6 |
//! | F21 `Ack` before `Stored`; F22 duplicates are answered early; F36 accepted before `Stored` | I2 |
//! | F23 the manager ignores the outcome of an `Ack`; F17 losses are not charged | I11 |
//! | F25 credit is not looked at; F26 a cancel frees its lease | I7 |
//! | F27 no window | I9 |
//! | F30 `Cancel` before `Stored` | F30 |
//! | F34 a manager does not forgive after its own sleep | F18 |
//!
//! Not seen in 15,000 seeds, though two of them were found by an earlier hunt: the older of two listed attempts wins
//! (F15), who did not come back is struck from the hints (F8). Not seen: F23 at the executor alone and F34 at the hub
//! (another hop makes both harmless), stale connections of an executor (F2), F27's owed `Ping`, F31's answer to an
//! unknown attempt, F35's `WantFunction` (hardly reached here). Table tests hold these.

use bursa_core::rng::Rng;
use bursa_core::sim::{Calls, Fault, Plan, Planned, Report, Shape, run};
use proptest::prelude::*;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn must(seed: u64, plan: &Plan) -> Report {
    match run(seed, plan) {
        Ok(report) => report,
        Err(violation) => panic!(
            "{violation}\n\nfaults: {:#?}\nreplay: BURSA_SIM_SEED={seed} cargo test -p bursa-core --test world replay",
            plan.faults
        ),
    }
}

#[test]
fn ten_thousand_tasks_without_faults() {
    let shape = Shape {
        endpoints: 3,
        executors: 3,
        workers: 4,
        tasks: 10_000,
        batch: 500,
        submit_ms: 2_000,
        calls: Calls::Short,
        round_us: 0,
        encode: false,
        scheduler: None,
        scan_every: 16,
    };
    let report = must(1, &Plan { shape, faults: Vec::new() });
    println!("{report:?}");
    assert_eq!((report.tasks, report.succeeded, report.starts), (10_000, 10_000, 10_000));
}

/// Many attempts held at once: pages of `Hello`, full windows, slices of a deletion.
#[test]
fn ten_thousand_tasks_with_faults() {
    let shape = Shape {
        endpoints: 2,
        executors: 2,
        workers: 4,
        tasks: 10_000,
        batch: 2_000,
        submit_ms: 500,
        calls: Calls::Short,
        round_us: 0,
        encode: false,
        scheduler: None,
        scan_every: 64,
    };
    let fault = |at_ms, fault| Planned { at_ms, fault };
    let faults = vec![
        fault(1_200, Fault::BreakHubLink { victim: 0, silent_ms: 0 }),
        fault(1_500, Fault::CrashManager { victim: 1, down_ms: 300 }),
        fault(1_700, Fault::CrashService { down_ms: 200 }),
        fault(2_100, Fault::Freeze { victim: 3, ms: 20_000 }),
        fault(2_600, Fault::CrashExecutor { victim: 1, seen: true }),
        fault(3_000, Fault::Cancel { every: 7 }),
        fault(3_500, Fault::DeleteEndpoint { victim: 1 }),
    ];
    println!("{:?}", must(3, &Plan { shape, faults }));
}

/// I7: cancels free no credit before their results are back, so a manager is never given more than it offered.
#[test]
fn cancels_keep_credit_exact() {
    let shape = Shape {
        endpoints: 1,
        executors: 1,
        workers: 2,
        tasks: 6_000,
        batch: 3_000,
        submit_ms: 1,
        calls: Calls::Short,
        round_us: 0,
        encode: false,
        scheduler: None,
        scan_every: 1,
    };
    let cancel = |at_ms| Planned { at_ms, fault: Fault::Cancel { every: 1 } };
    must(5, &Plan { shape, faults: (1..6).map(|n| cancel(2_600 + 200 * n)).collect() });
}

#[test]
fn faulty_worlds_end_well() {
    let seeds = number("BURSA_SIM_SEEDS").unwrap_or(2_000);
    let from = number("BURSA_SIM_FROM").unwrap_or(0);
    for seed in from..from + seeds {
        must(seed, &Plan::random(seed));
    }
}

/// I4: crashes of the service and the managers, and broken links, restart nothing and cost nothing.
#[test]
fn executors_that_survive_run_everything_once() {
    for seed in 0..number("BURSA_SIM_SEEDS").unwrap_or(500) {
        let mut plan = Plan::random(seed);
        plan.shape.calls = Calls::Short;
        // Where blocks end, so do executors.
        plan.shape.scheduler = None;
        let mut rng = Rng::new(seed);
        plan.faults.retain(|planned| planned.fault.spares_executors());
        while plan.faults.len() < 3 {
            let fault = Fault::random(&mut rng);
            if fault.spares_executors() {
                plan.faults.push(Planned { at_ms: rng.below(25_000), fault });
            }
        }
        let report = must(seed, &plan);
        assert_eq!(report.starts, report.tasks as u64, "seed {seed}: something was started twice");
        assert_eq!(report.succeeded, report.tasks, "seed {seed}");
    }
}

fn cases() -> u32 {
    number("BURSA_SIM_SEEDS").and_then(|seeds| u32::try_from(seeds).ok()).unwrap_or(500)
}

fn faults() -> impl Strategy<Value = Vec<Planned>> {
    let one = (0..60_000_u64, any::<u64>())
        .prop_map(|(at_ms, seed)| Planned { at_ms, fault: Fault::random(&mut Rng::new(seed)) });
    prop::collection::vec(one, 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Any schedule of faults; a failing one is shrunk to the faults that matter.
    #[test]
    fn any_schedule_of_faults_ends_well(seed in 0..1_000_000_u64, faults in faults()) {
        let plan = Plan { faults, ..Plan::random(seed) };
        if let Err(violation) = run(seed, &plan) {
            return Err(TestCaseError::fail(format!("{violation}\n{plan:#?}")));
        }
    }
}

#[test]
fn replay() {
    if let Some(seed) = number("BURSA_SIM_SEED") {
        println!("{:?}", must(seed, &Plan::random(seed)));
    }
}

/// An executor that was declared lost comes back with a running call while the acknowledgement of its loss lingers.
#[test]
fn what_returns_before_its_loss_is_acknowledged_is_no_fault() {
    let planned = |at_ms, fault| Planned { at_ms, fault };
    let faults = vec![
        planned(2_661, Fault::CrashWorker { victim: 226 }),
        planned(31_965, Fault::Freeze { victim: 38, ms: 50_734 }),
        planned(2_804, Fault::BreakHubLink { victim: 232, silent_ms: 0 }),
    ];
    must(172_964, &Plan { faults, ..Plan::random(172_964) });
}

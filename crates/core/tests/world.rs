//! Seeded worlds: the three machines under faults, every invariant of FABRIC §10 after every step.
//!
//! `BURSA_SIM_SEEDS=100000 cargo test --release -p bursa-core --test world faulty` looks further;
//! `BURSA_SIM_SEED=7 cargo test -p bursa-core --test world replay -- --nocapture` shows one world.

use bursa_core::sim::{Calls, Plan, Report, Shape, run};

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
        encode: false,
        scan_every: 16,
    };
    let report = must(1, &Plan { shape, faults: Vec::new() });
    println!("{report:?}");
    assert_eq!((report.tasks, report.succeeded, report.starts), (10_000, 10_000, 10_000));
}

#[test]
fn faulty_worlds_end_well() {
    let seeds = number("BURSA_SIM_SEEDS").unwrap_or(300);
    let from = number("BURSA_SIM_FROM").unwrap_or(0);
    for seed in from..from + seeds {
        must(seed, &Plan::random(seed));
    }
}

#[test]
fn replay() {
    if let Some(seed) = number("BURSA_SIM_SEED") {
        println!("{:?}", must(seed, &Plan::random(seed)));
    }
}

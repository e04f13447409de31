//! The largest world: as many workers as the largest run of funcX had, and ten tasks for each.
//!
//! `make sim-scale` runs it, optimized, and prints how long the machines needed in real time. They are the real ones and
//! do all their work in one thread; their calls of one second take no real time. Whole states are looked through rarely, but what is said
//! and written is checked at every step, and at the end every task has one record and nobody remembers anything.

use bursa_core::sim::{Calls, Plan, Shape, run};
use std::time::Instant;

/// One endpoint may hold enough for all of these workers (`limits::CREDIT_TASKS`).
const ENDPOINTS: u32 = 1;
const EXECUTORS: u32 = 512;
const WORKERS: u32 = 256;
const TASKS: usize = 10 * 131_072;

/// Machines are handed what arrives within 20 ms in one round, as drivers do that have so much to do.
const ROUND_US: u64 = 20_000;

/// The most memory this process ever had, in MiB, as Linux counts it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Seconds this thread has been on a processor: what others do on this machine does not count.
fn on_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

#[test]
#[ignore = "large: `make sim-scale`"]
fn a_million_tasks_on_131072_workers() {
    let shape = Shape {
        endpoints: ENDPOINTS as usize,
        executors: EXECUTORS / ENDPOINTS,
        workers: WORKERS,
        tasks: TASKS,
        batch: 10_000,
        submit_ms: 2_000,
        calls: Calls::Second,
        round_us: ROUND_US,
        encode: false,
        scheduler: None,
        scan_every: 50_000,
    };
    let began = Instant::now();
    let report = match run(1, &Plan { shape, faults: Vec::new() }) {
        Ok(report) => report,
        Err(violation) => panic!("{violation}"),
    };
    let took = began.elapsed();
    println!("{report:?}");
    println!(
        "{} workers at most, {} tasks, {:.1} s wall, {:.1} s of them on a processor, {:.0} tasks/s, {} MiB at most",
        report.workers,
        report.tasks,
        took.as_secs_f64(),
        on_cpu(),
        report.tasks as f64 / took.as_secs_f64(),
        peak_mib().unwrap_or(0)
    );
    assert_eq!((report.tasks, report.succeeded, report.starts), (TASKS, TASKS, TASKS as u64));
    // All but those that make room for another container just then.
    let all = (EXECUTORS * WORKERS) as usize;
    assert!(report.workers <= all && report.workers > all * 19 / 20, "{} workers at most", report.workers);
}

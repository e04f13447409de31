//! What one task costs each machine and the codec: instructions (under callgrind), allocations, time.
//!
//! `make instructions` compares the first two with `bench/instructions.json`; they depend on neither the clock nor the
//! processor. `make costs` prints all of them, and the memory of a million queued tasks.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a benchmark")]

mod chain;
mod counting;

use chain::{Chain, PARTS};

/// Name, executors, workers of each, tasks, and how many of them are submitted together.
const WORKLOADS: [(&str, u32, u32, u64, u64); 3] =
    [("burst", 1, 2, 10_000, 1_000), ("single", 1, 2, 1_000, 1), ("wide", 64, 64, 40_960, 4_096)];

fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    match wanted.as_deref() {
        Some("queued") => queued(),
        wanted => {
            for workload in WORKLOADS.iter().filter(|workload| wanted.is_none_or(|name| name == workload.0)) {
                run(*workload);
            }
        }
    }
}

/// Prints what `tasks` tasks cost, each part for itself: one line of JSON.
fn run((name, executors, workers, tasks, batch): (&str, u32, u32, u64, u64)) {
    let mut chain = Chain::new(executors, workers);
    chain.connect();
    chain.settle();
    for _ in 0..tasks / batch {
        chain.submit(batch);
        chain.settle();
    }
    assert_eq!(chain.ended, tasks, "every task ended");
    let parts: Vec<String> = std::iter::zip(PARTS, chain.costs)
        .map(|(part, cost)| {
            let ns = cost.ns / u128::from(tasks);
            format!(r#""{part}": {{"allocations": {}, "ns_per_task": {ns}}}"#, cost.allocations)
        })
        .collect();
    println!(
        r#"{{"workload": "{name}", "tasks": {tasks}, "messages": {}, "bytes_per_task": {}, "parts": {{{}}}}}"#,
        chain.messages,
        chain.bytes / tasks,
        parts.join(", ")
    );
}

/// A million tasks wait for an endpoint that is away; then it comes and takes them.
fn queued() {
    const TASKS: u64 = 1_000_000;
    const STEP: u64 = 100_000;
    let mut chain = Chain::new(1, 256);
    let before = counting::live();
    for _ in 0..TASKS / 10_000 {
        chain.submit(10_000);
        chain.settle();
    }
    let bytes = (counting::live() - before) as u64 / TASKS;
    chain.connect();
    let (mut last, mut spent) = (0, 0);
    let mut hub_ns = Vec::new();
    while chain.step() {
        if chain.ended >= last + STEP {
            let ns = chain.costs[0].ns;
            hub_ns.push((ns - spent) / u128::from(chain.ended - last));
            (last, spent) = (chain.ended, ns);
        }
    }
    assert_eq!(chain.ended, TASKS, "every task ended");
    println!(
        r#"{{"workload": "queued", "tasks": {TASKS}, "hub_bytes_per_task": {bytes}, "left_bytes": {}, "hub_ns_per_task_by_{STEP}": {hub_ns:?}}}"#,
        counting::live().saturating_sub(before)
    );
}

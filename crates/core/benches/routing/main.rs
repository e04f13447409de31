//! What warming-aware routing is worth: 3,000 calls in containers, by routing; the real machines, in virtual time.
//!
//! `make sim-routing` prints a line of JSON for each case, with a value for each seed. Equal code gives equal lines. Words
//! of a case (`CASE="4x64 skewed at-once 0s"`) leave the others out.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a benchmark")]

mod load;
mod node;
mod site;

use bursa_core::manager::route::Routing;
use load::{Arrival, Load, Mix};
use site::{Outcome, Site};

/// Executors, and workers of each.
const SITES: [(u64, u32); 3] = [(10, 16), (4, 64), (20, 4)];
const DURATIONS_S: [u64; 5] = [0, 1, 5, 10, 20];
const SEEDS: u64 = 5;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    for (executors, workers) in SITES {
        for mix in [Mix::Uniform, Mix::Skewed] {
            for arrival in [Arrival::AtOnce, Arrival::Poisson] {
                for run_s in DURATIONS_S {
                    let case =
                        format!("{executors}x{workers} {} {} {run_s}s", mix.as_str(), arrival.as_str());
                    if wanted.iter().all(|word| case.split(' ').any(|part| part == word)) {
                        let slots = executors * u64::from(workers);
                        let load = Load { run_ms: run_s * 1_000, mix, arrival, slots };
                        measure(&case, executors, workers, load);
                    }
                }
            }
        }
    }
}

fn measure(case: &str, executors: u64, workers: u32, load: Load) {
    for routing in [Routing::Random, Routing::Soft, Routing::Hard] {
        let run = |seed| Site::new(routing, executors, workers, seed).run(&load.calls(seed));
        let outcomes: Vec<Outcome> = (1..=SEEDS).map(run).collect();
        let list = |what: fn(&Outcome) -> u64| outcomes.iter().map(what).collect::<Vec<u64>>();
        println!(
            r#"{{"case": "{case}", "routing": "{routing}", "makespan_ms": {:?}, "response_ms": {:?}, "cold_starts": {:?}}}"#,
            list(|outcome| outcome.makespan_ms),
            list(|outcome| outcome.response_ms),
            list(|outcome| outcome.starts),
        );
    }
}

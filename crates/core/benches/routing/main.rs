//! What warming-aware routing is worth: 3,000 calls in containers, by routing; the real machines, in virtual time.
//!
//! `make sim-routing` prints a line of JSON for each case (a number: only those with so many executors). Equal code gives equal lines.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a benchmark")]

mod load;
mod node;
mod site;

use bursa_core::manager::route::Routing;
use load::{Arrival, Load, Mix};
use site::Site;

/// Executors, and workers of each.
const SITES: [(u64, u32); 3] = [(10, 16), (4, 64), (20, 4)];
const DURATIONS_MS: [u64; 5] = [0, 1_000, 5_000, 10_000, 20_000];
const SEED: u64 = 1;

fn main() {
    let wanted = std::env::args().skip(1).find_map(|word| word.parse::<u64>().ok());
    for (executors, workers) in SITES.into_iter().filter(|site| wanted.is_none_or(|wanted| wanted == site.0))
    {
        for mix in [Mix::Uniform, Mix::Skewed] {
            for arrival in [Arrival::AtOnce, Arrival::Poisson] {
                for run_ms in DURATIONS_MS {
                    let load = Load { run_ms, mix, arrival, slots: executors * u64::from(workers) };
                    for routing in [Routing::Random, Routing::Soft, Routing::Hard] {
                        measure(routing, executors, workers, load);
                    }
                }
            }
        }
    }
}

fn measure(routing: Routing, executors: u64, workers: u32, load: Load) {
    let outcome = Site::new(routing, executors, workers, SEED).run(&load.calls(SEED));
    println!(
        r#"{{"executors": {executors}, "workers": {workers}, "mix": "{:?}", "arrival": "{:?}", "run_ms": {}, "routing": "{routing}", "makespan_ms": {}, "response_ms": {}, "cold_starts": {}}}"#,
        load.mix, load.arrival, load.run_ms, outcome.makespan_ms, outcome.response_ms, outcome.starts
    );
}

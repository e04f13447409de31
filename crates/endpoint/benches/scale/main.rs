//! How many no-ops a manager moves: the real process with its real sockets between a service and hundreds of executors
//! that are simulated. No Python, no disk.
//!
//! `make bench-scale`. Three processes: this one is the service (the real hub, over a store that answers at once), the
//! manager, and one that plays all executors, each with a connection of its own.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    clippy::exit,
    reason = "a benchmark"
)]

mod executors;
mod service;

use bursa_core::config::{Source, Values};
use bursa_endpoint::{Config, run_manager, watchdog};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Workers that each executor says it has.
const SLOTS: u32 = 256;
const EXECUTORS: [u32; 6] = [1, 4, 16, 64, 256, 512];
const TASKS: u64 = 10 * 131_072;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match words.first().map(String::as_str) {
        Some("manager") => manager(Path::new(&words[1])),
        Some("executors") => run(executors::run(Path::new(&words[1]), SLOTS)),
        number => measure(number.and_then(|number| number.parse().ok()).unwrap_or(TASKS)),
    }
}

/// One line of JSON for each size of endpoint.
fn measure(tasks: u64) {
    for executors in EXECUTORS {
        let home = tempfile::tempdir().expect("a temporary directory");
        let report = run(async {
            let mut service = service::Service::new(home.path(), executors);
            // Executors first: the manager finds those that are named.
            let mut peers = ["executors", "manager"].map(|role| start(role, home.path()));
            peers.reverse();
            let report = service.run(tasks, executors * SLOTS, peers.each_ref().map(Child::id)).await;
            // Executors first: they would find the manager gone.
            for peer in peers.iter_mut().rev() {
                let _ = peer.kill();
                let _ = peer.wait();
            }
            report
        });
        println!("{report}");
    }
}

fn start(role: &str, home: &Path) -> Child {
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new(this);
    command.arg(role).arg(home).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("another process of this program");
    if role == "executors" {
        let mut line = [0];
        let _ = child.stdout.as_mut().map(|said| said.read(&mut line));
    }
    child
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

fn manager(home: &Path) {
    let mut values = Values::default();
    for key in bursa_endpoint::KEYS {
        if let Ok(value) = std::env::var(key.env) {
            values.offer(key, value, Source::Env);
        }
    }
    let config = Config::from_values(&values, home, service::NAME).expect("the configuration");
    // The executors are there already, as if an earlier manager had started them: none is launched.
    let config = Config { executors: 0, ..config };
    let ended = run(async { run_manager(config, || {}, watchdog::pings()).await });
    eprintln!("{ended:?}");
    std::process::exit(1);
}

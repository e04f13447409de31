//! What the service counts, and its Prometheus text.

use crate::trouble::{Part, Troubles};
use bursa_core::hub::Counter;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the commit histogram in microseconds.
const BOUNDS_US: [u64; 22] = [
    50, 75, 100, 125, 150, 200, 250, 300, 400, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 25_000,
    50_000, 100_000, 500_000, 2_000_000,
];
/// The hub's counters, with their names here.
const HUB: [(Counter, &str, &str); 11] = [
    (Counter::Accepted, "tasks_accepted", "Tasks accepted"),
    (
        Counter::Refused,
        "submits_refused",
        "Submits told to come again: as many tasks live, or wait for the store, as may",
    ),
    (Counter::Succeeded, "tasks_succeeded", "Tasks ended in success"),
    (Counter::MemoHits, "memo_hits", "Tasks that had a memoized result"),
    (Counter::Failed, "tasks_failed", "Tasks ended in failure"),
    (Counter::Cancelled, "tasks_cancelled", "Tasks cancelled"),
    (Counter::Dispatched, "attempts_dispatched", "Attempts sent to endpoints"),
    (Counter::DuplicateResults, "results_duplicate", "Results that were duplicates or came too late"),
    (Counter::Losses, "losses_charged", "Losses charged to tasks"),
    (Counter::DroppedMessages, "messages_dropped", "Messages dropped by the hub"),
    (Counter::Sessions, "sessions_opened", "Sessions of endpoints opened"),
];

/// Counters of the whole process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    hub: [AtomicU64; HUB.len()],
    commits: AtomicU64,
    rows: AtomicU64,
    commit_failures: AtomicU64,
    commit_us: AtomicU64,
    buckets: [AtomicU64; BOUNDS_US.len()],
    pub(crate) requests: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) pushed: AtomicU64,
    pub(crate) link_received: AtomicU64,
    pub(crate) link_sent: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) removed_files: AtomicU64,
    /// What of the store does not work now.
    pub(crate) troubles: Troubles,
}

/// What the driver knows at the moment of a scrape.
#[derive(Debug, Default, Clone)]
pub(crate) struct Gauges {
    pub(crate) endpoints: usize,
    pub(crate) online: usize,
    pub(crate) degraded: usize,
    pub(crate) queued: usize,
    pub(crate) held: usize,
    pub(crate) slots_total: u64,
    pub(crate) slots_free: u64,
    pub(crate) connections: usize,
    pub(crate) waiting_rows: usize,
    pub(crate) open_requests: usize,
    /// The fabric's counters, with their names here.
    pub(crate) fabric: Vec<(&'static str, u64)>,
}

impl Metrics {
    /// The hub counted.
    pub(crate) fn count(&self, counter: Counter, by: u64) {
        if let Some(place) = HUB.iter().position(|(known, ..)| *known == counter) {
            self.hub[place].fetch_add(by, Relaxed);
        }
    }

    /// How often the hub counted this.
    pub(crate) fn counted(&self, counter: Counter) -> u64 {
        let place = HUB.iter().position(|(known, ..)| *known == counter);
        place.map_or(0, |place| self.hub[place].load(Relaxed))
    }

    /// A transaction is on disk.
    pub(crate) fn committed(&self, rows: usize, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Relaxed);
        self.rows.fetch_add(rows as u64, Relaxed);
        self.commit_us.fetch_add(us, Relaxed);
        if let Some(place) = BOUNDS_US.iter().position(|bound| us <= *bound) {
            self.buckets[place].fetch_add(1, Relaxed);
        }
        self.troubles.works(Part::Database);
    }

    /// A transaction failed.
    pub(crate) fn commit_failed(&self, why: &str) {
        self.commit_failures.fetch_add(1, Relaxed);
        self.troubles.failed(Part::Database, why.to_owned());
    }

    /// Everything as Prometheus text.
    pub(crate) fn text(&self, gauges: &Gauges) -> String {
        let mut out = String::with_capacity(4_096);
        let get = |value: &AtomicU64| value.load(Relaxed);
        for ((_, name, about), value) in HUB.iter().zip(&self.hub) {
            line(&mut out, "counter", &format!("{name}_total"), about, get(value));
        }
        for (name, about, value) in [
            ("http_requests_total", "HTTP requests", &self.requests),
            ("http_errors_total", "HTTP requests answered by an error", &self.errors),
            ("streams_opened_total", "WebSocket streams opened", &self.streams),
            ("results_pushed_total", "Results pushed on streams", &self.pushed),
            ("link_messages_received_total", "Messages from managers", &self.link_received),
            ("link_messages_sent_total", "Messages to managers", &self.link_sent),
            ("tasks_removed_total", "Ended tasks removed after their retention", &self.removed),
            ("payload_files_removed_total", "Payload files removed with them", &self.removed_files),
            ("store_commits_total", "Transactions on disk", &self.commits),
            ("store_rows_total", "Rows written", &self.rows),
            ("store_commit_failures_total", "Transactions that failed", &self.commit_failures),
        ] {
            line(&mut out, "counter", name, about, get(value));
        }
        self.histogram(&mut out);
        for (name, value) in &gauges.fabric {
            line(
                &mut out,
                "counter",
                &format!("link_{name}_total"),
                "What was made, refused, dropped or lost on the links",
                *value,
            );
        }
        for (name, about, value) in [
            ("endpoints", "Endpoints known", gauges.endpoints as u64),
            ("endpoints_online", "Endpoints with a session", gauges.online as u64),
            ("endpoints_degraded", "Endpoints that can do less than they should", gauges.degraded as u64),
            ("tasks_queued", "Tasks waiting in the service", gauges.queued as u64),
            ("tasks_held", "Attempts at endpoints", gauges.held as u64),
            ("slots", "Workers that endpoints may run", gauges.slots_total),
            ("slots_free", "Workers that are idle", gauges.slots_free),
            ("link_connections", "Connections of managers", gauges.connections as u64),
            ("store_waiting_rows", "Rows waiting for the next transaction", gauges.waiting_rows as u64),
            ("requests_waiting", "Requests waiting for the hub", gauges.open_requests as u64),
            (
                "store_failing",
                "1 while the store cannot do its work",
                u64::from(self.troubles.why().is_some()),
            ),
        ] {
            line(&mut out, "gauge", name, about, value);
        }
        out
    }

    fn histogram(&self, out: &mut String) {
        let name = "bursa_store_commit_seconds";
        let _ = writeln!(out, "# HELP {name} Time of one transaction\n# TYPE {name} histogram");
        let mut sum = 0;
        for (bound, bucket) in BOUNDS_US.iter().zip(&self.buckets) {
            sum += bucket.load(Relaxed);
            let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {sum}", seconds(*bound));
        }
        let count = self.commits.load(Relaxed);
        let total = seconds(self.commit_us.load(Relaxed));
        let _ =
            writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {total}\n{name}_count {count}");
    }
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

fn line(out: &mut String, kind: &str, name: &str, about: &str, value: u64) {
    let _ = writeln!(out, "# HELP bursa_{name} {about}\n# TYPE bursa_{name} {kind}\nbursa_{name} {value}");
}

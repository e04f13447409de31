//! What a run says at its end: numbers, or the invariant that did not hold and the events before it.

use super::{Us, World};
use std::collections::VecDeque;
use std::fmt;

/// Lines of trace that are kept.
const RING: usize = 240;

/// A run that ended quietly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Rounds done by machines.
    pub steps: u64,
    /// Virtual time until quiet.
    pub quiet_ms: u64,
    /// Tasks on disk, all ended.
    pub tasks: usize,
    /// Executions that began.
    pub starts: u64,
    /// Tasks that ended in success.
    pub succeeded: usize,
    /// The most workers that lived at once.
    pub workers: usize,
}

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `I1` … `I12`, or the rule `F…` that was seen broken.
    pub rule: &'static str,
    /// What was seen.
    pub text: String,
    /// When, in microseconds of the world.
    pub at_us: u64,
    /// The last events before it.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "{} broken at {} ms: {}", self.rule, self.at_us / 1_000, self.text)
    }
}

/// The last events.
#[derive(Debug)]
pub(super) struct Trace {
    on: bool,
    lines: VecDeque<String>,
}

impl Trace {
    pub(super) const fn new(on: bool) -> Self {
        Self { on, lines: VecDeque::new() }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    pub(super) fn add(&mut self, now: Us, line: impl FnOnce() -> String) {
        if !self.on {
            return;
        }
        let line = line();
        // Heartbeats would push everything else out of the ring.
        if line.ends_with("[Ping]") || line.ends_with("< Tick") {
            return;
        }
        if self.lines.len() >= RING {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>9}.{:03} {line}", now / 1_000, now % 1_000));
    }
}

impl World {
    pub(super) fn violation(&mut self, rule: &'static str, text: String) -> Box<Violation> {
        let trace = std::mem::take(&mut self.trace.lines).into();
        Box::new(Violation { rule, text, at_us: self.now, trace })
    }

    pub(super) fn finish(mut self) -> Result<Report, Box<Violation>> {
        if !self.is_quiet() {
            let text = format!("quiet did not last: {}", self.unrest());
            return Err(self.violation("I11", text));
        }
        if let Some(text) = self.client.unanswered(self.service.as_ref().map(|service| service.pid)) {
            return Err(self.violation("I11", text));
        }
        // Not with large bodies in the caches: to look through them takes longer than the whole world.
        if !self.has_large_bodies
            && let Some(text) = self.leak()
        {
            return Err(self.violation("I11", text));
        }
        let succeeded = |record: &super::Record| {
            record.ending.as_ref().is_some_and(|ending| ending.state == crate::task::TaskState::Success)
        };
        Ok(Report {
            workers: self.workers_most,
            steps: self.steps,
            quiet_ms: self.quiet_since.unwrap_or(0) / 1_000,
            tasks: self.store.records().count(),
            starts: self.check.starts(),
            succeeded: self.store.records().filter(|(_, record)| succeeded(record)).count(),
        })
    }
}

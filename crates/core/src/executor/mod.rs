//! The node's machine: a pool of workers, and the attempts they run.

mod event;

pub use event::{Action, Event, Signal, Verdict, WorkerDone, WorkerExit};

use crate::id::ExecutorId;
use crate::time::{Mono, Now};

/// What an executor is configured with (FABRIC §7).
#[derive(Debug, Clone)]
pub struct Config {
    /// This process.
    pub executor: ExecutorId,
    /// The node's name, for people.
    pub host: String,
    /// Software and version, for people.
    pub software: String,
    /// Workers it may run at once.
    pub workers: u32,
    /// An idle worker ends after this.
    pub idle_ms: u64,
    /// Without a manager, nothing new is started after this (F13).
    pub orphan_start_ms: u64,
    /// Without a manager, this executor ends after this (F13).
    pub orphan_ms: u64,
    /// Seed of its generator: session numbers, jitter.
    pub seed: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Executor {
    config: Config,
}

impl Executor {
    /// An executor that just started; its first actions come with the first `Tick`.
    #[must_use]
    pub fn new(config: Config, _now: Now) -> Self {
        Self { config }
    }

    /// Handles one event; appends what is to be done. Never fails, never blocks.
    pub fn handle(&mut self, _now: Now, _event: Event, _out: &mut Vec<Action>) {
        let _ = &self.config;
    }

    /// Ends a driver round: emits the messages that the round's events made due.
    pub fn flush(&mut self, _now: Now, _out: &mut Vec<Action>) {}

    /// When `Tick` is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        None
    }
}

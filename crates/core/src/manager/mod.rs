//! The endpoint's machine: holds attempts, routes them to executors, passes results and acknowledgements on.

mod event;

pub use event::{Action, Event, ExitReason};

use crate::id::{EndpointId, ExecutorId, ManagerId};
use crate::time::{Mono, Now};

/// What a manager is configured with (FABRIC §7).
#[derive(Debug, Clone)]
pub struct Config {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// This process.
    pub manager: ManagerId,
    /// Raised before this process opened a socket (F4).
    pub generation: u64,
    /// The node's name, for people.
    pub host: String,
    /// Software and version, for people.
    pub software: String,
    /// Executors (nodes) to keep: the local provider has one.
    pub blocks: u32,
    /// Executors that may hold attempts, from the hints of the manager before (F8).
    pub hints: Vec<ExecutorId>,
    /// Towards executors: send something at least this often.
    pub heartbeat_ms: u64,
    /// Towards executors: silence beyond this loses one (F18).
    pub threshold_ms: u64,
    /// Longest adoption window (F8).
    pub adopt_ms: u64,
    /// Seed of its generator: ids of executors and blocks, session numbers, jitter.
    pub seed: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Manager {
    config: Config,
}

impl Manager {
    /// A manager that just started; its first actions come with the first `Tick`.
    #[must_use]
    pub fn new(config: Config, _now: Now) -> Self {
        Self { config }
    }

    /// Handles one event; appends what is to be done. Never fails, never blocks.
    pub fn handle(&mut self, _now: Now, _event: Event, _out: &mut Vec<Action>) {
        let _ = &self.config;
    }

    /// Ends a driver round: emits the messages that the round's events made due, one per peer.
    pub fn flush(&mut self, _now: Now, _out: &mut Vec<Action>) {}

    /// When `Tick` is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        None
    }
}

//! The service's machine: queues, leases, retries, deadlines.

mod event;

pub use event::{Action, Answer, Counter, Event, Op, Recovered, Reply, RequestId, Submit, Token};

use crate::id::{EndpointId, TaskId};
use crate::task::TaskState;
use crate::time::{Mono, Now};

/// Numbers the hub is configured with (FABRIC §7).
#[derive(Debug, Clone)]
pub struct Config {
    /// Life of this service: raised in the store before it opens a port (F14).
    pub epoch: u32,
    /// Send something at least this often.
    pub heartbeat_ms: u64,
    /// Silence beyond this ends a session.
    pub threshold_ms: u64,
    /// SIGTERM to SIGKILL of a cancelled task.
    pub grace_ms: u64,
}

/// What the hub knows of an endpoint, for its status page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointStatus {
    /// It has a session now.
    pub online: bool,
    /// Since when it is on- or offline; `None`: never seen since this service started.
    pub since: Option<crate::time::Wall>,
    /// Its node.
    pub host: String,
    /// Its software.
    pub software: String,
    /// Its workers' Python.
    pub python: String,
    /// Workers it may run.
    pub slots_total: u32,
    /// Workers that are idle.
    pub slots_free: u32,
    /// Tasks waiting here for it.
    pub queued: usize,
    /// Attempts it holds.
    pub held: usize,
}

/// An endpoint as the store has it at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEndpoint {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Highest generation seen.
    pub generation: u64,
    /// It was deleted: refuse it for ever.
    pub deleted: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Hub {
    config: Config,
}

impl Hub {
    /// The hub of a service that just started: endpoints and live tasks as the store has them.
    #[must_use]
    pub fn new(config: Config, _now: Now, _endpoints: Vec<KnownEndpoint>, _tasks: Vec<Recovered>) -> Self {
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

    /// Where a live task stands; `None`: not live, ask the store.
    #[must_use]
    pub fn state(&self, _task: &TaskId) -> Option<TaskState> {
        None
    }

    /// What is known of an endpoint; `None`: no such endpoint.
    #[must_use]
    pub fn endpoint(&self, _endpoint: &EndpointId) -> Option<EndpointStatus> {
        None
    }
}
